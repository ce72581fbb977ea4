"""Fault injection: a hostile store, and what a mount of it shows the user.

`bucket` computes S3's responses from memory. `hostile_store` serves them on a socket, and applies
the faults of `http_faults` and `content_faults` to chosen requests. `catalogue` lists every
misbehaviour with its correct outcomes; `test_survival` runs each through the real kernel.
The other suites show on real stores that a mount is correct while its store is.
"""
