"""Command `versions`: the versions and delete markers of one object, in the store's order.

The object need not exist now, and the mount need not show versions. Each page of the store's is
sent as it comes, so a long history costs no memory.
"""

from dataclasses import replace
from typing import Final

from s3mount.control.commands import Command, Send
from s3mount.control.protocol import Arguments, Object, ProtocolError, names_in
from s3mount.control.sources import Sources
from s3mount.errors import StoreError
from s3mount.s3.model import ListedVersion, Reason, VersionMarker, VersionPage, VersionQuery

_UNKNOWN: Final = (405, 501)  # statuses by which a store refuses what it does not know


def versions_command(sources: Sources) -> Command:
    """Return the command `versions`."""

    async def versions(arguments: Arguments, send: Send) -> Object:
        names = names_in(arguments["path"])
        if not names:
            raise ProtocolError("bad-request", "path: it is the mount itself: name a file")
        path = b"/".join(names).decode("utf-8", "surrogateescape")
        key = sources.store().config.prefix + path
        own_key: str | None = None
        query, count = VersionQuery(key, "/", reason=Reason.LOOKUP), 0
        seen = set[VersionMarker]()
        while True:
            page = await _list(sources, query)
            rows = [row for row in page.versions if row.key == key]
            of_path = sources.keys.store_key(key)  # whose bucket has proved to be one
            own_key = own_key or of_path
            for row in rows:  # the path may be that of one of them
                of_row = sources.keys.store_key(key, row.version_id)
                own_key = own_key if of_row == of_path else of_row
            count += len(rows)
            await send([*map(_item, rows)])
            marker = page.next_marker
            if marker is None or marker.key != key:
                break
            if marker in seen:
                raise StoreError("the listing of versions repeats a marker", key=key)
            seen.add(marker)
            query = replace(query, marker=marker)
        if not count:
            raise ProtocolError("no-such-path", "the store has no version of it, nor had it one")
        return {"key": own_key, "count": count}

    return versions


async def _list(sources: Sources, query: VersionQuery) -> VersionPage:
    try:
        return await sources.versions.list_versions(query)
    except StoreError as exc:
        if exc.status not in _UNKNOWN:
            raise
        text = f"the store does not list versions: {exc}"
        raise StoreError(text, bucket=exc.bucket, status=exc.status, code=exc.code) from exc


def _item(row: ListedVersion) -> Object:
    is_object = not row.is_delete_marker
    return {
        "version_id": row.version_id,
        "time": row.mtime_ns / 1e9,
        "latest": row.is_latest,
        "delete_marker": row.is_delete_marker,
        "size": row.size if is_object else None,
        "etag": row.etag if is_object else None,
        "storage_class": row.storage_class if is_object else None,
    }
