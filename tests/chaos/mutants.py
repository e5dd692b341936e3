"""Guards that are taken out, to see that the suite notices: `python -m tests.chaos.mutants [--promise N,M] [NAME…]`.

The scenarios of a mutant's promise are played with it and have to fail; a mutant that passes is missed, and the command
ends with 1. `guards.py` lists them.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable

from tests.chaos.guards import MUTANTS, Mutant
from tests.chaos.registry import Tier, play, scenarios, stage

SEED = 20_250
"""The same for all, so that a mutant that is missed is missed again."""


def caught(mutant: Mutant) -> bool:
    """Play the scenarios of its promise with this mutant, until one fails."""
    tier = Tier(mutant.tier)
    for one in scenarios(tier=tier, promises=[mutant.promise]):
        with stage(share=False, mutant=mutant.name) as on:
            outcome = play(one, on, seed=SEED, tier=tier, say=lambda _: None)
        if not outcome.ok:
            print(f"caught: {mutant.name} ({mutant.what}): {outcome.problems[0]}", flush=True)
            return True
    print(f"MISSED: {mutant.name} ({mutant.what})", flush=True)
    return False


def run_all(promises: Iterable[int] = (), names: Iterable[str] = ()) -> dict[int, tuple[int, int]]:
    """Caught and missed by promise."""
    wanted, chosen = set(promises), set(names)
    found: dict[int, list[bool]] = defaultdict(list)
    for mutant in MUTANTS.values():
        if (not wanted or mutant.promise in wanted) and (not chosen or mutant.name in chosen):
            found[mutant.promise].append(caught(mutant))
    return {promise: (each.count(True), each.count(False)) for promise, each in sorted(found.items())}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTANTS))
    parser.add_argument("--promise", default="", metavar="N,M", help="only these")
    asked = parser.parse_args()
    found = run_all([int(part) for part in asked.promise.split(",") if part], asked.names)
    print("\npromise  caught  missed")
    for promise, (good, bad) in found.items():
        print(f"{promise:>7}  {good:>6}  {bad:>6}")
    return 1 if any(bad for _, bad in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
