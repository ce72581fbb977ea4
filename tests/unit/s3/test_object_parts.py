"""Parts of an upload: of the version that was asked for, whatever the store tells beside it."""

from typing import Any

import pytest

from s3mount.errors import StaleVersion
from s3mount.s3.model import ObjectMetadata, ObjectPart, Reason
from s3mount.s3.object_parts import ObjectParts
from tests.fakes.memory_store import Request, hook
from tests.fakes.multipart_store import MultipartStore

PARTS = [b"one" * 10, b"two"]
WHY = Reason.VERIFY


class RecordingStore(MultipartStore):
    """The fake; *version_ids* has those that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.version_ids: list[str | None] = []

    async def metadata(self, key: str, **query: Any) -> ObjectMetadata:
        self.version_ids.append(query.pop("version_id"))
        return await super().metadata(key, **query)


@pytest.mark.parametrize("tells_part_etags", [False, True])
async def test_the_parts_are_in_order(tells_part_etags: bool) -> None:  # noqa: FBT001
    store = MultipartStore()
    version = store.upload("a", PARTS, "CRC32")
    store.tells_part_etags = tells_part_etags

    first = await ObjectParts(store).first(version, WHY)
    parts = await ObjectParts(store).all(version, 2, WHY)

    assert [(part.size, part.parts_count, [*part.checksums]) for part in parts] == [
        (30, 2, ["ChecksumCRC32"]),
        (3, 2, ["ChecksumCRC32"]),
    ]
    assert first == parts[0]


@pytest.mark.parametrize("tells_part_etags", [False, True])
async def test_a_part_of_another_version_is_stale(tells_part_etags: bool) -> None:  # noqa: FBT001
    store = MultipartStore()
    version = store.upload("a", PARTS)
    store.upload("a", [*PARTS, b"three"])
    store.tells_part_etags = tells_part_etags

    with pytest.raises(StaleVersion):
        await ObjectParts(store).first(version, WHY)
    with pytest.raises(StaleVersion):
        await ObjectParts(store).all(version, 2, WHY)


async def test_an_object_that_goes_meanwhile_is_stale() -> None:
    store = MultipartStore()
    version = store.upload("a", PARTS)

    def act(request: Request) -> None:
        if request.number == 2:
            store.delete("a")

    store.before = hook(act)
    with pytest.raises(StaleVersion):
        await ObjectParts(store).all(version, 2, WHY)


async def test_a_replaced_version_is_asked_for_by_its_version_id() -> None:
    store = RecordingStore()
    version = store.upload("a", PARTS).with_version_id("v1")

    assert isinstance(await ObjectParts(store).first(version, WHY), ObjectPart)
    await ObjectParts(store).all(version.with_version_id("v1", is_replaced=True), 2, WHY)

    assert store.version_ids == [None, "v1", "v1"]
