"""Metadata that outlives the memory and the mount: listings and dentries as records.

A store of records keeps them (on disk, or in memory beside the cache). Records are untrusted: what
is malformed is absent.
"""
