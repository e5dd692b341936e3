"""The refund example: each way through the gate."""

from __future__ import annotations

from decimal import Decimal

import pytest

from refund import refund
from refund_drafting import amount_in
from signoff import testing
from signoff.errors import Forbidden, InvalidInput

BROKEN = {"order_id": "A-1", "text": "broken", "paid": "640"}


def test_a_large_refund_is_paid_as_it_was_edited() -> None:
    r = testing.run(refund, BROKEN)
    r.skip("2h")
    assert "support-managers" in r.task.candidates.groups
    r.decide("approve", patch={"amount": "40.00"}, by="sam")
    assert r.output["payment_id"] == "pay_A-1_40.00"
    assert r.outcome == "approved"


def test_a_large_refund_parks_and_says_why() -> None:
    r = testing.run(refund, BROKEN)
    assert (r.status, r.node) == ("waiting", "approve-refund")
    assert r.task.title == "Refund 640.00 for A-1"
    assert r.task.why.startswith("amount > 100.0")
    assert r.task.payload["drafted_by"] == "rule"
    assert "pay" not in r.outputs


@pytest.mark.parametrize("paid", ["42", "100", "0.01"])
def test_a_small_clear_refund_passes_by_policy(paid: str) -> None:
    r = testing.run(refund, {"order_id": "A-1", "text": "broken", "paid": paid})
    assert (r.status, r.outcome) == ("completed", "approved")
    assert r.output["payment_id"] == f"pay_A-1_{Decimal(paid):.2f}"
    assert r.tasks == []


def test_a_small_refund_of_an_unknown_order_is_reviewed() -> None:
    r = testing.run(refund, {"order_id": "?", "text": "broken", "paid": "42"})
    assert r.task.why.startswith("confidence < 0.85")


def test_a_rejection_apologises_and_pays_nothing() -> None:
    r = testing.run(refund, BROKEN).decide("reject", note="not our parcel", by="ana")
    assert (r.status, r.outcome, r.output) == ("completed", "rejected", None)
    assert "apologise" in r.outputs
    assert "pay" not in r.outputs


def test_a_note_brings_a_new_draft_to_the_same_human_task() -> None:
    r = testing.run(refund, BROKEN)
    first = r.task
    r.decide("request_changes", note="offer 40 please", by="ana")
    assert (r.task.id, r.task.revision) == (first.id, 2)
    assert r.task.payload["amount"] == "40.00"
    r.decide("approve", by="ana")
    assert r.output == {"payment_id": "pay_A-1_40.00"}


def test_four_hours_of_silence_apologise_and_pay_nothing() -> None:
    r = testing.run(refund, BROKEN).skip("3h59m")
    assert r.status == "waiting"
    r.skip("1m")
    assert (r.status, r.outcome) == ("completed", "rejected")
    assert str(r.tasks[0].decided_by) == "timeout"
    assert "apologise" in r.outputs
    assert "pay" not in r.outputs


def test_managers_are_asked_at_two_hours_and_not_before() -> None:
    r = testing.run(refund, BROKEN).skip("1h59m59s")
    assert r.task.candidates.groups == ("support-leads",)
    r.skip("1s")
    assert r.task.candidates.groups == ("support-leads", "support-managers")


def test_the_reply_names_no_amount_that_an_edit_would_make_wrong() -> None:
    r = testing.run(refund, BROKEN)
    assert not any(character.isdigit() for character in r.task.payload["reply"])


def test_an_edit_beyond_the_limit_is_refused() -> None:
    r = testing.run(refund, BROKEN)
    with pytest.raises(InvalidInput, match="/patch/amount"):
        r.decide("approve", patch={"amount": "5000.01"})
    with pytest.raises(InvalidInput, match="not editable"):
        r.decide("approve", patch={"order_id": "A-2"})


def test_more_than_the_limit_is_never_drafted() -> None:
    r = testing.run(refund, BROKEN | {"paid": "1e300"})
    assert r.task.payload["amount"] == "5000.00"


def test_who_asked_for_the_refund_may_not_approve_it() -> None:
    r = testing.run(refund, BROKEN, requester="sam")
    with pytest.raises(Forbidden) as refused:
        r.decide("approve", by="sam")
    assert refused.value.code == "four_eyes"


@pytest.mark.parametrize(
    "bad",
    [
        {"order_id": "A-1", "text": "broken"},
        BROKEN | {"paid": "-1"},
        BROKEN | {"paid": "much"},
        BROKEN | {"order_id": ""},
    ],
)
def test_a_complaint_that_is_none_starts_no_run(bad: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="/input"):
        testing.run(refund, bad)


@pytest.mark.parametrize(
    ("note", "amount"),
    [
        ("offer 40", "40"),
        ("40.50 EUR is enough", "40.50"),
        ("make it 40,5", "40.50"),
        ("25 % will do", "160"),
        ("half, please", "320"),
        ("pay nothing", "0"),
        ("no refund here", "0"),
        ("in full", "640"),
        ("offer 9999", "640"),
    ],
)
def test_the_rule_reads_the_amount_in_a_note(note: str, amount: str) -> None:
    assert amount_in(note, Decimal("640")) == (Decimal(amount), True)


@pytest.mark.parametrize("note", ["be kinder", "see order A-40", "ticket #40"])
def test_a_note_that_names_no_amount_is_not_guessed_at(note: str) -> None:
    assert amount_in(note, Decimal("640")) == (Decimal("640"), False)
    r = testing.run(refund, BROKEN).decide("request_changes", note=note)
    assert r.task.payload["drafted_by"] == "rule, which could not read the note"
    assert r.task.payload["confidence"] == 0.5
