"""Processes are killed and the broker is emptied while there is work: nothing is lost, doubled or left lying."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack, asked, queued, stack
from tests.servers import eventually, flush

pytestmark = pytest.mark.xdist_group("acceptance-harm")

POOL = 3
"""Steps that the worker runs at once."""

STEP = """
workflow: {name}
steps:
  - step: tests.acceptance.flows:{name}
    {options}
"""
TWO_STEPS = """
workflow: two-steps
steps:
  - step: tests.acceptance.flows:look
    name: first
  - step: tests.acceptance.flows:look
    name: second
    inline: false
"""


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A `signoff dev` whose processes come to harm; each test leaves it whole."""
    with stack(tmp_path_factory.mktemp("harm"), SIGNOFF_CONCURRENCY=str(POOL)) as found:
        admin = found.as_("admin")
        for name, options in (
            ("slow", ""),
            ("pay", "irreversible: true\n    takes: [idempotency_key]"),
            ("pay_blindly", "irreversible: true\n    takes: []"),
        ):
            admin.register(STEP.format(name=name, options=options))
        admin.register(TWO_STEPS)
        yield found


@pytest.fixture
def admin(harmed: Stack) -> Caller:
    return harmed.as_("admin")


@pytest.fixture
def requester(harmed: Stack) -> Caller:
    return harmed.as_("requester")


def lines(folder: Path, name: str) -> list[str]:
    """What a step has written into a file so far."""
    found = folder / name
    return found.read_text().splitlines() if found.exists() else []


def folders(parent: Path, names: list[str]) -> list[dict[str, str]]:
    """One value a name, each with a folder of its own."""
    for name in names:
        (parent / name).mkdir()
    return [{"folder": str(parent / name)} for name in names]


def epoch(harmed: Stack, run: Any) -> int:
    """The number that fences what workers write."""
    assert harmed.state is not None
    return int(asked(harmed.state.database_url, "SELECT epoch FROM runs WHERE id = %s", run["id"]))


def test_a_broker_that_forgets_everything_while_runs_are_queued_loses_none(
    harmed: Stack, requester: Caller, admin: Caller, tmp_path: Path
) -> None:
    assert harmed.state is not None
    broker_url = harmed.state.broker_url
    blockers = [requester.start("slow", value) for value in folders(tmp_path, [str(at) for at in range(POOL)])]
    eventually(lambda: all(lines(tmp_path / str(at), "slow") for at in range(POOL)), why="every process is busy")
    runs = [requester.start("two-steps", {"at": at}, labels={"lost": "yes"}) for at in range(30)]
    assert queued(broker_url)["signoff.default"] >= len(runs) - POOL

    flush(broker_url)

    assert queued(broker_url) == {"unacked": 0}
    for at in range(POOL):
        (tmp_path / str(at) / "go").touch()
    requester.until_labelled("lost:yes", len(runs), "completed")
    for run in blockers:
        requester.until(run, "completed")
    for run in runs[:5]:
        assert admin.types(run) == ["run.created", "step.completed", "step.completed", "run.completed"]


def test_a_killed_worker_is_replaced_and_its_steps_run_again_under_the_next_epoch(
    harmed: Stack, requester: Caller, admin: Caller, tmp_path: Path
) -> None:
    slow, pay, blind = folders(tmp_path, ["slow", "pay", "blind"])
    runs = [requester.start("slow", slow), requester.start("pay", pay), requester.start("pay_blindly", blind)]
    started = ((tmp_path / "slow", "slow"), (tmp_path / "pay", "paid"), (tmp_path / "blind", "paid"))
    eventually(lambda: all(lines(folder, name) for folder, name in started), why="the steps run")
    before = [epoch(harmed, run) for run in runs]

    harmed.kill("worker")

    eventually(lambda: len(lines(tmp_path / "slow", "slow")) == 2, seconds=30, why="the step is run again")
    eventually(lambda: len(lines(tmp_path / "pay", "paid")) == 2, seconds=30, why="the step is run again")
    failed = requester.until(runs[2], "failed")
    assert all(epoch(harmed, run) > last for run, last in zip(runs, before, strict=True))
    for folder in ("slow", "pay", "blind"):
        (tmp_path / folder / "go").touch()

    requester.until(runs[0], "completed")
    first, second = lines(tmp_path / "slow", "slow")
    assert first.split()[0] != second.split()[0], "another process"
    assert first.split()[1] == second.split()[1] == "1", "the same attempt: losing a worker is no failure of the step"
    lost = admin.event(runs[0], "step.retry_scheduled")["data"]
    assert (lost["code"], lost["attempt"], lost["delay_ms"]) == ("worker_lost", 1, 0)
    assert admin.types(runs[0]).count("step.completed") == 1
    # What can't be undone is done again only under the same key, and without a key not at all.
    key = requester.until(runs[1], "completed")["output"]["key"]
    assert lines(tmp_path / "pay", "paid") == [key, key]
    assert failed["error"]["code"] == "outcome_unknown"
    assert lines(tmp_path / "blind", "paid") == ["blindly"]


def test_a_killed_process_of_the_workers_pool_is_the_loss_of_one_step(
    harmed: Stack, requester: Caller, tmp_path: Path
) -> None:
    (value,) = folders(tmp_path, ["one"])
    worker = harmed.pid("worker")
    run = requester.start("slow", value)
    eventually(lambda: lines(tmp_path / "one", "slow"), why="the step runs")
    victim = int(lines(tmp_path / "one", "slow")[0].split()[0])
    assert victim != worker

    os.kill(victim, signal.SIGKILL)

    eventually(lambda: len(lines(tmp_path / "one", "slow")) == 2, seconds=30, why="the step is run again")
    (tmp_path / "one" / "go").touch()
    requester.until(run, "completed")
    assert harmed.pid("worker") == worker


def test_a_killed_api_is_back_with_the_same_keys(harmed: Stack, requester: Caller, admin: Caller) -> None:
    run = requester.start("two-steps", {})

    harmed.kill("api")

    eventually(admin.answers, seconds=30, why="/readyz")
    requester.until(run, "completed")
    assert "api was ended by SIGKILL; it is started again" in harmed.said


def test_while_postgresql_is_away_nothing_is_wrong_and_afterwards_everything_goes_on(
    harmed: Stack, requester: Caller, admin: Caller, tmp_path: Path
) -> None:
    assert harmed.process is not None
    (value,) = folders(tmp_path, ["one"])
    run = requester.start("slow", value)
    eventually(lambda: lines(tmp_path / "one", "slow"), why="the step runs")
    # The supervisor stands still meanwhile, or it would have PostgreSQL back before anybody noticed.
    harmed.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(harmed.pid("postgres"), signal.SIGKILL)
        eventually(lambda: not admin.answers(), seconds=30, why="/readyz says so")
        assert "database" in admin.send("GET", "/readyz", base="").problem(503, "unavailable")["detail"]
        away = requester.get(f"/runs/{run['id']}")
        away.problem(503, "unavailable")
        assert int(away.headers["Retry-After"]) > 0
        # What the step says now can't be recorded yet; the worker keeps it.
        (tmp_path / "one" / "go").touch()
    finally:
        harmed.process.send_signal(signal.SIGCONT)
    eventually(admin.answers, seconds=30, why="/readyz")

    requester.until(run, "completed")
    assert admin.types(run).count("step.completed") == 1
    requester.until(requester.start("two-steps", {}), "completed")


def test_a_killed_broker_is_back_and_what_was_sent_meanwhile_is_sent_again(
    harmed: Stack, requester: Caller, admin: Caller
) -> None:
    assert harmed.process is not None
    harmed.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(harmed.pid("broker"), signal.SIGKILL)
        runs = [requester.start("two-steps", {}) for _ in range(5)]
        assert "broker" in admin.send("GET", "/readyz", base="").problem(503, "unavailable")["detail"]
    finally:
        harmed.process.send_signal(signal.SIGCONT)
    for run in runs:
        requester.until(run, "completed", seconds=60)
    eventually(admin.answers, seconds=30, why="/readyz")


def test_a_second_one_in_the_same_home_refuses_and_names_the_first(harmed: Stack, admin: Caller) -> None:
    assert harmed.state is not None
    assert harmed.process is not None
    said = len(harmed.said)

    assert harmed.spawn().wait(30) == 1

    refusal = " ".join(harmed.said[said:].split())
    assert f"already runs in {harmed.home} as process {harmed.process.pid}, at {harmed.state.api_url}" in refusal
    assert admin.answers()


def test_after_all_that_every_log_still_adds_up(admin: Caller) -> None:
    found = admin.get("/audit/verification").ok()
    assert (found["ok"], found["first_bad"]) == (True, None)
    assert found["runs"] > 30
