"""Control socket of a mount: a Unix socket that tells its state and takes commands.

Runs in the process of the mount; docs/control.md documents the protocol. Read `protocol` first
(lines, messages, the table of commands), then `locations` and `socket_folder` (the path of a
socket, and who may make it), `server` and `connection` (clients), and the commands. Only `protocol`
and `locations` are for clients as well: they import neither trio nor what serves.
"""
