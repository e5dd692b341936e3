"""The publish example: the run goes on, and what compliance says afterwards still counts."""

from __future__ import annotations

from publish import publish
from signoff import testing

ARTICLE = {"slug": "spring-sale", "title": "Spring sale", "body": "From Monday. Guaranteed."}


def test_the_run_completes_while_the_review_stays_open() -> None:
    r = testing.run(publish, ARTICLE)
    assert r.status == "completed"
    assert r.output == {"path": "/articles/spring-sale", "text": "New: Spring sale"}
    assert str(r.task.state) == "open"
    assert r.task.candidates.groups == ("compliance",)
    assert r.task.payload["claims"] == ["guaranteed"]


def test_an_approval_closes_the_review_and_changes_nothing() -> None:
    r = testing.run(publish, ARTICLE).skip("2h").decide("approve", by="cleo")
    assert (r.status, r.children) == ("completed", [])
    assert r.tasks[0].outcome == "approved"


def test_a_rejection_starts_the_retraction_as_a_run_of_its_own() -> None:
    r = testing.run(publish, ARTICLE).skip("1d")
    r.decide("reject", note="there is no guarantee", reason="unproven claim", by="cleo")
    assert r.output["text"] == "New: Spring sale"
    (child,) = r.children
    assert child.status == "completed"
    assert child.output == {
        "path": "/articles/spring-sale",
        "notice": "'Spring sale' was withdrawn. Reason: unproven claim.",
    }
    assert child.state.labels["compensates"] == str(r.id)
    assert "announce" not in child.outputs or child.outputs["announce"] == r.output


def test_silence_retracts_nothing() -> None:
    r = testing.run(publish, ARTICLE).skip("30d")
    assert str(r.task.state) == "open"
    assert r.children == []
