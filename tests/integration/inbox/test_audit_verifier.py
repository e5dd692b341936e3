"""The verifier that the audit hands out: a real pack holds, every change to it is found, offline."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from tests.integration.api.client import BASE
from tests.integration.inbox.run_site import Site, full_story, open_site

from signoff.store.identity import create_api_key
from signoff_api.inbox.verify_audit import Unreadable, check

MISSING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str) -> Iterator[Site]:
    with open_site(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def run_id(site: Site) -> UUID:
    return full_story(site)


@pytest.fixture(scope="module")
def verifier(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as it is downloaded."""
    response = site.as_("auditor").send("GET", "/audit/verify_audit.py")
    assert response.headers["Content-Disposition"] == 'attachment; filename="verify_audit.py"'
    path = tmp_path_factory.mktemp("verifier") / "verify_audit.py"
    path.write_bytes(response.data)
    return path


@pytest.fixture(scope="module")
def pack(site: Site, run_id: UUID) -> dict[str, Any]:
    response = site.as_("auditor").send("GET", f"/audit/{run_id}/export")
    assert response.headers["Content-Disposition"] == f'attachment; filename="signoff-audit-{run_id}.json"'
    found: dict[str, Any] = json.loads(response.data)
    return found


def verify(verifier: Path, pack: Any, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the verifier as an auditor would: nothing of ours on the path, no environment, no network asked for."""
    data = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(verifier), *options, "-"],
        input=data,
        capture_output=True,
        env={},
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_the_export_is_what_the_api_answers_byte_for_byte(site: Site, run_id: UUID) -> None:
    key = create_api_key(site.engine.database, "auditor")
    client = site.app.test_client()
    answered = client.get(f"{BASE}/runs/{run_id}/audit", headers={"Authorization": f"Bearer {key}"})
    assert site.as_("auditor").send("GET", f"/audit/{run_id}/export").data == answered.data


def test_a_pack_as_it_was_exported_holds(verifier: Path, pack: dict[str, Any]) -> None:
    done = verify(verifier, pack)
    assert (done.returncode, done.stdout.splitlines()[0][:6]) == (0, "HOLDS:"), done.stdout
    assert pack["head"]["hash"] in done.stdout


def _waiting(site: Site) -> UUID:
    run_id = site.start("refund", {"order": 1}, by="rita")
    site.work(run_id, {"amount": 640.0})
    return run_id


def _rejected(site: Site) -> UUID:
    run_id = _waiting(site)
    site.decide(run_id, "ana", "reject", note="no")
    site.work(run_id, 1)
    site.work(run_id, [None, True])
    return run_id


def _canceled(site: Site) -> UUID:
    run_id = _waiting(site)
    site.engine.cancel(run_id, reason="r", by=site.people["rita"])
    return run_id


def _failed_by_gate(site: Site) -> UUID:
    run_id = _waiting(site)
    site.decide(run_id, "ana", "escalate")
    return run_id


def _policy(site: Site) -> UUID:
    run_id = site.start("refund", {"order": 1}, by="rita")
    site.work(run_id, {"amount": 1})
    site.fail(run_id)
    return run_id


def _beside(site: Site) -> UUID:
    run_id = site.start("beside", {"n": 1})
    site.work(run_id, {"amount": 1})
    site.work(run_id, {"sent": True})
    site.decide(run_id, "ana", "reject", note="back")
    return run_id


def _child(site: Site) -> UUID:
    parent = _beside(site)
    ((child,),) = site.sql("SELECT id FROM runs WHERE labels @> %s", json.dumps({"compensates": str(parent)}))
    found: UUID = child
    return found


def _revised(site: Site) -> UUID:
    run_id = site.start("blind", {"amount": 5})
    site.decide(run_id, "ana", "approve", patch={"amount": 4})
    return run_id


def _queued(site: Site) -> UUID:
    return site.start("refund", {"order": 1}, by="rita")


def _retrying(site: Site) -> UUID:
    run_id = _queued(site)
    site.fail(run_id, retryable=True)
    return run_id


STORIES = (
    _queued, _retrying, _waiting, _rejected, _canceled, _failed_by_gate, _policy, _beside, _child, _revised,
)  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_a_pack_of_a_run_in_any_state_holds(site: Site, verifier: Path, story: Callable[[Site], UUID]) -> None:
    done = verify(verifier, site.as_("auditor").send("GET", f"/audit/{story(site)}/export").data)
    assert done.returncode == 0, done.stdout + done.stderr


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of every text, number, truth and null in a JSON value, and of every empty list and object."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    else:
        yield path


def other(value: Any) -> Any:
    """A value that is not this one, as near to it as can be."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    if isinstance(value, (int, float)):
        return value + 1 if abs(value) < 2**53 else value / 2
    return "x"


UNCHECKED = re.compile(r"verify$|human_tasks/\d+/(due_at|not_before_at|release_at|consequences|recommendation)(/|$)")
"""What the program says of itself that it can't check."""


def test_every_value_of_a_pack_that_is_changed_is_found(verifier: Path, pack: dict[str, Any], tmp_path: Path) -> None:
    places = list(leaves(pack))
    assert len(places) > 300
    unfound = []
    for place in places:
        changed = copy.deepcopy(pack)
        *above, last = place
        holder = changed
        for part in above:
            holder = holder[part]
        holder[last] = other(holder[last])
        try:
            found = bool(check(changed))
        except Unreadable:
            found = place == ("format",)
        if not found:
            unfound.append("/".join(map(str, place)))
    assert [place for place in unfound if not UNCHECKED.match(place)] == []


def _rehash(pack: dict[str, Any], start: int) -> None:
    """Write the hashes anew from one event on, as somebody would who can compute them."""
    previous = pack["events"][start - 1]["hash"] if start else "0" * 64
    for event in pack["events"][start:]:
        event["prev_hash"] = previous
        said = {key: event[key] for key in ("seq", "type", "at", "actor", "data", "prev_hash")}
        event["hash"] = previous = hashlib.sha256(rfc8785.dumps(said | {"run_id": pack["run"]["id"]})).hexdigest()


def _delete(pack: dict[str, Any]) -> None:
    del pack["events"][4]


def _insert(pack: dict[str, Any]) -> None:
    pack["events"].insert(4, copy.deepcopy(pack["events"][4]))


def _swap(pack: dict[str, Any]) -> None:
    pack["events"][4:6] = pack["events"][5:3:-1]


def _truncate(pack: dict[str, Any]) -> None:
    pack["events"].pop()


def _truncate_with_head(pack: dict[str, Any]) -> None:
    pack["events"].pop()
    pack["head"] = {"seq": len(pack["events"]), "hash": pack["events"][-1]["hash"]}


def _empty(pack: dict[str, Any]) -> None:
    pack["events"] = []


def _rehash_to_the_end(pack: dict[str, Any]) -> None:
    pack["events"][7]["data"]["note"] = "fine by me"
    _rehash(pack, 7)


def _rehash_with_head(pack: dict[str, Any]) -> None:
    _rehash_to_the_end(pack)
    pack["head"]["hash"] = pack["events"][-1]["hash"]


def _rehash_one(pack: dict[str, Any]) -> None:
    following = pack["events"][7:]
    pack["events"][6]["data"]["text"] = "!!"
    del pack["events"][7:]
    _rehash(pack, 6)
    pack["events"] += following


def _delete_and_rehash(pack: dict[str, Any]) -> None:
    del pack["events"][6]
    _rehash(pack, 6)
    pack["head"] = {"seq": len(pack["events"]), "hash": pack["events"][-1]["hash"]}


def _drop_decision(pack: dict[str, Any]) -> None:
    pack["decisions"].pop()


def _add_decision(pack: dict[str, Any]) -> None:
    pack["decisions"].append(pack["decisions"][0] | {"id": MISSING, "decision": "approve"})


def _double_decision(pack: dict[str, Any]) -> None:
    pack["decisions"].append(copy.deepcopy(pack["decisions"][0]))


def _drop_task(pack: dict[str, Any]) -> None:
    pack["human_tasks"].clear()


def _add_member(pack: dict[str, Any]) -> None:
    pack["approved_by"] = "everybody"


def _add_to_event(pack: dict[str, Any]) -> None:
    pack["events"][0]["remark"] = "void"


def _definition_with_hash(pack: dict[str, Any]) -> None:
    pack["definition"]["graph"]["nodes"]["pay"]["irreversible"] = False
    pack["definition"]["sha256"] = hashlib.sha256(rfc8785.dumps(pack["definition"]["graph"])).hexdigest()


def _payload_with_hash(pack: dict[str, Any]) -> None:
    task = pack["human_tasks"][0]
    task["payload"]["amount"] = 1
    task["payload_sha256"] = hashlib.sha256(rfc8785.dumps(task["payload"])).hexdigest()


def _claim_an_anchor(pack: dict[str, Any]) -> None:
    pack["anchors"].append({"at": "2026-01-01", "hash": pack["head"]["hash"]})


def _true_for_one(pack: dict[str, Any]) -> None:
    pack["events"][0]["data"]["version"] = True


CHANGES = (
    _delete, _insert, _swap, _truncate, _truncate_with_head, _empty, _rehash_to_the_end, _rehash_with_head,
    _rehash_one, _delete_and_rehash,
    _drop_decision, _add_decision, _double_decision, _drop_task, _add_member, _add_to_event, _definition_with_hash,
    _payload_with_hash, _claim_an_anchor, _true_for_one,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_pack_that_was_tampered_with_does_not_hold(
    verifier: Path, pack: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    changed = copy.deepcopy(pack)
    change(changed)
    done = verify(verifier, changed)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("DOES NOT HOLD\n- ")


def test_a_log_written_anew_as_a_whole_shows_only_by_a_head_noted_before(verifier: Path, pack: dict[str, Any]) -> None:
    changed = copy.deepcopy(pack)
    event = next(event for event in changed["events"] if event["type"] == "human_task.commented")
    event["data"]["text"] = "!!"
    _rehash(changed, 0)
    changed["head"]["hash"] = changed["events"][-1]["hash"]
    assert verify(verifier, changed).returncode == 0, "nothing in the pack itself can show this"
    assert verify(verifier, changed, "--head", pack["head"]["hash"]).returncode == 1
    assert verify(verifier, pack, "--head", pack["head"]["hash"]).returncode == 0
    assert verify(verifier, pack, "--head", pack["events"][3]["hash"].upper()).returncode == 0, "it grew since"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"format": 2}',
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b"[" * 100_000,
        b'{"format": 1, "x": ' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_pack_is_said_to_be_none(verifier: Path, data: bytes) -> None:
    assert verify(verifier, data).returncode == 2


def test_a_pack_of_the_right_format_that_lacks_its_members_does_not_hold(verifier: Path) -> None:
    assert verify(verifier, {"format": 1}).returncode == 1
    assert verify(verifier, {"format": 1, "events": [1]}).returncode == 1


def test_a_file_that_is_not_there_is_said_so(verifier: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(verifier), str(tmp_path / "none")], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"No such file" in done.stderr


def test_the_verifier_needs_nothing_but_pythons_own_library(verifier: Path) -> None:
    imported = set(re.findall(r"^(?:from|import) (\w+)", verifier.read_text(), re.MULTILINE))
    assert imported <= set(sys.stdlib_module_names)
    assert not imported & {"socket", "ssl", "http", "urllib", "subprocess", "os"}


def test_what_a_pack_says_can_not_write_to_the_terminal(verifier: Path, pack: dict[str, Any]) -> None:
    changed = copy.deepcopy(pack)
    changed["\x1b[2Jx\u202e"] = 1
    done = verify(verifier, changed)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
