"""Listening Unix socket of one mount, and its file.

Invariants:

1. The file is the user's alone (0600), in a folder of that user (`socket_folder`).
2. A file that is there before belongs to a mount that is gone, since no two mounts have one number
   at once; it is replaced.
3. The file is removed at the end, unless it belongs to a later mount by then.
"""

import socket
from pathlib import Path
from typing import Final

from s3mount.socket_file import SocketFile, socket_address

BACKLOG: Final = 32  # connections that wait to be accepted; further ones wait in connect(2)
MODE: Final = 0o600


class ListeningSocket:
    """Socket that listens at *path*. The constructor raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            with socket_address(path) as address:
                self.socket.bind(address)
            self._file = SocketFile(path)
            path.chmod(MODE)
            self.socket.listen(BACKLOG)
        except BaseException:  # raised again
            self.socket.close()
            raise

    def close(self) -> None:
        """Stop listening, and remove the file. Never raises; may be repeated."""
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        self._file.remove()
