"""Readahead policies: which byte ranges to fetch, for which reads, and ahead of them.

Offsets, counts and sizes only: no bytes, tasks or clocks. `policy` decides for one object version,
by `sequential_stream` and `forward_steps`. `stride` plans the elements that come next in a stride,
and `shares` divides the memory among streams.
"""
