"""The table, promise by promise, and docs/chaos.json, which is its last full run."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.registry import Outcome

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "chaos.json"
_HEADS = ("promise", "tried", "injected", "lost", "doubled", "worst recovery", "took", "")


def table(outcomes: Sequence[Outcome]) -> str:
    """One row a scenario, and beneath it what is wrong with it, or less than promised."""
    rows = [_HEADS, *(_row(each) for each in outcomes)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    lines = []
    for row, outcome in zip(rows, (None, *outcomes), strict=True):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
        lines += [f"      {said}" for said in (_beneath(outcome) if outcome is not None else ())]
    return "\n".join(lines)


def _beneath(outcome: Outcome) -> list[str]:
    """What else has to be said of a row."""
    said = list(outcome.problems)
    said += [f"reduced from {outcome.reduced_from}"] if outcome.reduced_from else []
    said += [f"skipped: {outcome.skipped}"] if outcome.skipped else []
    return said


def _row(outcome: Outcome) -> tuple[str, ...]:
    worst = "–" if outcome.worst_recovery_s is None else f"{outcome.worst_recovery_s:.1f} s"
    return (
        f"{outcome.promise:>2} {outcome.title}",
        f"{outcome.tried:,}",
        f"{outcome.injected:,}",
        str(outcome.lost),
        str(outcome.doubled),
        worst,
        f"{outcome.seconds:.0f} s",
        "ok" if outcome.ok else "FAILED",
    )


def results(outcomes: Sequence[Outcome], mutants: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    """What docs/chaos.json holds. `mutants` has (caught, missed) by promise; scenarios of one promise are added up."""
    by_promise: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_promise[outcome.promise].append(outcome)
    promises = []
    for promise, rows in sorted(by_promise.items()):
        worst = max((row.worst_recovery_s for row in rows if row.worst_recovery_s is not None), default=None)
        caught, missed = mutants.get(promise, (0, 0))
        promises.append(
            {
                "promise": promise,
                "tried": sum(row.tried for row in rows),
                "injected": sum(row.injected for row in rows),
                "lost": sum(row.lost for row in rows),
                "doubled": sum(row.doubled for row in rows),
                "worst_recovery_s": None if worst is None else round(worst, 1),
                "mutants": {"caught": caught, "missed": missed},
                "reduced_from": [row.reduced_from for row in rows if row.reduced_from],
                "skipped": [row.skipped for row in rows if row.skipped],
            }
        )
    return {"commit": commit(), "promises": promises}


def write_results(found: Mapping[str, Any]) -> None:
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


def commit() -> str:
    """The commit that is checked out; with `+` when the tree has something else."""
    head = _git("rev-parse", "HEAD")
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
