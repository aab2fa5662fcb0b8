"""What the conformance suites call alike, and what not: each comparison can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, Triple, parse

from tests.conformance.cases import (
    Case,
    Finding,
    Inapplicable,
    Mismatch,
    OnlyNormalised,
    Outcome,
    judged,
)
from tests.conformance.reasons import Reason, Reasons
from tests.conformance.results import Results, Table, hold_against
from tests.conformance.terms import Row, same_graph, same_rows, stored

X, Y = NamedNode("http://e/x"), NamedNode("http://e/y")
A, B, C, D = (BlankNode(label) for label in "abcd")
CASE = Case("sparql11", "cast", "http://e/test", "a test")


def graph(turtle: str) -> list[Quad]:
    return list(parse(turtle, format=RdfFormat.TURTLE, base_iri="http://e/"))


@pytest.mark.parametrize(
    ("expected", "found", "alike"),
    [
        ([{"v": X}, {"v": Y}], [{"v": Y}, {"v": X}], True),
        ([{"v": X}, {"v": X}], [{"v": X}], False),
        ([{"v": X}, {"v": X}], [{"v": X}, {"v": Y}], False),
        ([{"v": X}, {}], [{}, {"v": X}], True),
        ([{"v": X}], [{"w": X}], False),
        # One blank node in two rows is not two blank nodes.
        ([{"v": A}, {"v": A}], [{"v": C}, {"v": C}], True),
        ([{"v": A}, {"v": A}], [{"v": C}, {"v": D}], False),
        ([{"v": A}, {"v": B}], [{"v": C}, {"v": C}], False),
        ([{"v": A, "w": X}, {"v": A, "w": Y}], [{"v": C, "w": Y}, {"v": C, "w": X}], True),
        ([{"v": A, "w": B}, {"v": B, "w": A}], [{"v": C, "w": D}, {"v": D, "w": C}], True),
        ([{"v": A, "w": B}, {"v": B, "w": A}], [{"v": C, "w": D}, {"v": C, "w": D}], False),
        ([{"v": Triple(A, X, B)}], [{"v": Triple(C, X, D)}], True),
        ([{"v": Triple(A, X, A)}], [{"v": Triple(C, X, D)}], False),
        ([{"v": A}], [{"v": X}], False),
        ([{"v": Literal("1")}], [{"v": Literal("1", language="en")}], False),
    ],
)
def test_tables_are_alike_under_one_relabelling(
    expected: list[Row], found: list[Row], alike: bool
) -> None:
    assert same_rows(expected, found, ordered=False) is alike
    assert same_rows(found, expected, ordered=False) is alike


def test_order_counts_where_it_should() -> None:
    rows: list[Row] = [{"v": X}, {"v": Y}]
    assert same_rows(rows, rows, ordered=True)
    assert not same_rows(rows, rows[::-1], ordered=True)


def test_reduced_may_leave_out_duplicates_and_nothing_else() -> None:
    rows: list[Row] = [{"v": X}, {"v": X}, {"v": Y}]
    assert same_rows(rows, [{"v": X}, {"v": Y}], ordered=False, lax=True)
    assert same_rows(rows, rows, ordered=False, lax=True)
    assert not same_rows(rows, [{"v": X}], ordered=False, lax=True)
    assert not same_rows(rows, [*rows, {"v": Y}], ordered=False, lax=True)


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        ("_:a <p> _:b . _:b <p> _:a .", "_:c <p> _:d . _:d <p> _:c .", True),
        ("_:a <p> _:b . _:b <p> _:a .", "_:c <p> _:c .", False),
        ("<s> <p> 1 .", "<s> <p> 01 .", False),
        ("<s> <p> 1, 1 .", "<s> <p> 1 .", True),
    ],
)
def test_graphs_are_alike_when_isomorphic(left: str, right: str, alike: bool) -> None:
    assert same_graph(graph(left), graph(right)) is alike


def test_the_store_gives_back_its_own_form() -> None:
    byte = Literal("7", datatype=NamedNode("http://www.w3.org/2001/XMLSchema#byte"))
    assert stored(byte) == Literal(7)
    assert stored(Literal("07")) == Literal("07")
    assert stored(A) == A


INTEGERS = Table(("v",), [{"v": Literal(1)}, {"v": Literal(2)}])
COLUMNS = Table(("a", "b"), [], positions=True)
ONE = graph("<s> <p> 1 .")
MILLION = Table(("v",), [{"v": Literal("1.0E6")}])
JSON = "application/sparql-results+json"


def answer(*values: str, datatype: str = "integer") -> bytes:
    cells = ",".join(
        f'{{"v":{{"type":"literal","value":"{value}",'
        f'"datatype":"http://www.w3.org/2001/XMLSchema#{datatype}"}}}}'
        for value in values
    )
    return f'{{"head":{{"vars":["v"]}},"results":{{"bindings":[{cells}]}}}}'.encode()


@pytest.mark.parametrize(
    ("expected", "body", "content_type", "query", "raises"),
    [
        (INTEGERS, answer("2", "1"), JSON, "", None),
        (INTEGERS, answer("2", "01"), JSON, "", OnlyNormalised),
        (INTEGERS, answer("1", "2", datatype="byte"), JSON, "", OnlyNormalised),
        (INTEGERS, answer("1", "3"), JSON, "", Mismatch),
        (INTEGERS, answer("1"), JSON, "", Mismatch),
        (INTEGERS, b'{"head":{},"boolean":true}', JSON, "", Mismatch),
        (True, b'{"head":{},"boolean":true}', JSON, "", None),
        (True, b'{"head":{},"boolean":false}', JSON, "", Mismatch),
        (ONE, b"<http://e/s> <http://e/p> 1 .", "text/turtle", "", None),
        (ONE, b"<http://e/s> <http://e/p> 01 .", "text/turtle", "", OnlyNormalised),
        (ONE, b"<http://e/s> <http://e/p> 2 .", "text/turtle", "", Mismatch),
        (COLUMNS, b"a,b\r\n", "text/csv", "SELECT ?a ?b {}", None),
        (COLUMNS, b"b,a\r\n", "text/csv", "SELECT ?a ?b {}", Mismatch),
        (COLUMNS, b"b,a\r\n", "text/csv", "SELECT * {}", None),
        (COLUMNS, b"<html>", "text/html", "", Mismatch),
        (COLUMNS, b"{", JSON, "", Mismatch),
        (Table(("a",), []), b"b\r\n", "text/csv", "SELECT * {}", Mismatch),
        (MILLION, b"v\r\n1000000\r\n", "text/csv", "", OnlyNormalised),
        (MILLION, b"v\r\n1000001\r\n", "text/csv", "", Mismatch),
        (Table(("v",), [{"v": Literal("a")}]), b"v\r\na,b\r\n", "text/csv", "", Mismatch),
    ],
)  # fmt: skip
def test_an_answer_is_held_against_the_expected_result(
    expected: Results,
    body: bytes,
    content_type: str,
    query: str,
    raises: type[Exception] | None,
) -> None:
    if raises is None:
        hold_against(expected, body, content_type, query)
        return
    with pytest.raises(raises):
        hold_against(expected, body, content_type, query)


def raising(error: Exception) -> Callable[[], None]:
    def test() -> None:
        raise error

    return test


def test_a_test_ends_as_it_says() -> None:
    assert judged(CASE, lambda: None) == Finding(CASE, Outcome.PASSED)
    for error, outcome in (
        (Mismatch("a"), Outcome.FAILED),
        (OnlyNormalised("a"), Outcome.NORMALISED),
        (Inapplicable("a"), Outcome.INAPPLICABLE),
    ):
        assert judged(CASE, raising(error)) == Finding(CASE, outcome, "a")


def test_a_reason_is_for_one_outcome_and_must_have_a_test() -> None:
    own = Reason(Outcome.FAILED, "own", frozenset({CASE.iri}), frozenset())
    group = Reason(Outcome.FAILED, "group", frozenset(), frozenset({"sparql11/cast"}))
    other = Case("sparql11", "cast", "http://e/other", "another")
    failed, normalised = Finding(CASE, Outcome.FAILED), Finding(CASE, Outcome.NORMALISED)
    failed_too = Finding(other, Outcome.FAILED)
    reasons = Reasons([own, group])
    assert [reasons.why(finding) for finding in (failed, failed_too)] == ["own", "group"]
    assert reasons.unexplained([failed, failed_too]) == []
    assert reasons.outlived([failed, failed_too]) == []
    assert reasons.unexplained([normalised, failed_too]) == [normalised]
    assert reasons.outlived([normalised, failed_too]) == ["http://e/test is no longer failed"]
    # The group's reason is left over as well when only tests with their own fail.
    assert reasons.outlived([failed]) == ["sparql11/cast is no longer failed"]
    with pytest.raises(ValueError, match="two reasons"):
        Reasons([own, own])
