from __future__ import annotations

from typing import Any

import pytest

from signoff import Feedback, Retry, step
from signoff.definition.steps import MISSING, Signature, step_definition


def signature_of(function: Any) -> Signature:
    definition = step_definition(step(function))
    assert definition is not None
    assert definition.signature is not None
    return definition.signature


def test_parameters_are_told_apart() -> None:
    def draft(value: int, *, input: dict[str, Any], feedback: Feedback | None = None) -> str:
        return ""

    found = signature_of(draft)
    assert found.value is not None
    assert (found.value.name, found.value.annotation) == ("value", int)
    assert [(each.name, each.required) for each in found.keywords] == [("input", True), ("feedback", False)]
    assert found.returns is str
    assert found.problems == ()


def test_what_is_not_annotated_is_missing_and_not_none() -> None:
    def plain(value):  # type: ignore[no-untyped-def]
        return value

    found = signature_of(plain)
    assert found.value is not None
    assert found.value.annotation is MISSING
    assert found.returns is MISSING

    def returns_none() -> None:
        return None

    assert signature_of(returns_none).returns is type(None)


def test_what_nothing_can_fill_is_a_problem() -> None:
    def generator(value: int) -> Any:
        yield value

    def many(value: int, other: int, *rest: int, **more: int) -> int:
        return value

    assert [what for what, _ in signature_of(generator).problems] == ["is a generator"]
    assert [what for what, _ in signature_of(many).problems] == [
        "takes *rest",
        "takes **more",
        "has a second positional parameter 'other'",
    ]


def test_both_spellings_of_the_decorator_leave_the_function_alone() -> None:
    def bare(value: int) -> int:
        return value + 1

    assert step(bare) is bare
    assert step(retry=Retry(2), queue="q")(bare) is bare
    assert bare(1) == 2


def test_options_are_kept_as_written() -> None:
    @step(timeout="never", retry=Retry(attempts=0))
    def odd(value: int) -> int:
        return value

    definition = step_definition(odd)
    assert definition is not None
    assert definition.timeout == "never"
    assert definition.retry == Retry(attempts=0)


def test_retry_has_the_documented_defaults() -> None:
    assert Retry() == Retry(attempts=3, backoff="1s", factor=2.0, max_backoff="60s", jitter=0.2)
    with pytest.raises(AttributeError):
        Retry().attempts = 5  # type: ignore[misc]
