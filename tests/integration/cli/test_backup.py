"""`signoff db backup`, `restore` and `check`: what was there is there again, and each run says what becomes of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.integration.engine.flows import GATE, UNKEYED
from tests.integration.engine.world import ADMIN, World, shift_clock
from tests.integration.store.states import a_run_in_every_state
from typer.testing import CliRunner, Result

from signoff.anchors.keys import make_pair
from signoff.cli.main import app
from signoff.embedded.dumps import find_dump_programs
from signoff.errors import ConfigurationError

EVERYTHING = (
    "SELECT run_id::text, seq, hash FROM events ORDER BY 1, 2",
    "SELECT id::text, status, seq, hash, epoch FROM runs ORDER BY 1",
    "SELECT id::text, state, outcome, wake_at FROM human_tasks ORDER BY 1",
    "SELECT id::text, decision, note FROM decisions ORDER BY 1",
    "SELECT workflow, number, sha256 FROM workflow_versions ORDER BY 1, 2",
)


def signoff(url: str, *arguments: str, **more: str) -> Result:
    environment = {"SIGNOFF_DATABASE_URL": url, "SIGNOFF_HOME": "nowhere", "COLUMNS": "100"} | more
    return CliRunner().invoke(app, list(arguments), env=environment)


def contents(url: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        return [connection.execute(question.encode()).fetchall() for question in EVERYTHING]


@pytest.fixture
def anchors(tmp_path: Path) -> dict[str, str]:
    make_pair(tmp_path / "key")
    return {
        "SIGNOFF_ANCHOR_FILE": str(tmp_path / "anchors.jsonl"),
        "SIGNOFF_ANCHOR_KEY_FILE": str(tmp_path / "key"),
    }


@pytest.fixture
def world(database_url: str) -> World:
    shift_clock(database_url)
    return World.on(database_url)


def test_a_run_in_every_state_is_there_again_and_says_what_becomes_of_it(
    world: World, empty_database_url: str, tmp_path: Path
) -> None:
    runs = a_run_in_every_state(world) | {"unkeyed": world.start(UNKEYED, {"amount": 1})}
    world.claim(runs["unkeyed"])
    before = contents(world.url)
    world.engine.close()

    made = signoff(world.url, "db", "backup", str(tmp_path / "dump"))
    brought = signoff(empty_database_url, "db", "restore", str(tmp_path / "dump"))
    found = json.loads(signoff(empty_database_url, "db", "check", "--json").stdout)

    assert made.exit_code == brought.exit_code == 0, made.output + brought.output
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == 0o600
    assert contents(empty_database_url) == before
    assert (found["verification"]["ok"], found["verification"]["runs"]) == (True, len(runs) + 1), "and the compensating"
    said = {UUID(each["run"]): each for each in found["unfinished"]}
    ended = {"timed out", "completed", "canceled", "compensated"}
    assert set(said) >= {run_id for name, run_id in runs.items() if name not in ended}
    stand = {name for name, run_id in runs.items() if run_id in said and not said[run_id]["continues"]}
    assert stand == {"failed", "unkeyed"}
    assert "step_raised" in said[runs["failed"]]["why"]
    assert "outcome_unknown" in said[runs["unkeyed"]]["why"]
    assert "leads" in said[runs["half decided"]]["why"]
    assert "queue default" in said[runs["queued"]]["why"]


def test_a_backup_is_of_one_moment_and_what_came_later_is_not_in_it(
    world: World, empty_database_url: str, tmp_path: Path
) -> None:
    world.start(GATE, {"amount": 1})
    before = contents(world.url)
    assert signoff(world.url, "db", "backup", str(tmp_path / "dump")).exit_code == 0
    world.start(GATE, {"amount": 2})
    world.engine.close()

    assert signoff(empty_database_url, "db", "restore", str(tmp_path / "dump"), "--json").exit_code == 0
    assert contents(empty_database_url) == before


def test_anchors_that_are_newer_than_the_backup_are_told_as_such(
    world: World, empty_database_url: str, tmp_path: Path, anchors: dict[str, str]
) -> None:
    run = world.start(GATE, {"amount": 1})
    assert signoff(world.url, "audit", "anchor", "--begin", **anchors).exit_code == 0
    assert signoff(world.url, "db", "backup", str(tmp_path / "dump")).exit_code == 0
    world.engine.cancel(run, reason="later", by=ADMIN)
    assert signoff(world.url, "audit", "anchor", **anchors).exit_code == 0
    world.engine.close()
    signoff(empty_database_url, "db", "restore", str(tmp_path / "dump"))

    told = signoff(empty_database_url, "db", "check", **anchors)
    found = json.loads(signoff(empty_database_url, "db", "check", "--json", **anchors).stdout)
    alone = signoff(empty_database_url, "db", "check")

    assert told.exit_code == 1
    assert "1 anchors" in told.stdout
    assert "newer than this database" in told.stdout
    assert found["log_ok"]
    assert found["newer_anchors"]["count"] == 1
    assert found["newer_anchors"]["held_at"] is not None
    assert alone.exit_code == 0


def test_a_log_that_was_changed_is_not_taken_for_an_older_one(world: World, anchors: dict[str, str]) -> None:
    run = world.start(GATE, {"amount": 1})
    assert signoff(world.url, "audit", "anchor", "--begin", **anchors).exit_code == 0
    world.sql("UPDATE events SET data = '{}' WHERE run_id = %s AND seq = 1", run)
    world.engine.close()

    result = signoff(world.url, "db", "check", "--json", **anchors)

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["log_ok"], found["newer_anchors"]) == (False, None)


def test_a_backup_is_never_written_over_nor_brought_into_what_holds_something(
    database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "dump"
    assert signoff(database_url, "db", "backup", str(file)).exit_code == 0
    kept = file.read_bytes()
    again = signoff(database_url, "db", "backup", str(file))
    into = signoff(database_url, "db", "restore", str(file))
    (tmp_path / "other").write_bytes(b"no backup")
    other = signoff(empty_database_url, "db", "restore", str(tmp_path / "other"))
    missing = signoff(empty_database_url, "db", "restore", str(tmp_path / "missing"))

    assert "error[invalid]" in again.stderr
    assert file.read_bytes() == kept
    assert "error[conflict]" in into.stderr
    assert "error[invalid]" in other.stderr
    assert "error[invalid]" in missing.stderr
    assert contents(database_url) == contents(database_url)
    assert not list(tmp_path.glob(".*.part"))


def test_half_a_backup_brings_nothing(database_url: str, empty_database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "dump"
    signoff(database_url, "db", "backup", str(file))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    assert signoff(empty_database_url, "db", "restore", str(file)).exit_code == 1
    with psycopg.connect(empty_database_url) as connection:
        found = connection.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert found.fetchone() == (0,)


def test_the_password_is_no_argument_and_no_part_of_an_error(tmp_path: Path) -> None:
    result = signoff("postgresql://me:hunter2@127.0.0.1:1/x", "db", "backup", str(tmp_path / "dump"))

    assert "error[unavailable]" in result.stderr
    assert "hunter2" not in result.output


def test_the_oldest_program_that_reads_the_server_is_taken(tmp_path: Path) -> None:
    for major in (14, 16, 18):
        folder = tmp_path / str(major)
        folder.mkdir()
        for name in ("pg_dump", "pg_restore"):
            (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {major}.1'\n")
            (folder / name).chmod(0o755)
    folders = [tmp_path / "18", tmp_path / "14", tmp_path / "16"]

    assert find_dump_programs(15, directories=folders).major == 16
    with pytest.raises(ConfigurationError, match="19"):
        find_dump_programs(19, directories=folders)
