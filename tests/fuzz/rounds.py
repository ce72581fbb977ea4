"""One round: a store, a mount, users, changes and SIGHUPs for a few seconds, and at the end the last state of the bucket."""

import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.faulty_mount import KEY_ID, SECRET
from tests.fuzz.options import Options
from tests.fuzz.store import ChangingBucket, LateStore
from tests.fuzz.users import Deviation, User, Views, list_directory, run_tools
from tests.mount.mount_process import Mount, abort, mounted
from tests.property.history_store import Behaviour
from tests.property.programs import random_key

BUCKET = "fuzzy"
ROUND = 3.0  # seconds of use
CHANGES_MAX = 60
HANGS_AFTER = 60.0  # seconds, in which no call returns
SEEN_WITHIN = 20.0  # seconds after a SIGHUP, far less than the lifetimes that it ends
MARKER = "zz-marker"


def run_round(options: Options) -> None:
    """Raises Deviation, or AssertionError for the log and the end of the mount."""
    rnd = random.Random(options.seed)
    bucket = ChangingBucket(BUCKET, options.keys, options.behaviour, rnd)
    environment = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    with _folder() as folder, LateStore(bucket, options.behaviour.delay, rnd) as store:
        where = ("--endpoint-url", store.url, "--region", "us-east-1", "--path-style")
        with mounted(BUCKET, folder / "mnt", *where, *options.arguments, env=environment) as mount:
            if not options.behaviour.is_ordered:
                mount.allow("contradicts its own order")
            if options.change_pause:
                mount.allow("ESTALE")
            try:
                _use(options, bucket, mount, Views(mount.path, bucket.history, options.behaviour))
                _check_the_end(bucket, mount, options.behaviour)
            except Deviation as exc:
                raise Deviation(f"{exc}\n{_serious(mount)}") from exc


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="s3mount-fuzz-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serious(mount: Mount) -> str:
    """The last things that the mount complained of."""
    records = [record for record in mount.records() if record["level"] not in ("DEBUG", "INFO")]
    return "\n".join(str(record.get("exc_info") or record["message"]) for record in records[-5:])


def _use(options: Options, bucket: ChangingBucket, mount: Mount, views: Views) -> None:
    """Everybody at once, until the time is over or one sees a deviation."""
    stop, crew = threading.Event(), _Crew()
    for number in range(options.users):
        crew.start(User(views, f"{options.seed} {number}", stop).run, stop)
    for number in range(options.tools):
        rnd = random.Random(f"{options.seed} tool {number}")
        crew.start(lambda rnd=rnd: run_tools(mount.path, rnd, stop), stop)  # type: ignore[misc]  # bound now
    if options.change_pause:
        crew.start(lambda: _change(options, bucket, stop), stop)
    if options.hang_up_pause:
        crew.start(lambda: _hang_up(options, mount, stop), stop)
    stop.wait(ROUND)
    stop.set()
    crew.join(mount)


class _Crew:
    """Threads, and the first failure of one."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self, work: Callable[[], None], stop: threading.Event) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as exc:  # noqa: BLE001  # raised again by `join`
                self._failures.append(exc)
                stop.set()

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def join(self, mount: Mount) -> None:
        end = time.monotonic() + HANGS_AFTER
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            abort(mount.path)
            raise Deviation("a call of a user does not return")
        for failure in self._failures:
            raise failure


def _change(options: Options, bucket: ChangingBucket, stop: threading.Event) -> None:
    rnd = random.Random(f"{options.seed} changes")
    for _ in range(CHANGES_MAX):
        key = rnd.choice(options.keys) if options.keys and rnd.random() < 0.7 else random_key(rnd)
        if key.startswith("/"):
            continue
        if rnd.random() < 0.5:
            bucket.replace(key)
        else:
            bucket.remove(key)
        if stop.wait(options.change_pause):
            return


def _hang_up(options: Options, mount: Mount, stop: threading.Event) -> None:
    rnd = random.Random(f"{options.seed} hang up")
    while not stop.wait(rnd.random() * options.hang_up_pause):
        mount.process.send_signal(signal.SIGHUP)


def _check_the_end(bucket: ChangingBucket, mount: Mount, behaviour: Behaviour) -> None:
    """After a SIGHUP, the last state of the bucket is seen, and no other."""
    end = time.monotonic()
    if len(bucket.history.states) > 1:
        _refresh(bucket, mount)
        end = time.monotonic() + SEEN_WITHIN
    del bucket.history.states[:-1]
    last = Views(mount.path, bucket.history, behaviour)
    while True:
        try:
            _walk(last)
        except Deviation as exc:
            if time.monotonic() > end:
                raise Deviation(f"at the end, {exc}") from exc
            time.sleep(0.2)  # the kernel is told of a SIGHUP a little later
        else:
            return


def _refresh(bucket: ChangingBucket, mount: Mount) -> None:
    """Send a SIGHUP, and wait until it has been obeyed: until a new file is seen whose absence was known."""
    marker = mount / MARKER
    marker.exists()
    bucket.replace(MARKER)
    mount.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + SEEN_WITHIN
    while not marker.exists():
        if time.monotonic() > end:
            raise Deviation("a new file is not seen after a SIGHUP")
        time.sleep(0.05)


def _walk(views: Views) -> None:
    ahead = [""]
    while ahead:
        path = ahead.pop()
        for name, is_directory in list_directory(views, path, lambda: None).items():
            below = f"{path}/{name.decode()}".removeprefix("/")
            if is_directory:
                ahead.append(below)
            elif (size := views.path(below).stat().st_size) not in views.sizes(below):
                raise Deviation(f"{below!r} has {size} bytes, and not {views.sizes(below)}")
