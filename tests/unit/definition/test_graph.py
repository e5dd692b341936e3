from __future__ import annotations

import orjson
import pytest
from tests.unit.definition import refund_example as example

from signoff.canonical import canonical
from signoff.definition.graph import End, GateNode, Goto, Graph, StepNode, TakeOption

GRAPH = example.refund.graph


def test_the_stored_form_survives_a_store_that_reorders_keys() -> None:
    stored = orjson.loads(orjson.dumps(GRAPH.to_json(), option=orjson.OPT_SORT_KEYS))
    again = Graph.from_json(stored)
    assert again == GRAPH
    assert again.sha256 == GRAPH.sha256


def test_the_stored_form_survives_its_canonical_bytes() -> None:
    again = Graph.from_json(orjson.loads(canonical(GRAPH.to_json())))
    assert again.sha256 == GRAPH.sha256


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="graph format 2 is not known"):
        Graph.from_json(GRAPH.to_json() | {"format": 2})


def test_an_unknown_node_or_target_is_refused() -> None:
    stored = GRAPH.to_json()
    stored["nodes"]["approve-refund"]["on_timeout"] = {"end": "exploded"}
    with pytest.raises(ValueError, match="unknown target"):
        Graph.from_json(stored)
    stored["nodes"]["approve-refund"] = {"kind": "loop"}
    with pytest.raises(ValueError, match="unknown node kind"):
        Graph.from_json(stored)


def test_nodes_are_found_by_name_and_kind() -> None:
    assert isinstance(GRAPH.step("pay"), StepNode)
    assert isinstance(GRAPH.gate("approve-refund"), GateNode)
    for wrong in (lambda: GRAPH.step("approve-refund"), lambda: GRAPH.gate("pay"), lambda: GRAPH.step("nope")):
        with pytest.raises(KeyError):
            wrong()


def test_a_step_of_unknown_parameters_may_take_any() -> None:
    assert GRAPH.step("pay").may_take("idempotency_key")
    assert not GRAPH.step("pay").may_take("feedback")


def test_targets_are_values() -> None:
    assert Goto(node="a") == Goto(node="a")
    assert len({End(status="failed"), End(status="failed"), TakeOption(option="x")}) == 2
