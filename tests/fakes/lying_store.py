"""Store in memory whose listings, or whose HEAD, describe objects otherwise than GET does."""

from dataclasses import dataclass, replace

from s3mount.s3.model import ListedObject, ObjectStat, ObjectVersion, Reason
from tests.fakes.memory_store import MemoryStore


@dataclass(slots=True, kw_only=True)
class LyingStore(MemoryStore):
    """Store that adds bytes to sizes, and words to ETags, of what it lists or tells to HEAD."""

    listed_bytes: int = 0
    listed_word: str = ""
    head_bytes: int = 0
    head_word: str = ""

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        # a dataclass with slots is a new class, which super() without arguments does not know
        stat = await MemoryStore.head(self, key, reason)
        version = ObjectVersion(
            self.bucket,
            key,
            stat.version.etag + self.head_word,
            max(0, stat.version.size + self.head_bytes),
        )
        return replace(stat, version=version)

    def _listed(self, key: str) -> ListedObject:
        listed = MemoryStore._listed(self, key)
        size = max(0, listed.size + self.listed_bytes)
        return listed._replace(size=size, etag=listed.etag + self.listed_word)
