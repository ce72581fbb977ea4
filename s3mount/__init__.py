"""s3mount: mounts S3 buckets read-only on Linux, through FUSE.

Packages, from the top; each imports only those below it (import-linter's contracts in
pyproject.toml):

    ctl          s3mountctl: a client of running mounts
    cli          arguments, files and fstab → one frozen Config
    daemon       the life of one mount: startup, privileges, signals; wiring is the composition root
    fuse         kernel requests → calls of the file system → replies and errnos
    filesystem   handles > prefetch > namespace > listing: names, inodes, directories, open files
    cache        blocks of object versions: single-flight loads, memory, readahead
    s3           the object store: requests, retries, hedging; transports, endpoint, credentials
    unawaited    reports of failures that no caller awaits
    config, errors, metrics, printable   values and helpers for all of them
"""

__version__ = "0.1.0"
