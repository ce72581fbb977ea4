"""Reports about versions: sizes, ETags and conditions that contradict each other."""

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.faults.bucket import Kind, Response
from tests.field import kinds
from tests.field.case import (
    Case,
    Run,
    Step,
    has_size,
    reads,
    reads_all,
    repeats,
    sends_at_most,
)
from tests.field.cases.bodies import without_length
from tests.field.cases.gateways import without_its_range
from tests.field.kinds import GET, HEAD, LIST, OBJECT
from tests.field.store import Answer, Oddity, Visit
from tests.mount.filesystem_access import failure_of, output_of, read_mapped

BIG = {"big": bytes(range(251)) * 9000, "small": b"a few bytes\n"}
MANY = {f"d/{number:03}": b"%03d\n" % number * (number + 1) for number in range(40)}
SMALL_PARTS = ("--part-size", "1MiB")
NOTHING = "d41d8cd98f00b204e9800998ecf8427e"  # MD5


# ---- steps and oddities of this table


def as_mapped(name: str) -> Step:
    def step(run: Run) -> None:
        assert run.case.objects[name] == read_mapped(run.path(name))

    return step


def as_tools_read(name: str) -> Step:
    """Check what `cat`, `tail`, `wc`, `cp` and `dd` make of a file."""

    def step(run: Run) -> None:
        body, path, copy = run.case.objects[name], run.path(name), run.home / "copy"
        assert str(len(body)) == output_of("wc", "-c", path).split()[0]
        assert body[-7:].hex() == output_of("sh", "-c", f"tail -c 7 {path} | xxd -p").strip()
        for words in (("cp", path, copy), ("dd", f"if={path}", f"of={copy}", "bs=100k")):
            output_of(*words)
            assert body == copy.read_bytes()
            copy.unlink()

    return step


def all_at_once(name: str, readers: int = 8) -> Step:
    """Check that several readers, each in its own order, see the same bytes."""

    def step(run: Run) -> None:
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda piece=piece: found.append(pieces(run.path(name), piece)))
            for piece in range(1000, 1000 + readers * 9973, 9973)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [run.case.objects[name]] * readers == found

    return step


def across_the_end(name: str, readers: int = 20) -> Step:
    """Check the bytes at an end that was told too late, while more READs wait than are in flight.

    The kernel keeps those in a queue (FUSE's max_background), where the correction overtakes them.
    """

    def step(run: Run) -> None:
        body, size = run.case.objects[name], 4096
        end = len(body) // size * size
        found: dict[int, bytes] = {}
        descriptor = os.open(run.path(name), os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)

            def read(offset: int) -> None:
                found[offset] = os.pread(descriptor, 2 * size, offset)

            offsets = [number * 2 * size for number in range(readers)]
            threads = [threading.Thread(target=read, args=(at,)) for at in (*offsets, end)]
            for thread in threads:
                thread.start()
                time.sleep(0.02)  # so that most arrive in this order, the interesting one
            for thread in threads:
                thread.join()
            expected = {at: body[at : at + 2 * size] for at in (*offsets, end)}
            assert {at: len(piece) for at, piece in expected.items()} == {
                at: len(piece) for at, piece in found.items()
            }
            assert expected == found
        finally:
            os.close(descriptor)

    return step


def pieces(path: Path, piece: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(piece), b""))


def replaced_between(name: str, first_read: int) -> Step:
    """Replace an open object of which *first_read* bytes were read: the next read is ESTALE."""

    def step(run: Run) -> None:
        old, new = run.case.objects[name], b"another version"
        descriptor = os.open(run.path(name), os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            assert old[:first_read] == os.pread(descriptor, first_read, 0)
            run.store.bucket.put(name, new)
            end = len(old) - 4096
            assert failure_of(lambda: os.pread(descriptor, 4096, end)) == "ESTALE"
        finally:
            os.close(descriptor)
        assert new == run.path(name).read_bytes()

    return step


def looks(run: Run) -> None:
    """List the root, whose files are then known by their listing."""
    assert list(run.mount.path.iterdir())


def sizes_by_name(run: Run) -> None:
    """Check the sizes that a listing shows once the files were read."""
    with os.scandir(run.mount.path / "d") as entries:
        found = {f"d/{entry.name}": entry.stat().st_size for entry in entries}
    assert {name: len(body) for name, body in run.case.objects.items()} == found


def edits_etag(match: kinds.Match, change: Callable[[str], str]) -> Oddity:
    """Spell the ETag of answers otherwise."""

    def spell(response: Response) -> Response:
        tag = next(value for name, value in response.headers if name.lower() == "etag")
        return response.with_header("ETag", change(tag))

    return kinds.edit(match, spell)


def lists_new_etags(visit: Visit, answer: Answer) -> Response:
    """List another ETag each time."""
    response = answer(visit.request)
    if not LIST(visit.request):
        return response
    tag = f"<ETag>{visit.count('listing'):032x}</ETag>"
    return response.with_body(re.sub(rb"<ETag>.*?</ETag>", tag.encode(), response.body))


def lists_sizes_but_of(key: str, change: Callable[[int], int]) -> Oddity:
    """List other sizes of all objects but one."""

    def edit(row: str) -> str:
        if f"<Key>{key}</Key>" in row:
            return row
        return re.sub(r"<Size>(\d+)", lambda size: f"<Size>{change(int(size[1]))}", row)

    rows = r"<Contents>.*?</Contents>"
    return kinds.rows(lambda text: re.sub(rows, lambda row: edit(row[0]), text))


def wants_no_quotes(visit: Visit, answer: Answer) -> Response:
    """Compare If-Match, quotes and all, to an ETag without."""
    request = visit.request
    if '"' not in request.headers.get("if-match", ""):
        return answer(request)
    return kinds.refuses(kinds.ANY, 412, "PreconditionFailed")(visit, answer)


def without_totals(visit: Visit, answer: Answer) -> Response:
    response = answer(visit.request)
    headers = [(name, re.sub(r"/\d+$", "/*", value)) for name, value in response.headers]
    return replace(response, headers=tuple(headers)) if response.status == 206 else response


def replaced(name: str, body: bytes) -> Step:
    """Replace an object, and check that the file is the new one, whole."""

    def step(run: Run) -> None:
        run.store.bucket.put(name, body)
        assert body == run.path(name).read_bytes()
        assert len(body) == run.path(name).stat().st_size

    return step


CONDITIONAL = kinds.with_header(OBJECT, "if-match")
REVALIDATES = kinds.with_header(OBJECT, "if-none-match")
EVERYTHING = (
    reads_all(),
    repeats(2, reads("big")),
    has_size("small", len(BIG["small"])),
    as_tools_read("big"),
    as_mapped("small"),
)


def _sizes(name: str, report: str, change: Callable[[int], int]) -> tuple[Case, ...]:
    """The cases of a store that lists other sizes, for each way to ask again."""
    return tuple(
        Case(
            name + suffix,
            report,
            oddities=(kinds.list_sizes(change),),
            objects=BIG,
            options=(*SMALL_PARTS, *options),
            steps=EVERYTHING,
        )
        for suffix, options in (
            ("", ()),
            (", with a lifetime of 0", ("--metadata-ttl", "0")),
            (", with an indefinite lifetime", ("--metadata-ttl", "indefinite")),
            (", without prefetch", ("--no-prefetch", "readahead,siblings,walks")),
        )
    )


def _longer(size: int) -> int:
    return size + 48


def _half(size: int) -> int:
    return size // 2


def _refused_conditions() -> tuple[Case, ...]:
    return tuple(
        Case(
            f"every If-Match is answered {status}",
            "Proxies and gateways that do not know the header refuse it, or answer as to another.",
            oddities=(kinds.refuses(CONDITIONAL, status, code),),
            objects=BIG,
            options=SMALL_PARTS,
            steps=EVERYTHING,
        )
        for status, code in (
            (304, ""),
            (400, "InvalidArgument"),
            (403, "SignatureDoesNotMatch"),
            (416, "InvalidRange"),
            (501, "NotImplemented"),
        )
    )


def _heads() -> tuple[Case, ...]:
    oddities = {
        "a HEAD is not allowed": kinds.refuses(HEAD, 405, ""),
        "a HEAD is not implemented": kinds.refuses(HEAD, 501, ""),
        "a HEAD has no length": kinds.header(HEAD, "Content-Length", None),
        "a HEAD has a length of 0": kinds.header(HEAD, "Content-Length", "0"),
        "a HEAD tells another ETag": kinds.header(HEAD, "ETag", '"0123456789abcdef-3"'),
    }
    report = (
        "async-aws #2077: R2 leaves the length out; localstack #638 and ECS-CommunityEdition #451:"
        " a length of 0; gateways without HEAD."
    )
    read = (reads("small"), reads("big"), as_tools_read("big"), reads_all())
    return tuple(
        Case(name, report, oddities=(oddity,), objects=BIG, options=SMALL_PARTS, steps=read)
        for name, oddity in oddities.items()
    )


_CASES = (
    *_sizes(
        "a listing tells larger sizes",
        "s3-encryption-gateway #207: ListObjects has the size of the ciphertext, GET and HEAD that"
        " of the plain text.",
        lambda size: size + 48,
    ),
    *_sizes(
        "a listing tells smaller sizes",
        "A compressing gateway lists the compressed size; GET brings more bytes.",
        lambda size: size // 2,
    ),
    *_sizes("a listing tells a size of 0", "A listing without sizes.", lambda _: 0),
    Case(
        "a listing tells larger sizes of many files",
        "s3proxy #51 (Intrinsec): the listed size has 28 bytes more for each object.",
        oddities=(kinds.list_sizes(lambda size: size + 28),),
        objects=MANY,
        steps=(
            sends_at_most(7 * len(MANY), Kind.GET, reads_all()),
            sizes_by_name,
            sends_at_most(0, None, reads_all()),
        ),
    ),
    Case(
        "a listing tells larger sizes to many readers",
        "s3-encryption-gateway #204: the same, under parallel transfers.",
        oddities=(kinds.list_sizes(lambda size: size + 48),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=(looks, all_at_once("big")),
    ),
    *(
        Case(
            f"a listing tells {word} sizes of some files",
            "s3proxy #51 (Intrinsec): objects that were not written through the gateway are listed"
            " right, the others wrong; so what was seen of one proves nothing of another.",
            oddities=(lists_sizes_but_of("first", change),),
            objects=BIG | {"first": b"plain", "other": bytes(range(253)) * 3000},
            options=SMALL_PARTS,
            steps=(looks, reads("first"), all_at_once("big"), reads("small"), reads("other")),
        )
        for word, change in (("larger", _longer), ("smaller", _half))
    ),
    *(
        Case(
            f"a listing tells {word} sizes, and {tool} is the first reader",
            "s3-encryption-gateway #207; a tool goes by the size before it has read a byte.",
            oddities=(kinds.list_sizes(change),),
            objects=BIG,
            options=SMALL_PARTS,
            steps=(looks, step),
        )
        for word, change in (("larger", _longer), ("smaller", _half))
        for tool, step in (("tail", as_tools_read("big")), ("mmap", as_mapped("big")))
    ),
    Case(
        "a listing tells larger sizes to more READs than are in flight",
        "The same, of a file that many threads read at random.",
        oddities=(
            lists_sizes_but_of("first", lambda size: 2 * size),
            kinds.slow(kinds.of(GET, "big"), 0.6),
        ),
        objects=BIG | {"first": b"plain"},
        options=("--no-prefetch", "readahead"),
        steps=(looks, reads("first"), across_the_end("big")),
    ),
    Case(
        "every If-Match is refused",
        "seaweedfs #7274: 412 to If-Match with the very ETag that HEAD has just told.",
        oddities=(kinds.refuses_if_match,),
        objects=BIG | MANY,
        options=SMALL_PARTS,
        steps=(reads("big"), sends_at_most(60, None, reads_all()), as_tools_read("big")),
    ),
    Case(
        "an If-Match with quotes is refused",
        "Servers that compare the header as it is to an ETag without quotes.",
        oddities=(wants_no_quotes,),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    *_refused_conditions(),
    Case(
        "every If-None-Match is refused",
        "The same of revalidations.",
        oddities=(kinds.refuses(REVALIDATES, 412, "PreconditionFailed"),),
        objects=BIG,
        options=(*SMALL_PARTS, "--metadata-ttl", "0"),
        steps=EVERYTHING,
    ),
    Case(
        "a listing tells another ETag",
        "minio #13497: the Azure gateway lists 0x8D9953E36AF2607-1, and tells an MD5 to HEAD.",
        oddities=(kinds.list_etags('"0x8D9953E36AF2607-1"'),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a listing tells the ETag of nothing",
        "s2 #209 (mojatter): each row of a listing has the MD5 of no bytes.",
        oddities=(kinds.list_etags(NOTHING),),
        objects=BIG | {"empty": b""},
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a listing tells an empty ETag",
        "minio #5567: ETag is empty in listings.",
        oddities=(kinds.list_etags(""),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a listing tells other ETags each time",
        "A gateway that makes ETags up while it lists.",
        oddities=(lists_new_etags,),
        objects=BIG,
        options=(*SMALL_PARTS, "--metadata-ttl", "0"),
        steps=EVERYTHING,
    ),
    Case(
        "a listing tells ETags in upper case",
        "Gateways that print the same digits otherwise.",
        oddities=(
            kinds.rows(
                lambda text: (
                    re.sub("<ETag>.*?</ETag>", lambda tag: tag[0].upper(), text)
                    .replace("<ETAG>&QUOT;", "<ETag>&quot;")
                    .replace("&QUOT;</ETAG>", "&quot;</ETag>")
                    .replace("<ETAG>", "<ETag>")
                    .replace("</ETAG>", "</ETag>")
                )
            ),
        ),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a GET tells its ETag with a suffix",
        "mdn/content #4343, rails #19056: Apache appends -gzip, and compares without.",
        oddities=(edits_etag(GET, lambda tag: tag[:-1] + '-gzip"'),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a GET tells a weak ETag without quotes",
        "Proxies that rewrite strong ETags.",
        oddities=(edits_etag(GET, lambda tag: "W/" + tag.strip('"')),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a GET tells another ETag than HEAD and the listing",
        "Gateways whose ETag of a multipart upload differs by the way it is asked for.",
        oddities=(edits_etag(GET, lambda _: '"fedcba9876543210-7"'), kinds.ignores("if-match")),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a part of unknown total",
        "RFC 9110 14.4: a server may answer bytes 0-9/*.",
        oddities=(without_totals,),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    *_heads(),
    Case(
        "a HEAD knows no object",
        "HEAD answers 404 for objects that are listed and that GET brings.",
        oddities=(kinds.refuses(HEAD, 404, ""),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "a listing is late",
        "An eventually consistent listing tells what was replaced meanwhile.",
        oddities=(kinds.list_sizes(lambda _: 7), kinds.list_etags('"of-the-version-before"')),
        objects=BIG,
        options=SMALL_PARTS,
        steps=EVERYTHING,
    ),
    Case(
        "an open file is replaced",
        "No contradiction: an open file is one version, or ESTALE.",
        objects=BIG,
        options=(*SMALL_PARTS, "--metadata-ttl", "0", "--no-prefetch", "readahead"),
        steps=(looks, reads("small"), replaced_between("big", 100)),
        may_log=("ESTALE",),
    ),
    Case(
        "an open file is replaced before it is read",
        "The same, of a file of which nothing was read.",
        objects={**BIG, "other": b"x" * 100_000},
        options=(*SMALL_PARTS, "--metadata-ttl", "0", "--no-prefetch", "readahead"),
        steps=(reads("small"), replaced_between("other", 0)),
        may_log=("ESTALE",),
    ),
    Case(
        "a file is replaced on a store that lists other sizes",
        "The same, of a version that was corrected.",
        oddities=(kinds.list_sizes(lambda size: size + 48),),
        objects=BIG,
        options=(*SMALL_PARTS, "--metadata-ttl", "0", "--no-prefetch", "readahead"),
        steps=(looks, replaced_between("big", 100)),
        may_log=("ESTALE",),
    ),
)


def _replacements() -> tuple[Case, ...]:
    """The cases of a store whose response to a revalidation does not tell the new size."""
    responses = {
        "tells no size of a part": ("A gateway sends bytes 0-9/*.", without_totals),
        "sends a part as a whole": ("lakeFS #6100: 200 for a range.", without_its_range(200)),
        "tells no length": ("A proxy of HTTP/1.0 ends bodies with connections.", without_length()),
    }
    return tuple(
        Case(
            f"files are replaced on a store that {name}",
            report,
            oddities=(oddity,),
            objects=BIG,
            options=(*SMALL_PARTS, "--metadata-ttl", "0"),
            steps=(
                *(reads("small"), reads("big")),
                *(replaced("small", BIG["big"]), replaced("small", b"short")),
                *(replaced("big", 2 * BIG["big"]), replaced("big", b"s")),
            ),
            may_log=("ESTALE",),
        )
        for name, (report, oddity) in responses.items()
    )


# programs are run, and the machine may be busy
CASES = tuple(replace(case, within=60.0) for case in (*_CASES, *_replacements()))
