"""Several scenarios at once, each in a process of its own: most of what they take is waiting for a recovery."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.chaos.registry import Outcome, Scenario, Tier
from tests.chaos.table import ROOT

Done = Callable[[Scenario, Outcome], None]
"""Told of each outcome when it is known, by the lane that has it."""


def play_in_lanes(chosen: Sequence[Scenario], *, tier: Tier, seed: int, lanes: int, done: Done) -> None:
    """Play all of them, so many at a time, in order."""
    with tempfile.TemporaryDirectory(prefix="signoff-lanes-") as folder, ThreadPoolExecutor(lanes) as pool:

        def play(numbered: tuple[int, Scenario]) -> None:
            number, one = numbered
            done(one, _played(one, tier=tier, seed=seed, into=Path(folder) / f"{number}.json"))

        for _ in pool.map(play, enumerate(chosen)):
            pass


def keep(outcome: Outcome, into: Path) -> None:
    """Write an outcome for the process that asked for it."""
    into.write_text(json.dumps(asdict(outcome)))


def _played(one: Scenario, *, tier: Tier, seed: int, into: Path) -> Outcome:
    asked = ["--tier", tier, "--seed", str(seed), "--only", one.title, "--outcome", str(into)]
    code = subprocess.run([sys.executable, "-m", "tests.chaos", *asked], cwd=ROOT, check=False).returncode
    if into.exists():
        found = json.loads(into.read_text())
        return Outcome(**found | {"problems": tuple(found["problems"])})
    return Outcome(
        promise=one.promise,
        title=one.title,
        tried=0,
        injected=0,
        lost=0,
        doubled=0,
        worst_recovery_s=None,
        problems=(f"its process ended with {code}, and left no outcome",),
        seconds=0.0,
    )
