from __future__ import annotations

import sys
import uuid
from dataclasses import replace
from datetime import date
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from tests.unit.definition import refund_example as example

from signoff import Feedback, RunContext, step
from signoff.canonical import Json
from signoff.definition.callables import bind, call, dump, dump_result, load_argument, resolve
from signoff.definition.steps import MISSING, StepDef, step_definition
from signoff.errors import StepError

COMPLAINT = {"order_id": "A-1", "text": "broken", "paid": "640"}
RUN = RunContext(run_id=uuid.UUID(int=1), workflow="w", version=1, attempt=1, step="s")


def definition_of(function: Any) -> StepDef:
    found = step_definition(function)
    assert found is not None
    return found


def refused(code: str, run: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        run()
    assert caught.value.code == code
    return caught.value


def test_a_step_is_found_by_its_reference() -> None:
    found = resolve(f"{example.MODULE}:draft")
    assert found.function is example.draft
    assert found.queue == "llm"


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("nocolon", "is not a reference"),
        (":x", "is not a reference"),
        ("x:", "is not a reference"),
        ("__main__:x", "only its own process can see"),
        ("a:f.<locals>.g", "only its own process can see"),
        ("no_such_module:x", "there is no module 'no_such_module'"),
        ("no_such_package.sub:x", "there is no module 'no_such_package'"),
        (f"{example.MODULE}:nope", "has no 'nope'"),
        (f"{example.MODULE}:undecorated", "is not a step"),
        (f"{example.MODULE}:Receipt", "is not a step"),
        ("json:dumps", "is not a step"),
    ],
)
def test_a_reference_that_leads_to_no_step_says_why(ref: str, says: str) -> None:
    assert says in str(refused("step_not_found", lambda: resolve(ref)))


def test_a_module_that_fails_to_import_says_why(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_steps.py").write_text("raise RuntimeError('no key set')")
    (tmp_path / "lacking_steps.py").write_text("import not_installed_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    assert "RuntimeError: no key set" in str(refused("step_not_found", lambda: resolve("broken_steps:x")))
    assert "not_installed_at_all" in str(refused("step_not_found", lambda: resolve("lacking_steps:x")))


def test_a_step_runs_from_json_to_json() -> None:
    analysis = call(definition_of(example.analyse), COMPLAINT, {"input": COMPLAINT})
    assert analysis == {"order_id": "A-1", "severity": 6}
    draft = call(definition_of(example.draft), analysis, {"input": COMPLAINT})
    assert draft == {"order_id": "A-1", "amount": "640", "reply": "We are sorry.", "confidence": 0.62}
    receipt = call(definition_of(example.pay), draft, {"idempotency_key": "k"})
    assert receipt == {"payment_id": "pay_A-1_640_k"}


def test_what_is_not_asked_for_is_not_given() -> None:
    bound = bind(definition_of(example.pay), example.PAYLOAD, {"idempotency_key": "k", "run": RUN, "input": {}})
    assert dict(bound.kwargs) == {"idempotency_key": "k"}


def test_feedback_comes_as_its_own_type() -> None:
    definition = definition_of(example.apologise)
    stored = {"note": "too much", "decision": "reject", "by": "sam", "gate": "g", "revision": 2, "later": "key"}
    bound = bind(definition, example.PAYLOAD, {"feedback": stored})
    assert bound.kwargs["feedback"] == Feedback(note="too much", decision="reject", by="sam", gate="g", revision=2)
    again = bind(definition, example.PAYLOAD, {"feedback": bound.kwargs["feedback"]})
    assert again.kwargs == bound.kwargs
    assert Feedback.from_json(again.kwargs["feedback"].to_json()) == again.kwargs["feedback"]


def test_feedback_that_is_not_there_is_the_default_or_a_refusal() -> None:
    analysis = {"order_id": "A", "severity": 1}
    assert "feedback" not in bind(definition_of(example.draft), analysis, {"input": COMPLAINT, "feedback": None}).kwargs
    error = refused("input_invalid", lambda: bind(definition_of(example.apologise), example.PAYLOAD, {}))
    assert "'feedback'" in str(error)


def test_a_required_parameter_may_receive_null() -> None:
    @step
    def takes(value: int, *, earlier: str | None, feedback: Feedback | None) -> int:
        return value

    bound = bind(definition_of(takes), 1, {"earlier": None})
    assert bound.kwargs == {"earlier": None, "feedback": None}


def test_the_run_and_the_key_are_passed_on_as_they_are() -> None:
    @step
    def takes(value: int, *, run: RunContext, idempotency_key: str) -> str:
        return f"{run.workflow}:{idempotency_key}"

    assert call(definition_of(takes), 1, {"run": RUN, "idempotency_key": "k"}) == "w:k"


def test_earlier_outputs_are_filled_by_name_and_type() -> None:
    @step
    def takes(value: int, *, analyse: example.Analysis) -> int:
        return analyse.severity + value

    assert call(definition_of(takes), 1, {"analyse": {"order_id": "A", "severity": 4}}) == 5
    error = refused("input_invalid", lambda: call(definition_of(takes), 1, {"analyse": {"order_id": "A"}}))
    assert "parameter 'analyse' of step 'takes' does not fit Analysis: /severity: Field required" in str(error)


def test_a_step_without_parameters_is_called_without_any() -> None:
    @step
    def tick() -> str:
        return "done"

    assert call(definition_of(tick), {"ignored": True}, {}) == "done"


def test_a_bad_input_is_named_by_its_path() -> None:
    error = refused("input_invalid", lambda: bind(definition_of(example.analyse), {"order_id": 5}, {}))
    assert str(error).startswith("the input of step 'analyse' does not fit Complaint: /order_id: ")
    assert "/text: Field required" in str(error)


def test_a_bad_output_is_named_by_its_path() -> None:
    value: Any = {"order_id": "A", "amount": "9000", "reply": "x", "confidence": 0.5}
    error = refused("output_invalid", lambda: dump(definition_of(example.draft), value))
    assert "the output of step 'draft' does not fit Resolution: /amount: " in str(error)


def test_what_a_step_raises_is_not_touched() -> None:
    @step
    def fails(value: int) -> int:
        raise KeyError(value)

    with pytest.raises(KeyError):
        call(definition_of(fails), 1, {})


def test_a_definition_without_a_function_cannot_be_called() -> None:
    definition = replace(definition_of(example.draft), function=None)
    refused("step_not_found", lambda: bind(definition, {}, {}))


class Money(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    amount: Decimal
    paid_on: date = Field(alias="paidOn")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Money, Money(amount=Decimal("1.50"), paid_on=date(2024, 1, 2)), {"amount": "1.50", "paidOn": "2024-01-02"}),
        (Decimal, Decimal("640.00"), "640.00"),
        (None, None, None),
        (
            MISSING,
            {"a": Decimal(1), "b": Money(amount=Decimal(2), paid_on=date(2024, 1, 2))},
            {"a": "1", "b": {"amount": "2", "paidOn": "2024-01-02"}},
        ),
        (list[Decimal], ("1", Decimal(2)), ["1", "2"]),
        (Any, {"a": [1, 2.5, "x", None, True]}, {"a": [1, 2.5, "x", None, True]}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (uuid.UUID, uuid.UUID(int=5), str(uuid.UUID(int=5))),
    ],
)
def test_a_result_becomes_json(annotation: Any, value: Any, expected: Json) -> None:
    assert dump_result(annotation, value) == expected


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def looped() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("annotation", [MISSING, Any])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [float("nan")]}, "/a/0 is nan"),
        ({"a": float("-inf")}, "/a is -inf"),
        ([2**53], "/0 is an integer beyond 2^53 - 1"),
        ({"a": {1: "x"}}, "/a has the key 1, which is not a string"),
        ("\ud800", ""),
        ("a\x00", "NUL"),
        (nested(65), "nested deeper than 64"),
        (nested(50_000), ""),
        (looped(), ""),
        ({"a": object()}, "no JSON form"),
        (lambda: None, "no JSON form"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_path(annotation: Any, value: Any, says: str) -> None:
    assert says in str(refused("output_invalid", lambda: dump_result(annotation, value)))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int, "x"), (Money, {"amount": "1"}), (None, 5), (dict[str, int], {"a": "x"}), (float, float("nan"))],
)
def test_a_result_of_the_wrong_type_is_refused(annotation: Any, value: Any) -> None:
    refused("output_invalid", lambda: dump_result(annotation, value))


def test_a_mutated_model_does_not_slip_through() -> None:
    money = Money(amount=Decimal(1), paid_on=date(2024, 1, 2))
    money.__dict__["amount"] = "a lot"
    refused("output_invalid", lambda: dump_result(Money, money))


def test_arguments_are_read_by_the_rules_of_json() -> None:
    assert load_argument(Strict, {"day": "2024-02-29"}).day == date(2024, 2, 29)
    assert load_argument(Decimal, "640.00") == Decimal("640.00")
    assert load_argument(MISSING, {"a": 1}) == {"a": 1}
    assert load_argument(tuple[int, ...], [1, 2]) == (1, 2)
    refused("input_invalid", lambda: load_argument(Strict, {"day": 5}))
    refused("input_invalid", lambda: load_argument(int, float("nan")))


def test_what_goes_out_comes_in_again() -> None:
    money = Money(amount=Decimal("1.50"), paid_on=date(2024, 1, 2))
    assert load_argument(Money, dump_result(Money, money)) == money


def test_a_step_in_a_class_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("steps_in_a_class")

    class Group:
        @staticmethod
        @step
        def inner(value: int) -> int:
            return value

    module.Group = Group  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "steps_in_a_class", module)
    assert resolve("steps_in_a_class:Group.inner").name == "inner"
