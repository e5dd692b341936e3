"""Signoff, bare Celery chains and the peers, on this machine, in one run: a table, targets, a plot, docs/bench.json.

Without arguments it takes half an hour, and writes docs/bench.json, docs/bench.svg, docs/growth.svg and the tables of
docs/performance.md. With any, it writes to .bench/ alone, unless it is told to --write.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from tests.bench import bare, cold, growth, overload, product, report, rivals, scaling
from tests.bench.figures import WITHOUT, Absent, Found, Subject, say
from tests.bench.installing import FOLDER
from tests.bench.product import Product
from tests.bench.rivals import MAIN_WORKERS, Effort
from tests.bench.stack import ROOT, stack
from tests.bench.without import OPTIMISATIONS

EVERYTHING = ("signoff", "celery", "without", *(rival.name for rival in rivals.RIVALS), "growth")
POOLS = ("prefork", "threads")
FULL = Effort(seconds=3.0, repeats=3, samples=200, parked=2_000)
QUICK = Effort(seconds=1.0, repeats=1, samples=40, parked=300)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _interrupted)
    options = _options(arguments)
    effort = QUICK if options.quick else FULL
    found, failed = Found(), []
    began = time.monotonic()
    for name, section in _sections(options, effort, found):
        say(f"{time.monotonic() - began:5.0f} s  {name}")
        try:
            section()
        except (SystemExit, AssertionError, OSError) as error:
            say(f"  {name} failed: {error}")
            found.absent.append(Absent(who=name, why=str(error)))
            failed.append(name)
    for_docs = options.write or not arguments
    folder = ROOT / "docs" if for_docs else FOLDER
    folder.mkdir(exist_ok=True)
    report.write(found, folder, quick=options.quick, page=for_docs)
    say(f"{time.monotonic() - began:5.0f} s  written to {folder.relative_to(ROOT)}/")
    return 1 if failed else 0


def _interrupted(number: int, frame: object) -> None:
    """SIGTERM ends the tool as ^C does: with all that it has started."""
    raise KeyboardInterrupt


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--only", type=_names, default=EVERYTHING, help=f"some of {','.join(EVERYTHING)}")
    parser.add_argument("--quick", action="store_true", help="one repeat of a second each, and growth to 10,000")
    parser.add_argument("--workers", type=_numbers, default=[1, 2, 4], help="worker processes: 1,2,4")
    parser.add_argument("--pools", type=_names, default=POOLS, help="some of prefork,threads")
    parser.add_argument("--growth", type=_numbers, help="parked runs: 1000,10000,100000,1000000")
    parser.add_argument("--write", action="store_true", help="write into docs/ all the same")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(EVERYTHING) | set(options.pools) - set(POOLS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _numbers(text: str) -> list[int]:
    return [int(part.replace("_", "")) for part in text.split(",")]


def _sections(options: argparse.Namespace, effort: Effort, found: Found) -> Iterator[tuple[str, Callable[[], None]]]:
    if "signoff" in options.only:
        yield "signoff dev, from nothing", lambda: found.rows.extend(cold.measure(effort.repeats).rows())
    if {"signoff", "celery"} & set(options.only):
        for pool in options.pools:
            for workers in options.workers:
                yield (
                    f"Signoff beside bare chains, {pool}, {workers} processes",
                    lambda pool=pool, workers=workers: _beside(options.only, pool, workers, effort, found),
                )
    if "signoff" in options.only and len(os.sched_getaffinity(0)) > 1:
        yield (
            "Signoff with a core for each worker",
            lambda: found.rows.extend(scaling.measure(options.pools, repeats=effort.repeats, seconds=effort.seconds)),
        )
    if "without" in options.only:
        yield "Signoff without its optimisations, one by one", lambda: _without(effort, found)
    for rival in rivals.RIVALS:
        if rival.name in options.only:
            yield rival.name, lambda rival=rival: rivals.measure(rival, options.workers, effort, found)
        else:
            found.absent.append(Absent(who=rival.name, why="it was not asked for"))
    if "growth" in options.only:
        counts = options.growth or ([1_000, 10_000] if options.quick else [1_000, 10_000, 100_000, 1_000_000])
        yield "growth", lambda: found.growth.extend(growth.measure(counts, samples=effort.samples))


def _beside(only: tuple[str, ...], pool: str, workers: int, effort: Effort, found: Found) -> None:
    """Bare chains and Signoff take turns on one broker, so that whatever else the machine does hits them alike."""
    whole = workers == MAIN_WORKERS
    with stack(pool=pool, workers=workers) as running:
        ours = Product(running=running, subject=Subject(who="signoff", setting=pool, workers=workers))
        settings = bare.SETTINGS if "celery" in only else ()
        product.warm_up(ours)
        for setting in settings:
            with bare.chain(running, setting, pool=pool, workers=workers) as made:
                for _ in range(effort.repeats):
                    bare.throughput(made, effort.seconds)
                    if "signoff" in only:
                        product.steps(ours, effort.seconds)
                if whole:
                    bare.hops(made, effort.samples)
                made.subject.say()
                found.rows += made.subject.rows()
        if "signoff" in only:
            if not settings:
                product.steps(ours, effort.seconds)
            for _ in range(effort.repeats):
                product.refunds(ours, effort.seconds)
                product.parked_behind(ours, effort.seconds)
            if whole:
                product.idle(ours, effort.samples)
                overload.measure(ours, 2 if effort is QUICK else 10)
                product.at_rest(ours, effort.parked)
            ours.subject.say()
            found.rows += ours.subject.rows()


def _without(effort: Effort, found: Found) -> None:
    """Each optimisation taken out alone, in turns with workers that have all of them."""
    with stack(pool="prefork", workers=MAIN_WORKERS) as complete:
        whole = Product(running=complete, subject=Subject(who=WITHOUT, setting="nothing", workers=MAIN_WORKERS))
        product.warm_up(whole)
        for name in OPTIMISATIONS:
            with stack(pool="prefork", workers=MAIN_WORKERS, without=name) as running:
                less = Product(running=running, subject=Subject(who=WITHOUT, setting=name, workers=MAIN_WORKERS))
                product.warm_up(less)
                for _ in range(effort.repeats):
                    for ours in (whole, less):
                        product.steps(ours, effort.seconds)
                        product.parked_behind(ours, effort.seconds)
                    for measure in ("steps", "park backlog"):
                        share = less.subject.last(measure) / whole.subject.last(measure)
                        less.subject.add(f"{measure} share", "×", share)
                less.subject.say()
                found.rows += less.subject.rows()
        found.rows += whole.subject.rows()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
