"""A transport over botocore, for what plain Signature Version 4 does not reach.

In reading order: `transport` (botocore signs), `http_client` (urllib3 sends), `header_timeout`.
Invariants: botocore sends and parses nothing but what it needs to sign (CreateSession); no call
waits past its deadline by more than a second.
"""
