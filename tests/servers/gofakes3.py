"""Gofakes3: a store in memory, in the tests of many Go programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.running import program, reserved_ports, running
from tests.servers.server import Quirk, S3Server

QUIRKS = frozenset(
    {
        Quirk.IGNORES_IF_MATCH,
        Quirk.NO_ARCHIVE,
        Quirk.LISTS_AS_PLAIN_XML,
        Quirk.REPEATS_COMMON_PREFIXES,
        Quirk.ODD_VERSIONS,
        Quirk.VERSION_IDS_IN_HEAD_ONLY,
        Quirk.ANYBODY_MAY_READ,
    }
)


@contextmanager
def gofakes3() -> Iterator[S3Server]:
    """Run a server."""
    with TemporaryDirectory(prefix="gofakes3-") as home, reserved_ports(1) as (port,):
        command = [program("gofakes3"), "-host", f"127.0.0.1:{port}", "-backend", "memory"]
        with running(command, port=port, log=Path(home, "log")):
            yield S3Server("gofakes3", f"http://127.0.0.1:{port}", QUIRKS)
