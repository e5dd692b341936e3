"""What a second worker with a second core adds: one worker on a machine of one core, two on a machine of two.

Everything has those cores and no more: workers, database, broker. Where one worker runs beside two cores, its database
takes the second, and what a second worker adds there says little of the workers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from tests.bench import product
from tests.bench.figures import Row, Subject
from tests.bench.product import Product
from tests.bench.stack import stack

SCALED = "signoff, a core each"
COUNTS = (1, 2)


def measure(pools: Sequence[str], *, repeats: int, seconds: float) -> list[Row]:
    """Steps a second with a worker process on each of so many cores; the numbers of cores take turns."""
    return [row for pool in pools for row in _measured(pool, repeats, seconds)]


def _measured(pool: str, repeats: int, seconds: float) -> list[Row]:
    with contextlib.ExitStack() as undo:
        made = []
        for count in COUNTS:
            with cores(count):
                running = undo.enter_context(stack(pool=pool, workers=count))
            made.append(Product(running=running, subject=Subject(who=SCALED, setting=pool, workers=count)))
        for each in made:
            product.warm_up(each)
        for _ in range(repeats):
            for each in made:
                product.steps(each, seconds)
        for each in made:
            each.subject.say()
        return [row for each in made for row in each.subject.rows()]


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """What is started meanwhile runs on so many of this process's cores, and so does all that it starts."""
    whole = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(whole)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, whole)
