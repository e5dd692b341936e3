"""`python -m tests.chaos`: plays the scenarios of a tier, prints the table; ends with 1 when a promise was not kept."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from tests.chaos import mutants, page
from tests.chaos.registry import Outcome, Tier, play, scenarios, stage
from tests.chaos.table import RESULTS, results, table, write_results


def main() -> int:
    asked = _asked()
    tier = Tier(asked.tier)
    chosen = scenarios(tier=tier, promises=asked.promise)
    if not chosen:
        sys.stderr.write("no scenario of this tier is for these promises\n")
        return 2
    print(f"tier {tier}, seed {asked.seed}, {len(chosen)} scenarios: again by --tier {tier} --seed {asked.seed}")
    outcomes: list[Outcome] = []
    with stage(share=tier is Tier.SLICE, mutant=asked.mutant) as on:
        for one in chosen:
            began = time.monotonic()

            def say(what: str, name: str = f"{one.promise:>2} {one.title}", began: float = began) -> None:
                print(f"{name}: {what} after {time.monotonic() - began:.0f} s", flush=True)

            size = one.sizes[tier]
            say(f"begins, {size.tries} tries, {size.faults} faults")
            outcomes.append(play(one, on, seed=asked.seed, tier=tier, say=say))
            say(f"{'ok' if outcomes[-1].ok else 'FAILED'} ({outcomes[-1].details})")
            for problem in outcomes[-1].problems:
                print(f"      {problem}", flush=True)
    print(f"\n{table(outcomes)}\n")
    full = tier is Tier.LONG and not asked.promise and asked.mutant is None
    counted = mutants.run_all() if full else {}
    if full:
        write_results(results(outcomes, counted))
        page.write()
        print(f"written: {RESULTS}")
    missed = sum(missed for _, missed in counted.values())
    return 0 if all(outcome.ok for outcome in outcomes) and not missed else 1


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tier", choices=[str(tier) for tier in Tier], default=str(Tier.LONG))
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what is done, and in which order")
    parser.add_argument("--promise", type=_numbers, default=(), metavar="N,M", help="only these")
    parser.add_argument("--mutant", choices=sorted(mutants.MUTANTS), help="with one guard taken out of all processes")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
