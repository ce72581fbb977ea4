"""Stores, networks and environments as users reported them, each through a real mount.

`store` is the scripted store, `kinds` its oddities, `case` a report with what must be seen, and
`cases` the tables of reports, by area.
"""
