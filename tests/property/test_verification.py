"""Digests of a stream are those of S3, however it is cut, and evidence is what was written."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import anycrc
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.model import ObjectMetadata, ObjectStat, ObjectVersion
from s3mount.verification.digests import LENGTHS, MD5
from s3mount.verification.evidence import Evidence, NoEvidence, evidence_in, part_checksum
from s3mount.verification.part_layouts import uniform_sizes
from s3mount.verification.stream_digest import StreamDigest

_contents = st.binary(max_size=300)
_algorithms = st.sampled_from(sorted(LENGTHS))
_checksums = st.sampled_from(sorted(LENGTHS.keys() - {MD5}))


def model_digest(algorithm: str, content: bytes) -> bytes:
    """Return the digest by other functions than the product's."""
    match algorithm:
        case "CRC64NVME":
            return int(anycrc.Model("CRC64-NVME").calc(content)).to_bytes(8, "big")
        case "CRC32C":
            return int(anycrc.Model("CRC32C").calc(content)).to_bytes(4, "big")
        case "CRC32":
            return zlib.crc32(content).to_bytes(4, "big")
    return hashlib.new(algorithm.lower(), content).digest()


def cut(content: bytes, ends: Sequence[int]) -> list[bytes]:
    """Return *content* cut at *ends*, modulo its length."""
    places = sorted({0, len(content), *(end % (len(content) + 1) for end in ends)})
    return [content[start:stop] for start, stop in pairwise(places)]


def stream(
    algorithm: str, pieces: Sequence[bytes], part_sizes: Sequence[int] | None = None
) -> StreamDigest:
    digest = StreamDigest(algorithm, part_sizes)
    for piece in pieces:
        digest.update(memoryview(piece))
    return digest


@given(_algorithms, _contents, st.lists(st.integers(0, 400), max_size=8))
def test_the_digest_of_a_whole_object(algorithm: str, content: bytes, ends: list[int]) -> None:
    pieces = cut(content, ends)
    assert stream(algorithm, pieces).digest() == model_digest(algorithm, content)


@given(
    _algorithms,
    st.lists(_contents, min_size=1, max_size=8),
    st.lists(st.integers(0, 2400), max_size=8),
)
def test_the_digest_of_parts_of_any_sizes(
    algorithm: str, parts: list[bytes], ends: list[int]
) -> None:
    digest = stream(algorithm, cut(b"".join(parts), ends), [len(part) for part in parts])

    own = [model_digest(algorithm, part) for part in parts]
    assert digest.part_digests == own
    assert digest.digest() == model_digest(algorithm, b"".join(own))


@given(st.binary(min_size=1, max_size=200), st.data())
def test_the_pieces_that_differ_are_found(content: bytes, data: st.DataObject) -> None:
    wrong = bytearray(content)
    at = data.draw(st.sets(st.integers(0, len(content) - 1)))
    for index in at:
        wrong[index] ^= 1
    grid = 16
    one, other = StreamDigest(MD5, grid=grid), StreamDigest(MD5, grid=grid)
    for digest, octets in ((one, content), (other, bytes(wrong))):
        for piece in cut(octets, data.draw(st.lists(st.integers(0, 200)))):
            digest.update(memoryview(piece))

    found = one.differences(other)

    pieces = {index // grid for index in at}
    covered = {
        piece for each in found for piece in range(each.start // grid, -(-each.stop // grid))
    }
    assert covered == pieces
    assert all(one.stop < other.start for one, other in pairwise(found))
    assert all(each.stop <= len(content) for each in found)


def metadata(
    fields: dict[str, str], etag: str = "opaque", *, has_md5_etag: bool | None = None
) -> ObjectMetadata:
    stat = ObjectStat(ObjectVersion("b", "k", etag, 7), 0)
    return ObjectMetadata(stat, fields, {}, has_md5_etag)


@given(_checksums, _contents, st.sampled_from(["FULL_OBJECT", "full_object", ""]))
def test_a_checksum_of_the_whole_object_is_evidence(
    algorithm: str, content: bytes, kind: str
) -> None:
    expected = model_digest(algorithm, content)
    fields = {f"Checksum{algorithm}": base64.b64encode(expected).decode()}
    if kind:
        fields["ChecksumType"] = kind
    assert evidence_in(metadata(fields)) == Evidence(algorithm, expected)


@given(_checksums, _contents, st.integers(1, 10_000), st.sampled_from(["", "-"]))
def test_a_composite_checksum_is_evidence_by_its_suffix_or_the_etags(
    algorithm: str, content: bytes, parts: int, dash: str
) -> None:
    expected = model_digest(algorithm, content)
    value = base64.b64encode(expected).decode()
    fields = {
        f"Checksum{algorithm}": f"{value}-{parts}" if dash else value,
        "ChecksumType": "COMPOSITE",
    }
    etag = f"{hashlib.md5(content).hexdigest()}-{parts}"
    assert evidence_in(metadata(fields, etag)) == Evidence(algorithm, expected, parts)
    assert part_checksum(fields, algorithm) == (None if dash else expected)


@given(_contents, st.none() | st.integers(1, 10_000), st.sampled_from([str.lower, str.upper]))
def test_an_etag_of_md5s_is_evidence_unless_it_is_known_to_be_none(
    content: bytes, parts: int | None, spell: Callable[[str], str]
) -> None:
    md5 = hashlib.md5(content)
    etag = spell(md5.hexdigest()) + ("" if parts is None else f"-{parts}")
    assert evidence_in(metadata({}, etag)) == Evidence(MD5, md5.digest(), parts)
    assert isinstance(evidence_in(metadata({}, etag, has_md5_etag=False)), NoEvidence)


@given(
    st.dictionaries(
        st.sampled_from([f"Checksum{name}" for name in LENGTHS] + ["ChecksumType"]),
        st.text("aA9+/=-0COMPOSITEFULL_", max_size=30),
    ),
    st.text("0aF-1", max_size=40),
)
def test_whatever_is_told_evidence_has_the_length_of_its_digest(
    fields: dict[str, str], etag: str
) -> None:
    evidence = evidence_in(metadata(fields, etag))
    if isinstance(evidence, Evidence):
        assert len(evidence.expected) == LENGTHS[evidence.algorithm]
        assert evidence.parts is None or 1 <= evidence.parts <= 10_000


@given(st.integers(1, 400), st.integers(1, 40), st.integers(1, 400))
def test_uniform_sizes_make_up_the_object(size: int, count: int, part_size: int) -> None:
    sizes = uniform_sizes(size, count, part_size)
    if sizes is None:
        assert not (count - 1) * part_size < size <= count * part_size
        return
    *ends, last = accumulate(sizes)
    assert (len(sizes), last) == (count, size)
    assert ends == [number * part_size for number in range(1, count)]
    assert sizes[-1] <= part_size
