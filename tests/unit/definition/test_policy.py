from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.definition import refund_example as example

from signoff import Gate, Workflow
from signoff.canonical import Json, canonical
from signoff.definition.document import compile_document
from signoff.definition.graph import Graph, Rung
from signoff.definition.policy import GateRules, Verdict, rules_for

RUN = uuid.UUID("0198f2b0-0000-7000-8000-000000000001")
INPUT = {
    "type": "object",
    "properties": {
        "amount": {"type": "string", "format": "decimal"},
        "score": {"type": "number"},
        "team": {"type": "string"},
        "teams": {"type": "array", "items": {"type": "string"}},
        "hours": {"type": "integer"},
        "owner": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*INPUT["properties"], "other"]), inner, max_size=6)
    ),
    max_leaves=15,
)


def rules(schema: Any = INPUT, **keys: Any) -> GateRules:
    workflow = Workflow("w", [Gate("check", **({"reviewers": "leads"} | keys))], input=schema)
    return rules_for(workflow.graph, "check")


def refund() -> GateRules:
    return rules_for(example.refund.graph, "approve-refund")


def test_a_gate_without_a_condition_reviews_every_run() -> None:
    assert rules().review({}, RUN) == Verdict(review=True, rule="always", values={}, why="every run is reviewed here")


def test_the_why_names_only_what_holds_with_its_values() -> None:
    found = refund().review(example.PAYLOAD, RUN)
    assert found.review
    assert found.why == "amount > 100.0 (amount is 640.00)"
    assert found.values == {"amount": "640.00", "confidence": 0.9}
    assert found.error is None


def test_every_disjunct_that_holds_is_named() -> None:
    found = refund().review(example.PAYLOAD | {"confidence": 0.5}, RUN)
    assert found.why == "amount > 100.0 (amount is 640.00); confidence < 0.85 (confidence is 0.5)"


def test_a_condition_that_does_not_hold_waves_the_run_through() -> None:
    found = refund().review(example.PAYLOAD | {"amount": "99.99"}, RUN)
    assert not found.review
    assert found.rule == "amount > 100.0 || confidence < 0.85"
    assert found.values == {"amount": "99.99", "confidence": 0.9}
    assert "does not hold" in found.why


@pytest.mark.parametrize(
    "payload",
    [{}, [], None, {"amount": "5"}, {"amount": "x", "confidence": 0.9}, {"amount": "5", "confidence": float("nan")}],
)
def test_uncertainty_goes_to_a_person(payload: Json) -> None:
    found = refund().review(payload, RUN)
    assert found.review
    assert found.error
    assert found.why == f"the condition could not be evaluated ({found.error}), so a person decides"


def test_a_missing_field_is_named() -> None:
    why = "the condition could not be evaluated (missing field 'confidence'), so a person decides"
    assert refund().review({"amount": "5"}, RUN).why == why


def test_the_sample_takes_its_share_and_the_same_runs_every_time() -> None:
    gate = rules(review_if="score > 0.5", sample=0.1)
    runs = [uuid.UUID(int=n) for n in range(5_000)]
    taken = [run for run in runs if gate.review({"score": 0.1}, run).review]
    assert 400 < len(taken) < 600
    assert [run for run in runs if gate.samples(run)] == taken
    found = gate.review({"score": 0.1}, taken[0])
    assert found.sampled
    assert found.why == "sampled: 10 % of what the condition would let pass is reviewed"
    assert not gate.review({"score": 0.9}, taken[0]).sampled


def test_two_gates_sample_different_runs() -> None:
    graph = Workflow(
        "w",
        [
            Gate("one", reviewers="a", review_if="false", sample=0.5),
            Gate("two", reviewers="a", review_if="false", sample=0.5),
        ],
    ).graph
    runs = [uuid.UUID(int=n) for n in range(200)]
    one, two = rules_for(graph, "one"), rules_for(graph, "two")
    assert [one.samples(run) for run in runs] != [two.samples(run) for run in runs]


def test_a_full_sample_reviews_everything_and_none_nothing() -> None:
    everything, nothing = rules(review_if="false", sample=1.0), rules(review_if="false")
    assert all(everything.samples(uuid.UUID(int=n)) for n in range(200))
    assert not any(nothing.samples(uuid.UUID(int=n)) for n in range(200))


def test_what_is_shown_comes_from_the_payload() -> None:
    gate = refund()
    assert gate.title(example.PAYLOAD) == "Refund 640.00 for A-1"
    assert gate.title({}) == "Refund ⟨amount?⟩ for ⟨order_id?⟩"
    assert gate.title({"amount": "1", "order_id": "a\n b"}) == "Refund 1 for a b"
    assert gate.consequences(example.PAYLOAD)["approve"] == "Pays 640.00 now. This cannot be undone."
    assert gate.recommendation(example.PAYLOAD) == {"value": "We are sorry.", "score": 0.9}
    assert gate.recommendation({}) == {"value": None, "score": None}
    assert rules().recommendation({}) is None
    assert rules(score="owner.name").recommendation({"owner": {"name": "x"}}) == {"value": None, "score": "x"}


@pytest.mark.parametrize(
    ("reviewers", "payload", "expected"),
    [
        (["leads", "user:ana"], {}, (("ana",), ("leads",))),
        ('{amount > 10.0 ? "managers" : "leads"}', {"amount": "11"}, ((), ("managers",))),
        ('{amount > 10.0 ? "managers" : "leads"}', {}, ((), ())),
        ("{teams}", {"teams": ["a", "user:b", "a", "no good"]}, (("b",), ("a",))),
        ("{team}", {"team": "a, b,user:c"}, (("c",), ("a", "b"))),
        ("team-{team}", {"team": "x"}, ((), ("team-x",))),
        ("team-{team}", {}, ((), ())),
        ("leads,{team}", {"team": "x"}, ((), ("leads", "x"))),
        ("leads,{team}", {}, ((), ())),
        (["leads", "{team}"], {}, ((), ("leads",))),
        ("user:{owner.name}", {"owner": {"name": "uma"}}, (("uma",), ())),
        ("user:{owner.name}", {"owner": {"name": ""}}, ((), ())),
    ],
)
def test_reviewers_are_people_and_groups(reviewers: Any, payload: Json, expected: Any) -> None:
    assert rules(reviewers=reviewers).reviewers(payload) == expected


def test_a_rung_may_name_people_by_template() -> None:
    gate = rules()
    assert gate.rung_reviewers(Rung(after_ms=1, action="escalate", to=("x", "user:y"))) == (("y",), ("x",))
    assert gate.rung_reviewers(Rung(after_ms=1, action="escalate", to=("{team}",)), {"team": "z"}) == ((), ("z",))
    assert gate.rung_reviewers(Rung(after_ms=1, action="escalate", to=("{team}",))) == ((), ())


@pytest.mark.parametrize(
    ("due", "payload", "expected"),
    [
        (None, {}, None),
        ("4h", {}, 14_400_000),
        ("{hours}h", {"hours": 2}, 7_200_000),
        ("{hours}h", {}, None),
        ("{hours}h", {"hours": -2}, None),
        ("{team}", {"team": "soon"}, None),
        ("{amount > 10.0 ? '1h' : '2h'}", {"amount": "11"}, 3_600_000),
        ("{duration('90s')}", {}, 90_000),
        ("{duration('-90s')}", {}, None),
    ],
)
def test_a_due_time_is_a_duration_or_none(due: str | None, payload: Json, expected: int | None) -> None:
    assert rules(due=due).due_ms(payload) == expected


@pytest.mark.parametrize(
    ("assign", "payload", "expected"),
    [
        (None, {}, None),
        ("user:ana", {}, "ana"),
        ("ana", {}, "ana"),
        ("round_robin", {}, None),
        ("user:{owner.name}", {"owner": {"name": "sam"}}, "sam"),
        ("user:{owner.name}", {}, None),
        ("{teams}", {"teams": ["a", "b"]}, None),
    ],
)
def test_an_assignee_is_one_person(assign: str | None, payload: Json, expected: str | None) -> None:
    assert rules(assign=assign).assignee(payload) == expected


def test_values_in_the_log_are_bounded_and_canonical() -> None:
    gate = rules(schema=None, review_if="a == b || c == d || size(e) > 3")
    payload = {"a": "x" * 9_999, "b": list(range(999)), "c": {"k": "v" * 999}, "d": float("nan"), "e": [1]}
    found = gate.review(payload, RUN)
    assert len(canonical(found.to_json())) < 2_500
    assert found.values["b"] == "a list of 999"
    assert found.values["c"] == "an object of 1 fields"
    assert found.values["e"] == [1]


def test_rules_are_compiled_once_for_a_version() -> None:
    graph = Workflow("w", [Gate("check", reviewers="a")]).graph
    again = Graph.from_json(orjson.loads(orjson.dumps(graph.to_json())))
    assert rules_for(graph, "check") is rules_for(again, "check")
    with pytest.raises(KeyError):
        rules_for(graph, "nope")


def test_a_stored_graph_whose_condition_no_longer_compiles_asks_a_person() -> None:
    stored = Workflow("w", [Gate("check", reviewers="a", review_if="score > 1.0")], input=INPUT).graph.to_json()
    stored["nodes"]["check"]["review_if"] = "score >"
    stored["nodes"]["check"]["title"] = "{"
    stored["nodes"]["check"]["reviewers"] = ["{", "leads"]
    gate = rules_for(Graph.from_json(stored), "check")
    found = gate.review({"score": 0}, RUN)
    assert found.review
    assert found.error
    assert gate.title({}) == "{"
    assert gate.reviewers({}) == ((), ("leads",))


EVERYTHING = rules(
    reviewers=["{team}", "{teams}", "user:{owner.name}", '{amount > 1.0 ? "a" : "b"}'],
    title="{amount} {owner.name} {teams}",
    review_if="amount > 1.0 || score < 0.5 || teams.exists(t, t == team) || owner.name == 'x'",
    sample=0.5,
    recommend="owner.name",
    score="score",
    consequences={"approve": "{payload}"},
    due="{hours}h",
    assign="{team}",
)
DYNAMIC = rules_for(
    compile_document(
        {
            "workflow": "w",
            "steps": [
                {
                    "gate": "check",
                    "reviewers": ["{team}", "{teams}"],
                    "title": "{owner}",
                    "review_if": "amount > 1 || teams.all(t, t > 1) || owner.name == other",
                    "recommend": "owner.name",
                    "due": "{hours}",
                    "assign": "{owner.name}",
                }
            ],
        }
    ).graph,
    "check",
)


@settings(max_examples=100)
@given(JSON, st.uuids())
def test_no_payload_makes_a_rule_raise(payload: Json, run: uuid.UUID) -> None:
    for gate in (EVERYTHING, DYNAMIC):
        verdict = gate.review(payload, run)
        canonical(verdict.to_json())
        assert verdict.review or verdict.error is None
        assert len(gate.title(payload)) <= 1_000
        gate.consequences(payload)
        gate.recommendation(payload)
        users, groups = gate.reviewers(payload)
        assert all(isinstance(name, str) and name for name in (*users, *groups))
        gate.rung_reviewers(Rung(after_ms=1, action="escalate", to=("{team}",)), payload)
        due = gate.due_ms(payload)
        assert due is None or due > 0
        gate.assignee(payload)
