"""Rclone's S3 server: an approximate store over a directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.running import program, reserved_ports, running
from tests.servers.server import Quirk, S3Server

QUIRKS = frozenset(
    {
        Quirk.IGNORES_IF_MATCH,
        Quirk.NO_VERSIONS,
        Quirk.NO_ARCHIVE,
        Quirk.KEYS_ARE_PATHS,
        Quirk.NO_OBJECT_BESIDE_ITS_PREFIX,
        Quirk.NO_MARKERS,
    }
)


@contextmanager
def rclone() -> Iterator[S3Server]:
    """Run an rclone server of an empty directory."""
    with TemporaryDirectory(prefix="rclone-") as home, reserved_ports(1) as (port,):
        server = S3Server("rclone", f"http://127.0.0.1:{port}", QUIRKS)
        folder = Path(home, "buckets")
        folder.mkdir()
        command = [
            program("rclone"),
            *("serve", "s3", str(folder)),
            *("--config", str(Path(home, "rclone.conf")), "--cache-dir", str(Path(home, "cache"))),
            *("--addr", f"127.0.0.1:{port}"),
            *("--auth-key", f"{server.access_key},{server.secret_key}"),
        ]
        with running(command, port=port, log=Path(home, "log")):
            yield server
