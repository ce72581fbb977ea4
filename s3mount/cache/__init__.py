"""Block cache: the bytes of object versions, in memory, each fetched once and read ahead.

In reading order: `ranges` and `readahead/` are pure (offsets in, byte ranges out). `block` is what
is held of one version, `buffer_pool` the memory, `prefetch_budget` how much of it prefetches may
fill, `block_source` where bytes come from, `disk_tier/` the tier of them that is on disk.
`block_loader` fetches blocks, `fetch_planner` decides which byte ranges they have, and
`readahead_scheduler` how far ahead, for the streams and strides that `active_patterns` has, unless
there is `contention`. `object_reader` is an open handle, and `block_cache` the one object of the
mount. The rest of the program uses `BlockCache` and `ObjectReader`.

Invariants, between any two checkpoints of the event loop:

1. Bytes belong to an `ObjectVersion` and are never invalidated; a new version is a new identity.
2. A byte is held at most once. While it is held or being fetched, no request is made for it.
3. Buffers, whether filled, being filled or idle, stay within `memory_limit`.
4. A buffer changes hands only when no fetch fills it, no source holds it, and no reader that waited
   for it has yet to wake up. A reply is a view into a buffer, valid until the next checkpoint. A
   buffer that changed hands is written to by a task or a thread that starts after one.
5. Prefetch takes memory only from blocks that were read already, and at most three quarters of it
   while in flight; fetches of warm-ups take an eighth beside. A demand fetch takes any block that
   is not in use. It queues for memory, first come first served, only if all is in use. A fetch in
   that queue holds nothing, so the queue always moves. A prefetch that a reader waits for has
   demand priority at the store from then on; for memory it stays what it began as. A fetch whose
   source has lost its buffer queues for another one, whatever it began as.
6. Fetches do not belong to readers: a cancelled reader harms no other. A failed fetch fails its
   waiters and is forgotten. A fetch that no reader will want is cancelled at once, with its
   request.
"""
