"""Relay in front of an S3 server: delays requests, limits the rate of connections, and counts.

Bodies move by splice(2) from socket to socket inside the kernel, so that the relay is not what is
measured. It changes no byte: signatures for the relay's own host and port stay valid. Supports
path-style plain HTTP only.

python -m benchmarks.relay --upstream http://127.0.0.1:8333 --port 9000 --delay-ms 20 --rate 90e6

prints its counts as JSON on SIGUSR1, at its end, and to each client of its control port.
"""

import argparse
import contextlib
import signal
import socket
import threading
import urllib.parse
from collections.abc import Callable
from typing import Self

from benchmarks.relayed_connection import Connection, Counts, Delay, Pace


class Relay:
    """Relay from 127.0.0.1:*port* (0: any free one) to *upstream*; seconds, and bytes a second."""

    def __init__(
        self,
        upstream: str,
        *,
        port: int = 0,
        control_port: int = 0,
        delay: float = 0,
        late_share: float = 0,
        rate: float | None = None,
    ) -> None:
        address = urllib.parse.urlsplit(upstream)
        if address.scheme != "http" or address.hostname is None:
            raise ValueError(f"not a plain HTTP address: {upstream}")
        self._upstream = (address.hostname, address.port or 80)
        self._delay, self._rate = Delay(delay, late_share), rate
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self._control = socket.create_server(("127.0.0.1", control_port))
        self.counts = Counts()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def control_port(self) -> int:
        return int(self._control.getsockname()[1])

    def start(self) -> None:
        """Serve from own threads until `close`."""
        for listener, answer in ((self._listener, self._relay), (self._control, self._report)):
            threading.Thread(target=self._accept, args=(listener, answer), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections; the present ones end with their clients."""
        for listener in (self._listener, self._control):
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
            listener.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self, listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._upstream)
        except OSError:
            client.close()
            return
        self.counts.add_connection()
        Connection(client, server, self.counts, self._delay, Pace(self._rate)).serve()

    def _report(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.sendall(self.counts.as_json().encode() + b"\n")


def main() -> None:
    """Relay until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--upstream", required=True, metavar="URL", help="the S3 server, plain HTTP"
    )
    parser.add_argument("--port", type=int, default=0, help="where to listen (any free one)")
    parser.add_argument(
        "--control-port", type=int, default=0, help="where the counts can be read (any free one)"
    )
    parser.add_argument("--delay-ms", type=float, default=0, help="added to each request (0)")
    parser.add_argument(
        "--late-share", type=float, default=0, help="of GETs is delayed by 1 to 2 s more (0)"
    )
    parser.add_argument(
        "--rate", type=float, metavar="BYTES", help="bytes a second of each connection (no limit)"
    )
    args = parser.parse_args()
    relay = Relay(
        args.upstream,
        port=args.port,
        control_port=args.control_port,
        delay=args.delay_ms / 1e3,
        late_share=args.late_share,
        rate=args.rate,
    )
    signal.pthread_sigmask(
        signal.SIG_BLOCK, signals := {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}
    )
    with relay:
        print(
            f"relay on 127.0.0.1:{relay.port}, counts on 127.0.0.1:{relay.control_port}", flush=True
        )
        while signal.sigwait(signals) == signal.SIGUSR1:
            print(relay.counts.as_json(), flush=True)
    print(relay.counts.as_json(), flush=True)


if __name__ == "__main__":
    main()
