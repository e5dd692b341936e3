"""The pages: putting a human task off, and deciding in the stead of somebody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.integration.work.test_delegations import call, delegate


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        yield made


def html(browser: Browser, path: str) -> str:
    return browser.send("GET", path).text


def test_what_is_put_off_leaves_the_list_has_a_tab_of_its_own_and_is_brought_back(desk: Desk) -> None:
    task = desk.start("plain", {"amount": "7"})
    sam = desk.as_("sam")
    assert "Snoozed" not in html(sam, "/inbox")
    sam.get(f"/inbox/{task}")
    assert sam.send("POST", f"/inbox/{task}/snooze", data={"csrf": sam.csrf, "hours": "4"}).status_code == 303
    page = html(sam, "/inbox")
    assert f"/inbox/{task}" not in page
    assert "Snoozed" in page
    assert f"/inbox/{task}" in html(sam, "/inbox?view=snoozed")
    assert f"/inbox/{task}" in html(desk.as_("ana"), "/inbox")
    assert "You put it off until" in html(sam, f"/inbox/{task}")
    assert sam.send("POST", f"/inbox/{task}/unsnooze", data={"csrf": sam.csrf}).status_code == 303
    assert f"/inbox/{task}" in html(sam, "/inbox")


def test_one_that_is_due_sooner_is_put_off_until_then(desk: Desk) -> None:
    task = desk.start("refund", {"amount": "640", "order_id": "A"})
    sam = desk.as_("sam")
    sam.get(f"/inbox/{task}")
    assert sam.send("POST", f"/inbox/{task}/snooze", data={"csrf": sam.csrf, "hours": "168"}).status_code == 303
    assert desk.sql(
        "SELECT s.until_at = t.due_at FROM snoozes s JOIN human_tasks t ON t.id = s.human_task_id WHERE t.id = %s", task
    ) == [(True,)]
    for wrong in ("", "5", "-1"):
        answer = sam.send("POST", f"/inbox/{task}/snooze", data={"csrf": sam.csrf, "hours": wrong})
        assert answer.status_code == 422


def test_who_has_a_mandate_decides_on_the_page_for_whom_it_names(desk: Desk) -> None:
    task = desk.start("plain", {"amount": "7"})
    made = delegate(desk, "ana", "max")
    max_ = desk.as_("max")
    assert f"/inbox/{task}" in html(max_, "/inbox")
    page = html(max_, f"/inbox/{task}")
    assert "In the stead of" in page
    assert 'id="refusal"' not in page
    max_.get(f"/inbox/{task}")
    ((sha,),) = desk.sql("SELECT payload_sha256 FROM human_tasks WHERE id = %s", task)
    said = {"csrf": max_.csrf, "decision": "approve", "payload_sha256": sha, "on_behalf_of": "ana"}
    assert max_.send("POST", f"/inbox/{task}/decide", data=said).status_code == 303
    assert desk.sql("SELECT on_behalf_of, delegation_id::text FROM decisions WHERE human_task_id = %s", task) == [
        ("ana", made["id"])
    ]
    call(desk, "ana", "DELETE", f"/delegations/{made['id']}")
    other = desk.start("plain", {"amount": "8"})
    assert max_.send("GET", f"/inbox/{other}").status_code == 404


def test_the_page_of_who_asked_for_it_is_closed_to_who_stands_in(desk: Desk) -> None:
    made = delegate(desk, "ana", "max")
    task = desk.start("plain", {"amount": "7"}, by="ana")
    assert 'id="refusal"' in html(desk.as_("max"), f"/inbox/{task}")
    call(desk, "ana", "DELETE", f"/delegations/{made['id']}")
