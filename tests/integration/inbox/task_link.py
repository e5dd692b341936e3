"""Links into one human task, for their tests: the pages, with and without possession, and what a person does there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.integration.inbox.desk import Browser, Desk

from signoff.store.task_links import list_links, revoke_link
from signoff_api.app import create_app

PAYLOAD: dict[str, Any] = {"amount": "640.00", "order_id": "A-881", "reply": "canary-of-the-reply"}
WORDS = "canary-of-the-reply"


def trusting_desk(desk: Desk) -> Desk:
    """The same pages, where having a link is enough."""
    settings = desk.settings.model_copy(update={"task_link_confirm": "possession"})
    return Desk(
        app=create_app(desk.engine, settings),
        engine=desk.engine,
        settings=settings,
        people=desk.people,
        keys=desk.keys,
    )


def link_path(desk: Desk, task: UUID, person: str = "ana") -> str:
    return desk.engine.issue_task_link(task, person).path


def stored(desk: Desk) -> list[tuple[Any, ...]]:
    """All that is in the database, sessions too."""
    sessions = desk.sql("SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM sessions t")
    return desk.everything() + sessions


def used(desk: Desk, task: UUID) -> list[bool]:
    return [link.used_at is not None for link in list_links(desk.engine.database, task)]


def choose(browser: Browser, decision: str = "approve", status: int = 200, **typed: str) -> None:
    """What a person does on the page: choose, and press."""
    assert browser.page.find("input", type="radio", name="decision", value=decision)
    form = browser.page.one("form", action=browser.path.partition("?")[0] + "/decide")
    data = {node.attrs["name"]: node.value for node in form.find("input", type="hidden")}
    response = browser.send("POST", form.attrs["action"] or "", data={**data, "decision": decision, **typed})
    browser._show(response, browser.path, status)


def sha(desk: Desk, task: UUID) -> str:
    ((found,),) = desk.sql("SELECT payload_sha256 FROM human_tasks WHERE id = %s", task)
    return str(found)


def end_link(desk: Desk, task: UUID, how: str, link_id: UUID) -> None:
    """Let it be expired, revoked, or superseded by newer ones."""
    if how == "expired":
        desk.sql("UPDATE task_links SET expires_at = clock_timestamp() WHERE id = %s", link_id)
    elif how == "revoked":
        revoke_link(desk.engine.database, link_id)
    else:
        for _ in range(5):
            link_path(desk, task)
