"""Every event of an archive is tampered with in every way, before an anchor names it and after.

A log that agrees with itself is all that the database can show: who writes it anew with its head, or takes a run away
with all its rows, is found by the anchors alone, and found every time.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from tests.integration.audit import forging
from tests.integration.audit.forging import Forger, Log
from tests.integration.audit.notary import Notary
from tests.integration.engine.world import shift_clock
from tests.integration.store.tampering import Archive
from tests.mutants import mutate

from signoff.anchors import file as anchor_file
from signoff.anchors import form, tree
from signoff.engine import Engine, witness
from signoff.errors import NotFound

pytestmark = pytest.mark.long

FORGERIES = (forging.changed, forging.deleted, forging.inserted, forging.swapped, forging.truncated)


@pytest.fixture(scope="module")
def notary(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notary]:
    shift_clock(module_database_url)
    folder: Path = tmp_path_factory.mktemp("anchors")
    with Notary.at(module_database_url, folder) as made:
        yield made


@pytest.fixture(scope="module")
def forger(notary: Notary) -> Iterator[Forger]:
    with Archive.of(notary.plain) as archive:
        notary.anchor()
        yield Forger(archive=archive)


@pytest.fixture(scope="module")
def logs(forger: Forger) -> dict[UUID, Log]:
    return {row[0]: forger.log(row[0]) for row in forger.archive.rows("SELECT id FROM runs")}


def test_what_was_left_alone_is_vouched_for(notary: Notary, logs: dict[UUID, Log]) -> None:
    found = notary.verified()
    assert found.ok, found.first_bad
    assert (found.runs, found.events) == (len(logs), sum(len(log) for log in logs.values()))
    (anchor,) = notary.lines()
    assert found.anchored_at is not None
    assert found.anchored_at.isoformat(timespec="microseconds").replace("+00:00", "Z") == anchor["anchor"]["at"]
    assert found.unanchored == 0
    plain = notary.plain.engine.verify()
    assert (plain.ok, plain.anchored_at, plain.unanchored) == (True, None, None)


def _found(engine: Engine, run_id: UUID) -> bool:
    try:
        return not engine.verify(run_id).ok
    except NotFound:
        # That is no finding: nobody knows that there should be one.
        return False


def _told(name: str, tried: int, before: int, after: int) -> None:
    print(f"{name:<34} tried {tried:>4}   found without anchors {before:>4}   with {after:>4}")


def _each(logs: dict[UUID, Log], forger: Forger, notary: Notary, make: Callable[[UUID, Log, int], Log], *, head: bool
          ) -> Counter[str]:  # fmt: skip
    counts: Counter[str] = Counter()
    for run_id, log in logs.items():
        for at in range(len(log)):
            made = make(run_id, log, at)
            if made == log:
                continue
            with forger.written(run_id, made, head=head):
                counts["tried"] += 1
                counts["before"] += _found(notary.plain.engine, run_id)
                counts["after"] += _found(notary.world.engine, run_id)
    return counts


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_row_that_is_tampered_with_is_found_by_the_log_alone(
    notary: Notary, forger: Forger, logs: dict[UUID, Log], forgery: forging.Forgery
) -> None:
    counts = _each(logs, forger, notary, lambda _, log, at: forging.numbered(forgery(log, at)), head=False)
    _told(forgery.__name__, counts["tried"], counts["before"], counts["after"])
    assert counts["tried"] >= 40
    assert counts["before"] == counts["after"] == counts["tried"]


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_log_that_is_hashed_anew_with_its_head_is_found_by_the_anchors(
    notary: Notary, forger: Forger, logs: dict[UUID, Log], forgery: forging.Forgery
) -> None:
    counts = _each(logs, forger, notary, lambda run_id, log, at: forging.rehashed(forgery(log, at), run_id), head=True)
    _told(f"{forgery.__name__}, hashed anew with head", counts["tried"], counts["before"], counts["after"])
    assert counts["after"] == counts["tried"] >= 40
    if forgery is not forging.truncated:
        assert counts["before"] < counts["tried"], "the log alone shows all of them: the anchors are tried by nothing"


def test_heads_in_the_file_that_are_written_anew_too_are_not_what_was_signed(
    notary: Notary, forger: Forger, logs: dict[UUID, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = notary.file.read_bytes()
    run_id, log = next(
        (run_id, log) for run_id, log in logs.items() if _unseen(notary, forger, run_id, _changed_anew(run_id, log))
    )
    made = _changed_anew(run_id, log)
    one, other = (tree.leaf(run_id, item[-1].event.seq, item[-1].hash) for item in (log, made))
    (line,) = notary.lines()
    leaves = base64.b64decode(line["leaves"]).replace(one, other)
    try:
        with forger.written(run_id, made, head=True):
            assert not notary.world.engine.verify(run_id).ok
            notary.file.write_bytes(orjson.dumps(line | {"leaves": base64.b64encode(leaves).decode()}) + b"\n")
            assert not notary.world.engine.verify(run_id).ok
            mutate(monkeypatch, form.read_line, "or tree.root(leaves) != anchor.root", "")
            monkeypatch.setattr(anchor_file, "_read_before", {})
            assert notary.world.engine.verify(run_id).ok, "the root is what pins them"
    finally:
        notary.file.write_bytes(before)


def _changed_anew(run_id: UUID, log: Log) -> Log:
    return forging.rehashed(forging.changed(log, len(log) // 2), run_id)


def _unseen(notary: Notary, forger: Forger, run_id: UUID, made: Log) -> bool:
    with forger.written(run_id, made, head=True):
        return not _found(notary.plain.engine, run_id)


def test_the_hash_of_each_claim_is_what_finds_them(
    notary: Notary, forger: Forger, logs: dict[UUID, Log], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, witness.Witness.objection, "if stored[claim.seq - 1].hash != claim.hash:", "if False:")
    counts = _each(logs, forger, notary, lambda run_id, log, at: forging.rehashed(forging.changed(log, at), run_id),
                   head=True)  # fmt: skip
    assert counts["after"] == counts["before"] < counts["tried"]


def test_what_was_put_in_is_found_by_its_moment(
    notary: Notary, forger: Forger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((run_id,), *_) = forger.archive.rows("SELECT id FROM runs WHERE NOT has_human_tasks ORDER BY id")
    mutate(monkeypatch, witness.Witness._late, "if number == 0 or", "if True or")
    with forger.copied(run_id):
        assert notary.verified().ok


def test_a_run_that_is_deleted_with_all_its_rows_is_missed_by_the_anchors_alone(
    notary: Notary, forger: Forger, logs: dict[UUID, Log]
) -> None:
    counts: Counter[str] = Counter()
    for run_id in logs:
        with forger.gone(run_id):
            counts["before"] += not notary.plain.engine.verify().ok
            found = notary.verified()
            assert found.first_bad is not None
            assert (found.ok, found.first_bad.run_id) == (False, run_id)
            assert "the run is gone" in found.first_bad.problem
            assert _found(notary.world.engine, run_id)
            counts["after"] += 1
    _told("deleted, a run with all its rows", len(logs), counts["before"], counts["after"])
    assert (counts["before"], counts["after"]) == (0, len(logs))


def test_all_runs_deleted_at_once_are_missed(notary: Notary, forger: Forger) -> None:
    tables = ("decisions", "human_tasks", "events", "runs")
    with forger.archive.tampered(*(f"DELETE FROM {table}" for table in tables)):
        assert notary.plain.engine.verify().ok
        assert not notary.verified().ok


def test_a_run_that_is_put_in_with_an_earlier_moment_is_found(
    notary: Notary, forger: Forger, logs: dict[UUID, Log]
) -> None:
    without_people = forger.archive.rows("SELECT id FROM runs WHERE NOT has_human_tasks ORDER BY id")
    counts: Counter[str] = Counter()
    for (run_id,) in without_people:
        with forger.copied(run_id) as made:
            counts["before"] += _found(notary.plain.engine, made)
            found = notary.verified()
            counts["after"] += not found.ok and found.first_bad is not None and found.first_bad.run_id == made
    _told("inserted, a run with all its rows", len(without_people), counts["before"], counts["after"])
    assert len(without_people) >= 3
    assert (counts["before"], counts["after"]) == (0, len(without_people))
