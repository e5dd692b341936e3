"""`signoff link` and `signoff callback`: made, listed without what opens anything, ended."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from tests.integration.cli.stack import Stack

from signoff.engine import DecisionRequest, Engine
from signoff.store.callbacks import find_caller
from signoff.store.database import Database
from signoff.store.identity import find_principal
from signoff.store.task_links import find_link


def _task(engine: Engine, by: str = "requester") -> str:
    with engine.database.autocommit() as cursor:
        requester = find_principal(cursor, by)
    assert requester is not None
    run = engine.start(workflow="expense", input={"amount": "5", "text": "x"}, requester=requester)
    with engine.database.autocommit() as cursor:
        row = cursor.execute("SELECT id FROM human_tasks WHERE run_id = %s", (run.run_id,)).fetchone()
    assert row is not None
    return str(row[0])


def test_a_link_is_printed_once_listed_and_revoked(stack: Stack, engine: Engine) -> None:
    task = _task(engine)
    made = stack("link", task, "ana", "--api", "https://signoff.example/")
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("https://signoff.example/l/sl_"), "the link alone, for a script"
    assert made.stdout.count("\n") == 1
    token = made.stdout.strip().rpartition("/")[2]
    (shown,) = stack.json("link", "list", task)
    listed = stack("link", "list", task).stdout
    assert token not in listed + json.dumps(shown)
    assert shown["prefix"] in listed
    assert (shown["principal"], shown["state"]) == ("ana", "good")
    assert stack("link", "revoke", shown["id"]).exit_code == 0
    found = find_link(engine.database, token)
    assert found is not None
    assert found.state == "revoked"
    as_json = stack.json("link", task, "sam", "--lasts", "1h")
    assert as_json["url"].startswith(f"{stack.api_url}/l/sl_")


@pytest.mark.parametrize(
    ("person", "code"), [("max", "not_candidate"), ("requester", "not_found"), ("who", "not_found")]
)
def test_a_link_is_for_people_who_may_decide(stack: Stack, engine: Engine, person: str, code: str) -> None:
    refused = stack("link", _task(engine), person)
    assert (refused.exit_code, f"error[{code}]" in refused.stderr) == (1, True), refused.output


def test_a_link_to_nothing_or_for_too_long_is_refused(stack: Stack, engine: Engine) -> None:
    task = _task(engine)
    for arguments, code in (
        (("link", "x", "ana"), 1),
        (("link", str(uuid4()), "ana"), 1),
        (("link", task, "ana", "--lasts", "31d"), 2),
        (("link", task, "ana", "--lasts", "soon"), 2),
        (("link", "revoke", "x"), 1),
        (("link", "revoke", str(uuid4())), 1),
    ):
        assert stack(*arguments).exit_code == code, arguments
    assert stack.json("link", "list", task) == []
    with engine.database.autocommit() as cursor:
        ana = find_principal(cursor, "ana")
    assert ana is not None
    (sha,) = _row(engine.database, "SELECT payload_sha256 FROM human_tasks WHERE id = %s", task)
    from uuid import UUID

    engine.decide(UUID(task), DecisionRequest(decision="approve", payload_sha256=str(sha)), by=ana)
    assert "already_decided" in stack("link", task, "sam").stderr


def test_a_callback_from_its_first_day_to_its_last(stack: Stack, engine: Engine) -> None:
    made = stack("callback", "add", "slack")
    path, secret = made.stdout.splitlines()
    token = path.removeprefix("/api/v1/callbacks/")
    assert find_caller(engine.database, token) is not None
    assert secret.startswith("whsec_")
    assert stack("callback", "link", "slack", "ana", "U1").exit_code == 0
    assert "somebody there already" in stack("callback", "link", "slack", "sam", "U1").stderr
    assert stack("callback", "link", "slack", "requester", "U2").exit_code == 1
    (shown,) = [each for each in stack.json("callback", "list") if each["name"] == "slack"]
    assert shown["people"] == [{"external_id": "U1", "principal": "ana"}]
    listed = stack("callback", "list").stdout
    assert "ana (U1)" in listed
    assert not [each for each in (token, secret) if each in listed + json.dumps(shown)]
    assert stack.json("callback", "rotate", "slack", "--overlap", "1h")["secret"] != secret
    assert stack("callback", "rotate", "slack", "--overlap", "31d").exit_code == 2
    assert stack("callback", "unlink", "slack", "U1").exit_code == 0
    assert stack("callback", "unlink", "slack", "U1").exit_code == 1
    assert stack("callback", "add", "slack").exit_code == 1
    assert stack("callback", "remove", "slack").exit_code == 0
    assert find_caller(engine.database, token) is None
    assert stack("callback", "remove", "slack").exit_code == 1


def _row(database: Database, question: str, *values: object) -> tuple[object, ...]:
    with database.autocommit() as cursor:
        row = cursor.execute(question, values).fetchone()
    assert row is not None
    return tuple(row)
