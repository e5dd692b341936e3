"""What is asked of Signoff, and what has to come of it: computed from the seed, never read back from its tables."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Wish(StrEnum):
    """What becomes of a run by what people do, or don't."""

    APPROVE = "approve"
    EDIT = "edit"
    """Approved with another amount."""
    REJECT = "reject"
    TIMEOUT = "timeout"
    """Nobody decides, and the clock rejects."""
    CANCEL = "cancel"


USUAL: Mapping[Wish, int] = {Wish.APPROVE: 5, Wish.EDIT: 2, Wish.REJECT: 1, Wish.TIMEOUT: 1, Wish.CANCEL: 1}
APPROVED: Mapping[Wish, int] = {Wish.APPROVE: 3, Wish.EDIT: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One run that is asked for."""

    number: int
    wish: Wish
    amount: int
    edited: int
    """The amount that a reviewer who edits gives it."""

    @property
    def workflow(self) -> str:
        return "fleeting" if self.wish is Wish.TIMEOUT else "payment"

    @property
    def input(self) -> dict[str, int]:
        return {"item": self.number, "amount": self.amount}

    @property
    def paid(self) -> int | None:
        """What the receiver is to see of it, exactly once; None is nothing, ever."""
        match self.wish:
            case Wish.APPROVE:
                return self.amount
            case Wish.EDIT:
                return self.edited
            case Wish.REJECT | Wish.TIMEOUT | Wish.CANCEL:
                return None

    @property
    def end(self) -> tuple[str, str]:
        """Status and outcome of the run."""
        match self.wish:
            case Wish.APPROVE | Wish.EDIT:
                return "completed", "approved"
            case Wish.REJECT | Wish.TIMEOUT:
                return "completed", "rejected"
            case Wish.CANCEL:
                return "canceled", "canceled"


def items(seed: int, count: int, *, first: int = 1, shares: Mapping[Wish, int] = USUAL) -> list[Item]:
    """So many items, the same for the same seed. `first` is the number of the first: it is part of the draw."""
    made = []
    wishes, weights = list(shares), list(shares.values())
    for number in range(first, first + count):
        draw = random.Random(f"{seed}:{number}")
        amount = draw.randrange(1, 100_000)
        (wish,) = draw.choices(wishes, weights)
        made.append(Item(number=number, wish=wish, amount=amount, edited=amount + draw.randrange(1, 100)))
    return made
