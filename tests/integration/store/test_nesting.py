"""A value that is taken can be kept, proven and shown, however deep; one that can't is refused when it comes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.engine.flows import BESIDE, CHAIN
from tests.integration.engine.world import ANA, REQUESTER, World

from signoff.engine.core import MAX_NESTING, nests_deeper
from signoff.errors import InvalidInput, StepError
from signoff.store.queries_audit import audit_events, audit_head
from signoff.store.versions import VersionCache


def _nested(depth: int, *, by: str = "list") -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value, 2] if by == "list" else {"deeper": value}
    return value


def test_what_nests_too_deep_is_the_steps_failure_or_a_bad_input(world: World) -> None:
    claimed = world.claim(world.start(CHAIN, {}))
    for depth in (MAX_NESTING + 1, 253, 254, 255, 1_000, 100_000):
        for value in (_nested(depth), _nested(depth, by="object")):
            with pytest.raises(StepError) as caught:
                world.engine.complete(claimed, value, worker="w1", go_on=False)
            assert caught.value.code == "output_invalid"
            with pytest.raises(InvalidInput):
                world.engine.start(workflow="chain", input=value, requester=REQUESTER)
    world.engine.complete(claimed, {}, worker="w1", go_on=False)


def test_the_deepest_value_goes_through_a_gate_a_branch_and_the_evidence(world: World) -> None:
    value = [_nested(MAX_NESTING - 1), _nested(MAX_NESTING - 1, by="object")]
    run_id = world.start(BESIDE, value)
    world.work(run_id, value)
    world.work(run_id, value)
    world.decide(run_id, ANA, "reject", task=world.task(run_id))
    found = world.engine.verify()
    assert (found.ok, found.runs) == (True, 2), found.first_bad
    database = world.engine.database
    head = audit_head(database, VersionCache(), run_id)
    assert head.to_json()["run"]["input"] == value
    assert len(list(audit_events(database, head))) == head.seq


def test_levels_are_counted_in_every_branch() -> None:
    assert not nests_deeper(1, 0)
    assert nests_deeper([], 0)
    assert not nests_deeper([1, {"a": 2}], 2)
    assert nests_deeper([1, {"a": 2}, [[]]], 2)
    assert nests_deeper({"a": 1, "b": {"c": []}}, 2)
