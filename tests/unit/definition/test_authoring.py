from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import BaseModel
from tests.unit.definition import refund_example as example

from signoff import Feedback, Gate, Retry, Workflow, step
from signoff.definition.faults import DefinitionError
from signoff.definition.graph import End, Goto, Graph, TakeOption
from signoff.definition.steps import step_definition


class Draft(BaseModel):
    text: str
    score: float


@step
def write(topic: str) -> Draft:
    return Draft(text=topic, score=0.5)


@step
def publish(draft: Draft) -> Draft:
    return draft


@step
def file_away(draft: Draft) -> None:
    return None


@step(irreversible=True)
def delete(draft: Draft) -> None:
    return None


def test_a_workflow_compiles_when_it_is_built() -> None:
    graph = example.refund.graph
    assert graph.start == "analyse"
    assert list(graph.nodes) == ["analyse", "draft", "approve-refund", "pay", "apologise"]
    assert [graph.nodes[name].next for name in graph.nodes] == ["draft", "approve-refund", "pay", None, None]
    assert example.refund.warnings == ()


def test_the_graph_comes_back_equal_from_its_stored_form() -> None:
    graph = example.refund.graph
    again = Graph.from_json(graph.to_json())
    assert again == graph
    assert again.sha256 == graph.sha256


def test_the_same_workflow_built_twice_is_the_same_version() -> None:
    assert Workflow("w", [write, publish]).graph.sha256 == Workflow("w", [write, publish]).graph.sha256
    assert Workflow("w", [write, publish]).graph.sha256 != Workflow("w", [write, file_away]).graph.sha256


def test_a_gate_leads_where_it_says() -> None:
    gate = example.refund.graph.gate("approve-refund")
    assert gate.routes == {"approve": Goto(node="pay"), "reject": Goto(node="apologise")}
    assert gate.on_timeout == TakeOption(option="reject")
    assert gate.changes_to == "draft"
    assert gate.due == 4 * 3_600_000
    assert [(rung.action, rung.after_ms, rung.to) for rung in gate.ladder] == [
        ("remind", 3_600_000, ()),
        ("escalate", 7_200_000, ("support-managers",)),
    ]
    assert gate.require_note == ("reject", "request_changes")


def test_what_is_not_said_has_the_documented_default() -> None:
    gate = Workflow("w", [write, Gate("check", reviewers="leads")]).graph.gate("check")
    assert gate.options == ("approve", "reject")
    assert gate.routes == {"approve": End(status="completed"), "reject": End(status="completed")}
    assert gate.title == "Check"
    assert (gate.mode, gate.sample, gate.approvals, gate.reject_after, gate.priority) == ("before", 0.0, 1, 1, 50)
    assert (gate.four_eyes, gate.bulk, gate.blind, gate.grace_ms, gate.not_before_ms) == (True, False, False, 0, 0)
    assert gate.require_note == ("reject",)
    assert gate.due is None
    assert gate.on_timeout is None


def test_words_and_own_options_are_targets() -> None:
    gate = Workflow(
        "w",
        [
            write,
            Gate(
                "check",
                reviewers="leads",
                options=["approve", "reject", "park", "drop", "skip", "store"],
                on_reject="fail",
                on_drop="cancel",
                on_skip="continue",
                on={"store": [file_away]},
                due="1d",
                on_timeout="cancel",
            ),
            publish,
        ],
    ).graph.gate("check")
    assert gate.routes == {
        "approve": Goto(node="publish"),
        "reject": End(status="failed"),
        "park": Goto(node="publish"),
        "drop": End(status="canceled"),
        "skip": Goto(node="publish"),
        "store": Goto(node="file_away"),
    }
    assert gate.on_timeout == End(status="canceled")


def test_a_branch_may_hold_gates_and_ends_the_run() -> None:
    second = Gate("second-look", reviewers="managers")
    graph = Workflow("w", [write, Gate("check", reviewers="leads", on_reject=[second, file_away]), publish]).graph
    assert list(graph.nodes) == ["write", "check", "publish", "second-look", "file_away"]
    assert graph.nodes["second-look"].next == "file_away"
    assert graph.nodes["file_away"].next is None
    assert graph.gate("second-look").payload_schema == graph.gate("check").payload_schema


def test_changes_go_back_to_the_nearest_step_that_takes_feedback() -> None:
    @step
    def first(topic: str, *, feedback: Feedback | None = None) -> Draft:
        return Draft(text=topic, score=1)

    @step
    def second(draft: Draft, *, feedback: Feedback | None = None) -> Draft:
        return draft

    inner = Gate("inner", reviewers="leads", options=["approve", "request_changes"])
    outer = Gate("outer", reviewers="leads", options=["approve", "reject", "request_changes"], on_reject=[inner])
    graph = Workflow("w", [first, second, publish, outer]).graph
    assert graph.gate("outer").changes_to == "second"
    assert graph.gate("inner").changes_to == "second"


def test_a_form_is_added_to_the_payload_under_the_gates_name() -> None:
    class Answer(BaseModel):
        iban: str

    graph = Workflow("w", [write, Gate("ask", reviewers="leads", form=Answer), Gate("check", reviewers="x")]).graph
    schema = graph.gate("check").payload_schema
    assert schema is not None
    assert set(schema["properties"]) == {"text", "score", "ask"}
    assert schema["properties"]["ask"]["properties"]["iban"]["type"] == "string"
    assert "ask" not in schema["required"]
    assert graph.gate("ask").payload_schema == Draft.model_json_schema()


def test_a_form_beside_the_run_changes_no_payload() -> None:
    form = {"type": "object", "properties": {"iban": {"type": "string"}}}
    beside = Gate("ask", reviewers="leads", mode="after", form=form)
    graph = Workflow("w", [write, beside, Gate("check", reviewers="x")]).graph
    assert graph.gate("check").payload_schema == graph.gate("ask").payload_schema


def test_a_branch_sees_what_came_before_its_gate() -> None:
    @step
    def undo(draft: Draft, *, write: Draft, check: Draft, input: str) -> None:
        return None

    node = Workflow("w", [write, Gate("check", reviewers="x", on_reject=undo), publish]).graph.step("undo")
    assert node.takes == ("write", "check", "input")


def test_a_workflow_of_gates_alone_shows_the_runs_input() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    graph = Workflow(
        "chain", [Gate("one", reviewers="a", review_if="total > 5.0"), Gate("two", reviewers="b")], input=schema
    ).graph
    assert graph.input_schema == schema
    assert graph.gate("two").payload_schema == schema


def test_a_step_stays_an_ordinary_function() -> None:
    assert write("x") == Draft(text="x", score=0.5)
    definition = step_definition(write)
    assert definition is not None
    assert definition.function is write
    assert definition.ref == f"{__name__}:write"
    assert step_definition(len) is None


def test_an_irreversible_step_without_a_key_is_tried_once() -> None:
    gate = Gate("check", reviewers="x")
    assert Workflow("w", [write, gate, delete]).graph.step("delete").retry.attempts == 1
    assert example.refund.graph.step("pay").retry.attempts == 3
    assert example.refund.graph.step("draft").retry.backoff_ms == 2_000


def test_options_of_the_decorator_reach_the_graph() -> None:
    @step(name="named", queue="slow", retry=Retry(2, "3s", 1.5, "9s", 0.0), timeout="5m", inline=False)
    def anything(value: Any) -> Any:
        return value

    node = Workflow("w", [anything]).graph.step("named")
    assert (node.queue, node.timeout_ms, node.inline, node.irreversible) == ("slow", 300_000, False, False)
    assert (node.retry.attempts, node.retry.backoff_ms, node.retry.factor) == (2, 3_000, 1.5)
    assert (node.retry.max_backoff_ms, node.retry.jitter) == (9_000, 0.0)
    assert node.input_schema is None
    assert node.output_schema is None


def test_annotations_of_local_types_are_read() -> None:
    class Local(BaseModel):
        name: str

    @step
    def takes_local(value: Local) -> Local:
        return value

    schema = Workflow("w", [takes_local]).graph.input_schema
    assert schema is not None
    assert schema["title"] == "Local"


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Workflow(
            "Refund",
            [
                example.analyse,
                example.draft,
                Gate(
                    "approve-refund", reviewers=[], review_if="amout > 1.0", title="{ordr_id}", priority=101, due="soon"
                ),
                example.apologise,
                example.apologise,
            ],
        )
    codes = sorted({fault.code for fault in caught.value.faults})
    assert codes == ["E101", "E102", "E104", "E109", "E115", "E116", "E123"]
    assert caught.value.code == "definition"


def test_a_fault_reads_as_documented() -> None:
    with pytest.raises(DefinitionError) as caught:
        Workflow(
            "refund", [example.analyse, example.draft, Gate("approve-refund", reviewers="a", review_if="amout > 1.0")]
        )
    assert str(caught.value) == (
        "E104 gate 'approve-refund': review_if uses 'amout', which Resolution does not have\n"
        "     did you mean 'amount'? fields: order_id, amount, reply, confidence"
    )


def test_importing_the_package_loads_no_server() -> None:
    heavy = "celery flask sqlalchemy kombu redis psycopg jsonschema"
    code = f"import signoff, sys; print([name for name in {heavy.split()} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_testing_is_loaded_when_it_is_asked_for() -> None:
    import signoff

    assert "testing" in signoff.__all__
    with pytest.raises(AttributeError, match="nonsense"):
        signoff.nonsense  # noqa: B018
