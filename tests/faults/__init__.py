"""A store that misbehaves, and what a mount makes of it.

`bucket` answers as S3 does, from memory. `hostile_store` puts it on a socket, and lets a script of `http_faults` and `content_faults` spoil
chosen answers. `catalogue` lists every misbehaviour with the outcome that is right for it; `test_survival` tries them all
through the real kernel. A fake only for what no real part can be made to do: that a mount is right on a store that
behaves is shown elsewhere, on real stores.
"""
