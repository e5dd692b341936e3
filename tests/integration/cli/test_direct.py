"""What needs the database alone: migrations, deployments, identities, and verification without the API."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psycopg
import pytest
from tests.integration.cli.stack import Stack
from typer.testing import CliRunner, Result

from signoff.cli.client import Client
from signoff.cli.main import app
from signoff.embedded.dev_file import DevState, write_dev_state
from signoff.store import migrations

DOCUMENT = "workflow: {name}\nsteps: [{{gate: g, reviewers: leads, title: '{title}'}}]\n"


def signoff(url: str, *arguments: str) -> Result:
    environment = {"SIGNOFF_DATABASE_URL": url, "SIGNOFF_HOME": "nowhere", "COLUMNS": "100"}
    return CliRunner().invoke(app, list(arguments), env=environment)


class TestDatabase:
    def test_an_empty_one_is_migrated_and_a_migrated_one_is_left_alone(self, empty_database_url: str) -> None:
        before = signoff(empty_database_url, "db", "status")
        first = signoff(empty_database_url, "db", "upgrade", "--no-admin")
        again = signoff(empty_database_url, "db", "upgrade", "--no-admin", "--json")
        after = signoff(empty_database_url, "db", "status", "--json")

        head = migrations.head()
        assert before.exit_code == 1
        assert "signoff db upgrade" in before.stderr
        assert first.stdout == f"migrated from empty to {head}\n"
        assert json.loads(again.stdout) == {"before": head, "revision": head, "admin": None}
        assert (after.exit_code, json.loads(after.stdout)["current"]) == (0, True)

    def test_one_that_is_away_is_an_error_without_the_password(self) -> None:
        result = signoff("postgresql://me:hunter2@127.0.0.1:1/x", "db", "status")

        assert result.exit_code == 1
        assert "error[unavailable]" in result.stderr
        assert "hunter2" not in result.output

    @pytest.mark.parametrize("command", [["db", "upgrade"], ["audit", "verify", "--database"], ["doctor"]])
    def test_one_of_a_killed_development_stack_is_to_be_started_again(self, tmp_path: Path, command: list[str]) -> None:
        url = f"postgresql:///signoff?host={tmp_path}"
        state = DevState(api_url="http://127.0.0.1:1", inbox_url="", database_url=url, broker_url="", pids={}, keys={})
        write_dev_state(tmp_path, state)

        result = CliRunner().invoke(app, command, env={"SIGNOFF_HOME": str(tmp_path), "COLUMNS": "200"})

        assert result.exit_code == 1
        assert "start `signoff dev`: the one that" in result.output

    def test_none_that_is_named_is_an_error_that_says_how(self) -> None:
        result = signoff("", "db", "upgrade")

        assert result.exit_code == 1
        assert "SIGNOFF_DATABASE_URL" in result.stderr


class TestDeploy:
    def write(self, folder: Path, name: str, title: str = "one") -> str:
        file = folder / f"{name}-{title}.yaml"
        file.write_text(DOCUMENT.format(name=name, title=title))
        return str(file)

    def test_new_content_is_a_new_version_and_the_same_is_the_same(self, database_url: str, tmp_path: Path) -> None:
        one, two = self.write(tmp_path, "w", "one"), self.write(tmp_path, "w", "two")

        first, again, second = (signoff(database_url, "deploy", file, "--json") for file in (one, one, two))

        found = [json.loads(result.stdout)[0] for result in (first, again, second)]
        assert [(each["version"], each["new"]) for each in found] == [(1, True), (1, False), (2, True)]
        assert found[0]["sha256"] == found[1]["sha256"] != found[2]["sha256"]

    def test_what_was_replaced_is_no_newer_for_being_deployed_again(self, database_url: str, tmp_path: Path) -> None:
        one, two = self.write(tmp_path, "w", "one"), self.write(tmp_path, "w", "two")
        for file in (one, two):
            assert "newer" not in signoff(database_url, "deploy", file).output

        back = signoff(database_url, "deploy", one)

        assert "w: runs begin with v2, which is newer" in back.stdout + back.stderr
        found = json.loads(signoff(database_url, "deploy", one, "--json").stdout)[0]
        assert (found["version"], found["newest"], found["new"]) == (1, 2, False)

    def test_it_needs_no_broker_and_says_what_it_did_in_a_line_each(self, database_url: str, tmp_path: Path) -> None:
        result = signoff(database_url, "deploy", self.write(tmp_path, "a"), self.write(tmp_path, "b"))

        assert result.exit_code == 0
        assert [line.split()[:3] for line in result.stdout.splitlines()] == [["a", "v1", "new"], ["b", "v1", "new"]]

    def test_with_a_fault_in_one_nothing_is_deployed(self, database_url: str, tmp_path: Path) -> None:
        bad = tmp_path / "bad.yaml"
        bad.write_text("workflow: bad\nsteps: [{gate: g}]\n")
        good = self.write(tmp_path, "good")

        result = signoff(database_url, "deploy", good, str(bad))
        as_json = signoff(database_url, "deploy", good, str(bad), "--json")

        assert (result.exit_code, result.stdout) == (1, "")
        assert "E103" in result.stderr or "E109" in result.stderr
        assert json.loads(as_json.stderr)["faults"][0]["source"] == str(bad)
        with psycopg.connect(database_url) as connection:
            assert connection.execute("SELECT count(*) FROM workflow_versions").fetchone() == (0,)

    def test_the_log_of_versions_says_that_nobody_was_authenticated(self, database_url: str, tmp_path: Path) -> None:
        signoff(database_url, "deploy", self.write(tmp_path, "w"))

        with psycopg.connect(database_url) as connection:
            (by,) = connection.execute("SELECT created_by FROM workflow_versions").fetchone() or ({},)
        assert (by["type"], by["id"]) == ("system", "command-line")

    def test_a_deployed_one_can_be_drawn(self, stack: Stack) -> None:
        drawn = stack("graph", "expense")
        version = stack("graph", "expense", "--version", "1", "--json")
        missing = stack("graph", "expense", "--version", "99")

        assert "◆ approve  asks support-leads" in drawn.stdout
        assert json.loads(version.stdout)["workflow"] == "expense"
        assert missing.exit_code == 1


class TestIdentities:
    def test_an_install_without_anybody_gets_its_first_administrator(self, database_url: str) -> None:
        result = signoff(database_url, "key", "create", "--admin", "root")

        assert result.exit_code == 0
        assert result.stdout.startswith("so_")
        assert result.stdout.count("\n") == 1
        assert "can't be shown again" in result.stderr
        (root,) = json.loads(signoff(database_url, "principal", "list", "--json").stdout)
        assert (root["name"], root["kind"], root["roles"]) == ("root", "user", ["admin"])

    def test_its_key_opens_the_api_until_it_is_revoked(self, stack: Stack) -> None:
        made = stack.json("key", "create", "--admin", "first-admin")["key"]
        with Client(stack.api_url, made) as client:
            assert client.get("/api/v1/workflows")["items"]

        prefix = made.rsplit("_", 2)[0] if made.count("_") > 2 else "_".join(made.split("_")[:2])
        assert stack("key", "revoke", prefix).exit_code == 0

        result = stack("runs", SIGNOFF_API_KEY=made)
        assert "error[unauthenticated]" in result.stderr
        (kept,) = stack.json("key", "list", "first-admin")
        assert kept["revoked_at"] is not None

    def test_a_disabled_principal_is_out_until_it_is_enabled(self, stack: Stack) -> None:
        stack.json("principal", "add", "eve", "--group", "support-leads")
        key = stack.json("key", "create", "eve", "--expires", "90d")["key"]

        stack.json("principal", "disable", "eve")
        out = stack("inbox", SIGNOFF_API_KEY=key)
        listed = stack("principal", "list").stdout
        stack.json("principal", "update", "eve", "--enable")
        back = stack("inbox", SIGNOFF_API_KEY=key)

        assert (out.exit_code, back.exit_code) == (1, 0)
        assert next(line for line in listed.splitlines() if line.startswith("eve")).endswith("disabled")

    def test_groups_and_roles_are_replaced_one_without_the_other(self, database_url: str) -> None:
        signoff(database_url, "principal", "add", "ana", "-g", "a", "-g", "b", "-r", "reviewer")

        roles = signoff(database_url, "principal", "update", "ana", "-r", "operator", "--json")
        groups = signoff(database_url, "principal", "update", "ana", "--no-groups", "--json")

        assert (json.loads(roles.stdout)["groups"], json.loads(roles.stdout)["roles"]) == (["a", "b"], ["operator"])
        assert (json.loads(groups.stdout)["groups"], json.loads(groups.stdout)["roles"]) == ([], ["operator"])

    def test_nobody_becomes_an_administrator_by_asking_for_a_key(self, database_url: str) -> None:
        signoff(database_url, "principal", "add", "ana")

        result = signoff(database_url, "key", "create", "--admin", "ana")

        assert result.exit_code == 1
        assert "--role admin" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["principal", "add", "Ana!"], "/name"),
            (["principal", "add", "x", "--role", "king"], "/roles"),
            (["principal", "update", "nobody", "--role", "admin"], "error[not_found]"),
            (["key", "create", "nobody"], "error[not_found]"),
            (["key", "revoke", "nothing"], "error[not_found]"),
            (["key", "list", "nobody"], "error[not_found]"),
        ],
    )
    def test_what_can_not_be_is_refused(self, database_url: str, arguments: list[str], told: str) -> None:
        result = signoff(database_url, *arguments)

        assert (result.exit_code, result.stdout) == (1, "")
        assert told in result.stderr


class TestAudit:
    def test_what_was_not_touched_verifies_by_the_api_and_without_it(self, stack: Stack) -> None:
        run = stack.start()

        by_api = stack.json("audit", "verify", run["id"])
        here = stack.json("audit", "verify", run["id"], "--database")

        nothing = {"first_bad": None, "anchored_at": None, "unanchored": None}
        assert by_api == here == {"ok": True, "runs": 1, "events": 2, **nothing}
        assert "2 events: every hash and every head is right" in stack("audit", "verify", run["id"]).stdout

    def test_one_changed_byte_is_found_and_the_exit_code_is_1(self, stack: Stack) -> None:
        run = stack.start()
        with psycopg.connect(stack.database_url) as connection:
            connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
            connection.execute(
                "UPDATE events SET data = replace(data::text, '640', '641')::json WHERE run_id = %s AND seq = 1",
                (run["id"],),
            )
            connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")

        result = stack("audit", "verify", run["id"])
        here = stack("audit", "verify", run["id"], "--database", "--json")

        assert (result.exit_code, here.exit_code) == (1, 1)
        assert f"✗ run {run['id']}, event 1: hash does not match the event" in result.stdout
        assert json.loads(here.stdout)["first_bad"]["seq"] == 1

    def test_the_evidence_pack_is_written_whole_to_a_file_or_standard_output(
        self, stack: Stack, tmp_path: Path
    ) -> None:
        run = stack.start()
        file = tmp_path / "pack.json"

        to_file = stack("audit", "export", run["id"], "-o", str(file))
        to_stdout = stack("audit", "export", run["id"])

        assert (to_file.exit_code, to_file.stdout) == (0, "")
        assert json.loads(file.read_text())["run"]["id"] == run["id"]
        assert json.loads(to_stdout.stdout) == json.loads(file.read_text())

    def test_where_there_is_nothing_to_export_no_file_is_left(self, stack: Stack, tmp_path: Path) -> None:
        result = stack("audit", "export", "01a2030f-55f0-7139-87c3-5a64fd02dfd8", "-o", str(tmp_path / "pack.json"))

        assert result.exit_code == 1
        assert os.listdir(tmp_path) == []

    def test_with_json_it_says_what_was_written(self, stack: Stack, tmp_path: Path) -> None:
        file = tmp_path / "pack.json"

        said = stack.json("audit", "export", stack.start()["id"], "-o", str(file))

        assert said == {"file": str(file), "bytes": file.stat().st_size}

    def test_a_file_that_can_not_be_written_is_an_error_without_a_traceback(self, stack: Stack, tmp_path: Path) -> None:
        result = stack("audit", "export", stack.start()["id"], "-o", str(tmp_path / "no" / "pack.json"))

        assert result.exit_code == 1
        assert "error[invalid] can't write" in result.stderr
        assert "fix" in result.stderr

    def test_a_run_that_is_none_is_refused(self, stack: Stack) -> None:
        for option in ([], ["--database"]):
            result = stack("audit", "verify", "01a2030f-55f0-7139-87c3-5a64fd02dfd8", *option)
            assert result.exit_code == 1
            assert "error[not_found]" in result.stderr
