"""Listings of directories: pages of keys in, entries out.

Reading order: `entry_page` (entries in columns), `entry_merger` (raw pages to entries),
`directory_listing` with `page_index` (one listing), `order_evidence` (whether the store lists in
order), `page_fetcher` with `parallel_lister`, `page_cursor` and `key_interpolation` (requests),
`listing_scan` (a listing and its fetcher), `single_flight` (calls shared by their callers).
Invariant: what a listing has shown never changes, and no name is shown twice.
"""
