"""How headers and query parameters are read."""

from __future__ import annotations

import pytest
from flask import Flask, Request, request
from werkzeug.test import EnvironBuilder

from signoff.errors import InvalidInput, MalformedInput, PreconditionRequired, SignoffError
from signoff_api.request_models import HumanTaskListQuery, RunListQuery
from signoff_api.requests import read_idempotency_key, read_query, read_revision


def _request(query: str = "", headers: dict[str, str] | None = None, path: str = "/x") -> Request:
    environ = EnvironBuilder(path=path, query_string=query, headers=headers).get_environ()
    return Request(environ)


@pytest.mark.parametrize(
    ("header", "revision"),
    [
        ('"1"', 1),
        (' "12" ', 12),
        ('W/"3"', 3),
        ('"0"', 0),
        ('"01"', 0),
        ('"-1"', 0),
        ('"x"', 0),
        ('""', 0),
        ('"9999999999"', 0),
    ],
)
def test_if_match_names_a_revision_or_one_that_never_is(header: str, revision: int) -> None:
    assert read_revision(_request(headers={"If-Match": header})) == revision


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ('"1", "2"', PreconditionRequired),
        ("1", MalformedInput),
        ('w/"1"', MalformedInput),
        ("", MalformedInput),
        ('"1', MalformedInput),
        ('"a b"', MalformedInput),
    ],
)
def test_if_match_that_names_none_or_many_is_refused(header: str, error: type[SignoffError]) -> None:
    with pytest.raises(error):
        read_revision(_request(headers={"If-Match": header}))


def test_without_if_match_there_is_no_revision() -> None:
    assert read_revision(_request()) is None


def test_if_match_with_any_says_nothing_of_the_revision() -> None:
    assert read_revision(_request(headers={"If-Match": " * "})) is None


def test_a_fingerprint_is_of_the_place_and_the_body_but_not_of_its_spelling() -> None:
    def fingerprint(body: object, path: str = "/x") -> str:
        key = read_idempotency_key(_request(headers={"Idempotency-Key": "k"}, path=path), body)
        assert key is not None
        return key.fingerprint

    one = fingerprint({"a": 1, "b": [1.5]})
    assert one == fingerprint({"b": [1.5], "a": 1})
    assert len({one, fingerprint({"a": 1}), fingerprint({"a": 1, "b": [1.5]}, "/y")}) == 3
    assert read_idempotency_key(_request(), {}) is None


def test_a_parameter_is_given_once_and_known() -> None:
    for query, path in (
        ("q=a&q=b", "?q"),
        ("Q=a", "?Q"),
        ("q=%00", "?q"),
        ("limit=1_0", "?limit"),
        ("limit=%2B5", "?limit"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read_query(HumanTaskListQuery, _request(query))
        assert [error.path for error in caught.value.errors] == [path]


def test_labels_may_be_given_several_times() -> None:
    assert read_query(RunListQuery, _request("label=a:1&label=b:2:3")).label == ["a:1", "b:2:3"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00+00:00"),
        ("2026-01-31t09:30:00.123456z", "2026-01-31T09:30:00.123456+00:00"),
        ("2026-01-31T09:30:00%2B02:00", "2026-01-31T07:30:00+00:00"),
        ("2026-01-31T00:30:00-00:45", "2026-01-31T01:15:00+00:00"),
    ],
)
def test_a_time_is_by_rfc_3339(text: str, shown: str) -> None:
    found = read_query(RunListQuery, _request(f"created_after={text}")).created_after
    assert found is not None
    assert found.isoformat() == shown


@pytest.mark.parametrize(
    "text",
    [
        "1700000000",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-02-30T00:00:00Z",
        "2026-01-31T25:00:00Z",
        "now",
        "2026-W05-1T00:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_query(RunListQuery, _request(f"created_after={text}"))


def test_the_request_of_flask_is_read_the_same() -> None:
    with Flask("x").test_request_context("/?limit=7"):
        assert read_query(RunListQuery, request).limit == 7
