"""boto3's credential chain as a `Source`: blocking look-ups, and the programs that they start.

Names the kind of source that it asks, and shows nothing that a source printed. What always holds:

1. A program that the chain starts (`credential_process`) ends: by itself, after `PROCESS_LIMIT`
   seconds, after `OUTPUT_LIMIT` bytes, or by `close`.
2. No thread holds the interpreter's lock until the program runs. With vfork(2) some versions of
   Python do: the search for the program may lead through the mount, which then cannot answer.

See docs/decisions/credentials.md.
"""

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

from botocore import exceptions
from botocore.credentials import AssumeRoleProvider, ProcessProvider, RefreshableCredentials

from s3mount.errors import AccessDenied
from s3mount.s3.endpoint.credentials import FrozenCredentials, Keys

PROCESS_LIMIT: Final = 60.0  # seconds, as the read timeout of botocore's own requests
OUTPUT_LIMIT: Final = 1 << 20  # bytes; credentials are some kilobytes, and botocore has no limit
_REAPED_WITHIN: Final = 1.0  # seconds after SIGKILL; a program may hang in the kernel
REFRESH_BEFORE: Final = 15 * 60.0  # seconds before the end, as botocore's advisory refresh

# https://docs.python.org/3/library/subprocess.html#disabling-use-of-vfork-or-posix-spawn
subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001 - it is no constant there

_KINDS: Final = {
    "custom-process": "credential_process",
    "iam-role": "the instance metadata service",
    "container-role": "the container's credential endpoint",
    "assume-role": "the token service, for the role of this profile",
    "assume-role-with-web-identity": "the token service, for a web identity",
    "sso": "IAM Identity Center (SSO)",
    "login": "AWS sign-in",
    "env": "the environment",
}


class ChainSource:
    """The credential chain of a session, which is opened again for each look-up that asks anew."""

    def __init__(self, open_session: Callable[[], Any]) -> None:
        self._open_session = open_session
        self._found: Any = (
            None  # botocore's credentials, which refresh themselves when they are asked
        )
        self._kind = "the credential chain"
        # the program that runs or ran last, and whether none may run any more
        self._process: _CredentialProcess | None = None
        self._is_closed = False

    @property
    def kind(self) -> str:
        return self._kind

    def look_up(self, *, anew: bool) -> Keys:
        if anew or self._found is None:
            self._found = None
            self._found = self._load()
        found = self._found
        if found is None:
            raise exceptions.NoCredentialsError
        self._ask(found.method)
        frozen = found.get_frozen_credentials()
        return _keys(frozen, found)

    def close(self) -> None:
        self._is_closed = True
        if self._process is not None:
            self._process.end()

    def _load(self) -> Any:
        """Return the credentials of the first provider that has any, as botocore's resolver does."""
        resolver = self._open_session().get_component("credential_provider")
        for provider in resolver.providers:
            self._ask(provider.METHOD)
            self._bound_processes(provider)
            found = provider.load()
            if found is not None:
                return found
        return None

    def _ask(self, method: str) -> None:
        self._kind = _KINDS.get(method, f"the provider {method!r}")

    def _bound_processes(self, provider: Any) -> None:
        """Have *provider*, and those that it makes for a source profile, start programs by `_start`."""
        if isinstance(provider, ProcessProvider):
            provider._popen = self._start  # noqa: SLF001 - an argument of its constructor
        elif isinstance(provider, AssumeRoleProvider):
            builder = provider._profile_provider_builder  # noqa: SLF001 - as above
            if builder is not None:
                builder.providers = self._bounding(builder.providers)

    def _bounding(self, providers: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def bounded(*args: Any, **kwargs: Any) -> list[Any]:
            made = providers(*args, **kwargs)
            for provider in made:
                self._bound_processes(provider)
            return made

        return bounded

    def _start(self, command: list[str], **pipes: Any) -> "_CredentialProcess":
        self._ask(ProcessProvider.METHOD)
        process = self._process = _CredentialProcess(command, **pipes)
        if self._is_closed:
            process.end()
        return process


def _keys(frozen: Any, found: Any) -> Keys:
    """Return *frozen* with their times. Raises AccessDenied if the source left out a part."""
    key, secret, token = frozen.access_key, frozen.secret_key, frozen.token
    if not (
        key
        and secret
        and isinstance(key, str)
        and isinstance(secret, str)
        and isinstance(token, str | None)
    ):
        raise AccessDenied("the configured source of credentials gives incomplete ones")
    expiry = (
        getattr(found, "_expiry_time", None) if isinstance(found, RefreshableCredentials) else None
    )
    expires_at = math.inf if expiry is None else expiry.timestamp()
    return Keys(FrozenCredentials(key, secret, token), expires_at - REFRESH_BEFORE, expires_at)


class _CredentialProcess(subprocess.Popen[bytes]):
    """A program that is killed after `PROCESS_LIMIT` seconds, or `OUTPUT_LIMIT` bytes of output.

    It gets a process group of its own, so that its children are killed with it. Not where there is
    a terminal: the program may ask a person there, and only the foreground group may read.
    """

    def __init__(self, command: list[str], **pipes: Any) -> None:
        self._has_group = not _has_terminal()
        super().__init__(command, process_group=0 if self._has_group else None, **pipes)

    def communicate(
        self,
        input: bytes | None = None,  # noqa: A002, ARG002 - the signature of subprocess.Popen
        timeout: float | None = None,  # noqa: ARG002
    ) -> tuple[bytes, bytes]:
        """Return both outputs. Raises TimeoutError if it takes too long, AccessDenied if it prints too much."""
        end = time.monotonic() + PROCESS_LIMIT
        try:
            printed, complained = self._read(end)
            self.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError("the credential process was killed") from None
        finally:
            self.end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(_REAPED_WITHIN)
        return printed, complained

    def end(self) -> None:
        """Kill the program, unless it was waited for; does not wait for its end.

        One that has ended by itself may have left children, which hold the pipes. Until it is waited
        for, its number is nobody else's.
        """
        with contextlib.suppress(OSError), self._waitpid_lock:  # type: ignore[attr-defined]  # held for moments
            if self.returncode is None:
                (os.killpg if self._has_group else os.kill)(self.pid, signal.SIGKILL)

    def _read(self, end: float) -> tuple[bytes, bytes]:
        assert self.stdout is not None
        assert self.stderr is not None
        printed, complained = bytearray(), bytearray()
        with self.stdout, self.stderr, selectors.DefaultSelector() as selector:
            selector.register(self.stdout, selectors.EVENT_READ, printed)
            selector.register(self.stderr, selectors.EVENT_READ, complained)
            while selector.get_map():
                self._take(selector, end)
        return bytes(printed), bytes(complained)

    def _take(self, selector: selectors.BaseSelector, end: float) -> None:
        ready = selector.select(max(0.0, end - time.monotonic()))
        if not ready:
            raise subprocess.TimeoutExpired(self.args, PROCESS_LIMIT)
        for key, _ in ready:
            chunk = os.read(key.fd, 65536)
            key.data.extend(chunk)
            if len(key.data) > OUTPUT_LIMIT:
                raise AccessDenied("the credential_process prints without end")
            if not chunk:
                selector.unregister(key.fileobj)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
