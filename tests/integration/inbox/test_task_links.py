"""Links into one human task: only a POST decides, once, on what was shown, and not for long."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.engine.world import together
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.inbox.task_link import (
    PAYLOAD,
    WORDS,
    choose,
    end_link,
    link_path,
    sha,
    stored,
    trusting_desk,
    used,
)
from tests.mutants import mutate

from signoff.store import task_links
from signoff.store.task_links import find_link, list_links

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
    return trusting_desk(desk)


@pytest.fixture
def task(desk: Desk) -> UUID:
    return desk.start("refund", PAYLOAD)


class TestReadingDecidesNothing:
    @pytest.mark.parametrize("who", ["nobody at all", "ana", "sam", "by possession"])
    def test_get_head_options_and_prefetch_leave_the_whole_database_as_it_was(
        self, desk: Desk, trusting: Desk, task: UUID, who: str
    ) -> None:
        site = trusting if who == "by possession" else desk
        browser = site.as_(who) if who in ("ana", "sam") else site.browser()
        path = link_path(desk, task)
        before = stored(desk)
        for headers in PREFETCH:
            for target in (path, f"{path}?decision=approve"):
                landed = browser.send("GET", target, headers=headers)
                assert landed.status_code == 303
                for method in ("GET", "HEAD", "OPTIONS"):
                    for each in (target, landed.headers["Location"], f"{landed.headers['Location']}/decide"):
                        assert browser.send(method, each, headers=headers).status_code < 500
        assert stored(desk) == before
        assert desk.said(task) == []

    def test_an_option_in_the_address_is_chosen_and_no_more(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        page = ana.get(f"{link_path(desk, task)}?decision=reject")
        assert [node.value for node in page.find("input", name="decision", checked=True)] == ["reject"]
        assert desk.said(task) == []
        for odd in ("<script>", "approve&x=1", "x" * 100, "https://evil.example"):
            location = ana.send("GET", link_path(desk, task), query_string={"decision": odd}).headers["Location"]
            assert "?" not in location

    def test_the_page_says_what_will_be_decided_and_by_whom(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(link_path(desk, task))
        for words in ("Refund 640.00 for A-881", WORDS, "Pays 640.00 now.", "Irreversible.", "You decide as ana"):
            assert words in ana.words
        assert not ana.page.find("input", name="decision", checked=True), "nothing is chosen for anybody"
        assert not [node for node in ana.page.one("main") if "style" in node.attrs or node.tag == "script"]


class TestWhatStaysBehind:
    def test_the_token_is_in_one_address_and_no_page_has_it(self, desk: Desk, task: UUID) -> None:
        path = link_path(desk, task)
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
        token = link_path(desk, task).removeprefix("/l/")
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
        ana.get(link_path(desk, task))
        choose(ana, note="fine")
        assert desk.said(task) == [("approve", "fine", None, None, "link", None)]
        assert "You said approve" in ana.words
        assert not ana.page.find("form", action=f"{ana.path}/decide")
        (event,) = [each for each in desk.log(task) if each.type == "decision.recorded"]
        assert event.actor.name == "ana"
        assert event.data["authenticated"]["method"] == "session"
        assert used(desk, task) == [True]

    @pytest.mark.parametrize("second", ["approve", "reject"])
    def test_a_replay_is_told_that_it_was_and_changes_nothing(self, desk: Desk, task: UUID, second: str) -> None:
        ana, path = desk.as_("ana"), link_path(desk, task)
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
        path = link_path(desk, task)
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
                        data={"csrf": each.csrf, "decision": "approve", "payload_sha256": sha(desk, task)},
                    ).status_code
                )
                for each in browsers
            )
        )
        assert sorted(found) == [303, 409, 409, 409]
        assert len(desk.said(task)) == 1

    def test_a_spent_link_does_not_decide_on_a_new_draft(self, desk: Desk, task: UUID) -> None:
        ana, path = desk.as_("ana"), link_path(desk, task)
        ana.get(path)
        csrf, where = ana.csrf, ana.path
        choose(ana, "request_changes", note="more")
        desk.work(desk.run_of(task), PAYLOAD | {"amount": "500.00"})
        ana.get(path)
        assert "It decides nothing more" in ana.words
        data = {"csrf": csrf, "decision": "approve", "payload_sha256": sha(desk, task)}
        assert ana.send("POST", f"{where}/decide", data=data).status_code == 409
        assert (desk.row(task)[0], len(desk.said(task))) == ("open", 1)

    def test_were_it_not_used_up_it_would(self, desk: Desk, monkeypatch: pytest.MonkeyPatch, task: UUID) -> None:
        mutate(monkeypatch, task_links.use_link, " AND l.used_at IS NULL", "")
        with pytest.raises(AssertionError):
            self.test_a_spent_link_does_not_decide_on_a_new_draft(desk, task)


class TestNotForLong:
    @pytest.mark.parametrize("how", ["expired", "revoked", "superseded"])
    def test_a_link_that_has_ended_decides_nothing(self, desk: Desk, task: UUID, how: str) -> None:
        ana, path = desk.as_("ana"), link_path(desk, task)
        ana.get(path)
        (link,) = list_links(desk.engine.database, task)
        end_link(desk, task, how, link.id)
        before = desk.everything()
        choose(ana, status=409)
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
        tokens = [link_path(desk, task).removeprefix("/l/") for _ in range(7)]
        other = link_path(desk, task, "sam").removeprefix("/l/")
        states = [link.state for token in tokens if (link := find_link(desk.engine.database, token))]
        assert states == ["revoked"] * 2 + ["good"] * 5
        found = find_link(desk.engine.database, other)
        assert found is not None
        assert found.state == "good"

    def test_what_ended_a_day_ago_is_forgotten(self, desk: Desk, task: UUID) -> None:
        for _ in range(2):
            link_path(desk, task)
        first, second = list_links(desk.engine.database, task)
        for link, hours in ((first, 23), (second, 25)):
            desk.sql("UPDATE task_links SET expires_at = now() - %s * interval '1 hour' WHERE id = %s", hours, link.id)
        desk.engine.sweep()
        assert [link.id for link in list_links(desk.engine.database, task)] == [first.id]


class TestWhatWasShown:
    def test_a_newer_draft_is_shown_before_it_is_decided_on(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(link_path(desk, task))
        desk.redraft(task, PAYLOAD | {"amount": "9000.00"})
        choose(ana, status=412, note="as it was")
        assert "changed since you saw it" in ana.words
        assert "9000.00" in ana.words
        assert "as it was" in ana.page.one("textarea").raw
        assert not ana.page.find("input", name="decision", checked=True)
        assert desk.row(task)[0] == "open"
        choose(ana, note="as it is")
        assert desk.row(task)[0] == "completed"

    def test_a_note_that_is_missing_is_asked_for(self, desk: Desk, task: UUID) -> None:
        ana = desk.as_("ana")
        ana.get(link_path(desk, task))
        choose(ana, "reject", 422)
        assert ana.page.one("textarea").attrs["aria-invalid"] == "true"
        assert ana.page.find("input", name="decision", checked=True)[0].value == "reject"
        assert used(desk, task) == [False]
        choose(ana, "reject", note="no")
        assert used(desk, task) == [True]

    def test_a_form_of_the_gate_is_filled_in(self, desk: Desk) -> None:
        task = desk.start("form", PAYLOAD)
        ana = desk.as_("ana")
        ana.get(link_path(desk, task))
        choose(ana, status=422)
        choose(ana, **{"edit.ok.checked": "true", "edit.ok.remark": "seen"})
        assert desk.said(task)[0][3] == {"ok": {"checked": True, "remark": "seen"}}
