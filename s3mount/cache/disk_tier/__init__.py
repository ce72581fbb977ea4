"""Disk tier of the block cache: a block source that answers from `s3mount.disk`, and writes to it.

In reading order: `protocol` is what it needs of a disk cache, `source` the block source. A read is
looked up by `segment_lookups` and `read` (whole blocks) or `direct_reader` (small files, and reads
past the memory), in the threads of `readers`. What comes from the store is written by `writer`,
from its `write_queue`. `health` says when the disk is bypassed.
"""
