"""Whoever is over their limit of authority is told before they decide, with who may approve instead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from tests.integration.inbox.desk import SCHEMA, Desk, open_desk
from tests.integration.inbox.html import Node
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step

from signoff.definition.graph import Graph
from signoff.model import SYSTEM
from signoff.store.sessions import create_sign_in_link


def _flow(name: str, *, editable: tuple[str, ...] = ()) -> Graph:
    return graph(
        step("draft", "ok", takes=("feedback",)),
        gate(
            "ok",
            "pay",
            authority=True,
            above=("managers",),
            options=STANDARD,
            changes_to="draft",
            payload_schema=SCHEMA,
            editable=editable,
        ),
        pay(),
        name=name,
    )


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        for flow in (_flow("limited"), _flow("limited-edit", editable=("amount",))):
            opened.engine.register(flow, by=SYSTEM)
        for subject, limit in (("group:leads", "amount <= 500.0"), ("group:managers", "amount <= 5000.0")):
            opened.engine.set_limit(subject=subject, limit=limit, by=opened.people["admin"])
        yield opened


def _task(desk: Desk, workflow: str, amount: str) -> UUID:
    started = desk.engine.start(workflow=workflow, input={}, requester=desk.people["portal"])
    desk.work(started.run_id, {"amount": amount})
    return desk.task(started.run_id)


def _disabled(page: Node) -> list[str]:
    return [str(button.attrs["value"]) for button in page.find("button", data_arm=True) if button.disabled]


def test_over_the_limit_approve_is_off_and_the_page_says_who_may(desk: Desk) -> None:
    task = _task(desk, "limited", "900.00")
    page = desk.as_("sam").get(f"/inbox/{task}")
    told = page.one("p", id="over-limit").text
    assert "amount <= 500.0" in told
    assert "managers" in told
    assert _disabled(page) == ["approve"]
    max_ = desk.as_("max")
    assert _disabled(max_.get(f"/inbox/{task}")) == []
    assert not max_.page.find("p", id="over-limit")


def test_within_the_limit_nothing_is_said_of_it(desk: Desk) -> None:
    page = desk.as_("sam").get(f"/inbox/{_task(desk, 'limited', '500.00')}")
    assert _disabled(page) == []
    assert not page.find("p", id="over-limit")


def test_what_may_be_edited_may_be_brought_within_it(desk: Desk) -> None:
    sam = desk.as_("sam")
    task = _task(desk, "limited-edit", "900.00")
    page = sam.get(f"/inbox/{task}")
    assert "What you edit counts" in page.one("p", id="over-limit").text
    assert _disabled(page) == []
    sam.press("Approve", edit__amount="600.00")
    refused = sam.press("Confirm approve", 403, edit__amount="600.00")
    assert "over your limit" in refused.text
    assert desk.said(task) == []
    sam.press("Approve", edit__amount="400.00")
    sam.press("Confirm approve", edit__amount="400.00")
    assert [said[0] for said in desk.said(task)] == ["approve"]


def test_a_link_leads_over_no_limit(desk: Desk) -> None:
    task, sam = _task(desk, "limited-edit", "900.00"), desk.as_("sam")
    page = sam.get(desk.engine.issue_task_link(task, "sam").path)
    assert "amount <= 500.0" in page.one("p", id="over-limit").text
    assert [node.value for node in page.find("input", name="decision") if node.disabled] == ["approve"]
    for edit in ({}, {"edit.amount": "600.00"}):
        said = {"csrf": sam.csrf, "decision": "approve", "payload_sha256": page.one(name="payload_sha256").value}
        refused = sam.send("POST", f"{sam.path}/decide", data=said | edit)
        assert refused.status_code == 403
        assert "over your limit" in refused.text
    assert desk.said(task) == []


def test_a_decision_on_the_pages_keeps_which_session_it_was(desk: Desk) -> None:
    task = _task(desk, "limited", "10.00")
    sam = desk.as_("sam")
    sam.get(f"/inbox/{task}")
    sam.press("Approve")
    sam.press("Confirm approve")
    (recorded,) = [event for event in desk.log(task) if event.type == "decision.recorded"]
    ids = {str(found) for (found,) in desk.sql("SELECT id FROM sessions")}
    assert recorded.data["authenticated"]["method"] == "session"
    assert recorded.data["authenticated"]["id"] in ids


def test_a_session_keeps_whether_it_was_begun_by_a_link_or_a_key(desk: Desk) -> None:
    link = create_sign_in_link(desk.engine.database, "max", lasts=timedelta(minutes=5))
    browser = desk.browser()
    browser.get(f"/sign-in/{link}")
    browser.press("Sign in as max")
    assert _begun(desk, "max") == ["link"]
    browser = desk.browser()
    browser.get("/sign-in")
    browser.press("Sign in", key=desk.keys["max"])
    assert _begun(desk, "max") == ["link", "api_key"]


def _begun(desk: Desk, name: str) -> list[str]:
    rows = desk.sql(
        "SELECT s.started_with FROM sessions s JOIN principals p ON p.id = s.principal_id"
        " WHERE p.name = %s AND s.started_with IS NOT NULL ORDER BY s.created_at",
        name,
    )
    return [str(begun) for (begun,) in rows]
