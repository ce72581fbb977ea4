"""FUSE adapter: kernel requests to file system calls, to replies and errnos; the kernel's caches.

Only this package and the composition root import pyfuse3. Read `operations` first (the request
handlers), then `error_mapping` (errors to errnos, deadlines), `user_limiter` (fairness),
`read_retries`, `entry_invalidator` (the kernel's dentries), `session` and `handshake` (the loop
that reads requests, and its INIT exchange).
"""
