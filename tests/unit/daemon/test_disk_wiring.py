"""The namespace of a mount in the disk cache."""

from dataclasses import replace
from pathlib import Path

from s3mount.config import Config, MountConfig, StoreConfig, TreeConfig
from s3mount.daemon.disk_wiring import disk_namespace
from s3mount.s3.model import StoreIdentity

STORE = StoreConfig(bucket="b")
IDENTITY = StoreIdentity("https://s3.example", "here", "native")


def _namespace(store: StoreConfig, identity: StoreIdentity | None = IDENTITY) -> str:
    tree, mount = TreeConfig(uid=0, gid=0), MountConfig(mountpoint="/mnt")
    return disk_namespace(Config(store=store, tree=tree, mount=mount), identity)


def test_mounts_of_one_endpoint_share_a_namespace_also_with_a_view_of_the_past() -> None:
    others = (replace(STORE, prefix="p/"), replace(STORE, at_ns=1), replace(STORE, timeout=1))

    assert {_namespace(STORE)} == {_namespace(each) for each in others}


def test_endpoints_keys_and_views_have_namespaces_of_their_own(tmp_path: Path) -> None:
    files = []
    for number in range(2):
        file = tmp_path / str(number)
        file.write_bytes(bytes([number]) * 32)
        file.chmod(0o600)
        files.append(file)
    stores = (
        STORE,
        replace(STORE, versions=True),
        replace(STORE, show_hidden=True),
        replace(STORE, sse_c_key_files=tuple(files[:1])),
        replace(STORE, sse_c_key_files=tuple(files)),
    )
    other = StoreIdentity("http://s3.example", "here", "native")

    names = [*map(_namespace, stores), _namespace(STORE, other)]

    assert len(set(names)) == len(names)
    assert not any("\x00" in name or "\x01" in name for name in names)
