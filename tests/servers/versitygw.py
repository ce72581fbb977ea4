"""Versity S3 Gateway over a directory: names are paths, ETags and versions are kept beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.running import program, reserved_ports, running
from tests.servers.server import Quirk, S3Server

QUIRKS = frozenset(
    {
        Quirk.KEYS_ARE_PATHS,
        Quirk.NO_OBJECT_BESIDE_ITS_PREFIX,
        Quirk.NO_ARCHIVE,
        Quirk.LISTS_AS_PLAIN_XML,
        Quirk.REPEATS_VERSIONS,
    }
)


@contextmanager
def versitygw() -> Iterator[S3Server]:
    """Run a gateway of an empty directory."""
    with TemporaryDirectory(prefix="versitygw-") as home, reserved_ports(1) as (port,):
        server = S3Server("versitygw", f"http://127.0.0.1:{port}", QUIRKS)
        for name in ("buckets", "versions"):
            Path(home, name).mkdir()
        command = [
            *(program("versitygw"), "--quiet", "--keep-alive", "--port", f"127.0.0.1:{port}"),
            *("--access", server.access_key, "--secret", server.secret_key),
            *("posix", "--versioning-dir", f"{home}/versions", f"{home}/buckets"),
        ]
        with running(command, port=port, log=Path(home, "log")):
            yield server
