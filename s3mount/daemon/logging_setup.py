"""Logging: destinations and formats.

1. Libraries cannot log credentials: boto3 and botocore log signed headers at debug, and stay at
   warning whatever the level. urllib3 stays at error, since its warnings are raised as well, or
   tolerated.
2. Logging never raises; a line that cannot be written is lost. Repetitions are limited, and
   counted.
3. A record is one line; only a traceback adds lines, which are indented. Text from outside is
   escaped when it enters a message, and again by the formatters, for the messages of libraries.
"""

import errno
import logging
import os
import sys
import time
from collections.abc import Mapping
from logging.handlers import SysLogHandler
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

import trio

from s3mount.config import LogConfig, LogLevel
from s3mount.daemon.log_file import LogFileHandler
from s3mount.daemon.log_rate_limit import PERIOD, LogLimit
from s3mount.errors import SetupError
from s3mount.metrics import Metrics
from s3mount.printable import LINE_LIMIT, TRACEBACK_LIMIT, printable, printable_lines

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PLAIN: Final = "%(name)s: %(message)s"  # syslog and the journal add time and level
_REPLY_FAILED: Final = "fuse_reply_* failed with %s"  # pyfuse3's handlers.pxi, of each handler
_GONE: Final = os.strerror(errno.ENOENT)
_SYSLOG: Final = "/dev/log"
_AT_WARNING: Final = ("boto3", "botocore", "s3transfer", "pyfuse3", "trio", "asyncio")
# botocore warns of a failed refresh with a traceback, which quotes a credential process's output
_AT_ERROR: Final = ("urllib3", "botocore.credentials", "botocore.tokens")
_LEVELS: Final[Mapping[int, LogLevel]] = MappingProxyType(
    {
        logging.DEBUG: "debug",
        logging.INFO: "info",
        logging.WARNING: "warning",
        logging.ERROR: "error",
    }
)
_PRIORITIES: Final[Mapping[str, int]] = MappingProxyType(  # <syslog.h>
    {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
)

log = logging.getLogger(__name__)


class _LineFormatter(logging.Formatter):
    """Text formatter: a message is one line, and a traceback is indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record), LINE_LIMIT)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return printable_lines(super().formatException(ei), TRACEBACK_LIMIT)

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return printable_lines(super().formatStack(stack_info), TRACEBACK_LIMIT)


class _JournalFormatter(_LineFormatter):
    """Text formatter with the priority in front, see sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        return "\n".join(f"<{_PRIORITIES.get(record.levelname, 6)}>{line}" for line in lines)


def import_log_libraries(config: LogConfig) -> None:
    """Import what `set_up_log` will need: the user who serves may not be able to read it."""
    if config.format == "json":
        import s3mount.daemon.json_formatter  # noqa: F401, PLC0415


def set_up_log(config: LogConfig, *, foreground: bool) -> None:
    """Configure logging; by default to stderr in the foreground, and to syslog in the background.

    What it imports late is imported before, by `import_log_libraries`. Raises SetupError if the
    file cannot be written.
    """
    handler = _handler(config.file, foreground=foreground)
    if config.format == "json":
        from s3mount.daemon.json_formatter import json_formatter  # noqa: PLC0415

        handler.setFormatter(json_formatter())
    elif handler.formatter is None:
        handler.setFormatter(_LineFormatter(_TEXT))
    handler.addFilter(LogLimit(time.monotonic))
    logging.raiseExceptions = False
    logging.getLogger().handlers[:] = [handler]
    set_log_level(config.level)
    for name in _AT_ERROR:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("pyfuse3").addFilter(_is_reply_wanted)


def set_log_level(level: LogLevel) -> LogLevel:
    """Log from *level* on; return the level before."""
    root = logging.getLogger()
    before = _LEVELS.get(root.level, "info")
    root.setLevel(level.upper())
    for name in _AT_WARNING:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for limit in _limits():
        # at debug each request is a line anyway, and a reader looks for one of them
        limit.is_limiting = level != "debug"
    return before


def _is_reply_wanted(record: logging.LogRecord) -> bool:
    """Filter pyfuse3's errors about replies that nobody waits for, and log them at debug.

    ENOENT of a write to /dev/fuse: the request is gone, since its caller was killed, or since the
    mount was removed or aborted meanwhile.
    """
    is_lost = str(record.msg).endswith(_REPLY_FAILED) and record.args == (_GONE,)
    if is_lost:
        log.debug("a request was withdrawn before its reply: %s", record.getMessage())
    return not is_lost


def register_log_metrics(metrics: Metrics) -> None:
    """Register what is counted since `set_up_log`: warnings and worse, and suppressed records."""
    for limit in _limits():
        register_limit(limit, metrics)


def register_limit(limit: LogLimit, metrics: Metrics) -> None:
    """Register what *limit* counts."""
    counter = metrics.counter
    counter("log_warnings", "records", "Records at WARNING or above.", lambda: limit.warnings)
    counter("log_suppressed", "records", "Records that were suppressed.", lambda: limit.suppressed)


def log_suppressed() -> None:
    """Log how many records were suppressed since that was last logged."""
    for limit in _limits():
        limit.log_suppressed()


async def log_counts() -> None:
    """Log how many records were suppressed, from time to time, until cancelled."""
    while True:
        await trio.sleep(PERIOD)
        for limit in _limits():
            limit.log_due()


def _limits() -> list[LogLimit]:
    return [
        each
        for handler in logging.getLogger().handlers
        for each in handler.filters
        if isinstance(each, LogLimit)
    ]


def _handler(file: Path | None, *, foreground: bool) -> logging.Handler:
    if file is None:
        return _terminal(sys.stderr) if foreground else _syslog()
    match str(file):
        case "/dev/null":
            return logging.NullHandler()
        case "/dev/stderr" | "/dev/stdout" if not foreground:
            raise SetupError(
                f"--log-file {file}: it is not available in the background; "
                "use --foreground, or name a file"
            )
        case "/dev/stderr":
            return _terminal(sys.stderr)
        case "/dev/stdout":
            return _terminal(sys.stdout)
        case _:
            return _log_file(file)


def _log_file(file: Path) -> logging.Handler:
    try:
        return LogFileHandler(file)
    except OSError as exc:
        raise SetupError(f"--log-file {file}: it cannot be written: {exc.strerror}") from exc


def _terminal(stream: TextIO) -> logging.Handler:
    """Return a handler of *stream*, with lines for the journal if that is what it is."""
    handler = logging.StreamHandler(stream)
    if _is_journal(stream.fileno(), os.environ.get("JOURNAL_STREAM", "")):
        handler.setFormatter(_JournalFormatter(_PLAIN))
    return handler


def _is_journal(descriptor: int, journal_stream: str) -> bool:
    """Whether *descriptor* is the stream that systemd connected, see systemd.exec(5)."""
    stat = os.fstat(descriptor)
    return journal_stream == f"{stat.st_dev}:{stat.st_ino}"


def _syslog() -> logging.Handler:
    """Return a handler of syslog; of nothing on a machine without it, such as a container."""
    try:
        handler = _NonBlockingSyslogHandler(_SYSLOG, SysLogHandler.LOG_DAEMON)
    except OSError:
        return logging.NullHandler()
    handler.ident = f"s3mount[{os.getpid()}]: "
    handler.setFormatter(_LineFormatter(_PLAIN))
    return handler


class _NonBlockingSyslogHandler(SysLogHandler):
    """Syslog handler that never waits: a line that the syslog daemon does not take is lost."""

    # called by createSocket, and by emit after a failure
    def _connect_unixsocket(self, address: str) -> None:
        super()._connect_unixsocket(address)  # type: ignore[misc]
        self.socket.setblocking(False)  # type: ignore[attr-defined]
