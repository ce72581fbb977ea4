"""By which version id an object's version can still be had after it was replaced. Pure."""

from dataclasses import dataclass

from cachetools import LRUCache

from s3mount.s3.model import ObjectVersion


@dataclass(frozen=True, slots=True)
class CachedVersionId:
    """*is_superseded*: the store has said that another version is current, so If-Match need not be tried again."""

    version_id: str
    is_superseded: bool = False


class VersionIdCache:
    """The version ids met lately, the least recently used forgotten first."""

    def __init__(self, limit: int = 10_000) -> None:
        self._pins: LRUCache[ObjectVersion, CachedVersionId] = LRUCache(limit)

    def get(self, version: ObjectVersion) -> CachedVersionId | None:
        pin: CachedVersionId | None = self._pins.get(version)
        return pin

    def remember(self, version: ObjectVersion, version_id: str | None) -> None:
        if version_id is not None and version not in self._pins:
            self._pins[version] = CachedVersionId(version_id)

    def supersede(self, version: ObjectVersion) -> CachedVersionId | None:
        """Another version is current now; the pin of this one, if it is known."""
        pin = self.get(version)
        if pin is not None:
            pin = self._pins[version] = CachedVersionId(pin.version_id, is_superseded=True)
        return pin
