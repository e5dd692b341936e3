"""The client of the API against servers that misbehave: bounded in time and size, and never started twice."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest

from signoff.cli import client as module
from signoff.cli.client import ApiProblem, Client, ConnectionLost, path
from signoff.errors import ConfigurationError, SignoffError

Handle = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(handle: Handle) -> Iterator[tuple[str, list[BaseHTTPRequestHandler]]]:
    """A server that answers as `handle` does, and the requests it has had."""
    requests: list[BaseHTTPRequestHandler] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            requests.append(self)
            size = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(size)
            handle(self)

        do_GET = do_POST = answer

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def answer(
    request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json", **headers: str
) -> None:
    request.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def problem(request: BaseHTTPRequestHandler, status: int, **members: object) -> None:
    answer(request, status, json.dumps(members).encode(), "application/problem+json")


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


def ask(url: str, **options: float) -> object:
    with Client(url, "so_key", **options) as client:
        return client.get(path("runs"))


def test_the_key_goes_in_the_header_and_ids_are_quoted() -> None:
    with (
        serving(lambda request: answer(request, 200, b"{}")) as (url, requests),
        Client(f"{url}/api/v1/", "so_key") as client,
    ):
        client.get(path("runs", "a/../b?c"), [("label", "a:b&c")])

    assert requests[0].headers["Authorization"] == "Bearer so_key"
    assert requests[0].path == "/api/v1/runs/a%2F..%2Fb%3Fc?label=a%3Ab%26c"


def test_a_problem_is_an_error_with_its_code_detail_and_fix() -> None:
    with (
        serving(lambda request: problem(request, 422, code="invalid", detail="bad", fix="better")) as (url, _),
        pytest.raises(ApiProblem) as caught,
    ):
        ask(url)

    assert (caught.value.status, caught.value.code, caught.value.detail, caught.value.fix) == (
        422,
        "invalid",
        "bad",
        "better",
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (404, b"<html>", "text/html", "answered 404"),
        (502, b"", "text/plain", "answered 502"),
        (200, b"<html>", "text/html", "not JSON"),
        (404, b"[]", "application/problem+json", "answered 404"),
    ],
)
def test_what_is_no_api_of_ours_is_called_that(status: int, body: bytes, kind: str, told: str) -> None:
    with (
        serving(lambda request: answer(request, status, body, kind)) as (url, _),
        pytest.raises(SignoffError, match=told) as caught,
    ):
        ask(url)

    assert caught.value.code == "not_an_api"


def test_a_redirection_is_not_followed_so_that_the_key_goes_nowhere_else() -> None:
    with (
        serving(lambda request: answer(request, 302, b"", Location="http://127.0.0.1:1/")) as (url, requests),
        pytest.raises(SignoffError, match="redirection"),
    ):
        ask(url)

    assert len(requests) == 1


def test_an_answer_that_is_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1000)

    with (
        serving(lambda request: answer(request, 200, b" " * 100_000)) as (url, _),
        pytest.raises(SignoffError, match="more than 1000 bytes"),
    ):
        ask(url)


def test_an_answer_that_never_ends_is_given_up() -> None:
    released = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000000")
        request.end_headers()
        while not released.wait(0.02):
            try:
                request.wfile.write(b" ")
            except OSError:
                break
        request.close_connection = True

    with serving(drip) as (url, _):
        try:
            with Client(url, None, seconds=0.2) as client, pytest.raises(ConnectionLost, match="did not answer within"):
                client.post(path("runs"), {})
        finally:
            released.set()


def test_an_api_that_is_away_for_a_moment_is_asked_again() -> None:
    answers = iter([503, 200])
    with serving(
        lambda request: (
            answer(request, 200, b"[1]") if next(answers) == 200 else problem(request, 503, code="unavailable")
        )
    ) as (url, requests):
        assert ask(url) == [1]

    assert len(requests) == 2


def test_one_that_stays_away_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAUSE_SECONDS", 0.01)
    with (
        serving(lambda request: problem(request, 503, code="unavailable", detail="gone")) as (url, requests),
        pytest.raises(ApiProblem, match="gone"),
    ):
        ask(url)

    assert len(requests) == module.MAX_TRIES


class TestABrokenConnection:
    """The request may have been carried out: it is repeated only where that is the same as saying it once."""

    def test_a_post_with_an_idempotency_key_is_repeated_with_the_same_key_and_body(self) -> None:
        def broken_once(request: BaseHTTPRequestHandler) -> None:
            if next(turns) == 0:
                hang_up(request)
            else:
                answer(request, 201, b"{}")

        turns = count()
        with serving(broken_once) as (url, requests), Client(url, None) as client:
            assert client.post(path("runs"), {"a": "ü"}, idempotency_key="k").status == 201

        assert [request.headers["Idempotency-Key"] for request in requests] == ["k", "k"]
        assert {request.body for request in requests} == {'{"a": "ü"}'.encode()}  # type: ignore[attr-defined]

    def test_one_without_is_not(self) -> None:
        with (
            serving(hang_up) as (url, requests),
            Client(url, None) as client,
            pytest.raises(ConnectionLost) as caught,
        ):
            client.post(path("runs", "1", "cancel"), {"reason": "x"})

        assert caught.value.sent
        assert len(requests) == 1

    def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(self) -> None:
        def close_after(request: BaseHTTPRequestHandler) -> None:
            answer(request, 200, b"{}")
            hang_up(request)

        with serving(close_after) as (url, requests), Client(url, None) as client:
            for _ in range(3):
                client.get(path("runs"))

        assert len(requests) == 3


def test_nobody_listening_is_said_at_once() -> None:
    with Client("http://127.0.0.1:1", None, hint="start it") as client, pytest.raises(ConnectionLost) as caught:
        client.post(path("runs"), {}, idempotency_key="k")

    assert (caught.value.sent, caught.value.fix) == (False, "start it")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8400", "ftp://x", "http://", "http://a:b", "http://me:pw@x", "http://x?y"]
)
def test_what_is_no_url_of_an_api_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Client(url, None)
