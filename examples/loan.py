"""Pattern 2, review on threshold: a scorecard reads a loan application; 85 points pass, an underwriter sees the rest.

    python examples/loan_batch.py FILE --dry-run
    python examples/loan_batch.py FILE

The first counts what the card would do with a file of applications, the second starts a run for each. An application
has the codes of the Statlog German Credit data (A11, A32, …). What they mean is taken from the
correction of 2019 (U. Grömping, South German Credit Data), because the original description has several swapped.

Sex, marital status, age and nationality, which that data also has, are not among the fields: no score, condition or
reviewer may go by them, and what is not there can't be used. The number of dependents is left out for the same reason.
Leaving fields out does not make a scorecard fair by itself; whoever uses one measures who is refused.

`loan.yaml` compiles to the same graph.
"""

from __future__ import annotations

import logging
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from signoff import Feedback, Gate, Workflow, step

log = logging.getLogger(__name__)

PASSES_AT = 85
BASE = 30
"""Points that everybody begins with; the card below adds up to 70."""

CARD: dict[str, dict[str, tuple[int, str]]] = {
    "checking": {
        "A11": (0, "no account here"),
        "A12": (6, "account overdrawn"),
        "A13": (14, "account with less than 200 DM"),
        "A14": (21, "account with 200 DM or more, or a year of salary"),
    },
    "history": {
        "A30": (0, "paid late in the past"),
        "A31": (1, "critical account, or credits elsewhere"),
        "A32": (8, "no credits, or all paid back"),
        "A33": (8, "present credits paid on time so far"),
        "A34": (14, "all credits at this bank paid back"),
    },
    "savings": {
        "A61": (3, "no savings known"),
        "A62": (4, "savings below 100 DM"),
        "A63": (8, "savings from 100 to 500 DM"),
        "A64": (9, "savings from 500 to 1,000 DM"),
        "A65": (10, "savings of 1,000 DM or more"),
    },
    "employment": {
        "A71": (0, "not employed"),
        "A72": (0, "employed for less than a year"),
        "A73": (3, "employed for 1 to 4 years"),
        "A74": (6, "employed for 4 to 7 years"),
        "A75": (6, "employed for 7 years or more"),
    },
    "other_plans": {
        "A141": (0, "pays instalments to another bank"),
        "A142": (0, "pays instalments to a store"),
        "A143": (6, "no instalments elsewhere"),
    },
}
"""Points and words for each code, by attribute."""

DURATION = ((12, 9), (18, 7), (24, 5), (36, 2))
"""Months up to which a duration brings these points."""
AMOUNT = ((4_000, 4), (8_000, 2))
"""DM up to which an amount brings these points."""

LARGE = 10_000
LONG = 48
"""Above these amounts (DM) and durations (months) an underwriter looks at every application."""

PURPOSES = {
    "A40": "a new car",
    "A41": "a used car",
    "A42": "furniture",
    "A43": "radio or television",
    "A44": "appliances",
    "A45": "repairs",
    "A46": "education",
    "A47": "a holiday",
    "A48": "retraining",
    "A49": "business",
    "A410": "something else",
}


class Application(BaseModel):
    """One application. `amount` is in whole DM."""

    # A field that is not asked for is refused, not ignored: nobody can slip in what may not be considered.
    model_config = ConfigDict(extra="forbid")

    application_id: str = Field(min_length=1, max_length=64)
    amount: int = Field(ge=1, le=100_000)
    duration_months: int = Field(ge=1, le=120)
    purpose: Literal["A40", "A41", "A42", "A43", "A44", "A45", "A46", "A47", "A48", "A49", "A410"]
    checking: Literal["A11", "A12", "A13", "A14"]
    history: Literal["A30", "A31", "A32", "A33", "A34"]
    savings: Literal["A61", "A62", "A63", "A64", "A65"]
    employment: Literal["A71", "A72", "A73", "A74", "A75"]
    other_plans: Literal["A141", "A142", "A143"]


class Assessment(BaseModel):
    """What an underwriter is shown. `reasons` has the points of each attribute; `annual_rate` is in percent."""

    application_id: str
    amount: int = Field(ge=1, le=100_000)
    duration_months: int = Field(ge=1, le=120)
    purpose: str
    score: int = Field(ge=0, le=100)
    reasons: list[str]
    advice: str
    annual_rate: Decimal


class Terms(BaseModel):
    """The loan as it is booked. `monthly` is the instalment in DM."""

    application_id: str
    amount: int
    duration_months: int
    annual_rate: Decimal
    monthly: Decimal


class Disbursement(BaseModel):
    """The payment to the customer."""

    payment_id: str
    monthly: Decimal


class Letter(BaseModel):
    """What the applicant is told, with the reasons that counted most."""

    application_id: str
    text: str


@step
def assess(application: Application) -> Assessment:
    """Add up the card. The rules come last: they can send an application to a person, and never past one."""
    score, reasons = BASE, [f"+{BASE} for everybody"]
    for attribute, codes in CARD.items():
        points, words = codes[getattr(application, attribute)]
        score += points
        reasons.append(f"+{points} of {max(most for most, _ in codes.values())}: {words}")
    for value, steps, unit in (
        (application.duration_months, DURATION, "months"),
        (application.amount, AMOUNT, "DM"),
    ):
        points = next((points for limit, points in steps if value <= limit), 0)
        score += points
        reasons.append(f"+{points} of {steps[0][1]}: {value:,} {unit}")
    if (application.amount > LARGE or application.duration_months > LONG) and score >= PASSES_AT:
        score = PASSES_AT - 1
        reasons.append(f"held at {score}: above {LARGE:,} DM or {LONG} months an underwriter always looks")
    return Assessment(
        application_id=application.application_id,
        amount=application.amount,
        duration_months=application.duration_months,
        purpose=PURPOSES[application.purpose],
        score=score,
        reasons=reasons,
        advice=_advice(score),
        annual_rate=Decimal("6.5") if score >= PASSES_AT else Decimal("8.5"),
    )


def _advice(score: int) -> str:
    if score >= PASSES_AT:
        return "grant"
    return "grant a smaller amount or a shorter term" if score >= 65 else "look for a guarantor, or decline"


@step
def decide_terms(assessment: Assessment) -> Terms:
    """The instalment for the amount, term and rate that were approved: an annuity, rounded to the pfennig."""
    rate = assessment.annual_rate / 1200
    growth = (1 + rate) ** assessment.duration_months
    monthly = assessment.amount * rate * growth / (growth - 1)
    return Terms(
        application_id=assessment.application_id,
        amount=assessment.amount,
        duration_months=assessment.duration_months,
        annual_rate=assessment.annual_rate,
        monthly=monthly.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP),
    )


@step(irreversible=True)
def disburse(terms: Terms, *, idempotency_key: str) -> Disbursement:
    """Pay the loan out. There is no bank behind this example; a real one takes the key and pays once."""
    log.info("paying out %s DM for %s under key %s", terms.amount, terms.application_id, idempotency_key)
    return Disbursement(payment_id=f"loan_{terms.application_id}_{terms.amount}", monthly=terms.monthly)


@step
def decline_letter(assessment: Assessment, *, feedback: Feedback) -> Letter:
    """Tell the applicant no, and why: the underwriter's reason, and where the card gave least."""
    least = [reason.partition(": ")[2] for reason in assessment.reasons if reason.startswith("+0 of")]
    why = "; ".join([*([feedback.reason] if feedback.reason else []), *least]) or "the whole of the application"
    return Letter(
        application_id=assessment.application_id,
        text=f"We can't offer you a loan of {assessment.amount:,} DM. What counted: {why}.",
    )


loan = Workflow(
    "loan",
    [
        assess,
        Gate(
            "underwrite",
            reviewers="underwriters",
            title="Loan of {amount} DM over {duration_months} months, {score} points",
            review_if="score < 85",
            recommend="advice",
            score="score",
            editable=["amount", "duration_months"],
            consequences={
                "approve": "Pays out {amount} DM. This cannot be undone.",
                "reject": "Nothing is paid; the applicant gets a letter with the reasons.",
            },
            due="2d",
            remind=["1d"],
            escalate=[("36h", "credit-managers")],
            on_reject=decline_letter,
        ),
        decide_terms,
        disburse,
    ],
    description="A scorecard passes the clear applications; an underwriter decides the others.",
)
