"""Prefetch policies: they predict from what is opened and read what will be needed next.

`policy` is their interface. `walk_prefetcher` scans subtrees ahead of a walk (`subtree_builder`:
keys to directories); `sibling_prefetcher` names small files that come next (`file_reader`: what is
expected of a reader; `traversal_cursor`, `traversal_order`: the orders that readers go by).
Invariants: a policy changes no answer, only when it comes; and what it fetches in vain is bounded
by what readers have confirmed.
"""
