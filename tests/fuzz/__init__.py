"""Fuzzing through the real kernel: several users read a random bucket while it changes.

`python -m tests.fuzz --seconds 3600` runs rounds with fresh seeds, `--seed N` repeats a round.
`options` draws a round, `store` serves its bucket, `users` read the mount and compare what they see
with the bucket's history, `rounds` runs it all. `tests/property/test_filesystem.py` does the same
on a virtual clock; here the kernel's caches and threads take part.
"""
