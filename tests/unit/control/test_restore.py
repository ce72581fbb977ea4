"""Command `restore`: which objects it asks a restore for, and with which tier and days."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from s3mount.control.protocol import Object, ProtocolError, parse_request
from s3mount.control.restore import restore_command
from s3mount.errors import AccessDenied, NotFound, StoreError
from s3mount.filesystem.namespace.path_lookup import FoundPath
from s3mount.s3.archive import (
    INTELLIGENT_TIERING,
    RestoreOrder,
    RestoreOutcome,
    RestoreTier,
    archive_state,
    restored_until,
)
from s3mount.s3.model import ObjectMetadata, ObjectStat, ObjectVersion

ONGOING = {"Restore": 'ongoing-request="true"'}
RESTORED = {"Restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"'}
TIERED = {"ArchiveStatus": "ARCHIVE_ACCESS"}


@dataclass
class Bucket:
    """Objects by key: storage class and fields. *orders* has the restores that were asked for."""

    objects: Mapping[str, tuple[str, Mapping[str, str]]]
    outcome: RestoreOutcome | Exception = RestoreOutcome.REQUESTED
    orders: list[tuple[str, RestoreOrder]] = field(default_factory=list)

    async def find(self, names: Sequence[bytes]) -> FoundPath:
        key = b"/".join(names).decode()
        if key == "d":
            return FoundPath("d/")
        if key not in self.objects:
            raise NotFound("no such file or directory", key=key)
        return FoundPath(key, ObjectVersion("b", key, "e", 7))

    async def metadata(self, key: str, **_: object) -> ObjectMetadata:
        storage_class, fields = self.objects[key]
        stat = ObjectStat(ObjectVersion("b", key, "e", 7), 0, storage_class)
        return ObjectMetadata(stat, fields, {})

    def store_key(self, key: str, version_id: str | None = None) -> str:  # noqa: ARG002
        return key

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        assert version_id is None
        self.orders.append((key, order))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def run(bucket: Bucket, *paths: str, **arguments: object) -> tuple[list[Object], Object]:
    """Return the items and the result of the command, whose arguments are checked as a client's."""
    items: list[Object] = []

    async def keep(sent: Sequence[Object]) -> None:
        items.extend(sent)

    line = {"command": "restore", "arguments": {"paths": list(paths), **arguments}}
    request = parse_request(json.dumps(line).encode())
    command = restore_command(bucket, bucket, bucket, bucket)
    return items, await command(request.arguments, keep)


@pytest.mark.parametrize(
    ("storage_class", "fields", "state", "is_asked"),
    [
        ("STANDARD", {}, "readable", False),
        ("GLACIER_IR", {}, "readable", False),
        ("GLACIER", {}, "archived", True),
        ("DEEP_ARCHIVE", {}, "archived", True),
        ("GLACIER", ONGOING, "restoring", False),
        ("GLACIER", RESTORED, "restored", True),
        (INTELLIGENT_TIERING, {}, "readable", False),
        (INTELLIGENT_TIERING, TIERED, "archived", True),
        (INTELLIGENT_TIERING, TIERED | ONGOING, "restoring", False),
    ],
)
async def test_a_restore_is_asked_for_what_is_archived_and_nothing_else(
    storage_class: str, fields: Mapping[str, str], state: str, *, is_asked: bool
) -> None:
    bucket = Bucket({"a": (storage_class, fields)})

    [shown], _ = await run(bucket, "a", status=True)
    assert (shown["state"], shown["outcome"], bucket.orders) == (state, None, [])
    await run(bucket, "a")

    assert bool(bucket.orders) is is_asked


async def test_a_restored_copy_tells_when_it_expires() -> None:
    [item], _ = await run(Bucket({"a": ("GLACIER", RESTORED)}), "a", status=True)

    assert item["until"] == 1356048000


@pytest.mark.parametrize(
    ("storage_class", "arguments", "order"),
    [
        ("GLACIER", {}, RestoreOrder(RestoreTier.STANDARD, 1)),
        ("GLACIER", {"tier": "EXPEDITED", "days": 5}, RestoreOrder(RestoreTier.EXPEDITED, 5)),
        ("DEEP_ARCHIVE", {"tier": "bulk"}, RestoreOrder(RestoreTier.BULK, 1)),
        (INTELLIGENT_TIERING, {"tier": "Bulk"}, RestoreOrder(RestoreTier.BULK)),
        (INTELLIGENT_TIERING, {"days": 1}, None),
        ("DEEP_ARCHIVE", {"tier": "Expedited"}, None),
    ],
)
async def test_an_order_has_what_the_class_knows(
    storage_class: str, arguments: Mapping[str, Any], order: RestoreOrder | None
) -> None:
    bucket = Bucket({"a": (storage_class, TIERED)})

    [item], result = await run(bucket, "a", **arguments)

    assert bucket.orders == ([] if order is None else [("a", order)])
    assert (item["error"] is None, result["failed"]) == (order is not None, int(order is None))


@pytest.mark.parametrize(
    "arguments",
    [{"tier": "Fast"}, {"days": 0}, {"days": -1}, {"days": 10**9}, {"days": "1"}, {"tier": 1}],
)
async def test_a_wrong_argument_is_refused(arguments: Mapping[str, Any]) -> None:
    bucket = Bucket({"a": ("GLACIER", {})})

    with pytest.raises(ProtocolError):
        await run(bucket, "a", **arguments)

    assert bucket.orders == []


@pytest.mark.parametrize("path", ["../a", "/a", "a/../a", "a\0"])
async def test_a_path_that_leaves_the_mount_is_refused(path: str) -> None:
    with pytest.raises(ProtocolError):
        await run(Bucket({"a": ("GLACIER", {})}), path)


async def test_a_path_that_fails_leaves_the_others() -> None:
    bucket = Bucket({"a": ("GLACIER", {}), "b": ("GLACIER", {})})

    items, result = await run(bucket, "a", "none", "d", "b")

    assert [item["outcome"] for item in items] == ["requested", None, None, "requested"]
    assert "find DIR" in str(items[2]["error"])
    assert result == {"objects": 4, "requested": 2, "extended": 0, "ongoing": 0, "failed": 2}


async def test_a_refusal_is_told_in_the_words_of_the_store() -> None:
    bucket = Bucket({"a": ("GLACIER", {})}, outcome=StoreError("the store has no restores"))

    [item], result = await run(bucket, "a")

    assert (item["error"], item["state"]) == ("the store has no restores", "archived")
    assert result["failed"] == 1


async def test_a_denial_names_the_permission() -> None:
    bucket = Bucket({"a": ("GLACIER", {})}, outcome=AccessDenied("restore refused (HTTP 403)"))

    [item], _ = await run(bucket, "a")

    assert str(item["error"]).endswith("it needs the permission s3:RestoreObject")


@pytest.mark.parametrize(
    ("restore", "until"),
    [
        ("", None),
        ('ongoing-request="false"', None),
        ('ongoing-request="false", expiry-date="never"', None),
        ('expiry-date="Fri, 21 Dec 99999 00:00:00 GMT"', None),
        ('expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", ongoing-request="false"', 1356048000),
    ],
)
def test_an_expiry_is_told_if_the_header_has_one(restore: str, until: float | None) -> None:
    assert restored_until(restore) == until


@pytest.mark.parametrize("value", ["ongoing-request=true", "", "maybe", '"true"'])
def test_a_malformed_restore_header_leaves_an_object_archived(value: str) -> None:
    assert archive_state("GLACIER", {"x-amz-restore": value}) == "archived"
