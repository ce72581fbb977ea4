"""Moto: detailed S3 behaviour in memory, with hostile keys, versions and storage classes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.running import reserved_ports, running
from tests.servers.server import Quirk, S3Server

QUIRKS = frozenset({Quirk.ANYBODY_MAY_READ, Quirk.NO_NEWLINES})


@contextmanager
def moto() -> Iterator[S3Server]:
    """Run a moto server."""
    with TemporaryDirectory(prefix="moto-") as home, reserved_ports(1) as (port,):
        command = [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with running(command, port=port, log=Path(home, "log")):
            yield S3Server("moto", f"http://127.0.0.1:{port}", QUIRKS)
