"""Workflows over HTTP: registering definitions and reading them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.integration.api.client import Api, paths, problem

GATE = {"gate": "ok", "reviewers": "leads"}


def _document(name: str, **more: Any) -> dict[str, Any]:
    return {"workflow": name, "steps": [GATE], **more}


def test_the_same_content_is_the_same_version_in_yaml_and_json(api: Api) -> None:
    author = api.as_("author")
    first = author.put("/workflows/same", json=_document("same"))
    assert first.status_code == 201
    assert first.headers["Location"] == "/api/v1/workflows/same/versions/1"
    text = "workflow: same\nsteps:\n  - gate: ok\n    reviewers: leads\n"
    for media_type in ("application/yaml", "application/x-yaml", "text/yaml"):
        again = author.put("/workflows/same", data=text, content_type=media_type)
        assert again.status_code == 200
        assert again.get_json() == first.get_json()


def test_other_content_is_the_next_version_and_earlier_ones_stay(api: Api) -> None:
    author = api.as_("author")
    one = author.ok(author.put("/workflows/next", json=_document("next")), 201)
    two = author.ok(author.put("/workflows/next", json=_document("next", description="new")), 201)
    assert (one["version"], two["version"]) == (1, 2)
    assert author.ok(author.get("/workflows/next"))["description"] == "new"
    assert author.ok(author.get("/workflows/next/versions/1"))["graph"] == one["graph"]
    problem(author.get("/workflows/next/versions/3"), 404, "not_found")


@pytest.mark.parametrize(
    "place",
    [
        "/workflows/none",
        "/workflows/none/versions/1",
        "/workflows/expense/versions/0",
        "/workflows/expense/versions/99999999999",
        "/workflows/expense/versions/x",
        "/workflows/a%00b",
        "/workflows/" + "x" * 200,
    ],
)
def test_what_is_not_there_is_not_found(api: Api, place: str) -> None:
    problem(api.as_("admin").get(place), 404, "not_found")


def test_every_fault_is_listed_and_nothing_is_registered(api: Api) -> None:
    document = {
        "workflow": "faulty",
        "steps": [
            {"gate": "one", "reviewers": "leads", "due": "4 hours"},
            {"gate": "two", "reviewers": "leads", "review_if": "a >"},
            {"gate": "two", "reviewers": "leads", "surprise": 1},
        ],
    }
    found = problem(api.as_("author").put("/workflows/faulty", json=document), 422, "definition")
    codes = {error["code"] for error in found["errors"]}
    assert {"E102", "E103", "E105", "E115"} <= codes
    assert all(error["where"] and error["what"] for error in found["errors"])
    problem(api.as_("author").get("/workflows/faulty"), 404, "not_found")


def test_the_name_in_the_path_is_the_name_in_the_document(api: Api) -> None:
    response = api.as_("author").put("/workflows/other", json=_document("same"))
    assert paths(problem(response, 422, "invalid")) == {"/workflow"}


@pytest.mark.parametrize(
    ("data", "media_type", "status", "code"),
    [
        (b"{", "application/json", 400, "malformed"),
        (b'{"workflow":"w","workflow":"w","steps":[]}', "application/json", 400, "malformed"),
        (b"[]", "application/json", 422, "invalid"),
        (b"a: *b", "application/yaml", 422, "definition"),
        (b"a: \xff", "application/yaml", 422, "definition"),
        (b"[" * 100_000, "application/yaml", 422, "definition"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
        (b"x", "", 415, "unsupported_media_type"),
        (b"workflow: w", "application/yaml; charset=utf-16", 415, "unsupported_media_type"),
    ],
)
def test_what_cannot_be_read_is_refused(api: Api, data: bytes, media_type: str, status: int, code: str) -> None:
    problem(api.as_("author").put("/workflows/w", data=data, content_type=media_type), status, code)


@pytest.mark.parametrize("name", ["portal", "ana", "auditor", "operator", "nobody"])
def test_only_authors_register(api: Api, name: str) -> None:
    problem(api.as_(name).put("/workflows/w", json=_document("w")), 403, "forbidden")


def test_workflows_are_listed_by_name_each_with_its_newest_version(api: Api) -> None:
    author = api.as_("author")
    for name in ("list-c", "list-a", "list-b"):
        author.register(json.dumps(_document(name)), name)
    author.register(json.dumps(_document(name, description="2")), name)
    seen: list[Any] = []
    cursor = ""
    while True:
        page = author.ok(author.get(f"/workflows?limit=2{cursor}"))
        assert len(page["items"]) <= 2
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    names = [item["name"] for item in seen]
    assert names == sorted(set(names))
    assert {item["name"]: item["version"] for item in seen}["list-b"] == 2
    assert all("graph" not in item for item in seen)
