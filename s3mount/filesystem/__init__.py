"""What the mount looks like: a tree of directories and files over a flat store. Knows no kernel.

From the pure to the awaiting: `names` (key ↔ name), `entries` (columns of a directory's entries), `assembly` (raw listing order
→ entries), `listing` (one pass over a directory), `inodes` (numbers and lookup counts), `directory` (what is known of one
prefix), `lister` (passes under way), `walk` (a whole subtree in one pass), `tree` (lookup), `streams` (readdir), `files` (open and read).
"""
