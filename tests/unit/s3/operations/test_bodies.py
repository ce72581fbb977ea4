"""Bodies over both transports: resumed, verified, as they are stored, whole without Range."""

import base64
import gzip
import hashlib
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest

from s3mount.errors import CredentialsRefused, StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ListQuery, Modified, NotModified, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.etag_probe import TRIED
from s3mount.s3.operations.store_traits import REFUSALS_MAX
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable
from tests.unit.s3.clients import TRANSPORTS, client, read, read_nowait, soon
from tests.unit.s3.scripted_server import (
    ScriptedServer,
    head,
    part,
    refusal,
    says,
    says_and_ends,
)

Clients = Callable[..., AbstractContextManager[tuple[BucketOperations, ScriptedServer]]]

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
VERSION = ObjectVersion("bucket", "k", MD5, len(CONTENT))
WHOLE = ByteRange(0, len(CONTENT))
WRONG = b"\xff" + CONTENT[1:]
ETAG = f'"{MD5}"'
LIMIT = len(CONTENT)


def whole(body: bytes = CONTENT, **headers: object) -> bytes:
    return head(**{"Content_Length": len(body), "ETag": ETAG, **headers}) + body


def has_checksum_mode(server: ScriptedServer) -> list[bool]:
    return ["x-amz-checksum-mode" in request.lower() for request in server.requests]


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def listing(*rows: tuple[str, str, int]) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
        for key, etag, size in rows
    )
    body = (
        "<ListBucketResult><Name>bucket</Name><Prefix></Prefix><IsTruncated>false</IsTruncated>"
        f"{contents}</ListBucketResult>"
    ).encode()
    return head(Content_Length=len(body), Content_Type="application/xml") + body


@pytest.fixture(params=list(TRANSPORTS))
def connect(request: pytest.FixtureRequest) -> Clients:
    return partial(client, request.param)


class Attempts:
    """Attempts at one read, into one buffer."""

    def __init__(
        self,
        operations: BucketOperations,
        byte_range: ByteRange = WHOLE,
        version: ObjectVersion = VERSION,
    ) -> None:
        self.sender = operations.get_range(version, byte_range, version_id=None, deadline=soon())
        self.buffer = bytearray(len(byte_range))

    def make(self) -> None:
        self.sender.send(lambda: memoryview(self.buffer), CancelToken())

    def fail(self) -> Retryable:
        with pytest.raises(Retryable) as caught:
            self.make()
        return caught.value


# ---- bodies that break off


@pytest.mark.parametrize("cut", [1, 4000, len(CONTENT) - 1])
def test_a_read_goes_on_after_the_last_byte(cut: int, connect: Clients) -> None:
    rest = part(CONTENT, cut, LIMIT, ETag=ETAG)
    with connect(says_and_ends(whole()[: cut - LIMIT]), says(rest)) as (operations, server):
        attempts = Attempts(operations)
        assert attempts.fail().filled == cut
        attempts.sender = attempts.sender.resume(cut)
        attempts.make()

        assert attempts.buffer == CONTENT
        assert f"range: bytes={cut}-{LIMIT - 1}" in server.requests[1].lower()
        assert f'if-match: "{MD5}"' in server.requests[1].lower()


def test_a_part_goes_on_after_the_last_byte(connect: Clients) -> None:
    first = part(CONTENT, 100, 5000, ETag=ETAG)[:-1000]
    rest = part(CONTENT, 4000, 5000, ETag=ETAG)
    with connect(says_and_ends(first), says(rest)) as (operations, _):
        attempts = Attempts(operations, ByteRange(100, 5000))
        filled = attempts.fail().filled
        attempts.sender = attempts.sender.resume(filled)
        attempts.make()

        assert filled == 3900
        assert attempts.buffer == CONTENT[100:5000]


def test_what_a_packed_body_brought_is_not_kept(connect: Clients) -> None:
    packed = part(CONTENT, 100, 5000, ETag=ETAG, Content_Length=None, Content_Encoding="gzip")
    with connect(says_and_ends(packed[:-1000])) as (operations, _):
        failure = Attempts(operations, ByteRange(100, 5000)).fail()

        assert failure.filled == 0
        assert failure.is_adapted


def test_the_whole_object_is_verified_after_it_was_resumed(connect: Clients) -> None:
    rest = part(WRONG, 4000, LIMIT, ETag=ETAG)
    cut = whole(WRONG)[: 4000 - LIMIT]
    with connect(says_and_ends(cut), says(rest)) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()
        attempts.sender = attempts.sender.resume(4000)

        assert attempts.fail().is_corrupt


# ---- lengths


def test_an_odd_length_under_the_same_etag_is_followed_by_a_range(connect: Clients) -> None:
    odd = head(Content_Length=5, ETag=ETAG) + b"short"
    with connect(says(odd), says(part(CONTENT, 0, LIMIT, ETag=ETAG))) as (operations, server):
        attempts = Attempts(operations)
        assert attempts.fail().is_adapted
        attempts.make()

        assert attempts.buffer == CONTENT
        assert f"range: bytes=0-{LIMIT - 1}" in server.requests[1].lower()


def test_an_odd_length_that_a_range_contradicts_is_an_invalid_response(connect: Clients) -> None:
    odd = head(Content_Length=5, ETag=ETAG) + b"short"
    contradiction = part(CONTENT, 0, LIMIT, ETag=ETAG, Content_Length=5)
    with connect(says(odd), says(contradiction)) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()

        assert attempts.fail().is_invalid


@pytest.mark.parametrize(
    "second",
    [
        head(Content_Length=5, ETag=ETAG) + b"short",
        head("206 P", Content_Length=5, Content_Range="bytes 0-4/5", ETag=ETAG) + b"short",
    ],
)
def test_an_odd_length_that_is_told_twice_is_another_version(
    second: bytes, connect: Clients
) -> None:
    odd = head(Content_Length=5, ETag=ETAG) + b"short"
    with connect(says(odd), says(second)) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()

        with pytest.raises(StaleVersion):
            attempts.make()


# ---- checksums


def test_a_whole_object_is_requested_with_its_checksum_and_without_range(connect: Clients) -> None:
    with connect(says(whole())) as (operations, server):
        assert read(operations, VERSION, WHOLE) == CONTENT

        assert "x-amz-checksum-mode: enabled" in server.requests[0].lower()
        assert "range" not in server.requests[0].lower()


def test_a_part_is_not_requested_with_a_checksum(connect: Clients) -> None:
    with connect(says(part(CONTENT, 0, 5, ETag=ETAG))) as (operations, server):
        read(operations, VERSION, ByteRange(0, 5))

        assert "checksum" not in server.requests[0].lower()


@pytest.mark.parametrize(
    "response",
    [
        whole(WRONG),
        whole(WRONG, ETag=ETAG.upper()),
        whole(x_amz_checksum_crc32=crc32(WRONG)),
        whole(WRONG, x_amz_checksum_crc32=crc32(CONTENT)),
        whole(WRONG, x_amz_checksum_crc32="bm9uZQ==-2"),
        whole(WRONG, x_amz_checksum_crc32=crc32(WRONG), x_amz_checksum_type="COMPOSITE"),
        part(WRONG, 0, LIMIT, ETag=ETAG),
    ],
)
def test_bytes_that_do_not_match_are_requested_again(response: bytes, connect: Clients) -> None:
    version = VERSION._replace(etag=MD5.upper()) if MD5.upper().encode() in response else VERSION
    with connect(says(response), says(whole(ETag=f'"{version.etag}"'))) as (operations, _):
        sender = operations.get_range(version, WHOLE, version_id=None, deadline=soon())
        buffer = bytearray(LIMIT)
        with pytest.raises(Retryable) as caught:
            sender.send(lambda: memoryview(buffer), CancelToken())
        sender.send(lambda: memoryview(buffer), CancelToken())

        assert caught.value.is_corrupt
        assert buffer == CONTENT


@pytest.mark.parametrize(
    "response",
    [
        whole(WRONG, x_amz_checksum_crc32=crc32(WRONG)),
        whole(WRONG, x_amz_server_side_encryption="aws:kms"),
        whole(WRONG, x_amz_server_side_encryption="aws:kms:dsse"),
        whole(WRONG, x_amz_server_side_encryption_customer_algorithm="AES256"),
        whole(WRONG, x_oss_object_type="Appendable"),
        part(
            WRONG,
            0,
            LIMIT,
            ETag=ETAG,
            x_amz_server_side_encryption="aws:kms",
            x_amz_checksum_crc32=crc32(CONTENT[:9]),
        ),
        whole(  # as rclone sends a part
            WRONG,
            Content_Range=f"bytes 0-{LIMIT - 1}/{LIMIT}",
            x_amz_server_side_encryption="aws:kms",
            x_amz_checksum_crc32=crc32(CONTENT[:9]),
        ),
    ],
)
def test_what_is_no_checksum_of_the_object_verifies_nothing(
    response: bytes, connect: Clients
) -> None:
    """S3 sends a checksum of checksums without its suffix if there is a Range (botocore #3346)."""
    with connect(says(response)) as (operations, _):
        assert read(operations, VERSION, WHOLE) == WRONG


def test_the_same_wrong_bytes_twice_are_the_end(connect: Clients) -> None:
    wrong = says(whole(WRONG, x_amz_checksum_crc32=crc32(CONTENT)))
    with connect(wrong, wrong) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()
        with pytest.raises(StoreError, match=r"CRC32 .* --no-verify-checksums"):
            attempts.make()


def test_an_attempt_after_wrong_bytes_belongs_to_a_thread() -> None:
    with client("native", says(whole(WRONG)), says(whole())) as (operations, _):
        sender = operations.get_range(VERSION, WHOLE, version_id=None, deadline=soon())
        into = memoryview(bytearray(LIMIT))
        with pytest.raises(Retryable):
            sender.send(lambda: into, CancelToken())

        assert sender.send_nowait(lambda: into, CancelToken()) is None


def test_etags_that_only_look_like_md5s_are_found_out(
    connect: Clients, expected_warnings: list[str]
) -> None:
    expected_warnings.append("look like MD5s, and are none")
    half = LIMIT // 2
    with connect(
        *(says(whole(WRONG)), says(whole(WRONG))),
        says(listing(("empty", "0" * 32, 0), ("k", MD5, LIMIT))),
        *(says(part(WRONG, 0, half, ETag=ETAG)), says(part(WRONG, half, LIMIT, ETag=ETAG))),
        says(whole(WRONG)),
    ) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()
        attempts.make()
        assert attempts.buffer == WRONG

        assert read(operations, VERSION, WHOLE) == WRONG


def test_samples_that_are_listed_with_other_sizes_tell_it_too(
    connect: Clients, expected_warnings: list[str]
) -> None:
    """Of a gateway that encrypts, and lists the sizes of its ciphertexts."""
    expected_warnings.append("look like MD5s, and are none")
    samples = [
        *(
            says(whole(b"ab")),
            says(part(b"ab", 0, 1, ETag=ETAG)),
            says(part(b"ab", 1, 2, ETag=ETAG)),
        ),
    ]
    half = LIMIT // 2
    with connect(
        *(says(whole(WRONG)), says(whole(WRONG))),
        says(listing(("k", MD5, LIMIT + 28), ("one", "1" * 32, 30), ("two", "2" * 32, 30))),
        *(samples * 2),
        *(says(part(WRONG, 0, half, ETag=ETAG)), says(part(WRONG, half, LIMIT, ETag=ETAG))),
    ) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()
        attempts.make()
        assert attempts.buffer == WRONG


def test_a_probe_asks_for_few_objects(connect: Clients) -> None:
    encrypted = whole(b"ab", x_amz_server_side_encryption="aws:kms")
    rows = [(f"k{number}", "1" * 32, 2) for number in range(100)]
    with connect(
        *(says(whole(WRONG)), says(whole(WRONG)), says(listing(*rows))),
        *[says(encrypted)] * TRIED,
    ) as (operations, server):
        attempts = Attempts(operations)
        attempts.fail()
        with pytest.raises(StoreError, match="ETag"):
            attempts.make()
        assert len(server.requests) == 3 + TRIED


def test_an_object_with_the_md5_of_its_bytes_shows_that_others_are_wrong(connect: Clients) -> None:
    small = b"small"
    etag = hashlib.md5(small, usedforsecurity=False).hexdigest()
    with connect(
        *(says(whole(WRONG)), says(whole(WRONG))),
        says(listing(("k", MD5, LIMIT), ("small", etag, len(small)))),
        says(whole(small, ETag=f'"{etag}"')),
    ) as (operations, _):
        attempts = Attempts(operations)
        attempts.fail()
        with pytest.raises(StoreError, match="ETag"):
            attempts.make()


def test_the_etag_of_a_doubted_version_is_no_evidence(connect: Clients) -> None:
    """Of a gateway that encrypts: it lists other sizes, and its ETags are of what it stores."""
    small = b"small"
    etag = hashlib.md5(small, usedforsecurity=False).hexdigest()
    middle = (len(WRONG) + 1) // 2
    pieces = says(part(WRONG, 0, middle)), says(part(WRONG, middle, len(WRONG)))
    with connect(
        *(says(whole(WRONG)), says(whole(WRONG))),
        says(listing(("k", MD5, LIMIT + 16), ("small", etag, len(small)))),
        says(whole(small, ETag=f'"{etag}"')),
        *pieces,
        *(says(whole(WRONG)), says(whole(WRONG)), *pieces),
    ) as (operations, _):
        for _read in range(2):
            attempts = Attempts(operations, version=VERSION.doubted())
            assert attempts.fail().is_corrupt
            attempts.make()
            assert attempts.buffer == WRONG


def test_bytes_of_a_doubted_version_that_arrive_otherwise_in_pieces_are_no_result(
    connect: Clients,
) -> None:
    small = b"small"
    etag = hashlib.md5(small, usedforsecurity=False).hexdigest()
    middle = (LIMIT + 1) // 2
    with connect(
        *(says(whole(WRONG)), says(whole(WRONG))),
        says(listing(("k", MD5, LIMIT + 16), ("small", etag, len(small)))),
        says(whole(small, ETag=f'"{etag}"')),
        *(says(part(CONTENT, 0, middle)), says(part(CONTENT, middle, LIMIT))),
    ) as (operations, _):
        attempts = Attempts(operations, version=VERSION.doubted())
        assert attempts.fail().is_corrupt
        with pytest.raises(StoreError, match="ETag"):
            attempts.make()


def test_a_flipped_bit_of_a_doubted_version_is_still_found(connect: Clients) -> None:
    with connect(says(whole(WRONG)), says(whole())) as (operations, _):
        attempts = Attempts(operations, version=VERSION.doubted())
        assert attempts.fail().is_corrupt
        attempts.make()
        assert attempts.buffer == CONTENT


@pytest.mark.parametrize(
    ("status", "code", "reads"),
    [
        ("501 N", "NotImplemented", 1),
        ("400 B", "InvalidArgument", 1),
        ("400 B", "", REFUSALS_MAX),
        ("403 F", "SignatureDoesNotMatch", REFUSALS_MAX),
    ],
)
def test_a_store_that_refuses_checksums_is_not_asked_again(
    status: str, code: str, reads: int, connect: Clients
) -> None:
    refused = [says(refusal(status, code)), says(whole())] * reads
    with connect(*refused, says(whole())) as (operations, server):
        for _ in range(reads):
            attempts = Attempts(operations)
            assert attempts.fail().is_adapted
            attempts.make()
        read(operations, VERSION, WHOLE)

        assert has_checksum_mode(server) == [True, False] * reads + [False]


def test_a_refusal_that_passes_does_not_turn_checksums_off(connect: Clients) -> None:
    """A balancer answers 400 without a word now and then."""
    refused = [says(refusal("400 B", "")), says(whole())]
    some = [*refused * (REFUSALS_MAX - 1), says(whole())]
    with connect(*some, *some, says(whole())) as (operations, server):
        for _ in range(2):
            for _ in range(REFUSALS_MAX - 1):
                attempts = Attempts(operations)
                attempts.fail()
                attempts.make()
            read(operations, VERSION, WHOLE)
        read(operations, VERSION, WHOLE)

        assert has_checksum_mode(server)[-1]


def test_keys_that_are_replaced_do_not_turn_checksums_off(connect: Clients) -> None:
    refused = says(refusal("403 F", "SignatureDoesNotMatch"))
    with connect(refused, refused, says(whole())) as (operations, server):
        attempts = Attempts(operations)
        attempts.fail()
        with pytest.raises(CredentialsRefused):
            attempts.make()
        attempts.make()  # with other keys

        assert has_checksum_mode(server) == [True, False, True]


def test_a_refusal_that_passes_does_not_turn_ranges_off(connect: Clients) -> None:
    piece = ByteRange(0, 5)
    answers = [refusal("400 B", ""), whole(), part(CONTENT, 0, 5, ETag=ETAG)]
    with connect(*map(says, answers)) as (operations, server):
        attempts = Attempts(operations, piece)
        attempts.fail()
        attempts.make()
        read(operations, VERSION, piece)

        assert ["range:" in request.lower() for request in server.requests] == [True, False, True]


def test_a_refusal_for_another_reason_does_not_turn_checksums_off(connect: Clients) -> None:
    refused = says(refusal("501 N", "NotImplemented"))
    with connect(refused, refused, says(whole())) as (operations, server):
        attempts = Attempts(operations)
        attempts.fail()
        with pytest.raises(StoreError):
            attempts.make()
        read(operations, VERSION, WHOLE)

        assert "x-amz-checksum-mode" in server.requests[2].lower()


def test_the_whole_object_of_a_revalidation_is_verified(connect: Clients) -> None:
    old = VERSION._replace(etag="old")
    for body, expected in ((CONTENT, CONTENT), (WRONG, b"")):
        with connect(says(whole(body))) as (operations, server):
            modified = operations.revalidate(old, 128 << 10, deadline=soon())

            assert isinstance(modified, Modified)
            assert modified.head == expected
            assert "range" not in server.requests[0].lower()


def test_an_odd_length_of_a_revalidation_is_compared_to_head(connect: Clients) -> None:
    """What a wrong length leaves would be kept as all of the object."""
    odd = head(Content_Length=5, ETag=f'"{MD5}-2"') + CONTENT[:5]
    version = VERSION._replace(etag=f"{MD5}-2")
    described = head(Content_Length=LIMIT, ETag=f'"{MD5}-2"')
    with connect(says(odd), says(described)) as (operations, _):
        assert operations.revalidate(version, 128 << 10, deadline=soon()) == NotModified()


def test_an_odd_length_that_head_tells_too_is_another_version(connect: Clients) -> None:
    odd = head(Content_Length=5, ETag=ETAG)
    with connect(says(odd + CONTENT[:5]), says(odd)) as (operations, _):
        modified = operations.revalidate(VERSION, 128 << 10, deadline=soon())

        assert isinstance(modified, Modified)
        assert (modified.stat.version.size, modified.head) == (5, b"")


# ---- content codings


def packed(**headers: object) -> bytes:
    body = gzip.compress(CONTENT)
    given = {"Content_Encoding": "gzip", "Content_Length": None, "ETag": f"W/{ETAG}", **headers}
    return head(**given) + body


@pytest.mark.parametrize(
    "response",
    [
        packed(),
        packed(Content_Length=len(gzip.compress(CONTENT))),
        packed(ETag=f'"{MD5}-gzip"'),
        head(ETag=ETAG) + CONTENT + b"unpacked",
        head(ETag=ETAG) + CONTENT[:-1],
    ],
)
def test_a_body_that_was_packed_or_unpacked_is_requested_in_the_other_form(
    response: bytes, connect: Clients
) -> None:
    with connect(says_and_ends(response), says(whole()), says(whole())) as (operations, server):
        attempts = Attempts(operations)
        assert attempts.fail().is_adapted
        attempts.make()
        assert attempts.buffer == CONTENT

        assert read(operations, VERSION, WHOLE) == CONTENT
        accepts = ["accept-encoding: gzip" in request.lower() for request in server.requests]
        assert accepts == [True, False, False]


def test_an_object_that_is_stored_packed_is_read_as_it_is(connect: Clients) -> None:
    with connect(says(whole(Content_Encoding="gzip"))) as (operations, _):
        assert read(operations, VERSION, WHOLE) == CONTENT


def test_a_head_without_a_length_is_sent_in_the_other_form(connect: Clients) -> None:
    """Cloudflare R2 (rclone #8137)."""
    with connect(
        says(head(ETag=f"W/{ETAG}", Content_Encoding="gzip")),
        says(head(ETag=ETAG, Content_Length=LIMIT)),
    ) as (operations, server):
        assert operations.head("k", deadline=soon()).version == VERSION

        accepts = ["accept-encoding: gzip" in request.lower() for request in server.requests]
        assert accepts == [True, False]


def test_a_listing_accepts_no_coding(connect: Clients) -> None:
    with connect(says(listing())) as (operations, server):
        operations.list_page(ListQuery(""), deadline=soon())

        assert "gzip" not in server.requests[0].lower()


def test_a_revalidation_of_a_large_object_survives_a_store_without_ranges(connect: Clients) -> None:
    with connect(says(refusal("501 N", "NotImplemented")), says(head("304 N", ETag=ETAG))) as (
        operations,
        server,
    ):
        assert operations.revalidate(VERSION, 100, deadline=soon()) == NotModified()
        assert "range" not in server.requests[1].lower()


def test_small_objects_are_verified_in_the_event_loop_too() -> None:
    with client("native", says(whole(WRONG))) as (operations, _), pytest.raises(Retryable):
        read_nowait(operations, VERSION, WHOLE)


@pytest.mark.parametrize("status", ["200 OK", "206 Partial Content"])
def test_a_part_that_does_not_say_which_one_it_is_is_not_believed(
    status: str, connect: Clients
) -> None:
    """Gateways leave Content-Range out (s3proxy #664, lakeFS #6100); here it is another part."""
    other = head(status, Content_Length=100, ETag=ETAG) + CONTENT[:100]
    with connect(says(other), says(other), says(whole())) as (operations, server):
        attempts = Attempts(operations, ByteRange(300, 400))
        assert attempts.fail().is_adapted
        assert attempts.fail().is_adapted
        attempts.make()

        assert attempts.buffer == CONTENT[300:400]
        assert ["range:" in request.lower() for request in server.requests] == [True, True, False]


def test_a_part_may_name_its_range_as_amazons_own(connect: Clients) -> None:
    """aws-sdk-java-v2 #1861."""
    renamed = part(CONTENT, 300, 400, ETag=ETAG).replace(b"Content-Range", b"x-amz-content-range")
    with connect(says(renamed)) as (operations, _):
        assert read(operations, VERSION, ByteRange(300, 400)) == CONTENT[300:400]


def test_an_etag_that_is_missing_twice_is_no_proof_of_the_version(connect: Clients) -> None:
    """s3proxy #615; the version is then found out by what the store tells otherwise."""
    with connect(says(whole(ETag=None)), says(whole(ETag=None))) as (operations, _):
        attempts = Attempts(operations)
        assert attempts.fail().is_adapted
        with pytest.raises(StaleVersion):
            attempts.make()


def test_one_byte_of_a_part_is_not_the_size_of_an_object(connect: Clients) -> None:
    """A gateway answers 200 for a range of one byte (lakeFS #6100)."""
    byte = head(Content_Length=1, ETag=ETAG) + CONTENT[:1]
    with connect(says(byte), says_and_ends(whole())) as (operations, _):
        assert operations.head_by_get("k", deadline=soon()).version == VERSION
