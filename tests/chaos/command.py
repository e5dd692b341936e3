"""`signoff` as a process of its own, with one guard out where the plant has one: `python -m tests.chaos.command`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.chaos.plant import ROOT, Plant

SECONDS = 600.0


def command_line(module: str, *arguments: str, mutant: str | None) -> list[str]:
    """How a module is run as a program, mutated or not."""
    how = (
        [sys.executable, "-m", module]
        if mutant is None
        else [sys.executable, "-m", "tests.chaos.mutated", mutant, module]
    )
    return [*how, *arguments]


def signoff(plant: Plant, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command on the plant's database, past all wires; `settings` are more variables of its environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGNOFF_")}
    own = {
        "SIGNOFF_DATABASE_URL": plant.direct_url,
        "SIGNOFF_BROKER_URL": plant.broker.url,
        "SIGNOFF_HOME": str(plant.folder / "home"),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        command_line("tests.chaos.command", *arguments, mutant=plant.mutant),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=inherited | own | settings,
        check=False,
    )


def told(plant: Plant, *arguments: str, **settings: str) -> Any:
    """What a command says with --json, whatever it ends with. Raises AssertionError when it says nothing."""
    done = signoff(plant, *arguments, "--json", **settings)
    assert done.stdout, f"signoff {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
    return json.loads(done.stdout)


if __name__ == "__main__":
    from signoff.cli.main import run

    run()
