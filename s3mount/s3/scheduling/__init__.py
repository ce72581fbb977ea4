"""Scheduling of requests: operation → attempts → permit → send.

In reading order: `limiter` gives permits, by priority. `attempt` is one try, with its
`cancel_token`. `executor` makes it, in the event loop or in the `thread_pool`. `hedge_policy` says
when a second attempt is due (`deadline_queue`), and `hedged_request` makes both. `retry` is the
loop over attempts, and `range_read` a read of bytes with all of these.
"""
