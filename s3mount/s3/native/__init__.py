"""A transport of our own: HTTP/1.1 over kept-alive connections, signed with Signature Version 4.

In reading order: `transport`, `http_exchange`, `request_encoding`, `sigv4`; `connection_pool`,
`connector`, `connection`, `receive_buffer`, `response_header`, `body`, `socket_stream`,
`tls_stream`. `redirects` is a transport over another one. Invariants: what a response means is not
known here; a connection that was not left clean serves no other exchange; no call waits past its
deadline by more than a tick.
"""
