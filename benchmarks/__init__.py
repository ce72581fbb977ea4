"""How fast s3mount is, beside its peers: `scripts/bench` is the way in, `run.py` the plan of a run."""
