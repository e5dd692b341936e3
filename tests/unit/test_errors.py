"""The errors: each has a code of its own, a sentence when none is given, and says what it knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from signoff import errors
from signoff.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    SignoffError,
    StaleView,
    TooLarge,
    TooManyAttempts,
)


def _all(kind: type[SignoffError] = SignoffError) -> Iterator[type[SignoffError]]:
    for under in kind.__subclasses__():
        if under.__module__ == errors.__name__:
            yield under
            yield from _all(under)


CODES = {
    "MalformedInput": "malformed",
    "InvalidInput": "invalid",
    "TooLarge": "too_large",
    "Unauthenticated": "unauthenticated",
    "TooManyAttempts": "too_many_attempts",
    "Forbidden": "forbidden",
    "NotFound": "not_found",
    "Conflict": "conflict",
    "PreconditionRequired": "precondition_required",
    "StaleView": "stale_view",
    "Unavailable": "unavailable",
    "LeaseLost": "lease_lost",
    "StepError": "step_error",
    "ConfigurationError": "configuration",
}


def test_the_codes_are_these_and_never_change() -> None:
    assert {kind.__name__: kind.code for kind in _all()} == CODES
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", [kind for kind in _all() if kind not in (StaleView, TooManyAttempts)])
def test_its_first_sentence_is_what_it_says_when_nothing_else_is_said(kind: type[SignoffError]) -> None:
    made = kind()
    assert made.detail == str(made) == (kind.__doc__ or "").strip().splitlines()[0]
    assert made.detail.endswith(".")
    assert made.fix is None
    said = kind("so it is", fix="do this")
    assert (said.detail, str(said), said.fix) == ("so it is", "so it is", "do this")


def test_who_tried_too_often_is_told_how_long_to_wait() -> None:
    made = TooManyAttempts(wait_seconds=30)
    assert (made.detail, made.wait_seconds) == ((TooManyAttempts.__doc__ or ""), 30)
    assert "wait 30 seconds" in str(made.fix)


def test_a_code_of_its_own_is_of_one_error_and_not_of_its_kind() -> None:
    assert Forbidden("no", code="four_eyes").code == "four_eyes"
    assert Forbidden("no").code == "forbidden"


def test_bad_fields_are_named_in_the_detail_five_at_most_and_all_kept() -> None:
    bad = [FieldError(path=f"/{n}", message="is wrong") for n in range(7)]
    made = InvalidInput(errors=bad)
    assert made.errors == tuple(bad)
    assert made.detail == "; ".join(f"/{n}: is wrong" for n in range(5))
    assert InvalidInput("all of it", errors=bad).detail == "all of it"
    assert TooLarge().errors == ()


def test_a_bad_field_says_only_what_it_knows() -> None:
    assert FieldError(path="", message="m").to_json() == {"path": "", "message": "m"}
    assert FieldError(path="/a", message="m", fix="f").to_json() == {"path": "/a", "message": "m", "fix": "f"}


def test_what_is_told_is_a_copy() -> None:
    winner, current = {"outcome": "approved"}, {"revision": 2}
    conflict, stale = Conflict("late", winner=winner), StaleView(current=current)
    winner["outcome"], current["revision"] = "rejected", 3
    assert conflict.winner == {"outcome": "approved"}
    assert stale.current == {"revision": 2}
    assert stale.fix
    assert Conflict().winner is None


def test_no_error_knows_a_status_of_http() -> None:
    for kind in _all():
        assert not {name for name in dir(kind) if "status" in name or "http" in name}


def test_all_are_caught_as_one() -> None:
    with pytest.raises(SignoffError):
        raise NotFound
