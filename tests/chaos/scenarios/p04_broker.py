"""The broker is disposable: whatever it loses is sent again, and whoever waits for it goes on waiting."""

from __future__ import annotations

from tests.chaos.plant import QUICK, USUAL
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.storm import storm
from tests.chaos.workload import APPROVED

WIPES = ("wipe_broker", "lose_broker", "wipe_broker", "kill_broker")
OTHERS = {
    Tier.SLICE: ("reset_broker",),
    Tier.CI: ("reset_broker", "freeze_broker:5", "silence_broker:5"),
    Tier.LONG: ("reset_broker", "freeze_broker:30", "silence_broker:30", "slow_broker:5"),
}
RECOVERED_SECONDS = 60.0


@scenario(
    promise=4,
    title="the broker is disposable",
    sizes={
        Tier.SLICE: Size(tries=20, faults=2),
        Tier.CI: Size(tries=500, faults=12),
        Tier.LONG: Size(tries=5_000, faults=75),
    },
)
def broker(arena: Arena) -> Outcome:
    """Two wipes, then another fault, by turns. At the tiers `ci` and `long` with the intervals of an install that sets
    none: the promise says how soon.
    """
    plant = arena.plant(QUICK, lose_every=LOSE_EVERY) if arena.tier is Tier.SLICE else arena.plant(USUAL)
    faults, load = arena.faults(plant), arena.load(plant)
    others = OTHERS[arena.tier]
    kinds = []
    for at in range(arena.size.faults):
        # Two of three are wipes: 50 of 75 in the long tier.
        kinds.append(others[at // 3 % len(others)] if at % 3 == 2 else WIPES[(at - at // 3) % len(WIPES)])
    with load.running():
        storm(arena, load, faults, kinds, shares=APPROVED)
    recoveries = sorted(load.recoveries)
    problems = []
    if recoveries and (p99 := recoveries[int(len(recoveries) * 0.99)]) > RECOVERED_SECONDS:
        problems.append(f"p99 of the recoveries is {p99:.1f} s")
    # The promise is of p99; one run may take longer, within reason.
    return arena.judged([load], faults, tried=len(load.items), problems=problems, recover=2 * RECOVERED_SECONDS)
