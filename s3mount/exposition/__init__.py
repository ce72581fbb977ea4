"""Prometheus' text format of a mount's metrics, over HTTP.

collector, the numbers in that format; request_head, what a client asks for; server, which clients
are served and for how long; listening_socket, where it listens; identity, what tells mounts apart.
"""
