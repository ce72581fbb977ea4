"""Who may ask the store now: the gate in front of its connections, for the whole mount.

What always holds, whoever enters, leaves or is cancelled, in whichever order:

1. Who enters finds fewer inside than are allowed. A cut of what is allowed puts nobody out, it only lets fewer in.
2. No speculative request enters while a demanded one waits.
3. Speculative requests leave a share of what is allowed to the demanded ones (an eighth, one at least), but for the last place.
4. Within one urgency it is first come, first in. A speculative request that is demanded while it waits comes to the demanded ones
   at that moment; one that is inside keeps the place it has.
5. Whoever waits enters as soon as 1 to 3 let it: no place stays empty beside a waiter that might have it.
6. Whoever is cancelled while waiting leaves no trace.

The store's throttling moves what is allowed (AIMD, as TCP does it): one that asks for less halves it, once for all the requests
that were under way together; each success raises it by one part of itself, so a round of them by one.
"""

import math
from dataclasses import dataclass

import trio

from s3mount.s3.object_store import Priority

RESERVE = 8  # one of so many places is kept from speculation


class AimdLimit:
    """How many requests at once the store can stand, between one and *limit*. Pure."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # *round* counts the cuts: whoever entered before the last one tells nothing new by being throttled
        self._allowed = float(limit)
        self.round = 0

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    @property
    def is_cut(self) -> bool:
        """Whether it is lower than its limit, after it was throttled."""
        return self._allowed < self._limit

    def succeeded(self) -> None:
        self._allowed = min(float(self._limit), self._allowed + 1 / self._allowed)

    def throttled(self, entered_in: int) -> None:
        """A request that entered in round *entered_in* was told to slow down."""
        if entered_in == self.round:
            self._allowed = max(1.0, self._allowed / 2)
            self.round += 1


@dataclass(slots=True, eq=False)
class Permit:
    """One request's right to one place in the gate, and its place in the queue until then.

    Given back when its thread has ended, even if by then nobody waits for it any more: so the gate counts what really is under way.
    """

    gate: "Limiter"
    urgency: Priority
    round: int = 0

    async def enter(self, deadline: float = math.inf) -> None:
        """Wait for the place, and take it. A checkpoint only if it waits, or is cancelled.

        TooSlowError past *deadline*, of trio's clock; but not where it is speculative: a scope costs more than all the rest.
        """
        await self.gate.enter(self, deadline)
        self.round = self.gate.allowance.round

    def enter_nowait(self) -> bool:
        """Take the place if nobody has to wait for it; whether it did."""
        is_in = self.gate.enter_nowait(self)
        self.round = self.gate.allowance.round
        return is_in

    def promote(self) -> None:
        """It is demanded from now on, if it has not entered yet."""
        self.gate.promote(self)

    def leave(self) -> None:
        self.gate.leave(self)

    def succeeded(self) -> None:
        self.gate.succeeded()

    def throttled(self) -> None:
        self.gate.allowance.throttled(self.round)


class Limiter:
    """At most *limit* requests at once, the demanded ones first. Belongs to one trio run."""

    def __init__(self, limit: int) -> None:
        self.allowance = AimdLimit(limit)
        # how many are inside, and whose task waits, by urgency; whoever is woken has been counted in already
        self._inside = dict.fromkeys(Priority, 0)
        self._waiting: dict[Priority, dict[Permit, trio.lowlevel.Task]] = {
            urgency: {} for urgency in Priority
        }

    @property
    def inside(self) -> int:
        return sum(self._inside.values())

    async def enter(self, ticket: Permit, deadline: float) -> None:
        """`Permit.enter`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.enter_nowait(ticket):
            return
        if ticket.urgency is Priority.AHEAD:
            await self._wait(ticket)
        else:
            with trio.fail_at(deadline):
                await self._wait(ticket)

    def is_open_to(self, urgency: Priority) -> bool:
        """Whether who comes now need not wait."""
        return self._has_room(urgency) and not self._waiting[urgency]

    def enter_nowait(self, ticket: Permit) -> bool:
        is_in = self.is_open_to(ticket.urgency)
        self._inside[ticket.urgency] += is_in
        return is_in

    def promote(self, ticket: Permit) -> None:
        if (task := self._waiting[Priority.AHEAD].pop(ticket, None)) is not None:
            ticket.urgency = Priority.DEMANDED
            self._waiting[Priority.DEMANDED][ticket] = task
            self._admit()

    def leave(self, ticket: Permit) -> None:
        self._inside[ticket.urgency] -= 1
        self._admit()

    def succeeded(self) -> None:
        self.allowance.succeeded()
        self._admit()

    async def _wait(self, ticket: Permit) -> None:
        self._waiting[ticket.urgency][ticket] = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._waiting[ticket.urgency][
                ticket
            ]  # at once: nobody shall admit it before its task wakes up
            self._admit()  # speculation may have waited for this one only
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _has_room(self, urgency: Priority) -> bool:
        allowed = self.allowance.allowed
        if self.inside >= allowed:
            return False
        if urgency is Priority.DEMANDED:
            return True
        reserved = min(max(1, allowed // RESERVE), allowed - 1)
        return (
            not self._waiting[Priority.DEMANDED]
            and self._inside[Priority.AHEAD] < allowed - reserved
        )

    def _admit(self) -> None:
        for urgency, queue in self._waiting.items():
            while queue and self._has_room(urgency):
                self._inside[urgency] += 1
                trio.lowlevel.reschedule(queue.pop(next(iter(queue))))
