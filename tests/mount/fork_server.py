"""Fork server: a process that has imported s3mount, of which each mount is a fork.

`python -m tests.mount.fork_server DESCRIPTOR MODULE...` imports each MODULE too, and serves one
client, which has the other end of the socket DESCRIPTOR. A request is a packet of JSON, and so is
its reply:

    {"arguments": [...], "environment": {...}}   start the command s3mount, with the descriptors
                                                 of the packet as 0 to 2; return its pid
    {"pid": ...}                                 wait for that process; return its exit status,
                                                 negative if a signal ended it

It has one thread, since a fork has only the thread that forks.
It imports what a mount imports before it serves (test_fork_server.py compares that), and nothing of
the tests.
"""

import gc
import json
import os
import socket
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import s3mount.daemon.control_wiring
import s3mount.daemon.startup
import s3mount.daemon.wiring  # noqa: F401 - a mount imports these three late
from s3mount.cli.main import main

PACKET_MAX = 1 << 17  # bytes
DESCRIPTORS = 3


def serve(client: socket.socket) -> None:
    """Serve requests until the client closes its end."""
    while True:
        packet, descriptors, _, _ = socket.recv_fds(client, PACKET_MAX, DESCRIPTORS)
        if not packet:
            return
        request = json.loads(packet)
        if "pid" in request:
            _, status = os.waitpid(request["pid"], 0)
            reply = os.waitstatus_to_exitcode(status)
        else:
            reply = _start(client, request, descriptors)
        client.send(json.dumps(reply).encode())


def _start(client: socket.socket, request: dict[str, Any], descriptors: list[int]) -> int:
    """Return the pid of a new process that runs the command."""
    pid = os.fork()
    if pid == 0:
        client.detach()
        _run(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return pid


def _run(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Run the command, as in a process of its own."""
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.closerange(DESCRIPTORS, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(request["environment"])
        time.tzset()
        sys.argv[1:] = request["arguments"]
        main()
    except BaseException:  # noqa: BLE001 - the process must not return to the server's loop
        traceback.print_exc()
    finally:
        os._exit(1)


if __name__ == "__main__":
    for module in sys.argv[2:]:
        import_module(module)
    gc.freeze()
    with suppress(KeyboardInterrupt), socket.socket(fileno=int(sys.argv[1])) as connected:
        serve(connected)
