"""Which customer key (SSE-C) each request carries, and how many requests that costs."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, CredentialsRefused, S3MountError, StaleVersion
from s3mount.s3.endpoint.customer_key import CustomerKey
from s3mount.s3.model import ByteRange, NotModified, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.customer_keys import CustomerKeys, directories_of
from s3mount.s3.operations.head_metadata import MetadataQuery
from s3mount.s3.operations.keyed_transport import KeyedTransport
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable, StoreRequest
from tests.fakes.encrypted_store import (
    DIALECTS,
    SEAWEEDFS,
    WITHOUT_SSE_C,
    Dialect,
    EncryptedStore,
    fingerprint,
)
from tests.waiting import wait_until

KEYS = [CustomerKey(bytes([number]) * 32) for number in range(1, 5)]
FIRST, SECOND, THIRD, ABSENT = KEYS
READERS = 8

each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


class Client:
    """Operations on *store* with *keys*."""

    def __init__(
        self, store: EncryptedStore, *keys: CustomerKey, remembered: int | None = None
    ) -> None:
        self.store = store
        limit = {} if remembered is None else {"remembered": remembered}
        self.keys = CustomerKeys(keys, **limit)
        self.transport = KeyedTransport(store, self.keys)
        self.operations = BucketOperations(self.transport, "bucket")

    def head(self, key: str) -> ObjectVersion:
        return self.operations.head(key, deadline=soon()).version

    def read(self, key: str, byte_range: ByteRange | None = None) -> bytes:
        """Read from the version that a HEAD tells."""
        version = self.head(key)
        return self.read_version(version, byte_range or ByteRange(0, version.size))

    def read_version(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        cancel_token: CancelToken | None = None,
        deadline: float | None = None,
    ) -> bytes:
        buffer = bytearray(len(byte_range))
        sender = self.operations.get_range(
            version, byte_range, version_id=None, deadline=deadline or soon()
        )
        sender.send(lambda: memoryview(buffer), cancel_token or CancelToken())
        return bytes(buffer)


def soon(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def prints(*keys: CustomerKey | None) -> list[str | None]:
    return [fingerprint(key) for key in keys]


def sent(store: EncryptedStore) -> list[str | None]:
    """Return the fingerprints of the requests since the last call."""
    return [found for _, _, found in store.taken()]


@each_dialect
def test_objects_with_one_key_cost_one_request_more_in_all(dialect: Dialect) -> None:
    store = EncryptedStore(dialect)
    names = [f"{folder}{number}" for folder in ("a/", "a/b/", "c/d/") for number in range(5)]
    for name in names:
        store.put(name, name.encode(), FIRST)
    client = Client(store, SECOND, FIRST, THIRD)

    for name in names:
        assert client.read(name) == name.encode()

    found = prints(None, SECOND, FIRST)
    assert sent(store) == [*found, *prints(FIRST) * (2 * len(names) - 1)]


def test_without_encryption_no_request_has_a_key() -> None:
    store = EncryptedStore()
    store.put("a/b", b"plain")
    client = Client(store, FIRST, SECOND)

    assert client.read("a/b") == b"plain"

    assert sent(store) == prints(None, None)


@each_dialect
def test_objects_with_several_keys_are_searched_for_once_each(dialect: Dialect) -> None:
    store = EncryptedStore(dialect)
    kinds = [FIRST, None, SECOND, FIRST, None, THIRD, SECOND]
    for number, key in enumerate(kinds):
        store.put(f"d/{number}", bytes([number]), key)
    client = Client(store, FIRST, SECOND, THIRD)

    for _ in range(2):
        store.taken()
        for number in range(len(kinds)):
            assert client.read(f"d/{number}") == bytes([number])

    assert sent(store) == [each for key in kinds for each in prints(key, key)]


def test_a_store_that_does_not_use_a_key_is_not_sent_it_again() -> None:
    store = EncryptedStore(SEAWEEDFS)
    store.put("d/encrypted", b"1", FIRST)
    store.put("d/plain", b"2")
    client = Client(store, FIRST)
    client.read("d/encrypted")
    store.taken()

    client.read("d/plain")
    client.read("d/encrypted")

    assert sent(store) == prints(FIRST, None, FIRST, FIRST)


@each_dialect
def test_a_read_finds_the_key_without_a_head(dialect: Dialect) -> None:
    store = EncryptedStore(dialect)
    store.put("a", b"0123456789", SECOND)
    version = ObjectVersion("bucket", "a", store.objects["a"].etag, 10)

    assert Client(store, FIRST, SECOND).read_version(version, ByteRange(2, 5)) == b"234"

    assert sent(store) == prints(None, FIRST, SECOND)


@each_dialect
def test_a_revalidation_and_metadata_carry_the_key(dialect: Dialect) -> None:
    store = EncryptedStore(dialect)
    store.put("a", b"0123456789", FIRST)
    client = Client(store, FIRST)

    version = client.head("a")
    assert client.operations.revalidate(version, 4, deadline=soon()) == NotModified()
    metadata = client.operations.metadata(MetadataQuery("a"), deadline=soon())

    assert metadata.stat.version.size == 10
    assert sent(store) == prints(None, FIRST, FIRST, FIRST)


@each_dialect
def test_a_revalidation_that_finds_no_change_finds_the_key_as_well(dialect: Dialect) -> None:
    store = EncryptedStore(dialect)
    store.put("d/a", b"text", FIRST)
    client = Client(store, SECOND, FIRST)
    version = ObjectVersion("bucket", "d/a", store.objects["d/a"].etag, 4)

    for _ in range(2):
        assert client.operations.revalidate(version, 4, deadline=soon()) == NotModified()

    assert sent(store) == prints(None, SECOND, FIRST, FIRST)


@each_dialect
def test_an_object_that_was_overwritten_with_another_key_is_found_again(dialect: Dialect) -> None:
    store = EncryptedStore(dialect)
    store.put("a", b"old", FIRST)
    client = Client(store, FIRST, SECOND)
    version = client.head("a")
    for key in (SECOND, None, FIRST):
        store.put("a", b"new", key)

        with pytest.raises(StaleVersion):
            client.read_version(version, ByteRange(0, 3))
        assert client.read("a") == b"new"


@each_dialect
def test_an_object_that_no_key_opens_is_denied_and_named_once(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = EncryptedStore(dialect)
    store.put("a", b"secret", ABSENT)
    store.put("b", b"open")
    client = Client(store, FIRST, SECOND)

    for _ in range(2):
        with pytest.raises(AccessDenied, match="--sse-c-key-file") as failure:
            client.head("a")
        assert not isinstance(failure.value, CredentialsRefused)
        with pytest.raises(AccessDenied, match="--sse-c-key-file"):
            client.operations.metadata(MetadataQuery("a"), deadline=soon())

    (record,) = caplog.records
    assert "'a'" in record.getMessage()
    assert "--sse-c-key-file" in record.getMessage()
    assert FIRST.fingerprint in record.getMessage()
    assert client.read("b") == b"open"


def test_without_keys_an_encrypted_object_is_denied_by_a_read_too() -> None:
    """SeaweedFS and Ceph say InvalidArgument, as others do of a header that they do not know."""
    store = EncryptedStore(SEAWEEDFS)
    store.put("a", b"0123456789", FIRST)
    operations = BucketOperations(store, "bucket")
    version = ObjectVersion("bucket", "a", store.objects["a"].etag, 10)
    sender = operations.get_range(version, ByteRange(2, 5), version_id=None, deadline=soon())

    with pytest.raises(Retryable):  # and without Range, then
        sender.send(lambda: memoryview(bytearray(3)), CancelToken())
    with pytest.raises(AccessDenied, match="--sse-c-key-file"):
        sender.send(lambda: memoryview(bytearray(3)), CancelToken())


def test_without_keys_metadata_of_an_encrypted_object_is_denied() -> None:
    store = EncryptedStore()
    store.put("a", b"secret", FIRST)

    with pytest.raises(AccessDenied, match="--sse-c-key-file"):
        BucketOperations(store, "bucket").metadata(MetadataQuery("a"), deadline=soon())


@pytest.mark.parametrize("is_known", [False, True])
def test_a_denied_object_costs_one_request_more_whatever_the_number_of_keys(
    *, is_known: bool
) -> None:
    store = EncryptedStore()
    store.put("d/a", b"1", FIRST if is_known else None)
    store.put("d/denied", b"2")
    client = Client(store, FIRST, SECOND, THIRD)
    client.read("d/a")
    store.taken()
    store.before = lambda _: (403, "AccessDenied")

    with pytest.raises(CredentialsRefused):
        client.head("d/denied")

    assert sent(store) == (prints(FIRST, None) if is_known else prints(None))


def test_a_store_that_knows_no_customer_keys_refuses_as_without_any() -> None:
    store = EncryptedStore(WITHOUT_SSE_C)
    store.put("a", b"0123456789")
    store.before = lambda request: None if request.customer_key else (400, "InvalidArgument")

    with pytest.raises(AccessDenied, match="InvalidArgument"):
        Client(store, FIRST).operations.head_by_get("a", deadline=soon(), is_whole=True)


def test_an_expired_token_is_told_as_such() -> None:
    """A HEAD is refused without a code for it, as for an encrypted object."""
    store = EncryptedStore()
    store.put("a", b"1")
    store.before = lambda _: (400, "ExpiredToken")

    with pytest.raises(Retryable) as failure:
        Client(store, FIRST).head("a")

    assert failure.value.is_stale_credentials


@pytest.mark.parametrize("status", [404, 412, 500, 503])
def test_other_refusals_are_not_about_keys(status: int) -> None:
    store = EncryptedStore()
    store.put("a", b"1")
    store.before = lambda _: (status, "Whatever")

    with pytest.raises((Retryable, S3MountError)):
        Client(store, FIRST).head("a")

    assert sent(store) == prints(None)


def test_a_listing_has_no_key() -> None:
    store = EncryptedStore()
    store.put("a", b"1", FIRST)
    client = Client(store, FIRST)
    client.head("a")
    store.taken()

    client.transport.send(StoreRequest("ListObjectsV2", None), deadline=soon()).__enter__()

    assert sent(store) == prints(None)


class Readers:
    """READERS threads that need the key of one object; the search waits until all others do."""

    def __init__(self, store: EncryptedStore, client: Client, *, waiting: int) -> None:
        self.store = store
        self.client = client
        self.version = ObjectVersion("bucket", "a", store.objects["a"].etag, 1)
        self._waiting = waiting
        self._has_gathered = threading.Event()
        store.before = self._before

    def _before(self, request: StoreRequest) -> None:
        """Let the first request with a key go on when the others wait for its search."""
        if request.customer_key is None or self._has_gathered.is_set():
            return
        wait_until(lambda: self._count_waiting() >= self._waiting)
        self._has_gathered.set()

    def _count_waiting(self) -> int:
        return sum(len(each.waiting) for each in self.client.transport.searches._searches.values())

    def start(
        self, pool: ThreadPoolExecutor, read: Callable[[], bytes] | None = None
    ) -> "Future[bytes]":
        return pool.submit(
            read or (lambda: self.client.read_version(self.version, ByteRange(0, 1)))
        )


def test_readers_of_one_object_search_once() -> None:
    store = EncryptedStore()
    store.put("a", b"1", THIRD)
    readers = Readers(store, Client(store, FIRST, SECOND, THIRD), waiting=READERS - 1)

    with ThreadPoolExecutor(READERS) as pool:
        done = [readers.start(pool) for _ in range(READERS)]
        assert [each.result() for each in done] == [b"1"] * READERS

    taken = sent(store)
    assert taken.count(FIRST.fingerprint) == taken.count(SECOND.fingerprint) == 1
    assert taken.count(THIRD.fingerprint) == READERS


def test_readers_of_an_object_that_no_key_opens_search_once() -> None:
    store = EncryptedStore()
    store.put("a", b"1", ABSENT)
    readers = Readers(store, Client(store, FIRST, SECOND), waiting=READERS - 1)

    with ThreadPoolExecutor(READERS) as pool:
        done = [readers.start(pool) for _ in range(READERS)]
        for each in done:
            with pytest.raises(AccessDenied):
                each.result()

    taken = sent(store)
    assert taken.count(FIRST.fingerprint) == taken.count(SECOND.fingerprint) == 1


def test_a_reader_who_is_cancelled_or_out_of_time_leaves_the_search_to_the_others() -> None:
    store = EncryptedStore()
    store.put("a", b"1", SECOND)
    client = Client(store, FIRST, SECOND)
    readers = Readers(store, client, waiting=3)
    token, version, whole = CancelToken(), readers.version, ByteRange(0, 1)
    is_led, may_go_on = threading.Event(), threading.Event()
    gathered = readers._before

    def before(request: StoreRequest) -> None:
        if request.customer_key is FIRST:
            is_led.set()
            gathered(request)
            assert may_go_on.wait(20)

    store.before = before
    with ThreadPoolExecutor(4) as pool:
        first = readers.start(pool)
        assert is_led.wait(20)
        cancelled = readers.start(pool, lambda: client.read_version(version, whole, token))
        late = readers.start(pool, lambda: client.read_version(version, whole, None, soon(0.3)))
        patient = readers.start(pool)
        assert readers._has_gathered.wait(20)
        token.cancel()
        with pytest.raises(RequestCancelledError):
            cancelled.result()
        with pytest.raises(Retryable):
            late.result()
        may_go_on.set()
        assert (first.result(), patient.result()) == (b"1", b"1")


def test_a_search_that_breaks_off_is_made_by_the_next_reader() -> None:
    store = EncryptedStore()
    store.put("a", b"1", FIRST)
    readers = Readers(store, Client(store, FIRST), waiting=READERS - 1)
    gathered, has_broken = readers._before, threading.Event()

    def before(request: StoreRequest) -> None:
        gathered(request)
        if request.customer_key is not None and not has_broken.is_set():
            has_broken.set()
            raise ConnectionResetError

    store.before = before
    with ThreadPoolExecutor(READERS) as pool:
        done = [readers.start(pool) for _ in range(READERS)]
        failures = [each.exception() for each in done]

    assert sorted(map(type, failures), key=str).count(Retryable) == 1
    assert failures.count(None) == READERS - 1


@given(st.text("a/", min_size=1))
def test_the_directories_of_a_key_end_with_the_bucket(key: str) -> None:
    found = list(directories_of(key))

    ends = [index + 1 for index, letter in enumerate(key) if letter == "/" and index + 1 < len(key)]
    assert [key[:end] for end in (*ends[::-1], 0)] == [each for each in found if each != key]


names = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "f/a"])
keys_of_objects = st.sampled_from([None, FIRST, SECOND, ABSENT])


@given(
    dialect=st.sampled_from(list(DIALECTS.values())),
    remembered=st.sampled_from([1, 2, 100]),
    puts=st.dictionaries(names, keys_of_objects, min_size=1),
    steps=st.lists(st.tuples(names, st.none() | keys_of_objects.map(lambda key: (key,)))),
)
def test_reads_are_right_under_any_history(
    dialect: Dialect,
    remembered: int,
    puts: dict[str, CustomerKey | None],
    steps: list[tuple[str, tuple[CustomerKey | None] | None]],
) -> None:
    """Each step reads an object, or overwrites it with another key."""
    store = EncryptedStore(dialect)
    client = Client(store, FIRST, SECOND, remembered=remembered)
    for name, key in puts.items():
        store.put(name, name.encode(), key)
    for number, (name, overwriting) in enumerate(steps):
        if overwriting is not None:
            store.put(name, f"{name}{number}".encode(), overwriting[0])
        stored = store.objects.get(name)
        if stored is None:
            continue
        store.taken()
        if stored.key is ABSENT:
            with pytest.raises(AccessDenied):
                client.read(name)
            continue
        assert client.read(name) == stored.body
        assert len(store.taken()) <= 1 + 1 + 2 + 1  # a guess, none, each key; then the GET
        assert client.read(name) == stored.body
        assert len(store.taken()) == 2
    sizes = (len(client.keys._objects), len(client.keys._directories))
    assert max(sizes) <= max(remembered, 0)
