"""Guards that are taken out, to see that the suite notices: `python -m tests.chaos.mutants [--promise N,M] [NAME…]`.

The scenarios of a mutant's promise are played with it and have to fail; a mutant that passes is missed, and the command
ends with 1. `guards.py` lists them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.guards import MUTANTS, Mutant
from tests.chaos.registry import Tier, play, scenarios, stage
from tests.chaos.table import ROOT

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


def _caught_by_another(mutant: Mutant) -> bool:
    command = [sys.executable, "-m", "tests.chaos.mutants", mutant.name]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(said.stdout.partition("\n")[0], flush=True)
    # Both, because a process that breaks ends with 1 as well, and one that is told of no mutant with 0.
    return said.returncode == 0 and said.stdout.startswith("caught: ")


def run_all(promises: Iterable[int] = (), names: Iterable[str] = (), *, lanes: int = 1) -> dict[int, tuple[int, int]]:
    """Caught and missed by promise. In more than one lane each is played by a process of its own."""
    wanted, chosen = set(promises), set(names)
    asked = [
        mutant
        for mutant in MUTANTS.values()
        if (not wanted or mutant.promise in wanted) and (not chosen or mutant.name in chosen)
    ]
    with ThreadPoolExecutor(lanes) as pool:
        judged = list(pool.map(_caught_by_another if lanes > 1 else caught, asked))
    found: dict[int, list[bool]] = defaultdict(list)
    for mutant, good in zip(asked, judged, strict=True):
        found[mutant.promise].append(good)
    return {promise: (each.count(True), each.count(False)) for promise, each in sorted(found.items())}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTANTS))
    parser.add_argument("--promise", default="", metavar="N,M", help="only these")
    parser.add_argument("--lanes", type=int, default=1, metavar="N", help="so many at once")
    asked = parser.parse_args()
    found = run_all([int(part) for part in asked.promise.split(",") if part], asked.names, lanes=asked.lanes)
    print("\npromise  caught  missed")
    for promise, (good, bad) in found.items():
        print(f"{promise:>7}  {good:>6}  {bad:>6}")
    return 1 if any(bad for _, bad in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
