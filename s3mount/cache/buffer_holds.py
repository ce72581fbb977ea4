"""Holds of buffers: memory that a source of bytes still uses when its block has given it up.

Another thread reads a held buffer, or writes to it. Slices are the same buffer. Invariants:

1. A buffer that is held when its block gives it up is returned to the pool when the last hold of it
   ends, once; until then it is in use. A hold that ends before changes nothing.
2. A callback of `call_on_return` is called once, before its buffer is idle, lent again or dropped,
   unless it is cancelled before.
3. `lent_bytes` are of the held buffers that blocks have. To evict these yields no memory yet.
"""

import mmap
from collections.abc import Callable


class _Hold:
    """Holds of one buffer, which takes *octets*; *returned* once its block has given it up."""

    __slots__ = ("count", "octets", "returned")

    def __init__(self, octets: int) -> None:
        self.count = 0
        self.octets = octets
        self.returned: memoryview | None = None


class BufferHolds:
    """Holds of the buffers of one pool, whose *on_free* gets a returned one that is held no more.

    *cost* is what a buffer of some length takes of the memory.
    """

    def __init__(
        self, on_free: Callable[[memoryview | None], object], cost: Callable[[int], int]
    ) -> None:
        self._on_free = on_free
        self._cost = cost
        # by the identity of the memory, which a slice shares with its buffer
        self._holds: dict[int, _Hold] = {}
        self._callbacks: dict[int, list[Callable[[], object]]] = {}
        self.lent_bytes = 0
        self.is_used = False  # whether `keep` has anything to do

    def hold(self, buffer: memoryview) -> None:
        """Keep the memory of *buffer* from being lent again until `let_go`; several times, even.

        To be called by a source while a read into it has not ended, or its callback of
        `call_on_return` was not called.
        """
        self.is_used = True
        hold = self._holds.get(id(buffer.obj))
        if hold is None:
            hold = self._holds[id(buffer.obj)] = _Hold(self._cost(memory_size(buffer)))
            self.lent_bytes += hold.octets
        hold.count += 1

    def let_go(self, buffer: memoryview) -> None:
        """End one hold of *buffer*."""
        hold = self._holds[id(buffer.obj)]
        hold.count -= 1
        if hold.count:
            return
        del self._holds[id(buffer.obj)]
        self._update()
        if hold.returned is None:
            self.lent_bytes -= hold.octets
        self._on_free(hold.returned)

    def call_on_return(self, buffer: memoryview, callback: Callable[[], object]) -> None:
        """Call *callback* once, when the block of *buffer* gives it up.

        Until then the buffer has the bytes that were read into it.
        """
        self.is_used = True
        self._callbacks.setdefault(id(buffer.obj), []).append(callback)

    def cancel_call(self, buffer: memoryview, callback: Callable[[], object]) -> None:
        """Do not call *callback*, if it is yet to be called: the bytes are wanted no longer."""
        callbacks = self._callbacks.get(id(buffer.obj), [])
        if callback in callbacks:
            callbacks.remove(callback)
        if not callbacks:
            self._callbacks.pop(id(buffer.obj), None)
            self._update()

    def is_wanted(self, buffer: memoryview) -> bool:
        """Whether somebody yet wants the bytes of *buffer*, or uses them: see `call_on_return`."""
        memory = id(buffer.obj)
        return memory in self._callbacks or memory in self._holds

    def has(self, buffer: memoryview) -> bool:
        """Whether *buffer* is held."""
        return id(buffer.obj) in self._holds

    def keep(self, buffer: memoryview) -> bool:
        """Take *buffer*, which its block gives up, if it is held; whether it is."""
        for callback in self._callbacks.pop(id(buffer.obj), ()):
            callback()
        self._update()
        hold = self._holds.get(id(buffer.obj))
        if hold is None:
            return False
        hold.returned = buffer
        self.lent_bytes -= hold.octets
        return True

    def _update(self) -> None:
        self.is_used = bool(self._holds or self._callbacks)


def memory_size(buffer: memoryview) -> int:
    """The bytes of the memory that *buffer* is all or a part of."""
    memory = buffer.obj
    assert isinstance(memory, bytearray | mmap.mmap)
    return len(memory)
