"""Runs over HTTP: start, read, list, cancel, retry."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.api.client import Api, paths, problem

MISSING = "00000000-0000-7000-8000-000000000000"


def test_a_run_is_started_and_found_where_location_says(api: Api) -> None:
    portal = api.as_("portal")
    response = portal.post("/runs", {"workflow": "expense", "input": {"amount": 3}, "labels": {"team": "red"}})
    run = portal.ok(response, 201)
    assert response.headers["Location"] == f"/api/v1/runs/{run['id']}"
    assert portal.ok(portal.get(f"/runs/{run['id']}")) == run
    assert (run["status"], run["current_node"], run["version"]) == ("waiting", "approve", 1)
    assert run["requester"]["name"] == "portal"
    assert (run["input"], run["output"], run["labels"]) == ({"amount": 3}, None, {"team": "red"})
    assert len(run["human_tasks"]) == 1


def test_a_run_of_an_older_version_stays_with_it(api: Api) -> None:
    author = api.as_("author")
    for text in ("one", "two"):
        author.register(f"workflow: old\ndescription: {text}\nsteps: [{{gate: g, reviewers: leads}}]", "old")
    assert api.as_("portal").start("old", 1)["version"] == 2
    problem(api.as_("portal").post("/runs", {"workflow": "old", "input": 1, "version": 1}), 403, "old_version")
    assert api.as_("portal").start("old", 1, version=2)["version"] == 2
    run = api.as_("operator").start("old", 1, version=1)
    assert api.as_("ana").task(run)["version"] == 1
    problem(api.as_("portal").post("/runs", {"workflow": "old", "input": 1, "version": 3}), 404, "not_found")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"input": {"amount": "3"}}, "/input/amount"),
        ({"input": {}}, "/input/amount"),
        ({"input": None}, "/input"),
        ({"surprise": 1}, "/surprise"),
        ({"workflow": None}, "/workflow"),
        ({"version": "1"}, "/version"),
        ({"version": 0}, "/version"),
        ({"version": True}, "/version"),
        ({"labels": {"k": "v" * 257}}, "/labels/k"),
        ({"labels": {"k": 1}}, "/labels/k"),
        ({"labels": {f"k{n}": "v" for n in range(33)}}, "/labels"),
        ({"labels": ["k"]}, "/labels"),
    ],
)
def test_each_bad_field_is_named_by_its_path(api: Api, change: dict[str, Any], path: str) -> None:
    body = {"workflow": "expense", "input": {"amount": 3}} | change
    found = problem(api.as_("portal").post("/runs", body), 422, "invalid")
    assert any(where.startswith(path) for where in paths(found)), found


def test_a_bad_label_is_named_by_its_key(api: Api) -> None:
    body = {"workflow": "expense", "input": {"amount": 1}, "labels": {"a:b": "c"}}
    assert paths(problem(api.as_("portal").post("/runs", body), 422, "invalid")) == {"/labels/a:b"}


def test_a_run_of_no_workflow_is_not_started(api: Api) -> None:
    problem(api.as_("portal").post("/runs", {"workflow": "none", "input": 1}), 404, "not_found")


def test_an_input_over_the_limit_is_too_large(api: Api) -> None:
    body = {"workflow": "expense", "input": {"amount": 1, "text": "x" * 270_000}}
    assert "reference" in problem(api.as_("portal").post("/runs", body), 422, "too_large")["fix"]


@pytest.mark.parametrize("name", ["max", "auditor", "nobody"])
def test_starting_takes_a_role(api: Api, name: str) -> None:
    problem(api.as_(name).post("/runs", {"workflow": "expense", "input": {"amount": 1}}), 403, "forbidden")


def test_the_same_idempotency_key_starts_one_run(api: Api) -> None:
    portal = api.as_("portal")
    body = {"workflow": "expense", "input": {"amount": 3}}
    first = portal.post("/runs", body, headers={"Idempotency-Key": "start-1"})
    again = portal.post("/runs", body, headers={"Idempotency-Key": "start-1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.get_json()["id"] == first.get_json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    other = portal.post("/runs", body | {"input": {"amount": 4}}, headers={"Idempotency-Key": "start-1"})
    problem(other, 422, "idempotency_mismatch")
    # Another caller's key is another key.
    theirs = api.as_("ana").post("/runs", body, headers={"Idempotency-Key": "start-1"})
    assert theirs.get_json()["id"] != first.get_json()["id"]


def test_who_has_no_part_in_a_run_is_not_told_of_it(api: Api) -> None:
    run = api.as_("portal").start("expense", {"amount": 1})
    for name in ("portal", "ana", "admin", "operator", "auditor"):
        assert api.as_(name).get(f"/runs/{run['id']}").status_code == 200, name
    for name in ("zoe", "max", "author", "nobody"):
        for place in (f"/runs/{run['id']}", f"/runs/{run['id']}/events"):
            problem(api.as_(name).get(place), 404, "not_found")


@pytest.mark.parametrize(
    "place", [f"/runs/{MISSING}", f"/runs/{MISSING}/events", "/runs/x", "/runs/%00", f"/runs/{{{MISSING}}}"]
)
def test_what_is_no_run_is_not_found(api: Api, place: str) -> None:
    problem(api.as_("admin").get(place), 404, "not_found")


class TestEvents:
    def test_the_log_is_read_in_order_page_by_page(self, api: Api) -> None:
        run = api.as_("portal").start("expense", {"amount": 1})
        ana = api.as_("ana")
        ana.ok(ana.decide(ana.task(run), "approve"), 201)
        whole = ana.ok(ana.get(f"/runs/{run['id']}/events"))
        assert whole["next_cursor"] is None
        kinds = [event["type"] for event in whole["items"]]
        assert kinds == ["run.created", "gate.opened", "decision.recorded", "gate.decided", "run.completed"]
        assert [event["seq"] for event in whole["items"]] == [1, 2, 3, 4, 5]
        for name in ("after", "cursor"):
            seen: list[Any] = []
            after = "0"
            while after is not None:
                page = ana.ok(ana.get(f"/runs/{run['id']}/events?limit=2&{name}={after}"))
                seen, after = seen + page["items"], page["next_cursor"]
            assert seen == whole["items"]

    @pytest.mark.parametrize(
        "query",
        [
            "after=-1",
            "after=x",
            "after=99999999999",
            "limit=0",
            "limit=201",
            "limit=1.0",
            "cursor=x",
            "cursor=2559342042",
            "before=1",
            "limit=1&limit=2",
            "after=%00",
        ],
    )
    def test_a_bad_parameter_is_named(self, api: Api, query: str) -> None:
        run = api.as_("portal").start("expense", {"amount": 1})
        found = problem(api.as_("ana").get(f"/runs/{run['id']}/events?{query}"), 422, "invalid")
        assert paths(found) == {"?" + query.partition("=")[0]}


class TestCancel:
    def test_a_canceled_run_takes_its_human_tasks_with_it(self, api: Api) -> None:
        portal = api.as_("portal")
        run = portal.start("expense", {"amount": 1})
        ended = portal.ok(portal.post(f"/runs/{run['id']}/cancel", {"reason": "sent twice"}))
        assert (ended["status"], ended["output"]) == ("canceled", None)
        assert ended["finished_at"] is not None
        assert api.as_("ana").task(run)["state"] == "canceled"
        problem(portal.post(f"/runs/{run['id']}/cancel", {"reason": "again"}), 409, "run_finished")

    def test_others_may_not(self, api: Api) -> None:
        run = api.as_("portal").start("expense", {"amount": 1})
        problem(api.as_("ana").post(f"/runs/{run['id']}/cancel", {"reason": "x"}), 403, "forbidden")
        problem(api.as_("zoe").post(f"/runs/{run['id']}/cancel", {"reason": "x"}), 404, "not_found")

    @pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 2001}, {"reason": 1}])
    def test_it_wants_a_reason(self, api: Api, body: dict[str, Any]) -> None:
        run = api.as_("portal").start("expense", {"amount": 1})
        response = api.as_("portal").post(f"/runs/{run['id']}/cancel", body)
        assert paths(problem(response, 422, "invalid")) == {"/reason"}


class TestRetry:
    def test_a_failed_run_goes_on(self, api: Api) -> None:
        portal, ana = api.as_("portal"), api.as_("ana")
        run = portal.start("expense", {"amount": 1})
        failed = ana.ok(ana.decide(ana.task(run), "escalate"), 201)["run"]
        assert (failed["status"], failed["current_node"]) == ("failed", "approve")
        again = portal.ok(portal.post(f"/runs/{run['id']}/retry"))
        assert (again["status"], again["error"]) == ("waiting", None)
        assert len(again["human_tasks"]) == 2
        body = ana.ok(ana.decide(ana.task(again), "approve"), 201)
        assert body["run"]["status"] == "completed"

    def test_a_run_that_has_not_failed_is_left_alone(self, api: Api) -> None:
        run = api.as_("portal").start("expense", {"amount": 1})
        problem(api.as_("portal").post(f"/runs/{run['id']}/retry", {}), 409, "run_not_failed")

    def test_it_goes_back_only_to_where_the_run_has_been(self, api: Api) -> None:
        portal, ana = api.as_("portal"), api.as_("ana")
        run = portal.start("expense", {"amount": 1})
        ana.ok(ana.decide(ana.task(run), "escalate"), 201)
        found = problem(portal.post(f"/runs/{run['id']}/retry", {"from_step": "none"}), 422, "invalid")
        assert paths(found) == {"/from_step"}


class TestList:
    def test_newest_first_and_stable_while_runs_arrive(self, api: Api) -> None:
        portal = api.as_("portal")
        api.as_("author").register("workflow: listed\nsteps: [{gate: g, reviewers: leads}]", "listed")
        made = [portal.start("listed", n)["id"] for n in range(7)]
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = portal.ok(
                portal.get(
                    f"/runs?workflow=listed&limit=3&cursor={cursor}" if cursor else "/runs?workflow=listed&limit=3"
                )
            )
            seen += [run["id"] for run in page["items"]]
            cursor = page["next_cursor"]
            portal.start("listed", "late")
        assert seen == made[::-1]

    def test_the_filters_hold(self, api: Api) -> None:
        portal, ana = api.as_("portal"), api.as_("ana")
        red = portal.start("expense", {"amount": 1}, labels={"colour": "red", "n": "1"})
        blue = portal.start("expense", {"amount": 1}, labels={"colour": "blue", "n": "1:2"})
        ana.ok(ana.decide(ana.task(blue), "approve"), 201)

        def found(query: str) -> list[str]:
            return [run["id"] for run in ana.ok(ana.get(f"/runs?{query}"))["items"]]

        assert found("label=colour:red") == [red["id"]]
        assert found("label=colour:red&label=n:1") == [red["id"]]
        assert found("label=n:1:2") == [blue["id"]]
        assert found("label=colour:red&label=n:2") == []
        assert found("label=colour:blue&status=completed") == [blue["id"]]
        assert found("label=colour:blue&status=waiting") == []
        assert found("label=colour:red&workflow=none") == []
        assert found(f"label=n:1&created_after={red['created_at']}") == []
        assert found("label=colour:red&created_after=2020-01-01T00:00:00%2B02:00") == [red["id"]]
        assert found("created_after=2999-01-01T00:00:00Z") == []

    def test_everybody_sees_only_theirs(self, api: Api) -> None:
        mine = api.as_("sam").start("expense", {"amount": 1})["id"]

        def seen(name: str) -> set[str]:
            return {run["id"] for run in api.as_(name).ok(api.as_(name).get("/runs?limit=200"))["items"]}

        assert all(mine in seen(name) for name in ("sam", "ana", "admin", "auditor", "operator"))
        assert not any(mine in seen(name) for name in ("zoe", "max", "portal", "author"))
        problem(api.as_("nobody").get("/runs"), 403, "forbidden")

    @pytest.mark.parametrize(
        "query",
        [
            "status=done",
            "created_after=yesterday",
            "created_after=2020-01-01T00:00:00",
            "created_after=1700000000",
            "created_after=0001-01-01T00:00:00%2B23:00",
            "created_after=2020-01-01T00:00:00+02:00",
            "label=colour",
            "label=:x",
            "limit=0",
            "limit=abc",
            "limit=",
            "cursor=",
            "cursor=!!",
            "cursor=AAAA",
            "offset=1",
            "workflow=",
            "workflow=a&workflow=b",
            "workflow=%00",
            "cursor=" + "A" * 513,
        ],
    )
    def test_a_bad_parameter_is_named(self, api: Api, query: str) -> None:
        found = problem(api.as_("admin").get(f"/runs?{query}"), 422, "invalid")
        name = "?" + query.partition("=")[0]
        assert any(path.startswith(name) for path in paths(found)), found

    def test_a_cursor_goes_on_only_in_its_own_list(self, api: Api) -> None:
        portal = api.as_("portal")
        for _ in range(2):
            portal.start("expense", {"amount": 1})
        cursor = portal.ok(portal.get("/runs?workflow=expense&limit=1"))["next_cursor"]
        assert portal.get(f"/runs?workflow=expense&limit=2&cursor={cursor}").status_code == 200
        for place in (f"/runs?cursor={cursor}", f"/human-tasks?cursor={cursor}", f"/workflows?cursor={cursor}"):
            assert paths(problem(api.as_("admin").get(place), 422, "invalid")) == {"?cursor"}

    def test_a_page_ends_early_when_its_runs_are_large(self, api: Api) -> None:
        portal = api.as_("portal")
        api.as_("author").register("workflow: large\nsteps: [{gate: g, reviewers: leads}]", "large")
        made = [portal.start("large", "x" * 250_000)["id"] for _ in range(20)]
        first = portal.get("/runs?workflow=large&limit=200")
        assert len(first.data) < 5_000_000
        page = first.get_json()
        assert 10 < len(page["items"]) < 20
        rest = portal.ok(portal.get(f"/runs?workflow=large&limit=200&cursor={page['next_cursor']}"))
        assert [run["id"] for run in page["items"] + rest["items"]] == made[::-1]
