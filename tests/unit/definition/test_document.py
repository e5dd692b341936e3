from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from tests.unit.definition import refund_example as example

from signoff.canonical import canonical
from signoff.definition.callables import resolve
from signoff.definition.document import compile_document, parse_yaml
from signoff.definition.faults import DefinitionError
from signoff.definition.graph import End, Goto


def fault_of(text: str | bytes) -> str:
    with pytest.raises(DefinitionError) as caught:
        parse_yaml(text)
    assert [fault.code for fault in caught.value.faults] == ["E127"]
    return str(caught.value)


def test_yaml_and_python_compile_to_the_same_graph() -> None:
    compiled = compile_document(parse_yaml(example.YAML), resolve)
    assert canonical(compiled.graph.to_json()) == canonical(example.refund.graph.to_json())
    assert compiled.graph.sha256 == example.refund.graph.sha256
    assert compiled.warnings == ()


def test_document_keys_override_the_decorator() -> None:
    steps = [
        f"{example.MODULE}:analyse",
        {
            "step": f"{example.MODULE}:draft",
            "name": "other",
            "timeout": "5s",
            "retry": {"attempts": 2},
            "inline": False,
        },
    ]
    node = compile_document({"workflow": "w", "steps": steps}, resolve).graph.step("other")
    assert (node.queue, node.timeout_ms, node.inline) == ("llm", 5_000, False)
    assert (node.retry.attempts, node.retry.backoff_ms) == (2, 2_000)


def test_without_a_resolver_references_are_taken_as_given() -> None:
    output = {"type": "object", "title": "Offer", "properties": {"amount": {"type": "string", "format": "decimal"}}}
    document = {
        "workflow": "w",
        "steps": [
            {"step": "nowhere.at_all:make", "output": output, "takes": ["feedback", "input"]},
            {
                "gate": "check",
                "reviewers": "a",
                "review_if": "amount > 10.0",
                "options": ["approve", "reject", "request_changes"],
                "on_reject": "nowhere.at_all:undo",
            },
            "nowhere.at_all:pay",
        ],
    }
    graph = compile_document(document).graph
    assert list(graph.nodes) == ["make", "check", "pay", "undo"]
    assert graph.step("make").takes == ("feedback", "input")
    assert graph.step("pay").takes is None
    assert graph.step("pay").input_schema is None
    assert graph.gate("check").payload_schema == output
    assert graph.gate("check").changes_to == "make"
    assert graph.gate("check").routes["reject"] == Goto(node="undo")


def test_branches_are_references_mappings_or_lists() -> None:
    text = """
workflow: w
steps:
  - gate: first
    reviewers: a
    options: [approve, reject, escalate, park]
    on_reject: {step: "m:one", queue: slow}
    on:
      escalate:
        - gate: second
          reviewers: b
        - m:two
      park: cancel
"""
    graph = compile_document(parse_yaml(text)).graph
    assert list(graph.nodes) == ["first", "one", "second", "two"]
    assert graph.step("one").queue == "slow"
    assert graph.gate("first").routes["escalate"] == Goto(node="second")
    assert graph.gate("first").routes["park"] == End(status="canceled")


def test_both_spellings_of_a_rung_mean_the_same() -> None:
    def ladder(entry: Any) -> Any:
        document = {"workflow": "w", "steps": [{"gate": "g", "reviewers": "a", "escalate": [entry]}]}
        return compile_document(document).graph.gate("g").ladder

    assert ladder(["2h", "managers"]) == ladder({"after": "2h", "to": ["managers"]})


def test_a_missing_step_is_named_with_its_reason() -> None:
    with pytest.raises(DefinitionError) as caught:
        compile_document({"workflow": "w", "steps": [f"{example.MODULE}:nope", "no_such_module:x"]}, resolve)
    text = str(caught.value)
    assert [fault.code for fault in caught.value.faults] == ["E124", "E124"]
    assert "has no 'nope'" in text
    assert "there is no module 'no_such_module'" in text


def test_a_missing_step_is_no_fault_of_the_next_one() -> None:
    steps = ["tests.unit.definition.refund_example:analise", "tests.unit.definition.refund_example:draft"]
    with pytest.raises(DefinitionError) as caught:
        compile_document({"workflow": "w", "steps": steps}, resolve)
    assert [fault.code for fault in caught.value.faults] == ["E124"]
    assert "did you mean 'analyse'?" in caught.value.faults[0].fix


def test_a_gate_whose_keys_are_indented_too_far_says_so() -> None:
    with pytest.raises(DefinitionError) as caught:
        compile_document({"workflow": "w", "steps": [{"gate": {"name": "g", "reviewers": "a"}}]})
    assert "its keys below gate:" in str(caught.value)


def test_what_yaml_cannot_read_is_said_with_a_fix_of_its_own() -> None:
    fixes = {"a: {b} c": "needs quotes", "a: &x 1\nb: *x": "write the value out", "a: !!x 1": "write plain values"}
    for text, fix in fixes.items():
        with pytest.raises(DefinitionError) as caught:
            parse_yaml(text)
        assert fix in caught.value.faults[0].fix


def test_the_words_of_yaml_1_1_stay_words() -> None:
    found = parse_yaml("on: {yes: no}\nday: 2020-01-01\nclock: 1:30\noctal: 010\nflag: true\nnothing:\nlarge: 1e3\n")
    assert found == {
        "on": {"yes": "no"},
        "day": "2020-01-01",
        "clock": "1:30",
        "octal": "010",
        "flag": True,
        "nothing": None,
        "large": 1000.0,
    }


def test_on_read_by_another_yaml_reader_is_still_on() -> None:
    text = "workflow: w\nsteps:\n  - gate: g\n    reviewers: a\n    options: [approve, park]\n    on: {park: cancel}\n"
    document = yaml.safe_load(text)
    assert True in document["steps"][0]
    assert compile_document(document).graph.gate("g").routes["park"] == End(status="canceled")


def test_an_alias_is_refused_before_it_expands() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    started = time.perf_counter()
    assert "anchor or alias at line 1" in fault_of(bomb)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "'a' is there twice"),
        ("steps:\n  - {x: 1, x: 2}\n", "'x' is there twice"),
        ("a: !!python/object/apply:os.system [ls]", "uses the tag"),
        ("a: !!binary aGk=", "uses the tag"),
        ("a: 1\n---\nb: 2\n", "second document at line 2"),
        ("[1, 2]", "is no mapping"),
        ("", "is no mapping"),
        ("a: [1, 2", "at line 2, column 1"),
        ("? [a, b]\n: 1\n", "a key is no text"),
        ("1: a\n", "has the key 1"),
        (b"a: \xff\xfe\n", "byte 3 is not UTF-8"),
        ('a: "\\ud800"', "invalid Unicode character"),
        ("a: 99999999999999999", "beyond 2^53 - 1"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper than 64"),
        ("a: [" + "1," * 60_000 + "]", "more than 50000 parts"),
        ("a: " + "x" * 300_000, "more than 256 KiB"),
        ("\x00", "not allowed"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_the_place(text: str | bytes, says: str) -> None:
    assert says in fault_of(text)


def test_branches_nest_to_a_bound() -> None:
    branch: Any = "m:last"
    for n in range(30):
        branch = [{"gate": f"g{n}", "reviewers": "a", "on_reject": branch}]
    with pytest.raises(DefinitionError, match="nests branches deeper than 20"):
        compile_document({"workflow": "w", "steps": branch})


def test_a_document_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append({"gate": "g", "on_reject": loop})
    with pytest.raises(DefinitionError, match="nested deeper than 64"):
        compile_document({"workflow": "w", "steps": loop})


@pytest.mark.parametrize("document", [{}, {"workflow": None, "steps": [None]}, {"steps": [{"gate": None}]}, {5: 6}])
def test_nonsense_is_a_definition_error(document: Any) -> None:
    with pytest.raises(DefinitionError):
        compile_document(document)
