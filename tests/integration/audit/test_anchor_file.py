"""The file of anchors: what is done to it shows, what a crash leaves does no harm, and any number may write at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from tests.integration.audit.notary import Notary
from tests.integration.engine.flows import CHAIN
from tests.mutants import mutate

from signoff.anchors import form
from signoff.anchors.keys import make_pair
from signoff.engine import anchoring, witness
from signoff.errors import ConfigurationError, Conflict


@pytest.fixture
def anchored(notary: Notary) -> Notary:
    """Three anchors, each of two runs."""
    for _ in range(3):
        for _ in range(2):
            notary.plain.start(CHAIN, {"n": 1})
        notary.anchor()
    assert notary.verified().ok
    return notary


Lines = list[dict[str, Any]]


def _flip(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def _each(change: Callable[[Lines, int], Lines]) -> Callable[[Lines], list[Lines]]:
    return lambda lines: [change(orjson.loads(orjson.dumps(lines)), at) for at in range(len(lines))]


def _set(*path: str, value: Callable[[Any], Any]) -> Callable[[Lines], list[Lines]]:
    def change(lines: Lines, at: int) -> Lines:
        inner: Any = lines[at]
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value(inner[path[-1]])
        return lines

    return _each(change)


EDITS: dict[str, Callable[[Lines], list[Lines]]] = {
    "the moment": _set("anchor", "at", value=lambda at: at.replace("Z", "+00:00")),
    "the moment, another": _set("anchor", "at", value=lambda at: "2020-01-01T00:00:00.000000Z"),
    "the slack": _set("anchor", "slack", value=lambda slack: slack + 1_000_000),
    "the number": _set("anchor", "number", value=lambda number: number + 1),
    "the hash before": _set("anchor", "previous", value=_flip),
    "the root": _set("anchor", "root", value=_flip),
    "the count": _set("anchor", "heads", value=lambda heads: heads - 1),
    "the kind": _set("anchor", "kind", value=lambda kind: "other"),
    "the signature": _set("signature", value=_flip),
    "the key": _set("key", value=_flip),
    "the heads": _set("leaves", value=lambda leaves: "AAAA" + leaves[4:]),
    "no heads": _set("leaves", value=lambda leaves: ""),
    "a member more": _each(lambda lines, at: [*lines[:at], lines[at] | {"note": 1}, *lines[at + 1 :]]),
    "no anchor": _each(lambda lines, at: [*lines[:at], {}, *lines[at + 1 :]]),
    "swapped": lambda lines: [[lines[1], lines[0], lines[2]], [lines[0], lines[2], lines[1]]],
    "doubled": _each(lambda lines, at: [*lines[: at + 1], *lines[at:]]),
    "the first ones gone": lambda lines: [lines[1:], lines[2:]],
    "one between gone": lambda lines: [[lines[0], lines[2]]],
    "all gone": lambda lines: [[]],
}


def test_a_file_that_was_edited_shows_however_it_was(anchored: Notary) -> None:
    before = anchored.file.read_bytes()
    for name, edit in EDITS.items():
        files = edit(anchored.lines())
        for lines in files:
            anchored.file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            assert anchored.problem(), name
            anchored.file.write_bytes(before)
        print(f"the file of anchors, {name:<22} tried {len(files):>2}   found {len(files):>2}")
    assert anchored.verified().ok


def test_each_byte_of_the_last_anchor_counts(anchored: Notary) -> None:
    before = anchored.file.read_bytes()
    start = before.rindex(b"\n", 0, -1) + 1
    for at in range(start, len(before), 29):
        anchored.file.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        anchored.problem()
        with pytest.raises(Conflict):
            anchored.world.engine.anchor()


def test_a_file_that_is_gone_shows_and_is_not_begun_again_by_a_timer(anchored: Notary) -> None:
    anchored.file.unlink()
    assert "is gone" in anchored.problem()
    with pytest.raises(ConfigurationError, match="there is no file"):
        anchored.world.engine.anchor()
    assert not anchored.file.exists()
    anchored.file.touch()
    assert "has none" in anchored.problem()
    with pytest.raises(Conflict, match="has none"):
        anchored.world.engine.anchor()


def test_last_anchors_that_were_cut_off_show_to_whoever_noted_one(anchored: Notary) -> None:
    newest = anchored.world.engine.anchor()
    assert (newest.number, newest.made) == (3, False)
    assert anchored.world.engine.verify(noted=newest.hash).ok
    *kept, _ = anchored.file.read_bytes().splitlines(keepends=True)
    anchored.file.write_bytes(b"".join(kept))
    found = anchored.verified()
    assert (found.ok, found.unanchored) == (True, 2), "what is left is sound, and vouches for less"
    again = anchored.world.engine.verify(noted=newest.hash)
    assert again.first_bad is not None
    assert "no anchor of the hash that was noted" in again.first_bad.problem


def test_anchors_by_another_signer_are_not_believed(anchored: Notary, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    make_pair(other)
    stranger = anchored.with_settings(anchor_key_file=other, anchor_public_key_file=None)
    with pytest.raises(Conflict, match="a key that is not known"):
        anchoring.anchor(stranger[0], stranger[1])
    anchored.file.unlink()
    anchored.world.later(60)
    anchoring.anchor(stranger[0], stranger[1], begin=True)
    assert "a key that is not known" in anchored.problem()


def test_a_key_is_changed_by_keeping_the_old_public_one(anchored: Notary, tmp_path: Path) -> None:
    other, both = tmp_path / "other.key", tmp_path / "both.pub"
    public = make_pair(other)
    both.write_bytes(anchored.key.with_name("anchor.key.pub").read_bytes() + public.read_bytes())
    anchored.plain.start(CHAIN, {"n": 1})
    made = anchored.with_settings(anchor_key_file=other, anchor_public_key_file=both)
    assert anchoring.anchor(made[0], made[1]).number == 4
    assert anchoring.anchors_of(made[1]) is not None
    assert "a key that is not known" in anchored.problem(), "the old key alone verifies the old anchors alone"


def test_no_one_but_its_owner_may_use_the_key(anchored: Notary) -> None:
    anchored.key.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others than its owner"):
        anchored.world.engine.anchor()
    assert anchored.verified().ok, "to verify takes the public one"


def test_keys_are_made_for_their_owner_and_never_over_others(tmp_path: Path) -> None:
    public = make_pair(tmp_path / "key")
    assert ((tmp_path / "key").stat().st_mode & 0o777, public.name) == (0o600, "key.pub")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigurationError):
        make_pair(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    (tmp_path / "new.pub").touch()
    with pytest.raises(ConfigurationError):
        make_pair(tmp_path / "new")
    assert not (tmp_path / "new").exists(), "half a pair is none"


# Crashes, and many at once -----------------------------------------------------------------------------------------


def test_what_a_crash_leaves_of_a_line_is_passed_over_at_every_byte(anchored: Notary) -> None:
    whole = anchored.file.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    cuts = [start + 1, start + 2, *range(start + 40, len(whole) - 1, 131), len(whole) - 1]
    for cut in cuts:
        anchored.file.write_bytes(whole[:cut])
        log = anchoring.anchors_of(anchored.settings)
        assert log is not None
        assert (len(log.anchors), log.unfinished) == (2, True)
        made = anchored.world.engine.anchor()
        assert (made.number, made.made, made.heads) == (3, True, 2)
        found = anchored.verified()
        assert (found.ok, found.unanchored) == (True, 0), cut


def test_a_crash_at_the_very_first_anchor_can_be_begun_again(notary: Notary) -> None:
    for left in (b"", b'{"anchor"'):
        notary.file.write_bytes(left)
        notary.plain.start(CHAIN, {"n": 1})
        assert notary.world.engine.anchor(begin=True).number == 1
        assert notary.verified().ok
        with pytest.raises(ConfigurationError, match="has been begun"):
            notary.world.engine.anchor(begin=True)


def test_an_anchor_that_is_told_of_is_on_the_disk(anchored: Notary, monkeypatch: pytest.MonkeyPatch) -> None:
    anchored.plain.start(CHAIN, {"n": 1})
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert anchored.world.engine.anchor().made
    assert synced == [anchored.file.stat().st_size]


# What the anchors say of a log, guard by guard ----------------------------------------------------------------------


GUARDS = {"the key": "if key not in keys:", "a member more": "if not exact:"}


def test_without_its_guard_an_edit_goes_unseen(anchored: Notary, monkeypatch: pytest.MonkeyPatch) -> None:
    before = anchored.file.read_bytes()
    for edit, guard in GUARDS.items():
        for lines in EDITS[edit](anchored.lines()):
            anchored.file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
            with monkeypatch.context() as patched:
                mutate(patched, form.read_line, guard, "if False:")
                if edit == "the key":
                    patched.setattr(form.Ed25519PublicKey, "from_public_bytes", _any_key)
                assert anchored.verified().ok, edit
            anchored.file.write_bytes(before)


def _any_key(_: bytes) -> Any:
    class Anybody:
        def verify(self, *_: bytes) -> None: ...

    return Anybody()


def test_the_witness_has_no_idle_guard(anchored: Notary, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anchored.world
    run_id = anchored.plain.start(CHAIN, {"n": 1})
    anchored.anchor()
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM events WHERE run_id = %s", (run_id,))
        connection.execute("DELETE FROM runs WHERE id = %s", (run_id,))
    assert not world.engine.verify(run_id).ok
    assert not anchored.verified().ok
    mutate(monkeypatch, witness.Witness.missing, "if run_id not in seen:", "if False:")
    assert anchored.verified().ok
