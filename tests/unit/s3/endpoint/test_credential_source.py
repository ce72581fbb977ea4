"""Programs that print credentials: how they are started, and what kills them."""

import http.server
import json
import os
import pty
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, StoreError
from s3mount.s3.endpoint import credential_process
from s3mount.s3.endpoint.boto_session import open_session
from s3mount.s3.endpoint.credential_chain import CredentialChain, Keys
from s3mount.s3.endpoint.credential_source import REFRESH_BEFORE, ChainSource
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.transport import Retryable
from tests.waiting import wait_until

PATIENCE = 30.0  # seconds; a bound for failing
PRINTED = {"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "s", "SessionToken": "t"}
AROUND_PROFILE = (
    "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = below\n"
    "[profile below]\n"
)

Program = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return a function that makes a program the `credential_process` of the profile *section*."""

    def make(text: str, section: str = "[default]\n", interpreter: str = "/bin/sh") -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!{interpreter}\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "config").write_text(f"{section}credential_process = {path}\n")
        return path

    return make


@pytest.fixture
def source() -> Iterator[ChainSource]:
    made = ChainSource(lambda: open_session(StoreConfig(bucket="photos")).below)
    yield made
    made.close()


def printing(**changes: str) -> str:
    """A shell's line."""
    return f"echo {shlex.quote(json.dumps({**PRINTED, **changes}))}"


def chain_of(source: ChainSource) -> CredentialChain:
    return CredentialChain(source, sign=True)


def soon() -> float:
    return time.monotonic() + PATIENCE


def wait_gone(pid: int) -> None:
    """Return when no process *pid* runs; it may be an orphan."""
    wait_until(lambda: _state(pid) in ("", "Z"), PATIENCE)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_the_output_of_a_program_is_used_for_signing(program: Program, source: ChainSource) -> None:
    program(printing())

    assert source.look_up(fresh=False) == Keys(FrozenCredentials("AKID", "s", "t"))
    assert source.kind == "credential_process"


def test_the_expiry_of_credentials_is_known(program: Program, source: ChainSource) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=6)
    program(printing(Expiration=end.isoformat()))

    keys = source.look_up(fresh=False)

    assert (keys.expires_at, keys.refresh_at) == (end.timestamp(), end.timestamp() - REFRESH_BEFORE)


MASKS = """
import json, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
blocked, ignored = status["SigBlk"].strip(), status["SigIgn"].strip()
print(json.dumps({"Version": 1, "AccessKeyId": blocked, "SecretAccessKey": ignored}))
"""
# SIGPIPE and SIGXFSZ are ignored by Python itself, which this program is written in
PYTHON_IGNORES = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1


def test_a_program_is_started_with_no_signal_blocked(program: Program, source: ChainSource) -> None:
    program(MASKS, interpreter=sys.executable)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        keys = chain_of(source).frozen(soon())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert (int(keys.access_key, 16), int(keys.secret_key, 16)) == (0, PYTHON_IGNORES)


@pytest.mark.parametrize(
    "section", ["[default]\n", AROUND_PROFILE], ids=["own", "of-the-source-profile"]
)
def test_a_program_that_hangs_is_killed_with_its_children(
    section: str,
    program: Program,
    source: ChainSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credential_process, "PROCESS_LIMIT", 0.5)
    monkeypatch.setattr(credential_process, "_has_terminal", lambda: False)
    program(f"echo $$ >{tmp_path}/shell\nsleep 1000 &\necho $! >{tmp_path}/child\nwait", section)

    with pytest.raises(Retryable):
        source.look_up(fresh=False)

    assert source.kind == "credential_process"
    for name in ("shell", "child"):
        wait_gone(int((tmp_path / name).read_text()))


def test_a_child_that_a_program_left_with_its_pipes_is_killed(
    program: Program, source: ChainSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look-up left one such child: only programs that still ran themselves were killed."""
    monkeypatch.setattr(credential_process, "PROCESS_LIMIT", 0.5)
    monkeypatch.setattr(credential_process, "_has_terminal", lambda: False)
    program(f"sleep 60 &\necho $! >{tmp_path}/child")

    with pytest.raises(Retryable):
        source.look_up(fresh=False)

    wait_gone(int((tmp_path / "child").read_text()))


IN_A_SESSION = """
import fcntl, os, sys, termios
from s3mount.config import StoreConfig
from s3mount.s3.endpoint.boto_session import open_session
from s3mount.s3.endpoint.credential_source import ChainSource
if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
keys = ChainSource(lambda: open_session(StoreConfig(bucket="photos")).below).look_up(fresh=False)
print("same" if int(keys.frozen.access_key) == os.getpgrp() else "own")
"""


@pytest.mark.parametrize(("has_terminal", "group"), [(True, "same"), (False, "own")])
def test_a_program_may_prompt_at_the_terminal_if_there_is_one(
    group: str, program: Program, *, has_terminal: bool
) -> None:
    """Only the foreground process group may read there."""
    text = (
        "read -r _ _ _ _ group _ </proc/$$/stat; "
        """echo '{"Version": 1, "SecretAccessKey": "s", "AccessKeyId": "'$group'"}'"""
    )
    program(text)
    ours, theirs = pty.openpty()

    done = subprocess.run(
        [sys.executable, "-c", IN_A_SESSION],
        stdin=theirs if has_terminal else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=PATIENCE,
        check=True,
    )
    os.close(ours)
    os.close(theirs)

    assert done.stdout.strip() == group


def test_the_next_look_up_replaces_a_program_that_hung(
    program: Program, source: ChainSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_process, "PROCESS_LIMIT", 0.5)
    program(
        f"[ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; exec sleep 1000; }}\n{printing()}"
    )
    chain = chain_of(source)

    with pytest.raises(Retryable):
        chain.frozen(soon())
    monkeypatch.setattr(credential_process, "PROCESS_LIMIT", PATIENCE)

    assert _until_found(chain).access_key == "AKID"


def _until_found(chain: CredentialChain) -> FrozenCredentials:
    """As requests do that come one after another."""
    end = soon()
    while True:
        try:
            return chain.frozen(end)
        except Retryable:
            assert time.monotonic() < end


def test_closing_ends_a_program_that_hangs(
    program: Program, source: ChainSource, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pid")
    program(f"echo $$ >{tmp_path}/pid\nexec sleep 1000")
    chain = chain_of(source)
    asking = threading.Thread(target=_ask, args=(chain,))
    asking.start()
    pid = int((tmp_path / "pid").read_text())

    chain.close()

    asking.join(PATIENCE)
    wait_gone(pid)
    assert not asking.is_alive()


def _ask(chain: CredentialChain) -> None:
    with pytest.raises((AccessDenied, StoreError)):
        chain.frozen(soon())


def test_a_program_that_prints_without_end_is_killed(
    program: Program, source: ChainSource, tmp_path: Path
) -> None:
    program(f"echo $$ >{tmp_path}/pid\nexec yes")

    with pytest.raises(AccessDenied, match="without end"):
        source.look_up(fresh=False)

    wait_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "echo a-secret",
        "echo '[]'",
        "echo '{}'",
        "echo 7",
        "printf '\\377'",
        "true",
        "echo a-secret >&2; exit 1",
        "kill -9 $$",
        printing(AccessKeyId=""),
        """echo '{"Version": 1, "AccessKeyId": null, "SecretAccessKey": "a-secret"}'""",
        """echo '{"Version": 1, "AccessKeyId": 7, "SecretAccessKey": "a-secret"}'""",
        (
            """echo '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "a-secret", """
            """"SessionToken": 7}'"""
        ),
        printing(Expiration="a-secret"),
        printing(Expiration="1999-01-01T00:00:00Z"),
    ],
)
def test_the_failure_of_a_program_is_one_line_without_its_output(
    text: str, program: Program, source: ChainSource
) -> None:
    program(text)

    with pytest.raises(AccessDenied, match=r"_process of profile .*: it ") as caught:
        chain_of(source).frozen(soon())

    assert "a-secret" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_missing_program_is_reported(program: Program, source: ChainSource) -> None:
    program("").unlink()

    with pytest.raises(AccessDenied, match="cannot be run"):
        chain_of(source).frozen(soon())


def test_only_files_that_changed_may_have_other_keys(
    source: ChainSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    keys = "[default]\naws_access_key_id = A\naws_secret_access_key = "
    (tmp_path / "credentials").write_text(f"{keys}old\n")
    source.look_up(fresh=True)
    before = source.may_have_changed()

    (tmp_path / "new").write_text(f"{keys}new\n")
    (tmp_path / "new").rename(tmp_path / "credentials")
    after = source.may_have_changed()
    found = source.look_up(fresh=True)

    assert (before, after, source.may_have_changed()) == (False, True, False)
    assert found.frozen.secret_key == "new"


def test_keys_of_the_environment_never_change(
    source: ChainSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    source.look_up(fresh=True)

    assert source.may_have_changed() is False


def test_what_a_program_gives_may_always_have_changed(
    program: Program, source: ChainSource
) -> None:
    program(printing())
    source.look_up(fresh=True)

    assert source.may_have_changed() is None


class Service(http.server.BaseHTTPRequestHandler):
    """Service of a machine that answers 503, until *is_up*."""

    is_up = False
    keys: ClassVar[dict[str, str]] = {
        "Code": "Success",
        "AccessKeyId": "AKID",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }

    def do_PUT(self) -> None:
        self._reply(b"token")

    def do_GET(self) -> None:
        self._reply(b"role" if self.path.endswith("/") else json.dumps(self.keys).encode())

    def do_POST(self) -> None:
        self._reply(b"<ErrorResponse><Error><Code>Unknown</Code></Error></ErrorResponse>")

    def log_message(self, *args: object) -> None:
        pass

    def _reply(self, body: bytes) -> None:
        self.send_response(200 if self.is_up else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a `Service`, and no pauses between botocore's attempts."""
    monkeypatch.setattr(Service, "is_up", False)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


ROLE_OF_MACHINE = (
    "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\n"
    "credential_source = Ec2InstanceMetadata\n"
)


@pytest.mark.parametrize(
    ("variable", "config"),
    [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", ""),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", ROLE_OF_MACHINE),
    ],
)
def test_a_service_of_the_machine_that_is_not_up_yet_is_tried_again(
    *,
    variable: str,
    config: str,
    service: str,
    source: ChainSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At boot, the first look-up may come before the service is up or knows the role."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service)
    monkeypatch.setenv(variable, f"{service}/keys" if "URI" in variable else service)
    (tmp_path / "config").write_text(config)

    with pytest.raises(Retryable):
        source.look_up(fresh=True)

    if not config:
        Service.is_up = True
        assert source.look_up(fresh=True).frozen == FrozenCredentials("AKID", "s", "t")


def test_keys_that_nothing_gives_are_not_waited_for(source: ChainSource) -> None:
    with pytest.raises(AccessDenied):
        source.look_up(fresh=True)


def test_a_token_service_that_fails_is_tried_again(
    service: str, source: ChainSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda *_, **__: 0)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service)
    (tmp_path / "token").write_text("token")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")

    with pytest.raises(Retryable, match="the token service"):
        source.look_up(fresh=True)
