"""Deciding from the command line: on what was shown, by somebody who is named."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.cli.stack import COMMAND, Stack

from signoff.cli.client import ApiProblem, Client, path
from signoff.cli.human_tasks import expect_true_hash, option_of
from signoff.cli.output import Output
from signoff.errors import SignoffError


@pytest.fixture
def task(stack: Stack) -> dict[str, Any]:
    return stack.human_task_of(stack.start())


class TestInbox:
    def test_it_lists_what_waits_by_every_filter(self, stack: Stack, task: dict[str, Any]) -> None:
        filters = ["--workflow", "expense", "--gate", "approve", "--run", task["run_id"], "--assignee", "none"]
        filters += ["--candidate", "ana", "--due", "5h", "--search", "A-1", "--sort", "priority", "--limit", "5"]

        assert [found["id"] for found in stack.json("inbox", *filters)["items"]] == [task["id"]]
        assert stack.json("inbox", *filters, "--as", "uma")["items"] == []
        assert stack.json("inbox", "--run", task["run_id"], "--due", "1h")["items"] == []

    @pytest.mark.parametrize("width", ["80", "120"])
    def test_a_long_title_is_cut_to_the_terminal_and_the_id_is_whole(self, stack: Stack, width: str) -> None:
        run = stack.start("640", "a very long story " * 10)
        made = stack.human_task_of(run)

        shown = stack("inbox", "--run", run["id"], COLUMNS=width).stdout

        assert made["id"] in shown
        assert "Pay 640 for a very" in shown
        assert "…  in " in shown
        assert all(len(line) <= int(width) for line in shown.splitlines())

    def test_what_is_decided_is_no_longer_in_it(self, stack: Stack, task: dict[str, Any]) -> None:
        stack.json("decide", task["id"], "approve", "--as", "ana")

        assert stack.json("inbox", "--run", task["run_id"])["items"] == []
        shown = stack("inbox", "--run", task["run_id"], "--state", "all").stdout
        assert "completed" in shown


class TestDecide:
    def test_it_is_shown_then_decided_on_exactly_that(self, stack: Stack, task: dict[str, Any]) -> None:
        result = stack("decide", task["id"], "approve", "--as", "ana", "--note", "fine", "--reason", "small")

        assert result.exit_code == 0
        assert "◆ Pay 640 for A-1" in result.stdout
        assert task["payload_sha256"] in result.stdout
        assert "ana said approve" in result.stdout
        (said,) = stack.json("show", task["id"])["decisions"]
        assert (said["payload_sha256"], said["note"], said["reason"]) == (task["payload_sha256"], "fine", "small")

    def test_an_edit_is_typed_shown_and_passed_on(self, stack: Stack, task: dict[str, Any]) -> None:
        result = stack("decide", task["id"], "approve", "--as", "ana", "--set", "amount=40.00")

        assert 'amount  "640"  →  "40.00"' in result.stdout
        assert stack.json("show", task["run_id"])["run"]["output"] == {"amount": "40.00", "text": "A-1"}

    def test_a_patch_does_the_same(self, stack: Stack, task: dict[str, Any]) -> None:
        decided = stack.json("decide", task["id"], "approve", "--as", "ana", "--patch", '{"amount": "40.00"}')

        assert decided["decision"]["patch"] == {"amount": "40.00"}
        assert decided["run"]["status"] == "completed"

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--set", "text=other"], "/patch/text: this field is not editable"),
            (["--set", "amount=forty"], "is no decimal number"),
            (["--patch", "[]"], "--patch is no JSON object"),
            (["--patch", "{"], "error[malformed]"),
        ],
    )
    def test_a_bad_edit_is_refused_and_decides_nothing(
        self, stack: Stack, task: dict[str, Any], options: list[str], told: str
    ) -> None:
        result = stack("decide", task["id"], "approve", "--as", "ana", *options)

        assert result.exit_code == 1
        assert told in result.stderr
        assert stack.json("show", task["id"])["decisions"] == []

    def test_set_and_patch_together_are_wrong_usage(self, stack: Stack, task: dict[str, Any]) -> None:
        result = stack("decide", task["id"], "approve", "--as", "ana", "--set", "amount=1", "--patch", "{}")

        assert result.exit_code == 2

    def test_nobody_named_is_refused_with_those_who_could(self, stack: Stack, task: dict[str, Any]) -> None:
        result = stack("decide", task["id"], "approve")

        assert result.exit_code == 1
        assert "say who decides: --as ana or --as sam" in result.stderr

    def test_somebody_who_is_no_candidate_is_refused(self, stack: Stack, task: dict[str, Any]) -> None:
        stranger = stack("decide", task["id"], "approve", "--as", "uma")
        admin = stack("decide", task["id"], "approve", "--as", "admin")

        assert (stranger.exit_code, admin.exit_code) == (1, 1)
        assert "error[not_found]" in stranger.stderr
        assert "error[not_candidate]" in admin.stderr
        assert "these are asked: --as ana or --as sam" in admin.stderr

    def test_who_is_late_learns_who_was_first(self, stack: Stack, task: dict[str, Any]) -> None:
        stack.json("decide", task["id"], "approve", "--as", "sam")

        result = stack("decide", task["id"], "reject", "--as", "ana", "--note", "no")

        assert result.exit_code == 1
        assert "error[already_decided]" in result.stderr
        assert "winner  sam, said approve, outcome approved, at 2" in result.stderr

    def test_saying_the_same_again_is_no_error(self, stack: Stack, task: dict[str, Any]) -> None:
        stack.json("decide", task["id"], "approve", "--as", "sam")

        result = stack("decide", task["id"], "approve", "--as", "sam")

        assert result.exit_code == 0
        assert "it stood already" in result.stdout

    def test_another_payload_than_the_one_shown_is_refused_with_the_current_one(
        self, stack: Stack, task: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        body = {"decision": "approve", "payload_sha256": "0" * 64}
        with Client(stack.api_url, stack.keys["ana"]) as client, pytest.raises(ApiProblem) as caught:
            client.post(f"{path('human-tasks', task['id'])}/decisions", body, repeatable=True)

        Output().error(caught.value)

        shown = capsys.readouterr().err
        assert "error[stale_view]" in shown
        assert f"current revision 1, payload {task['payload_sha256']}" in shown

    def test_a_note_that_the_gate_wants_is_asked_for(self, stack: Stack, task: dict[str, Any]) -> None:
        result = stack("decide", task["id"], "reject", "--as", "ana")

        assert result.exit_code == 1
        assert "/note" in result.stderr

    def test_an_option_the_gate_does_not_have_is_refused_with_those_it_has(
        self, stack: Stack, task: dict[str, Any]
    ) -> None:
        result = stack("decide", task["id"], "bless", "--as", "ana")

        assert result.exit_code == 1
        assert "approve, reject, to_managers" in result.stderr
        assert result.stdout == "", "nothing is shown, and nobody is asked whether they mean it"

    def test_hyphens_do_for_underscores(self) -> None:
        assert option_of({"state": "open", "options": ["request_changes"]}, "request-changes") == "request_changes"
        assert option_of({"state": "open", "options": ["re-do"]}, "re-do") == "re-do"

    def test_an_unknown_option_of_what_is_decided_is_left_to_the_answer_that_names_the_winner(self) -> None:
        assert option_of({"state": "completed", "options": ["approve"]}, "bless") == "bless"

    def test_a_payload_that_is_not_what_its_hash_names_is_not_decided_on(self, task: dict[str, Any]) -> None:
        expect_true_hash(task)
        with pytest.raises(SignoffError) as caught:
            expect_true_hash(task | {"payload": {"amount": "1"}})
        assert caught.value.code == "hash_mismatch"


class Terminal:
    """`signoff ARGUMENTS` at a terminal."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        environment = os.environ | stack.environment | {"TERM": "xterm", "COLUMNS": "90"}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str) -> None:
        """Read until `text` was shown, or everything is."""
        while text not in self.shown:
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                piece = b""
            if not piece:
                break
            self.shown += piece.decode()

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def end(self) -> int:
        self.read_until("\0never shown")
        os.close(self._master)
        return self.process.wait(20)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()


class TestAtATerminal:
    def test_it_asks_back_and_for_the_note_that_is_missing(
        self, stack: Stack, task: dict[str, Any], terminals: list[Terminal]
    ) -> None:
        terminal = Terminal(stack, "decide", task["id"], "reject", "--as", "ana")
        terminals.append(terminal)
        terminal.read_until("note: ")
        terminal.type("too much")
        terminal.read_until("reject? [y/N]: ")
        terminal.type("y")

        assert terminal.end() == 0
        assert [said["note"] for said in stack.json("show", task["id"])["decisions"]] == ["too much"]

    def test_who_does_not_mean_it_decides_nothing(
        self, stack: Stack, task: dict[str, Any], terminals: list[Terminal]
    ) -> None:
        terminal = Terminal(stack, "decide", task["id"], "approve", "--as", "ana")
        terminals.append(terminal)
        terminal.read_until("approve? [y/N]: ")
        terminal.type("n")

        assert terminal.end() == 1
        assert stack.json("show", task["id"])["decisions"] == []

    def test_with_yes_it_does_not_ask(self, stack: Stack, task: dict[str, Any], terminals: list[Terminal]) -> None:
        terminal = Terminal(stack, "decide", task["id"], "approve", "--as", "ana", "--yes")
        terminals.append(terminal)

        assert terminal.end() == 0
        assert "[y/N]" not in terminal.shown

    def test_a_watched_run_is_in_colour_and_in_place(self, stack: Stack, terminals: list[Terminal]) -> None:
        terminal = Terminal(stack, "run", "expense", json.dumps({"amount": "1", "text": "\x1b]0;title\x07"}), "--watch")
        terminals.append(terminal)

        assert terminal.end() == 3
        assert "\x1b[33m◆" in terminal.shown
        assert "\x1b]0;title" not in terminal.shown
        assert "␛]0;title␇" in terminal.shown
