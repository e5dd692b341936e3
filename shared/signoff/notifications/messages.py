"""What a message says: from the facts of an event to a title, a plain text and a page for mail.

Everything that a payload, a workflow or a person wrote comes into a template as text that is harmless already: on one
line, of bounded length, hidden characters named, and nothing in it that a reader's program would make a link or a
mention of. What a template makes of it in a page is escaped besides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog
from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from signoff.canonical import Json
from signoff.hidden_text import shown
from signoff.model import EventType
from signoff.notifications.catalogue import ASKING, TEST

log = structlog.get_logger(__name__)

MAX_LINE = 300
MAX_TITLE = 200
MAX_PAYLOAD = 8_000
LISTED = 20
"""Those that a digest lists; the rest it counts."""

_OWN = Path(__file__).parent / "templates"
_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@(?=\w)|<(?=[!@#])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of an event when it is told. `address` is where to look at it; None where nobody has said.

    `blind` is true while others may still decide who must not know what was said; `over` when what is asked for can't
    be given any more. `payload` is there only for a channel that is to have it.
    """

    kind: EventType
    at: datetime
    data: dict[str, Any]
    actor: str
    run_id: UUID
    workflow: str
    human_task_id: UUID | None = None
    gate: str = ""
    title: str = ""
    why: str = ""
    due_at: datetime | None = None
    recommendation: dict[str, Json] | None = None
    blind: bool = False
    over: bool = False
    with_payload: bool = False
    payload: Json = None
    has_payload: bool = False
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `title` is one line; `html` is for mail."""

    title: str
    text: str
    html: str


def plain(text: object, limit: int = MAX_LINE) -> str:
    """What somebody wrote, on one line, with nothing in it that acts or hides."""
    line = " ".join(shown(str(text)).split())
    line = _MENTION.sub(r"\g<0> ", line)
    line = _LINK.sub(lambda found: "[:]//" if found.group() == "://" else "www[.]", line)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@dataclass(slots=True)
class Templates:
    """The templates of messages: those of the operator's folder, and ours where it has none, or none that works."""

    folder: Path | None = None
    _environment: ImmutableSandboxedEnvironment = field(init=False, repr=False)
    _ours: ImmutableSandboxedEnvironment = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ours = _environment([_OWN])
        self._environment = self._ours if self.folder is None else _environment([self.folder, _OWN])

    def message(self, facts: Facts) -> Message:
        """The message about one event."""
        return self._written("message", said_of(facts))

    def digest(self, facts: Sequence[Facts], *, address: str | None) -> Message:
        """One message about many events; `address` is where all that waits is listed."""
        listed = [said_of(each) for each in facts[:LISTED]]
        return self._written(
            "digest",
            {"count": len(facts), "listed": listed, "more": len(facts) - len(listed), "address": address},
        )

    def test(self) -> Message:
        """What is sent to try a channel."""
        return self._written("test", {"kind": TEST})

    def _written(self, name: str, said: dict[str, Any]) -> Message:
        return Message(
            # A header of a mail is one line, whatever a template makes of it.
            title=" ".join(self._filled(f"{name}.title.txt", said).split())[:MAX_TITLE],
            text=self._filled(f"{name}.txt", said).strip() + "\n",
            html=self._filled(f"{name}.html", said).strip() + "\n",
        )

    def _filled(self, name: str, said: dict[str, Any]) -> str:
        try:
            return self._environment.get_template(name).render(said)
        except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            if self._environment is self._ours:
                raise
            # A template that does not work must not keep anybody from being told.
            log.warning("notification_template", template=name, error=type(error).__name__)
        return self._ours.get_template(name).render(said)


def said_of(facts: Facts) -> dict[str, Any]:
    """What templates are given of an event: texts that are safe to show, empty where there is nothing to say."""
    heading = _heading(facts)
    said = {
        "kind": str(facts.kind),
        "heading": heading,
        "title": plain(facts.title or facts.gate or facts.workflow, MAX_TITLE),
        "workflow": plain(facts.workflow),
        "gate": plain(facts.gate),
        "run_id": str(facts.run_id),
        "human_task_id": "" if facts.human_task_id is None else str(facts.human_task_id),
        "address": facts.address or "",
        "asks": facts.kind in ASKING,
        "over": facts.over and facts.kind in ASKING,
        "why": "",
        "due": "",
        "recommended": "",
        "outcome": "",
        "by": "",
        "note": "",
        "follows": "",
        "payload": "",
    }
    if facts.kind in ASKING:
        said["why"] = plain(facts.why)
        said["due"] = _moment(facts.due_at)
        said["recommended"] = _recommended(facts.recommendation)
    said |= _what_became(facts)
    if facts.with_payload and facts.has_payload:
        said["payload"] = _payload(facts.payload)
    return said


def _heading(facts: Facts) -> str:
    data = facts.data
    match facts.kind:
        case EventType.GATE_OPENED:
            return "Decision needed"
        case EventType.GATE_REVISED:
            return "New draft to decide" if data.get("restarted") else "Changed, decide again"
        case EventType.GATE_REMINDED:
            return "Overdue" if data.get("overdue") else "Reminder"
        case EventType.GATE_ESCALATED:
            return "Handed to you" if data.get("action") == "reroute" else "Escalated to you"
        case EventType.HUMAN_TASK_ASSIGNED:
            return "Assigned to you"
        case EventType.GATE_TIMED_OUT:
            return "Timed out"
        case EventType.RUN_CANCELED:
            return "Canceled"
        case _:
            return "Decided"


def _what_became(facts: Facts) -> dict[str, str]:
    """How it ended. While a blind gate is open again, nothing of what others said."""
    data = facts.data
    if facts.kind is EventType.GATE_TIMED_OUT:
        return {"follows": plain(data.get("action", ""))}
    if facts.kind is EventType.RUN_CANCELED:
        reason = plain(data.get("reason", "")) if facts.with_payload else ""
        return {"by": plain(facts.actor), "note": reason}
    if facts.kind is not EventType.GATE_DECIDED or facts.blind:
        return {}
    feedback = data.get("feedback") or {}
    found = {"outcome": plain(str(data.get("outcome", "")).replace("_", " ")), "by": ""}
    if data.get("decided_by") == "human":
        found["by"] = plain(facts.actor)
    if facts.with_payload and feedback.get("note"):
        found["note"] = plain(feedback["note"])
    return found


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%d %b %Y, %H:%M UTC")


def _recommended(recommendation: dict[str, Json] | None) -> str:
    if recommendation is None or recommendation.get("value") is None:
        return ""
    value = recommendation["value"]
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    score = recommendation.get("score")
    return plain(text) + (f" ({score:g})" if isinstance(score, (int, float)) else "")


def _payload(value: Json) -> str:
    lines = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().splitlines()
    shown_lines = [
        f"{' ' * (len(line) - len(line.lstrip()))}{plain(line, MAX_PAYLOAD)}" for line in lines[: MAX_PAYLOAD // 10]
    ]
    text = "\n".join(shown_lines)
    return text if len(text) <= MAX_PAYLOAD and len(lines) == len(shown_lines) else f"{text[:MAX_PAYLOAD]}\n…"


def _environment(folders: Sequence[Path]) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
