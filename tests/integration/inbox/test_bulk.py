"""Several human tasks at once: listed first, each with its own decision and log entry, nothing decided unseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk

LIMIT = 4


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url, max_bulk=LIMIT) as opened:
        yield opened


def _start(desk: Desk, workflow: str, *amounts: str) -> list[UUID]:
    return [desk.start(workflow, {"amount": amount}) for amount in amounts]


def _pick(browser: Browser, action: str, tasks: list[UUID], status: int = 200, **more: Any) -> None:
    """Tick the rows of the inbox and press the button below."""
    page = browser.get("/inbox?view=team")
    values = {node.value for node in page.find("input", name="item")}
    items = [value for value in values if UUID(value.partition(":")[0]) in tasks]
    assert len(items) == len(tasks), "each row has its box"
    items.sort(key=lambda value: tasks.index(UUID(value.partition(":")[0])))
    browser.post("/inbox/bulk", status, action=action, item=items, back="/inbox?view=team", **more)


def _states(desk: Desk, tasks: list[UUID]) -> list[tuple[Any, ...]]:
    return [desk.row(task)[:2] for task in tasks]


@pytest.mark.parametrize(("action", "outcome"), [("approve", "approved"), ("reject", "rejected")])
def test_many_are_decided_each_on_its_own_under_one_id(desk: Desk, action: str, outcome: str) -> None:
    tasks = _start(desk, "bulk", "10.50", "20", "0.005")
    ana = desk.as_("ana")
    before = desk.everything()
    _pick(ana, action, tasks)
    assert desk.everything() == before, "the first press records nothing"
    assert f"{action.capitalize()} 3 human tasks?" in ana.words
    assert "Sum of amount: 30.505." in ana.words
    assert "One decision and one log entry each." in ana.words
    if action == "approve":
        assert "Pays 10.50." in ana.words
    ana.press(f"{action.capitalize()} 3", note="seen\r\nall", reason="policy")
    assert "Done" in ana.page.one("h1").text
    assert _states(desk, tasks) == [("completed", outcome)] * 3
    ids = set()
    for task in tasks:
        assert desk.said(task) == [(action, "seen\nall", "policy", None, "inbox", None)]
        ids |= {row[0] for row in desk.sql("SELECT bulk_id FROM decisions WHERE human_task_id = %s", task)}
        (recorded,) = [event for event in desk.log(task) if event.type == "decision.recorded"]
        assert recorded.actor.name == "ana"
        assert desk.engine.verify(desk.run_of(task)).ok
    assert len(ids) == 1
    assert None not in ids
    assert [node.attrs["href"] for node in ana.page.find("a", class_="button primary")] == ["/inbox?view=team"]


def test_rejecting_is_for_gates_of_every_kind(desk: Desk) -> None:
    tasks = [*_start(desk, "plain", "1"), *_start(desk, "bulk", "2"), *_start(desk, "pair", "3")]
    ana = desk.as_("ana")
    _pick(ana, "reject", tasks)
    ana.press("Reject 3")
    assert _states(desk, tasks) == [("completed", "rejected")] * 3


def test_claiming_releasing_and_assigning(desk: Desk) -> None:
    tasks = _start(desk, "plain", "1", "2")
    ana = desk.as_("ana")
    for action, more, holder in (("claim", {}, "ana"), ("release", {}, None), ("assign", {"assignee": "sam"}, "sam")):
        _pick(ana, action, tasks)
        ana.press(f"{action.capitalize()} 2", **more)
        assert "Done" in ana.page.one("h1").text
        assert [desk.row(task)[3] for task in tasks] == [holder, holder]
        assert all(desk.engine.verify(desk.run_of(task)).ok for task in tasks)
    _pick(desk.as_("sam"), "release", tasks)


def test_assigning_names_the_candidates_and_demands_one(desk: Desk) -> None:
    tasks = _start(desk, "plain", "1")
    ana = desk.as_("ana")
    _pick(ana, "assign", tasks)
    options = [node.text for node in ana.page.one("select", name="assignee").find("option")]
    assert options == ["Choose…", "ana", "sam"]
    ana.press("Assign 1", 422, assignee="")
    assert "Choose whom to assign them to." in ana.words
    ana.press("Assign 1", assignee="sam")
    assert desk.row(tasks[0])[3] == "sam"
    sha = "0" * 64
    auditor = desk.as_("auditor")
    auditor.get("/inbox")
    auditor.post("/inbox/bulk", 200, action="assign", item=f"{tasks[0]}:{sha}")
    options = [node.text for node in auditor.page.one("select", name="assignee").find("option")]
    assert options == ["Choose…"], "who may not assign is not told the names"


def test_what_one_can_not_do_is_said_item_by_item(desk: Desk) -> None:
    mine, held = _start(desk, "plain", "1", "2")
    desk.engine.claim(held, by=desk.people["sam"])
    own = desk.start("plain", {"amount": "3"}, by="ana")
    ana = desk.as_("ana")
    _pick(ana, "claim", [mine, held, own])
    ana.press("Claim 3")
    assert "1 of 3 done" in ana.page.one("h1").text
    wrong = [node.text for node in ana.page.find("p", class_="wrong")]
    assert "sam has claimed this human task" in wrong[0]
    assert "who started the run may not decide its gates" in wrong[1]
    assert [desk.row(task)[3] for task in (mine, held, own)] == ["ana", "sam", None]


def test_a_gate_that_does_not_allow_it_is_not_approved_in_bulk(desk: Desk) -> None:
    tasks = [*_start(desk, "bulk", "1"), *_start(desk, "plain", "2")]
    ana = desk.as_("ana")
    _pick(ana, "approve", tasks)
    assert "Approve these one by one: their gate does not allow it in bulk." in ana.words
    assert ana.button("Approve 2").disabled
    items = [node.value for node in ana.page.find("input", name="item")]
    ana.post("/inbox/bulk/commit", 422, action="approve", item=items)
    assert "their gate does not allow it in bulk" in ana.words
    assert _states(desk, tasks) == [("open", None)] * 2


def test_only_what_is_of_one_gate_and_version_is_approved_together(desk: Desk) -> None:
    from dataclasses import replace

    from tests.integration.inbox.desk import FLOWS

    from signoff.model import SYSTEM

    tasks = [*_start(desk, "bulk", "1"), *_start(desk, "bulk-other", "2")]
    ana = desk.as_("ana")
    _pick(ana, "approve", tasks)
    assert "Approve in bulk only what is of the same gate and version." in ana.words
    assert ana.button("Approve 2").disabled
    items = [node.value for node in ana.page.find("input", name="item")]
    ana.post("/inbox/bulk/commit", 422, action="approve", item=items)
    old = _start(desk, "bulk-other", "3")
    (flow,) = [flow for flow in FLOWS if flow.workflow == "bulk-other"]
    desk.engine.register(replace(flow, description="newer"), by=SYSTEM)
    both = [*old, *_start(desk, "bulk-other", "4")]
    _pick(ana, "approve", both)
    assert "of the same gate and version" in ana.words
    assert _states(desk, [*tasks, *both]) == [("open", None)] * 4


def test_a_note_that_a_gate_wants_is_asked_for_and_what_was_typed_is_kept(desk: Desk) -> None:
    tasks = _start(desk, "noted", "1", "2")
    ana = desk.as_("ana")
    _pick(ana, "approve", tasks)
    ana.press("Approve 2", 422, reason="policy", note="  ")
    assert "These gates want a note" in ana.words
    assert "checked" in ana.page.one("input", value="policy").attrs
    assert _states(desk, tasks) == [("open", None)] * 2
    ana.press("Approve 2", 422, note="n" * 10_001)
    assert "more than 10000 characters" in ana.words
    assert ana.page.one("textarea", name="note").value == "n" * 10_001
    ana.press("Approve 2", note="fine")
    assert _states(desk, tasks) == [("completed", "approved")] * 2


@pytest.mark.parametrize("action", ["reject", "claim", "assign"])
def test_what_has_changed_since_the_list_was_made_is_left_out(desk: Desk, action: str) -> None:
    same = desk.start("refund", {"amount": "200"})
    changed = desk.start("refund", {"amount": "300"})
    ana = desk.as_("ana")
    ana.get("/inbox?view=team")
    items = [node.value for node in ana.page.find("input", name="item") if UUID(node.value[:36]) in (same, changed)]
    desk.redraft(changed, {"amount": "900"})
    ana.post("/inbox/bulk", 200, action=action, item=items)
    assert ana.words.count("It has changed since the list was made, and will be left out.") == 1
    if action == "reject":
        assert "Sum of amount: 200." in ana.words
    typed = {"reject": {"note": "no"}, "assign": {"assignee": "sam"}}.get(action, {})
    ana.press(f"{action.capitalize()} 2", **typed)
    assert "1 of 2 done" in ana.page.one("h1").text
    assert desk.row(changed)[0] == "open"
    assert desk.row(changed)[3] is None
    assert [said[0] for said in desk.said(changed)] == ["request_changes"]
    if action == "reject":
        assert desk.row(same)[:2] == ("completed", "rejected")
    else:
        assert desk.row(same)[3] == ("ana" if action == "claim" else "sam")


def test_what_was_decided_meanwhile_is_left_out_and_said(desk: Desk) -> None:
    tasks = _start(desk, "bulk", "1", "2")
    ana = desk.as_("ana")
    _pick(ana, "approve", tasks)
    desk.decide(tasks[0], "sam", "reject")
    ana.press("Approve 2")
    assert "1 of 2 done" in ana.page.one("h1").text
    assert "already completed" in ana.words
    assert _states(desk, tasks) == [("completed", "rejected"), ("completed", "approved")]


def test_at_most_so_many_as_the_setting_says(desk: Desk) -> None:
    tasks = _start(desk, "bulk", *["1"] * (LIMIT + 1))
    ana = desk.as_("ana")
    assert f"Select up to {LIMIT}" in ana.get("/inbox").one("main").text
    _pick(ana, "reject", tasks, 422)
    assert f"select 1 to {LIMIT}" in ana.words
    ana.post("/inbox/bulk", 422, action="reject")
    for path in ("/inbox/bulk", "/inbox/bulk/commit"):
        ana.post(path, 422, action="reject", item=[f"{task}:{'0' * 64}" for task in tasks])
    assert _states(desk, tasks) == [("open", None)] * (LIMIT + 1)
    # One that is named twice is one.
    _pick(ana, "reject", tasks[:LIMIT])
    item = ana.page.find("input", name="item")[0].value
    ana.post("/inbox/bulk", 200, action="reject", item=[item] * (LIMIT + 3))
    assert "Reject 1 human task?" in ana.words


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "delete"},
        {"action": ""},
        {"action": "request_changes"},
        {"action": "reject", "item": "x"},
        {"action": "reject", "item": "01a20304-6249-76bb-8d5a-b8ac3b7d68a5"},
        {"action": "reject", "item": "01a20304-6249-76bb-8d5a-b8ac3b7d68a5:00"},
        {"action": "reject", "item": "{01a20304-6249-76bb-8d5a-b8ac3b7d68a5}:" + "0" * 64},
    ],
)
def test_a_selection_that_can_not_be_is_refused(desk: Desk, fields: dict[str, str]) -> None:
    (task,) = _start(desk, "bulk", "1")
    ana = desk.as_("ana")
    ana.get("/inbox")
    fields = {"item": f"{task}:{'0' * 64}", **fields}
    for path in ("/inbox/bulk", "/inbox/bulk/commit"):
        ana.post(path, 422, **fields)
    assert desk.row(task)[:2] == ("open", None)


def test_what_one_may_not_see_is_neither_shown_nor_decided(desk: Desk) -> None:
    secret = desk.start("to-sam", {"amount": "1", "order_id": "x"})
    desk.sql("UPDATE human_tasks SET title = 'The secret title' WHERE id = %s", secret)
    ana = desk.as_("ana")
    ana.get("/inbox")
    sha = str(desk.sql("SELECT payload_sha256 FROM human_tasks WHERE id = %s", secret)[0][0])
    nowhere = "01a20304-6249-76bb-8d5a-b8ac3b7d68a5"
    for action in ("reject", "claim"):
        ana.post("/inbox/bulk", 200, action=action, item=[f"{secret}:{sha}", f"{nowhere}:{sha}"])
        assert "secret" not in ana.words
        assert ana.words.count("gone, or no longer yours to see") == 2
        ana.press(f"{action.capitalize()} 2")
        assert "0 of 2 done" in ana.page.one("h1").text
        assert "secret" not in ana.words
    assert desk.row(secret)[:4] == ("open", None, 1, None)


def test_the_sum_is_of_what_the_consequences_speak_of(desk: Desk) -> None:
    tasks = [
        desk.start("bulk", {"amount": amount, "count": 7, "confidence": 0.5, "am": 9}) for amount in ("0.1", "0.2")
    ]
    ana = desk.as_("ana")
    _pick(ana, "approve", tasks)
    notice = ana.page.one("p", class_="notice").text
    assert "amount: 0.3." in notice
    assert notice.count("Sum of") == 1


def test_it_leads_back_to_pages_of_ours_alone(desk: Desk) -> None:
    (task,) = _start(desk, "bulk", "1")
    ana = desk.as_("ana")
    ana.get("/inbox")
    for back in ("//evil.example", "https://evil.example", "javascript:alert(1)"):
        ana.post("/inbox/bulk", 200, action="reject", item=f"{task}:{'0' * 64}", back=back)
        assert {node.attrs["href"] for node in ana.page.one("main").find("a")} == {"/inbox"}
