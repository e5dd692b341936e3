"""The timeline: every kind of event is a sentence, edits say what they changed, what is withheld is not told."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from signoff.model import EventType
from signoff.store.blindness import Withheld
from signoff.store.queries_runs import EventView
from signoff_api.inbox.timeline import MAX_CHANGES, Change, Entry, brief, entries

TASK = UUID(int=7)
OTHER = UUID(int=9)
AT = datetime(2026, 3, 1, tzinfo=UTC)


def event(kind: str, *, who: str = "ana", seq: int = 2, **data: Any) -> EventView:
    actor = {"type": "user", "id": "1", "name": who}
    return EventView(seq=seq, type=kind, at=AT, actor=actor, data=data, prev_hash="0" * 64, hash="1" * 64)


def shown(payload: Any, revision: int = 1) -> Any:
    """A human task as far as the timeline looks at it."""
    return SimpleNamespace(row=SimpleNamespace(id=TASK, revision=revision, payload=payload))


def told(*page: EventView, payload: Any = None, withheld: Withheld | None = None) -> list[Entry]:
    return list(entries(page, tasks=[shown(payload)] if payload is not None else [], withheld=withheld or Withheld()))


def decision(**data: Any) -> EventView:
    values = {"decision_id": "d1", "human_task_id": str(TASK), "gate": "ok", "revision": 1, "decision": "approve"}
    return event("decision.recorded", **(values | {"note": None, "reason": None, "patch": None} | data))


GATE = {"gate": "ok", "human_task_id": str(TASK)}
KEPT = Withheld(decisions=frozenset({"d1"}))
EDITED = Withheld(decisions=frozenset({"d1"}), editors=frozenset({(str(TASK), "1")}))
ASKED = {"candidates": {"users": ["sam"], "groups": ["leads"]}, "why": "amount > 100.0 (amount is 640.0)"}


@pytest.mark.parametrize(
    ("said", "what", "aside"),
    [
        (event("run.created", who="rita", workflow="refund", version=3), "rita started refund, version 3", ""),
        (
            event("run.created", workflow="refund", version=3, entry="undo", parent={"run_id": str(OTHER)}),
            "Started at undo, after a late review of another run",
            "",
        ),
        (event("step.completed", step="draft", attempt=1), "draft is done", ""),
        (event("step.completed", step="draft", attempt=2), "draft is done", "attempt 2"),
        (event("step.failed", step="pay", attempt=1, code="x", message="no"), "pay failed", "x: no"),
        (
            event("step.retry_scheduled", step="pay", attempt=1, code="x", message="no", delay_ms=60_000),
            "pay failed at attempt 1, again in 1m",
            "x: no",
        ),
        (event("gate.opened", **GATE, **ASKED, mode="before"), "ok asks leads, sam", ASKED["why"]),
        (event("gate.opened", **GATE, **ASKED, mode="after"), "ok asks leads, sam, beside the run", ASKED["why"]),
        (
            event("gate.opened", **GATE, candidates={"users": [], "groups": []}, why="w", alarm="nobody is asked"),
            "ok asks nobody",
            "w · alarm: nobody is asked",
        ),
        (
            event("gate.passed", gate="ok", why="no review needed: amount > 100.0 does not hold (amount is 42.00)"),
            "ok passed by policy",
            "amount > 100.0 does not hold (amount is 42.00)",
        ),
        (event("gate.revised", **GATE, revision=2, why="a new draft"), "ok shows revision 2", "a new draft"),
        (event("human_task.claimed", **GATE, assignee="ana"), "ana claimed ok", ""),
        (event("human_task.released", **GATE, assignee="ana"), "ana released ok", ""),
        (
            event("human_task.released", who="signoff", **GATE, assignee="ana", lapsed=True),
            "ok is free again",
            "the claim of ana has run out",
        ),
        (event("human_task.assigned", **GATE, assignee="sam"), "ana assigned ok to sam", ""),
        (event("human_task.commented", **GATE, text="hm"), "ana commented on ok", ""),
        (decision(), "ana approved ok", ""),
        (decision(decision="reject", reason="wrong_amount"), "ana rejected ok", "wrong amount"),
        (decision(decision="request_changes"), "ana asked for changes at ok", ""),
        (
            decision(decision="escalate", on_behalf_of="bo", bulk_id="b", release_ms=10_000),
            "ana said escalate at ok",
            "on behalf of bo · in bulk · can be taken back for 10s",
        ),
        (decision(decision="withdraw", withdraws="d1"), "ana took the decision on ok back", ""),
        (
            event("gate.decided", **GATE, outcome="approved", decided_by="human", edited=["amount"]),
            "ok is decided: approved",
            "edited: amount",
        ),
        (
            event("gate.decided", **GATE, outcome="rejected", decided_by="timeout"),
            "ok is decided: rejected because nobody answered",
            "",
        ),
        (
            event(
                "gate.decided",
                **GATE,
                outcome="rejected",
                decided_by="human",
                compensation_run_id=str(OTHER),
                compensation_entry="undo",
            ),
            "ok is decided: rejected",
            "a run of its own starts at undo",
        ),
        (event("gate.reminded", **GATE, overdue=False), "ok reminded those it asks", ""),
        (event("gate.reminded", **GATE, overdue=True), "ok is overdue; nobody has decided", ""),
        (
            event("gate.escalated", **GATE, action="reroute", to={"users": [], "groups": ["managers"]}),
            "ok was handed to managers",
            "",
        ),
        (
            event("gate.escalated", **GATE, action="escalate", to={"users": [], "groups": ["managers"]}),
            "ok asks as well managers",
            "",
        ),
        (event("gate.timed_out", **GATE, action="reject"), "ok: nobody decided in time", "what follows: reject"),
        (event("run.completed", outcome="completed"), "The run completed", ""),
        (event("run.completed", outcome="approved"), "The run completed", "approved"),
        (event("run.failed", step="pay", code="x", message="no"), "The run failed at pay", "x: no"),
        (event("run.failed", step=None, code="x", message="no"), "The run failed", "x: no"),
        (event("run.canceled", reason="not needed"), "ana canceled the run", ""),
        (event("run.canceled", who="signoff", reason="gate"), "The run was canceled", ""),
        (event("run.retried", from_step="draft"), "ana let the run go on from draft", ""),
    ],
)
def test_an_event_is_a_sentence(said: EventView, what: str, aside: str) -> None:
    (entry,) = told(said)
    assert (entry.what, entry.aside) == (what, aside)


def test_every_kind_of_event_has_a_sentence_of_its_own() -> None:
    said = [told(event(str(kind), gate="g", step="s", decision="d"))[0] for kind in EventType]
    assert not [entry.what for entry in said if entry.type in entry.what or entry.type.partition(".")[2] == entry.what]


def test_what_people_wrote_is_quoted_and_not_mixed_with_our_words() -> None:
    assert told(decision(note="too much"))[0].quote == "too much"
    assert told(event("human_task.commented", **GATE, text="hm"))[0].quote == "hm"
    assert told(event("run.canceled", reason="no need"))[0].quote == "no need"


def test_an_edit_tells_what_each_field_was_and_is() -> None:
    (entry,) = told(
        decision(patch={"amount": "40.00", "to": {"name": "Bo"}, "memo": None, "new": 1}),
        payload={"amount": "640.00", "to": {"name": "Al", "city": "Rome"}, "memo": "x"},
    )
    assert entry.changes == (
        Change(field="amount", before="640.00", after="40.00"),
        Change(field="to.name", before="Al", after="Bo"),
        Change(field="memo", before="x", after=None),
        Change(field="new", before=None, after="1"),
    )


def test_an_edit_is_told_by_the_revision_it_was_made_on() -> None:
    page = [
        event("run.created", seq=1, workflow="w", version=1, input={"amount": 1}),
        event("step.completed", seq=2, step="draft", output={"amount": 640}),
        event("gate.opened", seq=3, **GATE, **ASKED),
        decision(seq=4, patch={"amount": 40}),
        event("gate.revised", seq=5, **GATE, revision=2, payload={"amount": 40}, why="w"),
        decision(seq=6, revision=2, patch={"amount": 4}),
    ]
    found = list(entries(page, tasks=[shown({"amount": 40}, revision=2)], withheld=Withheld()))
    assert found[3].changes == (Change(field="amount", before="640", after="40"),)
    assert found[5].changes == (Change(field="amount", before="40", after="4"),)


def test_where_it_is_not_known_what_was_there_only_the_new_value_is_told() -> None:
    (entry,) = told(decision(revision=1, patch={"amount": 40}))
    assert entry.changes == (Change(field="amount", before=None, after="40"),)


def test_an_edit_that_changes_nothing_is_none() -> None:
    assert told(decision(patch={"amount": 40}), payload={"amount": 40})[0].changes == ()
    assert told(decision(patch={"amount": "40"}), payload={"amount": 40.5})[0].changes != ()


def test_a_text_and_a_number_that_read_alike_are_told_apart() -> None:
    (entry,) = told(decision(patch={"amount": "40"}), payload={"amount": 40})
    assert entry.changes == (Change(field="amount", before="40", after='"40"'),)


def test_an_edit_of_many_fields_is_cut_and_counted() -> None:
    (entry,) = told(decision(patch={f"f{at}": at for at in range(MAX_CHANGES + 5)}))
    assert (len(entry.changes), entry.more) == (MAX_CHANGES, 5)


def test_a_withheld_decision_says_only_that_it_was_made() -> None:
    said = decision(decision="reject", note="secret", reason="r", patch={"amount": 1}, payload_sha256="s" * 64)
    (entry,) = told(said, payload={"amount": 2}, withheld=KEPT)
    assert entry.withheld
    assert entry.what == "ana decided ok"
    assert entry.changes == ()
    assert entry.sign == told(decision(), withheld=KEPT)[0].sign, "the sign would tell"
    everything = repr(entry)
    assert not [word for word in ("reject", "secret", "amount", "s" * 64) if word in everything]


def test_whose_edit_it_was_is_withheld_where_what_was_said_is() -> None:
    edit = event("gate.revised", **GATE, revision=2, payload={"amount": 1}, why="w")
    for said, what in ((decision(patch={"amount": 1}), "a reviewer decided ok"), (edit, "ok shows revision 2")):
        (entry,) = told(said, withheld=EDITED)
        assert entry.withheld
        assert entry.what == what
        assert "ana" not in repr(entry)
    (drafted,) = told(event("gate.revised", who="signoff", **GATE, revision=2, why="w"), withheld=KEPT)
    assert not drafted.withheld
    (claimed,) = told(event("human_task.claimed", **GATE), withheld=EDITED)
    assert claimed.actor["name"] == "ana", "that somebody holds it is no secret"


def test_an_entry_leads_to_its_human_task_and_to_the_other_run() -> None:
    assert told(decision())[0].human_task_id == TASK
    assert told(event("gate.decided", **GATE, compensation_run_id=str(OTHER)))[0].run_id == OTHER
    assert told(event("run.created", parent={"run_id": str(OTHER)}))[0].run_id == OTHER
    assert told(event("run.created", parent={"run_id": "javascript:alert(1)"}))[0].run_id is None


def test_a_trace_is_kept_apart_from_the_rest() -> None:
    (entry,) = told(event("step.failed", step="s", code="c", message="m", trace="Traceback …"))
    assert entry.trace == "Traceback …"
    assert "trace" not in entry.data


def test_a_value_is_cut_to_what_a_sentence_holds() -> None:
    assert len(brief("x" * 1_000)) == 120
    assert brief({"a": [1, "b"]}) == '{"a":[1,"b"]}'
