"""A first look at what keeps a mount from working, without a mount.

Read: report (the values), check (one check, within its limit), examination (which checks there are,
in which order), facts (what several checks need, found once); then the checks: machine (FUSE),
network (names, proxy, TLS, clock), access (credentials, region, requests), speed.

Invariants: nothing here decides how a store is reached; endpoint, connections and requests are
those of a mount. A check that hangs, or meets a bug, ends no other. No credential enters a text.
"""
