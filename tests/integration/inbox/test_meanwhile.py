"""What others do meanwhile: a new draft, an edit, a decision. It is shown, and nothing typed is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.inbox.html import Node
from tests.unit.transitions.graphs import gate, graph, pay

from signoff.model import SYSTEM

PAYLOAD: dict[str, Any] = {
    "order_id": "A-881",
    "amount": "640.00",
    "rate": 0.5,
    "count": 3,
    "urgent": False,
    "color": "red",
    "nick": None,
    "ship": {"city": "Rome"},
    "tags": ["a", "b"],
    "reply": "We are sorry that it arrived broken. You get all of your money back today.",
    "plain": "x",
    "confidence": 0.62,
}

BLIND_GRACE = graph(gate("ok", "pay", approvals=2, blind=True, grace_ms=600_000), pay(), name="blind-grace")


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture
def task(desk: Desk) -> UUID:
    """A refund that waits for a lead."""
    return desk.start("refund", PAYLOAD)


def _field(page: Node, name: str) -> Node:
    return page.one(name=f"edit.{name}")


def _controls_locked(page: Node) -> bool:
    return all(button.disabled for button in page.find("button", data_arm=True))


def test_a_payload_that_changed_underneath_is_shown_and_nothing_typed_is_lost(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="mine", reason="policy", edit__count="7")
    new = PAYLOAD | {"amount": "99.00", "reply": PAYLOAD["reply"].replace("all of", "half of")}
    desk.redraft(task, new)
    before = desk.everything()
    ana.press("Confirm approve", 412)
    assert desk.everything() == before
    notice = ana.page.one("div", id="notice")
    assert "revision 2 now, you were looking at revision 1" in notice.text
    assert "640.00 → became 99.00" in notice.text
    assert [node.text for node in notice.find("del")][-1].endswith("all")
    assert [node.text for node in notice.find("ins")][-1].endswith("half")
    assert _controls_locked(ana.page)
    assert ana.page.one("button", data_commit=True).disabled
    # What was typed is there; what was not touched is the new draft's.
    assert ana.page.one("textarea", id="note").value == "mine"
    assert _field(ana.page, "count").value == "7"
    assert _field(ana.page, "amount").value == "99.00"
    ana.press("I have seen it", note="mine, still")
    assert not _controls_locked(ana.page)
    assert ana.page.one("textarea", id="note").value == "mine, still"
    assert "checked" in ana.page.one("input", type="radio", value="policy").attrs
    assert _field(ana.page, "count").value == "7"
    assert _field(ana.page, "amount").value == "99.00"
    ana.press("Approve")
    assert "Pays 99.00 now." in ana.page.one("p", data_armed_says=True).text
    ana.press("Confirm approve")
    assert desk.said(task)[-1][:4] == ("approve", "mine, still", "policy", {"count": 7})


@pytest.mark.parametrize("label", ["Approve", "Keep what was typed"])
def test_any_press_on_a_page_that_is_out_of_date_locks_it(desk: Desk, task: UUID, label: str) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    desk.redraft(task, PAYLOAD | {"amount": "99.00"})
    ana.press(label, edit__count="7")
    assert "This changed while you looked at it." in ana.words
    assert "hidden" in ana.page.one("div", data_armed=True).attrs
    assert ana.page.one("input", type="hidden", name="decision").disabled
    assert _controls_locked(ana.page)
    assert _field(ana.page, "count").value == "7"
    # And once more on the locked page.
    ana.press("Keep what was typed")
    assert _controls_locked(ana.page)
    assert _field(ana.page, "count").value == "7"
    assert _field(ana.page, "amount").value == "99.00"


def test_what_is_acknowledged_is_the_revision_that_was_shown(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    desk.redraft(task, PAYLOAD | {"amount": "99.00"})
    ana.press("Approve", edit__count="7")
    desk.redraft(task, PAYLOAD | {"amount": "98.00"})
    ana.press("I have seen it, go on with revision 2")
    assert _controls_locked(ana.page)
    assert "revision 3 now, you were looking at revision 2" in ana.page.one("div", id="notice").text
    assert _field(ana.page, "amount").value == "98.00"
    assert _field(ana.page, "count").value == "7"
    ana.press("I have seen it, go on with revision 3")
    ana.press("Approve")
    ana.press("Confirm approve")
    assert desk.said(task)[-1][3] == {"count": 7}


def test_what_a_page_out_of_date_held_of_a_revision_in_between_is_no_edit_either(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    desk.redraft(task, PAYLOAD | {"amount": "99.00"})
    ana.press("Keep what was typed")
    assert _field(ana.page, "amount").value == "99.00"
    desk.redraft(task, PAYLOAD | {"amount": "98.00"})
    ana.press("Keep what was typed")
    assert _field(ana.page, "amount").value == "98.00"


def test_a_page_that_was_told_of_the_change_while_open_brings_no_old_values_back(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    page = ana.get(f"/inbox/{task}")
    desk.redraft(task, PAYLOAD | {"amount": "99.00"})
    # The notice is fetched into the page, whose fields are still those of the first revision.
    notice = desk.as_("ana").get(page.one(data_notice=True).attrs["data-notice"] or "")
    seen = notice.one("button", name="acknowledged").attrs["value"]
    ana.press("Keep what was typed", acknowledged=seen, edit__count="7")
    assert not _controls_locked(ana.page)
    assert _field(ana.page, "amount").value == "99.00"
    assert _field(ana.page, "count").value == "7"


def test_a_wrong_value_on_a_page_out_of_date_is_first_of_all_out_of_date(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", edit__count="x")
    desk.redraft(task, PAYLOAD | {"amount": "99.00"})
    ana.press("Confirm approve", 412)
    assert _field(ana.page, "count").value == "x"


def test_who_comes_second_is_told_who_what_and_when_and_keeps_the_note(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="I'd pay")
    desk.decide(task, "sam", "reject", note="a fraud")
    ana.press("Confirm approve", 409)
    notice = ana.page.one("div", id="notice")
    assert "sam said reject: a fraud. Outcome: rejected." in notice.text
    assert notice.find("time")
    assert "The note you typed I'd pay" in notice.text
    assert not ana.page.find("button", data_arm=True)
    assert [said[0] for said in desk.said(task)] == ["reject"]


def test_a_run_that_was_canceled_meanwhile_says_so(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="mine")
    desk.engine.cancel(desk.run_of(task), by=desk.people["admin"], reason="a mistake")
    ana.press("Confirm approve", 409)
    assert "The run was canceled" in ana.words
    assert "The note you typed mine" in ana.words


def test_changes_are_asked_for_and_the_next_revision_shows_what_they_came_to(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Ask for changes", note="pay half", edit__amount="320.00")
    ana.press("Confirm ask for changes")
    assert desk.said(task)[0][:4] == ("request_changes", "pay half", None, None)
    desk.work(
        desk.run_of(task), PAYLOAD | {"reply": PAYLOAD["reply"].replace("all of", "half of"), "ship": {"city": "Oslo"}}
    )
    page = ana.get(f"/inbox/{task}")
    assert "revision 2" in ana.words
    assert "What changed Revision 2 a new draft" in ana.words
    article = next(node for node in page.find("article") if node.text.startswith("What changed"))
    assert [node.text for node in article.find("del")] == ["Rome", "removed: all"]
    assert [node.text for node in article.find("ins")] == ["Oslo", "added: half"]
    marked = [node.text for node in page.find("div", class_="changed small")]
    assert len(marked) == 2
    assert "ship.city Rome → became Oslo" in marked[0]
    assert "ana said request changes on revision 1" in ana.words
    assert not _controls_locked(page), "the one who asked for changes may decide on what came"


def test_an_edit_at_a_gate_of_two_is_a_revision_for_the_other(desk: Desk) -> None:
    task = desk.start("pair", {"amount": "5", "plain": "same"})
    ana, sam = desk.as_("ana"), desk.as_("sam")
    sam.get(f"/inbox/{task}")
    sam.press("Approve")
    ana.get(f"/inbox/{task}")
    assert "0 of 2 approvals" in ana.words
    ana.press("Approve", edit__amount="4")
    ana.press("Confirm approve")
    assert desk.row(task)[2] == 2
    sam.press("Confirm approve", 412)
    assert "5 → became 4" in sam.page.one("div", id="notice").text
    sam.press("I have seen it")
    assert "Revision 2 ana" in sam.words
    sam.press("Approve")
    sam.press("Confirm approve")
    assert desk.row(task)[:2] == ("completed", "approved")


def test_who_has_approved_waits_for_the_other(desk: Desk) -> None:
    task = desk.start("pair", {"amount": "7"})
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve")
    ana.press("Confirm approve")
    ana.get(f"/inbox/{task}")
    assert "1 of 2 approvals" in ana.words
    assert "You have decided on this revision. Another candidate has to decide now." in ana.words
    assert _controls_locked(ana.page)


def test_a_blind_gate_keeps_what_others_said_until_it_is_decided(desk: Desk) -> None:
    task = desk.start("blind", {"amount": "5"})
    desk.decide(task, "ana", "approve", note="looks-fine-to-me")
    sam = desk.as_("sam")
    sam.get(f"/inbox/{task}")
    assert "what others said is shown afterwards" in sam.words
    assert "looks-fine-to-me" not in sam.words
    assert "ana" not in sam.page.one("section", class_="evidence").text
    assert "0 of 2 approvals" in sam.words
    assert "looks-fine-to-me" not in sam.get(f"/inbox/{task}/notice").text
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    assert "looks-fine-to-me" in ana.words
    sam.get(f"/inbox/{task}")
    sam.press("Approve")
    sam.press("Confirm approve")
    sam.get(f"/inbox/{task}")
    assert "looks-fine-to-me" in sam.words


def test_a_blind_gate_in_its_grace_puts_nothing_into_the_mouth_of_another(desk: Desk) -> None:
    desk.engine.register(BLIND_GRACE, by=SYSTEM)
    task = desk.start("blind-grace", {"amount": "5"})
    desk.decide(task, "ana", "approve")
    desk.decide(task, "sam", "reject")
    assert desk.row(task)[4] == "reject"
    for path in (f"/inbox/{task}", f"/inbox/{task}/notice"):
        # Ana knows of her own approval, and nobody of what is not theirs.
        said = {name: _told(desk, name, path) for name in ("ana", "sam", "auditor")}
        assert said["ana"].startswith("It is decided. What was said is shown afterwards.")
        assert said["sam"].startswith("You said reject.")
        assert said["auditor"].startswith("sam said reject.")


def _told(desk: Desk, name: str, path: str) -> str:
    return str(desk.as_(name).get(path).one("div", data_lock=True).text)


def test_who_edited_at_a_blind_gate_is_not_named_before_it_is_decided(desk: Desk) -> None:
    task = desk.start("blind", {"amount": "5"})
    desk.decide(task, "ana", "approve", patch={"amount": "4"})
    sam = desk.as_("sam")
    page = sam.get(f"/inbox/{task}")
    evidence = page.one("section", class_="evidence").text
    assert "Revision 2 a reviewer" in evidence
    assert "5 → became 4" in evidence
    assert "ana" not in evidence
    # Nor by the words in which everybody is told why they are asked, nor by what else shows the run.
    task_page, log = f"/inbox/{task}", f"/runs/{desk.run_of(task)}"
    for path in (task_page, f"{task_page}/notice", "/inbox?workflow=blind", f"{task_page}/payload.json", log):
        sam.get(path)
        assert sam.response is not None
        others = sam.response.text.replace("<option>ana</option>", "")  # to hand it on to
        assert not re.search(r"\bana\b", others), path
    assert "ana approved ok" in desk.as_("auditor").get(log).one("main").text
    sam.get(task_page)
    sam.press("Approve")
    sam.press("Confirm approve")
    assert "Revision 2 ana" in sam.get(f"/inbox/{task}").one("section", class_="evidence").text


def test_a_late_review_leaves_the_run_where_it_is(desk: Desk) -> None:
    task = desk.start("beside", PAYLOAD)
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    assert "reviewed after the fact: the run has gone on" in ana.words
    assert "Closes this review." in ana.button("Approve").text
    assert "Starts undo." in ana.button("Reject").text
    ana.press("Reject")
    ana.press("Confirm reject")
    assert desk.row(task)[:2] == ("completed", "rejected")
    ((children,),) = desk.sql("SELECT count(*) FROM runs WHERE labels->>'compensates' = %s", str(desk.run_of(task)))
    assert children == 1
