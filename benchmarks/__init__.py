"""Benchmarks of s3mount and its peers, started by `scripts/bench`; `run.py` is one run."""
