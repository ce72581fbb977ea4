"""S3 operations: each builds its request and validates its response, once for every transport.

In reading order: `bucket_operations` joins `head_object`, `list_bucket`, `get_range` and
`revalidate`; then `list_dialect`, `read_state`, what they validate with (`validation`,
`list_parser`), and how failures are named (`error_mapping`).
Invariants: nothing that a response says is used before it was validated; every failure leaves as
an S3MountError or a Retryable.
"""
