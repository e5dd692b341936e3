"""`signoff webhook`: endpoints from the command line."""

from __future__ import annotations

import json

from tests.integration.cli.stack import Stack

URL = "https://8.8.8.8/hook"


def test_an_endpoint_is_added_listed_tried_rotated_and_removed(stack: Stack) -> None:
    made = stack("webhook", "add", URL, "--event", "gate.opened", "--event", "run.failed")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("whsec_"), "the secret alone, for a script"
    assert made.stdout.count("\n") == 1
    (shown,) = [each for each in stack.json("webhook", "list") if each["url"] == URL]
    assert shown["events"] == ["gate.opened", "run.failed"]
    assert shown["created_by"]["type"] == "system"
    listed = stack("webhook", "list")
    assert shown["id"] in listed.stdout
    assert made.stdout.strip() not in listed.stdout + json.dumps(shown)

    rotated = stack("webhook", "rotate", shown["id"], "--overlap", "1h")
    assert rotated.stdout.startswith("whsec_")
    assert rotated.stdout != made.stdout
    delivery_id = stack.json("webhook", "test", shown["id"])["delivery_id"]
    assert [each["id"] for each in stack.json("webhook", "deliveries", shown["id"])] == [delivery_id]
    assert delivery_id in stack("webhook", "deliveries", shown["id"], "--state", "pending").stdout
    again = stack("webhook", "redeliver", delivery_id)
    assert (again.exit_code, "still to be sent" in again.stderr) == (1, True)
    assert stack("webhook", "enable", shown["id"]).exit_code == 0
    assert stack("webhook", "remove", shown["id"]).exit_code == 0
    assert stack("webhook", "deliveries", shown["id"]).exit_code == 1


def test_what_can_be_no_endpoint_is_refused(stack: Stack) -> None:
    for url in (
        "http://8.8.8.8/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://u:p@8.8.8.8/",
        "https://8.8.8.8:22/",
    ):
        refused = stack("webhook", "add", url)
        assert (refused.exit_code, "/url" in refused.stderr) == (1, True), url
    assert "/events" in stack("webhook", "add", URL, "--event", "run.created").stderr
    assert stack("webhook", "rotate", "no-id").exit_code == 1
    assert stack("webhook", "rotate", "no-id", "--overlap", "31d").exit_code == 2
    assert not [each for each in stack.json("webhook", "list") if each["url"] != URL]
