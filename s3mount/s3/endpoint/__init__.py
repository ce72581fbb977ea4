"""The endpoint of the bucket: where and how requests are sent, and with which credentials.

Read: resolve (the Endpoint), boto_session, aws_settings and aws_files (mistakes of the
environment); credentials (value and interface), credential_chain (their cache), credential_source,
credential_process, credential_errors; tls; messages, which `s3/bucket_check.py` shows before the
mount.

Invariants: credentials come from boto3's chain only. They are in no message, no log and no `repr`.
"""
