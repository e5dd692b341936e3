#!/usr/bin/env python3
"""Verify an evidence pack of Signoff offline. It needs Python 3.11 or later and nothing else.

    python -I verify_audit.py signoff-audit-RUN.json
    python -I verify_audit.py --head HASH signoff-audit-RUN.json
    python -I verify_audit.py --key anchors.pub signoff-audit-RUN.json

What is recomputed: the hash of every event and its link to the one before, the head, the hash of the definition and of
every payload. Then the log is read from its first event on, and what it comes to is compared with what the pack says
of the run, its human tasks and their decisions.

Anchors are marks that were signed outside the database. Each is verified: its signature (Ed25519), that it names this
run, and that the event it names is the one in the log. Whose signature it is shows only with --key, a public key that
you have from elsewhere: a pack brings the keys of its own anchors along, and whoever writes a pack can sign with any.

What a pack can't prove by itself: that nobody wrote all of it anew, hashes included, or left its last events out. An
anchor proves the former up to the event that it names; which anchors there are the pack alone says. Whoever noted the
head's hash earlier, elsewhere, gives it with --head. And these are said by the pack alone: a human
task's due_at, not_before_at, release_at, consequences, recommendation and completed_at where the run's end closed it.

Exit codes: 0 everything holds, 1 something does not, 2 the file is no pack that can be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

FORMAT = 1
GENESIS = "0" * 64
MAX_INTEGER = 2**53 - 1
MAX_FINDINGS = 50
MEMBERS = ("format", "verify", "run", "definition", "human_tasks", "decisions", "head", "anchors", "events")
HASHED = ("seq", "type", "at", "actor", "data", "prev_hash")
ALSO_SAID = ("surface", "reading_ms", "authenticated", "delegation_id")
"""What the log may know of a decision, and a pack need not tell beside it."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


ANCHOR = ("kind", "format", "number", "at", "slack", "previous", "heads", "root")
PROOF = ("anchor", "signature", "key", "seq", "hash", "index", "path")
KEY_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 public key in a PEM file (RFC 8410)."""


class Unreadable(Exception):
    """The file is not a pack of this format."""


# Canonical JSON (RFC 8785) ---------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """The one byte string that stands for a JSON value. Raises ValueError where there is none."""
    return "".join(_written(value)).encode()


def sha256(value: Any) -> str:
    """SHA-256 over the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _written(value: Any) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        yield {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        yield _text(value)
    elif isinstance(value, (int, float)):
        yield number(value)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield "," if at else "["
            yield from _written(item)
        yield "]" if value else "[]"
    else:
        # By UTF-16 code units, as the RFC has it; code points sort otherwise beyond the basic plane.
        for at, key in enumerate(sorted(value, key=lambda name: name.encode("utf-16-be"))):
            yield f"{',' if at else '{'}{_text(key)}:"
            yield from _written(value[key])
        yield "}" if value else "{}"


def _text(value: str) -> str:
    value.encode()  # raises ValueError for half a surrogate pair
    return '"' + "".join(_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'


def number(value: float) -> str:
    """A number as ECMAScript writes it (ECMA-262, Number::toString). Raises ValueError where it can't."""
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError("an integer beyond 2^53 - 1 has no canonical form")
        return str(value)
    if not math.isfinite(value):
        raise ValueError("NaN and the infinities have no canonical form")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # repr has the fewest digits that read back as the same double, which are ECMAScript's digits too.
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"


# Ed25519 (RFC 8032) ----------------------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]
"""Extended coordinates: x = X/Z, y = Y/Z, x * y = T/Z."""
NEUTRAL: Point = (0, 1, 1, 0)


def ed25519_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the signature of the message by the owner of the public key. Nothing secret is computed with."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public, commitment = _point(key), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = _times(scalar, BASE), _sum(commitment, _times(challenge, public))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 == (left[1] * right[2] - right[1] * left[2]) % P


def _sum(one: Point, other: Point) -> Point:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % P, (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    found = NEUTRAL
    while scalar:
        if scalar & 1:
            found = _sum(found, point)
        point, scalar = _sum(point, point), scalar >> 1
    return found


def _point(encoded: bytes) -> Point | None:
    """The point of 32 bytes; None where they are those of none."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


_BASE = _point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
assert _BASE is not None
BASE: Point = _BASE


def public_keys(text: str) -> set[str]:
    """The Ed25519 public keys of a PEM file, in hexadecimal. Raises Unreadable."""
    begin, end = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"
    found = set()
    for part in text.split(begin)[1:]:
        try:
            der = base64.b64decode("".join(part.partition(end)[0].split()), validate=True)
        except ValueError as error:
            raise Unreadable("a public key is no PEM") from error
        if len(der) != len(KEY_PREFIX) + 32 or not der.startswith(KEY_PREFIX):
            raise Unreadable("a public key is none of Ed25519")
        found.add(der[len(KEY_PREFIX) :].hex())
    if not found:
        raise Unreadable("the file has no public key in PEM")
    return found


# What the log comes to -------------------------------------------------------------------------------------------


class Replay:
    """The run, its human tasks and decisions, as its events make them, one after the other."""

    def __init__(self, run_id: str, graph: Mapping[str, Any]) -> None:
        self.nodes: Mapping[str, Any] = graph["nodes"]
        self.start = graph["start"]
        self.run: dict[str, Any] = {"id": run_id}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.decisions: dict[str, dict[str, Any]] = {}
        self.node: str | None = None
        self.value: Any = None

    def apply(self, event: Mapping[str, Any]) -> None:
        """Let one event have happened."""
        kind, data = event["type"], event["data"]
        if kind == "run.created":
            self._created(event, data)
        elif kind.startswith("run."):
            self._run(kind, event, data)
        elif kind == "decision.recorded":
            self._decision(event, data)
        elif kind == "step.completed" and self.node == data["step"]:
            self.value = data["output"]
            self._on()
        elif kind == "gate.passed" and self.node == data["gate"]:
            self._on()
        elif kind == "gate.opened":
            self._opened(event, data)
        elif data.get("human_task_id") in self.tasks:
            self._human_task(kind, event, data, self.tasks[data["human_task_id"]])
        self.run["updated_at"] = event["at"]

    def status_fits(self, status: str) -> bool:
        """Whether the log may have led to this status."""
        if self.run.get("finished_at") is not None:
            return bool(status == self.run["status"])
        waits = any(task["state"] == "open" and task["mode"] == "before" for task in self.tasks.values())
        return status == "waiting" if waits else status in ("queued", "running", "retrying")

    def _created(self, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        self.run |= {key: data[key] for key in ("workflow", "version", "input", "labels", "requester")}
        self.run |= {"created_at": event["at"], "finished_at": None, "error": None, "status": None, "output": None}
        self.node = data.get("entry") or self.start
        self.value = data["value"] if "value" in data else data["input"]

    def _run(self, kind: str, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        if kind == "run.retried":
            self.run |= {"finished_at": None, "error": None, "status": None}
            self.node = data["from_step"]
            self.value = data.get("value", self.value)
            return
        status = kind.removeprefix("run.")
        self.run |= {"finished_at": event["at"], "status": status}
        if status == "completed":
            self.value = data.get("output", self.value)
            self.run |= {"outcome": data["outcome"], "output": self.value}
            return
        if status == "failed":
            self.run["error"] = {key: data[key] for key in ("code", "message", "step", "attempt")}
        else:
            self.run["outcome"] = data["outcome"]
        for task in self.tasks.values():
            if task["state"] == "open" and (status == "canceled" or task["mode"] == "before"):
                task |= {"state": "canceled", "completed_at": event["at"]}

    def _opened(self, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        gate = self.nodes[data["gate"]]
        self.tasks[data["human_task_id"]] = {
            "id": data["human_task_id"],
            "run_id": self.run["id"],
            "workflow": self.run["workflow"],
            "version": self.run["version"],
            "state": "open",
            "revision": 1,
            "outcome": None,
            "decided_by": None,
            "created_at": event["at"],
            "completed_at": None,
            # An export is nobody's own view.
            "acting_for": [],
            **{key: data[key] for key in ("gate", "mode", "title", "why", "payload_sha256", "candidates", "assignee")},
            **{key: gate[key] for key in ("priority", "payload_schema", "editable", "form", "options", "require_note")},
        }
        if gate["mode"] == "after":
            self._on()

    def _human_task(self, kind: str, event: Mapping[str, Any], data: Mapping[str, Any], task: dict[str, Any]) -> None:
        if kind == "gate.revised":
            self._revised(data, task)
        elif task["state"] != "open":
            return
        elif kind in ("human_task.claimed", "human_task.assigned"):
            task["assignee"] = data["assignee"]
        elif kind == "human_task.released":
            task["assignee"] = None
        elif kind == "gate.escalated":
            self._escalated(data, task)
        elif kind == "gate.decided":
            state = "timed_out" if data["decided_by"] == "timeout" else "completed"
            task |= {"state": state, "completed_at": event["at"]}
            task |= {key: data[key] for key in ("outcome", "decided_by")}
            if task["mode"] == "before" and self.node == task["gate"]:
                self._decided(data, self.nodes[task["gate"]])

    def _revised(self, data: Mapping[str, Any], task: dict[str, Any]) -> None:
        task |= {"state": "open", "outcome": None, "decided_by": None, "completed_at": None}
        task |= {key: data[key] for key in ("revision", "title", "why", "payload_sha256")}
        task["candidates"] = data.get("candidates", task["candidates"])
        for carried in data["carried"]:
            self.decisions[carried]["revision"] = data["revision"]
        if task["mode"] == "before" and "payload" in data:
            self.value = data["payload"]

    @staticmethod
    def _escalated(data: Mapping[str, Any], task: dict[str, Any]) -> None:
        if data["action"] == "reroute":
            task |= {"candidates": data["to"], "assignee": None}
            return
        both = {key: list(dict.fromkeys([*task["candidates"][key], *data["to"][key]])) for key in ("users", "groups")}
        task["candidates"] = both

    def _decided(self, data: Mapping[str, Any], gate: Mapping[str, Any]) -> None:
        option = data["option"]
        target: Mapping[str, str] | None
        if option is None:
            target = gate["on_timeout"]
        elif option == "request_changes":
            target = {"goto": gate["changes_to"]} if gate["changes_to"] else {"end": "failed"}
        else:
            target = gate["routes"].get(option) or ({"goto": gate["next"]} if gate["next"] else {"end": "completed"})
        self.node = (target or {}).get("goto", self.node)
        self.value = data.get("value", data.get("output", self.value))

    def _decision(self, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        if data["decision"] == "withdraw":
            self.decisions[data["withdraws"]]["withdrawn"] = True
            return
        copied = ("human_task_id", "decision", "note", "reason", "patch", "revision", "payload_sha256")
        self.decisions[data["decision_id"]] = {
            "id": data["decision_id"],
            "by": event["actor"],
            "at": event["at"],
            "withdrawn": False,
            **{key: data[key] for key in (*copied, "bulk_id", "on_behalf_of")},
            **{key: data.get(key) for key in ALSO_SAID},
        }

    def _on(self) -> None:
        assert self.node is not None
        self.node = self.nodes[self.node]["next"] or self.node


# The checks ------------------------------------------------------------------------------------------------------


def check_chain(pack: Mapping[str, Any]) -> Iterator[str]:
    """Each event's number, link and hash, and the head."""
    previous = GENESIS
    for position, event in enumerate(pack["events"], start=1):
        if event["seq"] != position:
            yield f"event {position}: its number is {event['seq']!r}; one is missing, doubled or moved"
            return
        if event["prev_hash"] != previous:
            yield f"event {position}: prev_hash is not the hash of the event before it"
        computed = sha256({key: event[key] for key in HASHED} | {"run_id": pack["run"]["id"]})
        if event["hash"] != computed:
            yield f"event {position} ({event['type']}): its hash is not that of what it says"
        extra = sorted(set(event) - {*HASHED, "hash"})
        if extra:
            yield f"event {position}: it has members that no hash covers: {', '.join(extra)}"
        previous = event["hash"]
    if pack["head"] != {"seq": len(pack["events"]), "hash": previous}:
        yield "head: it is not the last event; events are missing at the end, or too many"


def check_definition(pack: Mapping[str, Any]) -> Iterator[str]:
    """The definition is the one the run was started on."""
    definition, created = pack["definition"], pack["events"][0]["data"]
    if sha256(definition["graph"]) != definition["sha256"]:
        yield "definition: sha256 is not that of the graph"
    if created.get("sha256") != definition["sha256"]:
        yield "definition: it is not the one the run was started on"
    for name in ("workflow", "version"):
        if definition[name] != created.get(name):
            yield f"definition: {name} is not the log's"
    if definition["graph"].get("workflow") != definition["workflow"]:
        yield "definition: the graph is of another workflow"


def check_run(pack: Mapping[str, Any], log: Replay) -> Iterator[str]:
    """What the pack says of the run is what the log comes to."""
    run = pack["run"]
    for name, value in log.run.items():
        if name != "status" and not _same(run.get(name), value):
            yield f"run: {name} is not what the log comes to"
    if not log.status_fits(run["status"]):
        yield f"run: status {run['status']!r} is not what the log comes to"
    if run["current_node"] != (None if run["status"] == "completed" else log.node):
        yield "run: current_node is not where the log leads"
    if sorted(run["human_tasks"]) != sorted(log.tasks):
        yield "run: human_tasks are not those of the log"


def check_human_tasks(pack: Mapping[str, Any], log: Replay) -> Iterator[str]:
    """Each human task is what the log makes of it, and shows what its hash says."""
    seen = [task["id"] for task in pack["human_tasks"]]
    if sorted(seen) != sorted(log.tasks):
        yield "human_tasks: they are not those of the log; one is missing, added or doubled"
    for task in pack["human_tasks"]:
        where = f"human task {task['id']}"
        if sha256(task["payload"]) != task["payload_sha256"]:
            yield f"{where}: payload_sha256 is not that of the payload"
        for name, value in log.tasks.get(task["id"], {}).items():
            if not _same(task.get(name), value):
                yield f"{where}: {name} is not what the log comes to"
        yield from _check_quorum(task, pack, where)


def _check_quorum(task: Mapping[str, Any], pack: Mapping[str, Any], where: str) -> Iterator[str]:
    gate = pack["definition"]["graph"]["nodes"].get(task["gate"])
    counted = sum(
        said["decision"] == "approve" and said["revision"] == task["revision"] and not said["withdrawn"]
        for said in task["decisions"]
    )
    if gate is None or task["quorum"] != {"required": gate["approvals"], "approvals": counted}:
        yield f"{where}: quorum is not what the definition and the decisions say"


def check_decisions(pack: Mapping[str, Any], log: Replay) -> Iterator[str]:
    """The decisions are those of the log, in the list and with their human tasks."""
    with_tasks = [said for task in pack["human_tasks"] for said in task["decisions"]]
    for where, listed in (("decisions", pack["decisions"]), ("human_tasks' decisions", with_tasks)):
        if sorted(said["id"] for said in listed) != sorted(log.decisions):
            yield f"{where}: they are not those of the log; one is missing, added or doubled"
        for said in listed:
            known = log.decisions.get(said["id"], said)
            names = sorted({*said, *known} - {name for name in ALSO_SAID if name not in said})
            wrong = [name for name in names if not _same(said.get(name), known.get(name))]
            if wrong:
                yield f"{where}: of {said['id']} {', '.join(wrong)} is not what the log says"
    for task in pack["human_tasks"]:
        if any(said["human_task_id"] != task["id"] for said in task["decisions"]):
            yield f"human task {task['id']}: it has the decision of another"


def check_members(pack: Mapping[str, Any]) -> Iterator[str]:
    """Nothing is in the pack that nobody has checked."""
    extra = sorted(set(pack) - set(MEMBERS))
    if extra:
        yield f"the pack has members that no check covers: {', '.join(extra)}"


def check_anchors(pack: Mapping[str, Any], trusted: set[str] | None) -> Iterator[str]:
    """Each anchor is signed, names this run, and names an event as the log has it."""
    if trusted is not None and not pack["anchors"]:
        yield "anchors: there are none, so nothing is signed by the key that was given"
    for proof in pack["anchors"]:
        anchor = proof["anchor"]
        where = f"anchor {anchor['number']}"
        if sorted(proof) != sorted(PROOF) or sorted(anchor) != sorted(ANCHOR):
            yield f"{where}: it has another form than anchors have"
        if anchor["kind"] != "signoff-anchor" or anchor["format"] != FORMAT:
            yield f"{where}: this program does not know its kind"
        key = proof["key"]
        if trusted is not None and key not in trusted:
            yield f"{where}: it is signed with another key than the one that was given"
        if not ed25519_holds(bytes.fromhex(key), canonical(anchor), bytes.fromhex(proof["signature"])):
            yield f"{where}: it is not what was signed"
        if _root(pack["run"]["id"], proof) != anchor["root"]:
            yield f"{where}: it does not name this run"
        seq = proof["seq"]
        if not 1 <= seq <= len(pack["events"]) or pack["events"][seq - 1]["hash"] != proof["hash"]:
            yield f"{where}: the event that it names is not in the log"


def _root(run_id: str, proof: Mapping[str, Any]) -> str:
    """The root of the tree in which the path leads from this run's leaf upward; empty where it can't be one."""
    index, size, path = proof["index"], proof["anchor"]["heads"], list(proof["path"])
    if not 0 <= index < size:
        return ""
    leaf = bytes.fromhex(run_id.replace("-", "")) + proof["seq"].to_bytes(4, "big") + bytes.fromhex(proof["hash"])
    node = hashlib.sha256(b"\0" + leaf).digest()
    while size > 1:
        if index ^ 1 < size:
            sibling = bytes.fromhex(path.pop(0))
            node = hashlib.sha256(b"\1" + (sibling + node if index & 1 else node + sibling)).digest()
        index, size = index // 2, (size + 1) // 2
    return "" if path else node.hex()


def check(pack: Mapping[str, Any], trusted: set[str] | None = None) -> list[str]:
    """Everything that does not hold, the chain first: what is after a broken link explains itself by it.

    `trusted` are the keys whose anchors are believed; without it, that of each anchor itself.
    """
    findings: list[str] = []
    try:
        if pack["format"] != FORMAT:
            raise Unreadable(f"format {pack['format']!r} is not known; this program reads {FORMAT}")
        if not pack["events"]:
            return ["events: there are none"]
        for part in (check_members, check_chain, check_definition):
            findings += part(pack)
        log = Replay(pack["run"]["id"], pack["definition"]["graph"])
        for event in pack["events"]:
            log.apply(event)
        for replayed in (check_run, check_human_tasks, check_decisions):
            findings += replayed(pack, log)
        findings += check_anchors(pack, trusted)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, AssertionError, OverflowError) as error:
        findings.append(f"{'after that ' if findings else ''}it does not read as a pack: {error!r}")
    return findings


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; in Python alone True would be 1."""
    try:
        return canonical(one) == canonical(other)
    except ValueError:
        return False


# The command -----------------------------------------------------------------------------------------------------


def read(path: str) -> dict[str, Any]:
    """The pack in a file, `-` for standard input. Raises Unreadable."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
        pack = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if not isinstance(pack, dict) or "format" not in pack:
        raise Unreadable("this is no evidence pack")
    return pack


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice, which readers take in different ways")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def main(arguments: list[str] | None = None) -> int:
    """Verify the pack that the command line names, and say what was found. Answers the exit code."""
    parser = argparse.ArgumentParser(description="Verify an evidence pack of Signoff offline.")
    parser.add_argument("pack", metavar="FILE", help="the exported pack; - reads standard input")
    parser.add_argument("--head", metavar="HASH", help="the head's hash as somebody noted it earlier, elsewhere")
    parser.add_argument("--key", metavar="FILE", help="the public keys whose anchors are believed, in PEM")
    given = parser.parse_args(arguments)
    try:
        trusted = None if given.key is None else public_keys(_text_of(given.key))
        pack = read(given.pack)
        findings = check(pack, trusted)
    except (Unreadable, RecursionError) as error:
        sys.stderr.write(f"can't be read: {str(error)!a}\n")
        return 2
    if given.head is not None and given.head.lower() not in {event.get("hash") for event in pack["events"]}:
        findings.append("the log has no event of the hash that was noted as its head")
    if findings:
        sys.stdout.write("DOES NOT HOLD\n")
        sys.stdout.writelines(f"- {_printable(found)}\n" for found in findings[:MAX_FINDINGS])
        if len(findings) > MAX_FINDINGS:
            sys.stdout.write(f"- and {len(findings) - MAX_FINDINGS} more\n")
        return 1
    counts = f"{len(pack['events'])} events, {len(pack['human_tasks'])} human tasks, {len(pack['decisions'])} decisions"
    sys.stdout.write(f"HOLDS: run {pack['run']['id']}, {counts}\nhead {pack['head']['hash']}\n")
    sys.stdout.write(_vouched(pack, trusted))
    if given.head is None and not (trusted and pack["anchors"]):
        sys.stdout.write("Compare this head with one noted earlier, elsewhere: only that shows a log written anew.\n")
    return 0


def _vouched(pack: Mapping[str, Any], trusted: set[str] | None) -> str:
    """What the anchors come to, in a line."""
    if not pack["anchors"]:
        return "No anchor vouches for it.\n"
    newest = max(pack["anchors"], key=lambda proof: (proof["seq"], proof["anchor"]["number"]))
    signer = "signed with the key that was given" if trusted else f"signed with key {newest['key']}"
    said = f"anchored up to event {newest['seq']} of {len(pack['events'])}, at {newest['anchor']['at']}, {signer}\n"
    return said if trusted else f"{said}Give --key with the public key that you know: only that shows who signed.\n"


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise Unreadable(str(error)) from error


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in text)


if __name__ == "__main__":
    sys.exit(main())
