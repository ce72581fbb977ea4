"""Checksums: of bytes, of their place and of their name; two values have another meaning."""

import pytest

from s3mount.disk import checksum
from s3mount.disk.damage import DamagedIndexError

DIGEST = bytes(range(20))


def test_a_checksum_tells_bytes_places_and_names() -> None:
    found = {
        checksum.checksum(content, digest, extent)
        for content in (b"", b"a", bytes(100))
        for digest in (DIGEST, bytes(20))
        for extent in (0, 1, 1 << 27)
    }

    assert len(found) == 18
    assert checksum.checksum(memoryview(b"a"), DIGEST) == checksum.checksum(b"a", DIGEST, 0)


@pytest.mark.parametrize("value", [checksum.ABSENT, checksum.RESERVED])
def test_no_checksum_has_another_meaning(monkeypatch: pytest.MonkeyPatch, value: int) -> None:
    monkeypatch.setattr("xxhash.xxh3_64_intdigest", lambda *_: value)

    assert checksum.checksum(b"a", DIGEST) > checksum.RESERVED


def test_packed_checksums_are_as_many_as_they_should_be() -> None:
    values = (0, 1, (1 << 64) - 1)
    packed = checksum.pack(values)

    assert tuple(checksum.unpack(packed, 3)) == values
    for damaged in (packed[:-1], packed + packed, b"", "text", None, 7):
        with pytest.raises(DamagedIndexError):
            checksum.unpack(damaged, 3)


def test_checksums_of_many_extents_are_those_of_each() -> None:
    content, digest = memoryview(bytes(range(256)) * 5), bytes(range(20))

    found = checksum.checksums_of(content, digest, 7, 500)

    expected = [content[:500], content[500:1000], content[1000:]]
    assert found == [checksum.checksum(each, digest, 7 + at) for at, each in enumerate(expected)]
