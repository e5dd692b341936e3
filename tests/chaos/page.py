"""The table of docs/guarantees.md, written from docs/chaos.json: `python -m tests.chaos.page` puts it there.

`make chaos` does so by itself. A test holds page and file equal, so that neither says more than was measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.table import RESULTS, ROOT

PAGE = ROOT / "docs" / "guarantees.md"
BEGIN = "<!-- measured: written by python -m tests.chaos.page -->"
END = "<!-- end of measured -->"
NOTHING = "No full run has been recorded yet: `make chaos` writes `docs/chaos.json` and this table."

PROMISES: Mapping[int, str] = {
    1: "a 2xx decision survives any crash",
    2: "one gate, one outcome",
    3: "one approval, one execution",
    4: "the broker is disposable",
    5: "a PostgreSQL crash is safe",
    6: "duplicates and reordering are harmless",
    7: "a zombie can't write",
    8: "timers fire once and never early",
    9: "parking is cheap and long",
    10: "the machine is correct",
    11: "upgrades keep parked runs",
    12: "graceful stop",
    13: "exhaustion degrades cleanly",
    14: "restore works",
    15: "idempotent API",
    16: "hostile input is boring",
    17: "authorization is complete",
    18: "nobody approves their own work",
    19: "links are safe",
    20: "approved = shown = executed",
    21: "a draft can't deceive",
    22: "tampering shows",
    23: "webhooks can be trusted",
}


def measured(results: Path = RESULTS) -> str:
    """What stands between the two marks."""
    if not results.exists():
        return NOTHING
    found = json.loads(results.read_text())
    lines = [
        "Each as it was last played in full, with the commit that it was played at:",
        "",
        "| promise | tried | faults | lost | doubled | worst recovery | mutants caught | commit |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        *(_row(each) for each in found["promises"]),
    ]
    notes = [note for each in found["promises"] for note in _notes(each)]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _row(row: Mapping[str, Any]) -> str:
    worst = "–" if row["worst_recovery_s"] is None else f"{row['worst_recovery_s']} s"
    mutants = row["mutants"]
    caught = f"{mutants['caught']} of {mutants['caught'] + mutants['missed']}"
    counts = " | ".join(f"{row[name]:,}" for name in ("tried", "injected", "lost", "doubled"))
    return f"| {row['promise']} {PROMISES[row['promise']]} | {counts} | {worst} | {caught} | `{row['commit'][:7]}` |"


def _notes(row: Mapping[str, Any]) -> list[str]:
    said = [f"**not kept**, {each}" for each in row.get("problems", ())]
    said += [f"reduced from {each}" for each in row.get("reduced_from", ())]
    said += [f"left out, {each}" for each in row.get("skipped", ())]
    return [f"- Promise {row['promise']}: {each}." for each in said]


def between_marks(page: str) -> str:
    """What the page has there now."""
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip()


def write(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Bring the page to what the file says."""
    text = page.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(f"{before}{BEGIN}\n\n{measured(results)}\n\n{after}")


if __name__ == "__main__":
    write()
