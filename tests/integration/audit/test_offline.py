"""An evidence pack brings its anchors along, and they are verified by one file that needs nothing of ours."""

from __future__ import annotations

import copy
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.integration.audit.notary import Notary
from tests.integration.engine.flows import CHAIN, REFUND
from tests.integration.engine.world import ADMIN, ANA, World

from signoff.anchors import tree
from signoff.anchors.keys import hexadecimal, make_pair
from signoff.canonical import canonical
from signoff.ids import new_id
from signoff_api.audit import evidence_pack
from signoff_api.inbox import verify_audit
from signoff_api.inbox.verify_audit import ed25519_holds

VERIFIER = Path(verify_audit.__file__)

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = {
    "1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b"
        "be24655141438e7a100b",
    ),
    "2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb430"
        "2aeeb00d291612bb0c00",
    ),
    "3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716e"
        "d28dc027beceea1ec40a",
    ),
    "SHA(abc)": (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643c"
        "e80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138a"
        "c17ad9bef1177331a704",
    ),
}


@pytest.mark.parametrize("vector", VECTORS)
def test_signatures_of_the_rfc_hold_and_no_changed_one_does(vector: str) -> None:
    key, message, signature = (bytes.fromhex(part) for part in VECTORS[vector])
    assert ed25519_holds(key, message, signature)
    assert not ed25519_holds(key, message + b"\0", signature)
    for bit in range(0, 512, 37):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not ed25519_holds(key, message, bytes(changed))
        if bit < 256:
            other = bytearray(key)
            other[bit // 8] ^= 1 << bit % 8
            assert not ed25519_holds(bytes(other), message, signature)


def test_it_agrees_with_the_library_that_signs() -> None:
    for length in (0, 1, 64, 300):
        key, message = Ed25519PrivateKey.generate(), secrets.token_bytes(length)
        public = bytes.fromhex(hexadecimal(key.public_key()))
        signature = key.sign(message)
        assert ed25519_holds(public, message, signature)
        # The same point by a second number: a signature is only one sequence of bytes.
        again = int.from_bytes(signature[32:], "little") + verify_audit.ORDER
        assert not ed25519_holds(public, message, signature[:32] + again.to_bytes(32, "little"))


@pytest.mark.parametrize("key", ["", "00" * 31, "ff" * 32, "01" + "00" * 30 + "80", "02" + "00" * 31])
def test_what_is_no_key_verifies_nothing(key: str) -> None:
    _, message, signature = (bytes.fromhex(part) for part in VECTORS["1"])
    assert not ed25519_holds(bytes.fromhex(key), message, signature)
    assert not ed25519_holds(bytes.fromhex(VECTORS["1"][0]), message, signature[:63])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 13, 100])
def test_the_path_of_each_head_leads_to_the_root_and_to_no_other(count: int) -> None:
    leaves = sorted(tree.leaf(new_id(), number + 1, secrets.token_bytes(32)) for number in range(count))
    packed = b"".join(leaves)
    root = tree.root(packed)
    for index, each in enumerate(leaves):
        run_id, seq, event_hash = tree.unleaf(each)
        assert tree.index_of(packed, run_id) == index
        proof = {"anchor": {"heads": count}, "seq": seq, "hash": event_hash.hex(), "index": index}
        proof["path"] = tree.path(packed, index)
        assert verify_audit._root(str(run_id), proof) == root
        for wrong in (
            {"seq": seq + 1},
            {"hash": "00" * 32},
            {"index": index + 1},
            {"index": -1},
            {"path": [*tree.path(packed, index), "00" * 32]},
        ):
            assert verify_audit._root(str(run_id), proof | wrong) != root
        assert verify_audit._root(str(new_id()), proof) != root
    assert tree.index_of(packed, new_id()) is None


@pytest.fixture
def run_id(notary: Notary, world: World) -> UUID:
    """A decided run that two anchors name, among others, with an event behind them."""
    for _ in range(5):
        world.start(CHAIN, {"n": 1})
    made = world.start(REFUND, {"amount": 10})
    world.work(made, {"amount": 12, "text": "a draft"})
    notary.anchor()
    world.decide(made, ANA, "approve", note="so")
    notary.anchor()
    world.work(made, {"paid": True})
    return made


@pytest.fixture
def pack(notary: Notary, run_id: UUID) -> dict[str, Any]:
    return _pack(notary, run_id)


def _pack(notary: Notary, run_id: UUID) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(b"".join(evidence_pack(notary.world.engine, run_id, ADMIN)))
    return found


def _verify(pack: Any, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), *options, "-"],
        input=json.dumps(pack).encode(),
        capture_output=True,
        env={},
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def test_a_pack_with_its_anchors_holds_offline(notary: Notary, pack: dict[str, Any]) -> None:
    assert [proof["anchor"]["number"] for proof in pack["anchors"]] == [1, 2]
    code, said = _verify(pack)
    assert (code, "anchored up to event" in said, "--key" in said) == (0, True, True), said
    code, said = _verify(pack, "--key", str(notary.key.with_name("anchor.key.pub")))
    assert (code, "signed with the key that was given" in said) == (0, True), said
    newest = pack["anchors"][-1]
    assert f"event {newest['seq']} of {len(pack['events'])}" in said, "what no anchor names is told"


def test_by_another_key_it_does_not_hold(notary: Notary, pack: dict[str, Any], tmp_path: Path) -> None:
    other = make_pair(tmp_path / "other")
    code, said = _verify(pack, "--key", str(other))
    assert (code, "another key than the one that was given" in said) == (1, True), said
    pack["anchors"] = []
    code, said = _verify(pack, "--key", str(other))
    assert (code, "nothing is signed" in said) == (1, True), said
    assert _verify(pack, "--key", str(notary.key))[0] == 2, "that is the private one"


def _log_written_anew(pack: dict[str, Any]) -> None:
    previous = "0" * 64
    for event in pack["events"]:
        if event["type"] == "decision.recorded":
            event["data"]["note"] = "forged"
        event["prev_hash"] = previous
        hashed = {key: event[key] for key in verify_audit.HASHED} | {"run_id": pack["run"]["id"]}
        previous = event["hash"] = verify_audit.sha256(hashed)
    for said in [*pack["decisions"], *(said for task in pack["human_tasks"] for said in task["decisions"])]:
        said["note"] = "forged"
    pack["head"]["hash"] = previous


def _signed_anew(pack: dict[str, Any]) -> None:
    """All of it anew, anchors too, with a key of the forger's own."""
    _log_written_anew(pack)
    key = Ed25519PrivateKey.generate()
    for proof in pack["anchors"]:
        leaf = tree.leaf(UUID(pack["run"]["id"]), proof["seq"], bytes.fromhex(pack["events"][proof["seq"] - 1]["hash"]))
        proof["hash"] = pack["events"][proof["seq"] - 1]["hash"]
        proof["anchor"] |= {"heads": 1, "root": tree.root(leaf)}
        proof |= {"index": 0, "path": [], "key": hexadecimal(key.public_key())}
        proof["signature"] = key.sign(canonical(proof["anchor"])).hex()


def _member(*names: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(pack: dict[str, Any]) -> None:
        inner: Any = pack["anchors"][0]
        for name in names[:-1]:
            inner = inner[name]
        inner[names[-1]] = value

    return change


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "the log, written anew": _log_written_anew,
    "the moment": _member("anchor", "at", value="2020-01-01T00:00:00.000000Z"),
    "the number": _member("anchor", "number", value=7),
    "the count": _member("anchor", "heads", value=1),
    "a member more": _member("anchor", "note", value="void"),
    "a member more of the proof": _member("note", value="void"),
    "the event": _member("seq", value=1),
    "no such event": _member("seq", value=99),
    "no number": _member("seq", value=2**40),
    "the hash": _member("hash", value="00" * 32),
    "the index": _member("index", value=0),
    "the path": _member("path", value=[]),
    "the signature": _member("signature", value="00" * 64),
    "no signature": _member("signature", value="void"),
    "the key": _member("key", value=VECTORS["1"][0]),
    "no anchor": _member("anchor", value=None),
}


def test_an_anchor_of_a_pack_that_was_tampered_with_does_not_hold(notary: Notary, pack: dict[str, Any]) -> None:
    trusted = {hexadecimal(_public(notary))}
    assert verify_audit.check(pack, trusted) == []
    for name, change in CHANGES.items():
        changed = copy.deepcopy(pack)
        change(changed)
        for keys in (None, trusted):
            assert verify_audit.check(changed, keys), name


def test_a_pack_signed_anew_as_a_whole_holds_but_not_under_the_key_one_knows(
    notary: Notary, pack: dict[str, Any]
) -> None:
    _signed_anew(pack)
    assert verify_audit.check(pack) == []
    assert verify_audit.check(pack, {hexadecimal(_public(notary))})


def test_the_log_written_anew_would_hold_without_anchors(pack: dict[str, Any]) -> None:
    _log_written_anew(pack)
    pack["anchors"] = []
    assert verify_audit.check(pack) == []


def test_a_pack_is_made_though_the_anchors_are_broken(notary: Notary, run_id: UUID) -> None:
    notary.file.write_bytes(b"void\n")
    pack = _pack(notary, run_id)
    assert pack["anchors"] == []
    code, said = _verify(pack)
    assert (code, "No anchor vouches for it" in said) == (0, True)


def _public(notary: Notary) -> Any:
    from signoff.anchors.keys import read_private

    return read_private(notary.key).public_key()
