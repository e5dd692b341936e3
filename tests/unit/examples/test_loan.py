"""The loan example: the scorecard, the gate, and what an underwriter makes of it."""

from __future__ import annotations

import pytest

from loan import AMOUNT, BASE, CARD, DURATION, Application, assess, loan
from signoff import testing
from signoff.errors import Forbidden, InvalidInput

BEST = {
    "application_id": "L-1",
    "amount": 2_400,
    "duration_months": 12,
    "purpose": "A43",
    "checking": "A14",
    "history": "A34",
    "savings": "A65",
    "employment": "A75",
    "other_plans": "A143",
}
WORST = BEST | {"checking": "A11", "history": "A30", "savings": "A61", "employment": "A71", "other_plans": "A141"}
JUST_ABOVE = BEST | {"history": "A32", "employment": "A73", "savings": "A62"}
JUST_BELOW = JUST_ABOVE | {"savings": "A61"}


def test_the_card_adds_up_to_a_hundred() -> None:
    most = [max(points for points, _ in codes.values()) for codes in CARD.values()]
    assert BASE + sum(most) + DURATION[0][1] + AMOUNT[0][1] == 100
    assert assess(Application(**BEST)).score == 100


def test_the_reasons_add_up_to_the_score() -> None:
    found = assess(Application(**WORST))
    assert sum(int(reason.split()[0]) for reason in found.reasons) == found.score


def test_eighty_five_points_pass_by_policy() -> None:
    assert assess(Application(**JUST_ABOVE)).score == 85
    r = testing.run(loan, JUST_ABOVE)
    assert (r.status, r.outcome, r.tasks) == ("completed", "approved", [])
    assert r.output["payment_id"] == "loan_L-1_2400"


def test_eighty_four_points_wait_for_an_underwriter() -> None:
    assert assess(Application(**JUST_BELOW)).score == 84
    r = testing.run(loan, JUST_BELOW)
    assert r.task.candidates.groups == ("underwriters",)
    assert r.task.title == "Loan of 2400 DM over 12 months, 84 points"
    assert "+3 of 10: no savings known" in r.task.payload["reasons"]
    r.decide("approve", by="uma")
    assert r.output["payment_id"] == "loan_L-1_2400"


@pytest.mark.parametrize("large", [{"amount": 10_001}, {"duration_months": 49}])
def test_a_large_or_long_loan_never_passes_by_policy(large: dict[str, int]) -> None:
    r = testing.run(loan, BEST | large)
    assert r.status == "waiting"
    assert r.task.payload["score"] <= 84


def test_what_is_paid_out_is_what_the_underwriter_approved() -> None:
    r = testing.run(loan, WORST).decide("approve", patch={"amount": 1_200, "duration_months": 24}, by="uma")
    assert r.output["payment_id"] == "loan_L-1_1200"
    assert r.outputs["decide_terms"]["monthly"] == "54.55"


def test_a_rejection_pays_nothing_and_gives_the_reasons() -> None:
    r = testing.run(loan, WORST).decide("reject", note="too much", reason="income not proven", by="uma")
    assert r.outcome == "rejected"
    assert "disburse" not in r.outputs
    letter = r.outputs["decline_letter"]["text"]
    assert "income not proven" in letter
    assert "not employed" in letter


def test_silence_decides_no_loan() -> None:
    r = testing.run(loan, WORST).skip("30d")
    assert r.status == "waiting"
    assert "credit-managers" in r.task.candidates.groups


def test_only_underwriters_decide() -> None:
    r = testing.run(loan, WORST, people={"uma": ["underwriters"], "sam": ["support-leads"]})
    with pytest.raises(Forbidden):
        r.decide("approve", by="sam")
    assert r.decide("approve", by="uma").status == "completed"


@pytest.mark.parametrize("field", ["age", "sex", "personal_status", "foreign_worker", "dependents"])
def test_what_may_not_be_considered_is_refused_at_the_door(field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        testing.run(loan, BEST | {field: 1})
