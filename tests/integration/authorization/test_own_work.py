"""Nobody approves their own work, whichever way they come, and no one person is two."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pytest
from tests.integration.authorization.own_work import FLOWS, api, code, decide, sha
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.mutants import mutate
from werkzeug.test import TestResponse

from signoff import authorization
from signoff.engine import Claimed, Failure
from signoff.errors import Forbidden
from signoff.model import SYSTEM
from signoff.store.callbacks import add_callback, link_person
from signoff.store.identity import create_api_key
from signoff.store.sessions import create_sign_in_link
from signoff.store.task_links import add_link
from signoff.transitions import decisions
from signoff.webhooks.signing import headers
from signoff_api.app import create_app
from signoff_api.inbox.pages import csrf_token

Way: TypeAlias = Callable[[Desk, UUID], TestResponse]
_BY_POSSESSION = {"task_link_confirm": "possession"}


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        for flow in FLOWS:
            made.engine.register(flow, by=SYSTEM)
        yield made


def _bulk(desk: Desk, task: UUID, key: str, decision: str = "approve") -> TestResponse:
    items = [{"id": str(task), "payload_sha256": sha(desk, task)}]
    return api(desk, key, "POST", "/bulk-decisions", {"decision": decision, "note": "all", "items": items})


def _form(browser: Browser, path: str, **fields: str) -> TestResponse:
    if not browser.page.find("input", name="csrf"):
        browser.get("/inbox")
    return browser.send("POST", path, data={"csrf": browser.csrf, **fields})


def _press(browser: Browser, task: UUID, decision: str = "approve", **fields: str) -> TestResponse:
    said = {"decision": decision, "payload_sha256": sha(browser.desk, task), **fields}
    return _form(browser, f"/inbox/{task}/decide", **said)


def _signed_in_by_link(desk: Desk, name: str) -> Browser:
    browser = desk.browser()
    browser.get(f"/sign-in/{create_sign_in_link(desk.engine.database, name, lasts=timedelta(minutes=5))}")
    browser.press("Sign in")
    return browser


def _second_key(desk: Desk, name: str) -> str:
    return create_api_key(desk.engine.database, name)


def _recorded(desk: Desk) -> list[tuple[Any, ...]]:
    """All that is stored, but for links: having one made is how an attempt begins."""
    return [row for row in desk.everything() if row[0] != "task_links"]


def _said(desk: Desk, task: UUID) -> int:
    return len(desk.said(task))


# Each way is prepared first, so that all that is stored can be compared before and after the attempt itself.
WAYS: dict[str, Callable[[Desk], Way]] = {
    "by her key": lambda desk: lambda _, task: decide(desk, task, desk.keys["ana"]),
    "by a second key": lambda desk: _by_key(desk, _second_key(desk, "ana")),
    "on a page": lambda desk: _on_page(desk.as_("ana")),
    "in a second session, by a link": lambda desk: _on_page(_signed_in_by_link(desk, "ana")),
    "through bulk": lambda desk: lambda _, task: _bulk(desk, task, desk.keys["ana"]),
    "rejecting through bulk": lambda desk: lambda _, task: _bulk(desk, task, desk.keys["ana"], "reject"),
    "on behalf of another": lambda desk: lambda _, task: decide(desk, task, desk.keys["ana"], on_behalf_of="sam"),
    "with an edit": lambda desk: lambda _, task: decide(desk, task, desk.keys["ana"], patch={"amount": "1"}),
    "by rejecting": lambda desk: lambda _, task: decide(desk, task, desk.keys["ana"], "reject", note="no"),
    "by asking for changes": lambda desk: (
        lambda _, task: decide(desk, task, desk.keys["ana"], "request_changes", note="more")
    ),
    "with an Idempotency-Key": lambda desk: (
        lambda _, task: decide(desk, task, desk.keys["ana"], headers={"Idempotency-Key": f"first {task}"})
    ),
    "by claiming it": lambda desk: (
        lambda _, task: api(desk, desk.keys["ana"], "PUT", f"/human-tasks/{task}/claim", None)
    ),
    "by claiming it on a page": lambda desk: _claims_on_page(desk.as_("ana")),
    "with an edit on a page": lambda desk: _on_page(desk.as_("ana"), edit="1"),
    "by a link to the human task": lambda desk: _by_task_link(desk, desk.as_("ana")),
    "by having such a link": lambda desk: _by_having_a_link(desk, "ana"),
    "by a callback": lambda desk: _by_callback(desk, "ana"),
}


def _by_key(desk: Desk, key: str) -> Way:
    return lambda _, task: decide(desk, task, key)


def _on_page(browser: Browser, edit: str | None = None) -> Way:
    browser.get("/inbox")
    fields = {} if edit is None else {"edit.amount": edit}
    return lambda _, task: _press(browser, task, **fields)


def _by_task_link(desk: Desk, browser: Browser, name: str = "ana") -> Way:
    """A link that was made before the run was known to be hers; none is made for her now."""
    return lambda _, task: _follow(desk, browser, task, name)


def _follow(desk: Desk, browser: Browser, task: UUID, name: str) -> TestResponse:
    with desk.engine.database.transaction() as cursor:
        token = add_link(cursor, task, desk.people[name], lasts=timedelta(hours=1))
    browser.get(f"/l/{token}")
    if browser.page.find("form", action=f"{browser.path}/open"):
        browser.press("Go on in this browser")
    held = browser.client.get_cookie("signoff_link_browser", domain="localhost", path=browser.path)
    # Who may not decide is shown no form; one that somebody made themselves is what has to be refused.
    csrf = browser.csrf if held is None else csrf_token(held.value)
    said = {"csrf": csrf, "decision": "approve", "payload_sha256": sha(desk, task)}
    return browser.send("POST", f"{browser.path}/decide", data=said)


def _by_having_a_link(desk: Desk, name: str) -> Way:
    trusting = replace(desk, app=create_app(desk.engine, desk.settings.model_copy(update=_BY_POSSESSION)))
    return _by_task_link(desk, trusting.browser(), name)


def _by_callback(desk: Desk, name: str) -> Way:
    made, token, secret = add_callback(desk.engine.database, f"portal-{uuid4()}")
    link_person(desk.engine.database, made.name, name, external_id="U1")

    def post(desk: Desk, task: UUID) -> TestResponse:
        said = {"person": "U1", "human_task_id": str(task), "decision": "approve", "payload_sha256": sha(desk, task)}
        body = json.dumps(said).encode()
        signed = headers(str(uuid4()), int(time.time()), body, [secret])
        return desk.app.test_client().post(
            f"/api/v1/callbacks/{token}", data=body, headers=signed, content_type="application/json"
        )

    return post


def _claims_on_page(browser: Browser) -> Way:
    browser.get("/inbox")
    return lambda _, task: _form(browser, f"/inbox/{task}/claim")


@pytest.mark.parametrize("flow", ["strict", "pair", "after"])
@pytest.mark.parametrize("way", WAYS)
def test_who_started_a_run_does_not_decide_it(desk: Desk, way: str, flow: str) -> None:
    attempt = WAYS[way](desk)
    task = desk.start(flow, {"amount": "7"}, by="ana")
    before = _recorded(desk)
    assert code(attempt(desk, task)) == "four_eyes"
    assert _recorded(desk) == before
    assert desk.sql("SELECT 1 FROM task_links WHERE human_task_id = %s AND used_at IS NOT NULL", task) == []
    assert decide(desk, task, desk.keys["sam"]).status_code == 201, "another person may"


def test_bulk_on_a_page_leaves_ones_own_out(desk: Desk) -> None:
    ana = desk.as_("ana")
    ana.get("/inbox")
    own = desk.start("strict", {"amount": "7"}, by="ana")
    other = desk.start("strict", {"amount": "8"})
    items = [f"{task}:{sha(desk, task)}" for task in (own, other)]
    data = {"csrf": ana.csrf, "action": "approve", "item": items}
    page = ana.send("POST", "/inbox/bulk/commit", data=data).text
    assert "1 of 2 done" in page
    assert (_said(desk, own), _said(desk, other)) == (0, 1)


def test_the_key_of_anothers_decision_repeats_nothing_for_her(desk: Desk) -> None:
    task = desk.start("pair", {"amount": "7"}, by="ana")
    key = {"Idempotency-Key": "of sam"}
    assert decide(desk, task, desk.keys["sam"], headers=key).status_code == 201
    before = desk.everything()
    response = decide(desk, task, desk.keys["ana"], headers=key)
    assert (response.status_code, code(response)) == (403, "four_eyes")
    assert "decision" not in response.get_json()
    assert desk.everything() == before


class TestNobodyHandsItToHer:
    """Assigned or delegated to who asked for it: refused, and no way round it where it has happened all the same."""

    @pytest.mark.parametrize("by", ["admin", "sam", "ana"])
    def test_by_the_api(self, desk: Desk, by: str) -> None:
        task = desk.start("strict", {"amount": "7"}, by="ana")
        before = desk.everything()
        response = api(desk, desk.keys[by], "PUT", f"/human-tasks/{task}/assignee", {"assignee": "ana"})
        assert response.status_code == 422
        assert desk.everything() == before

    def test_by_who_holds_it(self, desk: Desk) -> None:
        task = desk.start("strict", {"amount": "7"}, by="ana")
        desk.engine.claim(task, by=desk.people["sam"])
        before = desk.everything()
        assert _form(desk.as_("sam"), f"/inbox/{task}/assign", assignee="ana").status_code == 422
        assert desk.everything() == before

    def test_by_the_gate(self, desk: Desk) -> None:
        task = desk.start("to-ana", {"amount": "7"}, by="ana")
        assert desk.row(task)[3] is None
        assert desk.row(desk.start("to-ana", {"amount": "7"}))[3] == "ana", "she may decide what others ask for"

    def test_holding_it_lets_nobody_decide(self, desk: Desk) -> None:
        task = desk.start("strict", {"amount": "7"}, by="ana")
        desk.sql("UPDATE human_tasks SET assignee = 'ana' WHERE id = %s", task)
        assert code(decide(desk, task, desk.keys["ana"])) == "four_eyes"
        assert _said(desk, task) == 0


def test_who_asked_takes_back_no_decision_of_others(desk: Desk) -> None:
    task = desk.start("grace", {"amount": "7"}, by="ana")
    desk.decide(task, "sam", "approve")
    before = desk.everything()
    with pytest.raises(Forbidden) as refused:
        desk.engine.withdraw(task, by=desk.people["ana"])
    assert refused.value.code == "four_eyes"
    assert _form(desk.as_("ana"), f"/inbox/{task}/withdraw").status_code == 403
    assert desk.everything() == before


def test_what_a_program_asked_for_is_decided_by_the_person_behind_it(desk: Desk) -> None:
    """The requester is the service. Whose wish it passes on, Signoff can't know: a portal has to start runs as the
    person, with a key of theirs, where four eyes are to hold for them."""
    task = desk.start("strict", {"amount": "7"}, by="portal")
    assert decide(desk, task, desk.keys["ana"], on_behalf_of="ana").status_code == 201


@pytest.mark.parametrize("flow", ["own", "own-pair"])
def test_a_gate_may_allow_it_in_so_many_words(desk: Desk, flow: str) -> None:
    task = desk.start(flow, {"amount": "7"}, by="ana")
    assert decide(desk, task, desk.keys["ana"]).status_code == 201
    state = desk.row(task)[0]
    assert state == ("completed" if flow == "own" else "open"), "and she is still one person"


def test_who_retries_a_run_does_not_become_its_requester(desk: Desk) -> None:
    """Nor does who asked for it cease to be."""
    run_id = desk.engine.start(workflow="refund", input={}, requester=desk.people["ana"]).run_id
    ((epoch,),) = desk.sql("SELECT epoch FROM runs WHERE id = %s", run_id)
    claimed = desk.engine.claim_run(run_id, epoch=epoch, worker="w1")
    assert isinstance(claimed, Claimed)
    desk.engine.fail(claimed, Failure(code="step_raised", message="no", trace="Traceback", retryable=False))
    desk.engine.retry(run_id, by=desk.people["admin"])
    desk.work(run_id, {"amount": "640"})
    task = desk.task(run_id)
    assert code(decide(desk, task, desk.keys["ana"])) == "four_eyes"
    assert decide(desk, task, desk.keys["sam"]).status_code == 201


AGAIN: dict[str, Callable[[Desk], Way]] = {
    "by the same key": lambda desk: _by_key(desk, desk.keys["sam"]),
    "by a second key": lambda desk: _by_key(desk, _second_key(desk, "sam")),
    "on a page": lambda desk: _on_page(desk.as_("sam")),
    "in a second session": lambda desk: _on_page(_signed_in_by_link(desk, "sam")),
    "through bulk": lambda desk: lambda _, task: _bulk(desk, task, desk.keys["sam"]),
    "for another": lambda desk: lambda _, task: decide(desk, task, desk.keys["sam"], on_behalf_of="ana"),
    "with an Idempotency-Key": lambda desk: (
        lambda _, task: decide(desk, task, _second_key(desk, "sam"), headers={"Idempotency-Key": f"again {task}"})
    ),
    "by a link to the human task": lambda desk: _by_task_link(desk, desk.as_("sam"), "sam"),
    "by having such a link": lambda desk: _by_having_a_link(desk, "sam"),
    "by a callback": lambda desk: _by_callback(desk, "sam"),
    "with another note": lambda desk: lambda _, task: decide(desk, task, desk.keys["sam"], note="really"),
}


@pytest.mark.parametrize("first", ["api", "page"])
@pytest.mark.parametrize("way", AGAIN)
def test_one_person_is_one_voice(desk: Desk, way: str, first: str) -> None:
    attempt = AGAIN[way](desk)
    task = desk.start("pair", {"amount": "7"})
    if first == "api":
        assert decide(desk, task, desk.keys["sam"]).status_code == 201
    else:
        assert _press(desk.as_("sam"), task).status_code == 303
    assert attempt(desk, task).status_code in (200, 303), "it stood already"
    assert (_said(desk, task), desk.row(task)[0]) == (1, "open")
    assert decide(desk, task, desk.keys["sam"], "reject", note="on second thought").get_json()["code"] == (
        "already_voted"
    )
    assert (_said(desk, task), desk.row(task)[0]) == (1, "open")
    assert decide(desk, task, desk.keys["ana"]).status_code == 201
    assert desk.row(task)[0] == "completed"


def test_who_takes_back_and_says_it_again_is_still_one(desk: Desk) -> None:
    task = desk.start("pair", {"amount": "7"})
    for _ in range(3):
        assert decide(desk, task, desk.keys["sam"]).status_code == 201
        desk.engine.withdraw(task, by=desk.people["sam"])
    assert decide(desk, task, desk.keys["sam"]).status_code == 201
    assert (_said(desk, task), desk.row(task)[0]) == (4, "open")


def test_who_edits_does_not_approve_the_edit_a_second_time(desk: Desk) -> None:
    """Their own voice is carried to what they made of it, and there is one of it; voices of others are not."""
    task = desk.start("pair", {"amount": "7"})
    assert decide(desk, task, desk.keys["ana"]).status_code == 201
    assert decide(desk, task, desk.keys["sam"], patch={"amount": "9"}).status_code == 201
    assert (desk.row(task)[0], desk.row(task)[2]) == ("open", 2)
    again = decide(desk, task, _second_key(desk, "sam"))
    assert again.status_code == 409
    assert again.get_json()["code"] == "already_voted"
    assert _press(_signed_in_by_link(desk, "sam"), task).status_code == 409
    assert desk.row(task)[0] == "open"
    assert decide(desk, task, desk.keys["ana"]).status_code == 201
    assert desk.row(task)[0] == "completed"


@pytest.mark.parametrize("way", WAYS)
def test_without_four_eyes_every_way_is_open(desk: Desk, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What refuses is that guard, and not that the attempt was no good."""
    attempt = WAYS[way](desk)
    task = desk.start("strict", {"amount": "7"}, by="ana")
    mutate(monkeypatch, authorization._authorize_decider, "facts.four_eyes and", "False and")
    response = attempt(desk, task)
    assert response.status_code in (200, 201, 303)
    assert response.mimetype == "text/html" or "code" not in response.get_json()


def test_the_database_too_knows_one_voice_of_each(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the check not there, the second vote would break the transaction instead of being counted."""
    task = desk.start("pair", {"amount": "7"})
    assert decide(desk, task, desk.keys["sam"]).status_code == 201
    mutate(monkeypatch, decisions._expect_undecided, "if any(", "if False and any(")
    assert decide(desk, task, desk.keys["sam"], "reject", note="no").status_code == 500
    assert (_said(desk, task), desk.row(task)[0]) == (1, "open")
