from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.readahead.sequential_stream import SequentialStream
from s3mount.cache.readahead.shares import RETURNS_MIN, ReadaheadShares

LIMIT = 192 << 20


def stream_of(owner: object) -> SequentialStream:
    return SequentialStream(0, 0, 0, 0, 0, 0, owner=owner)


def test_the_records_that_a_reader_has_left_count_as_one_stream() -> None:
    shares = ReadaheadShares(LIMIT)
    records = [stream_of("random") for _ in range(40)]
    in_order = stream_of("in order")
    for record in records:
        shares.record_read(record)
        shares.record_read(record)
        shares.record_read(in_order)
        shares.divide([*records, in_order])

    assert shares.share(in_order) == LIMIT // 2
    assert shares.share(records[-1]) == LIMIT // 41


def test_streams_that_one_reader_comes_back_to_count_each() -> None:
    shares = ReadaheadShares(LIMIT)
    columns, other = [stream_of("table") for _ in range(7)], stream_of("other")

    changes = [shares.record_read(each) for _ in range(RETURNS_MIN + 1) for each in columns]
    shares.divide([*columns, other])

    assert changes.count(True) == len(columns)
    assert {shares.share(each) for each in (*columns, other)} == {LIMIT // 8}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), max_size=80))
def test_no_stream_has_less_than_if_all_counted(reads: list[tuple[int, int, bool]]) -> None:
    shares = ReadaheadShares(LIMIT)
    streams: dict[tuple[int, int], SequentialStream] = {}
    for owner, place, ends in reads:
        stream = streams.setdefault((owner, place), stream_of(owner))
        shares.record_read(stream)
        if ends:
            shares.forget(streams.pop((owner, place)))
        shares.divide(streams.values())

        by_owner = {
            each: [shares.share(stream) for (of, _), stream in streams.items() if of == each]
            for each, _ in streams
        }
        for own in by_owner.values():
            assert all(LIMIT // len(streams) <= share <= LIMIT for share in own)
        if len(streams) == len(by_owner):
            assert sum(sum(own) for own in by_owner.values()) <= LIMIT
