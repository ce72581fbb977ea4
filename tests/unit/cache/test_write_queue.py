"""When a batch of writes is due, in which order it leaves, and what lost writes take."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.cache.disk_tier.names import NamedVersion
from s3mount.cache.disk_tier.pending_write import PendingWrite
from s3mount.cache.disk_tier.write_queue import BATCH_MAX, LOST_MAX, Command, WriteQueue
from s3mount.disk.object_name import ObjectName

BATCH = 1000  # bytes
DELAY = 1.0  # seconds
_NAME = ObjectName("n", "b", "k", "e", 1 << 30)
NAMED = NamedVersion(_NAME, _NAME.digest)


def _write(octets: int) -> PendingWrite:
    return PendingWrite(NAMED, 0, memoryview(bytes(octets)), None)


def _queue(*sizes: int) -> WriteQueue:
    queue = WriteQueue(BATCH, DELAY)
    for size in sizes:
        queue.add(_write(size), size, 0.0)
    return queue


def test_a_write_is_due_when_it_has_waited() -> None:
    queue = _queue(1)

    assert not queue.is_due(DELAY / 2)
    assert queue.due_at() == DELAY
    assert queue.is_due(DELAY)


def test_enough_bytes_or_writes_are_due_at_once() -> None:
    assert not _queue(BATCH - 1).is_due(0.0)
    assert _queue(BATCH - 1, 1).is_due(0.0)
    assert not _queue(*[1] * (BATCH_MAX - 1)).is_due(0.0)
    assert _queue(*[1] * BATCH_MAX).is_due(0.0)


def test_a_writer_that_is_behind_takes_more_at_once() -> None:
    queue = WriteQueue(BATCH, DELAY)
    for _ in range(6):
        queue.add(_write(BATCH), BATCH, 0.0)

    assert [len(queue.take_batch(4 * BATCH)) for _ in range(2)] == [4, 2]


def test_a_command_is_due_at_once_with_what_came_before_it() -> None:
    queue = _queue(1)
    queue.add_command(lambda: None, 0.0)

    assert queue.is_due(0.0)
    assert queue.take_command() is None
    assert len(queue.take_batch(BATCH)) == 1
    assert queue.take_command() is not None
    assert not queue.is_due(DELAY)


def test_all_that_precedes_a_command_is_due_batch_by_batch() -> None:
    queue = _queue(BATCH - 1, BATCH - 1)
    queue.add_command(lambda: None, 0.0)
    queue.add(_write(1), 1, 0.0)

    assert [len(queue.take_batch(BATCH)) for _ in range(2) if queue.is_due(0.0)] == [1, 1]
    assert queue.take_command() is not None
    assert not queue.is_due(0.0)


class _Command:
    """A command that is equal to no other."""

    def __call__(self) -> None: ...


@dataclass
class _Model:
    """What waits, in order: writes that are not lost, and commands."""

    items: list[PendingWrite | Command] = field(default_factory=list)
    lost: int = 0


_steps = st.one_of(
    st.tuples(st.just("add"), st.integers(1, BATCH + 1)),
    st.tuples(st.sampled_from(("command", "lose", "take", "wait")), st.integers(0, 50)),
)


@settings(max_examples=200)
@given(st.lists(_steps, max_size=80))
def test_everything_leaves_once_and_in_order_in_bounded_batches(
    steps: list[tuple[str, int]],
) -> None:
    queue, model, now = WriteQueue(BATCH, DELAY), _Model(), 0.0

    for step, number in [*steps, ("command", 0), *[("take", 0)] * (len(steps) + 1)]:
        match step:
            case "add":
                write = _write(number)
                queue.add(write, number, now)
                model.items.append(write)
            case "command":
                command = _Command()
                queue.add_command(command, now)
                model.items.append(command)
            case "lose":
                writes = [each for each in model.items if isinstance(each, PendingWrite)]
                if writes:
                    lost = writes[number % len(writes)]
                    lost.drop()
                    queue.note_lost()
                    model.items.remove(lost)
            case "wait":
                now += number / 25
            case "take" if queue.is_due(now):
                _take(queue, model)
        assert len(queue) <= len(model.items) + LOST_MAX

    assert len(queue) == len(model.items) == 0


def _take(queue: WriteQueue, model: _Model) -> None:
    command = queue.take_command()
    if command is not None:
        assert command is model.items.pop(0)
        return
    batch = queue.take_batch(BATCH)
    assert len(batch) <= BATCH_MAX
    assert len(batch) == 1 or sum(each.octets for each in batch) <= BATCH
    assert batch == model.items[: len(batch)]
    del model.items[: len(batch)]


def test_lost_writes_are_forgotten() -> None:
    queue = _queue()

    for _ in range(3 * LOST_MAX):
        write = _write(1)
        queue.add(write, 1, 0.0)
        write.drop()
        queue.note_lost()

    assert len(queue) <= LOST_MAX
