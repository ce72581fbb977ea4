"""Attributes of files and directories: what S3 knows of an object beside its bytes.

A listing knows some of them; the others take a HEAD of the object, once while it is fresh.
"""
