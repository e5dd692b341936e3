"""Limits of authority on the command line: set as somebody, listed, ended, and never one's own."""

from __future__ import annotations

import json

from tests.integration.cli.stack import Stack


def test_limits_are_set_listed_and_ended(stack: Stack) -> None:
    made = stack.json("authority", "set", "user:ana", "amount <= 500.0", "--gate", "somewhere")
    assert (made["subject"], made["limit"], made["gate"], made["workflow"]) == (
        "user:ana",
        "amount <= 500.0",
        "somewhere",
        "*",
    )
    assert made["set_by"]["name"] == "admin"
    shown = stack("authority", "list", "user:ana", COLUMNS="160").stdout
    assert "amount <= 500.0" in shown
    assert stack.json("authority", "remove", made["id"])["ended_by"]["name"] == "admin"
    assert stack.json("authority", "list", "user:ana")["items"] == []
    assert [each["id"] for each in stack.json("authority", "list", "user:ana", "--ended")["items"]] == [made["id"]]


def test_a_refusal_has_its_code(stack: Stack) -> None:
    own = stack("authority", "set", "user:admin", "true", "--json")
    assert own.exit_code != 0
    assert json.loads(own.stdout or own.stderr)["code"] == "own_limit"
    assert stack("authority", "set", "user:ana", "amount <").exit_code != 0
