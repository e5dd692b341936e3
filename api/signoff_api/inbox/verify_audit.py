#!/usr/bin/env python3
"""Verify an evidence pack of Signoff offline. It needs Python 3.11 or later and nothing else.

    python -I verify_audit.py signoff-audit-RUN.json
    python -I verify_audit.py --head HASH signoff-audit-RUN.json

What is recomputed: the hash of every event and its link to the one before, the head, the hash of the definition and of
every payload. Then the log is read from its first event on, and what it comes to is compared with what the pack says
of the run, its human tasks and their decisions.

What a pack can't prove by itself: that nobody wrote all of it anew, hashes included, or left its last events out.
Whoever noted the head's hash earlier, elsewhere, gives it with --head. And these are said by the pack alone: a human
task's due_at, not_before_at, release_at, consequences, recommendation and completed_at where the run's end closed it.

Exit codes: 0 everything holds, 1 something does not, 2 the file is no pack that can be read.
"""

from __future__ import annotations

import argparse
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
ALSO_SAID = ("surface", "reading_ms")
"""What the log may know of a decision, and a pack need not tell beside it."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


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
    if pack["anchors"]:
        yield "anchors: this program knows none, and can't say whether they hold"


def check(pack: Mapping[str, Any]) -> list[str]:
    """Everything that does not hold, the chain first: what is after a broken link explains itself by it."""
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
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, AssertionError) as error:
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
    given = parser.parse_args(arguments)
    try:
        pack = read(given.pack)
        findings = check(pack)
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
    if given.head is None:
        sys.stdout.write("Compare this head with one noted earlier, elsewhere: only that shows a log written anew.\n")
    return 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in text)


if __name__ == "__main__":
    sys.exit(main())
