"""Copyright file of the Debian package: `python copyright.py STAGE` prints it (DEP 5).

The package has libraries beside s3mount. Each names its licence in its metadata, and has the text
in its directory. The file tells both, with the holders that the texts name.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

HEADER = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: s3mount

Files: *
Copyright: the authors of s3mount
License: Apache-2.0
 The text is in /usr/share/common-licenses/Apache-2.0.
"""
_TEXT = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|COPYRIGHT)", re.IGNORECASE)
_HOLDER = re.compile(r"^\W*copyright\W+(?:c\W+)?(\d{4}.*)$", re.IGNORECASE)


def main() -> None:
    stage = Path(sys.argv[1])
    (packages,) = stage.glob("usr/lib/s3mount/lib/python3*/site-packages")
    print(HEADER, end="")
    found = {each.name.lower(): each for each in distributions(path=[str(packages)])}
    for name in sorted(found.keys() - {"s3mount"}):
        print("\n" + paragraph(found[name], packages, stage), end="")


def paragraph(distribution: Distribution, packages: Path, stage: Path) -> str:
    """Return the paragraph of one library, whose files are in *packages*."""
    module = distribution.name.replace("-", "_").lower()
    texts = sorted(
        path
        for directory in packages.glob("*.dist-info")
        if directory.name.lower().startswith(f"{module}-")
        for path in directory.rglob("*")
        if path.is_file() and _TEXT.match(path.name)
    )
    holders = "\n ".join(dict.fromkeys(each for path in texts for each in copyright_lines(path)))
    places = "".join(f" /{path.relative_to(stage)}\n" for path in texts)
    return (
        f"Files: {packages.relative_to(stage)}/{module}*\n"
        f"Copyright: {holders or f'the authors of {distribution.name}'}\n"
        f"License: {license_of(distribution)}\n"
        f" {distribution.name} {distribution.version}; the text comes with the package:\n{places}"
    )


def copyright_lines(path: Path) -> Iterator[str]:
    """Yield years and holders, as the licence text at *path* has them."""
    for line in path.read_text(errors="replace").splitlines():
        if (found := _HOLDER.match(line.strip())) is not None:
            yield found[1].strip()


def license_of(distribution: Distribution) -> str:
    """Return the licence that the metadata names: an expression, a short name, or a classifier."""
    metadata = distribution.metadata
    short = metadata.get("License") or ""
    classifiers = (
        each.rpartition(":: ")[2]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License ::")
    )
    return (
        metadata.get("License-Expression")
        or ("" if "\n" in short else short)
        or " or ".join(classifiers)
        or "unknown"
    )


if __name__ == "__main__":
    main()
