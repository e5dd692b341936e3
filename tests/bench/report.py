"""What a run of the tool leaves: the table, docs/bench.json, the plots, and the tables of the page."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import plot
from tests.bench.figures import WITHOUT, Found, Row, say
from tests.bench.stack import ROOT
from tests.bench.targets import Target, targets
from tests.bench.without import OPTIMISATIONS

MEASURES = (
    "steps",
    "park",
    "decide",
    "cpu",
    "hop p50",
    "hop p95",
    "answer p50",
    "answer p95",
    "disk",
    "memory",
    "startup",
)
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GUARD_SETTING, GUARD_WORKERS = "prefork", 2


def write(found: Found, folder: Path, *, quick: bool, page: bool) -> None:
    """Print the tables, and write them with the plots into the folder."""
    judged = targets(found)
    tables = "\n\n".join(
        [_targets_table(judged), _rows_table(found), _without_table(found), _growth_table(found), _others_table(found)]
    )
    say("\n" + tables + "\n")
    told = {
        "commit": _commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine(),
        "targets": {target.name: target.to_json() for target in judged},
        "guard": guard_ratios(found),
        "rows": [_rounded(asdict(row)) for row in found.rows],
        "growth": [_rounded(each) for each in found.growth],
        "absent": [asdict(each) for each in found.absent],
    }
    (folder / "bench.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    (folder / "bench.svg").write_text(plot.bars(found))
    if found.growth:
        (folder / "growth.svg").write_text(plot.curves(found.growth))
    if page:
        _into_page(folder / "performance.md", f"{_origin(told)}\n\n{tables}")


def machine() -> dict[str, Any]:
    """What it was measured on. The load is that of the minute before the end: other work makes it larger."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def guard_ratios(found: Found) -> dict[str, float]:
    """Steps a second as multiples of the bare chains', as `make bench-guard` measures them."""
    ours = found.of("signoff", "steps", setting=GUARD_SETTING, workers=GUARD_WORKERS)
    ratios = {}
    for name in ("default", "tuned"):
        chain = found.of("chain", "steps", setting=f"{name}, {GUARD_SETTING}", workers=GUARD_WORKERS)
        if ours and chain:
            ratios[name] = round(ours.median / chain.median, 3)
    return ratios


def _targets_table(judged: list[Target]) -> str:
    lines = ["| | what | measured | target | beside | met |", "|---|---|---|---|---|---|"]
    for target in judged:
        for number, bound in enumerate(target.bounds):
            met = {True: "yes", False: "**no**", None: "–"}[bound.met]
            sign = "≥" if bound.more else "≤"
            wanted = "–" if bound.target is None else f"{sign} {_short(bound.target)} {bound.unit}"
            value = "–" if bound.value is None else f"{_short(bound.value)} {bound.unit}"
            name = target.name if number == 0 else ""
            lines.append(f"| {name} | {bound.what} | {value} | {wanted} | {bound.versus} | {met} |")
    return "\n".join(lines)


def _rows_table(found: Found) -> str:
    """One line a setting, medians with minimum and maximum."""
    listed = [row for row in found.rows if row.who != WITHOUT]
    rows = {(row.who, row.setting, row.workers, row.measure): row for row in listed}
    units = {row.measure: row.unit for row in listed}
    shown = [measure for measure in MEASURES if measure in units]
    lines = [
        "| | processes | " + " | ".join(f"{measure}, {units[measure]}" for measure in shown) + " |",
        "|---|---|" + "---|" * len(shown),
    ]
    for who, setting, workers in dict.fromkeys((row.who, row.setting, row.workers) for row in listed):
        cells = [_cell(rows.get((who, setting, workers, measure))) for measure in shown]
        lines.append(f"| {who}, {setting} | {workers} | " + " | ".join(cells) + " |")
    lines += [f"| {each.who} | | absent: {each.why} |" + " |" * (len(shown) - 1) for each in found.absent]
    return "\n".join(lines)


def _without_table(found: Found) -> str:
    """What Signoff does without one of its optimisations, as a share of what it does with all, in turns."""
    if not any(row.who == WITHOUT for row in found.rows):
        return "What each optimisation gives was not measured."
    measures = ("steps", "steps share", "park backlog", "park backlog share")
    lines = ["| without | what that is | steps/s | of all | runs/s parked from a backlog | of all |"]
    lines.append("|---|---|---|---|---|---|")
    for name, told in [("nothing", ""), *((key, what) for key, (what, _) in OPTIMISATIONS.items())]:
        cells = [_cell(found.of(WITHOUT, measure, setting=name)) for measure in measures]
        lines.append(f"| {name} | {told} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _others_table(found: Found) -> str:
    rows = [row for row in found.rows if row.measure not in MEASURES and row.who != WITHOUT]
    lines = ["| what else | processes | measure | median | minimum–maximum |", "|---|---|---|---|---|"]
    for row in rows:
        span = f"{_short(row.minimum)}–{_short(row.maximum)}" if row.repeats > 1 else ""
        lines.append(
            f"| {row.who}, {row.setting} | {row.workers} | {row.measure} | {_short(row.median)} {row.unit} | {span} |"
        )
    return "\n".join(lines)


def _growth_table(found: Found) -> str:
    if not found.growth:
        return "Growth was not measured."
    names = list(dict.fromkeys(name for each in found.growth for name in each if name != "parked"))
    heads = " | ".join(f"{int(each['parked']):,}" for each in found.growth)
    lines = [f"| parked runs | {heads} |", "|---|" + "---|" * len(found.growth)]
    for name in names:
        cells = [_short(each[name]) if name in each else "–" for each in found.growth]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    if row.repeats == 1 or row.minimum == row.maximum:
        return _short(row.median)
    return f"{_short(row.median)} ({_short(row.minimum)}–{_short(row.maximum)})"


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _rounded(told: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in told.items()}


def _origin(told: dict[str, Any]) -> str:
    on = told["machine"]
    effort = "a quick run, of one short repeat" if told["quick"] else "a full run"
    busy = " Other work kept the machine busy: only ratios mean anything." if on["load"] > 2 * on["cores"] else ""
    return (
        f"Measured {told['measured_at']} at commit `{told['commit'][:12]}`, {effort}: {on['processor']}, {on['cores']} "
        f"cores, {on['memory_gib']} GiB, Python {on['python']}, load {on['load']} at the end. Medians; minimum and "
        f"maximum of the repeats in brackets.{busy}"
    )


def _into_page(path: Path, text: str) -> None:
    page = path.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
