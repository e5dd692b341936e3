"""Messages that are passed over, and for how long."""

from __future__ import annotations

import os
from uuid import uuid4

from signoff.broker import EXECUTE, _message
from signoff_workers.taken import Taken, said_of


def test_what_a_child_has_taken_its_parent_passes_over() -> None:
    taken, run = Taken(believed_seconds=60), uuid4()
    child = os.fork()
    if child == 0:
        taken.add(said_of(run, 3))
        os._exit(0)
    os.waitpid(child, 0)
    assert taken.has(said_of(run, 3))
    assert not taken.has(said_of(run, 4))
    assert not taken.has(said_of(uuid4(), 3))
    taken.close()


def test_it_is_believed_for_a_while_only() -> None:
    taken, run = Taken(believed_seconds=0), uuid4()
    taken.add(said_of(run, 0))
    assert not taken.has(said_of(run, 0)), "a claim may be lost in a crash of the database"
    taken.close()


def test_a_message_says_what_is_looked_up() -> None:
    run = uuid4()
    _, headers, _ = _message(EXECUTE, [str(run), 7])
    assert headers["argsrepr"] == said_of(run, 7)
    assert not Taken(believed_seconds=60).has("")
