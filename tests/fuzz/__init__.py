"""Random rounds through the real kernel: a mount of a random bucket, read by several users while the bucket changes.

`python -m tests.fuzz --seconds 3600` runs rounds with fresh seeds, `--seed N` a round again. `options` draws a round, `store` serves
its bucket, `users` read the mount and compare what they see with the history of the bucket, `rounds` puts them together. What
`tests/property/test_filesystem.py` checks on a virtual clock without a kernel is met here with the kernel's caches and threads.
"""
