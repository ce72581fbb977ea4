"""Disks that fail, for caches: a file system of the tests' own, and small real ones."""
