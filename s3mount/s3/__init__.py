"""The object store: S3 as the rest of the product sees it.

In reading order: `model` and `object_store` (what others may import), `bucket_check` (how a store
is opened), `remote_store` (retries and deadlines), `operations` (requests and their meaning),
`scheduling` (when, and how often, they are sent), `transport` (the protocol of what sends them:
`native`, `boto`), `endpoint` (where, and with which credentials). Invariants: imports point down in
this order; every failure that leaves is an S3MountError.
"""
