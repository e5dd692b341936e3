"""Every state that small runs can get into, and what must hold in each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.transitions.exploration import Scene, explore
from tests.unit.transitions.scenes import SCENES

NAMES = [scene.name.replace(" ", "-") for scene in SCENES]


@pytest.mark.parametrize("scene", SCENES, ids=NAMES)
def test_nothing_that_can_happen_breaks_a_promise(scene: Scene) -> None:
    found = explore(scene)
    assert found.states > 10
    assert found.refused > found.states / 3, "most of what may be tried is refused"
    assert found.statuses & {"completed", "failed", "canceled"}


@pytest.mark.parametrize("scene", SCENES, ids=NAMES)
def test_every_event_has_an_answer_in_every_state(scene: Scene) -> None:
    found = explore(replace(scene, depth=3), total=60)
    assert found.applied > 40 * min(found.states, 60)
