"""Each code of the table is triggered by the fault it stands for, and by nothing else in that definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from tests.unit.definition.faulty import FAULTY, LATE, Offer, after, gate, look, make, needs_feedback, pay, wf

from signoff import Feedback, Gate, Retry, Workflow, step
from signoff.definition.document import compile_document
from signoff.definition.faults import CODES, DefinitionError, Fault


def faults_of(build: Callable[[], Any]) -> tuple[Fault, ...]:
    with pytest.raises(DefinitionError) as caught:
        build()
    return caught.value.faults


@pytest.mark.parametrize(("code", "build", "says"), FAULTY, ids=[f"{n}-{row[0]}" for n, row in enumerate(FAULTY)])
def test_a_fault_has_its_code_and_says_what_is_wrong(code: str, build: Callable[[], Any], says: str) -> None:
    faults = faults_of(build)
    assert {fault.code for fault in faults} == {code}
    assert says in "\n".join(map(str, faults))


def test_every_code_of_the_table_has_a_case() -> None:
    tried = {row[0] for row in FAULTY} | {"W201", "W202", "W203", "W204"}
    assert tried == set(CODES)


def test_faults_of_nodes_and_of_the_whole_are_reported_together() -> None:
    found = {fault.code for fault in faults_of(wf(gate(title="{nme}", due="2h", on_timeout="approve"), pay))}
    assert found == {"E104", "E112"}


def test_the_number_of_faults_is_bounded() -> None:
    items = [Gate(f"g{n}", reviewers="a", title="{nope}", priority=500) for n in range(150)]
    assert len(faults_of(wf(*items))) == 100


def codes(workflow: Workflow) -> list[str]:
    return [fault.code for fault in workflow.warnings]


def test_an_irreversible_step_without_a_gate_before_it_is_warned_of() -> None:
    assert codes(Workflow("w", [make, pay])) == ["W201"]
    assert codes(Workflow("w", [make, gate(), pay])) == []
    assert codes(Workflow("w", [make, after(), pay])) == ["W201"]
    assert codes(Workflow("w", [make, gate(on_reject=pay)])) == []


def test_an_irreversible_step_that_retries_without_a_key_is_warned_of() -> None:
    def wipe(offer: Offer) -> None:
        return None

    wipe.__qualname__ = "wipe"
    assert codes(Workflow("w", [make, gate(), step(irreversible=True, retry=Retry(3))(wipe)])) == ["W202"]
    assert codes(Workflow("w", [make, gate(), step(irreversible=True, retry=Retry(1))(wipe)])) == []
    assert codes(Workflow("w", [make, gate(), step(irreversible=True)(wipe)])) == []


def test_a_function_that_no_worker_can_find_is_warned_of() -> None:
    @step
    def inner(value: int) -> int:
        return value

    assert codes(Workflow("w", [inner])) == ["W203"]


def test_keys_that_change_nothing_in_mode_after_are_warned_of() -> None:
    assert codes(Workflow("w", [make, after(editable=["name"], form={"type": "object"})])) == ["W204", "W204"]


def test_a_step_that_only_a_decision_leads_to_may_rely_on_feedback() -> None:
    Workflow("w", [make, gate(on_reject=step(needs_feedback))])
    Workflow("w", [make, gate(**LATE, on_timeout=[step(needs_feedback)])])
    Workflow("w", [make, gate(options=["hold", "reject"]), step(needs_feedback)])


def test_parameters_of_the_engine_may_be_annotated_loosely() -> None:
    def loose(offer: Offer, *, run: object, idempotency_key: Any, feedback: Annotated[Feedback | None, "x"]) -> Offer:
        return offer

    assert codes(Workflow("w", [make, step(loose)])) == ["W203"]


def test_a_field_inside_a_field_may_be_editable() -> None:
    class Letter(BaseModel):
        offer: Offer

    Workflow("w", [gate(editable=["offer.amount"])], input=Letter)
    (fault,) = faults_of(lambda: Workflow("w", [gate(editable=["offer.amuont"])], input=Letter))
    assert "'amuont', which Offer does not have" in fault.what


def test_turns_are_taken_by_people_that_are_named_and_by_members_of_groups() -> None:
    assert codes(Workflow("w", [make, gate(assign="round_robin")])) == []
    assert codes(Workflow("w", [make, gate(assign="round_robin", reviewers=["leads", "user:ana"])])) == []
    assert codes(Workflow("w", [make, gate(assign="round_robin", reviewers="user:{name}")])) == []


def test_who_is_assigned_may_be_in_a_group_or_in_a_template() -> None:
    for reviewers in ("leads", ["leads", "user:sam"], ["user:sam", "user:{name}"], ["user:ana"]):
        Workflow("w", [make, gate(assign="ana", reviewers=reviewers)])


def test_silence_may_lead_to_harmless_work_and_to_another_gate() -> None:
    second = Gate("second", reviewers="managers")
    Workflow("w", [make, gate(**LATE, on_timeout="approve"), look])
    Workflow("w", [make, gate(**LATE, on_timeout="approve"), second, pay])
    Workflow("w", [make, gate(**LATE, on_timeout="reject"), pay])
    Workflow("w", [make, gate(**LATE, on_timeout="cancel"), pay])


def test_silence_about_a_review_beside_the_run_changes_nothing() -> None:
    workflow = Workflow("w", [make, gate(), after_named("beside", **LATE, on_timeout="approve"), pay])
    assert codes(workflow) == []


def after_named(name: str, **keys: Any) -> Gate:
    return Gate(name, reviewers="a", mode="after", **keys)


def test_a_rejection_beside_the_run_may_start_a_branch() -> None:
    workflow = Workflow("w", [make, after(on_reject=look)])
    assert codes(workflow) == []


def test_gates_without_a_schema_are_dynamic() -> None:
    keys = {"reviewers": "a", "review_if": "anything > 3", "title": "{whatever}", "recommend": "x", "editable": ["y"]}
    compiled = compile_document({"workflow": "w", "steps": [{"gate": "g"} | keys]})
    assert compiled.warnings == ()
    assert compiled.graph.gate("g").payload_schema is None
