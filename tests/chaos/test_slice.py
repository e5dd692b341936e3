"""A slice of the fault suite: every mechanism once, on one set of processes. `make chaos` has the rest."""

from __future__ import annotations

import pytest

from tests.chaos.registry import Tier, play, scenarios, stage
from tests.chaos.table import table

pytestmark = pytest.mark.xdist_group("chaos")

SEED = 5


def test_nothing_is_lost_or_doubled_in_a_slice_of_every_promise() -> None:
    outcomes = []
    with stage(share=True) as on:
        for one in scenarios(tier=Tier.SLICE):
            outcomes.append(play(one, on, seed=SEED, tier=Tier.SLICE, say=print))
    assert all(outcome.ok for outcome in outcomes), f"seed {SEED}\n{table(outcomes)}"
