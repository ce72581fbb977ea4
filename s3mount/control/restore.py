"""Command `restore`: whether objects are archived, and restores of those that are.

A restore is charged, and the only request of a mount that is not a read. Invariants:

1. It is sent for paths of files that the client names, and for nothing below a directory.
2. It is sent for an object only after a HEAD has told that it is archived, or restored for a while.
   So a store that takes a POST for something else is never sent one.
3. A path that fails is told with its failure, and the others go on.
"""

import logging
from typing import Final, NamedTuple

from s3mount.control.commands import Command, Send
from s3mount.control.protocol import Arguments, Object, ProtocolError, names_in, shown
from s3mount.control.sources import Paths
from s3mount.errors import AccessDenied, IsADirectory, S3MountError, StoreError
from s3mount.s3.archive import (
    INTELLIGENT_TIERING,
    ArchiveState,
    RestoreOrder,
    RestoreOutcome,
    RestoreTier,
    archive_state,
    restored_until,
)
from s3mount.s3.model import ObjectMetadata, ObjectVersion, Reason
from s3mount.s3.object_store import KeySource, MetadataSource, Restorer

DAYS: Final = 1  # of a copy, unless the client says more: each day is charged
DAYS_MAX: Final = 36_500
_STATES: Final = {
    RestoreOutcome.REQUESTED: ArchiveState.RESTORING,
    RestoreOutcome.ONGOING: ArchiveState.RESTORING,
    RestoreOutcome.EXTENDED: ArchiveState.RESTORED,
}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html
_WITHOUT_EXPEDITED: Final = ("DEEP_ARCHIVE",)

log = logging.getLogger(__name__)


def restore_command(
    paths: Paths, objects: MetadataSource, restorer: Restorer, keys: KeySource
) -> Command:
    """Return the command `restore`."""

    async def restore(arguments: Arguments, send: Send) -> Object:
        restores = _Restores(paths, objects, restorer, keys, _wanted(arguments))
        if not arguments["paths"]:
            raise ProtocolError("bad-request", "paths: none is given")
        counts = dict.fromkeys([*map(str, RestoreOutcome), "failed"], 0)
        for path in arguments["paths"]:
            item = await restores.run(path)
            outcome = "failed" if item["error"] is not None else item["outcome"]
            if outcome is not None:
                counts[outcome] += 1
            await send([item])
        return {"objects": len(arguments["paths"]), **counts}

    return restore


class _Wanted(NamedTuple):
    """Arguments of a command: *days* None if the client gives none."""

    is_status: bool
    tier: RestoreTier
    days: int | None


def _wanted(arguments: Arguments) -> _Wanted:
    tiers = {tier.lower(): tier for tier in RestoreTier}
    tier, days = tiers.get(arguments["tier"].lower()), arguments["days"]
    if tier is None:
        wanted = shown(arguments["tier"])
        raise ProtocolError("bad-request", f"tier: {wanted} is none of {', '.join(RestoreTier)}")
    if days is not None and not 1 <= days <= DAYS_MAX:
        raise ProtocolError("bad-request", f"days: it is not between 1 and {DAYS_MAX}")
    return _Wanted(arguments["status"], tier, days)


class _Restores:
    """Restores of the paths of one command."""

    def __init__(
        self,
        paths: Paths,
        objects: MetadataSource,
        restorer: Restorer,
        keys: KeySource,
        wanted: _Wanted,
    ) -> None:
        self._paths = paths
        self._objects = objects
        self._restorer = restorer
        self._keys = keys
        self._wanted = wanted

    async def run(self, path: str) -> Object:
        """The item of *path*: its state, and what came of its restore."""
        item = {"path": path, **dict.fromkeys(_FIELDS)}
        try:
            version = await self._version(path)
            key = version.key
            found = await self._objects.metadata(key, reason=Reason.RESTORE)
            item |= _described(self._keys.store_key(key, version.version_id), found)
            is_archived = item["state"] in (ArchiveState.ARCHIVED, ArchiveState.RESTORED)
            if is_archived and not self._wanted.is_status:
                item |= await self._restore(key, found.stat.storage_class)
            elif item["state"] == ArchiveState.RESTORING and not self._wanted.is_status:
                item["outcome"] = RestoreOutcome.ONGOING
        except S3MountError as exc:
            item["error"] = str(exc)
        return item

    async def _version(self, path: str) -> ObjectVersion:
        found = await self._paths.find(names_in(path))
        if found.version is None:
            raise IsADirectory(
                "a directory: name its files; for all of them: "
                "find DIR -type f -exec s3mountctl restore --yes {} +"
            )
        return found.version

    async def _restore(self, key: str, storage_class: str) -> Object:
        order = self._order(storage_class)
        log.info(
            "restore of %r (%s) asked for by the control socket: %s, days: %s",
            key,
            storage_class,
            order.tier,
            order.days,
        )
        try:
            outcome = await self._restorer.restore(key, order)
        except AccessDenied as exc:
            raise AccessDenied(f"{exc}; it needs the permission s3:RestoreObject") from exc
        return {
            "outcome": outcome,
            "state": _STATES[outcome],
            "tier": order.tier,
            "days": order.days,
            "until": None,  # which a HEAD tells when it is done
        }

    def _order(self, storage_class: str) -> RestoreOrder:
        """Return what to ask for. Raises StoreError for what the class does not have."""
        tier, days = self._wanted.tier, self._wanted.days
        if storage_class == INTELLIGENT_TIERING:
            if days is not None:
                raise StoreError("Intelligent-Tiering keeps what is restored: leave --days out")
            return RestoreOrder(tier)
        if tier is RestoreTier.EXPEDITED and storage_class in _WITHOUT_EXPEDITED:
            raise StoreError(f"{storage_class} has no tier {tier}: use Standard or Bulk")
        return RestoreOrder(tier, days or DAYS)


_FIELDS: Final = (
    *("key", "storage_class", "size", "state", "until"),
    *("outcome", "tier", "days", "error"),
)


def _described(key: str, found: ObjectMetadata) -> Object:
    """Return what *found* tells of an archive."""
    stat, restore = found.stat, found.fields.get("Restore", "")
    headers = {"x-amz-restore": restore}
    if "ArchiveStatus" in found.fields:
        headers["x-amz-archive-status"] = found.fields["ArchiveStatus"]
    state = archive_state(stat.storage_class, headers)
    return {
        "key": key,
        "storage_class": stat.storage_class,
        "size": stat.version.size,
        "state": state,
        "until": restored_until(restore) if state is ArchiveState.RESTORED else None,
    }
