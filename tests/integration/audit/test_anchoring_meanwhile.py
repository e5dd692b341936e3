"""Anchors that are made while others anchor and write: one chain, and no event slips by."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import psycopg
import pytest
from tests.integration.audit.notary import Notary
from tests.integration.engine.flows import CHAIN
from tests.integration.engine.world import ADMIN, World, together

from signoff.anchors import file as anchor_file
from signoff.anchors import form
from signoff.anchors.file import AnchorFile
from signoff.engine import anchoring
from signoff.errors import Conflict, Unavailable
from signoff.store import heads


@pytest.fixture
def anchored(notary: Notary) -> Notary:
    """Three anchors, each of two runs."""
    for _ in range(3):
        for _ in range(2):
            notary.plain.start(CHAIN, {"n": 1})
        notary.anchor()
    assert notary.verified().ok
    return notary


WRITER = """
import sys
from pathlib import Path
from signoff.engine import build_engine
from signoff.settings import load_settings
engine = build_engine(load_settings())
for _ in range(5):
    print(engine.anchor().number, flush=True)
engine.close()
"""


def test_processes_that_anchor_at_once_make_one_chain(anchored: Notary) -> None:
    settings = anchored.settings
    environment = os.environ | {
        "SIGNOFF_DATABASE_URL": anchored.world.url,
        "SIGNOFF_BROKER_URL": "redis://127.0.0.1:1/0",
        "SIGNOFF_ANCHOR_FILE": str(settings.anchor_file),
        "SIGNOFF_ANCHOR_KEY_FILE": str(settings.anchor_key_file),
    }
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], env=environment) for _ in range(2)]
    started = 0
    while any(writer.poll() is None for writer in writers):
        anchored.plain.start(CHAIN, {"n": 1})
        started += 1
    assert [writer.wait() for writer in writers] == [0, 0]
    together(*[anchored.world.engine.anchor] * 4)
    found = anchored.verified()
    assert found.ok, found.first_bad
    assert (found.unanchored, found.runs) == (0, 6 + started)
    named = sum(line["anchor"]["heads"] for line in anchored.lines())
    print(f"{len(anchored.lines())} anchors of {named} heads for {6 + started} runs")
    assert named == 6 + started, "each was named once"


def test_without_the_lock_they_do_not(anchored: Notary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor_file.fcntl, "flock", lambda *_: None)
    barrier = threading.Barrier(4)
    real = AnchorFile.append

    def at_once(self: AnchorFile, signed: form.Signed) -> None:
        barrier.wait(10)
        real(self, signed)

    monkeypatch.setattr(AnchorFile, "append", at_once)
    anchored.plain.start(CHAIN, {"n": 1})
    together(*[anchored.world.engine.anchor] * 4)
    anchored.problem()


def test_only_new_anchors_are_verified_and_older_ones_as_soon_as_a_byte_of_them_changes(
    anchored: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchored.plain.start(CHAIN, {"n": 1})
    anchored.world.engine.anchor()
    lines: list[bytes] = []
    real = form.read_line

    def counted(line: bytes, keys: Any) -> Any:
        lines.append(line)
        return real(line, keys)

    monkeypatch.setattr(anchor_file, "read_line", counted)
    assert anchored.verified().ok
    assert anchored.verified().ok
    assert len(lines) == 1
    before = anchored.file.read_bytes()
    at = before.index(b"signature") + 20
    anchored.file.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
    assert "anchor 1" in anchored.problem()


# Those who still write ----------------------------------------------------------------------------------------------


def test_a_run_that_is_still_being_written_is_waited_for(anchored: Notary) -> None:
    world = anchored.world
    run_id = anchored.plain.start(CHAIN, {"n": 1})
    done: list[anchoring.Anchored] = []
    with psycopg.connect(world.url) as writer:
        writer.execute("SELECT clock_timestamp() FROM runs WHERE id = %s FOR NO KEY UPDATE", (run_id,))
        waiting = threading.Thread(target=lambda: done.append(world.engine.anchor()))
        waiting.start()
        # Whoever only reads, or begins now, is none of those who are waited for.
        waiting.join(0.2)
        assert waiting.is_alive()
        assert done == []
    waiting.join(10)
    assert done[0].heads == 1


def test_a_writer_who_never_ends_is_told_of(anchored: Notary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchoring, "PATIENCE_SECONDS", 0.1)
    with psycopg.connect(anchored.world.url) as writer:
        writer.execute("SELECT 1 FROM runs FOR NO KEY UPDATE")
        with pytest.raises(Unavailable, match="writing to a run"):
            anchored.world.engine.anchor()
    assert len(anchored.lines()) == 3


def test_an_event_of_a_moment_that_its_worker_carried_on_is_none_put_in_later(anchored: Notary, world: World) -> None:
    claimed = world.claim(world.start(CHAIN, {"n": 1}))
    world.later(anchoring.MIN_SLACK_SECONDS - 60)
    world.start(CHAIN, {"n": 2})
    assert anchored.world.engine.anchor().made
    # The worker's own clock has not moved: the event is ten minutes old when it is written.
    world.engine.complete(claimed, {}, worker="w1", go_on=False)
    found = anchored.verified()
    assert (found.ok, found.unanchored) == (True, 1), found.first_bad
    assert anchored.world.engine.anchor().heads == 1
    assert anchored.verified().unanchored == 0


def test_a_lease_that_lasts_long_makes_for_more_patience(anchored: Notary) -> None:
    anchored.plain.start(CHAIN, {"n": 1})
    database, settings = anchored.with_settings(lease_seconds=3_600)
    anchoring.anchor(database, settings)
    assert [line["anchor"]["slack"] for line in anchored.lines()][-2:] == [anchoring.MIN_SLACK_SECONDS, 7_200]


def test_a_clock_that_went_back_is_told_of(anchored: Notary) -> None:
    anchored.plain.start(CHAIN, {"n": 1})
    anchored.world.later(-30)
    assert anchored.world.engine.anchor().made, "a server that took over may be a little behind"
    assert anchored.verified().ok
    anchored.world.later(-anchoring.MIN_SLACK_SECONDS)
    with pytest.raises(Conflict, match="clock is behind"):
        anchored.world.engine.anchor()


def test_only_what_changed_is_named_again(anchored: Notary, world: World) -> None:
    first = world.start(CHAIN, {"n": 1})
    anchored.world.engine.anchor()
    world.work(first, {})
    other = world.start(CHAIN, {"n": 1})
    made = [anchored.world.engine.anchor(), anchored.world.engine.anchor()]
    assert [(each.heads, each.made) for each in made] == [(2, True), (2, False)]
    world.work(other, {})
    assert anchored.world.engine.anchor().heads == 1, "what the overlap finds again is known"
    assert anchored.verified().unanchored == 0


@pytest.mark.parametrize("waits", [True, False])
def test_waiting_is_what_lets_no_event_slip_by(anchored: Notary, monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    """Without it, what is committed after an anchor with a moment before it is taken for an event put in later."""
    monkeypatch.setattr(anchoring, "_slack", lambda _: 0)
    if not waits:
        monkeypatch.setattr(heads, "_WRITERS", "SELECT NULL")
    plain = anchored.plain
    run_id = plain.start(CHAIN, {"n": 1})
    plain.start(CHAIN, {"n": 2})
    reached, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        reached.set()
        go_on.wait(10)

    writer = threading.Thread(target=lambda: plain.engine.cancel(run_id, reason="no", by=ADMIN, look=hold))
    writer.start()
    assert reached.wait(10)
    anchoring_meanwhile = threading.Thread(target=anchored.world.engine.anchor)
    anchoring_meanwhile.start()
    anchoring_meanwhile.join(0.3 if waits else 10)
    assert anchoring_meanwhile.is_alive() is waits
    go_on.set()
    writer.join(10)
    anchoring_meanwhile.join(10)
    assert anchored.verified().ok is waits
