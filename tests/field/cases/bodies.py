"""Reports about bodies: cut, stalled, packed, flipped, whole for a range."""

import base64
import gzip
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import replace

import anycrc

from tests.faults.bucket import Kind, Request, Response
from tests.faults.hostile_store import HangUp
from tests.field import kinds
from tests.field.case import (
    Case,
    Run,
    every_request,
    fails,
    in_time,
    logs,
    reads,
    reads_all,
    right_or_fails,
    sends_at_most,
)
from tests.field.kinds import GET, OBJECT
from tests.field.store import Answer, Oddity, Visit

LARGE = {"large": bytes(range(256)) * (8 << 12), "small": b"a few bytes\n" * 40}
MANY = {f"d/{number}": b"%d, a few bytes\n" % number * 50 for number in range(6)}
PARTLY_SEALED = {"plain": b"plain\n", "sealed": b"sealed\n", "sealed-2": b"and sealed\n"}
SEALED = kinds.header(kinds.of(OBJECT, "sealed"), "ETag", f'"{"5" * 32}"')
PACKED = {"log.gz": gzip.compress(b"a line of a log\n" * 500, mtime=0), "plain": b"plain\n"}
STORED_PACKED = {"log.gz": (("Content-Encoding", "gzip"),)}
TEXTS = {"a.txt": b"a line of text\n" * 900, "large": b"another line of text\n" * 150_000}


def flipped(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]


def breaks_off(length: Callable[[int], int], end: Callable[[Visit], None]) -> Oddity:
    """Send *length* bytes of the nth body, and then *end* the connection in some way."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        response = answer(visit.request)
        sent = length(visit.count(oddity)) if GET(visit.request) else len(response.body)
        if response.status >= 300 or len(response.body) <= sent:
            return response
        visit.exchange.send(response.head + response.body[:sent])
        end(visit)
        raise HangUp

    return oddity


def says_it_is_whole(visit: Visit, answer: Answer) -> Response:
    """Close a body early, in order, after a Content-Length that would have been right."""
    response = answer(visit.request)
    if not GET(visit.request) or response.status >= 300:
        return response
    return replace(response, body=response.body[:100_000], cut_after=100_000)


def packs(accepted: str = "gzip", match: kinds.Match = GET) -> Oddity:
    """Pack what is not packed on the fly, as nginx does with `gzip on` and proxied stores."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        response = answer(visit.request)
        is_accepted = accepted in visit.request.headers.get("accept-encoding", "")
        if not match(visit.request) or not is_accepted or response.status != 200:
            return response
        if ("Content-Encoding", "gzip") in response.headers:
            return response
        body = gzip.compress(response.body)
        packed = replace(response, body=body, cut_after=len(body))
        etag = response.header("ETag")
        for name, value in (
            *(("Content-Encoding", "gzip"), ("Content-Length", None)),
            *(("ETag", f"W/{etag}"), ("Connection", "close")),
        ):
            packed = packed.with_header(name, value)
        return packed

    return oddity


def packs_with_suffix(visit: Visit, answer: Answer) -> Response:
    """Pack as Apache's mod_deflate does: the ETag gets a suffix, and a HEAD has the same header."""
    response = packs(match=OBJECT)(visit, answer)
    etag = response.header("ETag") if response.status == 200 and OBJECT(visit.request) else ""
    is_packed = etag.startswith("W/")
    return response.with_header("ETag", etag[2:-1] + '-gzip"') if is_packed else response


def checksummed(name: str, digest: Callable[[bytes], bytes], *extra: tuple[str, str]) -> Oddity:
    """Send the checksum of the whole object, as S3 does: if it is asked for, and without Range."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        request, response = visit.request, answer(visit.request)
        is_asked = request.headers.get("x-amz-checksum-mode") == "ENABLED"
        if not GET(request) or not is_asked or response.status != 200:
            return response
        value = base64.b64encode(digest(response.body)).decode()
        for header, text in ((f"x-amz-checksum-{name}", value), *extra):
            response = response.with_header(header, text)
        return response

    return oddity


def crc64nvme(body: bytes) -> bytes:
    return int(anycrc.Model("CRC64-NVME").calc(body)).to_bytes(8, "big")


def crc32c(body: bytes) -> bytes:
    return int(anycrc.Model("CRC32C").calc(body)).to_bytes(4, "big")


def crc32(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big")


def refuses_checksums(status: int, code: str) -> Oddity:
    return kinds.refuses(kinds.with_header(GET, "x-amz-checksum-mode"), status, code)


without_checksums = kinds.ignores("x-amz-checksum-mode")


def etags(salt: str, suffix: str = "") -> Oddity:
    """Give each object another ETag, the same in listings, HEAD and GET."""

    def renamed(text: str) -> str:
        salted = f"{text.strip(chr(34))}{salt}".encode()
        return hashlib.md5(salted, usedforsecurity=False).hexdigest() + suffix

    def oddity(visit: Visit, answer: Answer) -> Response:
        request = visit.request
        bodies = (visit.store.bucket.bodies(key) for key in visit.store.bucket.every_key())
        own = {hashlib.md5(each[-1], usedforsecurity=False).hexdigest() for each in bodies}
        known = {renamed(etag): etag for etag in own}
        headers = {
            key: f'"{known.get(text.strip(chr(34)), text)}"' if key.startswith("if-") else text
            for key, text in request.headers.items()
        }
        response = answer(replace(request, headers=headers))
        if kinds.LIST(request):
            body = response.body
            for new, old in known.items():
                body = body.replace(old.encode(), new.encode())
            return response.with_body(body)
        etag = next((value for key, value in response.headers if key == "ETag"), None)
        return response if etag is None else response.with_header("ETag", f'"{renamed(etag)}"')

    return oddity


def without_length(version: str = "1.1") -> Oddity:
    """End each body of a GET with its connection, as a server of HTTP/1.0 does."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        response = answer(visit.request)
        if not GET(visit.request) or response.status != 200:
            return response
        response = response.with_header("Content-Length", None)
        response = response.with_header("Connection", "close")
        head = response.head.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)
        visit.exchange.send(head + response.body)
        raise HangUp

    return oddity


def chunked(visit: Visit, answer: Answer) -> Response:
    """Send each body of a GET in chunks."""
    response = answer(visit.request)
    if not GET(visit.request) or response.status >= 300:
        return response
    pieces = [response.body[at : at + 50_000] for at in range(0, len(response.body), 50_000)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    response = response.with_header("Content-Length", None)
    return replace(response.with_header("Transfer-Encoding", "chunked"), body=body)


def without_accept_encoding_identity(request: Request) -> bool:
    return request.headers.get("accept-encoding") == "gzip"


def reads_parts(*offsets: int) -> Callable[[Run], None]:
    """Check single reads of the file `large`."""

    def step(run: Run) -> None:
        with run.path("large").open("rb", buffering=0) as file:
            for offset in offsets:
                file.seek(offset)
                assert run.case.objects["large"][offset : offset + 5000] == file.read(5000)

    return step


_CUTS = (
    Case(
        "bodies are cut after 256 KiB",
        "A proxy closes the connection after 256 KiB of each body.",
        oddities=(kinds.cuts_bodies(256 << 10),),
        objects=LARGE,
        options=("--timeout", "20"),
        steps=(in_time(5, reads("large")), reads_all()),
    ),
    Case(
        "bodies are cut after any length",
        "A body ends after 3406416 of 8977918 bytes, unexpectedly (aws-sdk-go #4510).",
        oddities=(breaks_off(lambda count: count * 77_777 % 500_000, lambda _: None),),
        objects=LARGE,
        options=("--timeout", "20"),
    ),
    Case(
        "bodies are cut after a few bytes",
        "A proxy that is out of buffers passes on some bytes of each response.",
        oddities=(breaks_off(lambda count: 1 + count % 3, lambda _: None),),
        objects={"small": b"a few bytes\n" * 10},  # some sixty attempts
        options=("--timeout", "20"),
    ),
    Case(
        "bodies are reset in the middle",
        "A firewall resets connections that carry too much.",
        oddities=(breaks_off(lambda _: 300_000, lambda visit: visit.exchange.reset()),),
        objects=LARGE,
        options=("--timeout", "20"),
    ),
    Case(
        "a body stalls in the middle",
        "A connection stays open and silent after some bytes (aws-sdk-go #675).",
        oddities=(
            kinds.first(
                2,
                kinds.of(GET, "large"),
                breaks_off(lambda _: 600_000, lambda visit: visit.exchange.pause()),
            ),
        ),
        objects=LARGE,
        options=("--timeout", "8"),
        within=18.0,
    ),
    Case(
        "bodies are shorter than they say",
        "A store sends fewer bytes than Content-Length, and closes.",
        oddities=(says_it_is_whole,),
        objects=LARGE,
        options=("--timeout", "20"),
    ),
    Case(
        "chunked bodies are cut",
        "A gateway that streams in chunks loses its backend (boto #2204).",
        oddities=(chunked, kinds.cuts_bodies(300_000)),
        objects=LARGE,
        options=("--timeout", "20"),
    ),
    Case(
        "a body is cut and its object replaced",
        "An object is replaced while its body is read again from where it broke.",
        oddities=(
            kinds.first(1, kinds.of(GET, "large"), kinds.cuts_bodies(200_000)),
            kinds.after(1, kinds.of(GET, "large"), kinds.header(GET, "ETag", '"of another"')),
        ),
        objects=LARGE,
        steps=(right_or_fails("ESTALE", "large"),),
        may_log=("large",),
    ),
)

_CHECKSUMS = (
    Case(
        "a bit of a small object flips once",
        "Memory of a proxy flips a bit; the ETag is the MD5 of the right bytes.",
        oddities=(
            without_checksums,
            kinds.first(1, kinds.of(GET, "small"), kinds.flips_a_bit(at=100)),
        ),
        objects=LARGE,
        steps=(reads("small"), reads_all()),
    ),
    Case(
        "a bit of a small object flips always",
        "A disk of a store flips a bit; the ETag is the MD5 of the right bytes.",
        oddities=(without_checksums, kinds.flips_a_bit(kinds.of(GET, "small"), at=100)),
        objects=LARGE,
        steps=(fails("EIO", "small"), reads("large")),
        log=("do not match the ETag.*no-verify-checksums.*small",),
    ),
    Case(
        "a bit of each object flips always",
        "Memory of a proxy flips a bit of each response.",
        oddities=(without_checksums, kinds.flips_a_bit(GET, at=100)),
        objects=MANY,
        within=20,  # each file is requested three times, with pauses
        steps=tuple(fails("EIO", name) for name in MANY),
        log=("do not match the ETag",),
        may_log=("more in the last",),
    ),
    Case(
        "ETags of some files are no MD5s, and are listed otherwise",
        "s3-encryption-gateway #207: what was written through the gateway has an ETag of its own,"
        " what was written before is plain.",
        oddities=(without_checksums, SEALED),
        objects=PARTLY_SEALED,
        steps=(reads("sealed"), reads("sealed-2"), reads_all()),
    ),
    Case(
        "ETags of some files are no MD5s, and every If-Match is refused",
        "The same gateway in front of a store that compares If-Match to another ETag.",
        oddities=(
            without_checksums,
            kinds.refuses_if_match,
            SEALED,
            kinds.swap("(<Key>sealed.*?<ETag>).*?(</ETag>)", rf"\g<1>&quot;{'5' * 32}&quot;\g<2>"),
        ),
        objects=PARTLY_SEALED,
        steps=(reads("sealed"), reads("sealed-2"), reads_all()),
    ),
    *(
        Case(
            f"no ETag {where}",
            "A proxy that may change bodies takes the ETag away (nginx: sub_filter, addition).",
            oddities=(kinds.header(match, "ETag", None),),
            objects=LARGE,
            steps=(reads("small"), reads("large"), reads_all()),
        )
        for where, match in (("with a GET", GET), ("but in listings", OBJECT))
    ),
    Case(
        "a bit flips and is not checked",
        "Checks are turned off for a store that corrupts its own ETags.",
        oddities=(kinds.flips_a_bit(kinds.of(GET, "small"), at=100),),
        objects=LARGE,
        options=("--no-verify-checksums",),
        steps=(reads("small", flipped(LARGE["small"], 100)),),
    ),
    *(
        Case(
            f"a bit flips under {name}",
            "An object under a KMS key: its ETag is no MD5, its checksum is told if asked for.",
            oddities=(
                without_checksums,
                kinds.header(OBJECT, "x-amz-server-side-encryption", "aws:kms"),
                etags("kms"),
                checksummed(name, digest),
                kinds.flips_a_bit(kinds.of(GET, "d/3"), at=100),
            ),
            objects=MANY,
            steps=(*(reads(key) for key in MANY if key != "d/3"), fails("EIO", "d/3")),
            log=(f"do not match the {name.upper()}.*d/3",),
        )
        for name, digest in (
            ("crc64nvme", crc64nvme),
            ("crc32c", crc32c),
            ("crc32", crc32),
            ("sha1", lambda body: hashlib.sha1(body, usedforsecurity=False).digest()),
            ("sha256", lambda body: hashlib.sha256(body).digest()),
        )
    ),
    *(
        Case(
            f"a checksum is of parts, {how}",
            "The checksum of a multipart upload is one of checksums, and it says so in some "
            "answers only (botocore #3346, aws-sdk-js-v3 #5032).",
            oddities=(
                without_checksums,
                etags("parts", "-7"),
                checksummed("crc32", lambda body: crc32(body[1:]), *extra),
            ),
            objects={**MANY, "empty": b""},
        )
        for how, extra in (
            ("by its type", (("x-amz-checksum-type", "COMPOSITE"),)),
            ("by its suffix", (("x-amz-checksum-crc32", "UymZPQ==-7"),)),
        )
    ),
    Case(
        "etags only look like md5s",
        "A gateway makes ETags of 32 hexadecimal digits from size and time, or at random "
        "(chimera #469; AWS Backup: s3ql #297).",
        oddities=(without_checksums, etags("salt")),
        objects=MANY,
        log=("look like MD5s, and are none",),
    ),
    Case(
        "etags only look like md5s, beside an empty object",
        "The same; the ETag of an empty object shows it.",
        oddities=(without_checksums, etags("salt")),
        objects={"a": b"one", "empty": b""},
        log=("look like MD5s, and are none",),
    ),
    Case(
        "etags of kms are no md5s",
        "rclone compared the ETags of objects under a KMS key (rclone #1824).",
        oddities=(
            without_checksums,
            kinds.header(OBJECT, "x-amz-server-side-encryption", "aws:kms"),
            etags("kms"),
        ),
    ),
    *(
        Case(
            f"the checksum header is refused with {status} {code}",
            "Header 'x-amz-checksum-mode' with value '' not implemented (aws-sdk-ruby #2893).",
            oddities=(refuses_checksums(status, code),),
            objects=MANY,
            steps=(
                reads_all(),
                sends_at_most(0, Kind.GET, reads_all()),
                logs("refuses x-amz-checksum-mode"),
            ),
        )
        for status, code in (
            (501, "NotImplemented"),
            (400, "InvalidArgument"),
            (403, "SignatureDoesNotMatch"),
        )
    ),
    Case(
        "checksums are not wanted",
        "The environment turns checksums of responses off for a store that cannot tell them.",
        environ={"AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"},
        steps=(
            reads_all(),
            every_request(Kind.GET, lambda request: "x-amz-checksum-mode" not in request.headers),
        ),
    ),
)

_CODINGS = (
    Case(
        "gzip is unpacked on the way",
        "Google Cloud Storage unpacks objects with Content-Encoding gzip, unless the request "
        "accepts gzip (opendal #5070, minio #6280).",
        oddities=(kinds.unpacks_gzip,),
        objects=PACKED,
        headers=STORED_PACKED,
        steps=(reads_all(), every_request(Kind.GET, without_accept_encoding_identity)),
    ),
    Case(
        "gzip is unpacked always",
        "GCS unpacks content types that it takes for incompressible, whatever the request "
        "accepts (gsutil #480).",
        oddities=(
            kinds.unpacks_gzip,
            kinds.ask(
                OBJECT,
                lambda request: replace(
                    request, headers={**request.headers, "accept-encoding": "identity"}
                ),
            ),
        ),
        objects=PACKED,
        headers=STORED_PACKED,
        steps=(right_or_fails("EIO|ESTALE", "log.gz"), reads("plain")),
        may_log=("log.gz",),
    ),
    Case(
        "nginx packs what is not packed",
        "nginx in front of MinIO packs responses: no length, a weak ETag (minio-java #825).",
        oddities=(packs(),),
        objects=TEXTS,
    ),
    Case(
        "a proxy packs, and a head has no length",
        "Cloudflare leaves Content-Length out of HEAD if the request accepts gzip (rclone #8137).",
        oddities=(packs(match=OBJECT),),
        objects=TEXTS,
        options=("--metadata-ttl", "0"),
    ),
    Case(
        "a proxy packs, and renames the etag",
        "Apache's mod_deflate appends -gzip to ETags.",
        oddities=(packs_with_suffix,),
        objects=TEXTS,
        options=("--metadata-ttl", "0"),
    ),
    Case(
        "a store packs, and unpacks",
        "Cloudflare R2 packs what is not packed if gzip is accepted, and unpacks what is if it is "
        "not (rclone #8137).",
        oddities=(kinds.unpacks_gzip, packs(match=OBJECT)),
        objects=PACKED,
        headers=STORED_PACKED,
        options=("--metadata-ttl", "0"),
    ),
    Case(
        "uploads in chunks left their coding",
        "Content-Encoding aws-chunked of an upload stays with the object (nginx #778).",
        oddities=(kinds.header(OBJECT, "Content-Encoding", "aws-chunked"),),
        steps=(reads_all(), sends_at_most(0, Kind.GET, reads_all())),
    ),
    Case(
        "bodies are chunked",
        "A gateway streams each body in chunks, without a length.",
        oddities=(chunked,),
        objects=LARGE,
    ),
    *(
        Case(
            f"bodies end with their connection, HTTP {version}",
            "A gateway that knows no length ends each body with the connection.",
            oddities=(without_length(version),),
            objects=LARGE,
        )
        for version in ("1.0", "1.1")
    ),
)

_RANGES = (
    Case(
        "ranges are ignored",
        "A cache answers 200 with the whole object to each Range.",
        oddities=(kinds.without_ranges(200),),
        objects=LARGE,
        options=("--part-size", "1MiB"),
    ),
    Case(
        "ranges are ignored, and read at random",
        "The same, for a database that reads single pages.",
        oddities=(kinds.without_ranges(200),),
        objects=LARGE,
        steps=(
            sends_at_most(
                6, Kind.GET, reads_parts(7_000_000, 5_000_000, *range(0, 8_000_000, 333_333))
            ),
        ),
    ),
    *(
        Case(
            f"ranges are answered with {status}",
            "An Object Lambda access point answers 501 to each Range (Mountpoint #1068); others "
            "400, 405 or 416.",
            oddities=(kinds.without_ranges(status, code),),
            objects=LARGE,
            options=("--part-size", "1MiB"),
            steps=(
                sends_at_most(
                    5, Kind.GET, reads_parts(7_000_000, 5_000_000, *range(0, 8_000_000, 333_333))
                ),
                reads_all(),
                logs("refuses Range"),
            ),
        )
        for status, code in (
            (501, "NotImplemented"),
            (400, "InvalidArgument"),
            (405, "MethodNotAllowed"),
            (416, "InvalidRange"),
        )
    ),
    Case(
        "ranges are not implemented and the object exceeds the memory",
        "An Object Lambda access point answers 501 to each Range of a large object.",
        oddities=(kinds.without_ranges(501),),
        objects={"large": bytes(range(256)) * (24 << 12)},
        options=("--part-size", "1MiB", "--memory-limit", "16MiB"),
    ),
)

CASES = (*_CUTS, *_CHECKSUMS, *_CODINGS, *_RANGES)
