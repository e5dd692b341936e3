"""Runs as such: starting once, failing, being retried and canceled, and being found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.caller import Caller

pytestmark = pytest.mark.xdist_group("acceptance")

STEPS = """
workflow: {name}
steps:
  - step: tests.acceptance.flows:look
  - step: tests.acceptance.flows:{step}
"""


def of(admin: Caller, step: str) -> str:
    """The name of a workflow with this step at its end, registered."""
    name = f"with-{step}"
    admin.register(STEPS.format(name=name, step=step))
    return name


@pytest.fixture
def value(tmp_path: Path) -> dict[str, str]:
    return {"folder": str(tmp_path)}


class TestStarting:
    def test_an_idempotency_key_starts_one_run(self, requester: Caller, admin: Caller, value: Any) -> None:
        body = {"workflow": of(admin, "slow"), "input": value}
        headers = {"Idempotency-Key": f"start-{value['folder']}"}
        first = requester.post("/runs", body, headers=headers)
        again = requester.post("/runs", body, headers=headers)
        assert (first.ok(201)["id"], first.replayed) == (again.ok(201)["id"], False)
        assert again.replayed
        requester.post("/runs", body | {"labels": {"a": "b"}}, headers=headers).problem(422, "idempotency_mismatch")
        Path(value["folder"], "go").touch()
        # The key is the caller's own.
        assert admin.post("/runs", body, headers=headers).ok(201)["id"] != first.json["id"]

    def test_what_can_not_be_started_is_refused(self, requester: Caller) -> None:
        requester.post("/runs", {"workflow": "no-such", "input": {}}).problem(404, "not_found")
        requester.post("/runs", {"workflow": "refund", "input": {}, "version": 99}).problem(404, "not_found")
        requester.post("/runs", {"input": {}}).problem(422, "invalid")
        huge = {"order_id": "A-1", "text": "x" * 300_000, "paid": "1"}
        requester.post("/runs", {"workflow": "refund", "input": huge}).problem(422, "too_large")

    def test_runs_are_found_by_label_status_and_workflow(self, requester: Caller, admin: Caller, value: Any) -> None:
        mine = {"suite": value["folder"]}
        admin.register("workflow: found\nsteps:\n  - step: tests.acceptance.flows:look\n")
        done = requester.until(requester.start("found", value, labels=mine | {"other": "1"}), "completed")
        label = f"suite:{value['folder']}"
        for query in (
            {"label": label},
            {"label": label, "status": "completed"},
            {"label": label, "workflow": "found"},
        ):
            assert [run["id"] for run in requester.get("/runs", **query).ok()["items"]] == [done["id"]]
        assert requester.get("/runs", label=label, status="failed").ok()["items"] == []

    def test_pages_neither_lose_nor_repeat_a_run_while_more_are_started(
        self, requester: Caller, admin: Caller, value: Any
    ) -> None:
        admin.register("workflow: paged\nsteps:\n  - gate: check\n    reviewers: support-leads\n")
        labels = {"page": value["folder"]}
        started = [requester.start("paged", at, labels=labels)["id"] for at in range(7)]
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = requester.get("/runs", label=f"page:{value['folder']}", limit=3, **cursor).ok()
            seen += [run["id"] for run in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
            requester.start("paged", "late", labels=labels)
        assert seen == list(reversed(started))


class TestFailing:
    def test_a_step_is_tried_again_by_its_policy(self, requester: Caller, admin: Caller, value: Any) -> None:
        admin.register(STEPS.format(name="tried", step="unlucky") + "    retry: {attempts: 2, backoff: 50ms}\n")
        run = requester.start("tried", value)
        done = requester.until(run, "completed")
        assert done["output"] == value
        retried = admin.event(run, "step.retry_scheduled")
        assert (retried["data"]["attempt"], retried["data"]["code"]) == (1, "step_raised")
        assert "ConnectionError" in retried["data"]["message"]
        last = [event for event in admin.events(run) if event["type"] == "step.completed"][-1]
        assert last["data"]["attempt"] == 2

    def test_a_failed_run_says_why_and_goes_on_when_it_is_retried(
        self, requester: Caller, admin: Caller, value: Any
    ) -> None:
        admin.register(STEPS.format(name="broken", step="broken") + "    retry: {attempts: 1}\n")
        run = requester.start("broken", value)
        failed = requester.until(run, "failed")
        assert failed["error"] == {
            "code": "step_raised",
            "message": "RuntimeError: it is broken",
            "step": "broken",
            "attempt": 1,
        }
        assert "Traceback" in admin.event(run, "step.failed")["data"]["trace"]
        assert failed["current_node"] == "broken"
        Path(value["folder"], "mended").touch()

        # Whatever a worker has made of it by now, the answer says what the retry did.
        assert requester.post(f"/runs/{run['id']}/retry").ok()["status"] == "queued"

        assert requester.until(run, "completed")["output"] == value
        assert admin.types(run)[-3:] == ["run.retried", "step.completed", "run.completed"]
        requester.post(f"/runs/{run['id']}/retry").problem(409, "run_not_failed")

    def test_a_retry_may_begin_earlier(self, requester: Caller, admin: Caller, value: Any) -> None:
        admin.register(STEPS.format(name="broken", step="broken") + "    retry: {attempts: 1}\n")
        run = requester.start("broken", value)
        requester.until(run, "failed")
        Path(value["folder"], "mended").touch()
        requester.post(f"/runs/{run['id']}/retry", {"from_step": "nowhere"}).problem(422, "invalid")

        requester.post(f"/runs/{run['id']}/retry", {"from_step": "look"}).ok()

        requester.until(run, "completed")
        steps = [event["data"]["step"] for event in admin.events(run) if event["type"] == "step.completed"]
        assert steps == ["look", "look", "broken"]

    def test_a_step_that_takes_too_long_is_ended(self, requester: Caller, admin: Caller, value: Any) -> None:
        admin.register(STEPS.format(name="endless", step="endless") + "    timeout: 200ms\n    retry: {attempts: 1}\n")
        failed = requester.until(requester.start("endless", value), "failed")
        assert (failed["error"]["code"], failed["error"]["step"]) == ("step_timeout", "endless")

    def test_a_step_that_returns_something_else_than_it_says_fails_with_the_path(
        self, requester: Caller, admin: Caller
    ) -> None:
        failed = requester.until(requester.start("lies", {"text": "two words"}), "failed")
        assert failed["error"]["code"] == "output_invalid"
        assert "/words" in failed["error"]["message"]


class TestCanceling:
    def test_the_human_task_ends_with_its_run(self, requester: Caller, admin: Caller, ana: Caller) -> None:
        admin.register("workflow: cancelable\nsteps:\n  - gate: check\n    reviewers: support-leads\n")
        run = requester.start("cancelable", {})
        task = ana.task(run)

        canceled = requester.post(f"/runs/{run['id']}/cancel", {"reason": "ordered twice"}).ok()

        assert (canceled["status"], canceled["outcome"]) == ("canceled", "canceled")
        ended = ana.task(run)
        assert (ended["state"], ended["outcome"], ended["decided_by"]) == ("canceled", None, None)
        # One transaction, one moment.
        assert ended["completed_at"] == canceled["finished_at"] == admin.event(run, "run.canceled")["at"]
        assert ana.get("/human-tasks", run=run["id"]).ok()["items"] == []
        ana.put(f"/human-tasks/{task['id']}/claim").problem(409, "already_decided")
        requester.post(f"/runs/{run['id']}/cancel", {"reason": "again"}).problem(409, "run_finished")
        requester.post(f"/runs/{run['id']}/cancel", {}).problem(422, "invalid")

    def test_what_a_step_says_after_its_run_was_canceled_counts_for_nothing(
        self, requester: Caller, admin: Caller, value: Any
    ) -> None:
        run = requester.start(of(admin, "slow"), value)
        requester.until(run, "running")

        requester.post(f"/runs/{run['id']}/cancel", {"reason": "too slow"}).ok()
        Path(value["folder"], "go").touch()

        # The worker takes the next run when it is done with this one.
        requester.until(requester.start("refund", {"order_id": "A-9", "text": "late", "paid": "9"}), "completed")
        assert requester.run(run)["status"] == "canceled"
        assert admin.types(run)[-1] == "run.canceled"

    def test_only_who_started_it_or_an_operator_cancels(self, requester: Caller, admin: Caller, ana: Caller) -> None:
        admin.register("workflow: cancelable\nsteps:\n  - gate: check\n    reviewers: support-leads\n")
        run = requester.start("cancelable", {})
        ana.post(f"/runs/{run['id']}/cancel", {"reason": "no"}).problem(403, "forbidden")
        assert admin.post(f"/runs/{run['id']}/cancel", {"reason": "yes"}).ok()["status"] == "canceled"
