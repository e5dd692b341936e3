"""`.signoff/dev.json`: what is running in this folder, for the command line, tests and people's scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from signoff.embedded.places import write_private

NAME = "dev.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevState:
    """Addresses, process ids and keys of one running `signoff dev`.

    `pids` has `api`, `worker`, `beat`, `postgres` and `broker`; the last two are None when the server isn't
    ours. `keys` are API keys by the name of the development identity.
    """

    api_url: str
    inbox_url: str
    database_url: str
    broker_url: str
    pids: Mapping[str, int | None]
    keys: Mapping[str, str]


def write_dev_state(home: Path, state: DevState) -> None:
    """Replace the file at once, readable by its owner alone."""
    write_private(home / NAME, json.dumps(asdict(state), indent=2) + "\n")


def read_dev_state(home: Path) -> DevState | None:
    """What the file says, or None when there is none that can be read. A killed supervisor leaves its file
    behind.
    """
    try:
        return DevState(**json.loads((home / NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remove_dev_state(home: Path) -> None:
    """Say that nothing runs any more."""
    (home / NAME).unlink(missing_ok=True)
