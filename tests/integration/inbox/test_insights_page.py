"""The page of the figures, and who may read it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.integration.inbox.insights_site import Site, fill


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


class TestWhoMayRead:
    @pytest.mark.parametrize("name", ["admin", "operator", "auditor", "author"])
    def test_these_may(self, busy: Site, name: str) -> None:
        assert busy.get("/insights", name).status_code == 200
        assert busy.get("/insights.csv", name, part="shares").status_code == 200

    @pytest.mark.parametrize("name", ["ana", "portal", "nobody"])
    def test_nobody_else_may(self, busy: Site, name: str) -> None:
        for path in ("/insights", "/insights.csv?part=shares", "/insights?gate=no/such", "/insights.csv?part=x"):
            answer = busy.get(path, name)
            assert answer.status_code == 403
            assert "refund" not in answer.text

    def test_without_a_session_one_signs_in_first(self, busy: Site) -> None:
        for path in ("/insights", "/insights.csv?part=shares"):
            answer = busy.get(path, None)
            assert answer.status_code == 303
            assert answer.headers["Location"].startswith("/sign-in")


class TestThePage:
    def test_it_has_a_table_and_a_download_beside_every_chart(self, busy: Site) -> None:
        page = busy.get("/insights", gate="refund/approve", threshold="0.7").text
        panels = re.findall(
            r'<section class="card panel.*?</header>.*?(?=<section class="card panel|</main>)', page, re.S
        )
        assert len(panels) == 5
        for panel in panels:
            assert re.search(r'<svg class="chart" [^>]*role="img" aria-label="[^"]+"', panel)
            assert "<table" in panel
            (link,) = re.findall(r'href="(/insights\.csv[^"]*)"', panel)
            answer = busy.get(link.replace("&amp;", "&"))
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
            assert answer.headers["Content-Disposition"].startswith('attachment; filename="refund-approve-')

    def test_nothing_in_it_is_styled_or_scripted_in_place(self, busy: Site) -> None:
        answer = busy.get("/insights", gate="refund/approve", threshold="0.7")
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", answer.text)
        assert re.findall(r"<script(?![^>]*\ssrc=)", answer.text) == []
        assert not re.search(r'(?:href|src|action)="(?:https?:)?//', answer.text)

    def test_a_gate_that_decided_nothing_says_so(self, busy: Site) -> None:
        answer = busy.get("/insights", gate="quiet/approve")
        assert answer.status_code == 200
        assert "Nothing was decided here in this period" in answer.text
        for part in ("buckets", "times", "shares", "edits"):
            assert busy.get("/insights.csv", gate="quiet/approve", part=part).status_code == 200

    def test_without_any_gate_it_says_what_would_be_here(self, site: Site) -> None:
        answer = site.get("/insights")
        assert answer.status_code == 200
        assert "No gates yet" in answer.text
        assert site.get("/insights.csv", part="shares").status_code == 422

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"period": "8"}, "?period"),
            ({"period": "dates"}, "?from"),
            ({"period": "dates", "from": "2026-03-01"}, "?to"),
            ({"period": "dates", "from": "2026-03-02", "to": "2026-03-01"}, "?to"),
            ({"period": "dates", "from": "2024-03-02", "to": "2026-03-01"}, "?from"),
            ({"period": "dates", "from": "yesterday", "to": "2026-03-01"}, "?from"),
            ({"gate": "refund"}, "?gate"),
            ({"gate": "x" * 500}, "?gate"),
            ({"threshold": "1" * 200}, "?threshold"),
        ],
    )
    def test_a_question_that_makes_no_sense_is_refused_by_name(
        self, busy: Site, query: dict[str, str], names: str
    ) -> None:
        for path in ("/insights", "/insights.csv"):
            answer = busy.get(path, part="shares", **query)
            assert answer.status_code == 422
            assert names in answer.text

    def test_a_gate_that_is_not_there_is_not_found(self, busy: Site) -> None:
        for gate in ("refund/none", "none/approve", "refund/../approve"):
            assert busy.get("/insights", gate=gate).status_code == 404
