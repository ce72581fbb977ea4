"""Command `activity`: files read last, the longest requests, the counters, and the disk cache."""

from typing import Final

from s3mount.control.commands import Command, Send
from s3mount.control.protocol import Arguments, Object
from s3mount.control.sources import FileActivity, Sources
from s3mount.control.status import counters, disk_state
from s3mount.s3.request_records import PendingRequest

FILES_MAX: Final = 50
REQUESTS_MAX: Final = 50


def activity_command(sources: Sources) -> Command:
    """Return the command `activity`, which a client may ask each second."""

    async def activity(_arguments: Arguments, _send: Send) -> Object:
        requests = sources.requests
        return {
            "files": [_file(each) for each in sources.files.activity(FILES_MAX)],
            "requests": [_pending(each) for each in requests.in_flight(REQUESTS_MAX)],
            "counters": counters(requests, requests.counts(), sources.metrics.values),
            "disk": await disk_state(sources.disk, sources.metrics.values),
        }

    return activity


def _file(file: FileActivity) -> Object:
    return {
        "key": file.key,
        "readers": file.readers,
        "position": file.position,
        "size": file.size,
        "window": file.window,
        "served": file.served,
    }


def _pending(request: PendingRequest) -> Object:
    byte_range = request.byte_range
    return {
        "kind": request.kind.value,
        "key": request.key,
        "start": None if byte_range is None else byte_range.start,
        "stop": None if byte_range is None else byte_range.stop,
        "reason": request.reason.value,
        "seconds": round(request.seconds, 6),
    }
