"""The Review screen: everything a person needs to decide is on it, and why they may not where they may not."""

from __future__ import annotations

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
    "urgent": False,
    "color": "red",
    "nick": None,
    "ship": {"city": "Rome"},
    "tags": ["a", "b"],
    "reply": "We are **sorry** that it [broke](https://shop.example/a).",
    "plain": "**not** markdown",
    "confidence": 0.62,
}


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def task(desk: Desk) -> UUID:
    """A refund of which the run's input is not the draft."""
    started = desk.engine.start(
        workflow="refund", input={"text": "arrived broken", "paid": "64.00"}, requester=desk.people["portal"]
    )
    desk.work(started.run_id, PAYLOAD)
    return desk.task(started.run_id)


def _section(page: Node, name: str) -> Node:
    (found,) = [node for node in page if node.tag == "section" and name in (node.attrs.get("class") or "").split()]
    return found


def _locked(page: Node) -> bool:
    return all(button.disabled for button in page.find("button", data_arm=True))


def test_all_that_is_needed_is_on_the_page(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    page = ana.get(f"/inbox/{task}?workflow=refund")
    head = page.one("div", class_="review-head").text
    assert "Refund 640.00 for A-881" in head
    assert "refund · approve-refund" in head
    assert "revision 1" in head
    assert "due in 4 h" in head or "due in 3 h 59 min" in head
    assert "1 of 1" in head
    why = _section(page, "why")
    assert "double(amount) > 100.0 (amount is 640.00)" in why.text
    stops = [(node.text, "here" in (node.attrs["class"] or "")) for node in why.find("li")]
    assert [(text.partition(":")[0], here) for text, here in stops] == [
        ("draft", False),
        ("approve-refund", True),
        ("pay", False),
    ]
    assert "arrived broken" in _section(page, "evidence").text
    assert "64.00" in _section(page, "evidence").text
    draft = _section(page, "draft")
    assert "Draft untrusted" in draft.text
    assert "score 0.62" in draft.text
    assert draft.one("meter").attrs["value"] == "0.62"
    assert "recommended" in draft.text
    buttons = [node.text for node in page.find("button", data_arm=True)]
    assert buttons == [
        "Approve a Pays 640.00 now. Irreversible.",
        "Reject r Nothing is paid.",
        "Ask for changes q Goes back to draft for a new version.",
    ]
    assert page.find("a", href=f"/runs/{desk.run_of(task)}")
    assert page.one("title").text == "Refund 640.00 for A-881 · Signoff"
    assert [node.text for node in page.one("fieldset", class_="plain reasons").find("label")][:2] == [
        "wrong amount",
        "missing evidence",
    ]


def test_evidence_comes_before_the_verdict(desk: Desk, task: UUID) -> None:
    page = desk.as_("ana").get(f"/inbox/{task}")
    order = [node for node in page if node is _section(page, "evidence") or node is _section(page, "draft")]
    order += [node for node in page if "data-arm" in node.attrs]
    everything = list(page)
    assert [everything.index(node) for node in order] == sorted(everything.index(node) for node in order)


def test_markdown_is_rendered_only_where_the_schema_says_so(desk: Desk, task: UUID) -> None:
    page = desk.as_("ana").get(f"/inbox/{task}")
    draft = _section(page, "draft")
    prose = draft.one("div", class_="prose")
    assert prose.one("strong").text == "sorry"
    assert "broke (https://shop.example/a)" in prose.text
    assert not prose.find("a")
    assert "**not** markdown" in draft.text


@pytest.mark.parametrize(
    ("name", "tag", "kind"),
    [
        ("amount", "input", "decimal"),
        ("rate", "input", "decimal"),
        ("bonus", "input", "numeric"),
        ("urgent", "select", None),
        ("color", "select", None),
        ("nick", "input", None),
        ("ship.city", "input", None),
        ("tags", "textarea", None),
    ],
)
def test_each_editable_field_is_a_labelled_field_of_its_kind(
    desk: Desk, task: UUID, name: str, tag: str, kind: str | None
) -> None:
    page = desk.as_("ana").get(f"/inbox/{task}")
    field = page.one(name=f"edit.{name}")
    assert field.tag == tag
    assert field.attrs.get("inputmode") == kind
    assert page.one("label", for_=field.attrs["id"] or "").text
    assert page.find("p", id=field.attrs["aria-describedby"] or "")
    assert not field.disabled


def test_what_may_not_be_edited_is_no_field(desk: Desk, task: UUID) -> None:
    page = desk.as_("ana").get(f"/inbox/{task}")
    for name in ("reply", "plain", "confidence", "order_id"):
        assert not page.find(name=f"edit.{name}")


def _reason(desk: Desk, name: str, task: UUID) -> str:
    page = desk.as_(name).get(f"/inbox/{task}")
    assert _locked(page)
    assert page.one("button", data_commit=True).disabled
    assert page.one("textarea", id="note").disabled
    reason = page.one("p", id="refusal")
    assert all(button.attrs["aria-describedby"] == "refusal" for button in page.find("button", data_arm=True))
    return reason.text


def test_who_may_not_decide_is_told_why_in_words(desk: Desk, task: UUID) -> None:
    own = desk.start("plain", {"amount": "1"}, by="ana")
    assert _reason(desk, "ana", own) == "who started the run may not decide its gates"
    assert _reason(desk, "admin", task) == "admin is not a candidate of this human task"
    later = desk.start("later", {"amount": "1"})
    assert _reason(desk, "ana", later) == "This gate takes no decision yet."
    voted = desk.start("pair", {"amount": "1"})
    desk.decide(voted, "ana", "approve")
    assert _reason(desk, "ana", voted) == "You have decided on this revision. Another candidate has to decide now."
    assert not _locked(desk.as_("sam").get(f"/inbox/{voted}"))
    grace = desk.start("grace", {"amount": "1"})
    desk.decide(grace, "ana", "approve")
    assert _reason(desk, "sam", grace) == "It is decided; its grace runs."


def test_who_may_only_look_has_neither_claim_nor_assign(desk: Desk, task: UUID) -> None:
    page = desk.as_("auditor").get(f"/inbox/{task}")
    assert not page.find("button", data_claim=True)
    assert not page.find("select", id="assignee")
    assert page.find("textarea", id="comment")
    admin = desk.as_("admin").get(f"/inbox/{task}")
    assert not admin.find("button", data_claim=True)
    assert [node.text for node in admin.one("select", id="assignee").find("option")][1:] == ["ana", "sam"]


def test_the_one_who_asked_is_not_offered_as_the_one_to_decide(desk: Desk) -> None:
    own = desk.start("plain", {"amount": "1"}, by="ana")
    page = desk.as_("sam").get(f"/inbox/{own}")
    assert [node.text for node in page.one("select", id="assignee").find("option")][1:] == ["sam"]


def test_what_one_may_not_see_is_not_there(desk: Desk, task: UUID) -> None:
    for name in ("max", "nobody"):
        for path in (f"/inbox/{task}", f"/inbox/{task}/notice", f"/inbox/{task}/payload.json"):
            desk.as_(name).get(path, 404)


def test_what_is_over_shows_who_said_what_and_takes_nothing_more(desk: Desk) -> None:
    task = desk.start("refund", PAYLOAD)
    desk.decide(task, "ana", "approve", patch={"amount": "40.00"}, note="ten times too much", reason="wrong amount")
    sam = desk.as_("sam")
    page = sam.get(f"/inbox/{task}")
    assert "ana said approve: ten times too much. Outcome: approved." in sam.words
    assert not page.find("button", data_arm=True)
    assert not page.find(name="edit.amount")
    said = page.one("ol", class_="said").text
    assert "ten times too much" in said
    assert "wrong amount" in said
    assert "640.00 → became 40.00" in said
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    assert "You said approve" in ana.words


def test_the_notice_tells_a_page_that_is_open_what_became_of_it(desk: Desk) -> None:
    task = desk.start("refund", PAYLOAD)
    ana = desk.as_("ana")
    page = ana.get(f"/inbox/{task}")
    address = page.one(data_notice=True).attrs["data-notice"] or ""
    seen = page.one(name="payload_sha256").value
    assert address == f"/inbox/{task}/notice?seen={seen}"
    assert ana.get(address).text.strip() == ""
    desk.redraft(task, PAYLOAD | {"amount": "99.00"})
    notice = ana.get(address)
    assert notice.find(data_lock=True)
    assert "640.00 → became 99.00" in notice.text
    new = ana.get(f"/inbox/{task}").one(name="payload_sha256").value
    assert notice.one("button").attrs["value"] == new
    desk.decide(task, "sam", "approve")
    over = ana.get(address)
    assert over.find(data_over=True)
    assert "sam said approve" in over.text
    assert ana.get(address + "%00%22%3E").find(data_lock=True)


def test_the_pager_goes_through_the_list_one_came_from(desk: Desk) -> None:
    made = [desk.start("noted", {"amount": str(n)}) for n in range(3)]
    ana = desk.as_("ana")
    query = "?view=team&workflow=noted&sort=created_at"
    page = ana.get(f"/inbox/{made[1]}{query}")
    assert "2 of 3" in page.one("span", class_="pager").text
    assert page.one("a", data_previous_task=True).attrs["href"] == f"/inbox/{made[0]}{query}"
    assert page.one("a", data_next_task=True).attrs["href"] == f"/inbox/{made[2]}{query}"
    assert page.one("div", class_="crumbs small").find("a")[0].attrs["href"] == f"/inbox{query}"
    assert not ana.get(f"/inbox/{made[0]}{query}").find("a", data_previous_task=True)
    assert not ana.get(f"/inbox/{made[2]}{query}").find("a", data_next_task=True)
    elsewhere = ana.get(f"/inbox/{made[1]}?workflow=refund&q=nothing-like-it")
    assert not elsewhere.find("a", data_next_task=True)


@pytest.mark.parametrize("done", ["x", "01a20304-6249-76bb-8d5a-b8ac3b7d68a5", "%00", "x" * 3_000])
def test_a_notice_of_what_is_not_there_is_none(desk: Desk, task: UUID, done: str) -> None:
    for path in (f"/inbox/{task}?done={done}", f"/inbox?done={done}"):
        page = desk.as_("ana").get(path)
        assert not page.find(data_done=True)


def test_the_notice_is_of_ones_own_decision_alone(desk: Desk) -> None:
    task = desk.start("blind", {"amount": "1", "order_id": "secret"})
    desk.decide(task, "ana", "approve")
    assert desk.as_("ana").get(f"/inbox?done={task}").find(data_done=True)
    for name in ("sam", "max", "admin"):
        assert not desk.as_(name).get(f"/inbox?done={task}").find(data_done=True)


def test_the_notice_is_not_of_what_its_reader_may_no_longer_see(desk: Desk) -> None:
    task = desk.start("plain", {"amount": "31337"})
    desk.decide(task, "ana", "approve")
    desk.sql("UPDATE human_tasks SET candidate_groups = ARRAY['managers'] WHERE id = %s", task)
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}", 404)
    page = ana.get(f"/inbox?done={task}")
    assert not page.find(data_done=True)
    assert "31337" not in page.one("main").text


def test_a_payload_that_is_no_object_is_shown_as_it_is(desk: Desk) -> None:
    desk.engine.register(graph(gate("ok", "pay"), pay(), name="bare"), by=SYSTEM)
    for value in (["a", "pay\u202elap"], "text\u200b", 5, None, True, {}):
        task = desk.start("bare", value)
        page = desk.as_("ana").get(f"/inbox/{task}")
        assert not _locked(page)
        if value == ["a", "pay\u202elap"]:
            assert "⟦U+202E⟧" in _section(page, "draft").text
            assert "1 hidden character in this text" in _section(page, "draft").text
