"""Starting, following, listing and ending runs from the command line."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.integration.cli.stack import Stack
from tests.servers import eventually

from signoff.engine import Engine, Failure


def fail(engine: Engine, run: dict[str, Any], message: str = "no more pages") -> None:
    """What a worker does whose step raises and may not be tried again."""
    claimed = engine.claim_run(UUID(run["id"]), epoch=0, worker="test")
    assert claimed is not None
    engine.fail(claimed, Failure(code="step_raised", message=message))


class TestRun:
    def test_it_prints_the_started_run_and_exits_0(self, stack: Stack) -> None:
        result = stack("run", "expense", '{"amount": "640", "text": "A-1"}', "--label", "team=eu")

        assert result.exit_code == 0
        assert "expense v1  waiting  at approve" in result.stdout
        assert "by requester" in result.stdout
        assert "team=eu" in result.stdout

    def test_with_json_it_is_the_run_and_nothing_else(self, stack: Stack) -> None:
        run = stack.json(
            "run", "expense", '{"amount": "640", "text": "A-1"}', "-l", "a=1", "-l", "b=2", "--version", "1"
        )

        assert run["labels"] == {"a": "1", "b": "2"}
        assert run["requester"]["name"] == "requester"

    def test_input_comes_from_standard_input_too(self, stack: Stack) -> None:
        result = stack("run", "expense", "-", "--json", input='{"amount": "1", "text": "ü"}')

        assert json.loads(result.stdout)["input"] == {"amount": "1", "text": "ü"}

    def test_watched_it_parks_with_exit_code_3_and_the_commands_that_decide_it(self, stack: Stack) -> None:
        result = stack("run", "expense", '{"amount": "640", "text": "A-1"}', "--watch")

        assert result.exit_code == 3
        run_id = result.stdout.splitlines()[0].removeprefix("run ")
        task = stack.human_task_of({"id": run_id})
        assert "◆ Pay 640 for A-1" in result.stdout
        assert f"signoff decide {task['id']} approve --as ana\n" in result.stdout
        assert f'signoff decide {task["id"]} reject --as ana --note "…"\n' in result.stdout
        assert "Pays 640 now." in result.stdout

    def test_the_printed_command_works_as_it_is(self, stack: Stack) -> None:
        watched = stack("run", "expense", '{"amount": "640", "text": "A-1"}', "--watch")
        command = next(line for line in watched.stdout.splitlines() if " approve --as " in line)

        result = stack(*command.split()[1:])

        assert result.exit_code == 0
        assert "ana said approve" in result.stdout
        assert "completed" in result.stdout

    def test_watched_with_json_each_line_is_one_object(self, stack: Stack) -> None:
        result = stack("run", "expense", '{"amount": "640", "text": "A-1"}', "--watch", "--json")

        assert result.exit_code == 3
        *events, last = [json.loads(line) for line in result.stdout.splitlines()]
        assert [entry["event"]["type"] for entry in events] == ["run.created", "gate.opened"]
        assert last["run"]["status"] == "waiting"
        assert [task["gate"] for task in last["human_tasks"]] == ["approve"]

    def test_it_waits_through_gates_until_the_run_has_ended(self, stack: Stack) -> None:
        command = ["run", "expense", '{"amount": "640", "text": "through"}', "--wait", "-l", "t=wait"]
        with stack.spawned(*command) as process:
            (run,) = eventually(lambda: stack.json("runs", "-l", "t=wait")["items"], seconds=20)  # type: ignore[misc]
            stack.json("decide", stack.human_task_of(run)["id"], "to-managers", "--as", "sam")
            second = eventually(lambda: stack.json("inbox", "--run", run["id"], "--gate", "second-look")["items"])
            stack.json("decide", second[0]["id"], "approve", "--as", "max")  # type: ignore[index]
            out, err = process.communicate(timeout=20)

        assert process.returncode == 0, err
        for line in ("sam said to_managers at approve", "max said approve at second-look", "■ completed"):
            assert line in out

    def test_interrupted_it_says_that_the_run_goes_on(self, stack: Stack) -> None:
        with stack.spawned("run", "expense", '{"amount": "640", "text": "x"}', "--wait") as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            while "asks support-leads" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)

        run_id = first.strip().removeprefix("run ")
        assert process.returncode == 130
        assert f"signoff show {run_id} --watch" in err
        assert stack.json("show", run_id)["run"]["status"] == "waiting"

    def test_one_that_failed_is_exit_code_1(self, stack: Stack, engine: Engine) -> None:
        run = stack.json("run", "booking", "{}")
        fail(engine, run)

        result = stack("show", run["id"], "--watch")

        assert result.exit_code == 1
        assert "■ failed at book  step_raised: no more pages" in result.stdout

    def test_the_same_idempotency_key_starts_it_once(self, stack: Stack) -> None:
        first = stack.start("1", "once", "--idempotency-key", "cli-1")

        again = stack.start("1", "once", "--idempotency-key", "cli-1")
        other = stack("run", "expense", '{"amount": "2", "text": "x"}', "--idempotency-key", "cli-1")

        assert again["id"] == first["id"]
        assert other.exit_code == 1
        assert "error[idempotency_mismatch]" in other.stderr

    def test_bad_input_is_refused_with_the_path_of_each_field(self, stack: Stack) -> None:
        result = stack("run", "expense", '{"amount": 640}')

        assert result.exit_code == 1
        assert result.stdout == ""
        assert "/input/amount" in result.stderr
        assert "/input" in result.stderr

    def test_an_unknown_workflow_is_refused(self, stack: Stack) -> None:
        result = stack("run", "nonsense", "{}", "--json")

        assert result.exit_code == 1
        assert json.loads(result.stderr)["status"] == 404


class TestRuns:
    def test_they_are_listed_newest_first_by_every_filter(self, stack: Stack) -> None:
        first = stack.start("1", "x", "-l", "t=filters")
        second = stack.start("2", "x", "-l", "t=filters")
        filters = ["--workflow", "expense", "--status", "waiting", "--label", "t=filters", "--since", "1h"]

        found = stack.json("runs", *filters)

        assert [run["id"] for run in found["items"]] == [second["id"], first["id"]]
        assert found["next_cursor"] is None
        assert stack.json("runs", "-l", "t=filters", "--status", "completed")["items"] == []

    def test_more_than_a_page_is_fetched_page_by_page(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("signoff.cli.client.PAGE", 2)
        made = [stack.start("1", "x", "-l", "t=pages")["id"] for _ in range(5)]

        found = stack.json("runs", "-l", "t=pages", "--limit", "4")

        assert [run["id"] for run in found["items"]] == made[:0:-1]
        assert found["next_cursor"] is not None

    @pytest.mark.parametrize("width", ["80", "120"])
    def test_a_line_fits_the_terminal_and_has_the_whole_id(self, stack: Stack, width: str) -> None:
        run = stack.start("1", "x", "-l", f"t=width{width}")

        shown = stack("runs", "-l", f"t=width{width}", COLUMNS=width).stdout

        assert run["id"] in shown
        assert "approve" in shown
        assert all(len(line) <= int(width) for line in shown.splitlines())

    def test_colours_are_left_out_of_pipes(self, stack: Stack) -> None:
        assert "\x1b" not in stack("runs").stdout

    def test_nothing_found_is_a_note_and_no_error(self, stack: Stack) -> None:
        result = stack("runs", "--workflow", "nonsense")

        assert (result.exit_code, result.stdout) == (0, "")
        assert "no runs" in result.stderr


class TestShow:
    def test_a_run_with_its_timeline_and_what_waits(self, stack: Stack) -> None:
        run = stack.start()
        task = stack.human_task_of(run)

        shown = stack("show", run["id"]).stdout

        assert "▶ expense v1 started  by requester" in shown
        assert "◆ approve asks support-leads" in shown
        assert f"signoff decide {task['id']} approve --as ana" in shown

    def test_with_json_the_run_its_log_and_its_human_tasks(self, stack: Stack) -> None:
        run = stack.start()

        found = stack.json("show", run["id"])

        assert found["run"] == run
        assert [event["type"] for event in found["events"]] == ["run.created", "gate.opened"]
        assert [task["run_id"] for task in found["human_tasks"]] == [run["id"]]

    def test_a_human_task_by_its_id(self, stack: Stack) -> None:
        task = stack.human_task_of(stack.start())

        shown = stack("show", task["id"])

        assert shown.exit_code == 0
        assert "◆ Pay 640 for A-1" in shown.stdout
        assert task["payload_sha256"] in shown.stdout
        assert stack.json("show", task["id"])["id"] == task["id"]

    def test_escape_sequences_in_what_people_wrote_never_reach_the_terminal(self, stack: Stack) -> None:
        run = stack.start("640", "\x1b[31mred\x1b[0m \u202etxt.exe", "-l", "t=\x1b[1m")
        task = stack.human_task_of(run)

        for command in (["show", run["id"]], ["show", task["id"]], ["runs"], ["inbox"], ["inbox", "--json"]):
            shown = stack(*command).stdout
            assert "\x1b" not in shown, command
            assert "\u202e" not in shown, command
        assert "␛[31mred␛[0m ⟨U+202E⟩txt.exe" in stack("inbox", "--run", run["id"]).stdout

    def test_what_is_not_there_is_an_error(self, stack: Stack) -> None:
        result = stack("show", "01a2030f-55f0-7139-87c3-5a64fd02dfd8")

        assert result.exit_code == 1
        assert "error[not_found]" in result.stderr


class TestCancelAndRetry:
    def test_canceling_says_why_and_ends_it(self, stack: Stack) -> None:
        run = stack.start()

        result = stack("cancel", run["id"], "--reason", "twice")

        assert (result.exit_code, result.stdout) == (0, f"run {run['id']} is canceled\n")
        assert "twice (by admin)" in stack("show", run["id"]).stdout
        assert stack("show", run["id"], "--watch").exit_code == 1

    def test_what_has_ended_can_not_be_canceled(self, stack: Stack) -> None:
        run = stack.start()
        stack("cancel", run["id"], "--reason", "twice")

        result = stack("cancel", run["id"], "--reason", "again")

        assert result.exit_code == 1
        assert "already canceled" in result.stderr

    def test_a_failed_run_goes_on(self, stack: Stack, engine: Engine) -> None:
        run = stack.json("run", "booking", "{}")
        fail(engine, run)

        found = stack.json("retry", run["id"])

        assert found["status"] == "queued"
        assert stack("retry", run["id"]).exit_code == 1

    def test_from_an_earlier_step_that_is_none_is_refused(self, stack: Stack, engine: Engine) -> None:
        run = stack.json("run", "booking", "{}")
        fail(engine, run)

        result = stack("retry", run["id"], "--from", "nonsense")

        assert result.exit_code == 1
        assert "nonsense" in result.stderr


def test_a_file_of_one_that_was_killed_is_said_to_be_just_that(stack: Stack, tmp_path: Path) -> None:
    state = json.loads((stack.home / "dev.json").read_text())
    (tmp_path / "dev.json").write_text(json.dumps(state | {"api_url": "http://127.0.0.1:1"}))

    result = stack("runs", SIGNOFF_HOME=str(tmp_path))

    assert result.exit_code == 1
    assert "nothing answers at http://127.0.0.1:1" in result.stderr
    assert "was killed" in result.stderr


def test_with_a_url_and_a_key_no_development_folder_is_needed(stack: Stack, tmp_path: Path) -> None:
    run = stack.start()
    named = {"SIGNOFF_API_URL": stack.api_url, "SIGNOFF_HOME": str(tmp_path)}

    asked = stack("show", run["id"], SIGNOFF_API_KEY=stack.keys["admin"], **named)
    refused = stack("show", run["id"], SIGNOFF_API_KEY="so_wrong", **named)

    assert asked.exit_code == 0
    assert "--as" not in asked.stdout
    assert refused.exit_code == 1
    assert "error[unauthenticated]" in refused.stderr
