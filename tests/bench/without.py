"""Our worker without one of its optimisations, to see what each gives; `BENCH_WITHOUT` names it.

By settings where there is one; else by name, which fails when what it names is not there any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any


def _company() -> None:
    os.environ["SIGNOFF_DRAIN_RUNS"] = "1"


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


OPTIMISATIONS: dict[str, tuple[str, Callable[[], None]]] = {
    "company": ("runs that pile up taken together, and their short steps recorded together", _company),
    "inline": ("the next step at once, claimed by the write that ends the one before", _inline),
    "bare messages": ("messages without Redis' emulation of acknowledgement", _bare_messages),
}
"""Name, what it is, and how a worker is made to do without."""


def main(arguments: list[str]) -> int:
    OPTIMISATIONS[os.environ["BENCH_WITHOUT"]][1]()
    from signoff_workers.__main__ import main as worker

    return worker(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
