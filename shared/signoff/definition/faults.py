"""What is wrong with a definition: every fault at once, each with a code, a place, a reason and a fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from signoff.errors import SignoffError

Severity: TypeAlias = Literal["error", "warning"]

CODES = {
    "E101": "a name is not allowed",
    "E102": "two nodes have the same name",
    "E103": "a key is unknown, missing or has a value of the wrong kind",
    "E104": "an expression uses a name that the payload does not have",
    "E105": "an expression is not valid CEL, or mixes types",
    "E106": "a condition does not give true or false",
    "E107": "a template's braces do not match",
    "E108": "what a step gives does not fit what the next one takes",
    "E109": "a gate's reviewers or assignee cannot be read, or are too few",
    "E110": "a gate's options are empty, repeated or badly named",
    "E111": "an outcome leads nowhere",
    "E112": "silence would lead to an irreversible step",
    "E113": "changes are requested and no earlier step takes feedback",
    "E114": "a node can never be reached",
    "E115": "a duration cannot be read or is out of range",
    "E116": "a number or a text is out of range",
    "E117": "a gate says what happens at its due time and has none",
    "E118": "a reminder or escalation comes at or after the due time",
    "E119": "a gate names a field that the payload does not have",
    "E120": "a gate says something about an option that it does not have",
    "E121": "a gate in mode after asks for what only a waiting run can do",
    "E122": "a JSON Schema cannot be used",
    "E123": "a step function has parameters that nothing can fill",
    "E124": "a step's reference cannot be loaded",
    "E125": "a workflow is empty or too large",
    "E126": "something in the list is neither a step nor a gate",
    "E127": "a document is not YAML that Signoff reads",
    "E128": "an annotation has no JSON form",
    "E129": "an expression could do unbounded work",
    "E130": "a business calendar cannot be read, or counts nothing",
    "E131": "a limit of authority could be passed by, or nothing asks for one",
    "W201": "an irreversible step has no gate before it",
    "W202": "an irreversible step retries and takes no idempotency key",
    "W203": "a step function cannot be found by reference from another process",
    "W204": "a gate in mode after has a key that changes nothing there",
}
"""Each code and what it means, for the documentation. A code never changes its meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong: `where` names the node, `what` the fault, `fix` what would be right."""

    code: str
    where: str
    what: str
    fix: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        line = f"{self.code} {self.where}: {self.what}"
        return f"{line}\n     {self.fix}" if self.fix else line

    def to_json(self) -> dict[str, str]:
        """The fault as the API and the command line give it out."""
        return asdict(self)


class DefinitionError(SignoffError):
    """The workflow has faults; `faults` lists every one of them."""

    code = "definition"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


MAX_FAULTS = 100
"""A definition with more is given back with these: finding the rest would only take time."""


class FaultLog:
    """Collects faults and warnings while a definition is read, so that one pass finds them all."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def add(self, code: str, where: str, what: str, fix: str = "") -> None:
        """Note one; a code that starts with W is a warning. The same one twice is noted once.

        Raises DefinitionError when there are `MAX_FAULTS`.
        """
        severity: Severity = "warning" if code.startswith("W") else "error"
        fault = Fault(code=code, where=where, what=what, fix=fix, severity=severity)
        if fault not in self._found:
            self._found.append(fault)
        if len(self.errors) >= MAX_FAULTS:
            self.raise_errors()

    def extend(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.add(fault.code, fault.where, fault.what, fault.fix)

    @property
    def errors(self) -> tuple[Fault, ...]:
        return tuple(fault for fault in self._found if fault.severity == "error")

    @property
    def warnings(self) -> tuple[Fault, ...]:
        return tuple(fault for fault in self._found if fault.severity == "warning")

    def raise_errors(self) -> None:
        """Raise DefinitionError with every error found so far, if there is one."""
        if self.errors:
            raise DefinitionError(self.errors)


MAX_LISTED = 12


def did_you_mean(wrong: str, known: Iterable[str], kind: str = "fields") -> str:
    """`did you mean 'amount'? fields: order_id, amount`; empty when nothing is known."""
    names = list(known)
    if not names:
        return ""
    close = difflib.get_close_matches(wrong[:100], names, n=1, cutoff=0.6)
    listed = ", ".join(names[:MAX_LISTED]) + (", …" if len(names) > MAX_LISTED else "")
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}{kind}: {listed}"
