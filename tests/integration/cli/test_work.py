"""`signoff delegate`, `signoff absence`, `signoff snooze`: who does whose work, from the command line."""

from __future__ import annotations

import re

from tests.integration.cli.stack import Stack


def test_a_delegation_is_given_listed_used_and_ended(stack: Stack) -> None:
    made = stack.json("delegate", "to", "uma", "--note", "on leave", "--until", "3d", "--as", "ana")
    assert (made["kind"], made["delegator"], made["delegate"], made["active"]) == ("delegation", "ana", "uma", True)
    (shown,) = stack.json("delegate", "list", "--as", "uma")["items"]
    assert shown["id"] == made["id"]
    assert stack.json("absence", "list", "--as", "uma")["items"] == []
    ended = stack("delegate", "end", made["id"], "--as", "ana")
    assert ended.stdout.startswith("ended: uma may decide for ana")
    assert stack.json("delegate", "list", "--as", "ana")["items"] == []
    assert [each["id"] for each in stack.json("delegate", "list", "--ended", "--as", "ana")["items"]] == [made["id"]]


def test_an_absence_has_an_end_and_admins_set_it_for_others(stack: Stack) -> None:
    assert stack("absence", "set", "--to", "sam", "--as", "ana").exit_code == 2
    set_ = stack("absence", "set", "--to", "sam", "--until", "14d", "--of", "ana", "--as", "admin")
    assert re.search(
        r"^ana is away, and sam stands in, from [-0-9]{10} [:0-9]{8} until [-0-9]{10} [:0-9]{8}$", set_.stdout, re.M
    )
    (found,) = stack.json("absence", "list", "--as", "ana")["items"]
    assert found["created_by"]["name"] == "admin"
    assert stack("absence", "end", found["id"], "--as", "ana").exit_code == 0


def test_a_snooze_wants_an_end_or_to_be_taken_off(stack: Stack) -> None:
    for said in ((), ("--until", "1h", "--off"), ("--until", "soon")):
        assert stack("snooze", "01a20d1b-2f4b-74f4-aa18-b4e9b33416fd", *said).exit_code == 2, said
    missing = stack("snooze", "01a20d1b-2f4b-74f4-aa18-b4e9b33416fd", "--until", "1h")
    assert (missing.exit_code, "no such human task" in missing.stderr) == (1, True)


def test_what_is_put_off_is_no_longer_in_the_inbox_which_says_so(stack: Stack) -> None:
    task = stack.human_task_of(stack.start())
    asked = ("inbox", "--run", task["run_id"], "--as", "ana")
    assert stack("snooze", task["id"], "--until", "1h", "--as", "ana").exit_code == 0
    hidden = stack(*asked)
    assert "nothing waits for a person, but what you have put off: --snoozed only" in hidden.stdout + hidden.stderr
    assert [each["id"] for each in stack.json(*asked, "--snoozed", "only")["items"]] == [task["id"]]
    assert stack("snooze", task["id"], "--off", "--as", "ana").exit_code == 0
    assert stack.json(*asked, "--snoozed", "only")["items"] == []
    empty = stack("inbox", "--run", task["run_id"], "--assignee", "me", "--as", "ana")
    assert "put off" not in empty.stdout + empty.stderr
