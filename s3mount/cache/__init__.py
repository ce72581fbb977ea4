"""Bytes kept: one load per block, one memory budget, readahead with evidence.

`spans` and `readahead` decide (pure: numbers in, spans out). `block` is what is held of one version, `memory` the budget
and its buffers, `cache` the loads and the one object for the whole mount, `reader` an open handle. `BlockCache` and
`ObjectReader` are what the rest of the house meets.

What always holds, between any two checkpoints of the event loop:

1. Bytes belong to an `ObjectVersion` and are never invalidated; a new version is a new identity.
2. A byte is held at most once, and while it is held or on its way nobody asks the store for it.
3. Buffers, whether filled, being filled or idle, stay within `memory_limit`.
4. A buffer changes hands only when no flight fills it and no reader that waited for it has yet to wake up. A reply is a view
   into a buffer and is good until the next checkpoint: a buffer that changed hands is written to by a task or thread that
   begins after one.
5. Speculation takes memory only from blocks that were read already, and at most three quarters of it while on the way;
   a demanded load takes any block that is not in use, and queues for memory, first come first served, only when all
   is in use. Whoever queues holds nothing, so the queue always moves. A speculative load that a reader waits for is a
   demanded one to the store from then on; to memory it stays what it began as.
6. Loads belong to the nursery, not to readers: a cancelled reader harms nobody, a failed load fails those who wait for it
   and is forgotten. A load that no reader will want is cancelled at once, and its request with it.
"""
