"""Warm-up: directories listed, and files fetched, since a user will want them soon.

A user says what; these modules say in which order, how much of it, and when it is in vain. Each
knows the metadata cache, and the block cache by a protocol.
"""
