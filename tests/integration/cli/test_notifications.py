"""`signoff notify`: channels from the command line."""

from __future__ import annotations

import json

from tests.integration.cli.stack import Stack

SECRET = "TIiajkdnlazkcOXrIdevi7FQ"
URL = f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET}/%23general"


def test_a_channel_is_added_listed_tried_disabled_and_removed(stack: Stack) -> None:
    made = stack("notify", "add", "group:cli-leads", "-", "--event", "gate.opened", input=f"{URL}\n")
    assert made.exit_code == 0, made.output
    assert SECRET not in made.output
    (shown,) = [each for each in stack.json("notify", "channels") if each["subject"] == "group:cli-leads"]
    assert shown["events"] == ["gate.opened"]
    listed = stack("notify", "channels")
    assert shown["id"] in listed.stdout
    assert SECRET not in listed.stdout + json.dumps(shown)

    test_id = stack.json("notify", "test", shown["id"])["notification_id"]
    assert [each["id"] for each in stack.json("notify", "list", shown["id"])] == [test_id]
    assert test_id in stack("notify", "list", "--state", "pending").stdout
    again = stack("notify", "redeliver", test_id)
    assert (again.exit_code, "still to be sent" in again.stderr) == (1, True)
    assert stack.json("notify", "disable", shown["id"])["disabled"]
    assert [each["state"] for each in stack.json("notify", "list", shown["id"])] == ["dead"]
    assert "given up" in stack("doctor").stdout
    assert stack("notify", "enable", shown["id"]).exit_code == 0
    assert stack.json("notify", "redeliver", test_id)["state"] == "pending"
    assert stack("notify", "remove", shown["id"]).exit_code == 0
    assert stack("notify", "list", shown["id"]).exit_code == 1


def test_what_can_be_no_channel_is_refused_and_not_repeated(stack: Stack) -> None:
    for url in ("json://169.254.169.254/", "syslog://", f"{URL}?template=/etc/passwd", "mailto://"):
        refused = stack("notify", "add", "group:cli-leads", url)
        assert (refused.exit_code, "/url" in refused.stderr) == (1, True), url
        assert SECRET not in refused.output
    assert "/subject" in stack("notify", "add", "user:nobody-here", URL).stderr
    assert "/events" in stack("notify", "add", "group:cli-leads", URL, "--event", "run.created").stderr
    assert stack("notify", "test", "no-id").exit_code == 1
    assert stack("notify", "channels", "--as", "nobody-here").exit_code == 1
