"""The endpoint of the bucket: where and how requests are sent, and with which credentials.

Read: resolve (the Endpoint), address (of usual endpoints) and boto_address (of all others);
configuration (its interface), plain_configuration and boto_session, which read it; aws_settings and
aws_files (mistakes of the environment); credentials (value and interface), credential_chain (their
cache), plain_source, credential_source, credential_process, credential_errors; tls; messages, which
`s3/bucket_check.py` shows before the mount.

Botocore is imported by boto_address, boto_session, credential_source and credential_errors only,
and those only when they are needed: see docs/decisions/start-time.md.

Invariants: credentials come from where boto3's chain would take them. They are in no message, no
log and no `repr`.
"""
