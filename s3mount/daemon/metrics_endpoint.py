"""Metrics endpoint in the life of a mount: it listens before the mount, and is served with it.

Clients that connect before the mount is ready wait in the backlog of the socket.
"""

import logging
from collections.abc import Callable

from s3mount.config import Config, MetricsAddress
from s3mount.exposition.identity import register_identity
from s3mount.exposition.listening_socket import MetricsSocket
from s3mount.exposition.server import MetricsServer
from s3mount.metrics import Metrics

TextFormat = Callable[[Metrics], bytes]

log = logging.getLogger(__name__)


class MetricsEndpoint:
    """The metrics of one mount at *address*, in *text_format*. The constructor raises SetupError.

    It is made before the first thread, and with the rights of the user who serves.
    """

    def __init__(self, config: Config, address: MetricsAddress, text_format: TextFormat) -> None:
        self._config = config
        self._text_format = text_format
        self._socket = MetricsSocket(address)

    async def serve(self, metrics: Metrics) -> None:
        """Serve *metrics* until cancelled."""
        register_identity(metrics, self._config)
        log.info("metrics are served at %s", self._socket.shown)
        await MetricsServer(self._socket, lambda: self._text_format(metrics)).run()

    def close(self) -> None:
        """Stop listening. Never raises."""
        self._socket.close()
