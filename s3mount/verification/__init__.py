"""Verification: the bytes of an object, compared with what the store tells of them.

In reading order: `digests`, `evidence`, `stream_digest` and `verdict` are pure. `part_layouts` asks
for the parts of an object, `comparison` reads it, and `object_verifier` joins all of it over the
block cache, which it gets by a protocol. Nothing here knows names.
"""
