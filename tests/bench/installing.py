"""Peers have virtual environments of their own under `.bench/`, made once from the versions that are pinned here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.figures import say
from tests.bench.stack import ROOT

FOLDER = ROOT / ".bench"
REQUIREMENTS = Path(__file__).parent / "peers"
RESTATE_SERVER = "@restatedev/restate-server@1.7.12"
_SECONDS = 600


class NotInstalled(Exception):
    """Why a peer can't be measured here."""


def python_of(name: str) -> Path:
    """The interpreter that has the peer, installed now where that is needed. Raises NotInstalled."""
    place, wanted = FOLDER / name, (REQUIREMENTS / f"{name}.txt").read_text()
    note, python = place / "installed.txt", place / "bin" / "python"
    if note.exists() and note.read_text() == wanted:
        return python
    say(f"installing {name} into {place.relative_to(ROOT)}, once")
    _run([sys.executable, "-m", "venv", "--clear", str(place)])
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, "-r", str(REQUIREMENTS / f"{name}.txt")])
    note.write_text(wanted)
    return python


def restate_server() -> Path:
    """Restate's server, which its publisher ships by npm. Raises NotInstalled."""
    place = FOLDER / "restate-server"
    note = place / "installed.txt"
    if not note.exists() or note.read_text() != RESTATE_SERVER:
        npm = shutil.which("npm")
        if npm is None:
            raise NotInstalled("npm is not installed: apt-get install npm")
        say(f"installing {RESTATE_SERVER} into {place.relative_to(ROOT)}, once")
        place.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(place), RESTATE_SERVER])
        note.write_text(RESTATE_SERVER)
    for found in sorted(place.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")):
        return found
    raise NotInstalled("npm has no restate-server for this machine")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        told = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise NotInstalled(told[-1] if told else f"{' '.join(command[:4])} failed")
