"""Programs that go through a large file in short steps forward."""

import io
import subprocess
import tarfile
from pathlib import Path

from tests.mount.memory_mount import memory_mount

MEMBERS = 100
MEMBER = 200 << 10  # bytes


def test_tar_lists_an_archive_with_far_fewer_requests_than_members(tmp_path: Path) -> None:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as mount:
        mount.command("put", "a.tar", archive())
        mount.command("requests")

        listed = subprocess.run(
            ["tar", "-tf", mount / "a.tar"], capture_output=True, check=True, text=True
        )

        assert [f"member-{number}" for number in range(MEMBERS)] == listed.stdout.splitlines()
        assert sum(kind == "GET" for kind, *_ in mount.command("requests")) <= MEMBERS // 4


def archive() -> str:
    """A tar archive of ASCII members."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for number in range(MEMBERS):
            member = tarfile.TarInfo(f"member-{number}")
            member.size = MEMBER
            archive.addfile(member, io.BytesIO(b"x" * MEMBER))
    return written.getvalue().decode("ascii")
