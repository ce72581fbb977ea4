"""Command `status`: identity, counts, memory, latency, errors and the bill of a mount.

Reads what the parts of the mount have counted, and makes no request. No credential and no URL with
a password is among it.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from s3mount.bill import bill_of
from s3mount.control.commands import Command, Send
from s3mount.control.disk_cache import DiskContents
from s3mount.control.protocol import Arguments, Greeting, Object
from s3mount.control.sources import Requests, Sources, StoreState
from s3mount.s3.request_counts import KindCounts
from s3mount.s3.request_records import EndedRequest, Outcome, RequestKind

_DIGITS: Final = 6  # of costs: a request costs less than a millionth
_FAILURES: Final = (Outcome.FAILED, Outcome.TIMED_OUT)


def status_command(sources: Sources, greeting: Greeting) -> Command:
    """Return the command `status` of the mount that *greeting* names."""
    user = _user_name()  # now, since a name service may be slow or away later

    async def status(_arguments: Arguments, _send: Send) -> Object:
        values = sources.metrics.values
        counts = sources.requests.counts()
        return {
            "identity": identity(greeting, user, sources.store()),
            **counters(sources.requests, counts, values),
            "hits": _hits(values),
            "memory": _memory(values),
            "disk": await disk_state(sources.disk, values),
            "stale": {
                "answers": _count(values, "stale_answers"),
                "seconds": round(values.get("stale_serving_seconds", 0.0), 3),
            },
            "latency": _latency(sources.requests),
            "open": {
                "files": _count(values, "open_files"),
                "directories": _count(values, "open_directories"),
            },
            "errors": [error(each) for each in sources.requests.errors()],
            "bill": _bill(sources, values),
        }

    return status


def counters(
    requests: Requests, counts: Mapping[RequestKind, KindCounts], values: Mapping[str, float]
) -> dict[str, Object | int]:
    """Return what only grows: requests, retries, charges, hedges and bytes."""
    return {
        "requests": {kind.value: _counts(each) for kind, each in counts.items()},
        "reasons": {reason.value: count for reason, count in requests.reasons().items()},
        "retries": _count(values, "retries"),
        "throttled": _count(values, "throttles"),
        "charged": _count(values, "charged_requests"),
        "hedges": {
            "sent": _count(values, "hedged_reads"),
            "won": _count(values, "hedged_reads_won"),
        },
        "bytes": {
            "fetched": _count(values, "bytes_received"),
            "served": _count(values, "bytes_served"),
            "wasted": _count(values, "bytes_wasted"),
            "disk": _count(values, "disk_bytes_read"),
        },
    }


def identity(greeting: Greeting, user: str, state: StoreState) -> Object:
    """Return what mount it is, of which store; *user* serves it."""
    store, credentials = state.identity, state.credentials
    return {
        "source": greeting.source,
        "mountpoint": greeting.mountpoint,
        "pid": greeting.pid,
        "since": greeting.since,
        "version": greeting.s3mount,
        "bucket": state.config.bucket,
        "prefix": state.config.prefix,
        "at": None if state.config.at_ns is None else state.config.at_ns / 1e9,
        "endpoint": None if store is None else store.endpoint,
        "region": None if store is None else store.region,
        "transport": None if store is None else store.transport,
        "user": user,
        "connection": greeting.connection,
        "credentials": {
            "source": None if credentials is None else credentials.source,
            "expires": None if credentials is None else credentials.expires_at,
        },
    }


def error(ended: EndedRequest) -> Object:
    """Return a failed request as `status` shows it."""
    return {
        "time": ended.time,
        "kind": ended.kind.value,
        "key": ended.key,
        "status": ended.status,
        "code": ended.code,
        "request_id": ended.request_id,
        "message": ended.message,
    }


def _counts(counts: KindCounts) -> Object:
    return {
        "sent": counts.sent,
        "succeeded": counts.by_outcome.get(Outcome.SUCCEEDED, 0),
        "failed": sum(counts.by_outcome.get(outcome, 0) for outcome in _FAILURES),
        "by_status": {str(status or "other"): n for status, n in counts.by_status.items()},
    }


def _hits(values: Mapping[str, float]) -> Object:
    waited = _count(values, "reads_waited")
    return {
        "lookups": {
            "hits": _count(values, "lookup_hits"),
            "misses": _count(values, "lookup_misses"),
        },
        "listings": {
            "hits": _count(values, "listing_hits"),
            "misses": _count(values, "listing_misses"),
        },
        "blocks": {"hits": _count(values, "reads") - waited, "misses": waited},
    }


def _memory(values: Mapping[str, float]) -> Object:
    return {
        "blocks": {
            "used": _count(values, "block_bytes"),
            "limit": _count(values, "block_bytes_limit"),
        },
        "metadata": {
            "used": _count(values, "metadata_bytes"),
            "limit": _count(values, "metadata_bytes_limit"),
        },
        "resident": _count(values, "process_resident_bytes"),
    }


async def disk_state(contents: DiskContents | None, values: Mapping[str, float]) -> Object | None:
    """Return the disk cache: what the directory has, and what this mount did with it.

    None without one.
    """
    if contents is None:
        return None
    usage = await contents.usage()
    return {
        "folder": os.fsdecode(contents.folder),
        "limit": contents.limits.size,
        "free_space": contents.limits.free_space,
        "used": None if usage is None else usage.used,
        "pinned": None if usage is None else usage.pinned_bytes,
        "objects": None if usage is None else usage.objects,
        "evictions": None if usage is None else usage.evictions,
        "bad": None if usage is None else usage.bad_extents,
        "hits": _count(values, "disk_hits"),
        "misses": _count(values, "disk_misses"),
        "read": _count(values, "disk_bytes_read"),
        "written": _count(values, "disk_bytes_written"),
        "bypassed": bool(_count(values, "disk_bypassed")),
    }


def _latency(requests: Requests) -> Object:
    return {
        kind.value: {"minute": asdict(latency.minute), "all": asdict(latency.all)}
        for kind, latency in requests.latencies().items()
    }


def _bill(sources: Sources, values: Mapping[str, float]) -> Object:
    found = bill_of(values, sources.prices)
    return {
        "currency": found.currency,
        "prices": {**asdict(found.prices), "name": found.name, "as_of": found.as_of},
        "requests": round(found.requests, _DIGITS),
        "transfer": round(found.transfer, _DIGITS),
        "total": round(found.total, _DIGITS),
        "without_caches": round(found.without_caches, _DIGITS),
    }


def _count(values: Mapping[str, float], name: str) -> int:
    return int(values.get(name, 0))


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
