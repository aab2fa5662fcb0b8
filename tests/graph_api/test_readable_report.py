"""What a report tells those who may not read every graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pyoxigraph import Literal, NamedNode, Quad

from graph_api.readable_report import MASKED, readable_report
from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta
from shapes.report import Report, Result

IDS = Ids()
OPEN, SECRET = IDS.lineage_graph("shop"), IDS.lineage_graph("bank")
HIDDEN = frozenset({SECRET})
P = NamedNode("urn:p")


def node(name: str) -> NamedNode:
    return NamedNode(f"urn:{name}")


def quad(subject: str, value: NamedNode | Literal, graph: str) -> Quad:
    return Quad(node(subject), P, value, NamedNode(graph))


STATED = (
    quad("open", node("open-value"), OPEN),
    quad("open", node("secret-value"), SECRET),
    quad("secret", Literal("42"), SECRET),
    quad("other", Literal("42"), OPEN),
)


@pytest.fixture
def store() -> GraphStore:
    store = GraphStore(None, IDS)
    store.apply(Delta(frozenset(STATED), frozenset()), Delta(), 0)
    return store


def result(focus: str, value: str | None = None, path: str | None = "<urn:p>") -> Result:
    return Result(
        *(f"<urn:{focus}>", path, value, f"{focus} {value} is wrong", "<urn:shape>", "Violation"),
        component="<urn:component>",
        cause=f"A <urn:{focus}> <urn:p> 1 <{OPEN}> .",
        advice="mend it",
    )


def told(store: GraphStore, *results: Result, delta: Delta | None = None) -> dict[str, Any]:
    report = Report(results, 5, (("<urn:shape>", 9),)).to_dict()
    return readable_report(report, delta or Delta(), HIDDEN, store)


@pytest.mark.parametrize(
    "shown",
    [
        result("open"),
        result("open", "<urn:open>", None),
        result("open", "<urn:open-value>"),
        result("open-value", "<urn:open>", "^<urn:p>/<urn:q>"),
    ],
)
def test_what_open_graphs_state_is_told(store: GraphStore, shown: Result) -> None:
    found = told(store, shown)
    assert found["results"] == Report((shown,)).to_dict()["results"]
    assert found["omitted"] == 5


@pytest.mark.parametrize(
    "masked",
    [
        result("secret"),
        result("secret", '"42"'),
        result("open", "<urn:secret-value>"),
        result("open", '"42"'),
        result("open", "<urn:secret-value>", "<urn:p>/<urn:q>"),
        result("nowhere"),
        replace(result("open"), focus="_:b"),
    ],
)
def test_what_only_restricted_graphs_state_is_not(store: GraphStore, masked: Result) -> None:
    found = told(store, masked)
    (shown,) = found["results"]
    assert (shown["focus"], shown["message"]) == ("<urn:shape>", MASKED)
    assert not {"secret", "42", "wrong", "mend it", "_:b", "nowhere"} & {
        word for value in shown.values() for word in str(value).strip("<>").split()
    }
    assert not found["conforms"]
    assert not Report.from_dict(found).conforms
    assert found["nodes"] == {"<urn:shape>": 9}


def test_a_cause_in_a_restricted_graph_is_not_told(store: GraphStore) -> None:
    caused = replace(result("open"), cause=f"D <urn:secret> <urn:p> 1 <{SECRET}> .")
    (shown,) = told(store, caused)["results"]
    assert (shown["focus"], shown["cause"]) == ("<urn:open>", None)


def test_equal_results_that_are_not_told_are_one(store: GraphStore) -> None:
    found = told(store, result("secret"), result("secret", '"42"'), result("open"))
    assert [item["focus"] for item in found["results"]] == ["<urn:shape>", "<urn:open>"]
    assert found["omitted"] == 6


def test_the_change_itself_is_known_to_its_readers(store: GraphStore) -> None:
    new = frozenset({quad("new", Literal("x"), OPEN), quad("hidden", Literal("y"), SECRET)})
    delta = Delta(new, frozenset())
    found = told(store, result("new", '"x"'), result("hidden", '"y"'), delta=delta)
    assert [item["value"] for item in found["results"]] == ['"x"', None]


def test_who_may_read_everything_is_told_everything(store: GraphStore) -> None:
    report = Report((result("secret", '"42"'),)).to_dict()
    assert readable_report(report, Delta(), frozenset(), store) == report
