"""Command line of the fuzzer: runs rounds until the time is over or one deviates.

python -m tests.fuzz [--seconds N] [--seed N [--times N]] [--limit ENTRIES] [--order ORDER]
                     [--keep-going]

A seed fixes the options, the bucket and the actions of each user, but not the timing: repeat a
round with --times.
"""

import argparse
import random
import sys
import time

from tests.fuzz.options import Options, options_of
from tests.fuzz.rounds import run_round
from tests.fuzz.users import Deviation


def main() -> int:
    """Run rounds; returns the exit status, 1 if a round deviated."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Random rounds through the real kernel."
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="for which rounds with fresh seeds are run [60]"
    )
    parser.add_argument("--seed", type=int, help="run the round of this seed")
    parser.add_argument("--times", type=int, default=1, help="run that round so many times [1]")
    parser.add_argument(
        "--keep-going", action="store_true", help="go on after a round that deviated"
    )
    parser.add_argument("--limit", type=int, help="entries that all rounds may keep in memory")
    parser.add_argument("--order", help="the order in which all stores list")
    given = parser.parse_args()
    fixed = {} if given.limit is None else {"limit": given.limit}
    end, rounds, deviations = time.monotonic() + given.seconds, 0, 0
    fresh = random.SystemRandom()
    while rounds < given.times if given.seed is not None else time.monotonic() < end:
        seed = fresh.randrange(1 << 32) if given.seed is None else given.seed
        options = options_of(seed, order=given.order, **fixed)
        rounds += 1
        deviations += not is_fine(options)
        if deviations and not given.keep_going:
            break
    say(f"{rounds} rounds, {deviations} deviated")
    return bool(deviations)


def is_fine(options: Options) -> bool:
    """Run one round, print its deviation, and return whether there was none."""
    try:
        run_round(options)
    except (Deviation, AssertionError, OSError) as exc:
        say(f"seed {options.seed} deviates: {type(exc).__name__}: {exc}\n    {options}")
        return False
    say(f"seed {options.seed} is fine")
    return True


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
