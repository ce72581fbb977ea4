"""FUSE mount options: what every mount has, and what the user adds.

Pure. https://man7.org/linux/man-pages/man8/mount.fuse3.8.html
"""

from s3mount.config import Config


def fuse_options(config: Config) -> set[str]:
    """The options for `pyfuse3.init`; *subtype* makes the type fuse.s3mount in /proc/mounts."""
    source = config.store.bucket + (f"/{config.store.prefix.rstrip('/')}" if config.store.prefix else "")
    options = {"ro", "nosuid", "nodev", "noatime", "default_permissions", "subtype=s3mount"}
    options.add("fsname=" + "".join(character if _is_plain(character) else "_" for character in source))
    if config.mount.allow_other:
        options.add("allow_other")
    if config.mount.allow_root:
        options.add("allow_root")
    return options | set(config.mount.fuse_options)


def _is_plain(character: str) -> bool:
    """Whether libfuse takes it in an option value as it is, without escapes."""
    return character.isascii() and character.isprintable() and character not in ",\\ "
