"""The contract is one: routes, the OpenAPI document, the documentation and the table of problems agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from flask import Flask

from signoff import errors
from signoff.definition.faults import DefinitionError, Fault
from signoff.engine import build_engine
from signoff.settings import Settings
from signoff_api import problems
from signoff_api.app import FEATURES, create_app
from signoff_api.inbox.blueprint import FEATURES as PAGES
from signoff_api.openapi import describe

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/style.css"}
PUBLIC_PAGES = {
    ("GET", "/"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-in/password"),
    ("GET", "/sign-in/oidc"),
    ("GET", "/sign-in/oidc/callback"),
    ("GET", "/sign-in/{token}"),
    ("POST", "/sign-in/{token}"),
    ("GET", "/l/{token}"),
    ("GET", "/assets/{name}"),
    ("GET", "/assets/vendor/{name}"),
}
PROMISED = """
GET /workflows | GET /workflows/{name} | GET /workflows/{name}/versions/{number} | PUT /workflows/{name}
POST /runs | GET /runs | GET /runs/{id} | GET /runs/{id}/events | POST /runs/{id}/cancel | POST /runs/{id}/retry
GET /human-tasks | GET /human-tasks/{id} | PUT /human-tasks/{id}/claim | DELETE /human-tasks/{id}/claim
PUT /human-tasks/{id}/assignee | POST /human-tasks/{id}/comments | POST /human-tasks/{id}/decisions
POST /bulk-decisions | GET /runs/{id}/audit | GET /audit/verification
GET /webhooks | POST /webhooks | GET /webhooks/{id} | DELETE /webhooks/{id} | POST /webhooks/{id}/secret
POST /webhooks/{id}/enable | POST /webhooks/{id}/test | GET /webhooks/{id}/deliveries
POST /webhooks/{id}/deliveries/{delivery_id}/redeliver
GET /authority | PUT /authority | DELETE /authority/{id}
POST /callbacks/{token}
GET /delegations | POST /delegations | DELETE /delegations/{id}
PUT /human-tasks/{id}/snooze | DELETE /human-tasks/{id}/snooze
"""
SIGNED = {"/api/v1/callbacks/{token}"}
"""Without a key: what is posted there is signed."""


@pytest.fixture(scope="module")
def app() -> Flask:
    """The app on an engine that never gets to connect to anything."""
    settings = Settings(database_url="postgresql:///none?host=/nowhere", broker_url="redis://127.0.0.1:1/0")
    return create_app(build_engine(settings), settings)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe(FEATURES)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _routes(app: Flask, *, pages: bool) -> set[tuple[str, str]]:
    """Verbs and paths of the pages, or of all else: the pages are for people and no operations of the API."""
    return {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
        if rule.endpoint.startswith("inbox.") == pages
    }


def test_every_route_is_described_and_nothing_else(app: Flask, document: dict[str, Any]) -> None:
    assert _routes(app, pages=False) == {(method, path) for method, path, _ in _operations(document)}


def test_every_page_demands_a_session_but_those_that_lead_to_one(app: Flask) -> None:
    pages = _routes(app, pages=True)
    assert pages > PUBLIC_PAGES
    assert pages == {(page.method, page.path) for feature in PAGES for page in feature.declared}
    assert {(page.method, page.path) for feature in PAGES for page in feature.declared if page.public} == PUBLIC_PAGES
    assert {method for method, _ in pages} == {"GET", "POST"}
    for method, path in pages - PUBLIC_PAGES:
        place = re.sub(r"\{\w+\}", "01a20304-6249-76bb-8d5a-b8ac3b7d68a5", path)
        for cookie in (None, "x", "A" * 44):
            client = app.test_client()
            if cookie is not None:
                client.set_cookie("signoff_session", cookie)
            response = client.open(f"{place}?x=1", method=method, data=b"x=1")
            if method == "POST":
                assert response.status_code == 401, path
                continue
            assert response.status_code == 303, path
            assert response.headers["Location"] == "/sign-in?next=" + quote(f"{place}?x=1", safe="")
            # A piece of a page can't be replaced by the form; the whole page goes there.
            piece = client.get(place, headers={"HX-Request": "true"})
            assert (piece.status_code, piece.headers["HX-Redirect"]) == (401, "/sign-in")


def test_no_page_and_no_operation_share_a_path(app: Flask) -> None:
    assert not {path for _, path in _routes(app, pages=True)} & {path for _, path in _routes(app, pages=False)}


def test_every_promised_operation_is_there(document: dict[str, Any]) -> None:
    promised = {tuple(line.split()) for line in PROMISED.replace("\n", " | ").split(" | ") if line.strip()}
    there = {
        (method, re.sub(r"\{(run|human_task|webhook|delegation|limit)_id\}", "{id}", path.removeprefix("/api/v1")))
        for method, path, _ in _operations(document)
        if path not in PUBLIC
    }
    assert there == promised


def test_everything_but_the_public_demands_a_key(app: Flask, document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        if path in PUBLIC:
            assert operation["security"] == []
            continue
        assert operation["security"] == [{"signature" if path in SIGNED else "api_key": []}]
        if path in SIGNED:
            continue  # it asks the database who has signed; see the tests of callbacks
        place = re.sub(r"\{\w+\}", "01a20304-6249-76bb-8d5a-b8ac3b7d68a5", path)
        # Even a request that is wrong in every other way.
        response = app.test_client().open(f"{place}?x=1", method=method, data=b"{", content_type="text/plain")
        assert response.status_code == 401, (method, path)
        assert response.content_type == "application/problem+json"
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="signoff"'


def test_the_document_is_whole(document: dict[str, Any]) -> None:
    names = set(document["components"]["schemas"])

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for inner in part.values():
                yield from references(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from references(inner)

    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= names
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [operation for _, _, operation in _operations(document)]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all(operation["summary"] and operation["responses"] for operation in operations)
    assert document["openapi"].startswith("3.1")


def test_the_bounds_of_parameters_are_said_in_json_schema(document: dict[str, Any]) -> None:
    known = {"type", "format", "enum", "default", "minimum", "maximum", "minLength", "maxLength", "pattern", "items"}
    for _, path, operation in _operations(document):
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            assert set(schema) <= known | {"maxItems", "example", "$ref"}, (path, parameter["name"], schema)
            if parameter["name"] == "limit":
                assert (schema["minimum"], schema["maximum"]) == (1, 200)


def test_requests_refuse_what_they_do_not_know(document: dict[str, Any]) -> None:
    for _, path, operation in _operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            name = content["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name]["additionalProperties"] is False, path


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "src") and value:
                self.links.append(value)


def test_the_page_shows_every_operation_and_asks_nobody_else(app: Flask, document: dict[str, Any]) -> None:
    response = app.test_client().get("/docs")
    assert response.status_code == 200
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    page = _Page()
    page.feed(response.text)
    assert len(page.ids) == len(set(page.ids))
    for _, _, operation in _operations(document):
        assert operation["operationId"] in page.ids
    for link in page.links:
        assert link.startswith("#") or app.test_client().get(link).status_code == 200, link
        assert not link.startswith("#") or link[1:] in page.ids, link
    assert not page.tags & {"script", "iframe", "img", "style"}
    assert app.test_client().get("/docs/style.css").content_type.startswith("text/css")
    assert "url(" not in app.test_client().get("/docs/style.css").text


def test_every_problem_has_its_paragraph(app: Flask) -> None:
    page = app.test_client().get("/docs").text
    for kind in problems.KINDS.values():
        assert f'id="problem-{kind.code}"' in page


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.MalformedInput("x"), 400, "malformed"),
        (errors.Unauthenticated("x"), 401, "unauthenticated"),
        (errors.Forbidden("x"), 403, "forbidden"),
        (errors.Forbidden("x", code="not_human"), 403, "not_human"),
        (errors.NotFound("x"), 404, "not_found"),
        (errors.Conflict("x", winner={"by": {}}), 409, "conflict"),
        (errors.Conflict("x", code="already_decided"), 409, "already_decided"),
        (errors.Conflict("x", code="brand_new"), 409, "brand_new"),
        (errors.StaleView(current={"revision": 1}), 412, "stale_view"),
        (errors.TooLarge("x"), 422, "too_large"),
        (errors.InvalidInput("x"), 422, "invalid"),
        (errors.InvalidInput("x", code="idempotency_mismatch"), 422, "idempotency_mismatch"),
        (errors.PreconditionRequired(), 428, "precondition_required"),
        (errors.Unavailable("x"), 503, "unavailable"),
        (DefinitionError([Fault(code="E101", where="w", what="x")]), 422, "definition"),
        (errors.Conflict("x", code="malformed"), 409, "malformed"),
        (errors.StepError("x"), 500, "step_error"),
        (errors.ConfigurationError("x"), 500, "configuration"),
    ],
)
def test_every_error_has_a_status(error: errors.SignoffError, status: int, code: str) -> None:
    found = problems.to_problem(error)
    assert (found["status"], found["code"]) == (status, code)
    assert found["type"].removeprefix("/docs#problem-") in problems.KINDS
    assert found["title"]
    assert found["detail"]


def test_every_code_the_engine_gives_a_caller_is_explained() -> None:
    """The codes that `signoff` raises towards callers, read from its source, so that a new one is not forgotten."""
    from pathlib import Path

    import signoff

    found = set()
    root = Path(signoff.__file__).parent
    for module in [
        root / "authorization.py",
        *(root / "transitions").glob("*.py"),
        *(root / "engine").glob("*.py"),
        root / "store" / "idempotency.py",
    ]:
        for raised in re.finditer(
            r"(?:Conflict|Forbidden|InvalidInput)\((?:[^()]|\([^()]*\))*?code=\"(\w+)\"", module.read_text()
        ):
            found.add(raised[1])
    assert {"already_decided", "four_eyes", "idempotency_mismatch"} <= found
    assert found <= set(problems.KINDS), found - set(problems.KINDS)
