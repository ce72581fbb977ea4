"""What the mount looks like: a tree of directories and files over a flat store. Knows no kernel.

From the pure to the awaiting: `names` (key ↔ name), `entries` (columns of a directory's entries), `assembly` (raw listing order
→ entries), `listing` (one scan of a directory), `order` (how far a store's order is relied on), `subtree` (many directories from one listing), `inodes` (numbers and
lookup counts), `lifetimes` (how long knowledge holds), `doubts` (what was found wrong), `directory` (what is known of one prefix, and of all
within the metadata limit), `paging` and `passes` (listings under way), `ranges` (huge ones in
parallel), `catalog` (all directories and their listings), `questions` (one name asked for), `tree` (lookup), `walks` (subtrees
fetched ahead of a walker), `streams` (readdir), `files` (open and read).
"""
