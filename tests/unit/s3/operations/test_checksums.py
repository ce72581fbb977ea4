"""Checksums of whole objects, of each algorithm that S3 has."""

import base64
import binascii
import hashlib

import pytest

from s3mount.s3.operations.checksum import told_with
from tests.unit.s3.clients import session

CONTENT = b"123456789"  # whose check values are published
UNKNOWN = {"ChecksumXXHASH64", "ChecksumXXHASH3", "ChecksumXXHASH128"}  # no library of ours has it
DIGESTS = {
    "ChecksumCRC32": binascii.crc32(CONTENT).to_bytes(4, "big"),
    "ChecksumCRC32C": bytes.fromhex("e3069283"),
    "ChecksumCRC64NVME": bytes.fromhex("ae8b14860a799888"),
    "ChecksumMD5": hashlib.md5(CONTENT, usedforsecurity=False).digest(),
    "ChecksumSHA1": hashlib.sha1(CONTENT, usedforsecurity=False).digest(),
    "ChecksumSHA256": hashlib.sha256(CONTENT).digest(),
    "ChecksumSHA512": hashlib.sha512(CONTENT).digest(),
}


def headers_of_checksums() -> dict[str, str]:
    """Return the header of each checksum by its member of GetObject's output."""
    shape = session().below.get_service_model("s3").operation_model("GetObject").output_shape
    return {
        name: member.serialization["name"].lower()
        for name, member in shape.members.items()
        if name.startswith("Checksum") and name != "ChecksumType"
    }


def test_each_algorithm_of_s3_is_known_or_left_out_on_purpose() -> None:
    assert set(headers_of_checksums()) == set(DIGESTS) | UNKNOWN


@pytest.mark.parametrize("member", DIGESTS)
def test_bytes_are_verified_by_each_algorithm(member: str) -> None:
    header, digest = headers_of_checksums()[member], DIGESTS[member]

    checksum = told_with({header: base64.b64encode(digest).decode()})

    assert checksum is not None
    assert checksum.expected == checksum.of(memoryview(CONTENT)) == digest
    assert checksum.of(memoryview(CONTENT + b"!")) != digest


@pytest.mark.parametrize("member", sorted(UNKNOWN))
def test_an_algorithm_that_cannot_be_computed_verifies_nothing(member: str) -> None:
    assert told_with({headers_of_checksums()[member]: "AAAAAAAAAAA="}) is None
