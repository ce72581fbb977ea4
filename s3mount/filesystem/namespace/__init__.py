"""The namespace: from names to entries and inodes, through a metadata cache.

Reading order: `ttl_policy` and `invalidations` (what expires), `directory` (one directory's state),
`directory_lru` (all, within the memory limit), `metadata_cache` (directories and their scans),
`volume`, `name_resolver` (requests for one name), `inode_table` and `kernel_references` (what the
kernel holds), `tree` (lookup). Invariant: the newest knowledge of a name wins.
"""
