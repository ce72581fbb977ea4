"""Disk cache: bytes of object versions, and small records, in a directory that mounts share.

A synchronous library for any thread of any process; it knows no event loop, no store and no tree.
`disk_cache.DiskCache` is what others use. `docs/cache-format.md` describes what is on the disk.
Whatever happens to the directory, what is read from it is right or absent.
"""
