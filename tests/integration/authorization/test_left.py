"""Rights are those one has now: who is no longer in the group sees and does nothing more, whatever they did before."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.mutants import mutate
from werkzeug.test import TestResponse

from signoff.store.identity import update_principal
from signoff_api.inbox import lists


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        yield made


@pytest.fixture
def task(desk: Desk) -> UUID:
    """One in grace that sam has decided, before sam left; the session and the key sam had are still there."""
    update_principal(desk.engine.database, "sam", groups=("leads",))
    found = desk.start("grace", {"amount": "4711"})
    desk.decide(found, "sam", "approve")
    return found


@pytest.fixture
def sam(desk: Desk, task: UUID) -> Browser:
    """Sam's browser, open since before sam left."""
    browser = desk.as_("sam")
    assert "4711" in browser.get(f"/inbox?done={task}").one("main").text
    update_principal(desk.engine.database, "sam", groups=())
    return browser


def _api(desk: Desk, method: str, path: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {desk.keys['sam']}"}
    return desk.app.test_client().open(f"/api/v1{path}", method=method, headers=headers)


def test_nothing_of_it_is_shown_any_more(desk: Desk, task: UUID, sam: Browser) -> None:
    run_id = desk.run_of(task)
    for path in (f"/inbox/{task}", f"/inbox/{task}/payload.json", f"/runs/{run_id}"):
        sam.get(path, 404)
    for path in (f"/inbox?done={task}", "/inbox?view=done", "/inbox", "/runs", f"/runs?q={run_id}"):
        assert "4711" not in sam.get(path).one("main").text, path
    for path in (f"/human-tasks/{task}", f"/runs/{run_id}", f"/runs/{run_id}/events"):
        assert _api(desk, "GET", path).status_code == 404, path
    assert _api(desk, "GET", "/human-tasks?state=all").get_json()["items"] == []


def test_without_its_guard_the_word_about_what_one_did_would_show_it(
    desk: Desk, task: UUID, sam: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = "authorize(visit.principal, Action.READ_HUMAN_TASK, view.facts)"
    mutate(monkeypatch, lists.done_notice, guard, "pass")
    assert "4711" in sam.get(f"/inbox?done={task}").one("main").text


def test_nothing_of_it_is_theirs_to_change(desk: Desk, task: UUID, sam: Browser) -> None:
    before = desk.everything()
    sam.get("/inbox")
    for action in ("withdraw", "claim", "keep", "release", "comment", "decide"):
        sent = {"csrf": sam.csrf, "text": "hm", "decision": "approve"}
        assert sam.send("POST", f"/inbox/{task}/{action}", data=sent).status_code == 404, action
    assert _api(desk, "PUT", f"/human-tasks/{task}/claim").status_code == 403
    assert desk.everything() == before


def test_what_they_said_stands(desk: Desk, task: UUID, sam: Browser) -> None:
    """It was theirs to say then."""
    assert sam is not None
    assert desk.row(task)[4] == "approve"
    assert [said[0] for said in desk.said(task)] == ["approve"]
