from __future__ import annotations

import ast
import math
import operator
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from signoff.canonical import Json
from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import Scope
from signoff.definition.conditions import Outcome, compile_expression
from signoff.definition.schemas import schema_of


class Tier(BaseModel):
    name: str
    limit: Decimal


class Item(BaseModel):
    price: Decimal
    kind: str = "plain"


class Order(BaseModel):
    amount: Decimal
    count: int
    score: float
    name: str
    urgent: bool = False
    note: str | None = None
    discount: Decimal | None = None
    tier: Tier
    items: list[Item] = []
    extra: dict[str, Decimal] = {}
    type: str = "t"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    amount: Decimal


ORDER = Scope.of(schema_of(Order, "serialization"))
ANYTHING = Scope.of(None)
PAYLOAD: dict[str, Json] = {
    "amount": "640.00",
    "count": 3,
    "score": 0.62,
    "name": "Ana",
    "urgent": True,
    "note": None,
    "discount": "2.50",
    "tier": {"name": "gold", "limit": "100.10"},
    "items": [{"price": "9.99", "kind": "plain"}, {"price": "120", "kind": "bulky"}],
    "extra": {"tax": "1.5"},
    "type": "return",
}


def evaluate(source: str, payload: Json = PAYLOAD, scope: Scope = ORDER) -> Outcome:
    return compile_expression(source, scope, condition=True).test(payload)


def fault(source: str, scope: Scope = ORDER) -> ExpressionFault:
    with pytest.raises(ExpressionFault) as caught:
        compile_expression(source, scope, condition=True)
    return caught.value


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("amount > 100.0", True),
        ("amount > 640.0", False),
        ("count >= 3", True),
        ("double(count) > 2.5", True),
        ("score < 0.85 && urgent", True),
        ("name.startsWith('A') && name.size() == 3", True),
        ("note == null", True),
        ("discount > 2.0", True),
        ("tier.limit > 100.0", True),
        ("items.exists(i, i.price > 100.0)", True),
        ("items.all(i, i.kind in ['plain', 'bulky'])", True),
        ("items.filter(i, i.price > 100.0).size() == 1", True),
        ("extra.tax > 1.0", True),
        ("has(tier.name) && has(payload.note)", True),
        ("payload.amount > 100.0", True),
        ('payload["type"] == "return"', True),
        ("name.matches('^A.a$')", True),
    ],
)
def test_a_condition_sees_the_payload_with_its_types(source: str, expected: bool) -> None:
    assert evaluate(source) == Outcome(value=expected)


@pytest.mark.parametrize(
    ("source", "code", "what", "fix"),
    [
        (
            "amout > 1.0",
            "E104",
            "uses 'amout', which Order does not have",
            "did you mean 'amount'? fields: amount, count",
        ),
        ("tier.limt > 1.0", "E104", "uses 'limt', which Tier does not have", "did you mean 'limit'?"),
        ("payload.amuont > 1.0", "E104", "uses 'amuont', which Order does not have", "did you mean 'amount'?"),
        ("has(payload.nota)", "E104", "uses 'nota'", "did you mean 'note'?"),
        ("amount >= 85", "E105", "applies '>=' to a decimal number (double) and a whole number (int)", "(85.0)"),
        ("count > 1.5", "E105", "applies '>' to a whole number (int) and a decimal number (double)", "double(count)"),
        ("count > 100.0", "E105", "at character 7: count > 100.0", "write 100 without a point, or double(count)"),
        ("name == 'x' && name.size() > 10 && score < 1", "E105", ": score < 1", "with a point (1.0)"),
        ("tier.limit > 5", "E105", ": tier.limit > 5", "(5.0)"),
        ("payload.tier.limit > count", "E105", ": payload.tier.limit > count", "double(count)"),
        ("amount > '100'", "E105", ": amount > '100'", "write the number without quotes: 100.0"),
        ("urgent == 1", "E105", ": urgent == 1", "stands alone"),
        ("name.matches('(a')", "E105", "has the pattern '(a', which RE2 cannot read", "close every bracket"),
        ("matches(name, '(?=x)') || name.matches(name)", "E105", "has the pattern '(?=x)'", "no lookaround"),
        ("amount && urgent", "E105", "applies '&&'", "compare the value with another"),
        ("amount.value > 1.0", "E104", "uses 'value', which 'amount' does not have", "'amount' has no fields"),
        ("amount > 1.0 or urgent", "E105", "uses 'or', which CEL writes '||'", "write || for or"),
        ("not (urgent)", "E105", "uses 'not'", "write ! for not"),
        ("urgent == True", "E105", "uses 'True'", "write true for True"),
        ("len(name) > 3", "E105", "uses 'len'", "write size for len"),
        ("name = 'x'", "E105", "not valid CEL at character 6", "write == to compare"),
        ("name == 'x", "E105", "not valid CEL at character 9", "a quote is opened and never closed"),
        ("$amount > 1.0", "E105", "not valid CEL at character 1", "without $"),
        ("amount > 1,000.0", "E105", "not valid CEL at character 11", "without commas"),
        ("amount > 1.0 &&", "E105", "not valid CEL at character 16: mismatched input the end", "missing at the end"),
        ("amount == name", "E105", "applies '=='", "double(field)"),
        ("amount == null", "E105", "applies '=='", "never null"),
        ("amount ? 1 : 2", "E105", "applies '?:'", ""),
        ("name.size( > 3", "E105", "not valid CEL at character 12", ""),
        ("has(amount)", "E105", "asks has() of what is no field", "has(payload.name)"),
        ("type == 'x'", "E105", "a word of CEL's own", 'write payload["type"]'),
        ("  ", "E105", "is empty", ""),
        ("(" * 60 + "true" + ")" * 60, "E105", "is nested too deeply", ""),
        ("name", "E106", "gives text (string), not true or false", ""),
        ("x" * 2001, "E116", "has 2001 characters; 2000 are allowed", ""),
    ],
)
def test_a_wrong_condition_is_refused_with_a_fix(source: str, code: str, what: str, fix: str) -> None:
    found = fault(source)
    assert found.code == code
    assert what in found.what
    assert fix in found.fix


def test_one_fault_hides_no_other() -> None:
    found = [
        (each.code, each.what.rpartition(": ")[2]) for each in fault("amount > 1 || cuont > 2 || score < 1").each()
    ]
    assert found == [("E104", "uses 'cuont', which Order does not have"), ("E105", "amount > 1"), ("E105", "score < 1")]


def test_a_field_that_has_asks_for_stays_a_field() -> None:
    assert evaluate("has(tier.limit) && tier.limit > 5.0", {"tier": {"limit": "6"}}).value is True
    assert evaluate("has(tier.limit) && tier.limit > 5.0", {"tier": {}}).value is False


def test_a_payload_of_any_form_may_have_a_field_that_is_a_word_elsewhere() -> None:
    assert evaluate("is == 'x' && not.really", {"is": "x", "not": {"really": True}}, ANYTHING).value is True
    assert "write true for True" in fault("urgent == True", ANYTHING).fix


def test_the_values_of_a_mapping_have_their_type() -> None:
    scope = Scope.of({"type": "object", "additionalProperties": {"type": "string", "format": "decimal"}})
    assert evaluate("anna > 5.0", {"anna": "6"}, scope).value is True


def test_every_unknown_name_is_reported() -> None:
    assert [each.what.split(",")[0] for each in fault("amout > 1.0 || cuont > 2 || amout < 3.0").each()] == [
        "uses 'amout'",
        "uses 'cuont'",
    ]


@pytest.mark.parametrize(
    ("source", "payload", "why"),
    [
        ("amount > 1.0", {}, "missing field 'amount'"),
        ("tier.limit > 1.0", {"tier": {}}, "missing field 'limit'"),
        ("amount > 1.0", [], "missing field 'amount'"),
        ("amount > 1.0", None, "missing field 'amount'"),
        ("amount > 1.0", {"amount": "a lot"}, "field 'amount' is text"),
        ("amount > 1.0", {"amount": None}, "field 'amount' is null"),
        ("amount > 1.0", {"amount": "1e999"}, "a number in it is too large"),
        ("score > 1.0", {"score": float("nan")}, "a number in it is not finite"),
        ("score > 1.0", {"score": float("inf")}, "a number in it is not finite"),
        ("count > 1", {"count": True}, "field 'count' is true or false"),
        ("count > 1", {"count": 1.5}, "field 'count' is a number"),
        ("count > 1", {"count": 2**70}, "int too big to convert"),
        ("count / 0 == 1", {"count": 1}, "divide by zero"),
        ("items[3].kind == 'x'", {"items": [{"kind": "x"}]}, "a list of 1 has no element 3"),
        ("urgent", {"urgent": "yes"}, "field 'urgent' is text"),
        ("note.size() > 1", {"note": None}, "'size' has no meaning for null"),
        ("discount > 1.0", {"discount": None}, "'>' has no meaning for null and a decimal number"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_and_not_an_answer(source: str, payload: Json, why: str) -> None:
    found = evaluate(source, payload)
    assert found.value is None
    assert found.error is not None
    assert why in found.error


NO_NUMBER = [
    ("score / amount > 0.5", {"score": 0.0, "amount": "0"}),
    ("score / amount < 0.5", {"score": 1.0, "amount": "0"}),
    ("!(score / amount >= 0.5)", {"score": 0.0, "amount": "0"}),
    ("score / amount == 0.5 || false", {"score": 0.0, "amount": "0"}),
    ("amount in [1.0, score / score]", {"score": 0.0, "amount": "0"}),
    ("items.exists(t, score / amount > 1.0)", {"score": 0.0, "amount": "0", "items": [{"price": "1"}]}),
    ("{'k': score / score}['k'] > 1.0", {"score": 0.0}),
    ("(score * 1e200 * 1e200) - (score * 1e200 * 1e200) > 1.0", {"score": 2.0}),
    ("double(name) > 100.0", {"name": "NaN"}),
    ("(1.0 + (score - (amount * (score / amount)))) > 0.5", {"score": 0.0, "amount": "0"}),
    ("1.0 / (1.0 / amount) > 0.5", {"amount": "0"}),
    ("1.0 / (1.0 + (1.0 / amount)) > 0.5", {"amount": "0"}),
    ("(score / amount > 1.0 ? 2.0 : 3.0) + 1.0 > 3.5", {"score": 0.0, "amount": "0"}),
    ("(score > 1.0 ? 2.0 : score / amount) + 1.0 > 3.5", {"score": 0.0, "amount": "0"}),
    ("[score / amount, 1.0][0] + 1.0 > 3.5", {"score": 0.0, "amount": "0"}),
    ("-(score / amount) < -0.5", {"score": 0.0, "amount": "0"}),
    ("-double(name) < -100.0", {"name": "nan"}),
]


@pytest.mark.parametrize(("source", "payload"), NO_NUMBER)
def test_a_calculation_that_comes_to_no_number_is_an_error_and_waves_nothing_through(
    source: str, payload: Json
) -> None:
    found = evaluate(source, payload)
    assert found.value is None
    assert found.error == "a calculation in it comes to no number, as a division by zero does"


@pytest.mark.parametrize(
    "source",
    [
        "(score + 1.0) * 2.0 / 4.0 > 0.9 && -score < 0.0",
        "count / 2 == 1 && count % 2 == 0 && count - 3 < 0",
        "name + '/' + name == 'Ana/Ana' // a - b\n",
        "timestamp('2030-01-01T00:00:00.000000001Z') - timestamp('2030-01-01T00:00:00Z') > duration('0s')",
        "[1.0 / 4.0, score][0] == 0.25 ? score - score == 0.0 : false",
        "items.exists(t, t.price * 2.0 > 1.0) && '1 / 0' == '1 / 0'",
        "double('2.5') * 2.0 == 5.0",
        "size([1] + [2]) == 2",
    ],
)
def test_a_calculation_that_comes_to_a_number_is_what_it_was(source: str) -> None:
    payload = {"score": 0.9, "count": 2, "name": "Ana", "items": [{"price": "1"}]}
    assert evaluate(source, payload) == Outcome(value=True)


LEAVES = {"0.0": 0.0, "a": 3.0, "(1.0)": 1.0, "2.0": 2.0, "1e200": 1e200}
SUMS = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda it: f"({it[0]} {it[1]} {it[2]})"),
    max_leaves=6,
)


@given(SUMS)
def test_a_calculation_has_a_value_only_where_every_part_of_it_is_a_number(source: str) -> None:
    def value(node: ast.expr) -> float:
        if not isinstance(node, ast.BinOp):
            return LEAVES[ast.unparse(node)] if isinstance(node, ast.Name) else float(ast.literal_eval(node))
        left, right = value(node.left), value(node.right)
        work = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
        found: float = work[type(node.op)](left, right)  # a division by zero raises
        if not math.isfinite(found):
            raise OverflowError
        return found

    try:
        expected: float | None = value(ast.parse(source, mode="eval").body)
    except ArithmeticError:
        expected = None
    found = compile_expression(source, ANYTHING).evaluate({"a": 3.0})
    assert found.value == expected
    assert (found.error is None) == (expected is not None)


def test_a_calculation_may_nest_as_deeply_as_any_expression() -> None:
    assert evaluate("(" * 25 + "score" + " + 1.0)" * 25 + " > 25.0", {"score": 0.5}) == Outcome(value=True)
    assert fault("+".join(["score"] * 100) + " > 1.0").what == "is nested too deeply"


def test_a_true_disjunct_decides_even_beside_a_missing_field() -> None:
    assert evaluate("amount > 100.0 || score < 0.5", {"amount": "640"}) == Outcome(value=True)
    assert evaluate("amount > 100.0 || score < 0.5", {"amount": "50"}).error == "missing field 'score'"


def test_without_a_schema_names_and_types_are_dynamic() -> None:
    assert evaluate("amount > 100 && who.name == 'x'", {"amount": 640.5, "who": {"name": "x"}}, ANYTHING).value is True
    assert evaluate("amount > 100", {"amount": "640"}, ANYTHING).error is not None
    assert evaluate("double(amount) > 100.0", {"amount": "640"}, ANYTHING).value is True
    assert evaluate("anything", {"anything": 5}, ANYTHING).error == "it gives a number, not true or false"
    assert fault("amount >", ANYTHING).code == "E105"


def test_an_open_model_admits_other_names_and_keeps_its_decimals() -> None:
    scope = Scope.of(schema_of(Open, "serialization"))
    assert evaluate("amount > 10.0 && other == 'x'", {"amount": "11", "other": "x"}, scope).value is True


def test_a_payload_that_is_no_object_is_reached_as_payload() -> None:
    scope = Scope.of({"type": "array", "items": {"type": "string", "format": "decimal"}})
    assert evaluate("payload.exists(each, each > 5.0)", ["1", "6"], scope).value is True


def test_numbers_of_either_spelling_fit_their_declaration() -> None:
    assert evaluate("score > 0.5", {"score": 1}).value is True
    assert evaluate("count == 2", {"count": 2.0}).value is True


BOMBS = [
    ("[0,1,2,3,4,5,6,7,8,9]" + ".map(a, [0,1,2,3,4,5,6,7,8,9])" * 9 + ".size() > 0", {}),
    ("[s]" + ".map(a, a + a)" * 30 + "[0].size() > 0", {"s": "abcd"}),
    ("l.all(a, l.all(b, l.all(c, l.all(d, true))))", {"l": list(range(5_000))}),
    ("l.all(a, (s + s).size() > 0)", {"l": list(range(9_000)), "s": "x" * 200_000}),
    ("l.all(a, s.contains('xxxxxxxxxy') == false)", {"l": list(range(9_000)), "s": "x" * 200_000}),
    ("l.all(a, l == l)", {"l": list(range(9_000))}),
    ("l.map(a, l).size() > 0", {"l": list(range(9_000))}),
    ("s.matches('(x+x+)+y')", {"s": "x" * 200_000}),
    ("+".join(["s"] * 900) + " == s", {"s": "x" * 200_000}),
]


@pytest.mark.parametrize(("source", "payload"), BOMBS, ids=range(len(BOMBS)))
def test_a_bomb_ends_quickly(source: str, payload: Json) -> None:
    started = time.perf_counter()
    try:
        found: Any = evaluate(source, payload, ANYTHING)
    except ExpressionFault as refused:
        found = refused
    assert time.perf_counter() - started < 2
    assert found is not None


def test_a_deep_payload_ends_in_an_answer() -> None:
    deep: Any = 1
    for _ in range(5_000):
        deep = {"a": deep}
    assert evaluate("x == x", {"x": deep}, ANYTHING).error == "the payload is nested too deeply"


def test_a_large_ordinary_payload_is_evaluated() -> None:
    order = PAYLOAD | {"items": [{"price": "9.99", "kind": "k" * 60} for _ in range(1_500)]}
    assert evaluate("items.exists(i, i.price > 100.0 && i.kind != 'x')", order).value is False


def test_one_expression_serves_many_threads() -> None:
    compiled = compile_expression("amount > 500.0", ORDER, condition=True)
    payloads = [PAYLOAD | {"amount": str(n)} for n in range(1_000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda payload: compiled.test(payload).value, payloads))
    assert found == [n > 500 for n in range(1_000)]
