"""Insights over real decisions: what the page and its CSV say is what was done here, counted beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.insights_site import Site, fill

from signoff.insights.intervals import Share
from signoff.store.database import Cursor
from signoff.store.queries_insights import Bounds, Period, decided_at
from signoff.store.versions import VersionCache


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """A site whose gate has decided nothing yet."""
    made = Site.on(database_url)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def busy(module_database_url: str) -> Iterator[Site]:
    """A site whose gate has decided enough for an estimate."""
    made = Site.on(module_database_url)
    fill(made)
    yield made
    made.engine.close()


class TestWhatIsCounted:
    def test_shares_are_those_of_what_was_done(self, busy: Site) -> None:
        rows = {row["decided_by"]: int(row["count"]) for row in busy.table("shares")}
        people = sum(word is not None for _, word in busy.done)
        assert rows == {"people": people, "policy": len(busy.done) - people, "timeout": 0}

    def test_each_bucket_has_its_decisions_and_their_interval(self, busy: Site) -> None:
        rows = busy.table("buckets")
        assert len(rows) == 10
        for at, row in enumerate(rows):
            low, high = float(row["score_from"]), float(row["score_to"])
            inside = [word for score, word in busy.done if word and low <= score < (high if at < 9 else 2)]
            approved = sum(word != "reject" for word in inside)
            assert (int(row["decisions"]), int(row["approved"])) == (len(inside), approved)
            if inside:
                share = Share(count=approved, total=len(inside))
                assert float(row["low_95"]) == pytest.approx(share.low, abs=1e-6)
                assert float(row["high_95"]) == pytest.approx(share.high, abs=1e-6)
            else:
                assert row["share"] == row["low_95"] == row["high_95"] == ""

    def test_edits_are_counted_by_field_of_all_decisions(self, busy: Site) -> None:
        people = sum(word is not None for _, word in busy.done)
        (row,) = busy.table("edits")
        assert (row["field"], int(row["edited"]), int(row["decisions"])) == ("amount", 20, people)

    def test_reading_is_known_only_where_a_browser_counted_it(self, busy: Site) -> None:
        rows = {row["part"]: row for row in busy.table("times")}
        people = sum(word is not None for _, word in busy.done)
        assert [int(rows[part]["decisions"]) for part in ("total", "waiting", "reading")] == [people, 20, 20]

    def test_a_period_has_what_was_decided_in_it(self, site: Site) -> None:
        site.register("refund")
        task = site.start("refund", 0.5)
        assert task is not None
        site.later(10 * 86_400)
        site.decide(task, "approve")
        site.later(5 * 86_400)
        counts = {days: site.table("shares", period=days)[0]["count"] for days in ("7", "30", "90")}
        assert counts == {"7": "1", "30": "1", "90": "1"}
        site.later(10 * 86_400)
        assert [site.table("shares", period=days)[0]["count"] for days in ("7", "30")] == ["0", "1"]
        (day,) = site.sql("SELECT to_char(completed_at, 'YYYY-MM-DD') FROM human_tasks")[0]
        (before,) = site.sql("SELECT to_char(completed_at - interval '1 day', 'YYYY-MM-DD') FROM human_tasks")[0]
        same = {"period": "dates", "from": day, "to": day}
        assert site.table("shares", **same)[0]["count"] == "1"
        assert site.table("shares", **(same | {"from": before, "to": before}))[0]["count"] == "0"

    def test_timeouts_and_what_is_overdue_are_told_apart(self, site: Site) -> None:
        site.register("refund")
        late, never = site.start("refund", 0.5), site.start("refund", 0.4)
        assert late is not None
        assert never is not None
        site.later(2 * 3_600)
        page = site.get("/insights").text
        assert _tile(page, "Overdue now") == "2"
        site.decide(late, "approve")
        site.engine.sweep()
        page = site.get("/insights").text
        assert _tile(page, "Overdue now") == "0"
        assert _tile(page, "Decided late") == "1"
        counts = {row["decided_by"]: int(row["count"]) for row in site.table("shares")}
        assert counts == {"people": 1, "policy": 0, "timeout": 1}
        found = site.whatif("0.3")
        assert (found["spared"], found["spared_decisions_by_people"]) == _spared(site, late, never)

    def test_an_edit_that_changes_nothing_is_none(self, site: Site) -> None:
        site.register("refund")
        task = site.start("refund", 0.5)
        assert task is not None
        site.decide(task, "approve", patch={"reply": "Sorry.", "amount": 4.0})
        assert [row["field"] for row in site.table("edits")] == ["amount"]

    def test_what_is_canceled_was_not_decided(self, site: Site) -> None:
        site.register("refund")
        site.start("refund", 0.5)
        (run,) = site.sql("SELECT id FROM runs")[0]
        site.engine.cancel(run, reason="enough", by=site.people["admin"])
        assert {row["count"] for row in site.table("shares")} == {"0"}
        assert site.whatif("0.6")["runs_replayed"] == "0"

    def test_what_was_taken_back_was_not_said(self, site: Site) -> None:
        site.register("refund", more="grace: 10s")
        task = site.start("refund", 0.5)
        assert task is not None
        site.decide(task, "approve", patch={"amount": 4.0})
        site.engine.withdraw(task, by=site.people["ana"])
        site.decide(task, "approve")
        site.later(60)
        site.engine.sweep()
        assert site.table("shares")[0]["count"] == "1"
        assert site.table("edits") == []


def _tile(page: str, name: str) -> str:
    found = re.search(rf"<dt>{name}</dt>\s*<dd><strong>([^<]*)</strong>", page)
    assert found is not None
    return found.group(1)


def _spared(site: Site, *tasks: UUID) -> tuple[str, str]:
    """How many of these would be spared, and how many of them a person decided: those in the sample never are."""
    from signoff.definition.policy import rules_for

    with site.engine.database.transaction() as cursor:
        rules = rules_for(site.engine.core.versions.graph(cursor, "refund", 1), "approve")
    rows = site.sql("SELECT run_id, decided_by FROM human_tasks WHERE id = ANY(%s)", list(tasks))
    spared = [by for run, by in rows if not rules.samples(run)]
    return str(len(spared)), str(spared.count("human"))


class TestWhatIf:
    def test_a_lower_threshold_spares_decisions_and_says_what_people_thought_of_them(self, busy: Site) -> None:
        found = busy.whatif("0.7")
        drawn = _drawn(busy)
        spared = [
            word
            for (score, word), sampled in zip(busy.done, drawn, strict=True)
            if word and 0.7 <= score < 0.85 and not sampled
        ]
        people = sum(word is not None for _, word in busy.done)
        assert int(found["runs_replayed"]) == len(busy.done)
        assert (int(found["reviewed"]), int(found["spared"])) == (people, len(spared))
        assert int(found["would_be_reviewed"]) == people - len(spared)
        assert (int(found["spared_as_shown"]), int(found["spared_edited"])) == (
            spared.count("approve"),
            spared.count("edit"),
        )

    def test_a_higher_threshold_adds_reviews(self, busy: Site) -> None:
        found = busy.whatif("0.9")
        added = sum(word is None and score < 0.9 for score, word in busy.done)
        assert (int(found["added"]), int(found["spared"])) == (added, 0)

    def test_what_policy_passed_is_estimated_from_sampled_reviews_alone(self, busy: Site) -> None:
        found = busy.whatif("0.8")
        passed = sum(word is None for _, word in busy.done)
        assert int(found["passed_by_policy_sampled_decisions"]) == 36
        assert int(found["passed_by_policy_sampled_objections"]) == 12
        assert float(found["passed_by_policy_expected_objections"]) == pytest.approx(passed / 3, abs=1e-6)
        page = busy.get("/insights", gate="refund/approve", threshold="0.8").text
        assert "36 sampled reviews" in page
        # The sample is of what the condition lets pass now; none of it lies below 0.8.
        assert found["added"] == "0"

    def test_too_few_labels_give_no_estimate_and_say_how_many_are_missing(self, busy: Site) -> None:
        found = busy.whatif("0.88")
        assert "added_expected_objections" not in found
        there = int(found["added_sampled_decisions"])
        assert 0 < there < 30
        page = busy.get("/insights", gate="refund/approve", threshold="0.88").text
        assert f"{there} of the 30 decisions by people" in page
        assert f"{30 - there} more are needed" in page

    def test_runs_under_another_condition_are_left_out(self, site: Site) -> None:
        site.register("refund", "confidence < 0.9")
        first = site.start("refund", 0.5)
        assert first is not None
        site.decide(first, "approve")
        site.register("refund", "confidence < 0.8")
        second = site.start("refund", 0.5)
        assert second is not None
        site.decide(second, "approve")
        found = site.whatif("0.6")
        assert (found["threshold_now"], found["runs_replayed"]) == ("0.8", "1")
        assert found["runs_under_another_condition"] == "1"

    def test_what_is_no_threshold_is_refused_at_its_field(self, busy: Site) -> None:
        answer = busy.get("/insights", gate="refund/approve", threshold="<b>lots")
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
        assert 'value="&lt;b&gt;lots"' in answer.text
        refused = busy.get("/insights.csv", gate="refund/approve", part="whatif", threshold="lots")
        assert refused.status_code == 422

    def test_a_gate_without_a_threshold_says_why_there_is_no_what_if(self, site: Site) -> None:
        site.register("refund", '"amount > 100.0"')
        task = site.start("refund", 0.5, amount=500)
        assert task is not None
        site.decide(task, "approve")
        assert "The condition does not compare confidence with a number" in site.get("/insights").text


def _drawn(site: Site) -> list[bool]:
    """Whether the sample has each run, in the order they were started."""
    from signoff.definition.policy import rules_for

    with site.engine.database.transaction() as cursor:
        rules = rules_for(site.engine.core.versions.graph(cursor, "refund", 1), "approve")
    return [rules.samples(run) for (run,) in site.sql("SELECT id FROM runs WHERE workflow = 'refund' ORDER BY id")]


class TestBounds:
    def decided(self, site: Site, *, versions: VersionCache | None = None, **bounds: int) -> Any:
        return decided_at(
            site.engine.database,
            versions or site.engine.core.versions,
            workflow="refund",
            gate="approve",
            period=Period(days=30),
            bounds=Bounds(**bounds),
        )

    def test_the_newest_are_read_and_it_is_said_that_there_was_more(self, busy: Site) -> None:
        everything = self.decided(busy)
        assert not everything.capped
        for bounds in ({"cases": 20}, {"scanned": 20}, {"cases": 20, "scanned": 10}):
            found = self.decided(busy, **bounds)
            assert found.capped
            assert 0 < len(found.reviewed) <= min(bounds.values())
            assert len(found.passed) <= min(bounds.values())
            newest = [task.id for task in everything.reviewed][: len(found.reviewed)]
            assert [task.id for task in found.reviewed] == newest

    def test_people_and_policy_are_cut_at_the_same_moment(self, busy: Site) -> None:
        everything = self.decided(busy)
        found = self.decided(busy, cases=20)
        assert len(found.reviewed) == sum(task.completed_at > found.since for task in everything.reviewed)
        assert len(found.passed) == sum(each.at > found.since for each in everything.passed)

    def test_all_of_it_is_of_one_moment(self, site: Site) -> None:
        site.register("refund")
        task = site.start("refund", 0.5)
        assert task is not None
        site.later(2 * 3_600)

        class Meanwhile(VersionCache):
            """Somebody decides right after the first statement."""

            def latest(self, cursor: Cursor, workflow: str) -> int:
                found = super().latest(cursor, workflow)
                site.decide(task, "approve")
                return found

        found = self.decided(site, versions=Meanwhile())
        assert (found.overdue, len(found.reviewed)) == (1, 0)
        found = self.decided(site)
        assert (found.overdue, len(found.reviewed)) == (0, 1)

    def test_many_passes_cut_what_people_decided_before_them(self, site: Site) -> None:
        site.register("refund", sample=0)
        early, late = site.start("refund", 0.5), None
        assert early is not None
        site.decide(early, "approve")
        for n in range(5):
            site.start("refund", 0.9)
            if n == 3:
                late = site.start("refund", 0.5)
                assert late is not None
                site.decide(late, "approve")
        found = self.decided(site, cases=3)
        assert found.capped
        assert ([task.id for task in found.reviewed], len(found.passed)) == ([late], 3)
