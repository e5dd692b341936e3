"""The audit screens through the app, and the verifier they hand out: every change to a pack is found, offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.run_site import Site, full_story, open_site, words

from signoff_api.inbox import audit

MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str) -> Iterator[Site]:
    with open_site(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def run_id(site: Site) -> UUID:
    return full_story(site)


# Who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/audit", "/audit/check", "/audit/{}", "/audit/{}/export", "/audit/verify_audit.py"])
def test_the_audit_takes_a_role(site: Site, run_id: UUID, path: str) -> None:
    for name in ("auditor", "operator", "admin"):
        assert site.as_(name).send("GET", path.format(run_id)).status_code == 200, name
    for name in ("ana", "rita", "olga", "nobody"):
        assert site.as_(name).send("GET", path.format(run_id)).status_code == 403, name
    stranger = site.as_("auditor")
    stranger.token = None
    assert stranger.send("GET", path.format(run_id)).status_code == 303


def test_there_is_no_audit_of_nothing(site: Site) -> None:
    site.as_("auditor").get(f"/audit/{MISSING}", 404)
    site.as_("auditor").get(f"/audit/{MISSING}/export", 404)


def test_only_who_may_read_the_audit_is_led_to_it(site: Site, run_id: UUID) -> None:
    assert f'href="/audit/{run_id}"' in site.as_("auditor").get(f"/runs/{run_id}")
    assert f'href="/audit/{run_id}"' not in site.as_("ana").get(f"/runs/{run_id}")


# Decisions -------------------------------------------------------------------------------------------------------


def rows(page: str) -> list[str]:
    """The decisions of a list, each as its words."""
    table = re.search(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    return [words(row) for row in re.findall(r"<tr.*?</tr>", table[1], re.DOTALL)] if table else []


def test_a_decision_says_who_what_when_which_gate_and_where(site: Site, run_id: UUID) -> None:
    page = site.as_("auditor").get("/audit?workflow=refund")
    newest, older = rows(page)[:2]
    for part in ("sam", "approve", "edited", "refund / approve-refund", "inbox", "UTC"):
        assert part in newest
    for part in ("ana", "request changes", "wrong amount", "too much"):
        assert part in older
    assert "edited" not in older
    assert f'href="/audit/{run_id}"' in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("person=sam", {"sam"}),
        ("person=ana", {"ana"}),
        ("decision=approve", {"sam"}),
        ("decision=request_changes", {"ana"}),
        ("workflow=beside", set()),
        ("since=2000-01-01", {"ana", "sam"}),
        ("until=2000-01-01", set()),
        ("since=2900-01-01", set()),
        ("person=ana&decision=approve", set()),
    ],
)
def test_decisions_are_found_by_person_workflow_decision_and_period(
    site: Site, run_id: UUID, query: str, found: set[str]
) -> None:
    listed = rows(site.as_("auditor").get(f"/audit?{query}"))
    assert {row.split()[0] for row in listed} == found


def test_the_last_day_of_a_period_belongs_to_it(site: Site, run_id: UUID) -> None:
    (((day, before),),) = [
        site.sql(
            "SELECT (now() AT TIME ZONE 'UTC')::date::text, ((now() - interval '1 day') AT TIME ZONE 'UTC')::date::text"
        )
    ]
    assert rows(site.as_("auditor").get(f"/audit?since={day}&until={day}"))
    assert not rows(site.as_("auditor").get(f"/audit?until={before}"))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=yesterday", "write it as 2026-03-31"),
        ("since=the-day-before", "at most 10 characters"),
        ("since=2026-02-30", "write it as 2026-03-31"),
        ("until=9999-12-31", "a year from 1970 to 9000"),
        ("until=0001-01-01", "a year from 1970 to 9000"),
        ("person=" + "p" * 129, "at most 128 characters"),
        ("decision=a%00", "at most 128 characters"),
        ("cursor=x", "start without a cursor"),
    ],
)
def test_a_filter_that_can_not_be_is_refused_in_place(site: Site, query: str, says: str) -> None:
    assert says in words(site.as_("auditor").get(f"/audit?{query}", 422))


@pytest.mark.parametrize("query", ["since=2026-02-30", "until=9999-12-31", "before=x"])
def test_a_check_of_no_period_is_refused(site: Site, query: str) -> None:
    site.as_("auditor").get(f"/audit/check?{query}", 422)


def test_many_decisions_are_paged_newest_first(site: Site) -> None:
    for at in range(audit.DECISIONS_SHOWN + 5):
        run_id = site.start("blind", {"amount": at})
        site.decide(run_id, "sam", "approve", note=f"note-{at:02}-")
    browser, seen, path = site.as_("auditor"), [], "/audit?person=sam&workflow=blind"
    while path:
        assert len(seen) < 1_000, "the pages lead in a circle"
        page = browser.get(path)
        seen += re.findall(r"note-(\d\d)-", page)
        following = re.search(r'href="(/audit\?[^"]*cursor=[^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"{at:02}" for at in range(audit.DECISIONS_SHOWN + 5)][::-1]


def test_what_a_blind_gate_keeps_is_not_in_the_list_and_can_not_be_searched_for(site: Site) -> None:
    run_id = site.start("blind", {"amount": 5})
    site.decide(run_id, "ana", "approve", note="secret-note", surface="secret-surface")
    browser = site.as_("lead-auditor")
    page = browser.get("/audit?person=ana&workflow=blind")
    assert [row for row in rows(page) if "withheld while the gate is open" in row]
    assert "secret" not in page
    assert not rows(browser.get("/audit?person=ana&workflow=blind&decision=approve"))
    log = browser.get(f"/audit/{run_id}")
    assert "withheld while the gate is open" in words(log)
    assert "secret" not in log
    assert "secret-note" in site.as_("auditor").get("/audit?person=ana&decision=approve")
    site.decide(run_id, "sam", "approve")
    assert "secret-note" in browser.get("/audit?person=ana&decision=approve")


def test_the_export_of_an_open_blind_gate_is_kept_from_an_auditor_who_may_decide_it(site: Site) -> None:
    run_id = site.start("blind", {"amount": 5})
    browser, path = site.as_("lead-auditor"), f"/audit/{run_id}/export"
    browser.get(path)  # nothing has been said yet
    site.decide(run_id, "ana", "approve", note="secret-note")
    page = browser.get(path, 409)
    assert "read it once the gate is decided" in words(page)
    assert "secret-note" not in page
    assert "secret-note" in site.as_("auditor").get(path)
    site.decide(run_id, "sam", "approve")
    assert "secret-note" in browser.get(path)


def test_who_edited_at_an_open_blind_gate_is_neither_named_nor_found(site: Site) -> None:
    run_id = site.start("blind", {"amount": 5})
    site.decide(run_id, "ana", "approve", patch={"amount": 4})
    browser = site.as_("lead-auditor")
    assert str(run_id) not in browser.get("/audit?person=ana&workflow=blind")
    for path in ("/audit?workflow=blind", f"/audit/{run_id}", f"/runs/{run_id}"):
        page = browser.get(path)
        row = next(row for row in rows(page) if "a reviewer" in row) if "?" in path else words(page)
        assert "a reviewer" in row
        assert not re.search(r"\bana\b", row), path
    assert str(run_id) in site.as_("auditor").get("/audit?person=ana&workflow=blind")
    site.decide(run_id, "sam", "approve")
    assert str(run_id) in browser.get("/audit?person=ana&workflow=blind")


# Verification ----------------------------------------------------------------------------------------------------


def test_the_log_of_a_run_is_shown_with_its_hashes_and_a_badge(site: Site, run_id: UUID) -> None:
    page = site.as_("auditor").get(f"/audit/{run_id}")
    stored = site.sql("SELECT encode(hash, 'hex') FROM events WHERE run_id = %s ORDER BY seq", run_id)
    assert re.findall(r'class="log-hash"><code class="hash">([0-9a-f]{64})', page) == [row[0] for row in stored]
    said = words(page)
    assert "The log holds" in said
    assert f"{len(stored)} events: every hash and link is right" in said
    assert said.count("is that of the payload") == 1
    ((definition,),) = site.sql("SELECT sha256 FROM workflow_versions WHERE workflow = 'refund'")
    assert definition in page


TAMPERING = {
    "a changed event": "UPDATE events SET data = replace(data::text, 'much', '!')::json WHERE run_id = %s AND seq = 8",
    "a deleted event": "DELETE FROM events WHERE run_id = %s AND seq = 4",
    "no first event": "DELETE FROM events WHERE run_id = %s AND seq = 1",
    "an unreadable event": 'UPDATE events SET actor = \'{"type": "user"}\' WHERE run_id = %s AND seq = 3',
    "a changed head": "UPDATE runs SET status = 'failed' WHERE id = %s",
}


@pytest.mark.parametrize(
    ("how", "seq", "says"),
    [
        ("a changed event", 8, "hash does not match the event"),
        ("a deleted event", 4, "event 4 is missing"),
        ("no first event", 1, "event 1 is missing"),
        ("an unreadable event", None, "it can't be read"),
        ("a changed head", None, "the head's"),
    ],
)
def test_tampering_shows_on_the_page_of_the_run_and_in_the_check(
    site: Site, how: str, seq: int | None, says: str
) -> None:
    run_id = full_story(site)
    assert "The log holds" in words(site.as_("auditor").get(f"/audit/{run_id}"))
    site.sql(TAMPERING[how], run_id)
    page = site.as_("auditor").get(f"/audit/{run_id}")
    said = words(page)
    assert "The log does not hold" in said
    assert says in said
    if seq is not None:
        assert f"Event {seq} :" in said
    checked = site.as_("auditor").get("/audit/check")
    assert str(run_id) in checked
    assert re.search(r"\d+ of \d+ runs do(es)? not hold", words(checked))
    site.sql("DELETE FROM events WHERE run_id = %s", run_id)
    site.sql("DELETE FROM decisions WHERE run_id = %s", run_id)
    site.sql("DELETE FROM human_tasks WHERE run_id = %s", run_id)
    site.sql("DELETE FROM runs WHERE id = %s", run_id)


def test_a_payload_that_is_not_that_of_its_hash_shows(site: Site) -> None:
    run_id = site.start("blind", {"amount": 1})
    site.sql("UPDATE human_tasks SET payload = '{\"amount\": 2}' WHERE run_id = %s", run_id)
    assert "is not that of the payload" in words(site.as_("auditor").get(f"/audit/{run_id}"))
    site.sql("UPDATE human_tasks SET payload = '{\"amount\": 1}' WHERE run_id = %s", run_id)


def test_the_check_goes_on_where_it_stopped_until_every_run_has_been_seen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "CHECKED_AT_ONCE", 7)
    ((runs, events),) = site.sql("SELECT count(*), (SELECT count(*) FROM events) FROM runs")
    browser, seen, path = site.as_("auditor"), [0, 0], "/audit/check"
    while path:
        page = browser.get(path)
        found = re.search(r"Verified (\d+) runs, (\d+) events", words(page))
        assert found is not None
        assert int(found[1]) <= 7
        assert "runs hold" in words(page)
        seen = [seen[0] + int(found[1]), seen[1] + int(found[2])]
        following = re.search(r'href="(/audit/check\?[^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
        assert ("none of them has been looked at here" in words(page)) == bool(path)
    assert seen == [runs, events]


def test_the_check_stops_when_its_time_is_over_and_says_how_far_it_came(
    site: Site, run_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which other tests this process has had before is chance; there has to be a run left to go on with.
    full_story(site)
    monkeypatch.setattr(audit, "CHECK_SECONDS", 0.0)
    page = site.as_("auditor").get("/audit/check")
    assert "Verified 1 runs," in words(page)
    assert "before=" in page


def test_the_check_leaves_long_logs_to_their_own_page(
    site: Site, run_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "CHECK_EVENTS", 10)
    page = site.as_("auditor").get("/audit/check")
    assert f'href="/audit/{run_id}?verify=1"' in page
    monkeypatch.setattr(audit, "VERIFIED_UNASKED", 10)
    assert "Not verified yet" in words(site.as_("auditor").get(f"/audit/{run_id}"))
    assert "The log holds" in words(site.as_("auditor").get(f"/audit/{run_id}?verify=1"))


def test_the_check_keeps_to_its_period(site: Site, run_id: UUID) -> None:
    assert "No run was started in this period" in words(site.as_("auditor").get("/audit/check?until=2000-01-01"))
    assert "No run was started in this period" in words(site.as_("auditor").get("/audit/check?since=2900-01-01"))


def test_a_page_of_the_audit_writes_nothing(site: Site, run_id: UUID) -> None:
    counted = "SELECT (SELECT count(*) FROM events), (SELECT max(updated_at) FROM runs)"
    before = site.sql(counted)
    for path in ("/audit", "/audit/check", f"/audit/{run_id}", f"/audit/{run_id}/export", f"/runs/{run_id}", "/runs"):
        site.as_("admin").get(path)
    assert site.sql(counted) == before
