"""`python -m tests.chaos`: plays the scenarios of a tier, prints the table; ends with 1 when a promise was not kept."""

from __future__ import annotations

import argparse
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import mutants, page
from tests.chaos.lanes import Done, keep, play_in_lanes
from tests.chaos.registry import Outcome, Scenario, Tier, play, scenarios, stage
from tests.chaos.table import RESULTS, Results, table


def main() -> int:
    asked = _asked()
    tier = Tier(asked.tier)
    chosen = [one for one in scenarios(tier=tier, promises=asked.promise) if asked.only in (None, one.title)]
    if not chosen:
        sys.stderr.write("no scenario of this tier is for these promises\n")
        return 2
    if asked.outcome is None:
        print(f"tier {tier}, seed {asked.seed}, {len(chosen)} scenarios: again by --tier {tier} --seed {asked.seed}")
    records = tier is Tier.LONG and asked.mutant is None and asked.only is None
    results = Results.begun(chosen) if records else None
    outcomes: dict[int, Outcome] = {}
    lock = threading.Lock()

    def done(one: Scenario, outcome: Outcome) -> None:
        with lock:
            outcomes[chosen.index(one)] = outcome
            if results is not None and results.add(outcome):
                page.write()

    if asked.lanes > 1:
        play_in_lanes(chosen, tier=tier, seed=asked.seed, lanes=asked.lanes, done=done)
    else:
        _play(chosen, tier=tier, seed=asked.seed, mutant=asked.mutant, done=done)
    in_order = [outcome for _, outcome in sorted(outcomes.items())]
    if asked.outcome is not None:
        keep(in_order[0], asked.outcome)
    else:
        print(f"\n{table(in_order)}\n")
    missed = 0
    if results is not None:
        counted = mutants.run_all(asked.promise, lanes=asked.lanes)
        results.add_mutants(counted)
        page.write()
        print(f"written: {RESULTS}")
        missed = sum(missed for _, missed in counted.values())
    return 0 if all(outcome.ok for outcome in in_order) and not missed else 1


def _play(chosen: Sequence[Scenario], *, tier: Tier, seed: int, mutant: str | None, done: Done) -> None:
    with stage(share=tier is Tier.SLICE, mutant=mutant) as on:
        for one in chosen:
            began = time.monotonic()

            def say(what: str, name: str = f"{one.promise:>2} {one.title}", began: float = began) -> None:
                print(f"{name}: {what} after {time.monotonic() - began:.0f} s", flush=True)

            size = one.sizes[tier]
            say(f"begins, {size.tries} tries, {size.faults} faults")
            outcome = play(one, on, seed=seed, tier=tier, say=say)
            say(f"{'ok' if outcome.ok else 'FAILED'} ({outcome.details})")
            for problem in outcome.problems:
                print(f"      {problem}", flush=True)
            done(one, outcome)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tier", choices=[str(tier) for tier in Tier], default=str(Tier.LONG))
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what is done, and in which order")
    parser.add_argument("--promise", type=_numbers, default=(), metavar="N,M", help="only these")
    parser.add_argument("--only", metavar="TITLE", help="the one scenario of this title")
    parser.add_argument("--lanes", type=int, default=1, metavar="N", help="scenarios at once, each in its own process")
    parser.add_argument("--mutant", choices=sorted(mutants.MUTANTS), help="with one guard taken out of all processes")
    parser.add_argument("--outcome", type=Path, metavar="FILE", help="write the outcome there, and no table")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
