"""Links into one human task are for one person: by the session, or by the browser that went on with it first."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.inbox.task_link import PAYLOAD, WORDS, choose, end_link, link_path, sha, stored, trusting_desk
from tests.mutants import mutate

from signoff.errors import Conflict, Forbidden, NotFound
from signoff.store import task_links
from signoff.store.identity import create_principal, update_principal
from signoff.store.sessions import revoke_all_sessions
from signoff.store.task_links import find_link, list_links


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url, public_url="https://localhost") as opened:
        yield opened


@pytest.fixture(scope="module")
def trusting(desk: Desk) -> Desk:
    return trusting_desk(desk)


@pytest.fixture
def task(desk: Desk) -> UUID:
    return desk.start("refund", PAYLOAD)


class TestForOnePerson:
    def test_who_is_signed_in_as_another_is_refused_and_shown_nothing(self, desk: Desk, task: UUID) -> None:
        path, sam = link_path(desk, task), desk.as_("sam")
        sam.get("/inbox")
        csrf = sam.csrf
        before = stored(desk)
        page = sam.get(path, 403)
        assert "made for somebody else" in page.text
        assert WORDS not in page.text
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": sha(desk, task)}
        assert sam.send("POST", f"{sam.path}/decide", data=data).status_code == 403
        assert desk.everything() == before[:-1]
        assert desk.said(task) == []

    def test_who_has_not_signed_in_is_asked_to_and_comes_back(self, desk: Desk, task: UUID) -> None:
        browser = desk.browser()
        page = browser.get(f"{link_path(desk, task)}?decision=approve")
        assert browser.path.startswith("/sign-in?next=")
        assert "sl_" not in browser.path + page.text
        assert WORDS not in page.text
        browser.press("Sign in", key=desk.keys["ana"])
        assert browser.path.startswith("/links/")
        assert browser.page.find("input", name="decision", checked=True)[0].value == "approve"
        choose(browser, note="x")
        assert len(desk.said(task)) == 1

    def test_whoever_passed_it_on_can_sign_in_only_as_themselves(self, desk: Desk, task: UUID) -> None:
        browser = desk.browser()
        browser.get(link_path(desk, task))
        browser.press("Sign in", 403, key=desk.keys["sam"])
        assert WORDS not in browser.page.text
        assert desk.said(task) == []

    @pytest.mark.parametrize("change", ["disabled", "no candidate"])
    def test_whoever_may_no_longer_decide_is_refused(self, desk: Desk, task: UUID, change: str) -> None:
        name = f"eve-{change[:2]}-{task}"[:40]
        eve = create_principal(desk.engine.database, name=name, kind="user", groups=("leads",), roles=("reviewer",))
        desk.people[name] = eve
        path = link_path(desk, task, name)
        browser = desk.as_(name)
        browser.get(path)
        csrf, where = browser.csrf, browser.path
        if change == "disabled":
            update_principal(desk.engine.database, name, disabled=True)
        else:
            update_principal(desk.engine.database, name, groups=())
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": sha(desk, task)}
        assert browser.send("POST", f"{where}/decide", data=data).status_code in (401, 404)
        assert desk.said(task) == []
        assert browser.send("GET", path).status_code == (404 if change == "disabled" else 303)

    def test_none_is_made_for_whoever_could_not_use_it(self, desk: Desk) -> None:
        own = desk.start("refund", PAYLOAD, by="ana")
        for name, error in (("ana", Forbidden), ("max", Forbidden), ("robot", NotFound), ("who", NotFound)):
            with pytest.raises(error):
                desk.engine.issue_task_link(own, name)
            assert desk.engine.task_link(own, name) is None
        sent = desk.engine.task_link(own, "sam")
        assert sent is not None
        assert sent.startswith("https://localhost/l/sl_")
        desk.decide(own, "sam", "approve")
        with pytest.raises(Conflict):
            desk.engine.issue_task_link(own, "sam")

    def test_a_form_of_nobodys_making_is_refused(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(link_path(desk, task))
        data = {"decision": "approve", "payload_sha256": sha(desk, task)}
        for csrf in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
            assert ana.send("POST", f"{ana.path}/decide", data=data | csrf).status_code == 403
        there = {"Sec-Fetch-Site": "cross-site"}
        with_token = data | {"csrf": ana.csrf}
        assert ana.send("POST", f"{ana.path}/decide", data=with_token, headers=there).status_code == 403
        assert desk.said(task) == []


class TestByPossession:
    def test_nothing_is_shown_before_somebody_goes_on(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        browser = trusting.browser()
        page = browser.get(link_path(desk, task))
        assert WORDS not in page.text
        assert "Refund" not in page.text
        browser.press("Go on in this browser")
        assert WORDS in browser.words
        choose(browser, note="by mail")
        assert desk.said(task)[0][4] == "link"
        (link,) = list_links(desk.engine.database, task)
        (event,) = [each for each in desk.log(task) if each.type == "decision.recorded"]
        assert event.data["authenticated"] == {"method": "link", "id": str(link.id), "started_with": None}
        assert "You said approve" in browser.words
        assert WORDS not in browser.page.text, "it reads no longer than it decides"

    def test_who_it_is_passed_on_to_is_refused(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        path, ana, other = link_path(desk, task), trusting.browser(), trusting.browser()
        ana.get(path)
        other.get(path)
        ana.press("Go on in this browser")
        other.press("Go on in this browser", 403)
        page = other.get(path, 403)
        assert WORDS not in page.text
        csrf = ana.csrf
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": sha(desk, task)}
        assert other.send("POST", f"{ana.path}/decide", data=data).status_code == 403
        assert desk.said(task) == []
        choose(ana, note="x")
        assert len(desk.said(task)) == 1

    def test_were_it_not_given_to_one_browser_they_would_decide(
        self, desk: Desk, trusting: Desk, task: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mutate(monkeypatch, task_links.is_held_by, "link.browser_hash is not None and", "link.browser_hash is None or")
        mutate(monkeypatch, task_links.bind_link, " AND browser_hash IS NULL", "")
        with pytest.raises(AssertionError):
            self.test_who_it_is_passed_on_to_is_refused(desk, trusting, task)

    def test_a_session_of_another_counts_more_than_the_link(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        page = trusting.as_("sam").get(link_path(desk, task), 403)
        assert WORDS not in page.text

    def test_its_person_signed_in_needs_no_first_page(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        ana = trusting.as_("ana")
        ana.get(link_path(desk, task))
        choose(ana, note="x")
        assert len(desk.said(task)) == 1

    @pytest.mark.parametrize("ended", ["expired", "revoked"])
    def test_what_has_ended_is_not_gone_on_with(self, desk: Desk, trusting: Desk, task: UUID, ended: str) -> None:
        path, browser, held = link_path(desk, task), trusting.browser(), trusting.browser()
        browser.get(path)
        (link,) = list_links(desk.engine.database, task)
        end_link(desk, task, ended, link.id)
        browser.press("Go on in this browser", 403)
        held.get(path, 409)
        assert desk.said(task) == []

    def test_whose_every_sign_in_is_ended_has_no_link_that_decides(
        self, desk: Desk, trusting: Desk, task: UUID
    ) -> None:
        browser, sam = trusting.browser(), link_path(desk, task, "sam")
        browser.get(link_path(desk, task))
        browser.press("Go on in this browser")
        csrf = browser.csrf
        revoke_all_sessions(desk.engine.database, "ana")
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": sha(desk, task)}
        assert browser.send("POST", f"{browser.path}/decide", data=data).status_code == 409
        assert desk.said(task) == []
        others = find_link(desk.engine.database, sam.removeprefix("/l/"))
        assert others is not None
        assert others.state == "good"
