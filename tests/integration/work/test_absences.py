"""People who are away, turns among members of groups, and what somebody has put off for themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.work.test_delegations import HOURS, call, code, decide, delegate, listed
from tests.mutants import mutate
from tests.unit.transitions.graphs import gate, graph, pay, remind, step

from signoff.model import SYSTEM, Event
from signoff.store.identity import create_api_key, create_principal, update_principal
from signoff.store.staff import stand_ins
from signoff.transitions import advance

FLOWS = (
    graph(gate("ok", "pay", reviewers=("user:ana",)), pay(), name="asks-ana"),
    graph(gate("ok", "pay", reviewers=("user:ana", "user:sam"), approvals=2), pay(), name="both"),
    graph(gate("ok", "pay", reviewers=("user:ana", "user:ben", "user:sam"), approvals=2), pay(), name="all-three"),
    graph(gate("ok", "pay", assign="user:ana"), pay(), name="to-ana"),
    graph(gate("ok", "pay", assign="round_robin"), pay(), name="turns"),
    graph(gate("ok", "pay", assign="round_robin", four_eyes=False), pay(), name="own-turns"),
    graph(step("draft", "ok"), gate("ok", "pay", assign="round_robin"), pay(), name="draft-turns"),
    graph(gate("ok", "pay", ladder=(remind(3_600_000),), due=7_200_000), pay(), name="reminded"),
)


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        for flow in FLOWS:
            made.engine.register(flow, by=SYSTEM)
        for name in ("ben", "bob", "cy"):
            made.people[name] = create_principal(made.engine.database, name=name, kind="user", roles=["reviewer"])
            made.keys[name] = create_api_key(made.engine.database, name)
        yield made


@pytest.fixture(autouse=True)
def _nothing_left(desk: Desk) -> Iterator[None]:
    yield
    desk.sql("UPDATE delegations SET ended_at = now() WHERE ended_at IS NULL")
    desk.sql("UPDATE human_tasks SET assignee = NULL WHERE state = 'open'")


def opened(desk: Desk, task: UUID) -> Event:
    (found,) = [event for event in desk.log(task) if event.type == "gate.opened"]
    return found


def away(desk: Desk, who: str, to: str | None, **asked: Any) -> dict[str, Any]:
    return delegate(desk, who, to, **({"kind": "absence", "until": HOURS} | asked))


class TestWhoIsAway:
    def test_who_stands_in_is_asked_as_well_and_the_log_says_why(self, desk: Desk) -> None:
        made = away(desk, "ana", "ben")
        task = desk.start("asks-ana", {"amount": "7"})
        data = opened(desk, task).data
        assert data["candidates"]["users"] == ["ana", "ben"]
        assert data["stand_ins"] == [{"for": "ana", "name": "ben", "delegation_ids": [made["id"]]}]
        assert decide(desk, "ben", task).status_code == 201, "in their own right"
        assert desk.engine.verify(desk.run_of(task)).ok

    def test_what_would_be_assigned_to_them_goes_to_who_stands_in(self, desk: Desk) -> None:
        assert desk.row(desk.start("to-ana", {"amount": "7"}))[3] == "ana"
        away(desk, "ana", "ben")
        task = desk.start("to-ana", {"amount": "7"})
        assert desk.row(task)[3] == "ben"
        assert opened(desk, task).data["candidates"] == {"users": ["ben"], "groups": ["leads"]}

    @pytest.mark.parametrize("when", [{"from": "2998-01-01T00:00:00Z"}, {"kind": "delegation"}])
    def test_an_absence_to_come_and_a_delegation_assign_nothing_elsewhere(
        self, desk: Desk, when: dict[str, str]
    ) -> None:
        away(desk, "ana", "ben", **when)
        assert desk.row(desk.start("to-ana", {"amount": "7"}))[3] == "ana"

    def test_what_is_open_already_is_shown_to_who_stands_in_and_theirs_to_decide(self, desk: Desk) -> None:
        task = desk.start("to-ana", {"amount": "7"})
        assert str(task) not in listed(desk, "ben")
        away(desk, "ana", "ben")
        assert str(task) in listed(desk, "ben")
        assert decide(desk, "ben", task, on_behalf_of="ana").status_code == 201

    def test_nobody_stands_in_who_asked_for_it(self, desk: Desk) -> None:
        update_principal(desk.engine.database, "ben", roles=["reviewer", "requester"])
        desk.people["ben"] = update_principal(desk.engine.database, "ben")
        away(desk, "ana", "ben")
        task = desk.start("asks-ana", {"amount": "7"}, by="ben")
        assert opened(desk, task).data["candidates"]["users"] == ["ana"]
        task = desk.start("to-ana", {"amount": "7"}, by="ben")
        assert (desk.row(task)[3], "stand_ins" in opened(desk, task).data) == ("ana", False)

    @pytest.mark.parametrize("first", ["ana", "ben"])
    def test_who_stands_in_and_whom_they_stand_in_for_are_one_of_a_quorum(self, desk: Desk, first: str) -> None:
        away(desk, "ana", "ben")
        task = desk.start("both", {"amount": "7"})
        second = {"ana": "ben", "ben": "ana"}[first]
        assert decide(desk, first, task).status_code == 201
        before = desk.everything()
        assert code(decide(desk, second, task)) == (409, "already_voted")
        assert code(decide(desk, second, task, "reject", note="no")) == (409, "already_voted")
        assert desk.everything() == before
        assert decide(desk, "sam", task).status_code == 201
        assert desk.row(task)[0] == "completed"

    def test_who_is_lent_that_right_has_no_other_seat_either(self, desk: Desk) -> None:
        away(desk, "ana", "ben")
        delegate(desk, "ana", "cy")
        delegate(desk, "ben", "bob")
        task = desk.start("both", {"amount": "7"})
        assert decide(desk, "ben", task).status_code == 201
        assert code(decide(desk, "cy", task, on_behalf_of="ana")) == (409, "already_voted")
        assert code(decide(desk, "bob", task, on_behalf_of="ben")) == (409, "already_voted")

    def test_who_stands_in_for_two_fills_the_seat_that_is_left(self, desk: Desk) -> None:
        away(desk, "ana", "ben")
        away(desk, "sam", "ben")
        task = desk.start("both", {"amount": "7"})
        assert decide(desk, "ben", task).status_code == 201
        assert decide(desk, "sam", task).status_code == 201, "Ben's was Ana's"
        assert desk.row(task)[0] == "completed"

    def test_who_is_asked_besides_has_a_seat_besides(self, desk: Desk) -> None:
        away(desk, "ana", "ben")
        task = desk.start("all-three", {"amount": "7"})
        assert decide(desk, "ben", task).status_code == 201
        assert decide(desk, "ana", task).status_code == 201
        assert desk.row(task)[0] == "completed"

    def test_it_is_followed_three_times_and_not_in_a_circle(self, desk: Desk) -> None:
        def who(name: str) -> str | None:
            with desk.engine.database.autocommit() as cursor:
                found = stand_ins(cursor, [name]).get(name)
            return None if found is None else found.name

        away(desk, "ana", "ben")
        assert who("ana") == "ben"
        away(desk, "ben", "bob")
        away(desk, "bob", "cy")
        assert (who("ana"), who("ben")) == ("cy", "cy")
        last = away(desk, "cy", "sam")
        assert (who("ana"), who("ben")) == (None, "sam"), "four hops are too many"
        call(desk, "cy", "DELETE", f"/delegations/{last['id']}")
        away(desk, "cy", "ben")
        assert (who("ana"), who("ben"), who("sam")) == (None, None, None)

    def test_who_names_nobody_is_stood_in_for_by_nobody(self, desk: Desk) -> None:
        away(desk, "ana", None)
        assert desk.row(desk.start("to-ana", {"amount": "7"}))[3] == "ana"
        assert desk.row(desk.start("turns", {"amount": "7"}))[3] == "sam", "and takes no turns"


class TestTurns:
    def test_each_goes_to_whom_of_the_group_has_the_fewest(self, desk: Desk) -> None:
        found = [desk.row(desk.start("turns", {"amount": "7"}))[3] for _ in range(6)]
        assert sorted(found) == ["ana", "ana", "ana", "sam", "sam", "sam"]
        assert [sorted(found[at : at + 2]) for at in (0, 2, 4)] == [["ana", "sam"]] * 3

    def test_programs_who_asked_and_who_is_away_or_disabled_are_left_out(self, desk: Desk) -> None:
        assert {desk.row(desk.start("turns", {"amount": "7"}, by="ana"))[3] for _ in range(3)} == {"sam"}
        assert "ana" in {desk.row(desk.start("own-turns", {"amount": "7"}, by="ana"))[3] for _ in range(3)}
        away(desk, "sam", "ben")
        assert {desk.row(desk.start("turns", {"amount": "7"}))[3] for _ in range(3)} == {"ana"}
        assert desk.row(desk.start("turns", {"amount": "7"}, by="ana"))[3] is None, "then nobody is assigned"

    def test_a_worker_s_quick_way_gives_way_where_people_have_to_be_read(self, desk: Desk) -> None:
        run_id = desk.engine.start(workflow="draft-turns", input={}, requester=desk.people["portal"]).run_id
        desk.work(run_id, {"amount": "7"})
        task = desk.task(run_id)
        assert desk.row(task)[3] in ("ana", "sam")
        assert desk.engine.verify(run_id).ok

    def test_without_the_guard_who_asked_takes_a_turn(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        mutate(monkeypatch, advance._is_barred, "gate.four_eyes and", "False and")
        assert "ana" in {desk.row(desk.start("turns", {"amount": "7"}, by="ana"))[3] for _ in range(3)}


class TestSnooze:
    def put_off(self, desk: Desk, who: str, task: UUID, hours: float) -> Any:
        until = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        return call(desk, who, "PUT", f"/human-tasks/{task}/snooze", {"until": until})

    def test_it_leaves_one_s_own_lists_until_then_and_changes_nothing_for_others(self, desk: Desk) -> None:
        task = desk.start("turns", {"amount": "7"})
        before = desk.sql("SELECT t::text FROM human_tasks t WHERE id = %s", task), len(desk.log(task))
        assert self.put_off(desk, "sam", task, 1).status_code == 200
        assert str(task) not in listed(desk, "sam")
        assert str(task) in listed(desk, "sam", "&snoozed=only") & listed(desk, "sam", "&snoozed=show")
        assert str(task) in listed(desk, "ana")
        assert call(desk, "sam", "GET", f"/human-tasks/{task}").status_code == 200
        assert (desk.sql("SELECT t::text FROM human_tasks t WHERE id = %s", task), len(desk.log(task))) == before
        desk.sql("UPDATE snoozes SET until_at = now()")
        assert str(task) in listed(desk, "sam"), "it comes back by itself"
        assert self.put_off(desk, "sam", task, 1).status_code == 200
        assert call(desk, "sam", "DELETE", f"/human-tasks/{task}/snooze").status_code == 200
        assert str(task) in listed(desk, "sam")

    def test_a_reminder_and_a_new_draft_bring_it_back(self, desk: Desk) -> None:
        task = desk.start("reminded", {"amount": "7"})
        assert self.put_off(desk, "sam", task, 1.5).status_code == 200
        desk.sql(
            "UPDATE human_tasks SET wake_at = now(), revised_at = revised_at - interval '1 hour' WHERE id = %s", task
        )
        assert str(task) not in listed(desk, "sam")
        desk.engine.sweep()
        assert str(task) in listed(desk, "sam")
        drafted = desk.start("refund", {"amount": "640", "order_id": "A"})
        assert self.put_off(desk, "sam", drafted, 1).status_code == 200
        desk.redraft(drafted, {"amount": "650", "order_id": "A"}, by="ana")
        assert str(drafted) in listed(desk, "sam")

    @pytest.mark.parametrize("hours", [-1, 3, 24 * 31])
    def test_it_ends_before_it_is_due_and_within_a_month(self, desk: Desk, hours: float) -> None:
        task = desk.start("reminded" if hours == 3 else "turns", {"amount": "7"})
        response = self.put_off(desk, "sam", task, hours)
        assert (response.status_code, response.get_json()["errors"][0]["path"]) == (422, "/until")

    def test_what_is_over_or_not_one_s_own_to_see_is_not_put_off(self, desk: Desk) -> None:
        task = desk.start("turns", {"amount": "7"})
        assert self.put_off(desk, "max", task, 1).status_code == 404
        desk.decide(task, "ana", "approve")
        assert code(self.put_off(desk, "sam", task, 1)) == (409, "already_decided")

    def test_the_sweep_forgets_what_has_been_over_for_a_day(self, desk: Desk) -> None:
        task = desk.start("turns", {"amount": "7"})
        assert self.put_off(desk, "sam", task, 1).status_code == 200
        desk.sql("UPDATE snoozes SET until_at = now() - interval '2 days'")
        desk.engine.sweep()
        assert desk.sql("SELECT count(*) FROM snoozes") == [(0,)]
