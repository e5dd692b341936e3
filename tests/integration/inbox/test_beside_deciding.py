"""What the Review screen does besides deciding: taking back, claiming, assigning, commenting."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.inbox.review_form import PAYLOAD, controls_locked


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture
def task(desk: Desk) -> UUID:
    """A refund that waits for a lead."""
    return desk.start("refund", PAYLOAD)


def test_while_the_grace_runs_only_the_decider_can_take_it_back(desk: Desk) -> None:
    task = desk.start("grace", {"amount": "5"})
    ana, sam = desk.as_("ana"), desk.as_("sam")
    ana.get(f"/inbox/{task}?workflow=grace")
    ana.press("Approve")
    ana.press("Confirm approve")
    assert "It can be taken back for" in ana.words
    assert desk.row(task)[4] == "approve"
    sam.get(f"/inbox/{task}")
    assert "ana said approve. It takes effect" in sam.words
    assert not sam.page.find("button", data_undo=True)
    assert "It is decided; its grace runs." in sam.words
    assert controls_locked(sam.page)
    sam.post(f"/inbox/{task}/withdraw", 409)
    assert desk.row(task)[4] == "approve"
    ana.get(f"/inbox/{task}")
    assert "You said approve. It takes effect" in ana.words
    ana.press("Undo")
    assert desk.row(task)[0] == "open"
    assert desk.row(task)[4] is None
    assert "taken back" in ana.words
    assert not controls_locked(ana.page)


def test_the_undo_of_the_notice_takes_back(desk: Desk) -> None:
    task = desk.start("grace", {"amount": "6"})
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}?workflow=grace&q={desk.run_of(task)}")
    ana.press("Approve")
    ana.press("Confirm approve")
    assert ana.path.startswith("/inbox?")
    ana.press("Undo")
    assert desk.row(task)[4] is None
    assert ana.path.startswith(f"/inbox/{task}")


def test_claiming_keeping_releasing_assigning_and_commenting(desk: Desk, task: UUID) -> None:
    ana, sam = desk.as_("ana"), desk.as_("sam")
    ana.get(f"/inbox/{task}?workflow=refund")
    ana.press("Claim")
    assert desk.row(task)[3] == "ana"
    assert "claimed by you" in ana.words
    assert "workflow=refund" in ana.path
    assert ana.page.one(data_keep=True).attrs["data-keep"] == f"/inbox/{task}/keep"
    ((first,),) = desk.sql("SELECT claim_expires_at FROM human_tasks WHERE id = %s", task)
    ana.get(f"/inbox/{task}")
    response = ana.send("POST", f"/inbox/{task}/keep", data={"csrf": ana.csrf})
    assert response.status_code == 204
    ((second,),) = desk.sql("SELECT claim_expires_at FROM human_tasks WHERE id = %s", task)
    assert second > first
    sam.get(f"/inbox/{task}")
    assert "ana is on it" in sam.words
    assert sam.send("POST", f"/inbox/{task}/keep", data={"csrf": sam.csrf}).status_code == 409
    sam.press("Claim", 409)
    assert "ana has claimed this human task" in sam.words
    sam.post(f"/inbox/{task}/release", 409)
    assert desk.row(task)[3] == "ana"
    ana.get(f"/inbox/{task}")
    assert [node.text for node in ana.page.one("select", id="assignee").find("option")][1:] == ["sam"]
    ana.press("Assign", assignee="sam")
    assert desk.row(task)[3] == "sam"
    sam.get(f"/inbox/{task}")
    sam.press("Release")
    assert desk.row(task)[3] is None
    sam.press("Add comment", text=" Look at\r\nthis ")
    assert "Look at this" in sam.words
    assert [event.data["text"] for event in desk.log(task) if event.type == "human_task.commented"] == ["Look at\nthis"]
    sam.press("Add comment", 422, text="x" * 4_001)
    assert sam.page.one("textarea", id="comment").value == "x" * 4_001


@pytest.mark.parametrize("name", ["", "max", "portal", "robot", "nobody-at-all"])
def test_nobody_is_assigned_who_may_not_decide(desk: Desk, task: UUID, name: str) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    ana.post(f"/inbox/{task}/assign", 422, assignee=name)
    assert desk.row(task)[3] is None


def test_forms_lead_back_to_pages_of_ours_alone(desk: Desk, task: UUID) -> None:
    ana = desk.as_("ana")
    ana.get(f"/inbox/{task}")
    token = ana.csrf
    for back in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
    ):
        response = ana.send("POST", f"/inbox/{task}/claim", data={"csrf": token, "back": back})
        assert response.headers["Location"] == f"/inbox/{task}?view=team"


def test_at_most_the_first_press_of_two_at_once_is_recorded(desk: Desk, task: UUID) -> None:
    first, second = desk.as_("ana"), desk.as_("ana")
    for each in (first, second):
        each.get(f"/inbox/{task}")
        each.press("Approve")
    first.press("Confirm approve")
    second.press("Confirm approve")
    assert len(desk.said(task)) == 1
