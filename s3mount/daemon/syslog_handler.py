"""Syslog handler of the log, imported only if the log goes to syslog."""

from logging.handlers import SysLogHandler
from typing import Final

LOG_DAEMON: Final = SysLogHandler.LOG_DAEMON


class NonBlockingSyslogHandler(SysLogHandler):
    """Syslog handler that never waits: a line that the syslog daemon does not take is lost."""

    # called by createSocket, and by emit after a failure
    def _connect_unixsocket(self, address: str) -> None:
        super()._connect_unixsocket(address)  # type: ignore[misc]
        self.socket.setblocking(False)  # type: ignore[attr-defined]
