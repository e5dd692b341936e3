"""The rules of limits of authority, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from signoff import Gate, Workflow, testing
from signoff.authority import MAX_LIMIT, Limit, OverLimit, admitting, check_limit, expect_within, held_by
from signoff.definition.document import compile_document
from signoff.definition.graph import Goto, Graph, goes_on
from signoff.errors import InvalidInput
from signoff.ids import new_id
from signoff.model import SYSTEM

INPUT = {"type": "object", "properties": {"amount": {"type": "string", "format": "decimal"}}, "required": ["amount"]}


def _flow(**options: Any) -> Workflow:
    values: dict[str, Any] = {"reviewers": "leads", "authority": True, "above": "chiefs"}
    return Workflow("payout", [Gate("ok", **(values | options))], input=INPUT)


def _limit(text: str, subject: str = "user:ana", workflow: str = "*", gate: str = "*", **more: Any) -> Limit:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    return Limit(
        id=new_id(),
        subject=subject,
        workflow=workflow,
        gate=gate,
        expression=text,
        set_by=SYSTEM.to_json(),
        set_at=at,
        **more,
    )


GRAPH = _flow().graph
GATE = GRAPH.gate("ok")


@pytest.mark.parametrize(
    ("text", "payload", "admits"),
    [
        ("amount <= 500.0", {"amount": "500.00"}, True),
        ("amount <= 500.0", {"amount": "500.01"}, False),
        ("amount <= 500.0", {"amount": "NaN"}, False),
        ("!(amount > 500.0)", {"amount": "NaN"}, False),
        ("amount <= 500.0", {"amount": "1e999"}, False),
        ("amount <= 500.0", {}, False),
        ("amount <= 500.0", None, False),
        ("amount <= 500.0", [1], False),
        ("amount <= limit", {"amount": "1"}, False),
        ("amount <= 500", {"amount": "1"}, False),
        ("amount / (amount - amount) > 0.0", {"amount": "1"}, False),
        ("amount", {"amount": "1"}, False),
        ("true", {"amount": "1"}, True),
        ("no condition at all", {"amount": "1"}, False),
    ],
)
def test_a_limit_admits_only_what_it_surely_holds_for(text: str, payload: Any, admits: bool) -> None:
    assert bool(admitting([_limit(text)], GRAPH, GATE, payload)) is admits


@pytest.mark.parametrize(
    ("limit", "admits"),
    [
        (_limit("true", workflow="payout", gate="ok"), True),
        (_limit("true", workflow="other"), False),
        (_limit("true", gate="other"), False),
        (_limit("true", ended_at=datetime(2030, 1, 2, tzinfo=UTC)), False),
    ],
)
def test_a_limit_holds_where_it_says_and_while_it_does(limit: Limit, admits: bool) -> None:
    assert bool(admitting([limit], GRAPH, GATE, {"amount": "1"})) is admits


def test_one_limit_that_admits_is_enough_and_it_is_the_one_that_is_named() -> None:
    low, high = _limit("amount <= 1.0"), _limit("amount <= 10.0")
    assert expect_within(GRAPH, GATE, {"amount": "5"}, [low, high]) is high


def test_limits_apply_by_name_and_by_group_and_not_by_a_name_that_is_a_group() -> None:
    own, group, other = _limit("true"), _limit("true", "group:leads"), _limit("true", "group:ana")
    assert held_by([own, group, other], "ana", {"leads"}) == (own, group)


@pytest.mark.parametrize("text", ["", "amount <=", "amount + 1.0", "x" * (MAX_LIMIT + 1), "missing > 1.0"])
def test_what_is_no_condition_over_the_payload_is_no_limit(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_limit(text, [GATE.payload_schema])
    assert [error.path for error in refused.value.errors] == ["/limit"]


def test_approving_and_what_goes_on_like_it_take_authority() -> None:
    gate = Workflow(
        "w",
        [
            Gate(
                "ok",
                reviewers="leads",
                options=["approve", "partly", "stop", "reject"],
                on={"partly": "continue", "stop": "cancel"},
            ),
            Gate("then", reviewers="leads"),
        ],
    ).graph.gate("ok")
    assert [option for option in gate.options if goes_on(gate, option)] == ["approve", "partly"]
    assert goes_on(replace(gate, routes={"approve": Goto(node="elsewhere")}), "approve"), "wherever it leads"


def test_yaml_and_python_say_the_same_and_other_gates_keep_their_hash() -> None:
    keys = {"gate": "ok", "reviewers": "leads", "authority": True, "above": ["chiefs", "user:kim"]}
    document = {"workflow": "payout", "input": INPUT, "steps": [keys]}
    assert compile_document(document).graph == _flow(above=["chiefs", "user:kim"]).graph
    assert Graph.from_json(GRAPH.to_json()) == GRAPH
    plain = Workflow("plain", [Gate("ok", reviewers="leads")]).graph
    assert "authority" not in plain.to_json()["nodes"]["ok"]
    assert "above" not in plain.to_json()["nodes"]["ok"]


def test_the_harness_holds_to_limits_and_asks_those_above() -> None:
    people = {"ana": ["leads"], "kim": ["chiefs"]}
    limits = {"group:leads": "amount <= 500.0", "user:kim": "amount <= 5000.0"}
    small = testing.run(_flow(), {"amount": "400"}, people=people, limits=limits)
    assert small.task.candidates.groups == ("leads",)
    assert small.decide("approve", by="ana").outcome == "approved"
    large = testing.run(_flow(), {"amount": "900"}, people=people, limits=limits)
    assert large.task.candidates.groups == ("leads", "chiefs")
    with pytest.raises(OverLimit):
        large.decide("approve", by="ana")
    assert large.decide("approve", by="kim").check().outcome == "approved"


def test_the_harness_without_people_takes_groups_for_whole() -> None:
    run = testing.run(_flow(), {"amount": "900"}, limits={"group:leads": "amount <= 500.0", "group:chiefs": "true"})
    assert run.task.candidates.groups == ("leads", "chiefs")
    assert run.decide("approve").outcome == "approved"


def test_being_put_before_those_above_takes_no_rung_of_the_ladder() -> None:
    flow = _flow(due="8h", remind=["1h"], escalate=[("2h", "board")], on_timeout="reject")
    run = testing.run(flow, {"amount": "1"})
    assert [str(event.type) for event in run.events][-1] == "gate.escalated"
    run.skip("3h")
    assert run.task.candidates.groups == ("leads", "chiefs", "board")
    assert run.skip("6h").outcome == "rejected"
