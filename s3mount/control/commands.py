"""Interface of commands: what the server calls for a request."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from s3mount.control.protocol import Arguments, Object

Send = Callable[[Sequence[Object]], Awaitable[None]]
"""Send items to the client at once: a checkpoint, which may wait until the client has read.

If the client has gone, the command is cancelled here.
"""

Command = Callable[[Arguments, Send], Awaitable[Object]]
"""Run a command with checked arguments, send its items, and return its result.

It is cancelled when the client closes its connection. It raises ProtocolError to refuse, or an
S3MountError, whose message the client gets. Items and result are JSON, with no secret in it.
"""

Commands = Mapping[str, Command]
