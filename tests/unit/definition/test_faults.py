from __future__ import annotations

import re

import pytest

from signoff.definition.faults import CODES, DefinitionError, Fault, FaultLog, did_you_mean


def test_a_fault_reads_as_one_line_and_its_fix() -> None:
    fault = Fault(code="E104", where="gate 'g'", what="is wrong", fix="make it right")
    assert str(fault) == "E104 gate 'g': is wrong\n     make it right"
    assert str(Fault(code="E104", where="gate 'g'", what="is wrong")) == "E104 gate 'g': is wrong"
    assert fault.to_json() == {
        "code": "E104",
        "where": "gate 'g'",
        "what": "is wrong",
        "fix": "make it right",
        "severity": "error",
    }


def test_warnings_do_not_raise_and_faults_raise_together() -> None:
    log = FaultLog()
    log.add("W201", "step 's'", "doubtful")
    log.raise_errors()
    log.add("E101", "step 's'", "one")
    log.add("E101", "step 's'", "one")
    log.add("E102", "step 's'", "two")
    with pytest.raises(DefinitionError) as caught:
        log.raise_errors()
    assert [fault.what for fault in caught.value.faults] == ["one", "two"]
    assert [fault.what for fault in log.warnings] == ["doubtful"]


def test_the_table_of_codes_is_well_formed() -> None:
    assert all(re.fullmatch(r"[EW]\d{3}", code) for code in CODES)
    assert all(meaning and not meaning.endswith(".") for meaning in CODES.values())


def test_a_near_name_is_offered_and_the_list_is_bounded() -> None:
    assert did_you_mean("amout", ["amount", "x"]) == "did you mean 'amount'? fields: amount, x"
    assert did_you_mean("zzz", ["amount"]) == "fields: amount"
    assert did_you_mean("a", []) == ""
    assert did_you_mean("q" * 10_000, [f"n{n}" for n in range(100)]).endswith("n11, …")
