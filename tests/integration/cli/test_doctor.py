"""`signoff doctor` finds what is wrong and says what to do."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
from tests.integration.cli.stack import Stack
from typer.testing import CliRunner

from signoff.cli.main import app
from signoff.engine import Engine, build_engine
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.loading import load_workflows
from signoff.model import SYSTEM
from signoff.settings import Settings


def examine(database_url: str, broker_url: str, **more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    environment = {"SIGNOFF_DATABASE_URL": database_url, "SIGNOFF_BROKER_URL": broker_url, "SIGNOFF_HOME": "nowhere"}
    result = CliRunner().invoke(app, ["doctor", "--json"], env=environment | more)
    return result.exit_code, {found["name"]: found for found in json.loads(result.stdout)["findings"]}


def start(engine: Engine, folder: Any) -> UUID:
    (folder / "cli_doctor.yaml").write_text("workflow: doc\nsteps: [{step: 'x:y', queue: llm}]\n")
    (folder / "x.py").write_text("from signoff import step\n\n@step\ndef y(value: dict) -> dict:\n    return value\n")
    (loaded,) = load_workflows([str(folder / "cli_doctor.yaml")])
    engine.register(loaded.graph, by=SYSTEM)
    somebody = Principal(id=new_id(), name="portal", kind="service", roles=frozenset({"requester"}))
    return engine.start(workflow="doc", input={}, requester=somebody).run_id


def test_where_everything_is_there_each_line_is_ok_and_the_exit_code_0(stack: Stack) -> None:
    result = stack("doctor")

    assert result.exit_code == 0
    shown = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("✓")]
    progress = ["sweep", "leases", "queues", "reviewers", "notify"]
    names = ["python", "settings", "database", "clocks", "migrations", *progress, "broker", "api"]
    assert shown == names
    assert "✗" not in result.stdout


def test_servers_that_are_away_are_named_without_their_passwords() -> None:
    away = "127.0.0.1:1"
    code, found = examine(
        f"postgresql://me:hunter2@{away}/x?password=hunter3",
        f"redis://:hunter2@{away}/0",
        SIGNOFF_API_PORT="1",  # somebody may well run `make dev` beside the tests
    )

    assert code == 1
    assert {name for name, finding in found.items() if finding["status"] == "fail"} == {"database", "broker"}
    assert found["api"]["status"] == "warn"
    assert "hunter" not in json.dumps(found)
    assert all(finding["fix"] for finding in found.values() if finding["status"] != "ok")


def test_a_named_api_that_does_not_answer_is_a_failure(database_url: str, valkey_url: str) -> None:
    _, found = examine(database_url, valkey_url, SIGNOFF_API_URL="http://127.0.0.1:1")

    assert found["api"]["status"] == "fail"


def test_a_database_that_was_not_migrated_is_told_how(empty_database_url: str, valkey_url: str) -> None:
    code, found = examine(empty_database_url, valkey_url)

    assert code == 1
    assert found["database"]["status"] == "ok"
    assert (found["migrations"]["status"], found["migrations"]["fix"]) == ("fail", "signoff db upgrade")


def test_a_bad_setting_is_named_and_ends_the_examination(database_url: str) -> None:
    code, found = examine(database_url, "redis://x", SIGNOFF_POOL="gevent")

    assert code == 1
    assert "SIGNOFF_POOL" in found["settings"]["detail"]


def test_a_broker_url_that_nobody_can_read_is_a_finding(database_url: str) -> None:
    _, found = examine(database_url, "carrier-pigeon://coop")

    assert found["broker"]["status"] == "fail"


class TestProgress:
    def examined(self, database_url: str, valkey_url: str, folder: Any, change: str) -> dict[str, dict[str, Any]]:
        """What is found after `change` was made to the row of a queued run."""
        engine = build_engine(Settings(database_url=database_url, broker_url=valkey_url), pool_size=2)
        run_id = start(engine, folder)
        engine.close()
        with psycopg.connect(database_url) as connection:
            connection.execute(f"UPDATE runs SET {change} WHERE id = %s", (run_id,))
        return examine(database_url, valkey_url)[1]

    def test_a_run_that_was_just_queued_is_no_finding(self, database_url: str, valkey_url: str, tmp_path: Any) -> None:
        found = self.examined(database_url, valkey_url, tmp_path, "resends = 0")

        assert {found[name]["status"] for name in ("sweep", "leases", "queues")} == {"ok"}

    def test_what_nobody_swept_is_a_failure(self, database_url: str, valkey_url: str, tmp_path: Any) -> None:
        found = self.examined(database_url, valkey_url, tmp_path, "due_at = now() - interval '1 minute'")

        assert found["sweep"]["status"] == "fail"
        assert "1 due, the oldest for 1 min" in found["sweep"]["detail"]
        assert "signoff beat" in found["sweep"]["fix"]

    def test_a_lease_that_ended_long_ago_is_a_failure(self, database_url: str, valkey_url: str, tmp_path: Any) -> None:
        change = "status = 'running', worker = 'gone', due_at = now() - interval '1 minute'"

        found = self.examined(database_url, valkey_url, tmp_path, change)

        assert found["leases"]["status"] == "fail"

    def test_a_queue_that_nobody_serves_is_named(self, database_url: str, valkey_url: str, tmp_path: Any) -> None:
        found = self.examined(database_url, valkey_url, tmp_path, "resends = 4, due_at = now() + interval '1 minute'")

        assert found["queues"]["status"] == "warn"
        assert found["queues"]["detail"].startswith("llm: 1 queued runs find no worker")
        assert found["queues"]["fix"] == "start a worker that serves it: signoff worker --queues llm"
