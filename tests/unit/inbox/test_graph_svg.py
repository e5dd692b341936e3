"""The drawing of a run's graph: nothing is missing, nothing overlaps, and the position is said in words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step, take

from signoff.definition.edges import edges, main_line_first
from signoff.definition.graph import End, Goto, Graph
from signoff.store.queries_path import NodeFact
from signoff.store.queries_runs import RunView
from signoff_api.inbox.graph_svg import Drawing, Station, draw
from signoff_api.inbox.run_path import Mark, Path

AT = datetime(2026, 3, 1, tzinfo=UTC)

REFUND = graph(
    step("draft", "ok"),
    gate(
        "ok",
        "pay",
        options=(*STANDARD, "escalate"),
        routes={"approve": Goto(node="pay"), "reject": Goto(node="sorry"), "escalate": End(status="failed")},
        changes_to="draft",
        on_timeout=End(status="canceled"),
    ),
    pay(following="tell"),
    step("tell"),
    step("sorry", "note"),
    step("note"),
)


def run(status: str, node: str | None, **more: Any) -> RunView:
    values: dict[str, Any] = {
        "id": UUID(int=1),
        "workflow": "refund",
        "version": 1,
        "status": status,
        "node": node,
        "input": None,
        "output": None,
        "outcome": None,
        "error": None,
        "labels": {},
        "requester": {"type": "user", "id": "1", "name": "rita"},
        "human_tasks": (),
        "created_at": AT,
        "updated_at": AT,
        "finished_at": None,
    }
    return RunView(**(values | more))


def fact(node: str, kind: str, **more: Any) -> tuple[str, NodeFact]:
    values: dict[str, Any] = {"attempt": None, "outcome": None, "option": None, "decided_by": None}
    values |= {"human_task_id": None, "seq": 2, "at": AT}
    return node, NodeFact(**(values | {"node": node, "type": kind} | more))


def decided(node: str, option: str, outcome: str, by: str = "human") -> tuple[str, NodeFact]:
    return fact(node, "gate.decided", option=option, outcome=outcome, decided_by=by)


DRAFTED = fact("draft", "step.completed", attempt=1)


def said(made: Graph, of: RunView, *facts: tuple[str, NodeFact]) -> dict[str, tuple[Mark, str]]:
    path = Path(made, of, dict(facts))
    return {name: (stop.mark, stop.word) for name, stop in path.stops.items()}


def test_a_run_that_waits_shows_what_is_done_where_it_waits_and_what_is_ahead() -> None:
    found = said(REFUND, run("waiting", "ok"), DRAFTED, fact("ok", "gate.opened"))
    assert found["draft"] == (Mark.DONE, "done")
    assert found["ok"] == (Mark.CURRENT, "waits for a person")
    assert {found[name][0] for name in ("pay", "tell", "sorry", "note")} == {Mark.AHEAD}


def test_a_branch_that_was_not_taken_is_skipped_and_not_ahead() -> None:
    found = said(REFUND, run("queued", "pay"), DRAFTED, decided("ok", "approve", "approved"))
    assert found["ok"] == (Mark.DONE, "approved")
    assert found["pay"] == (Mark.CURRENT, "queued, a worker takes it next")
    assert found["tell"][0] is Mark.AHEAD
    assert found["sorry"] == found["note"] == (Mark.SKIPPED, "not on the way")


def test_a_gate_that_policy_passed_says_so() -> None:
    found = said(REFUND, run("completed", "tell"), DRAFTED, fact("ok", "gate.passed"))
    assert found["ok"] == (Mark.PASSED, "passed by policy")
    assert found["sorry"] == (Mark.SKIPPED, "not taken")


@pytest.mark.parametrize(
    ("status", "node", "facts", "expected"),
    [
        ("failed", "draft", [fact("draft", "step.failed", attempt=2)], (Mark.FAILED, "failed here")),
        ("canceled", "draft", [], (Mark.STOPPED, "canceled here")),
        ("retrying", "draft", [fact("draft", "step.retry_scheduled")], (Mark.CURRENT, "failed, is tried again")),
        ("running", "draft", [], (Mark.CURRENT, "running now")),
        ("failed", "ok", [decided("ok", "escalate", "escalate")], (Mark.FAILED, "escalate, which failed the run")),
        (
            "canceled",
            "ok",
            [fact("ok", "gate.decided", outcome="timed_out", decided_by="timeout")],
            (Mark.STOPPED, "timed out, which canceled the run"),
        ),
        ("queued", "sorry", [decided("ok", "reject", "rejected")], (Mark.CURRENT, "queued, a worker takes it next")),
    ],
)
def test_where_a_run_stands_is_said_in_words(
    status: str, node: str, facts: list[tuple[str, NodeFact]], expected: tuple[Mark, str]
) -> None:
    assert said(REFUND, run(status, node), *facts)[node] == expected


@pytest.mark.parametrize(
    ("outcome", "by", "expected"),
    [
        ("rejected", "human", (Mark.REFUSED, "rejected")),
        ("changes_requested", "human", (Mark.RETURNED, "changes requested")),
        ("approved", "timeout", (Mark.DONE, "approved, as nobody answered in time")),
        ("timed_out", "timeout", (Mark.REFUSED, "timed out")),
        ("escalate", "human", (Mark.DONE, "escalate")),
    ],
)
def test_a_decided_gate_says_its_outcome(outcome: str, by: str, expected: tuple[Mark, str]) -> None:
    found = said(REFUND, run("running", "note"), DRAFTED, decided("ok", "x", outcome, by))
    assert found["ok"] == expected


def test_a_node_that_the_run_was_set_back_behind_is_ahead_again() -> None:
    found = said(REFUND, run("queued", "ok"), DRAFTED, fact("pay", "step.failed"))
    assert found["pay"] == (Mark.AHEAD, "begun before, ahead")


def test_a_late_review_is_open_beside_a_run_that_has_gone_on() -> None:
    made = graph(step("draft", "look"), gate("look", "send", mode="after"), step("send"))
    found = said(made, run("completed", "send"), DRAFTED, fact("look", "gate.opened"))
    assert found["look"] == (Mark.BESIDE, "waits for a person")
    found = said(made, run("canceled", "send"), DRAFTED, fact("look", "gate.opened"))
    assert found["look"] == (Mark.STOPPED, "closed undecided")


def test_a_branch_that_a_late_review_started_is_said_to_be_in_a_run_of_its_own() -> None:
    look = gate("look", "send", mode="after", routes={"reject": Goto(node="undo")})
    made = graph(step("draft", "look"), look, step("send"), step("undo", "tell"), step("tell"))
    rejected = said(made, run("completed", "send"), DRAFTED, decided("look", "reject", "rejected"))
    assert rejected["undo"] == rejected["tell"] == (Mark.SKIPPED, "in a run of its own")
    approved = said(made, run("completed", "send"), DRAFTED, decided("look", "approve", "approved"))
    assert approved["undo"] == approved["tell"] == (Mark.SKIPPED, "not taken")


def walked(of: RunView, *facts: tuple[str, NodeFact]) -> set[tuple[str, str]]:
    path = Path(REFUND, of, dict(facts))
    return {(edge.source, edge.target) for edge in edges(REFUND) if path.walked(edge)}


def test_only_the_ways_that_were_gone_are_drawn_as_gone() -> None:
    approved = (DRAFTED, decided("ok", "approve", "approved"), fact("pay", "step.completed"))
    assert walked(run("queued", "tell"), *approved) == {("draft", "ok"), ("ok", "pay"), ("pay", "tell")}
    ended = walked(run("completed", "tell"), *approved, fact("tell", "step.completed"))
    assert ("tell", "completed") in ended
    assert walked(run("queued", "sorry"), DRAFTED, decided("ok", "reject", "rejected")) == {
        ("draft", "ok"),
        ("ok", "sorry"),
    }
    timed_out = fact("ok", "gate.decided", outcome="timed_out", decided_by="timeout")
    assert walked(run("canceled", "ok"), DRAFTED, timed_out) == {("draft", "ok"), ("ok", "canceled")}
    back = walked(run("queued", "draft"), DRAFTED, decided("ok", "request_changes", "changes_requested"))
    assert ("ok", "draft") in back
    assert walked(run("waiting", "ok"), DRAFTED, fact("ok", "gate.opened")) == {("draft", "ok")}


def test_a_way_that_could_have_been_gone_is_not_drawn_as_gone() -> None:
    passed = walked(run("completed", "tell"), DRAFTED, fact("ok", "gate.passed"), fact("pay", "step.completed"))
    assert ("ok", "pay") in passed
    assert ("ok", "draft") not in passed
    sorry = (decided("ok", "reject", "rejected"), fact("sorry", "step.completed"), fact("note", "step.completed"))
    ended = walked(run("completed", "note"), DRAFTED, fact("tell", "step.completed"), *sorry)
    assert ("note", "completed") in ended
    assert ("tell", "completed") not in ended, "it came by there before it was set back"


LONG = graph(*(step(f"s{at}", f"s{at + 1}" if at < 59 else None) for at in range(60)))
REJOINS = graph(
    step("a", "g1"),
    gate("g1", "b", routes={"reject": Goto(node="side")}),
    step("b", "g2"),
    gate("g2", "c", routes={"reject": Goto(node="deep")}, on_timeout=take("approve")),
    step("c"),
    step("side", "c"),
    step("deep", "deeper"),
    gate("deeper", "c", routes={"reject": Goto(node="deepest")}),
    step("deepest"),
)
ALONE = graph(gate("ok", options=STANDARD, changes_to="ok"), step("orphan"))
BACK_AND_FORTH = graph(
    step("a", "g"),
    gate("g", "b", routes={"reject": Goto(node="a")}, on_timeout=Goto(node="d")),
    step("b", "h"),
    gate("h", "d", routes={"reject": Goto(node="g")}),
    step("d"),
)
GRAPHS = {"back and forth": BACK_AND_FORTH, "refund": REFUND, "long": LONG, "rejoins": REJOINS, "alone": ALONE}


def drawn(made: Graph) -> Drawing:
    return draw(Path(made, run("queued", made.start), {}))


@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_is_drawn_once_and_told_once(name: str) -> None:
    made, found = GRAPHS[name], drawn(GRAPHS[name])
    assert sorted(station.stop.name for station in found.stations) == sorted(made.nodes)
    assert [told.stop.name for told in found.told] == [station.stop.name for station in found.stations]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_way_is_drawn_and_told(name: str) -> None:
    made, found = GRAPHS[name], drawn(GRAPHS[name])
    told = {(item.stop.name, way) for item in found.told for way in item.ways}
    assert told == {
        (edge.source, f"{edge.label or 'then'}: {f'the run is {edge.target}' if edge.ends else edge.target}")
        for edge in edges(made)
    }
    labels = " ".join([*(caption.text for caption in found.captions), *(end.said for end in found.termini)])
    assert all(edge.label in labels for edge in edges(made))
    pairs = {(edge.source, edge.target) for edge in edges(made)}
    assert len(found.lines) >= len(pairs) - sum(line.back for line in found.lines)


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_lies_on_anything_else(name: str) -> None:
    found = drawn(GRAPHS[name])
    rows = sorted(
        [
            *((station.y - 14, station.y + 19) for station in found.stations),
            *((end.y - 8, end.y + 8) for end in found.termini),
            *((caption.y - 9, caption.y + 3) for caption in found.captions),
        ]
    )
    assert all(above[1] <= below[0] for above, below in pairwise(rows)), rows
    assert rows[0][0] >= 0
    assert rows[-1][1] <= found.height
    assert all(0 < thing.x < thing.text_x < found.width for thing in [*found.stations, *found.termini])


@pytest.mark.parametrize("name", GRAPHS)
def test_no_line_runs_through_a_text(name: str) -> None:
    found = drawn(GRAPHS[name])
    texts = [(thing.text_x, thing.y) for thing in [*found.stations, *found.termini]]
    texts += [(caption.x, caption.y) for caption in found.captions]
    for line in found.lines:
        down = re.match(r"M([\d.]+) ([\d.]+)V([\d.]+)", line.d)
        if down is not None:
            x, top, bottom = (float(part) for part in down.groups())
            assert not [text for text in texts if top < text[1] < bottom and text[0] < x + 10], line.d
            # Where a branch comes back to a line it arrives from the right, where the words are.
            *_, to_x, to_y = (float(part) for part in re.findall(r"[\d.]+", line.d))
            assert not [text for text in texts if "C" in line.d and text[1] == to_y and to_x < text[0] < x], line.d


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_is_drawn_outside(name: str) -> None:
    found = drawn(GRAPHS[name])
    for line in [*found.lines, *found.arrows]:
        numbers = [float(part) for part in re.findall(r"-?[\d.]+", line.d)]
        assert min(numbers) >= 0, line.d
        assert max(numbers) <= max(found.width, found.height), line.d


def test_ways_back_and_forth_have_a_line_and_an_arrow_each() -> None:
    found = drawn(BACK_AND_FORTH)
    assert len(found.arrows) == 3
    sides = {re.search(r"Q([\d.]+)", line.d)[1] for line in found.lines if line.back}  # type: ignore[index]
    assert len(sides) == 3, "no two of them on each other"
    assert {"↩ reject: a", "→ no answer: d", "↩ reject: g"} <= {caption.text for caption in found.captions}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_main_line_is_straight_and_branches_are_beside_it(name: str) -> None:
    made, found = GRAPHS[name], drawn(GRAPHS[name])
    places = {station.stop.name: station for station in found.stations}
    first, *branches = main_line_first(made)
    assert len({places[node].x for node in first}) == 1
    main = places[first[0]].x
    assert all(_beside(places, branch, main) for branch in branches if _led_to(made, branch[0]))


def _beside(places: dict[str, Station], branch: list[str], main: float) -> bool:
    return len({places[node].x for node in branch}) == 1 and places[branch[0]].x > main


def _led_to(made: Graph, node: str) -> bool:
    return any(edge.target == node for edge in edges(made))


def test_it_fits_a_phone() -> None:
    assert drawn(REFUND).width <= 330
    assert drawn(LONG).width <= 330


def test_a_long_name_is_cut_in_the_drawing_and_whole_in_the_list() -> None:
    name = "n" * 128
    found = drawn(graph(step(name)))
    assert found.stations[0].name == "n" * 33 + "…"
    assert found.told[0].stop.name == name


def test_an_irreversible_step_and_a_late_gate_say_so() -> None:
    made = graph(gate("look", "pay", mode="after"), pay())
    path = Path(made, run("queued", "pay"), {})
    assert path.stops["pay"].notes == ("irreversible",)
    assert path.stops["look"].notes == ("reviewed beside the run",)
