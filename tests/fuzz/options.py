"""Options of one round, drawn from its seed."""

import random
from dataclasses import dataclass, replace

from tests.property.driver import configured_limit
from tests.property.history_store import Behaviour
from tests.property.programs import random_keys

ORDERS = ("bytes", "bytes", "bytes", "components", "none", "at first")


@dataclass(frozen=True)
class Options:
    """Options of a round; *limit* is in entries (0: the default), *ttl* and pauses are in seconds.

    Without a pause there are no changes, or no SIGHUPs.
    """

    seed: int
    behaviour: Behaviour
    keys: tuple[str, ...]
    limit: int
    ttl: str
    transport: str
    users: int
    tools: int  # find, ls and cat, killed after a while
    change_pause: float
    hang_up_pause: float

    def __str__(self) -> str:
        shown = {
            name: value for name, value in vars(self).items() if name not in ("keys", "behaviour")
        }
        return f"{shown} {vars(self.behaviour)} {len(self.keys)} keys"

    @property
    def arguments(self) -> list[str]:
        """The mount's command line options."""
        limit = ("--metadata-limit", str(configured_limit(self.limit))) if self.limit else ()
        return ["--metadata-ttl", self.ttl, "--transport", self.transport, *limit]


def options_of(seed: int, *, order: str | None = None, **fixed: object) -> Options:
    """Draw the options of *seed*, except those that are *fixed*."""
    rnd = random.Random(seed)
    drawn = rnd.choice(ORDERS)
    behaviour = Behaviour(
        order=order or drawn,
        page_max=rnd.choice((1, 2, 3, 5, 10, 50, 1000)),
        has_random_pages=rnd.random() < 0.5,
        delay=rnd.choice((0.0, 0.002, 0.02)),
    )
    options = Options(
        seed=seed,
        behaviour=behaviour,
        keys=tuple(_keys(rnd)),
        limit=rnd.choice((20, 20, 100, 0)),
        ttl=rnd.choice(("0", "1", "60", "60", "indefinite")),
        transport=rnd.choice(("native", "native", "native", "boto3")),
        users=rnd.randint(2, 5),
        tools=rnd.randint(0, 2),
        change_pause=rnd.choice((0.0, 0.02, 0.2)),
        hang_up_pause=rnd.choice((0.0, 0.0, 0.05, 0.5)),
    )
    return replace(options, **fixed)  # type: ignore[arg-type]  # named on the command line


def _keys(rnd: random.Random) -> list[str]:
    keys = set(random_keys(rnd))
    for _ in range(rnd.choice((0, 2, 6))):
        keys |= {f"{rnd.choice('abc')}/{key}" for key in random_keys(rnd)}
    return sorted(key for key in keys if not key.startswith("/"))
