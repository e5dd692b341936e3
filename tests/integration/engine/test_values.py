"""What is stored of inputs and results: exactly what came, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.integration.engine.flows import BESIDE, CHAIN, REFUND
from tests.integration.engine.world import ANA, REQUESTER, World
from tests.unit.transitions.graphs import graph, step

from signoff.engine import Failure
from signoff.errors import InvalidInput, StepError, TooLarge
from signoff.model import RunStatus

# Limits -----------------------------------------------------------------------------------------------------------


def test_input_that_is_too_large_or_no_exact_json_is_refused(world: World) -> None:
    with pytest.raises(TooLarge) as caught:
        world.start(CHAIN, {"text": "x" * 262_144})
    assert "reference" in str(caught.value.fix)
    for value in ({"n": float("nan")}, {"n": 2**60}, {"t": "\ud800"}, {"o": object()}):
        with pytest.raises(InvalidInput):
            world.engine.start(workflow="chain", input=value, requester=REQUESTER)
    for labels in ({"": "x"}, {"k": "\0"}, {"k": "\ud800"}, {"k": "x" * 300}, {str(n): "" for n in range(40)}):
        with pytest.raises(InvalidInput):
            world.engine.start(workflow="chain", input={}, requester=REQUESTER, labels=labels)


def test_input_that_breaks_the_schema_names_each_field(world: World) -> None:
    typed = replace(
        graph(step("one"), name="typed"),
        input_schema={"type": "object", "properties": {"n": {"type": "integer"}, "t": {"type": "string"}},
                      "required": ["n", "t"]},
    )  # fmt: skip
    world.engine.register(typed, by=ANA.actor)
    with pytest.raises(InvalidInput) as caught:
        world.engine.start(workflow="typed", input={"n": "one"}, requester=REQUESTER)
    assert {error.path for error in caught.value.errors} == {"/input/n", "/input/t"}


@pytest.mark.parametrize("output", [{"t": "x" * 262_144}, {"n": float("inf")}, {"n": 2**53}, {"t": "\ud800"}])
def test_a_result_that_can_not_be_kept_is_the_steps_failure(world: World, output: Any) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    with pytest.raises(StepError) as caught:
        world.engine.complete(claimed, output, worker="w", go_on=True)
    assert caught.value.code == "output_invalid"
    failure = Failure(code=caught.value.code, message=caught.value.detail, retryable=False)
    assert world.engine.fail(claimed, failure) is RunStatus.FAILED
    world.check(run_id)


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -0.0, 1.5, 1e17, 1e300, 2.0**60, -(2**53) + 1, "", "é\u202e", [], {}, [[{"": [None]}]],
     {"é": 1, "a": {"z": 1, "b": 2.0}}],
)  # fmt: skip
def test_every_json_value_is_kept_and_proven_exactly(world: World, value: Any) -> None:
    run_id = world.start(CHAIN, value)
    world.work(run_id, value)
    world.work(run_id, value)
    claimed = world.claim(run_id)
    assert claimed.state.value == value
    assert world.engine.arguments(claimed, {"input", "one"}) == {"input": value, "one": value}
    world.engine.complete(claimed, value, worker="w", go_on=False)
    world.check(run_id)


def test_a_value_goes_through_a_gate_and_a_branch_exactly(world: World) -> None:
    value = {"big": 1e17, "tiny": 1e-7, "zero": -0.0}
    run_id = world.start(BESIDE, value)
    world.work(run_id, value)
    world.publisher.taken()
    world.decide(run_id, ANA, "reject", note="no")
    child_id = world.publisher.taken()[-1][0]
    world.check(child_id)
    assert world.engine.arguments(world.claim(child_id), {"input", "draft"}) == {"input": value, "draft": value}


def test_a_message_of_half_characters_is_a_failure_like_any_other(world: World) -> None:
    run_id = world.start(CHAIN, {})
    claimed = world.claim(run_id)
    world.engine.fail(claimed, Failure(code="x", message="no file \udcff\0", trace="\udcff", retryable=False))
    world.check(run_id)


def test_a_value_with_a_nul_waits_at_a_gate_and_goes_on(world: World) -> None:
    value = {"amount": 640, "said": "x\0y"}
    run_id = world.start(REFUND, {})
    world.work(run_id, value)
    assert world.task(run_id).payload == value
    world.decide(run_id, ANA, "approve")
    world.check(run_id)
    assert world.claim(run_id).state.value == value
