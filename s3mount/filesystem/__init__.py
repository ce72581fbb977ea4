"""The file system: a tree of directories and files over a flat store. Knows no FUSE.

Layers, from the top: `facade` (what `fuse/` sees), `handles` (open files and directories),
`prefetch` (policies), `namespace` (lookup, metadata cache, inodes), `listing` (pages of entries),
`names` and `weights`. Invariants: never a wrong byte, and no name twice in one directory.
"""
