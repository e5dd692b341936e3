"""`.signoff/dev.json`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from signoff.embedded.dev_file import DevState, read_dev_state, remove_dev_state, write_dev_state

STATE = DevState(
    api_url="http://127.0.0.1:8400",
    inbox_url="http://127.0.0.1:8400/inbox",
    database_url="postgresql://postgres@/signoff?host=/run",
    broker_url="redis+socket:///run/broker.sock?virtual_host=0",
    pids={"api": 1, "worker": 2, "beat": 3, "postgres": 4, "broker": None},
    keys={"ana": "so_x"},
)


def test_the_file_has_the_agreed_keys_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_dev_state(tmp_path, STATE)

    path = tmp_path / "dev.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) == {
        "api_url",
        "inbox_url",
        "database_url",
        "broker_url",
        "pids",
        "keys",
    }
    assert read_dev_state(tmp_path) == STATE


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"api_url": 1}'])
def test_a_missing_or_broken_file_says_that_nothing_runs(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "dev.json").write_text(content)

    assert read_dev_state(tmp_path) is None


def test_removing_twice_is_harmless(tmp_path: Path) -> None:
    write_dev_state(tmp_path, STATE)

    remove_dev_state(tmp_path)
    remove_dev_state(tmp_path)

    assert read_dev_state(tmp_path) is None
