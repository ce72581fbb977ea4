"""Scheduling of requests: operation → attempts → permit → send.

In reading order: `limiter` gives permits, by priority. `attempt` is one try, with its
`cancel_token`. `executor` makes it, in the event loop or in the `thread_pool`. `hedge_policy` says
when a second attempt is due (`deadline_queue`), and `hedged_request` makes both. `retry` is the
loop over attempts, with `pauses` between them; it makes a `blocking_call`, or a `range_read`, which
is a read of bytes with all of these.
"""
