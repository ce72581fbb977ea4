"""The command s3mountctl: questions and orders to running mounts, over their control sockets.

Read: commands (the registry), mounts (which mounts are there, and which one is meant), client (the
protocol), output (terminal, pipe or JSON), units (texts of values); then a module for each command,
and its view, which draws.

Invariants: a mount point is never accessed, so a mount that hangs cannot stop the client. Text from
outside is escaped before it is shown. rich is imported where something is drawn, and only there.
"""
