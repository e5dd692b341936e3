"""Definitions with one fault each, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from signoff import Feedback, Gate, Retry, Workflow, step
from signoff.definition.document import compile_document, parse_yaml


class Offer(BaseModel):
    amount: Decimal
    count: int
    name: str
    tags: list[str] = []


class Other(BaseModel):
    title: str


@step
def make(value: dict[str, Any]) -> Offer:
    return Offer(amount=Decimal(1), count=1, name="x")


@step
def look(offer: Offer) -> Offer:
    return offer


@step
def read(other: Other) -> Other:
    return other


@step(irreversible=True)
def pay(offer: Offer, *, idempotency_key: str) -> None:
    return None


@step
def revise(offer: Offer, *, feedback: Feedback | None = None) -> Offer:
    return offer


class Unwritable:
    pass


def gate(**keys: Any) -> Gate:
    return Gate("check", **({"reviewers": "leads"} | keys))


def two_positional(first: Offer, second: Offer) -> Offer:
    return first


def nothing_named(offer: Offer, *, nowhere: int) -> Offer:
    return offer


def needs_feedback(offer: Offer, *, feedback: Feedback) -> Offer:
    return offer


def misread_key(offer: Offer, *, idempotency_key: int) -> Offer:
    return offer


def misread_run(offer: Offer, *, run: dict[str, Any]) -> Offer:
    return offer


def misread_feedback(offer: Offer, *, feedback: str | None = None) -> Offer:
    return offer


def number(offer: Offer) -> int:
    return 1


def text(value: str) -> str:
    return value


async def asynchronous(offer: Offer) -> Offer:
    return offer


def unwritable(offer: Offer) -> Unwritable:
    return Unwritable()


def starred(*offers: Offer) -> Offer:
    return offers[0]


def broken_annotation(offer: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
    return None


def fresh(**options: Any) -> Any:
    """A step of its own each time: decorating a function again would change it for the other cases."""

    def look_again(offer: Offer) -> Offer:
        return offer

    return step(**options)(look_again)


def wf(*items: Any, name: str = "w", **keys: Any) -> Callable[[], Any]:
    return lambda: Workflow(name, [make, *items], **keys)


def doc(**keys: Any) -> Callable[[], Any]:
    return lambda: compile_document({"workflow": "w", "steps": [{"gate": "g", "reviewers": "a"}]} | keys)


def after(**keys: Any) -> Gate:
    return gate(mode="after", **keys)


LATE: dict[str, Any] = {"due": "2h"}


BOTH: list[str] = ["approve", "reject"]


FAULTY: list[tuple[str, Callable[[], Any], str]] = [
    ("E101", wf(name="Big Name"), "workflow 'Big Name': is badly named"),
    ("E101", wf(Gate("no good", reviewers="a")), "badly named"),
    ("E101", wf(fresh(name="9")), "badly named"),
    ("E101", wf(fresh(name="s", queue="resume")), "queue 'resume'"),
    ("E102", wf(look, look), "is there twice"),
    ("E102", wf(gate(on_reject=look), look), "is there twice"),
    ("E102", wf(gate(), gate()), "gate 'check': has a name that is taken"),
    ("E103", wf(gate(reviwers="x")), "did you mean 'reviewers'?"),
    ("E103", wf(gate(four_eyes="yes")), "four_eyes is text"),
    ("E103", wf(gate(approvals=True)), "approvals is the truth value true"),
    ("E103", wf(gate(title=5)), "title is the number 5"),
    ("E103", wf(gate(mode="during")), "mode is 'during'"),
    ("E103", wf(gate(escalate=["2h"])), "no pair"),
    ("E103", wf(gate(remind={"a": 1})), "remind is not a list"),
    ("E103", wf(gate(consequences=["x"])), "consequences is no mapping"),
    ("E103", wf(gate(on=["x"])), "on is no mapping"),
    ("E103", wf(fresh(name="s", retry=5)), "retry is int"),
    ("E103", doc(stepz=[]), "unknown key 'stepz'"),
    ("E103", doc(steps="x"), "no list of steps"),
    ("E103", doc(steps=[{"gate": "g", "reviewers": "a", "revew_if": "true"}]), "did you mean 'review_if'?"),
    ("E103", doc(steps=[{"step": "a:b", "que": "x"}]), "did you mean 'queue'?"),
    ("E103", doc(steps=[{"step": "a:b", "retry": {"atempts": 2}}]), "did you mean 'attempts'?"),
    ("E103", doc(steps=[{"step": "a:b", "takes": "input"}]), "takes is no list"),
    ("E104", wf(gate(review_if="amout > 1.0")), "did you mean 'amount'?"),
    ("E104", wf(gate(title="{nme}")), "title uses 'nme'"),
    ("E104", wf(gate(consequences={"approve": "{nme}"})), "consequences[approve] uses 'nme'"),
    ("E104", wf(gate(reviewers="{nme}")), "reviewers uses 'nme'"),
    ("E104", wf(gate(due="{nme}h")), "due uses 'nme'"),
    ("E104", wf(gate(assign="{nme}")), "assign uses 'nme'"),
    ("E104", wf(gate(escalate=[("1h", "{nme}")])), "escalate uses 'nme'"),
    ("E105", wf(gate(review_if="amount >= 85")), "write whole numbers with a point (85.0)"),
    ("E105", wf(gate(review_if="amount >")), "not valid CEL"),
    ("E105", wf(gate(review_if="name > 1")), "write text in quotes"),
    ("E105", wf(gate(review_if="sze(name) > 1")), "did you mean 'size'?"),
    ("E106", wf(gate(review_if="amount")), "gives a decimal number (double), not true or false"),
    ("E107", wf(gate(title="Pay {amount")), "never closed"),
    ("E107", wf(gate(title="Pay amount}")), "nothing opened"),
    ("E108", wf(read), "/title is required and not given"),
    ("E108", wf(input=list[int]), "an array"),
    ("E108", wf(step(number), step(text)), "step 'number' gives an integer, it takes a string"),
    ("E109", wf(gate(reviewers=[])), "names nobody"),
    ("E109", wf(gate(reviewers="support leads")), "'support leads', which names nobody"),
    ("E109", wf(gate(reviewers="user:")), "names nobody"),
    ("E109", wf(gate(reviewers=["user:ana", "user:sam"], approvals=3)), "only 2 people may decide"),
    ("E109", wf(gate(reviewers="user:ana", approvals=2)), "only 1 person may decide"),
    ("E109", wf(gate(reviewers=["user:ana", "user:sam"], assign="zoe")), "'zoe', who is none of the reviewers"),
    ("E109", wf(gate(assign="round-robin")), "did you mean 'round_robin'?"),
    ("E109", wf(gate(assign="nobody at all")), "assign is"),
    ("E110", wf(gate(options=[])), "has no options"),
    ("E110", wf(gate(options=["approve", "approve"])), "is there twice"),
    ("E110", wf(gate(options=["Approve!"])), "badly named"),
    ("E110", wf(revise, gate(options=["request_changes"])), "no option that ends it"),
    ("E110", doc(steps=[{"gate": "g", "reviewers": "a", "options": [True, False]}]), "read as true or false"),
    ("E111", wf(gate(on_reject="stop")), "leads to 'stop'"),
    ("E111", wf(gate(on_reject="look")), "name a step by its function in Python, by module:function in YAML"),
    ("E111", wf(gate(on_reject=[])), "empty list"),
    ("E111", wf(gate(on_approve="fail")), "approve goes on"),
    ("E111", wf(gate(**LATE, on_timeout="rejct")), "did you mean 'reject'?"),
    (
        "E111",
        wf(revise, gate(**LATE, options=["approve", "request_changes"], on_timeout="request_changes")),
        "leads to",
    ),
    ("E111", doc(steps=[{"gate": "g", "reviewers": "a", "on_reject": 5}]), "leads to 5"),
    ("E112", wf(gate(**LATE, on_timeout="approve"), pay), "on_timeout leads to 'pay'"),
    ("E112", wf(gate(**LATE, on_timeout="continue"), look, pay), "on_timeout leads to 'pay'"),
    ("E112", wf(gate(**LATE, on_timeout=[pay])), "on_timeout leads to 'pay'"),
    ("E112", wf(gate(**LATE, on_timeout="reject", on_reject=pay)), "on_timeout leads to 'pay'"),
    ("E112", wf(gate(**LATE, options=[*BOTH, "later"], on_timeout="later"), pay), "on_timeout leads to 'pay'"),
    ("E112", wf(gate(**LATE, on_timeout="approve"), Gate("beside", reviewers="a", mode="after"), pay), "'pay'"),
    (
        "E112",
        wf(gate(**LATE, on_timeout="approve"), look, Gate("large", reviewers="a", review_if="amount > 9.0"), pay),
        "nobody asked; review_if may let it pass 'large'",
    ),
    (
        "E112",
        wf(gate(**LATE, on_timeout=[Gate("large", reviewers="a", review_if="amount > 9.0", sample=0.5), pay])),
        "put a gate without review_if before the step",
    ),
    ("E113", wf(gate(options=["approve", "request_changes"])), "no earlier step takes feedback"),
    ("E114", wf(gate(options=["reject"]), look), "step 'look': can never be reached"),
    ("E115", wf(gate(due="soon")), "'soon' is not a duration"),
    ("E115", wf(gate(due=90)), "due is the number 90"),
    ("E115", wf(gate(due="0s")), "out of range"),
    ("E115", wf(gate(due="{amount}")), "due gives a decimal number (double), which is no duration"),
    ("E115", wf(gate(remind=["P1M"])), "years or months"),
    ("E115", wf(fresh(name="s", timeout="2d")), "timeout is '2d'"),
    ("E116", wf(gate(priority=101)), "priority is 101"),
    ("E116", wf(gate(approvals=21)), "approvals is 21"),
    ("E116", wf(gate(sample=1.5)), "sample is 1.5"),
    ("E116", wf(gate(sample=float("nan"))), "sample is nan"),
    ("E116", wf(gate(title="x" * 301)), "title has 301 characters"),
    ("E116", wf(gate(review_if="true || " * 300 + "true")), "characters; 2000 are allowed"),
    ("E116", wf(gate(review_if=" ")), "review_if is empty"),
    ("E116", wf(gate(options=[f"o{n}" for n in range(11)])), "options has 11 entries"),
    ("E116", wf(gate(reviewers=[f"g{n}" for n in range(51)])), "reviewers has 51 entries"),
    ("E116", wf(gate(title="{name}" * 51)), "title has 306 characters"),
    ("E116", wf(gate(consequences={"approve": "{name}" * 51})), "more than 50 expressions"),
    ("E116", wf(gate(remind=[f"{n}m" for n in range(1, 22)])), "21 reminders"),
    ("E116", wf(fresh(name="s", retry=Retry(101))), "attempts is 101"),
    ("E116", wf(description="x" * 5000), "description"),
    ("E117", wf(gate(on_timeout="reject")), "no due time"),
    ("E118", wf(gate(due="2h", remind=["2h"])), "remind comes at or after the due time: after 2h, and due is after 2h"),
    ("E118", wf(gate(due="2h", escalate=[("3h", "managers")])), "escalate comes at or after"),
    ("E118", wf(gate(due="2h", not_before="2h")), "nobody could decide"),
    ("E119", wf(gate(recommend="repl")), "recommend names 'repl'"),
    ("E119", wf(gate(score="name.x.y")), "score names 'x'"),
    ("E119", wf(gate(score="a b")), "which is no field"),
    ("E119", wf(gate(editable=["amuont"])), "did you mean 'amount'?"),
    ("E119", wf(gate(editable=["amount.cents"])), "'amount' has no fields"),
    ("E120", wf(gate(consequences={"aprove": "x"})), "did you mean 'approve'?"),
    ("E120", wf(gate(require_note=["maybe"])), "require_note names 'maybe'"),
    ("E120", wf(gate(on_maybe="fail")), "'maybe' is no option here"),
    ("E121", wf(revise, after(options=["approve", "request_changes"])), "the run has gone on"),
    ("E121", wf(after(on_reject="fail")), 'on_reject is "fail"'),
    ("E121", wf(after(**LATE, on_timeout="cancel")), 'on_timeout is "cancel"'),
    ("E122", wf(gate(form={"type": "objct"})), "form: /type"),
    ("E122", wf(input={"$ref": "https://example.com/schema"}), "refers to"),
    ("E122", wf(input={"properties": {"a": {"pattern": "(?<=x)y"}}}), "RE2 cannot read"),
    ("E122", doc(steps=[{"step": "a:b", "output": {"type": 5}}]), "output: /type"),
    ("E122", doc(input="object"), "input is no mapping"),
    ("E122", doc(steps=[{"gate": "g", "reviewers": "a", "form": "x"}]), "form is no mapping"),
    ("E122", lambda: Workflow("w", [gate(form={"type": "object"})], input={"type": "array"}), "an object"),
    ("E122", wf(Gate("name", reviewers="a", form={"type": "object"})), "a field the payload has"),
    ("E123", wf(step(two_positional)), "second positional parameter 'second'"),
    ("E123", wf(step(nothing_named)), "parameter 'nowhere' is the name of nothing"),
    ("E123", wf(step(needs_feedback)), "a run that nobody sent back has none"),
    ("E123", wf(gate(), step(needs_feedback)), "write feedback: Feedback | None = None"),
    ("E123", wf(gate(options=["hold"], review_if="amount > 1.0"), step(needs_feedback)), "'feedback' has no default"),
    ("E123", wf(step(misread_key)), "'idempotency_key' is filled with a str, which its annotation is not"),
    ("E123", wf(step(misread_run)), "write run: RunContext"),
    ("E123", wf(step(misread_feedback)), "write feedback: Feedback"),
    ("E123", wf(step(asynchronous)), "is async"),
    ("E123", wf(step(starred)), "takes *offers"),
    ("E123", wf(step(broken_annotation)), "annotation that cannot be read"),
    ("E124", doc(steps=["nocolon"]), "no reference to a function"),
    ("E124", doc(steps=[{"step": 5}]), "step is 5"),
    ("E125", lambda: Workflow("w", []), "has no steps and no gates"),
    ("E125", lambda: Workflow("w", [Gate(f"g{n}", reviewers="a") for n in range(201)]), "more than 200 nodes"),
    ("E125", lambda: Workflow("w", make), "no list of steps"),  # type: ignore[arg-type]
    ("E126", wf(len), "the function len, which is not a step"),
    ("E126", wf(5), "lists '5'"),
    ("E126", doc(steps=[{"stp": "a:b"}]), "lists a mapping of stp"),
    ("E127", lambda: parse_yaml("a: [1"), "at line 2"),
    ("E128", wf(step(unwritable)), "no JSON form: pydantic has no schema for"),
    ("E128", wf(gate(form=Unwritable)), "form has no JSON form"),
    ("E128", wf(input=Unwritable), "input has no JSON form"),
    ("E129", wf(gate(review_if="tags.map(a, a + a).size() > 0")), "joins with + inside a loop"),
    ("E130", wf(gate(due="8h", calendar="DE")), "calendar is no mapping"),
    ("E130", wf(gate(due="8h", calendar={"hours": "09:00-17:00"})), "calendar has no zone"),
    ("E130", wf(gate(due="8h", calendar={"zone": "Mars/Olympus"})), "there is no time zone 'Mars/Olympus'"),
    ("E130", wf(gate(due="8h", calendar={"zone": "UTC", "hours": "17:00-09:00"})), "name no time or some twice"),
    ("E130", wf(gate(due="8h", calendar={"zone": "UTC", "hours": "9-5"})), "'9' is no time of the day"),
    ("E130", wf(gate(due="8h", calendar={"zone": "UTC", "days": "mon-fry"})), "calendar has the days 'mon-fry'"),
    ("E130", wf(gate(due="8h", calendar={"zone": "UTC", "holidays": "DE-XX"})), "no holidays are known of 'DE-XX'"),
    ("E130", wf(gate(due="8h", calendar={"zone": "UTC", "closed": ["24.12."]})), "closed: "),
    ("E130", wf(gate(due="8h", calendar={"zone": "UTC", "hour": "9"})), "unknown key 'hour'"),
    ("E130", wf(gate(calendar={"zone": "UTC"})), "nothing that is counted in it"),
    ("E131", wf(gate(above="chiefs")), "has above and no authority"),
    ("E131", wf(gate(authority=True, due="4h", on_timeout="approve")), "on_timeout goes on as an approval does"),
    ("E131", wf(gate(authority=True, due="4h", on_timeout="continue")), "on_timeout goes on as an approval does"),
    (
        "E131",
        wf(gate(authority=True, on_reject="continue"), Gate("then", reviewers="a")),
        "on_reject goes on as an approval does",
    ),
]
