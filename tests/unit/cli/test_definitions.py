"""`signoff check` and `signoff graph` on files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from signoff.canonical import canonical, sha256_hex
from signoff.cli.main import app

GOOD = """
workflow: expense
description: Money back.
steps:
  - gate: approve
    reviewers: leads
    title: 'Pay {amount}'
    options: [approve, reject, escalate]
    consequences: {approve: "Pays it."}
    due: 4h
    on_timeout: reject
    on_escalate: [{gate: boss, reviewers: [managers, "user:eva"]}]
  - gate: book
    reviewers: accounting
"""
FAULTY = """
workflow: Expense
steps:
  - gate: approve
    reviewers: leads
    due: soon
"""
PYTHON = """
from signoff import Gate, Workflow, step

print("user code may print")

@step(irreversible=True)
def pay(value: dict) -> dict:
    return value

doubtful = Workflow("doubtful", [pay])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    known, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if not name.startswith(("signoff", "pydantic", "rich", "yaml")):
            del sys.modules[name]


def signoff(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


class TestCheck:
    def test_what_is_right_is_said_in_a_line(self, folder: Path) -> None:
        (folder / "expense.yaml").write_text(GOOD)

        result = signoff("check", "expense.yaml")

        assert result.exit_code == 0
        assert result.stdout.startswith("✓ expense  3 nodes")

    def test_one_node_is_not_called_nodes(self, folder: Path) -> None:
        (folder / "one.yaml").write_text("workflow: one\nsteps:\n  - gate: ok\n    reviewers: leads\n")

        assert signoff("check", "one.yaml").stdout.startswith("✓ one  1 node  ")

    def test_a_condition_with_several_faults_is_listed_whole(self, folder: Path) -> None:
        (folder / "one.yaml").write_text(
            "workflow: one\n"
            "input: {type: object, properties: {amount: {type: number}, count: {type: integer}}}\n"
            "steps:\n  - gate: ok\n    reviewers: leads\n    review_if: amout > 1.0 || amount > 5 || count > 2.0\n"
        )

        faults = json.loads(signoff("check", "one.yaml", "--json").stdout)

        assert [(fault["code"], fault["fix"]) for fault in faults] == [
            ("E104", "did you mean 'amount'? fields: amount, count"),
            ("E105", "write whole numbers with a point (5.0)"),
            ("E105", "write 2 without a point, or double(count)"),
        ]

    def test_every_fault_is_listed_with_code_place_and_fix_and_the_exit_code_is_1(self, folder: Path) -> None:
        (folder / "expense.yaml").write_text(FAULTY)

        result = signoff("check", "expense.yaml")

        assert result.exit_code == 1
        assert "E101" in result.stdout
        assert "E115" in result.stdout
        assert "gate 'approve'" in result.stdout

    def test_with_json_the_faults_are_a_list_and_nothing_else_is_on_standard_output(self, folder: Path) -> None:
        (folder / "a.yaml").write_text(FAULTY)
        (folder / "doubtful_module.py").write_text(PYTHON)

        result = signoff("check", "a.yaml", "doubtful_module.py", "--json")

        found = json.loads(result.stdout)
        assert [(entry["source"], entry["code"], entry["severity"]) for entry in found] == [
            ("a.yaml", "E101", "error"),
            ("a.yaml", "E115", "error"),
            ("doubtful_module.py", "W201", "warning"),
        ]
        assert "user code may print" in result.stderr

    def test_a_warning_is_refused_only_when_strict(self, folder: Path) -> None:
        (folder / "doubtful_too.py").write_text(PYTHON)

        assert signoff("check", "doubtful_too.py").exit_code == 0
        assert signoff("check", "doubtful_too.py", "--strict").exit_code == 1

    def test_one_bad_source_does_not_hide_the_next(self, folder: Path) -> None:
        (folder / "good.yaml").write_text(GOOD)

        result = signoff("check", "missing.yaml", "good.yaml")

        assert result.exit_code == 1
        assert "✗ missing.yaml" in result.stdout
        assert "✓ expense" in result.stdout

    def test_a_module_that_raises_is_a_finding_with_its_line(self, folder: Path) -> None:
        (folder / "broken_module.py").write_text("x = 1\nraise RuntimeError('no \\x1b[2J')\n")

        result = signoff("check", "broken_module.py")

        assert result.exit_code == 1
        assert "import_failed" in result.stdout
        assert "broken_module.py:2" in result.stdout
        assert "\x1b" not in result.stdout

    def test_without_a_source_it_is_wrong_usage(self) -> None:
        assert signoff("check").exit_code == 2


class TestGraph:
    @pytest.fixture(autouse=True)
    def expense(self, folder: Path) -> None:
        (folder / "expense.yaml").write_text(GOOD)

    def test_the_drawing_names_every_node_every_way_and_who_is_asked(self) -> None:
        drawn = signoff("graph", "expense.yaml").stdout

        for text in ("◆ approve  asks leads", "escalate", "→ boss", "Pays it.", "due after 4h", "→ as reject"):
            assert text in drawn
        assert "branch: approve escalate" in drawn
        assert "asks managers, user:eva" in drawn

    def test_with_json_it_is_the_canonical_graph_that_the_version_is_known_by(self) -> None:
        drawn = signoff("graph", "expense.yaml", "--json").stdout
        checked = signoff("check", "expense.yaml").stdout

        graph = json.loads(drawn)
        assert graph["workflow"] == "expense"
        assert canonical(graph)
        assert sha256_hex(graph)[:12] in checked

    def test_mermaid_has_an_arrow_for_each_way(self) -> None:
        drawn = signoff("graph", "expense.yaml", "--mermaid").stdout

        assert drawn.startswith("flowchart TD\n")
        assert 'n0{{"approve"}}' in drawn
        assert 'n0 -->|"escalate"| n2' in drawn
        assert "end_completed((completed))" in drawn

    def test_dot_has_too(self) -> None:
        drawn = signoff("graph", "expense.yaml", "--dot").stdout

        assert drawn.startswith('digraph "expense" {')
        assert '"approve" -> "boss" [label="escalate"];' in drawn

    def test_faults_are_errors(self, folder: Path) -> None:
        (folder / "bad.yaml").write_text(FAULTY)

        result = signoff("graph", "bad.yaml")

        assert result.exit_code == 1
        assert "error[definition]" in result.stderr
        assert "E115" in result.stderr
        assert result.stdout == ""
