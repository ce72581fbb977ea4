"""Replies of a mount to commands of the control socket, with all fields of version 1."""

from collections.abc import Mapping
from typing import Any, Final

_LATENCY: Final = {"count": 40, "p50": 0.021, "p90": 0.06, "p99": 0.25}
_IDLE: Final = {"count": 0, "p50": None, "p90": None, "p99": None}

DISK: Final[Mapping[str, Any]] = {
    "folder": "/var/cache/s3mount",
    "limit": 10 << 30,
    "free_space": 1 << 30,
    "used": 10 << 28,
    "pinned": 0,
    "objects": 1200,
    "evictions": 7,
    "bad": 0,
    "hits": 300,
    "misses": 100,
    "read": 1 << 30,
    "written": 2 << 30,
    "bypassed": False,
}

STATUS: Final[Mapping[str, Any]] = {
    "identity": {
        "source": "s3://photos/2024",
        "mountpoint": "/mnt/photos",
        "pid": 4711,
        "since": 1764160000.25,
        "version": "0.1.0",
        "bucket": "photos",
        "prefix": "2024/",
        "at": None,
        "endpoint": "https://s3.eu-central-1.amazonaws.com",
        "region": "eu-central-1",
        "transport": "native",
        "user": "alice",
        "connection": 52,
        "credentials": {"source": "sso", "expires": 1764167200.0},
    },
    "requests": {
        "GET": {"sent": 1234, "succeeded": 1230, "failed": 4, "by_status": {"206": 1230, "503": 4}},
        "HEAD": {"sent": 7, "succeeded": 7, "failed": 0, "by_status": {"200": 7}},
        "LIST": {"sent": 51, "succeeded": 51, "failed": 0, "by_status": {"200": 51}},
    },
    "reasons": {"read": 400, "readahead": 830, "listing": 51, "lookup": 7, "hedge": 4},
    "retries": 4,
    "throttled": 3,
    "charged": 1292,
    "hedges": {"sent": 4, "won": 1},
    "bytes": {"fetched": 9 << 30, "served": 30 << 30, "wasted": 90 << 20},
    "hits": {
        "lookups": {"hits": 990, "misses": 10},
        "listings": {"hits": 50, "misses": 51},
        "blocks": {"hits": 0, "misses": 0},
    },
    "memory": {
        "blocks": {"used": 192 << 20, "limit": 256 << 20},
        "metadata": {"used": 3 << 20, "limit": 256 << 20},
        "resident": 310 << 20,
    },
    "latency": {
        "GET": {"minute": _LATENCY, "all": _LATENCY},
        "HEAD": {"minute": _IDLE, "all": _LATENCY},
        "LIST": {"minute": _IDLE, "all": _LATENCY},
    },
    "open": {"files": 8, "directories": 1},
    "errors": [
        {
            "time": 1764163600.5,
            "kind": "GET",
            "key": "2024/a\udcff\x1b[31m.jpg",
            "status": 503,
            "code": "SlowDown",
            "request_id": "TX0001",
            "message": "Please reduce your request rate.",
        }
    ],
    "bill": {
        "currency": "USD",
        "prices": {
            "get_per_1000": 0.00043,
            "list_per_1000": 0.0054,
            "transfer_per_gb": 0.0,
            "name": "AWS eu-central-1",
            "as_of": "2026-11-01",
        },
        "requests": 0.0008,
        "transfer": 0.0,
        "total": 0.0008,
        "without_caches": 0.0123,
    },
}


def activity(step: int) -> Mapping[str, Any]:
    """Return an answer to the command activity, *step* seconds after the start."""
    return {
        "files": [
            {
                "key": f"2024/{name}.raw",
                "readers": readers,
                "position": step << 20,
                "size": 100 << 20,
                "window": 8 << 20,
                "served": step * readers << 20,
            }
            for name, readers in (("slow", 1), ("busy\x1b[2J", 3))
        ],
        "requests": [
            {
                "kind": "GET",
                "key": "2024/slow.raw",
                "start": 0,
                "stop": 8 << 20,
                "reason": "readahead",
                "seconds": 0.25,
            }
        ],
        "counters": {
            "requests": {
                "GET": {"sent": 10 * step, "succeeded": 10 * step, "failed": 0, "by_status": {}},
                "LIST": {"sent": step, "succeeded": step, "failed": 0, "by_status": {}},
            },
            "bytes": {"fetched": step * 4 << 20, "served": step * 8 << 20, "wasted": 0},
        },
        "disk": None,
    }


RECORD: Final[Mapping[str, Any]] = {
    "time": 1764163600.512,
    "kind": "GET",
    "key": "2024/a\udcff\x1b[31m.jpg",
    "start": 0,
    "stop": 8388608,
    "status": 206,
    "code": None,
    "bytes": 8388608,
    "seconds": 0.0412,
    "reason": "read",
    "error": None,
}

VERSIONS_ITEMS: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "version_id": "m\x1b[2J",
        "time": 1764163600.0,
        "latest": True,
        "delete_marker": True,
        "size": None,
        "etag": None,
        "storage_class": None,
    },
    {
        "version_id": "3HL4kq",
        "time": 1764160000.0,
        "latest": False,
        "delete_marker": False,
        "size": 8388608,
        "etag": "9b2cf5",
        "storage_class": "STANDARD",
    },
)
WARM_ITEMS: Final[tuple[Mapping[str, Any], ...]] = (
    {"phase": "listing", "directories": 2, "files": 10, "bytes": 100 << 20},
    {
        "phase": "fetching",
        "directories": 2,
        "files": 10,
        "bytes": 100 << 20,
        "files_done": 4,
        "bytes_done": 40 << 20,
        "path": "2024/a\x1b[2J.raw",
        "cost": {"currency": "USD", "requests": 0.00001, "transfer": 0.01, "total": 0.01001},
    },
)
WARM_RESULT: Final[Mapping[str, Any]] = {
    "directories": 2,
    "files": 10,
    "bytes": 100 << 20,
    "fetched_files": 6,
    "fetched_bytes": 60 << 20,
    "already": 1,
    "did_not_fit_files": 2,
    "did_not_fit_bytes": 20 << 20,
    "failed": [{"path": "2024/b.raw", "message": "access denied"}],
    "failed_count": 3,
    "requests": {"LIST": 1, "GET": 8, "HEAD": 0},
    "cost": 0.0001,
}
