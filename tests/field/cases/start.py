"""Reports about the start of a mount and about time.

What starts also serves, and what would serve also starts. One system call takes no longer than the
timeout.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.faults.bucket import Request, Response, failure
from tests.faults.hostile_store import HangUp
from tests.field import kinds
from tests.field.case import (
    BOTH,
    NATIVE,
    SAMPLED,
    Case,
    Run,
    Step,
    fails,
    in_time,
    lists,
    reads,
    reads_all,
)
from tests.field.kinds import ANY, GET, HEAD, LIST, after, edit, first
from tests.field.store import Answer, Oddity, Visit

FEW = {"a.txt": b"first\n", "d/b": b"b"}
_WAITS = ("not mounted yet",)
_TIMES_OUT = ("EIO|ETIMEDOUT",)
_SLOW_KEYS = """#!/bin/sh
sleep 8
echo '{"Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "process"}'
"""

_NEW_KEYS = """#!/bin/sh
printf '{"Version": 1, "AccessKeyId": "AKID%s", "SecretAccessKey": "process"}' $$
"""


def _page(status: int, body: bytes) -> Response:
    """Return the answer of something that is not S3."""
    headers = (("Content-Type", "text/html"), ("Content-Length", str(len(body))))
    return Response(status, headers, body)


def _busy_until(seconds: int) -> Oddity:
    busy = failure(503, "SlowDown", "Server not initialized, please try again")
    return kinds.instead(ANY, busy.with_header("Retry-After", str(seconds)))


def _drips(visit: Visit, answer: Answer) -> Response:
    for octet in answer(visit.request).head:
        visit.exchange.send(bytes([octet]))
        visit.exchange.pause(1)
    raise HangUp


def _closes_after(visit: Visit, answer: Answer) -> Response:
    """Close the connection after the answer, which does not announce it."""
    response = visit.exchange.stamp(answer(visit.request))
    is_bodiless = visit.request.method == "HEAD"
    visit.exchange.reply(replace(response, is_bodiless=is_bodiless))
    raise HangUp


def _truncated_without_token(visit: Visit, answer: Answer) -> Response:
    page = kinds.swap("<IsTruncated>false", "<IsTruncated>true")(visit, answer)
    return kinds.no_token(visit, lambda _request: page)


def _goes_away(seconds: float) -> Step:
    """Refuse connections for some seconds."""

    def step(run: Run) -> None:
        run.store.refuse()
        threading.Timer(seconds, run.store.listen).start()

    return step


def asking_token(request: Request) -> bool:
    return LIST(request) and "continuation-token" in request.query


def _names(path: Path) -> list[str]:
    return [each.name for each in path.iterdir()]


def _pread(offset: int, size: int) -> Callable[[Path], object]:
    """Return a call that reads with one system call."""

    def call(path: Path) -> object:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    return call


def _pread_everywhere(path: Path) -> None:
    """Read with one system call in each of many threads, all of one open file. Raises the first."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(100) as readers:
            offsets = range(0, 100 * (512 << 10), 512 << 10)
            for read in [readers.submit(os.pread, descriptor, 4096, at) for at in offsets]:
                read.result()
    finally:
        os.close(descriptor)


def _read_whole(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


_TOUCH = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[100]
"""


def _mapped(name: str) -> Step:
    """Check that a page fault ends with SIGBUS."""

    def step(run: Run) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _TOUCH, run.path(name)], check=False, capture_output=True
        )
        assert done.returncode == -7, done

    return step


STARTING = (
    Case(
        "LIST needs a prefix in the query",
        "A policy allows LIST only with prefix= in the query, an empty one too.",
        oddities=(kinds.needs_prefix,),
    ),
    Case(
        "the first byte of each LIST takes long",
        "boto3 #3324: list_objects_v2 takes 15 to 25 s, for one file too.",
        oddities=(kinds.slow(LIST, 4),),
        objects=FEW,
        options=("--timeout", "20", "--start-timeout", "3"),
        within=20,
        steps=(lists("", "a.txt", "d"),),
        transports=NATIVE,
    ),
    Case(
        "the store is busy while mounting",
        "A store answers 503 SlowDown three times, then serves.",
        oddities=(kinds.busy(3, ANY),),
        may_log=("503|SlowDown",),
    ),
    Case(
        "the store is busy without a document",
        "A load balancer answers 503 three times with an empty body while its store starts.",
        oddities=(kinds.busy(3, ANY, 503, ""),),
        may_log=("503",),
    ),
    Case(
        "the store comes up late",
        "goofys #489: at boot the network is not there yet, and the mount fails for good.",
        late=4,
        objects=FEW,
        steps=(reads_all(),),
        may_log=("refused|connect",),
        transports=NATIVE,
    ),
    # ---- starting: what passes is outlasted
    Case(
        "the store throttles with Retry-After while mounting",
        "minio #10818: 503 SlowDown with Retry-After: 120 while the server initializes.",
        oddities=(first(4, ANY, _busy_until(120)),),
        may_log=_WAITS,
    ),
    Case(
        "the store answers 429 while mounting",
        "Gateways with a rate limit answer 429 to the first requests.",
        oddities=(kinds.busy(3, ANY, 429, "TooManyRequests"),),
        may_log=_WAITS,
    ),
    Case(
        "the store answers 500 for the first seconds",
        "A store whose index is loading answers 500 InternalError.",
        oddities=(kinds.busy(4, ANY, 500, "InternalError"),),
        may_log=_WAITS,
    ),
    Case(
        "the store answers 408 while mounting",
        "HAProxy answers 408 to a request that it did not read.",
        oddities=(kinds.busy(2, ANY, 408, ""),),
        may_log=_WAITS,
    ),
    Case(
        "a gateway has no route while mounting",
        "Traefik answers 404 without an S3 code until its backend is registered.",
        oddities=(first(3, ANY, kinds.instead(ANY, _page(404, b"404 page not found\n"))),),
        may_log=_WAITS,
    ),
    Case(
        "a gateway has no backend while mounting",
        "nginx answers 502 with a web page until its backend is up.",
        oddities=(first(3, ANY, kinds.instead(ANY, _page(502, b"<html>502</html>"))),),
        may_log=_WAITS,
    ),
    Case(
        "an empty answer while mounting",
        "A load balancer answers 200 without a body to the first requests.",
        oddities=(first(2, LIST, kinds.instead(LIST, _page(200, b""))),),
        may_log=_WAITS,
        transports=BOTH,
    ),
    Case(
        "connections are reset while mounting",
        "A sidecar proxy resets connections until its configuration is loaded.",
        oddities=(first(3, ANY, kinds.resets(ANY)),),
        may_log=_WAITS,
        transports=BOTH,
    ),
    Case(
        "the first request is slow",
        "s3fs #1955: checking the bucket takes longer than its timeout, which no option sets.",
        oddities=(first(1, ANY, kinds.slow(ANY, 4)),),
        options=("--timeout", "12"),
        transports=NATIVE,
    ),
    Case(
        "the first request hangs",
        "A proxy swallows the first request after its start.",
        oddities=(first(1, ANY, kinds.slow(ANY, 60)),),
        options=("--timeout", "6"),
        may_log=_WAITS,
        transports=BOTH,
    ),
    Case(
        "the header comes byte by byte at first",
        "A tarpit sends the first response a byte each second.",
        oddities=(first(1, ANY, _drips),),
        options=("--timeout", "6"),
        may_log=_WAITS,
        transports=BOTH,
    ),
    Case(
        "the clock was wrong while mounting",
        "mountpoint-s3 #518: RequestTimeTooSkewed after a machine resumed.",
        oddities=(kinds.busy(2, ANY, 403, "RequestTimeTooSkewed"),),
        may_log=_WAITS,
    ),
    Case(
        "a session token has to be renewed while mounting",
        "A store refuses the first request with ExpiredToken.",
        oddities=(kinds.busy(1, ANY, 400, "ExpiredToken"),),
        environ={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        home={
            ".aws/config": "[default]\ncredential_process = sh -c '. \"$HOME/keys\"'\n",
            "keys": _NEW_KEYS,
        },
        may_log=_WAITS,
    ),
    Case(
        "a credential process takes long",
        "A vault's credential_process takes 20 s at the first call.",
        environ={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        home={
            ".aws/config": "[default]\ncredential_process = sh -c '. \"$HOME/keys\"'\n",
            "keys": _SLOW_KEYS,
        },
        starts_within=20,
        transports=NATIVE,
    ),
    Case(
        "a long timeout is taken as it is",
        "A user writes the timeout of other tools: a year, to have none.",
        options=("--timeout", "100000000", "--start-timeout", "100000000"),
    ),
    # ---- starting: what does not pass is told at once
    Case(
        "access is denied while mounting",
        "The policy lacks s3:ListBucket.",
        oddities=(kinds.refuses(LIST, 403, "AccessDenied"),),
        refused="s3:ListBucket",
        starts_within=6,
    ),
    Case(
        "the bucket is missing",
        "A typing mistake in the name of the bucket.",
        oddities=(kinds.refuses(LIST, 404, "NoSuchBucket"),),
        refused="does not exist",
        starts_within=6,
    ),
    Case(
        "the endpoint is a web page",
        "The endpoint is that of a console: each answer is a page.",
        oddities=(kinds.instead(ANY, _page(200, b"<html>Sign in</html>")),),
        refused="does not answer like S3",
        starts_within=8,
        transports=BOTH,
    ),
    Case(
        "a proxy wants a password",
        "A proxy answers 407 to each request.",
        oddities=(kinds.instead(ANY, _page(407, b"")),),
        refused="proxy",
        starts_within=6,
        transports=BOTH,
    ),
    Case(
        "the store stays busy",
        "A store answers 503 for ever: the line names what was tried, and for how long.",
        oddities=(kinds.refuses(ANY, 503, "SlowDown"),),
        options=("--start-timeout", "3"),
        refused="SlowDown.*--start-timeout",
        starts_within=8,
    ),
    Case(
        "the store never answers",
        "A firewall lets connections through, and no answer.",
        oddities=(kinds.slow(ANY, 60),),
        options=("--start-timeout", "2", "--timeout", "4"),
        refused="no answer.*--idle-timeout",
        starts_within=8,
        transports=BOTH,
    ),
)

TIME = (
    # ---- time: malformed for good
    *(
        Case(
            f"a listing for ever {name}",
            "A gateway's listing stays malformed; tools that retry for long seem to hang.",
            oddities=(after(1, LIST, oddity),),
            options=("--timeout", "20", "--metadata-ttl", "0"),
            may_log=("EIO",),
            within=30,
            steps=(
                in_time(6, fails("EIO", "", _names)),
                in_time(6, fails("EIO", "photos", _names)),
                in_time(6, fails("EIO", "photos/2024/one.jpg", lambda path: path.stat())),
                in_time(6, fails("EIO", "new", lambda path: path.stat())),
            ),
            transports=BOTH if "connection" in name else SAMPLED,
        )
        for name, oddity in {
            "lacks its token": _truncated_without_token,
            "ends in the middle": edit(LIST, lambda page: page.with_body(page.body[:200])),
            "is cut by the connection": edit(LIST, lambda page: replace(page, cut_after=200)),
            "is a web page": kinds.instead(LIST, _page(200, b"<html>Sign in</html>")),
            "is empty": kinds.instead(LIST, _page(200, b"")),
        }.items()
    ),
    Case(
        "a HEAD for ever without its length",
        "A proxy removes Content-Length from answers to HEAD.",
        oddities=(kinds.header(HEAD, "Content-Length", None),),
        options=("--timeout", "20", "--no-prefetch", "all"),
        within=30,
        steps=(in_time(6, reads("a.txt")),),
        transports=BOTH,
    ),
    Case(
        "a part for ever with another Content-Range",
        "A cache answers a range with another one.",
        oddities=(kinds.header(GET, "Content-Range", "bytes 7-8/9"),),
        options=("--timeout", "20"),
        may_log=("EIO",),
        within=30,
        steps=(in_time(8, fails("EIO", "photos/2024/one.jpg")),),
        transports=BOTH,
    ),
    # ---- time: one system call, one timeout
    Case(
        "every read stalls",
        "mountpoint-s3 #706: operations hang for ever; a store sends nothing.",
        objects={"big": bytes(8 << 20)},
        oddities=(kinds.slow(GET, 60),),
        options=("--timeout", "2"),
        may_log=_TIMES_OUT,
        within=30,
        steps=(
            lists("", "big"),
            in_time(4, fails("EIO|ETIMEDOUT", "big", _pread(0, 4 << 20))),
            in_time(4, fails("EIO|ETIMEDOUT", "big", _pread(1 << 20, 4 << 20))),
            in_time(4, fails("EIO|ETIMEDOUT", "big", _pread((4 << 20) - 100, 200))),
        ),
        transports=BOTH,
    ),
    Case(
        "reads stall after the first",
        "A store stalls in the middle of a file.",
        objects={"big": bytes(8 << 20)},
        oddities=(after(1, GET, kinds.slow(GET, 60)),),
        options=("--timeout", "2", "--part-size", "1MiB"),
        may_log=_TIMES_OUT,
        within=30,
        steps=(in_time(4, fails("EIO|ETIMEDOUT", "big", _read_whole)),),
        transports=BOTH,
    ),
    *(
        Case(
            f"reads of many threads stall{where}",
            "Many threads read one open file from a store that stalls.",
            objects={"big": bytes(50 << 20)},
            oddities=(kinds.slow(GET, 60),),
            options=("--timeout", "4", *options),
            may_log=_TIMES_OUT,
            within=30,
            steps=(lists("", "big"), in_time(7, fails("EIO|ETIMEDOUT", "big", _pread_everywhere))),
            transports=BOTH,
        )
        # of a shared mount, many wait for others of the same user
        for where, options in (
            ("", ()),
            (" in a shared mount", ("--allow-other", "--max-connections", "8")),
        )
    ),
    Case(
        "a mapped file stalls",
        "A page fault waits for a store that stalls.",
        objects={"big": bytes(4 << 20)},
        oddities=(kinds.slow(GET, 60),),
        options=("--timeout", "2"),
        may_log=_TIMES_OUT,
        within=30,
        steps=(lists("", "big"), in_time(5, _mapped("big"))),
        transports=BOTH,
    ),
    Case(
        "every listing stalls",
        "A store stalls at each LIST after the mount.",
        oddities=(after(1, LIST, kinds.slow(LIST, 60)),),
        options=("--timeout", "2"),
        may_log=_TIMES_OUT,
        within=40,
        steps=(
            in_time(4, fails("EIO|ETIMEDOUT", "", _names)),
            in_time(4, fails("EIO|ETIMEDOUT", "photos/2024/one.jpg", lambda path: path.stat())),
            in_time(4, fails("EIO|ETIMEDOUT", "a.txt")),
        ),
        transports=BOTH,
    ),
    Case(
        "a second page stalls",
        "A store stalls at the second page of a directory.",
        objects={f"d/{number:04}": b"" for number in range(60)},
        page_size=20,
        oddities=(kinds.slow(asking_token, 60),),
        options=("--timeout", "2", "--no-prefetch", "all"),
        may_log=_TIMES_OUT,
        within=30,
        steps=(in_time(4, fails("EIO|ETIMEDOUT", "d", _names)),),
    ),
    *(
        Case(
            f"a second page {name}",
            "A gateway sends a malformed page in the middle of a directory.",
            objects={f"d/{number:04}": b"" for number in range(60)},
            page_size=20,
            oddities=(oddity,),
            options=("--timeout", "20"),
            may_log=("EIO",),
            within=30,
            steps=(in_time(6, fails("EIO", "d", _names)),),
            transports=NATIVE,
        )
        for name, oddity in {
            "is a web page": kinds.instead(asking_token, _page(200, b"<html>Sign in</html>")),
            "ends in the middle": edit(asking_token, lambda page: page.with_body(page.body[:200])),
            "is cut by the connection": edit(
                asking_token, lambda page: replace(page, cut_after=200)
            ),
        }.items()
    ),
    Case(
        "a listing is malformed twice",
        "A proxy cuts two answers while it is replaced.",
        oddities=(
            after(1, LIST, first(2, LIST, edit(LIST, lambda page: page.with_body(page.body[:9])))),
        ),
        options=("--no-prefetch", "all"),
        within=15,
    ),
    Case(
        "the store goes away for some seconds",
        "A store is restarted: connections are refused for 4 s.",
        steps=(_goes_away(4), reads_all()),
        within=30,
        options=("--metadata-ttl", "0"),
        transports=BOTH,
    ),
    Case(
        "the pages of a directory are slow",
        "Each page of a directory takes half of the timeout: many system calls, many timeouts.",
        objects={f"d/{number:04}": b"" for number in range(60)},
        page_size=20,
        oddities=(kinds.slow(asking_token, 2),),
        options=("--timeout", "5", "--no-prefetch", "all"),
        within=30,
        steps=(lists("d", *(f"{number:04}" for number in range(60))),),
        transports=NATIVE,
    ),
    # ---- connections
    Case(
        "each connection is closed after its answer",
        "seaweedfs #6746: idle connections are closed by the server, unannounced.",
        oddities=(_closes_after,),
        steps=(reads_all(), reads_all()),
        transports=BOTH,
    ),
    Case(
        "HEAD is slow and LIST is not",
        "A store reads HEAD from cold disks.",
        oddities=(kinds.slow(HEAD, 2),),
        options=("--timeout", "5"),
        within=30,
        steps=(fails("ENOENT", "new", lambda path: path.stat()), reads_all()),
        transports=NATIVE,
    ),
    Case(
        "a timeout of one second",
        "A store near by, and a user who wants an answer at once.",
        options=("--timeout", "1"),
    ),
    Case(
        "a slow listing and a short idle timeout",
        "The caps of an attempt are options: the idle timeout is longer than half of the timeout.",
        oddities=(kinds.slow(LIST, 3),),
        objects=FEW,
        options=("--timeout", "5", "--idle-timeout", "5"),
        starts_within=15,
        within=30,
        steps=(lists("", "a.txt", "d"),),
        transports=NATIVE,
    ),
)

CASES = STARTING + TIME
