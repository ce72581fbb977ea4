"""Readahead policies: which byte ranges to fetch, for which reads, and ahead of them.

Offsets, counts and sizes only: no bytes, tasks or clocks. `policy` decides for one object version,
by `sequential_stream`, `forward_steps` and `stride`; `shares` divides the memory among streams.
"""
