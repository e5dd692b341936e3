"""The run screens through the app: who sees what, what is said of a run, and what can be done about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.run_site import Site, open_site, words

HOSTILE = "<img src=x onerror=alert(1)>\"'\u202eevil\u200b"
SHOWN = "⟦U+202E⟧"
MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str) -> Iterator[Site]:
    with open_site(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def waiting(site: Site) -> UUID:
    """A refund that waits for a lead."""
    run_id = site.start("refund", {"order": "A-881"}, by="rita", team="north")
    site.work(run_id, {"amount": 640.0, "reply": "Sorry"})
    return run_id


@pytest.fixture(scope="module")
def paid(site: Site) -> UUID:
    """A refund that was approved with a smaller amount, paid and told."""
    run_id = site.start("refund", {"order": "A-882"}, by="rita")
    site.work(run_id, {"amount": 640.0})
    site.decide(run_id, "ana", "approve", patch={"amount": 40.0}, note="ten times too much")
    site.work(run_id, {"paid": 40.0})
    site.work(run_id, {"told": True})
    return run_id


@pytest.fixture
def failed(site: Site) -> UUID:
    """A refund whose payment failed."""
    run_id = site.start("refund", {"order": "A-883"}, by="rita")
    site.work(run_id, {"amount": 42.0})
    site.fail(run_id, message="the bank said no")
    return run_id


# The list --------------------------------------------------------------------------------------------------------


def ids(page: str) -> list[str]:
    """The runs of a list, in its order."""
    return re.findall(r'<td[^>]*class="run-named"><a href="/runs/([0-9a-f-]{36})"', page)


def test_the_list_is_newest_first_and_says_each_status_in_a_word(site: Site, waiting: UUID, paid: UUID) -> None:
    page = site.as_("admin").get("/runs")
    found = ids(page)
    assert found == sorted(found, reverse=True)
    assert {str(waiting), str(paid)} <= set(found)
    assert re.search(r'status-waiting"><svg.*?</svg>waiting', page, re.DOTALL)
    assert re.search(r'status-completed"><svg.*?</svg>completed', page, re.DOTALL)


def test_the_list_shows_only_what_its_reader_may_see(site: Site, waiting: UUID) -> None:
    for name in ("rita", "ana", "auditor", "operator"):
        assert str(waiting) in ids(site.as_(name).get("/runs")), name
    for name in ("zoe", "olga"):
        assert str(waiting) not in ids(site.as_(name).get("/runs")), name
    site.as_("nobody").get("/runs", 403)


@pytest.mark.parametrize(
    "query",
    ["?status=waiting", "?workflow=refund", "?label=team:north", "?status=waiting&workflow=refund&label=team:north"],
)
def test_filters_find_what_they_ask_for(site: Site, waiting: UUID, paid: UUID, query: str) -> None:
    found = ids(site.as_("admin").get(f"/runs{query}"))
    assert str(waiting) in found
    assert (str(paid) in found) == (query == "?workflow=refund")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?label=team", "write key:value"),
        ("?label=:x", "write key:value"),
        ("?label=a:1&label=a:2", "one key can't have two values"),
        ("?" + "&".join(f"label=a{at}:1" for at in range(9)), "at most 8"),
        ("?status=gone", "one of queued, running"),
        ("?q=42", "copy the whole id"),
        ("?workflow=" + "w" * 129, "at most 128 characters"),
        ("?workflow=a%00b", "at most 128 characters"),
        ("?cursor=x", "start without a cursor"),
    ],
)
def test_a_filter_that_can_not_be_is_refused_in_place(site: Site, query: str, says: str) -> None:
    page = site.as_("admin").get(f"/runs{query}", 422)
    assert says in words(page)
    assert 'action="/runs"' in page, "the form is still there"


def test_what_was_typed_into_a_filter_stays_there(site: Site) -> None:
    page = site.as_("admin").get("/runs?label=team&workflow=refund&status=failed", 422)
    assert 'name="label" value="team"' in page
    assert 'name="workflow" list="workflow-names" value="refund"' in page
    assert '<option value="failed" selected>' in page


def test_a_run_is_found_by_its_id_by_those_who_may_see_it(site: Site, waiting: UUID) -> None:
    assert ids(site.as_("ana").get(f"/runs?q={waiting}")) == [str(waiting)]
    assert ids(site.as_("ana").get(f"/runs?q=+{str(waiting).upper()}+")) == [str(waiting)]
    stranger = site.as_("zoe").get(f"/runs?q={waiting}")
    assert ids(stranger) == []
    assert words(stranger) == words(site.as_("zoe").get(f"/runs?q={MISSING}")).replace(MISSING, str(waiting))


def test_a_long_list_is_paged_and_its_filters_stay(site: Site) -> None:
    made = [str(site.start("blind", {"amount": at}, batch="paged")) for at in range(65)]
    browser, seen, path = site.as_("admin"), [], "/runs?label=batch:paged"
    while path:
        assert len(seen) < 1_000, "the pages lead in a circle"
        page = browser.get(path)
        seen += ids(page)
        following = re.search(r'href="(/runs\?[^"]*cursor=[^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == made[::-1]


def test_an_empty_list_says_so(site: Site) -> None:
    assert "No runs yet" in words(site.as_("zoe").get("/runs"))
    assert "No run like that" in words(site.as_("admin").get("/runs?workflow=none-such"))


# One run ---------------------------------------------------------------------------------------------------------


def test_only_who_may_see_a_run_gets_its_page(site: Site, waiting: UUID) -> None:
    for name in ("rita", "ana", "sam", "admin", "operator", "auditor"):
        assert "refund" in site.as_(name).get(f"/runs/{waiting}")
    for name in ("zoe", "olga", "nobody"):
        site.as_(name).get(f"/runs/{waiting}", 404)
    site.as_("admin").get(f"/runs/{MISSING}", 404)
    site.as_("admin").get("/runs/none", 404)


def test_without_a_session_there_is_the_sign_in_page_and_nothing_else(site: Site, waiting: UUID) -> None:
    browser = site.as_("admin")
    browser.token = None
    response = browser.send("GET", f"/runs/{waiting}")
    assert response.status_code == 303
    assert response.headers["Location"] == f"/sign-in?next=%2Fruns%2F{waiting}"


def test_the_graph_says_where_the_run_stands_in_a_picture_and_in_a_list(site: Site, waiting: UUID) -> None:
    page = site.as_("ana").get(f"/runs/{waiting}")
    picture = re.search(r'<svg class="graph".*?</svg>', page, re.DOTALL)
    twin = re.search(r'<ol class="sr-only".*?</ol>', page, re.DOTALL)
    assert picture is not None
    assert twin is not None
    assert 'aria-hidden="true"' in picture[0]
    names = re.findall(r'<text class="name"[^>]*>(.*?)</text>', picture[0])
    listed = [words(item) for item in re.findall(r"<li.*?</li>", twin[0], re.DOTALL)]
    assert [item.split()[1].rstrip(":") for item in listed] == names, "the same nodes in the same order"
    assert names == ["draft", "approve-refund", "apologize", "note", "pay", "tell"]
    states = re.findall(r'<text class="said"[^>]*>(.*?)</text>', picture[0].partition('class="station')[2])
    for item, state in zip(listed, states, strict=True):
        assert all(word in item for word in state.split(" · "))
    assert 'aria-current="step">Gate approve-refund: waits for a person' in twin[0]
    assert "reject: apologize" in listed[1]
    region = '<div class="graph-scroll" tabindex="0" role="region" aria-label="The workflow\'s graph">'
    assert region in page, "what scrolls can be reached by the keyboard"


def test_the_way_that_was_gone_is_told(site: Site, paid: UUID) -> None:
    said = words(site.as_("admin").get(f"/runs/{paid}"))
    assert "Gate approve-refund: approved" in said
    assert "approve: pay, the way it went" in said
    assert "reject: apologize;" in said
    assert "Step apologize: not taken" in said
    assert "then: the run is completed, the way it went" in said


def test_the_timeline_tells_the_edit_and_the_policy_with_their_values(site: Site, paid: UUID, failed: UUID) -> None:
    said = words(site.as_("admin").get(f"/runs/{paid}"))
    assert "ana approved approve-refund, amount 640.0 → 40.0" in said
    assert "ten times too much" in said
    passed = words(site.as_("admin").get(f"/runs/{failed}"))
    assert "approve-refund passed by policy amount > 100.0 (amount is 42.0) does not hold" in passed


def test_a_failed_run_says_why_what_to_do_and_has_its_trace_in_the_details(site: Site, failed: UUID) -> None:
    page = site.as_("rita").get(f"/runs/{failed}")
    said = words(page)
    assert "pay failed step_raised the bank said no" in said
    assert "let the run go on" in said
    assert "RuntimeError: the bank said no" in re.search(r'<pre class="trace".*?</pre>', page, re.DOTALL)[0]  # type: ignore[index]
    other = words(site.as_("auditor").get(f"/runs/{failed}"))
    assert "Whoever started the run, an operator or an admin" in other


def test_a_run_leads_to_its_human_tasks(site: Site, waiting: UUID) -> None:
    assert f'href="/inbox/{site.task(waiting)}"' in site.as_("ana").get(f"/runs/{waiting}")


def test_a_run_and_the_run_that_makes_up_for_it_lead_to_each_other(site: Site) -> None:
    parent = site.start("beside", {"n": 1})
    site.work(parent, {"amount": 1})
    site.work(parent, {"sent": True})
    site.decide(parent, "ana", "reject", note="take it back")
    ((child,),) = site.sql("SELECT id FROM runs WHERE labels @> %s", f'{{"compensates": "{parent}"}}')
    above = site.as_("admin").get(f"/runs/{parent}")
    assert f'href="/runs/{child}"' in above
    assert "Made up for by" in words(above)
    below = site.as_("admin").get(f"/runs/{child}")
    assert f'href="/runs/{parent}"' in below
    assert "Makes up for" in words(below)


def test_a_label_alone_makes_no_run_the_child_of_another(site: Site, paid: UUID) -> None:
    liar = site.start("blind", {"amount": 1}, compensates=str(paid))
    above, below = words(site.as_("admin").get(f"/runs/{paid}")), words(site.as_("admin").get(f"/runs/{liar}"))
    assert "Labeled as making up for it" in above
    assert "Made up for by" not in above
    assert "Makes up for" not in below


def test_a_long_timeline_is_paged_and_every_event_is_on_one_page(site: Site) -> None:
    run_id = site.start("blind", {"amount": 1})
    for at in range(120):
        site.engine.comment(site.task(run_id), text=f"comment {at}", by=site.people["ana"])
    browser, seen, path = site.as_("ana"), [], f"/runs/{run_id}"
    while path:
        assert len(seen) < 1_000, "the pages lead in a circle"
        page = browser.get(path)
        seen += [int(seq) for seq in re.findall(r'id="event-(\d+)"', page)]
        following = re.search(rf'href="(/runs/{run_id}\?after=\d+)"', page)
        path = following[1] if following else ""
    assert seen == list(range(1, 123))


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 10, "²"])
def test_a_place_in_the_timeline_that_is_none_is_refused(site: Site, waiting: UUID, after: str) -> None:
    site.as_("admin").get(f"/runs/{waiting}?after={after}", 422)


def test_a_large_output_is_cut(site: Site) -> None:
    run_id = site.start("refund", {"order": "x" * 100_000}, by="rita")
    page = site.as_("rita").get(f"/runs/{run_id}")
    assert "x" * 10_000 in page
    assert len(page) < 100_000


# Blind gates -----------------------------------------------------------------------------------------------------


def test_a_blind_gate_keeps_what_others_said_until_it_is_decided(site: Site) -> None:
    run_id = site.start("blind", {"amount": 640})
    site.decide(run_id, "ana", "approve", note="secret-note", surface="secret-surface")
    for name, sees in (("sam", False), ("ana", True), ("auditor", True), ("lead-auditor", False)):
        page = site.as_(name).get(f"/runs/{run_id}")
        assert ("secret-note" in page, "secret-surface" in page) == (sees, sees), name
        assert ("ana approved ok" in words(page)) == sees
        assert ("ana decided ok" in words(page)) == (not sees)
    site.decide(run_id, "sam", "approve")
    assert "secret-note" in site.as_("sam").get(f"/runs/{run_id}")


# What can be done ------------------------------------------------------------------------------------------------


def actions(page: str) -> set[str]:
    return set(re.findall(r'action="/runs/[0-9a-f-]{36}/(cancel|retry)"', page))


def test_an_action_is_offered_only_to_those_who_may_and_only_when_it_can_be(
    site: Site, waiting: UUID, paid: UUID, failed: UUID
) -> None:
    for name, may in (("rita", True), ("operator", True), ("admin", True), ("ana", False), ("auditor", False)):
        browser = site.as_(name)
        assert actions(browser.get(f"/runs/{waiting}")) == ({"cancel"} if may else set()), name
        assert actions(browser.get(f"/runs/{paid}")) == set(), name
    for name, may in (("rita", True), ("operator", True), ("auditor", False)):
        assert actions(site.as_(name).get(f"/runs/{failed}")) == ({"retry"} if may else set()), name


def status(site: Site, run_id: UUID) -> str:
    ((found,),) = site.sql("SELECT status FROM runs WHERE id = %s", run_id)
    return str(found)


def test_canceling_takes_a_reason_and_a_yes_and_is_in_the_log(site: Site) -> None:
    run_id = site.start("blind", {"amount": 1}, by="rita")
    browser = site.as_("rita")
    page = browser.post(f"/runs/{run_id}/cancel", 422, reason="typed and kept").text
    assert "say that you mean it" in words(page)
    assert ">typed and kept</textarea>" in page
    assert status(site, run_id) == "waiting"
    page = browser.post(f"/runs/{run_id}/cancel", 422, reason=" ", confirm="yes").text
    assert "say why in 1 to 2000 characters" in words(page)
    assert 'aria-invalid="true" aria-describedby="cancel-problem"' in page
    assert " autofocus" in page, "the reader is taken to where the problem is"
    assert status(site, run_id) == "waiting"
    response = browser.post(f"/runs/{run_id}/cancel", reason="two\r\nlines", confirm="yes")
    assert response.headers["Location"] == f"/runs/{run_id}"
    assert status(site, run_id) == "canceled"
    assert "rita canceled the run two lines" in words(browser.get(f"/runs/{run_id}"))


def test_who_comes_too_late_is_told_and_keeps_what_they_wrote(site: Site, paid: UUID) -> None:
    page = site.as_("rita").post(f"/runs/{paid}/cancel", 409, reason="my long reason", confirm="yes").text
    assert "Not done. the run is already completed" in words(page)
    assert "my long reason" in words(page)
    page = site.as_("rita").post(f"/runs/{paid}/retry", 409, confirm="yes").text
    assert "only a failed run can be retried" in words(page)


def test_who_may_not_is_refused_in_place(site: Site, waiting: UUID) -> None:
    page = site.as_("ana").post(f"/runs/{waiting}/cancel", 403, reason="mine", confirm="yes").text
    assert "only who started the run, an operator or an admin may do this" in words(page)
    assert "mine" in words(page)
    site.as_("zoe").post(f"/runs/{waiting}/cancel", 404, reason="r", confirm="yes")
    assert status(site, waiting) == "waiting"


def test_a_form_without_the_sessions_token_does_nothing(site: Site, waiting: UUID) -> None:
    browser = site.as_("rita")
    for form in ({}, {"csrf": "0" * 64}):
        response = browser.send("POST", f"/runs/{waiting}/cancel", data={"reason": "r", "confirm": "yes", **form})
        assert response.status_code == 403
    assert browser.send("GET", f"/runs/{waiting}/cancel").status_code in (404, 405)
    assert status(site, waiting) == "waiting"


def test_a_failed_run_goes_on_from_where_it_failed(site: Site, failed: UUID) -> None:
    browser = site.as_("rita")
    page = browser.post(f"/runs/{failed}/retry", 422).text
    assert "say that you mean it" in words(page)
    assert status(site, failed) == "failed"
    browser.post(f"/runs/{failed}/retry", confirm="yes")
    assert status(site, failed) == "queued"
    assert "rita let the run go on from pay" in words(browser.get(f"/runs/{failed}"))


def test_a_failed_run_goes_on_from_an_earlier_step(site: Site, failed: UUID) -> None:
    browser = site.as_("operator")
    assert '<option value="draft">draft</option>' in browser.get(f"/runs/{failed}")
    page = browser.post(f"/runs/{failed}/retry", 422, confirm="yes", from_step="none").text
    assert "the run has not been at &#39;none&#39;" in page
    browser.post(f"/runs/{failed}/retry", confirm="yes", from_step="draft")
    assert "operator let the run go on from draft" in words(browser.get(f"/runs/{failed}"))


def test_an_irreversible_step_is_not_done_again_and_the_page_says_why(site: Site) -> None:
    run_id = site.start("refund", {"order": "A-1"}, by="rita")
    site.work(run_id, {"amount": 42.0})
    site.work(run_id, {"paid": 42.0})
    site.fail(run_id)
    page = site.as_("rita").post(f"/runs/{run_id}/retry", 409, confirm="yes", from_step="pay").text
    assert "is irreversible and has been done" in words(page)
    assert '<option value="pay" selected>' in page, "what was chosen is still chosen"
