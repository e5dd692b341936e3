"""Following a run while the API comes and goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from tests.integration.cli.test_client import answer, problem, serving

from signoff.cli import client, following
from signoff.cli.client import ApiProblem, Client
from signoff.cli.following import Follower
from signoff.cli.output import Output
from signoff.cli.target import Target

RUN = {"id": "1", "status": "running", "current_node": "draft", "human_tasks": []}
NO_EVENTS = json.dumps({"items": [], "next_cursor": None}).encode()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(following, "_LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(following, "_FIRST_PAUSE", 0.001)


def follow(url: str) -> int:
    with Client(url, None) as made:
        return Follower(made, Target(api_url=url, key=None), Output(), through_gates=False).follow("1")


class Api:
    """An API that is away for `away` requests after its first answer; the run has completed when it is back."""

    def __init__(self, away: int) -> None:
        self._turns: Iterator[str] = iter(["running", *["away"] * away])

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.partition("?")[0].endswith("/events"):
            answer(request, 200, NO_EVENTS)
            return
        status = next(self._turns, "completed")
        if status == "away":
            problem(request, 503, code="unavailable", detail="the database is away")
        else:
            answer(request, 200, json.dumps(RUN | {"status": status}).encode())


def test_an_api_that_is_restarted_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Api(away=3 * client.MAX_TRIES)) as (url, _):
        assert follow(url) == following.EXIT_DONE

    assert capsys.readouterr().err.count("the database is away; asking again") == 1


def test_one_that_does_not_come_back_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.05)

    with serving(Api(away=100_000)) as (url, _), pytest.raises(ApiProblem):
        follow(url)


def test_one_that_was_never_there_is_an_error_at_once() -> None:
    with serving(lambda request: problem(request, 503, code="unavailable")) as (url, requests):
        with pytest.raises(ApiProblem):
            follow(url)

        assert len(requests) == client.MAX_TRIES
