"""Our worker without one of its optimisations, to see what each gives; `BENCH_WITHOUT` names it.

Each takes something out of the product by name, and fails when it is not there any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


def _inline() -> None:
    os.environ["SIGNOFF_INLINE_BUDGET_SECONDS"] = "0"


def _bare_messages() -> None:
    from signoff import broker

    told = broker.transport_options

    def emulating(url: str) -> dict[str, Any]:
        options = told(url)
        del options["ack_emulation"]
        return options

    broker.transport_options = emulating


def _lazy_claims() -> None:
    from signoff.store import leases

    assert "'off'" in leases._CLAIM
    leases._CLAIM = leases._CLAIM.replace("'off'", "'on'")


def _optimistic_writes() -> None:
    from signoff.engine import execution

    assert callable(execution._complete_untouched)
    execution._complete_untouched = lambda *_, **__: None  # type: ignore[assignment]


def _company() -> None:
    os.environ["SIGNOFF_DRAIN_RUNS"] = "1"


OPTIMISATIONS: dict[str, tuple[str, Callable[[], None]]] = {
    "inline": ("the next step at once, claimed by the write that ends the one before", _inline),
    "bare messages": ("messages without Redis' emulation of acknowledgement", _bare_messages),
    "lazy claims": ("claims that don't wait for the disk", _lazy_claims),
    "optimistic writes": (
        "a step's end in one conditional statement instead of a lock and several",
        _optimistic_writes,
    ),
    "company": ("runs that wait taken together, and their short steps recorded in one transaction", _company),
}
"""Name, what it is, and how a worker is made to do without."""


def main(arguments: list[str]) -> int:
    OPTIMISATIONS[os.environ["BENCH_WITHOUT"]][1]()
    from signoff_workers.__main__ import main as worker

    return worker(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
