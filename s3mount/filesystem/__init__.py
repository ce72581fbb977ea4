"""What the mount looks like: a tree of directories and files over a flat store. Knows no kernel.

From the pure to the awaiting: `names` (key ↔ name), `entries` (columns of a directory's entries), `assembly` (raw listing order
→ entries), `listing` (one pass over a directory), `subtree` (many directories from one listing), `inodes` (numbers and
lookup counts), `directory` (what is known of one prefix), `paging` and `passes` (listings under way), `ranges` (huge ones in
parallel), `catalog` (all directories and their listings), `questions` (one name asked for), `tree` (lookup), `walks` (subtrees
fetched ahead of a walker), `streams` (readdir), `files` (open and read).
"""
