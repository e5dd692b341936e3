"""What anchors vouch for is told where people look: on the command line, by the API and on the pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.integration.inbox.run_site import Site, full_story, open_site, words
from typer.testing import CliRunner

from signoff.anchors.keys import make_pair
from signoff.cli.main import app
from signoff.store.identity import create_api_key


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("anchors") / "anchor.key"
    make_pair(made)
    return made


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str, key: Path) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SIGNOFF_ANCHOR_FILE", str(key.with_name("anchors.jsonl")))
        environment.setenv("SIGNOFF_ANCHOR_PUBLIC_KEY_FILE", str(key.with_name("anchor.key.pub")))
        environment.setenv("SIGNOFF_DATABASE_URL", module_database_url)
        environment.setenv("SIGNOFF_BROKER_URL", valkey_url)
        with open_site(module_database_url, valkey_url) as opened:
            yield opened


@pytest.fixture(scope="module")
def run_id(site: Site, key: Path) -> UUID:
    """A run that an anchor names, with one event behind it."""
    made = full_story(site)
    first = signoff("audit", "anchor", "--begin", SIGNOFF_ANCHOR_KEY_FILE=str(key))
    assert (first.exit_code, "anchor 1 of" in first.stdout) == (0, True), first.output
    return made


def signoff(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env=environment)


def _page(site: Site, path: str) -> str:
    return words(site.as_("auditor").get(path))


def test_the_command_line_says_up_to_where_it_is_vouched_for(site: Site, run_id: UUID) -> None:
    said = signoff("audit", "verify", "--database").stdout
    assert "anchors outside the database vouch for it up to 20" in said
    assert "there are no later events" in said
    found = json.loads(signoff("audit", "verify", str(run_id), "--database", "--json").stdout)
    assert (found["ok"], found["unanchored"]) == (True, 0)
    assert found["anchored_at"].endswith("Z")


def test_the_api_answers_the_same(site: Site, run_id: UUID) -> None:
    key = create_api_key(site.engine.database, "auditor")
    for query, arguments in (("", ()), (f"?run={run_id}", (str(run_id),))):
        answer = site.app.test_client().get(
            f"/api/v1/audit/verification{query}", headers={"Authorization": f"Bearer {key}"}
        )
        here = json.loads(signoff("audit", "verify", *arguments, "--database", "--json").stdout)
        assert answer.get_json() == here
        assert here["anchored_at"] is not None


def test_an_anchor_that_was_noted_is_asked_for(site: Site, run_id: UUID, key: Path) -> None:
    noted = json.loads(signoff("audit", "anchor", "--json", SIGNOFF_ANCHOR_KEY_FILE=str(key)).stdout)
    assert (noted["number"], noted["made"]) == (1, False)
    assert signoff("audit", "verify", "--database", "--anchor", noted["hash"]).exit_code == 0
    missing = signoff("audit", "verify", "--database", "--anchor", "0" * 64)
    assert (missing.exit_code, "no anchor of the hash" in missing.stdout) == (1, True)
    without = signoff("audit", "verify", "--anchor", noted["hash"])
    assert (without.exit_code != 0, "add --database" in without.output) == (True, True), without.output


def test_without_a_key_or_a_file_it_says_what_to_set(site: Site, run_id: UUID) -> None:
    without = signoff("audit", "anchor")
    assert without.exit_code != 0
    assert "SIGNOFF_ANCHOR_KEY_FILE is not set" in without.output


def test_keys_are_made_by_a_command(tmp_path: Path) -> None:
    made = signoff("audit", "keygen", str(tmp_path / "key"))
    assert made.exit_code == 0, made.output
    assert "BEGIN PUBLIC KEY" in (tmp_path / "key.pub").read_text()
    assert signoff("audit", "keygen", str(tmp_path / "key")).exit_code != 0


def test_the_page_of_a_run_says_what_is_vouched_for(site: Site, run_id: UUID) -> None:
    assert "Signed anchors outside this database vouch for all of it" in _page(site, f"/audit/{run_id}")
    later = full_story(site)
    assert "No anchor" not in _page(site, f"/audit/{later}")
    assert "which no anchor names yet" in _page(site, f"/audit/{later}")
    assert "signed anchors outside this database say of them" in _page(site, "/audit/check")


def test_the_export_brings_its_anchors_along(site: Site, run_id: UUID) -> None:
    pack = json.loads(site.as_("auditor").send("GET", f"/audit/{run_id}/export").data)
    assert [proof["seq"] for proof in pack["anchors"]] == [pack["head"]["seq"]]


def test_a_log_written_anew_and_broken_anchors_are_told(site: Site, run_id: UUID, key: Path) -> None:
    file = key.with_name("anchors.jsonl")
    before = file.read_bytes()
    file.write_bytes(b"{}\n")
    assert "The anchors do not hold" in _page(site, f"/audit/{run_id}")
    assert "The anchors do not hold" in _page(site, "/audit/check")
    broken = signoff("audit", "verify", "--database")
    assert (broken.exit_code, "the anchors: a line is no anchor" in broken.stdout) == (1, True), broken.stdout
    file.write_bytes(before)
    assert signoff("audit", "verify", "--database").exit_code == 0
    with psycopg.connect(site.url, options="-c session_replication_role=replica") as connection:
        for table in ("decisions", "human_tasks", "events", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE {'id' if table == 'runs' else 'run_id'} = %s", (run_id,))
    gone = signoff("audit", "verify", "--database")
    assert (gone.exit_code, f"run {run_id}: the run is gone that anchor 1 of" in gone.stdout.replace("\n", " ")) == (
        1,
        True,
    ), gone.stdout


def test_grants_are_printed_for_the_role_they_name() -> None:
    said = signoff("db", "grants", "app").stdout
    assert 'GRANT SELECT, INSERT ON events TO "app";' in said
    assert "UPDATE ON events" not in said
    assert 'GRANT SELECT ON runs TO "auditor";' in signoff("db", "grants", "auditor", "--auditor").stdout
