"""The inbox over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.api.client import Api, paths, problem

from signoff.authorization import Action, authorize, oversees
from signoff.errors import NotFound
from signoff.store.queries_human_tasks import HumanTaskFilter, get_human_task, list_human_tasks
from signoff.store.queries_runs import RunFilter, get_run, list_runs

MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def task(api: Api) -> Any:
    return api.as_("ana").task(api.as_("portal").start("expense", {"amount": 12.5}))


def test_a_reviewer_finds_everything_they_need(api: Api, task: Any) -> None:
    response = api.as_("ana").get(f"/human-tasks/{task['id']}")
    assert response.headers["ETag"] == '"1"'
    shown = response.get_json()
    assert shown["title"] == "Pay 12.5"
    assert shown["why"] == "every run is reviewed here"
    assert shown["payload"] == {"amount": 12.5}
    assert shown["payload_schema"]["required"] == ["amount"]
    assert shown["editable"] == ["amount"]
    assert shown["options"] == ["approve", "reject", "escalate"]
    assert shown["consequences"] == {"approve": "Pays 12.5.", "reject": "Nothing is paid."}
    assert shown["context"] == {"input": {"amount": 12.5}, "outputs": {}}
    assert shown["candidates"] == {"users": [], "groups": ["leads"]}
    assert shown["quorum"] == {"required": 1, "approvals": 0}
    assert (shown["state"], shown["mode"], shown["revision"], shown["decisions"]) == ("open", "before", 1, [])


def test_who_has_no_part_in_it_is_not_told_of_it(api: Api, task: Any) -> None:
    for name in ("portal", "ana", "sam", "admin", "operator", "auditor"):
        assert api.as_(name).get(f"/human-tasks/{task['id']}").status_code == 200, name
    for name in ("zoe", "max", "author", "nobody"):
        problem(api.as_(name).get(f"/human-tasks/{task['id']}"), 404, "not_found")
        problem(api.as_(name).post(f"/human-tasks/{task['id']}/comments", {"text": "x"}), 404, "not_found")
    problem(api.as_("admin").get(f"/human-tasks/{MISSING}"), 404, "not_found")


class TestClaim:
    def test_it_is_taken_and_given_back(self, api: Api, task: Any) -> None:
        ana, sam = api.as_("ana"), api.as_("sam")
        url = f"/human-tasks/{task['id']}/claim"
        assert ana.ok(ana.put(url))["assignee"] == "ana"
        assert ana.ok(ana.put(url))["assignee"] == "ana"
        assert problem(sam.put(url), 409, "claimed")["winner"]["by"]["name"] == "ana"
        problem(sam.delete(url), 409, "claimed")
        assert ana.ok(ana.delete(url))["assignee"] is None
        assert sam.ok(sam.put(url))["assignee"] == "sam"
        assert api.as_("operator").ok(api.as_("operator").delete(url))["assignee"] is None

    def test_only_those_who_may_decide_claim(self, api: Api, task: Any) -> None:
        url = f"/human-tasks/{task['id']}/claim"
        problem(api.as_("portal").put(url), 403, "not_human")
        problem(api.as_("admin").put(url), 403, "not_candidate")
        problem(api.as_("zoe").delete(url), 404, "not_found")

    def test_a_decided_one_is_no_longer_claimed(self, api: Api, task: Any) -> None:
        api.as_("ana").ok(api.as_("ana").decide(task, "approve"), 201)
        problem(api.as_("sam").put(f"/human-tasks/{task['id']}/claim"), 409, "already_decided")


class TestAssign:
    def test_it_is_handed_to_a_candidate(self, api: Api, task: Any) -> None:
        for name, assignee in (("operator", "ana"), ("ana", "sam")):
            caller = api.as_(name)
            body = caller.ok(caller.put(f"/human-tasks/{task['id']}/assignee", json={"assignee": assignee}))
            assert body["assignee"] == assignee

    @pytest.mark.parametrize("assignee", ["zoe", "portal", "robot", "none-such", "leads"])
    def test_nobody_else_takes_it(self, api: Api, task: Any, assignee: str) -> None:
        response = api.as_("ana").put(f"/human-tasks/{task['id']}/assignee", json={"assignee": assignee})
        assert paths(problem(response, 422, "invalid")) == {"/assignee"}

    def test_it_takes_a_part_in_it(self, api: Api, task: Any) -> None:
        url = f"/human-tasks/{task['id']}/assignee"
        problem(api.as_("portal").put(url, json={"assignee": "ana"}), 403, "forbidden")
        problem(api.as_("zoe").put(url, json={"assignee": "ana"}), 404, "not_found")


class TestComments:
    def test_a_comment_is_kept_in_the_log(self, api: Api, task: Any) -> None:
        ana = api.as_("ana")
        made = ana.ok(ana.post(f"/human-tasks/{task['id']}/comments", {"text": "which taxi?"}), 201)
        assert ana.ok(ana.get(f"/human-tasks/{task['id']}"))["comments"] == [made]
        run_id, _, seq = made["id"].partition(":")
        event = ana.ok(ana.get(f"/runs/{run_id}/events?after={int(seq) - 1}&limit=1"))["items"][0]
        assert (event["type"], event["data"]["text"]) == ("human_task.commented", "which taxi?")

    @pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "  "}, {"text": "x" * 4001}, {"text": None}])
    def test_it_has_a_text(self, api: Api, task: Any, body: dict[str, Any]) -> None:
        response = api.as_("ana").post(f"/human-tasks/{task['id']}/comments", body)
        assert paths(problem(response, 422, "invalid")) == {"/text"}


INBOX = """
workflow: inbox
steps:
  - gate: {gate}
    reviewers: {reviewers}
    title: "{title} {{payload}}"
    priority: {priority}
    {due}
"""


@pytest.fixture(scope="module")
def inbox(api: Api) -> dict[str, str]:
    """Human tasks of several kinds, by a name of ours."""
    made = {}
    for name, gate, reviewers, priority, due in (
        ("soon", "first", "inboxers", 10, "due: 1h"),
        ("later", "first", "user:iris", 90, "due: 2h"),
        ("never", "second", "inboxers", 50, ""),
        ("sooner", "second", "[user:iris, others]", 90, "due: 30m"),
    ):
        document = INBOX.format(gate=gate, reviewers=reviewers, title=name, priority=priority, due=due)
        api.as_("author").register(document, "inbox")
        made[name] = api.as_("portal").start("inbox", 7)["human_tasks"][0]
    api.add("iris", groups=("inboxers",), roles=("reviewer",))
    api.add("ivan", groups=("inboxers",), roles=("reviewer",))
    return made


class TestList:
    def _names(self, api: Api, inbox: dict[str, str], query: str, name: str = "iris") -> list[str]:
        by_id = {identifier: known for known, identifier in inbox.items()}
        found = api.as_(name).ok(api.as_(name).get(f"/human-tasks?{query}"))["items"]
        return [by_id[item["id"]] for item in found if item["id"] in by_id]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", ["sooner", "soon", "later", "never"]),
            ("sort=due_at", ["sooner", "soon", "later", "never"]),
            ("sort=-due_at", ["later", "soon", "sooner", "never"]),
            ("sort=created_at", ["soon", "later", "never", "sooner"]),
            ("sort=priority", ["later", "sooner", "never", "soon"]),
            ("gate=second", ["sooner", "never"]),
            ("workflow=inbox&gate=first", ["soon", "later"]),
            ("workflow=expense", []),
            ("candidate=me", ["sooner", "soon", "later", "never"]),
            ("candidate=ivan", ["soon", "never"]),
            ("candidate=inboxers", ["soon", "never"]),
            ("candidate=others", ["sooner"]),
            ("candidate=nobody-of-that-name", []),
            ("q=LAT", ["later"]),
            ("q=%25", []),
            ("q=_", []),
            ("due_before=2020-01-01T00:00:00Z", []),
            ("due_before=2999-01-01T00:00:00Z", ["sooner", "soon", "later"]),
            ("state=completed", []),
            ("state=all", ["sooner", "soon", "later", "never"]),
            ("assignee=none&gate=first", ["soon", "later"]),
        ],
    )
    def test_order_and_filters(self, api: Api, inbox: dict[str, str], query: str, expected: list[str]) -> None:
        assert self._names(api, inbox, query) == expected

    def test_by_run_and_by_part_of_its_id(self, api: Api, inbox: dict[str, str]) -> None:
        run_id = api.as_("iris").ok(api.as_("iris").get(f"/human-tasks/{inbox['soon']}"))["run_id"]
        assert self._names(api, inbox, f"run={run_id}") == ["soon"]
        assert self._names(api, inbox, f"q={run_id[-12:].upper()}") == ["soon"]

    def test_by_assignee(self, api: Api, inbox: dict[str, str]) -> None:
        ivan = api.as_("ivan")
        ivan.ok(ivan.put(f"/human-tasks/{inbox['never']}/claim"))
        assert self._names(api, inbox, "assignee=me", "ivan") == ["never"]
        assert self._names(api, inbox, "assignee=ivan") == ["never"]
        assert self._names(api, inbox, "assignee=me") == []
        assert "never" not in self._names(api, inbox, "assignee=none")
        ivan.ok(ivan.delete(f"/human-tasks/{inbox['never']}/claim"))

    @pytest.mark.parametrize("sort", ["due_at", "-due_at", "created_at", "priority"])
    def test_pages_join_to_the_whole_in_every_order(self, api: Api, inbox: dict[str, str], sort: str) -> None:
        iris = api.as_("iris")
        whole = iris.ok(iris.get(f"/human-tasks?sort={sort}&candidate=me"))["items"]
        seen: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = iris.ok(
                iris.get(f"/human-tasks?sort={sort}&candidate=me&limit=1&cursor={cursor}".removesuffix("&cursor="))
            )
            seen, cursor = seen + page["items"], page["next_cursor"]
        assert seen == whole
        assert len(whole) == 4

    def test_a_list_shows_all_but_the_context(self, api: Api, inbox: dict[str, str]) -> None:
        iris = api.as_("iris")
        item = iris.ok(iris.get("/human-tasks?limit=1"))["items"][0]
        one = iris.ok(iris.get(f"/human-tasks/{item['id']}"))
        assert item == one | {"context": None, "comments": None}

    @pytest.mark.parametrize(
        "query",
        [
            "state=done",
            "sort=title",
            "sort=-priority",
            "due_before=now",
            "run=x",
            "q=",
            "q=" + "x" * 201,
            "q=%00",
            "assignee=",
            "limit=1000",
            "page=2",
            "state=open&state=all",
        ],
    )
    def test_a_bad_parameter_is_named(self, api: Api, query: str) -> None:
        found = problem(api.as_("ana").get(f"/human-tasks?{query}"), 422, "invalid")
        assert paths(found) == {"?" + query.partition("=")[0]}

    def test_a_cursor_is_bound_to_its_order(self, api: Api, inbox: dict[str, str]) -> None:
        iris = api.as_("iris")
        cursor = iris.ok(iris.get("/human-tasks?sort=due_at&limit=1"))["next_cursor"]
        assert paths(problem(iris.get(f"/human-tasks?sort=priority&cursor={cursor}"), 422, "invalid")) == {"?cursor"}


def test_lists_show_exactly_what_may_be_read_one_by_one(api: Api, inbox: dict[str, str], task: Any) -> None:
    database, versions = api.engine.database, api.engine.core.versions
    api.as_("ana").ok(api.as_("ana").put(f"/human-tasks/{task['id']}/claim"))
    with database.query() as connection:
        tasks = [row.id for row in connection.exec_driver_sql("SELECT id FROM human_tasks")]
        runs = [row.id for row in connection.exec_driver_sql("SELECT id FROM runs")]
    assert len(tasks) > 5
    for viewer in api.principals.values():
        with database.autocommit() as cursor:
            may_tasks = {
                found
                for found in tasks
                if _may(viewer, Action.READ_HUMAN_TASK, get_human_task(cursor, versions, found, detail=False).facts)
            }
            may_runs = {found for found in runs if _may(viewer, Action.READ_RUN, get_run(cursor, found)[1])}
        listed = list_human_tasks(database, versions, viewer, HumanTaskFilter(state="all"), limit=200)
        assert {view.row.id for view in listed.items} == may_tasks, viewer.name
        assert {view.id for view in list_runs(database, viewer, RunFilter(), limit=200).items} == may_runs, viewer.name
        assert not oversees(viewer) or may_tasks == set(tasks)


def _may(viewer: Any, action: Action, facts: Any) -> bool:
    try:
        authorize(viewer, action, facts)
    except NotFound:
        return False
    return True
