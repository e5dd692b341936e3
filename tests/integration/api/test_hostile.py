"""Hostile input is boring: it is refused in so many words, and never with a status of 5xx."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from tests.integration.api.client import Api, Contract, paths, problem

from signoff.engine import build_engine
from signoff.settings import Settings
from signoff_api.app import FEATURES, create_app
from signoff_api.openapi import describe

START = '{"workflow": "expense", "input": {"amount": %s}}'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "UTF-8"),
        (START.encode() % b"NaN", "NaN"),
        (START.encode() % b"-Infinity", "Infinity"),
        (START.encode() % b"1e999", "1e999"),
        (START.encode() % b"9007199254740993", "9007199254740993"),
        (START.encode() % (b"1" * 10_000), "integer"),
        (b'{"workflow": "expense", "workflow": "other", "input": 1}', '"workflow"'),
        (b'{"workflow": "expense", "input": {"a": 1, "a": 2}}', '"a"'),
        (START.encode() % (b"[" * 64 + b"]" * 64), "64"),
        (b"[" * 100_000, "64"),
        (b'{"a":' * 100_000, "64"),
        (START.encode() % b'"\\ud800"', "/input/amount"),
        (START.encode() % b'"a\\u0000b"', "/input/amount"),
        (b'{"workflow": "exp\\u0000ense", "input": 1}', "/workflow"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
    ],
)
def test_what_is_not_strict_json_is_malformed(api: Api, body: bytes, says: str) -> None:
    response = api.as_("portal").post("/runs", data=body, content_type="application/json")
    assert says in problem(response, 400, "malformed")["detail"]


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_a_body_is_an_object(api: Api, body: bytes) -> None:
    response = api.as_("portal").post("/runs", data=body, content_type="application/json")
    assert problem(response, 422, "invalid")["errors"] == [{"path": "/", "message": "is no object"}]


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
def test_another_media_type_is_not_read(api: Api, media_type: str) -> None:
    body = START.encode() % b"1"
    problem(api.as_("portal").post("/runs", data=body, content_type=media_type), 415, "unsupported_media_type")
    assert api.as_("portal").post("/runs", data=body, content_type="application/json; charset=UTF-8").status_code == 201


def test_a_body_over_the_limit_is_refused_before_it_is_read(api: Api) -> None:
    body = START.encode() % (b" " * 1_048_576 + b"1")
    problem(api.as_("portal").post("/runs", data=body, content_type="application/json"), 413, "body_too_large")
    within = START.encode() % (b" " * 1_048_000 + b"1")
    assert api.as_("portal").post("/runs", data=within, content_type="application/json").status_code == 201


@pytest.mark.parametrize("spelled", ["01a20304624976bb8d5ab8ac3b7d68a5", "{01a20304-6249-76bb-8d5a-b8ac3b7d68a5}", "x"])
def test_an_id_has_one_form_in_a_path_a_query_and_a_body(api: Api, spelled: str) -> None:
    admin = api.as_("admin")
    problem(admin.get(f"/runs/{spelled}"), 404, "not_found")
    assert paths(problem(admin.get(f"/human-tasks?run={spelled}"), 422, "invalid")) == {"?run"}
    body = {"decision": "approve", "items": [{"id": spelled, "payload_sha256": "0" * 64}]}
    assert paths(problem(admin.post("/bulk-decisions", body), 422, "invalid")) == {"/items/0/id"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/runs"),
        ("PUT", "/workflows/w"),
        ("PUT", "/human-tasks/01a20304-6249-76bb-8d5a-b8ac3b7d68a5/claim"),
        ("GET", "/runs"),
    ],
)
def test_a_large_body_is_refused_whatever_it_is_and_wherever_it_goes(api: Api, method: str, path: str) -> None:
    response = api.as_("admin").send(method, path, data=b"x" * 1_048_577, content_type="text/plain")
    problem(response, 413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/runs", {"GET", "HEAD", "POST"}),
        ("PATCH", "/api/v1/workflows/w", {"GET", "HEAD", "PUT"}),
        ("OPTIONS", "/api/v1/human-tasks", {"GET", "HEAD"}),
        ("GET", "/api/v1/bulk-decisions", {"POST"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_there_is_told_which_are(api: Api, method: str, path: str, allowed: set[str]) -> None:
    response = api.as_("admin").send(method, path, raw=True)
    problem(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1",
        "/api/v2/runs",
        "/api/v1/runs/",
        "//api/v1/runs",
        "/api/v1/../healthz",
        "/static/x",
        "/%ff",
        "/docs/",
    ],
)
def test_an_address_without_anything_is_a_problem_too(api: Api, path: str) -> None:
    problem(api.as_(None).send("GET", path, raw=True), 404, "not_found")


def test_every_answer_carries_the_safety_headers(api: Api) -> None:
    for path, status in (("/api/v1/runs", 200), ("/healthz", 200), ("/docs", 200), ("/none", 404)):
        response = api.as_("admin").send("GET", path, raw=True, headers={"X-Request-Id": "a b\n".strip() + "<script>"})
        assert response.status_code == status
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])
        assert not any(name.startswith("Access-Control-") for name, _ in response.headers)
    assert api.as_("admin").get("/runs").headers["Cache-Control"] == "no-store"


def test_a_read_changes_nothing(api: Api, module_database_url: str) -> None:
    run = api.as_("portal").start("expense", {"amount": 1})
    task = run["human_tasks"][0]

    def everything() -> list[Any]:
        with psycopg.connect(module_database_url) as connection:
            return [
                connection.execute(
                    f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t"
                ).fetchone()
                for table in (
                    "runs",
                    "events",
                    "human_tasks",
                    "decisions",
                    "principals",
                    "api_keys",
                    "idempotency_keys",
                )
            ]

    before = everything()
    for place in (
        f"/human-tasks/{task}",
        f"/human-tasks/{task}/decisions",
        f"/human-tasks/{task}/claim",
        "/human-tasks",
        f"/runs/{run['id']}",
        f"/runs/{run['id']}/audit",
        f"/runs/{run['id']}/cancel",
        "/audit/verification",
        "/bulk-decisions",
    ):
        for method in ("GET", "HEAD"):
            api.app.test_client().open(
                f"/api/v1{place}", method=method, headers={"Authorization": f"Bearer {api.keys['ana']}"}
            )
    assert everything() == before


def test_a_bug_is_told_by_a_reference_and_nothing_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("signoff_api.runs.list_runs", broken)
    response = api.as_("ana").get("/runs")
    found = problem(response, 500, "internal")
    assert found["reference"] == response.headers["X-Request-Id"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_while_the_database_is_away_the_answer_is_to_come_back(api: Api, valkey_url: str) -> None:
    settings = Settings(database_url="postgresql://postgres@127.0.0.1:1/none", broker_url=valkey_url)
    engine = build_engine(settings)
    away = Api(app=create_app(engine, settings), engine=engine, contract=Contract(describe(FEATURES)), keys=api.keys)
    response = away.as_("ana").get("/runs")
    problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert "127.0.0.1" not in response.text
    ready = away.as_(None).send("GET", "/readyz", raw=True)
    assert "database" in problem(ready, 503, "unavailable")["detail"]
    assert "broker" not in ready.get_json(force=True)["detail"]
    assert away.as_(None).send("GET", "/healthz", raw=True).status_code == 200
    metrics = away.as_(None).send("GET", "/metrics", raw=True).text
    assert "signoff_database_up 0.0" in metrics
    assert "signoff_runs{" not in metrics
    engine.close()
