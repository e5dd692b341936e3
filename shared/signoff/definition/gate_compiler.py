"""A gate as written, checked against the payload it will show, made into a node of the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from signoff.definition.calendars import Calendar
from signoff.definition.cel_faults import say_type
from signoff.definition.cel_scope import Scope
from signoff.definition.faults import FaultLog, did_you_mean
from signoff.definition.fields import (
    FIELD_PATH,
    ROUND_ROBIN,
    USER_PREFIX,
    is_reviewer,
    split_path,
)
from signoff.definition.gates import KEYS, Gate
from signoff.definition.graph import End, GateNode, Goto, Mode, Rung, Schema, TakeOption, Target
from signoff.definition.json_types import deref, types_of
from signoff.definition.reading import (
    MAX_APPROVALS,
    MAX_CONSEQUENCE,
    MAX_EDITABLE,
    MAX_LADDER,
    MAX_OPTIONS,
    MAX_REVIEWERS,
    MAX_TITLE,
    Reader,
)
from signoff.definition.schemas import check_schema, schema_of
from signoff.definition.templates import is_template
from signoff.durations import format_duration

STANDARD_OPTIONS = ("approve", "reject", "request_changes")
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NOTED = ("reject", "request_changes")
_DURATIONS = ("DYN", "STRING", "DURATION", "google.protobuf.Duration")


class GateCompiler:
    """Reads one gate. `routes` and `on_timeout` come from the layout, which knows where branches start."""

    def __init__(self, gate: Gate, faults: FaultLog, payload_schema: Schema | None) -> None:
        self.gate = gate
        self.schema = payload_schema
        self.scope = Scope.of(payload_schema)
        self.read = Reader(gate.values, f"gate {gate.name!r}", faults)
        self.options = read_options(self.read)
        self.mode: Mode = read_mode(self.read)
        self.calendar: Calendar | None = None

    def build(
        self,
        *,
        following: str | None,
        routes: Mapping[str, Target],
        on_timeout: Target | None,
        changes_to: str | None,
        form: Schema | None,
    ) -> GateNode:
        """The node; faults are noted and replaced by something harmless."""
        read = self.read
        self.calendar = read.calendar("calendar", counts=("due", "remind", "escalate", "reroute"))
        due = self._due()
        ladder = self._ladder(due)
        not_before = read.duration("not_before", least=0) or 0
        # Working time passes no faster than time: with a calendar the two can't be compared here.
        if isinstance(due, int) and self.calendar is None and not_before >= due:
            read.fault("E118", "not_before is at or after due, so nobody could decide", "make it shorter")
        if on_timeout is not None and read.values.get("due") is None:
            read.fault("E117", "has on_timeout and no due time", 'say when, for example due="4h"')
        reviewers = self._reviewers("reviewers", read.strings("reviewers", MAX_REVIEWERS), required=True)
        approvals = read.integer("approvals", 1, 1, MAX_APPROVALS)
        self._check_quorum(reviewers, ladder, approvals)
        authority = read.flag("authority", False)
        condition = self._text("review_if", 10_000)
        if condition is not None:
            read.expression("review_if", condition, self.scope)
        return GateNode(
            name=self.gate.name,
            next=following,
            mode=self.mode,
            reviewers=reviewers,
            title=self._title(),
            review_if=condition,
            sample=read.number("sample", 0.0, 0.0, 1.0),
            recommend=self._field("recommend"),
            score=self._field("score"),
            editable=self._editable(),
            options=self.options,
            consequences=self._consequences(),
            routes=routes,
            changes_to=changes_to,
            due=due,
            on_timeout=on_timeout,
            ladder=ladder,
            approvals=approvals,
            reject_after=read.integer("reject_after", 1, 1, MAX_APPROVALS),
            priority=read.integer("priority", 50, 0, 100),
            form=form,
            require_note=self._require_note(),
            four_eyes=read.flag("four_eyes", True),
            authority=authority,
            above=self._above(authority),
            grace_ms=read.duration("grace", least=0) or 0,
            bulk=read.flag("bulk", False),
            blind=read.flag("blind", False),
            assign=self._assign(reviewers),
            not_before_ms=not_before,
            payload_schema=self.schema,
            calendar=self.calendar,
        )

    def form(self) -> Schema | None:
        """The form's JSON Schema, from a schema or a type."""
        given = self.gate.values["form"]
        if given is None:
            return None
        if not isinstance(given, Mapping):
            try:
                return schema_of(given, "validation")
            except ValueError as error:
                self.read.fault("E128", f"form has no JSON form: {error}", "give a JSON Schema or a model")
                return None
        problems = check_schema(given)
        for problem in problems:
            self.read.fault("E122", f"form: {problem}", "write a JSON Schema, draft 2020-12")
        if self.schema is not None and types_of(deref(self.schema, self.schema)) not in ({"object"}, frozenset()):
            self.read.fault("E122", "form needs a payload that is an object", "let the step give a model")
        return None if problems else dict(given)

    def _text(self, key: str, limit: int) -> str | None:
        return self.read.text(key, limit)

    def _title(self) -> str:
        title = self._text("title", MAX_TITLE)
        if title is None:
            words = self.gate.name.replace("-", " ").replace("_", " ").strip()
            return words[:1].upper() + words[1:]
        self.read.template("title", title, self.scope)
        return title

    def _due(self) -> int | str | None:
        value = self.read.values.get("due")
        if isinstance(value, str) and is_template(value):
            return self._due_template(value)
        return self.read.duration("due", calendar=self.calendar)

    def _due_template(self, value: str) -> str | None:
        template = self.read.template("due", value, self.scope)
        if template is None:
            return None
        kind = template.lone_kind
        if kind is not None and kind not in _DURATIONS:
            fix = """write a template that gives a duration: {amount > 500.0 ? "2d" : "4h"}"""
            self.read.fault("E115", f"due gives {say_type(kind)}, which is no duration", fix)
            return None
        return value

    def _reviewers(self, key: str, names: Sequence[str] | None, *, required: bool = False) -> tuple[str, ...]:
        fix = 'write a group ("support-leads") or a person ("user:ana")'
        if not names:
            if required and names is not None:
                self.read.fault("E109", f"{key} names nobody", fix)
            return ()
        out = []
        for name in names:
            if is_template(name):
                if self.read.template(key, name, self.scope) is not None:
                    out.append(name)
            elif is_reviewer(name):
                out.append(name)
            else:
                self.read.fault("E109", f"{key} has {name[:80]!r}, which names nobody", fix)
        return tuple(dict.fromkeys(out))

    def _above(self, authority: bool) -> tuple[str, ...]:
        above = self._reviewers("above", self.read.strings("above", MAX_REVIEWERS), required=False)
        if above and not authority:
            self.read.fault("E131", "has above and no authority", "write authority: true, or leave above out")
        return above if authority else ()

    def _check_quorum(self, reviewers: tuple[str, ...], ladder: tuple[Rung, ...], approvals: int) -> None:
        everybody = {*reviewers, *(name for rung in ladder for name in rung.to)}
        if all(name.startswith(USER_PREFIX) and not is_template(name) for name in everybody) and (
            0 < len(everybody) < approvals
        ):
            people = "1 person" if len(everybody) == 1 else f"{len(everybody)} people"
            what = f"approvals is {approvals} and only {people} may decide"
            self.read.fault("E109", what, "name more people or a group")

    def _ladder(self, due: int | str | None) -> tuple[Rung, ...]:
        rungs = [
            Rung(after_ms=ms, action="remind")
            for text in self._listed("remind")
            if (ms := self.read.milliseconds("remind", text, calendar=self.calendar)) is not None
        ]
        actions: tuple[Literal["escalate", "reroute"], ...] = ("escalate", "reroute")
        for action in actions:
            for entry in self._listed(action):
                rung = self._rung(action, entry)
                if rung is not None:
                    rungs.append(rung)
        if len(rungs) > MAX_LADDER:
            self.read.fault("E116", f"has {len(rungs)} reminders and escalations", f"write at most {MAX_LADDER}")
        for rung in rungs:
            if isinstance(due, int) and rung.after_ms >= due:
                after = f"after {format_duration(rung.after_ms)}, and due is after {format_duration(due)}"
                what = f"{rung.action} comes at or after the due time: {after}"
                self.read.fault("E118", what, "let it come earlier, or move due")
        return tuple(sorted(rungs[:MAX_LADDER], key=lambda rung: rung.after_ms))

    def _listed(self, key: str) -> list[Any]:
        value = self.read.values.get(key)
        if value is None:
            return []
        if isinstance(value, str):
            return [value]
        if isinstance(value, (list, tuple)):
            return list(value)
        self.read.fault("E103", f"{key} is not a list", f"write {key} as a list")
        return []

    def _rung(self, action: Literal["escalate", "reroute"], entry: Any) -> Rung | None:
        after: Any = None
        people: Any = None
        if isinstance(entry, Mapping) and set(entry) == {"after", "to"}:
            after, people = entry["after"], entry["to"]
        elif isinstance(entry, (list, tuple)) and len(entry) == 2:
            after, people = entry
        else:
            self.read.fault(
                "E103",
                f"{action} has an entry that is no pair of a duration and reviewers",
                f'write {action}=[("2h", "support-managers")], or {{after: 2h, to: support-managers}}',
            )
            return None
        ms = self.read.milliseconds(action, after, calendar=self.calendar)
        names = Reader({action: people}, self.read.where, self.read.faults).strings(action, MAX_REVIEWERS)
        to = self._reviewers(action, names, required=True)
        return None if ms is None or not to else Rung(after_ms=ms, action=action, to=to)

    def _field(self, key: str) -> str | None:
        path = self._text(key, 200)
        if path is None:
            return None
        if FIELD_PATH.fullmatch(path) is None:
            self.read.fault("E119", f"{key} is {path!r}, which is no field", "write a field, or a.b for one inside")
            return None
        unknown = self.scope.unknown_in(split_path(path))
        if unknown is not None:
            name, owner, fix = unknown
            self.read.fault("E119", f"{key} names {name!r}, which {owner} does not have", fix)
        return path

    def _editable(self) -> tuple[str, ...]:
        names = self.read.strings("editable", MAX_EDITABLE) or ()
        for name in names:
            unknown = self.scope.unknown_in(split_path(name))
            if unknown is not None:
                wrong, owner, fix = unknown
                self.read.fault("E119", f"editable names {wrong!r}, which {owner} does not have", fix)
        return tuple(dict.fromkeys(names))

    def _consequences(self) -> dict[str, str]:
        given = self.read.values.get("consequences")
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            self.read.fault("E103", "consequences is no mapping", 'write {"approve": "Pays {amount}."}')
            return {}
        out = {}
        reader = Reader(given, self.read.where, self.read.faults)
        for option in given:
            if option not in self.options:
                self.read.fault(
                    "E120",
                    f"consequences speaks of {option!r}, which is no option here",
                    did_you_mean(str(option), self.options, "options"),
                )
                continue
            text = reader.text(option, MAX_CONSEQUENCE)
            if text is not None:
                reader.template(f"consequences[{option}]", text, self.scope)
                out[option] = text
        return out

    def _require_note(self) -> tuple[str, ...]:
        value = self.read.values.get("require_note")
        if value is None:
            return tuple(option for option in self.options if option in _NOTED)
        if isinstance(value, bool):
            return self.options if value else ()
        names = self.read.strings("require_note", MAX_OPTIONS) or ()
        for name in names:
            if name not in self.options:
                self.read.fault(
                    "E120",
                    f"require_note names {name!r}, which is no option here",
                    did_you_mean(name, self.options, "options"),
                )
        return tuple(dict.fromkeys(names))

    def _assign(self, reviewers: tuple[str, ...]) -> str | None:
        value = self._text("assign", 2_000)
        people = [name for name in reviewers if name.startswith(USER_PREFIX) or is_template(name)]
        if value is None or value == ROUND_ROBIN:
            return value
        if value.lower().replace("-", "").replace("_", "").replace(" ", "") == "roundrobin":
            self.read.fault("E109", f"assign is {value!r}", f"did you mean {ROUND_ROBIN!r}?")
            return None
        if is_template(value):
            self.read.template("assign", value, self.scope)
        elif not is_reviewer(value):
            self.read.fault("E109", f"assign is {value[:80]!r}", 'write "user:ana" or "round_robin"')
            return None
        elif reviewers and len(people) == len(reviewers) and not _is_among(value, people):
            self.read.fault("E109", f"assign is {value!r}, who is none of the reviewers", "name them there as well")
            return None
        return value


def _is_among(person: str, people: Sequence[str]) -> bool:
    full = f"{USER_PREFIX}{person.removeprefix(USER_PREFIX)}"
    return full in people or any(is_template(name) for name in people)


def read_mode(read: Reader) -> Mode:
    """The gate's mode; anything but before and after is a fault."""
    match read.values.get("mode"):
        case None | "before":
            return "before"
        case "after":
            return "after"
        case other:
            read.fault("E103", f"mode is {other!r}", 'write "before" or "after"')
            return "before"


def read_options(read: Reader) -> tuple[str, ...]:
    """The gate's options in their order; the default where they are absent or can't be read."""
    if read.values.get("options") is None:
        return ("approve", "reject")
    listed = read.values["options"]
    if isinstance(listed, (list, tuple)) and any(isinstance(option, bool) for option in listed):
        read.fault("E110", "an option was read as true or false", 'YAML reads yes, no, on and off so: write "yes"')
        return ("approve", "reject")
    names = read.strings("options", MAX_OPTIONS)
    if names is None:
        return ("approve", "reject")
    if not names:
        read.fault("E110", "has no options", 'write options=["approve", "reject"]')
        return ("approve", "reject")
    for name in names:
        if _OPTION.fullmatch(name) is None:
            read.fault("E110", f"option {name[:40]!r} is badly named", "use a-z, 0-9 and _, at most 32 characters")
        elif names.count(name) > 1:
            read.fault("E110", f"option {name!r} is there twice", "name each option once")
    if set(names) == {"request_changes"}:
        read.fault("E110", "has no option that ends it", "add approve or reject")
    return tuple(dict.fromkeys(name for name in names if _OPTION.fullmatch(name))) or ("approve", "reject")


def simple_target(word: str, options: Sequence[str], following: str | None, *, timeout: bool) -> Target | None:
    """The target that a word stands for, None when it is no such word."""
    match word:
        case "continue":
            return End(status="completed") if following is None else Goto(node=following)
        case "fail":
            return End(status="failed")
        case "cancel":
            return End(status="canceled")
    if timeout and word in options and word != "request_changes":
        return TakeOption(option=word)
    return None


def check_keys(gate: Gate, options: Sequence[str], read: Reader) -> None:
    """Keys that mean nothing, and routes for options that the gate does not have."""
    for key in gate.unknown_keys:
        read.fault("E103", f"has the unknown key {key!r}", did_you_mean(key, KEYS, "keys"))
    if gate.values["on"] is not None and not isinstance(gate.values["on"], Mapping):
        read.fault("E103", "on is no mapping", "write on={option: target}")
    for option in gate.routes:
        if option in ("approve", "request_changes"):
            read.fault(
                "E111",
                f"on_{option} is written; approve goes on and request_changes goes back",
                "give another outcome an option of its own",
            )
        elif option not in options:
            read.fault(
                "E120",
                f"on_{option} is written and {option!r} is no option here",
                did_you_mean(option, options, "options"),
            )
