"""Environment of a run: servers with their objects, relays in front of them, and directories."""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.row import FAR, HTTPS, NEAR, Row
from benchmarks.seed import seed
from benchmarks.servers import (
    Counted,
    RelayAddress,
    SeaweedFS,
    generated_server,
    relay,
    seaweedfs,
)

_MEMORY = Path("/dev/shm")  # bytes: a tmpfs of this size for the store keeps its data cached
_DATA_SIZE = 8 << 30  # bytes of all datasets, with a reserve
DELAY = 0.020  # seconds that a far request takes longer
RATE = 90e6  # bytes a second of a far connection


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Address of a store over one link, and the source of its request counts."""

    url: str
    relay: RelayAddress | None = None
    ca: Path | None = None

    def counted(self) -> Counted | None:
        return None if self.relay is None else self.relay.counted()


@dataclass(frozen=True, slots=True)
class Bench:
    """Environment of a run: addresses by link and kind of bucket, and a temporary directory."""

    store: SeaweedFS
    addresses: Mapping[
        tuple[str, bool], StoreAddress
    ]  # the bool: whether its objects are generated
    scratch: Path
    keys: int

    def address(self, row: Row, link: str) -> StoreAddress:
        return self.addresses[link, row.is_generated]


@contextlib.contextmanager
def data_directory(chosen: Path | None) -> Iterator[Path]:
    """Yield a directory for the store's data: *chosen*, which stays, or one in memory."""
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        with (chosen / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"{chosen} is in use by another run") from None
            yield chosen
        return
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _DATA_SIZE
    with tempfile.TemporaryDirectory(
        prefix="s3mount-bench-data-", dir=_MEMORY if has_room else None
    ) as made:
        yield Path(made)


@contextlib.contextmanager
def bench_for(rows: list[Row], data: Path, scratch: Path, keys: int) -> Iterator[Bench]:
    """Start the servers for *rows*, with their objects in *data*; the context ends all of it."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        store = enter(seaweedfs(data, scratch))
        seed(store, {row.dataset for row in rows if not row.is_generated}, data / "seeded.json")
        far = enter(relay(store.url, scratch, delay=DELAY, rate=RATE))
        near = enter(relay(store.url, scratch))
        addresses = {
            (FAR, False): StoreAddress(far.url, far),
            (NEAR, False): StoreAddress(near.url, near),
            (HTTPS, False): StoreAddress(store.https_url, ca=store.ca),
        }
        if any(row.is_generated for row in rows):
            generated = enter(generated_server(keys, scratch))
            far = enter(relay(generated, scratch, delay=DELAY, rate=RATE))
            near = enter(relay(generated, scratch))
            addresses[FAR, True] = StoreAddress(far.url, far)
            addresses[NEAR, True] = StoreAddress(near.url, near)
        yield Bench(store, addresses, scratch, keys)
