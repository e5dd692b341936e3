"""The table, promise by promise, and docs/chaos.json, which keeps it."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.registry import Outcome, Scenario

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "chaos.json"
_WRITTEN = ("docs/chaos.json", "docs/guarantees.md")
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


@dataclass(kw_only=True)
class Results:
    """docs/chaos.json: each promise as it was last played in full, and of which commit."""

    commit: str
    expected: Counter[int]
    """How many scenarios each promise has."""
    outcomes: dict[int, list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    path: Path = RESULTS

    @classmethod
    def begun(cls, chosen: Iterable[Scenario], path: Path = RESULTS) -> Results:
        return cls(commit=commit(), expected=Counter(one.promise for one in chosen), path=path)

    def add(self, outcome: Outcome) -> bool:
        """One more outcome. With the last one of its promise the file has a new row for it, and this answers True."""
        known = self.outcomes[outcome.promise]
        known.append(outcome)
        if len(known) < self.expected[outcome.promise]:
            return False
        self._put(outcome.promise, row(known) | {"commit": self.commit})
        return True

    def add_mutants(self, counted: Mapping[int, tuple[int, int]]) -> None:
        """(caught, missed) by promise."""
        for promise, (caught, missed) in counted.items():
            self._put(promise, {"mutants": {"caught": caught, "missed": missed}})

    def _put(self, promise: int, found: Mapping[str, Any]) -> None:
        rows = {each["promise"]: each for each in self._stored()}
        known = rows.get(promise, {"promise": promise, "mutants": {"caught": 0, "missed": 0}})
        rows[promise] = known | found
        stored = {"commit": self.commit, "promises": [rows[number] for number in sorted(rows)]}
        self.path.write_text(json.dumps(stored, indent=2) + "\n")

    def _stored(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        rows: list[dict[str, Any]] = json.loads(self.path.read_text())["promises"]
        return rows


def row(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What docs/chaos.json says of one promise: its scenarios added up, without their mutants."""
    worst = max((each.worst_recovery_s for each in outcomes if each.worst_recovery_s is not None), default=None)
    return {
        "promise": outcomes[0].promise,
        "tried": sum(each.tried for each in outcomes),
        "injected": sum(each.injected for each in outcomes),
        "lost": sum(each.lost for each in outcomes),
        "doubled": sum(each.doubled for each in outcomes),
        "worst_recovery_s": None if worst is None else round(worst, 1),
        "problems": [problem for each in outcomes for problem in each.problems],
        "reduced_from": [each.reduced_from for each in outcomes if each.reduced_from],
        "skipped": [each.skipped for each in outcomes if each.skipped],
    }


def commit() -> str:
    """The commit that is checked out; with `+` when the tree has something else than what a run writes itself."""
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{path}" for path in _WRITTEN))
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
