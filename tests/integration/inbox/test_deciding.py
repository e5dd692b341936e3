"""Deciding on the Review screen: two presses, nothing lost of what was typed, and the words of what happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.inbox.review_form import PAYLOAD, edit_field


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture
def task(desk: Desk) -> UUID:
    """A refund that waits for a lead."""
    return desk.start("refund", PAYLOAD)


def test_two_presses_decide_and_the_next_human_task_opens(desk: Desk, task: UUID) -> None:
    other = desk.start("refund", PAYLOAD | {"order_id": "A-next"})
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}?q=A-&workflow=refund")
    before = desk.everything()
    ana.press("Approve", reading_ms="4200")
    assert desk.everything() == before, "the first press records nothing"
    assert "Pays 640.00 now." in ana.page.one("p", data_armed_says=True).text
    assert ana.page.one("button", data_arm="approve").attrs["aria-pressed"] == "true"
    ana.press("Confirm approve", reading_ms="4200")
    assert desk.said(task) == [("approve", None, None, None, "inbox", 4200)]
    assert desk.row(task)[:2] == ("completed", "approved")
    assert ana.path.startswith("/inbox/")
    assert "You said approve: Refund 640.00 for A-881." in ana.words
    assert f"done={task}" in ana.path
    assert "q=A-" in ana.path, "it goes on in the same list"
    desk.decide(other, "ana", "approve")


def test_after_the_last_human_task_the_inbox_says_what_was_said(desk: Desk) -> None:
    task = desk.start("to-sam", {"amount": "5"})
    sam = desk.as_("sam")
    sam.get(f"/inbox/{task}?view=mine&workflow=to-sam")
    sam.press("Reject")
    sam.press("Confirm reject")
    assert sam.path.startswith("/inbox?view=mine")
    assert "You said reject: Small 5." in sam.words
    assert "Undo" not in sam.words, "there is no grace"


def test_another_option_can_be_armed_instead_of_the_first(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="too much")
    ana.press("Reject")
    assert "Nothing is paid." in ana.page.one("p", data_armed_says=True).text
    assert ana.page.one("textarea", id="note").value == "too much"
    ana.press("Confirm reject")
    assert desk.said(task)[0][:2] == ("reject", "too much")


def test_not_yet_disarms_and_keeps_what_was_typed(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="hm", reason="tone", edit__amount="40.00")
    ana.press("Not yet")
    assert "hidden" in ana.page.one("div", data_armed=True).attrs
    assert ana.page.one("textarea", id="note").value == "hm"
    assert edit_field(ana.page, "amount").value == "40.00"
    assert "checked" in ana.page.one("input", type="radio", value="tone").attrs
    assert desk.said(task) == []


def test_enter_in_a_field_presses_a_button_that_decides_nothing(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    page = ana.get(f"/inbox/{task}")
    first = next(node for node in page.one("form", id="decide") if node.tag == "button")
    before = desk.everything()
    ana.press(first, edit__amount="41.00")
    assert desk.everything() == before
    assert edit_field(ana.page, "amount").value == "41.00"
    assert "hidden" in ana.page.one("div", data_armed=True).attrs


def test_approve_and_reject_take_equal_effort_and_none_is_chosen(desk: Desk, task: UUID) -> None:
    page = desk.as_("ana").get(f"/inbox/{task}")
    assert not page.find(autofocus=True)
    assert [node.attrs["data-arm"] for node in page.find("button", data_arm=True)] == [
        "approve",
        "reject",
        "request_changes",
    ]
    assert all(node.attrs["aria-pressed"] == "false" for node in page.find("button", data_arm=True))
    assert page.one("input", type="hidden", name="decision").disabled
    assert page.one("button", data_commit=True).disabled


@pytest.mark.parametrize(
    ("typed", "patch"),
    [
        ({}, None),
        ({"edit__amount": "40.00"}, {"amount": "40.00"}),
        ({"edit__amount": "0.10000000000000000001"}, {"amount": "0.10000000000000000001"}),
        ({"edit__rate": "0.25", "edit__count": "7"}, {"rate": 0.25, "count": 7}),
        ({"edit__urgent": "true", "edit__color": "green"}, {"urgent": True, "color": "green"}),
        ({"edit__nick": "A", "edit__ship__city": "Oslo"}, {"nick": "A", "ship": {"city": "Oslo"}}),
        ({"edit__tags": '["c"]', "edit__bonus": "5"}, {"tags": ["c"], "bonus": 5}),
        ({"edit__rate": ""}, {"rate": None}),
    ],
)
def test_only_what_was_touched_is_an_edit(desk: Desk, task: UUID, typed: dict[str, str], patch: Any) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", **typed)
    ana.press("Confirm approve")
    assert desk.said(task)[0][3] == patch
    if patch:
        assert desk.log(task)[-1].type == "gate.decided"
        edited = desk.log(task)[-1].data["output"]
        assert edited["reply"] == PAYLOAD["reply"]
        assert set(edited) - set(PAYLOAD) <= {"bonus"}


def test_the_consequence_of_an_edit_is_said_before_it_is_confirmed(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", edit__amount="40.00")
    assert "Pays 40.00 now." in ana.page.one("p", data_armed_says=True).text


@pytest.mark.parametrize(
    ("typed", "field", "says"),
    [
        ({"edit__amount": "forty"}, "edit.amount", "a decimal number is needed"),
        ({"edit__amount": ""}, "edit.amount", "a value is needed"),
        ({"edit__count": "101"}, "edit.count", "101"),
        ({"edit__count": "x"}, "edit.count", "a number is needed"),
        ({"edit__tags": "[1]"}, "edit.tags", "string"),
        ({"edit__tags": "["}, "edit.tags", "not JSON"),
    ],
)
def test_a_wrong_value_is_named_at_its_field_and_all_that_was_typed_is_kept(
    desk: Desk, task: UUID, typed: dict[str, str], field: str, says: str
) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve", note="my note", reason="tone", edit__ship__city="Oslo", **typed)
    ana.press("Confirm approve", 422)
    assert desk.said(task) == []
    assert says in ana.page.one("p", id=f"wrong-{field}").text
    wrong = ana.page.one(name=field)
    assert wrong.attrs["aria-invalid"] == "true"
    assert f"wrong-{field}" in (wrong.attrs["aria-describedby"] or "")
    assert wrong.value == next(iter(typed.values()))
    assert ana.page.one("textarea", id="note").value == "my note"
    assert edit_field(ana.page, "ship.city").value == "Oslo"
    assert "checked" in ana.page.one("input", type="radio", value="tone").attrs


def test_a_note_that_is_asked_for_is_named_when_it_is_missing(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    assert "needed to reject" in ana.words
    ana.press("Reject", edit__amount="40.00")
    ana.press("Confirm reject", 422)
    assert "wants a note" in ana.page.one("p", id="wrong-note").text
    assert edit_field(ana.page, "amount").value == "40.00"
    assert desk.said(task) == []
    ana.press("Reject", note="  not  \r\n ours ")
    ana.press("Confirm reject")
    assert desk.said(task)[0][:4] == ("reject", "not  \n ours", None, None)


def test_a_note_that_is_too_long_is_kept(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    note = "n" * 10_001
    ana.press("Approve", note=note)
    ana.press("Confirm approve", 422)
    assert "10000" in ana.page.one("p", id="wrong-note").text
    assert ana.page.one("textarea", id="note").value == note


def test_the_form_of_a_gate_is_filled_in_and_kept(desk: Desk) -> None:
    task = desk.start("form", {"amount": "5"})
    ana = desk.as_("ana")
    page = ana.get(f"/inbox/{task}")
    assert "For the record" in ana.words
    assert page.one(name="edit.ok.checked").tag == "select"
    ana.press("Approve", edit__ok__remark="r" * 21)
    ana.press("Confirm approve", 422)
    assert "a value is needed" in ana.page.one("p", id="wrong-edit.ok.checked").text
    assert ana.page.one(name="edit.ok.remark").value == "r" * 21
    ana.press("Approve", edit__ok__checked="true")
    ana.press("Confirm approve", 422)
    assert ana.page.find("p", id="wrong-edit.ok.remark")
    ana.press("Approve", edit__ok__remark="fine")
    ana.press("Confirm approve")
    assert desk.said(task)[0][3] == {"ok": {"checked": True, "remark": "fine"}}


def test_a_form_is_not_demanded_of_a_refusal(desk: Desk) -> None:
    task = desk.start("form", {"amount": "5"})
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Reject")
    ana.press("Confirm reject")
    assert desk.said(task)[0][:4] == ("reject", None, None, None)


def test_who_may_not_decide_is_refused_and_told_why(desk: Desk, task: UUID) -> None:
    for name, says in (("admin", "is not a candidate"), ("auditor", "is not a candidate")):
        there = desk.as_(name)
        there.get(f"/inbox/{task}")
        there.post(
            f"/inbox/{task}/decide",
            403,
            decision="approve",
            note="kept",
            payload_sha256=there.page.one(name="payload_sha256").value,
        )
        assert says in there.words
        assert there.page.one("textarea", id="note").value == "kept"
    hidden = desk.as_("max")
    hidden.get("/inbox")
    hidden.post(f"/inbox/{task}/decide", 404, decision="approve", payload_sha256="0" * 64)
    assert desk.said(task) == []


def test_who_started_the_run_may_not_decide_it(desk: Desk) -> None:
    task = desk.start("plain", {"amount": "5"}, by="ana")
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.post(f"/inbox/{task}/decide", 403, decision="approve", payload_sha256=ana.page.one(name="payload_sha256").value)
    assert "who started the run may not decide its gates" in ana.words
    assert desk.said(task) == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"decision": "approve"}, 428),
        ({"decision": "approve", "payload_sha256": "0" * 64}, 412),
        ({"decision": "escalate"}, 422),
        ({"decision": ""}, 422),
        ({}, 422),
    ],
)
def test_a_form_that_no_page_of_ours_made_decides_nothing(
    desk: Desk, task: UUID, fields: dict[str, str], status: int
) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    seen = (
        {}
        if "payload_sha256" in fields or status == 428
        else {"payload_sha256": ana.page.one(name="payload_sha256").value}
    )
    ana.post(f"/inbox/{task}/decide", status, **seen, **fields)
    assert desk.said(task) == []


@pytest.mark.parametrize("said", ["escalate", "<b>", "a\u202eb"])
def test_an_option_that_the_gate_does_not_have_is_not_armed(desk: Desk, task: UUID, said: str) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.post(f"/inbox/{task}/confirm", 200, decision=said)
    assert "hidden" in ana.page.one("div", data_armed=True).attrs


@pytest.mark.parametrize(
    ("reading", "kept"),
    [("12", 12), ("", None), ("-1", None), ("1e3", None), ("999999999999", 86_400_000), ("٣", None)],
)
def test_the_time_of_reading_is_a_number_within_bounds(desk: Desk, task: UUID, reading: str, kept: Any) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.press("Approve")
    ana.press("Confirm approve", reading_ms=reading)
    assert desk.said(task)[0][5] == kept
