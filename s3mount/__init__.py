"""s3mount: mounts S3 buckets read-only on Linux, through FUSE.

The house, from the door inwards; imports run downwards only:

    cli          what a person types → one frozen Config
    service      the life of one mount: composition root, signals, readiness
    fuse         the kernel's door: requests → filesystem calls → replies and errnos
    filesystem   what the mount looks like: tree, inodes, directories, open files
    blocks       bytes kept: one load per block, memory, readahead
    s3           the store's door: listings, objects, errors
    config, errors   values that every room may hold
"""

__version__ = "0.1.0"
