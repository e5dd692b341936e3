"""Links into one human task: only a POST decides, once, for one person, and not for long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.engine.world import together
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.mutants import mutate

from signoff.errors import Conflict, Forbidden, NotFound
from signoff.store import task_links
from signoff.store.identity import create_principal, update_principal
from signoff.store.sessions import revoke_all_sessions
from signoff.store.task_links import find_link, list_links, revoke_link
from signoff_api.app import create_app

PAYLOAD: dict[str, Any] = {"amount": "640.00", "order_id": "A-881", "reply": "canary-of-the-reply"}
WORDS = "canary-of-the-reply"
PREFETCH = (
    {},
    {"Sec-Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"Purpose": "prefetch"},
    {"X-Moz": "prefetch"},
    {"User-Agent": "a scanner of mail"},
)


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url, public_url="https://localhost") as opened:
        yield opened


@pytest.fixture(scope="module")
def trusting(desk: Desk) -> Desk:
    """The same, where having a link is enough."""
    settings = desk.settings.model_copy(update={"task_link_confirm": "possession"})
    return Desk(
        app=create_app(desk.engine, settings),
        engine=desk.engine,
        settings=settings,
        people=desk.people,
        keys=desk.keys,
    )


@pytest.fixture
def task(desk: Desk) -> UUID:
    return desk.start("refund", PAYLOAD)


def _link(desk: Desk, task: UUID, person: str = "ana") -> str:
    return desk.engine.issue_task_link(task, person).path


def _stored(desk: Desk) -> list[tuple[Any, ...]]:
    """All that is in the database, sessions too."""
    sessions = desk.sql("SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM sessions t")
    return desk.everything() + sessions


def _used(desk: Desk, task: UUID) -> list[bool]:
    return [link.used_at is not None for link in list_links(desk.engine.database, task)]


def _choose(browser: Browser, decision: str = "approve", status: int = 200, **typed: str) -> None:
    """What a person does on the page: choose, and press."""
    assert browser.page.find("input", type="radio", name="decision", value=decision)
    form = browser.page.one("form", action=browser.path.partition("?")[0] + "/decide")
    data = {node.attrs["name"]: node.value for node in form.find("input", type="hidden")}
    response = browser.send("POST", form.attrs["action"] or "", data={**data, "decision": decision, **typed})
    browser._show(response, browser.path, status)


class TestReadingDecidesNothing:
    @pytest.mark.parametrize("who", ["nobody at all", "ana", "sam", "by possession"])
    def test_get_head_options_and_prefetch_leave_the_whole_database_as_it_was(
        self, desk: Desk, trusting: Desk, task: UUID, who: str
    ) -> None:
        site = trusting if who == "by possession" else desk
        browser = site.as_(who) if who in ("ana", "sam") else site.browser()
        path = _link(desk, task)
        before = _stored(desk)
        for headers in PREFETCH:
            for target in (path, f"{path}?decision=approve"):
                landed = browser.send("GET", target, headers=headers)
                assert landed.status_code == 303
                for method in ("GET", "HEAD", "OPTIONS"):
                    for each in (target, landed.headers["Location"], f"{landed.headers['Location']}/decide"):
                        assert browser.send(method, each, headers=headers).status_code < 500
        assert _stored(desk) == before
        assert desk.said(task) == []

    def test_an_option_in_the_address_is_chosen_and_no_more(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        page = ana.get(f"{_link(desk, task)}?decision=reject")
        assert [node.value for node in page.find("input", name="decision", checked=True)] == ["reject"]
        assert desk.said(task) == []
        for odd in ("<script>", "approve&x=1", "x" * 100, "https://evil.example"):
            location = ana.send("GET", _link(desk, task), query_string={"decision": odd}).headers["Location"]
            assert "?" not in location

    def test_the_page_says_what_will_be_decided_and_by_whom(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(_link(desk, task))
        for words in ("Refund 640.00 for A-881", WORDS, "Pays 640.00 now.", "Irreversible.", "You decide as ana"):
            assert words in ana.words
        assert not ana.page.find("input", name="decision", checked=True), "nothing is chosen for anybody"
        assert not [node for node in ana.page.one("main") if "style" in node.attrs or node.tag == "script"]


class TestWhatStaysBehind:
    def test_the_token_is_in_one_address_and_no_page_has_it(self, desk: Desk, task: UUID) -> None:
        path = _link(desk, task)
        token = path.removeprefix("/l/")
        ana = desk.as_("ana")
        first = ana.send("GET", path)
        assert token not in first.headers["Location"] + first.text
        (cookie,) = first.headers.getlist("Set-Cookie")
        for part in ("Secure", "HttpOnly", "SameSite=Lax", f"Path={first.headers['Location']}"):
            assert part in cookie
        page = ana.send("GET", first.headers["Location"])
        assert token not in page.text
        for response in (first, page):
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"

    def test_only_a_digest_is_kept(self, desk: Desk, task: UUID) -> None:
        token = _link(desk, task).removeprefix("/l/")
        assert token not in "\n".join(text for (text,) in desk.sql("SELECT t::text FROM task_links t"))
        (link,) = list_links(desk.engine.database, task)
        assert token not in str(link.to_json())
        assert token.startswith(f"sl_{link.prefix}_")

    @pytest.mark.parametrize("token", ["x", "sl_aaaaaaaa_" + "A" * 43, "sl_" + "é" * 20, "sl_aaaaaaaa_" + "A" * 9_000])
    def test_what_is_no_link_is_not_there(self, desk: Desk, token: str) -> None:
        assert desk.as_("ana").send("GET", f"/l/{token}").status_code == 404
        assert desk.browser().send("GET", f"/l/{token}").status_code == 404


class TestOnce:
    def test_a_press_decides_and_the_log_knows_how(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(_link(desk, task))
        _choose(ana, note="fine")
        assert desk.said(task) == [("approve", "fine", None, None, "link", None)]
        assert "You said approve" in ana.words
        assert not ana.page.find("form", action=f"{ana.path}/decide")
        (event,) = [each for each in desk.log(task) if each.type == "decision.recorded"]
        assert event.actor.name == "ana"
        assert event.data["authenticated"]["method"] == "session"
        assert _used(desk, task) == [True]

    @pytest.mark.parametrize("second", ["approve", "reject"])
    def test_a_replay_is_told_that_it_was_and_changes_nothing(self, desk: Desk, task: UUID, second: str) -> None:
        ana, path = desk.as_("ana"), _link(desk, task)
        ana.get(path)
        form = ana.page.one("form", action=f"{ana.path}/decide")
        data = {node.attrs["name"]: node.value for node in form.find("input", type="hidden")} | {"note": "x"}
        assert ana.send("POST", f"{ana.path}/decide", data=data | {"decision": "approve"}).status_code == 303
        before = desk.everything()
        for _ in range(5):
            again = ana.send("POST", f"{ana.path}/decide", data=data | {"decision": second})
            assert again.status_code == 409
            assert "You</strong> said" in again.text
            ana.get(path)
            assert "Nothing is left to decide" in ana.words
        assert desk.everything() == before

    def test_of_many_presses_at_once_one_decides(self, desk: Desk) -> None:
        task = desk.start("pair", PAYLOAD)
        path = _link(desk, task)
        browsers = [desk.as_("ana") for _ in range(4)]
        for each in browsers:
            each.get(path)
        form = browsers[0].path + "/decide"
        found = together(
            *(
                lambda each=each: (
                    each.send(  # type: ignore[misc]
                        "POST",
                        form,
                        data={"csrf": each.csrf, "decision": "approve", "payload_sha256": _sha(desk, task)},
                    ).status_code
                )
                for each in browsers
            )
        )
        assert sorted(found) == [303, 409, 409, 409]
        assert len(desk.said(task)) == 1

    def test_a_spent_link_does_not_decide_on_a_new_draft(self, desk: Desk, task: UUID) -> None:
        ana, path = desk.as_("ana"), _link(desk, task)
        ana.get(path)
        csrf, where = ana.csrf, ana.path
        _choose(ana, "request_changes", note="more")
        desk.work(desk.run_of(task), PAYLOAD | {"amount": "500.00"})
        ana.get(path)
        assert "It decides nothing more" in ana.words
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": _sha(desk, task)}
        assert ana.send("POST", f"{where}/decide", data=data).status_code == 409
        assert (desk.row(task)[0], len(desk.said(task))) == ("open", 1)

    def test_were_it_not_used_up_it_would(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, task: UUID) -> None:
        mutate(monkeypatch, task_links.use_link, " AND l.used_at IS NULL", "")
        with pytest.raises(AssertionError):
            self.test_a_spent_link_does_not_decide_on_a_new_draft(desk, task)


class TestNotForLong:
    @pytest.mark.parametrize("how", ["expired", "revoked", "superseded"])
    def test_a_link_that_has_ended_decides_nothing(self, desk: Desk, task: UUID, how: str) -> None:
        ana, path = desk.as_("ana"), _link(desk, task)
        ana.get(path)
        (link,) = list_links(desk.engine.database, task)
        self._end(desk, task, how, link.id)
        before = desk.everything()
        _choose(ana, status=409)
        assert desk.everything() == before
        ana.get(path)
        assert "decides nothing" in ana.words
        assert not ana.page.find("input", name="decision")

    @pytest.mark.parametrize(
        ("how", "guard"),
        [("expired", '" AND l.expires_at > clock_timestamp()"'), ("revoked", " AND l.revoked_at IS NULL")],
    )
    def test_but_for_the_guard_it_would(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, task: UUID, how: str, guard: str
    ) -> None:
        mutate(monkeypatch, task_links.use_link, guard, "")
        with pytest.raises(AssertionError):
            self.test_a_link_that_has_ended_decides_nothing(desk, task, how)

    def test_only_the_clock_of_the_database_counts(self, desk: Desk, task: UUID) -> None:
        desk.engine.issue_task_link(task, "ana")
        (link,) = list_links(desk.engine.database, task)
        assert (link.expires_at - link.created_at).total_seconds() == 72 * 3600
        ((ahead,),) = desk.sql("SELECT created_at <= clock_timestamp() FROM task_links WHERE id = %s", link.id)
        assert ahead

    def test_no_person_has_more_than_five_to_one_human_task(self, desk: Desk, task: UUID) -> None:
        tokens = [_link(desk, task).removeprefix("/l/") for _ in range(7)]
        other = _link(desk, task, "sam").removeprefix("/l/")
        states = [link.state for token in tokens if (link := find_link(desk.engine.database, token))]
        assert states == ["revoked"] * 2 + ["good"] * 5
        found = find_link(desk.engine.database, other)
        assert found is not None
        assert found.state == "good"

    def test_what_ended_a_day_ago_is_forgotten(self, desk: Desk, task: UUID) -> None:
        for _ in range(2):
            _link(desk, task)
        first, second = list_links(desk.engine.database, task)
        for link, hours in ((first, 23), (second, 25)):
            desk.sql("UPDATE task_links SET expires_at = now() - %s * interval '1 hour' WHERE id = %s", hours, link.id)
        desk.engine.sweep()
        assert [link.id for link in list_links(desk.engine.database, task)] == [first.id]

    def _end(self, desk: Desk, task: UUID, how: str, link_id: UUID) -> None:
        if how == "expired":
            desk.sql("UPDATE task_links SET expires_at = clock_timestamp() WHERE id = %s", link_id)
        elif how == "revoked":
            revoke_link(desk.engine.database, link_id)
        else:
            for _ in range(5):
                _link(desk, task)


class TestForOnePerson:
    def test_who_is_signed_in_as_another_is_refused_and_shown_nothing(self, desk: Desk, task: UUID) -> None:
        path, sam = _link(desk, task), desk.as_("sam")
        sam.get("/inbox")
        csrf = sam.csrf
        before = _stored(desk)
        page = sam.get(path, 403)
        assert "made for somebody else" in page.text
        assert WORDS not in page.text
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": _sha(desk, task)}
        assert sam.send("POST", f"{sam.path}/decide", data=data).status_code == 403
        assert desk.everything() == before[:-1]
        assert desk.said(task) == []

    def test_who_has_not_signed_in_is_asked_to_and_comes_back(self, desk: Desk, task: UUID) -> None:
        browser = desk.browser()
        page = browser.get(f"{_link(desk, task)}?decision=approve")
        assert browser.path.startswith("/sign-in?next=")
        assert "sl_" not in browser.path + page.text
        assert WORDS not in page.text
        browser.press("Sign in", key=desk.keys["ana"])
        assert browser.path.startswith("/links/")
        assert browser.page.find("input", name="decision", checked=True)[0].value == "approve"
        _choose(browser, note="x")
        assert len(desk.said(task)) == 1

    def test_whoever_passed_it_on_can_sign_in_only_as_themselves(self, desk: Desk, task: UUID) -> None:
        browser = desk.browser()
        browser.get(_link(desk, task))
        browser.press("Sign in", 403, key=desk.keys["sam"])
        assert WORDS not in browser.page.text
        assert desk.said(task) == []

    @pytest.mark.parametrize("change", ["disabled", "no candidate"])
    def test_whoever_may_no_longer_decide_is_refused(self, desk: Desk, task: UUID, change: str) -> None:
        name = f"eve-{change[:2]}-{task}"[:40]
        eve = create_principal(desk.engine.database, name=name, kind="user", groups=("leads",), roles=("reviewer",))
        desk.people[name] = eve
        path = _link(desk, task, name)
        browser = desk.as_(name)
        browser.get(path)
        csrf, where = browser.csrf, browser.path
        if change == "disabled":
            update_principal(desk.engine.database, name, disabled=True)
        else:
            update_principal(desk.engine.database, name, groups=())
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": _sha(desk, task)}
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
        ana.get(_link(desk, task))
        data = {"decision": "approve", "payload_sha256": _sha(desk, task)}
        for csrf in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
            assert ana.send("POST", f"{ana.path}/decide", data=data | csrf).status_code == 403
        there = {"Sec-Fetch-Site": "cross-site"}
        with_token = data | {"csrf": ana.csrf}
        assert ana.send("POST", f"{ana.path}/decide", data=with_token, headers=there).status_code == 403
        assert desk.said(task) == []


class TestWhatWasShown:
    def test_a_newer_draft_is_shown_before_it_is_decided_on(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(_link(desk, task))
        desk.redraft(task, PAYLOAD | {"amount": "9000.00"})
        _choose(ana, status=412, note="as it was")
        assert "changed since you saw it" in ana.words
        assert "9000.00" in ana.words
        assert "as it was" in ana.page.one("textarea").raw
        assert not ana.page.find("input", name="decision", checked=True)
        assert desk.row(task)[0] == "open"
        _choose(ana, note="as it is")
        assert desk.row(task)[0] == "completed"

    def test_a_note_that_is_missing_is_asked_for(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(_link(desk, task))
        _choose(ana, "reject", 422)
        assert ana.page.one("textarea").attrs["aria-invalid"] == "true"
        assert ana.page.find("input", name="decision", checked=True)[0].value == "reject"
        assert _used(desk, task) == [False]
        _choose(ana, "reject", note="no")
        assert _used(desk, task) == [True]

    def test_a_form_of_the_gate_is_filled_in(self, desk: Desk) -> None:
        task = desk.start("form", PAYLOAD)
        ana = desk.as_("ana")
        ana.get(_link(desk, task))
        _choose(ana, status=422)
        _choose(ana, **{"edit.ok.checked": "true", "edit.ok.remark": "seen"})
        assert desk.said(task)[0][3] == {"ok": {"checked": True, "remark": "seen"}}


class TestByPossession:
    def test_nothing_is_shown_before_somebody_goes_on(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        browser = trusting.browser()
        page = browser.get(_link(desk, task))
        assert WORDS not in page.text
        assert "Refund" not in page.text
        browser.press("Go on in this browser")
        assert WORDS in browser.words
        _choose(browser, note="by mail")
        assert desk.said(task)[0][4] == "link"
        (link,) = list_links(desk.engine.database, task)
        (event,) = [each for each in desk.log(task) if each.type == "decision.recorded"]
        assert event.data["authenticated"] == {"method": "link", "id": str(link.id), "started_with": None}
        assert "You said approve" in browser.words
        assert WORDS not in browser.page.text, "it reads no longer than it decides"

    def test_who_it_is_passed_on_to_is_refused(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        path, ana, other = _link(desk, task), trusting.browser(), trusting.browser()
        ana.get(path)
        other.get(path)
        ana.press("Go on in this browser")
        other.press("Go on in this browser", 403)
        page = other.get(path, 403)
        assert WORDS not in page.text
        csrf = ana.csrf
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": _sha(desk, task)}
        assert other.send("POST", f"{ana.path}/decide", data=data).status_code == 403
        assert desk.said(task) == []
        _choose(ana, note="x")
        assert len(desk.said(task)) == 1

    def test_were_it_not_given_to_one_browser_they_would_decide(
        self, desk: Desk, trusting: Desk, task: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mutate(monkeypatch, task_links.is_held_by, "link.browser_hash is not None and", "link.browser_hash is None or")
        mutate(monkeypatch, task_links.bind_link, " AND browser_hash IS NULL", "")
        with pytest.raises(AssertionError):
            self.test_who_it_is_passed_on_to_is_refused(desk, trusting, task)

    def test_a_session_of_another_counts_more_than_the_link(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        page = trusting.as_("sam").get(_link(desk, task), 403)
        assert WORDS not in page.text

    def test_its_person_signed_in_needs_no_first_page(self, desk: Desk, trusting: Desk, task: UUID) -> None:
        ana = trusting.as_("ana")
        ana.get(_link(desk, task))
        _choose(ana, note="x")
        assert len(desk.said(task)) == 1

    @pytest.mark.parametrize("ended", ["expired", "revoked"])
    def test_what_has_ended_is_not_gone_on_with(self, desk: Desk, trusting: Desk, task: UUID, ended: str) -> None:
        path, browser, held = _link(desk, task), trusting.browser(), trusting.browser()
        browser.get(path)
        (link,) = list_links(desk.engine.database, task)
        TestNotForLong()._end(desk, task, ended, link.id)
        browser.press("Go on in this browser", 403)
        held.get(path, 409)
        assert desk.said(task) == []

    def test_whose_every_sign_in_is_ended_has_no_link_that_decides(
        self, desk: Desk, trusting: Desk, task: UUID
    ) -> None:
        browser, sam = trusting.browser(), _link(desk, task, "sam")
        browser.get(_link(desk, task))
        browser.press("Go on in this browser")
        csrf = browser.csrf
        revoke_all_sessions(desk.engine.database, "ana")
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": _sha(desk, task)}
        assert browser.send("POST", f"{browser.path}/decide", data=data).status_code == 409
        assert desk.said(task) == []
        others = find_link(desk.engine.database, sam.removeprefix("/l/"))
        assert others is not None
        assert others.state == "good"


def _sha(desk: Desk, task: UUID) -> str:
    ((found,),) = desk.sql("SELECT payload_sha256 FROM human_tasks WHERE id = %s", task)
    return str(found)
