"""How long what was learned holds: the one place that knows the options' arithmetic.

Pure; moments are clock seconds, and knowledge counts from when it was asked for, not from when the answer came.
"""

from dataclasses import dataclass

from s3mount.config import TreeConfig


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds for which entries, and the lack of them, are believed; *grace* more while they are renewed."""

    positive: float
    negative: float
    grace: float = 0.0

    @classmethod
    def of(cls, config: TreeConfig) -> "Lifetimes":
        negative = config.metadata_ttl if config.negative_ttl is None else config.negative_ttl
        return cls(config.metadata_ttl, negative, config.stale_while_revalidate)

    def left(self, as_of: float, now: float, *, exists: bool = True) -> float:
        """How long knowledge as of then holds still; not positive when it has expired."""
        return as_of + (self.positive if exists else self.negative) - now
