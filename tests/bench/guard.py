"""`make bench-guard`: fails when durable steps have become grossly slower beside bare chains in the same run.

The ratios that it compares with are those that the last full run left in docs/bench.json. A machine that is slow or
busy is so for both sides; half of a ratio is more than such noise comes to.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

from tests.bench import bare, product
from tests.bench.figures import Subject, say
from tests.bench.product import Product
from tests.bench.report import GUARD_SETTING, GUARD_WORKERS
from tests.bench.stack import ROOT, stack

RECORDED = ROOT / "docs" / "bench.json"
LEAST_SHARE = 0.5
SECONDS = 1.0
REPEATS = 3


def main() -> int:
    recorded: dict[str, float] = json.loads(RECORDED.read_text())["guard"]
    if not recorded:
        say(f"{RECORDED} has no ratios to compare with")
        return 1
    began = time.monotonic()
    ratios = measure()
    for name, expected in recorded.items():
        say(f"durable steps: {ratios[name]:.2f} × a bare {name} chain; recorded {expected:.2f}")
    slow = is_slow(ratios, recorded)
    told = f"below {LEAST_SHARE:g} of what was recorded, beside each chain" if slow else "no gross regression"
    say(f"{told}, {time.monotonic() - began:.0f} s")
    return 1 if slow else 0


def is_slow(ratios: dict[str, float], recorded: dict[str, float]) -> bool:
    """Whether every ratio is far below the recorded one: slower steps lower all, noise seldom more than one."""
    return all(ratios[name] < LEAST_SHARE * expected for name, expected in recorded.items())


def measure() -> dict[str, float]:
    """Durable steps a second as a multiple of each bare chain's, taking turns."""
    with stack(pool=GUARD_SETTING, workers=GUARD_WORKERS) as running:
        ours = Product(running=running, subject=Subject(who="signoff", setting=GUARD_SETTING, workers=GUARD_WORKERS))
        product.steps(ours, 0.2)
        ratios = {}
        for setting in bare.SETTINGS:
            pairs = []
            with bare.chain(running, setting, pool=GUARD_SETTING, workers=GUARD_WORKERS) as made:
                for _ in range(REPEATS):
                    bare.throughput(made, SECONDS)
                    product.steps(ours, SECONDS)
                    pairs.append(ours.subject.last("steps") / made.subject.last("steps"))
            ratios[setting] = statistics.median(pairs)
    return ratios


if __name__ == "__main__":
    sys.exit(main())
