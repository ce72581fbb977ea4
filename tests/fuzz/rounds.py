"""One round: a mount with users, changes and SIGHUPs for a few seconds, then a final check."""

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
from tests.fuzz.users import Checker, Deviation, User, list_directory, run_tools
from tests.mount.mount_process import Mount, abort, mounted
from tests.property.history_store import Behaviour
from tests.property.programs import random_key
from tests.waiting import wait_until

BUCKET = "fuzzy"
ROUND = 3.0  # seconds of use
CHANGES_MAX = 60
HANGS_AFTER = 60.0  # seconds without a returning call
SEEN_WITHIN = 20.0  # seconds after a SIGHUP: far less than the lifetimes that it ends
MARKER = "zz-marker"


def run_round(options: Options) -> None:
    """Run a round; raises Deviation, or AssertionError for the log and the mount's end."""
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
                _use(options, bucket, mount, Checker(mount.path, bucket.history, options.behaviour))
                _check_final_state(bucket, mount, options.behaviour)
            except Deviation as exc:
                raise Deviation(f"{exc}\n{_last_problems(mount)}") from exc


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="s3mount-fuzz-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _last_problems(mount: Mount) -> str:
    """Return the last warnings and errors of the mount."""
    records = [record for record in mount.records() if record["level"] not in ("DEBUG", "INFO")]
    return "\n".join(str(record.get("exc_info") or record["message"]) for record in records[-5:])


def _use(options: Options, bucket: ChangingBucket, mount: Mount, checker: Checker) -> None:
    """Run all users at once, until the time is over or one sees a deviation."""
    stop, threads = threading.Event(), _Threads()
    for number in range(options.users):
        threads.start(User(checker, f"{options.seed} {number}", stop).run, stop)
    for number in range(options.tools):
        rnd = random.Random(f"{options.seed} tool {number}")
        threads.start(lambda rnd=rnd: run_tools(mount.path, rnd, stop), stop)  # type: ignore[misc]  # bound now
    if options.change_pause:
        threads.start(lambda: _change(options, bucket, stop), stop)
    if options.hang_up_pause:
        threads.start(lambda: _send_sighups(options, mount, stop), stop)
    stop.wait(ROUND)
    stop.set()
    threads.join(mount)


class _Threads:
    """Group of threads that reports their first failure."""

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


def _send_sighups(options: Options, mount: Mount, stop: threading.Event) -> None:
    rnd = random.Random(f"{options.seed} hang up")
    while not stop.wait(rnd.random() * options.hang_up_pause):
        mount.process.send_signal(signal.SIGHUP)


def _check_final_state(bucket: ChangingBucket, mount: Mount, behaviour: Behaviour) -> None:
    """Check that, after a SIGHUP, the mount shows the last state of the bucket."""
    end = time.monotonic()
    if len(bucket.history.states) > 1:
        _refresh(bucket, mount)
        end = time.monotonic() + SEEN_WITHIN
    del bucket.history.states[:-1]
    last = Checker(mount.path, bucket.history, behaviour)
    while True:
        try:
            _walk(last)
        except Deviation as exc:
            if time.monotonic() > end:
                raise Deviation(f"at the end, {exc}") from exc
            time.sleep(0.2)  # the kernel drops its entries a little after the SIGHUP
        else:
            return


def _refresh(bucket: ChangingBucket, mount: Mount) -> None:
    """Send a SIGHUP, and wait until a new file appears whose absence was cached."""
    marker = mount / MARKER
    marker.exists()
    bucket.replace(MARKER)
    mount.process.send_signal(signal.SIGHUP)
    try:
        wait_until(marker.exists, SEEN_WITHIN)
    except AssertionError:
        raise Deviation("a new file is not seen after a SIGHUP") from None


def _walk(checker: Checker) -> None:
    pending = [""]
    while pending:
        path = pending.pop()
        for name, is_directory in list_directory(checker, path, lambda: None).items():
            below = f"{path}/{name.decode()}".removeprefix("/")
            if is_directory:
                pending.append(below)
            elif (size := checker.path(below).stat().st_size) not in checker.sizes(below):
                raise Deviation(f"{below!r} has {size} bytes, and not {checker.sizes(below)}")
