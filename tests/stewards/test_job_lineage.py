"""Runs become lineage: from bodies of the real client to the quads a steward proposes.

The bodies are those of ``tests/ingest/golden``. To write the golden file anew after a wanted
change, run this test with ``WRITE_GOLDEN=1`` in the environment, and read the difference.
"""

from __future__ import annotations

import json
import os
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import Quad

from ingest.classify import Classifier
from ingest.events import Event
from ingest.evidence import EvidenceBatch
from ingest.openlineage import events_of
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.terms import to_nquads
from ontology.vocab import Fo, Skos
from stewards import job_queries
from stewards.claim_set import Claims
from stewards.draft import Draft, Held, Limits, drafts
from stewards.fact_queries import Page
from stewards.job_claims import LONG_NAME, NAMELESS, TOO_WIDE, claims
from stewards.job_queries import AssetRow, ColumnRow, DerivationRow, JobRow, LineageRows
from stewards.sources import claims as claims_of_page

if TYPE_CHECKING:
    from tests.stewards.conftest import Hire, PlayedGate

GOLDEN = Path(__file__).parent / "golden" / "lineage-proposals.nq"
BODIES = Path(__file__).parents[1] / "ingest" / "golden" / "openlineage-python.jsonl"
RUN = "0197a000-0000-7000-8000-0000000000%02d"
JOB = {"namespace": "airflow", "name": "daily"}


class Reports:
    """What clients report into the warehouse, batch by batch, and what a steward makes of it."""

    def __init__(self, warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str):
        self.warehouse, self.classifier = warehouse, classifier
        self.ids, self.project = ids, project
        self.seq = 0
        self.graph: set[Quad] = set()
        self.drafts: list[Draft] = []

    def ask(self, sql: str) -> tuple[tuple[object, ...], ...]:
        return self.warehouse.query(sql).rows

    def send(self, *bodies: Any, read: bool = True) -> Claims:
        """Store these bodies as one batch; what the page shows, and is proposed."""
        self.seq += 1
        batch = EvidenceBatch(
            self.seq,
            f"sha256:{self.seq:064x}",
            self.project,
            job_queries.SOURCE,
            "application/json",
            1,
            1_795_840_000 * 10**9,
            None,
        )
        found = [
            self.classifier.classify(item)
            for item in events_of(json.dumps(bodies).encode(), batch)
            if isinstance(item, Event)
        ]
        assert all(event.subject for event in found)
        self.warehouse.insert(found)
        return self.read(self.seq - 1) if read else Claims()

    def read(self, after: int) -> Claims:
        page = Page(self.project, after, self.seq, 1)
        wanted = claims_of_page(page, self.ask, self.ids)
        held = Held(
            frozenset(self.graph),
            frozenset((str(q.subject)[1:-1], q.predicate.value) for q in self.graph),
        )
        for draft in drafts(wanted.claims, held, Limits()).drafts:
            self.drafts.append(draft)
            self.graph |= set(draft.quads)
        return wanted

    def linked(self, predicate: str) -> set[tuple[str, str]]:
        """Subjects and objects of a relation in the graph, by the ends of their IRIs."""
        return {
            (end(quad.subject), end(quad.object))
            for quad in self.graph
            if quad.predicate.value == predicate
        }


def end(term: object) -> str:
    return str(term).strip('<>"').rsplit("/", 1)[-1]


@pytest.fixture
def reports(warehouse: Warehouse, classifier: Classifier, ids: Ids, project: str) -> Reports:
    return Reports(warehouse, classifier, ids, project)


def bodies() -> list[Any]:
    return [json.loads(line) for line in BODIES.read_text().splitlines()]


def run(number: int, state: str, **members: Any) -> dict[str, Any]:
    said = {"eventType": state, "run": {"runId": RUN % number}, "job": JOB, **members}
    return {"eventTime": "2026-11-22T12:00:00Z", **said}


def table(name: str, **facets: Any) -> dict[str, Any]:
    return {"namespace": "postgres://db.shop", "name": f"shop.public.{name}", "facets": facets}


def made_from(source: str, kind: str = "DIRECT") -> dict[str, Any]:
    field = {**table(source), "field": "x", "transformations": [{"type": kind}]}
    return {"fields": {"y": {"inputFields": [field]}}}


def test_the_bodies_become_the_golden_proposals(reports: Reports, project: str) -> None:
    for body in bodies():
        reports.send(body)
    text = "".join(
        f"# {draft.rationale}\n# {' '.join(draft.evidence)}\n{draft.additions}\n"
        for draft in reports.drafts
    ).replace(project, "shop")
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("order", list(permutations(range(7)))[17::911])
def test_the_order_of_the_batches_does_not_matter(
    reports: Reports, project: str, order: tuple[int, ...]
) -> None:
    sent = bodies()
    for number in order:
        reports.send(sent[number])
    quads = to_nquads(reports.graph).decode().replace(project, "shop").splitlines()
    golden = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert sorted(quads) == sorted(line for line in golden if line and not line.startswith("#"))


def test_steady_runs_propose_nothing(reports: Reports) -> None:
    for number in range(3):
        reports.send(run(number, "START", inputs=[table("a")]))
        reports.send(run(number, "COMPLETE", outputs=[table("b")]))
    assert len(reports.drafts) == 2
    assert reports.linked(Fo.derivedFrom) == {("b", "a")}


@pytest.mark.parametrize("ending", ["FAIL", "ABORT", "RUNNING"])
def test_what_did_not_end_well_made_nothing_from_anything(reports: Reports, ending: str) -> None:
    reports.send(run(1, "START", inputs=[table("a")], outputs=[table("b")]), run(1, ending))
    assert reports.linked(Fo.derivedFrom) == set()
    assert reports.linked(Fo.reads) == {("daily", "a")}
    assert reports.linked(Fo.writes) == {("daily", "b")}


def test_a_job_that_streams_never_ends(reports: Reports) -> None:
    job = {**JOB, "facets": {"jobType": {"processingType": "STREAMING"}}}
    reports.send(run(1, "RUNNING", job=job, inputs=[table("a")], outputs=[table("b")]))
    assert reports.linked(Fo.derivedFrom) == {("b", "a")}


def test_a_job_may_be_described_without_a_run(reports: Reports) -> None:
    reports.send({"job": JOB, "inputs": [table("a")], "outputs": [table("b")]})
    assert reports.linked(Fo.derivedFrom) == {("b", "a")}


def test_column_lineage_says_more_than_inputs_and_outputs(reports: Reports) -> None:
    outputs = [table("b", columnLineage=made_from("a")), table("c")]
    reports.send(run(1, "COMPLETE", inputs=[table("a"), table("d")], outputs=outputs))
    assert reports.linked(Fo.derivedFrom) == {("b", "a"), ("c", "a"), ("c", "d")}
    assert reports.linked(Fo.derivedFromColumn) == {("y", "x")}
    assert reports.linked(Fo.columnOf) == {("y", "b"), ("x", "a")}


def test_what_only_filters_is_read_and_is_no_source(reports: Reports) -> None:
    outputs = [table("b", columnLineage=made_from("a", "INDIRECT"))]
    reports.send(run(1, "COMPLETE", inputs=[table("a")], outputs=outputs))
    assert reports.linked(Fo.derivedFrom) == set()
    assert reports.linked(Fo.reads) == {("daily", "a")}


def test_how_a_column_is_made_is_kept_where_it_is_more_than_taken_over(reports: Reports) -> None:
    def taken(name: str, *steps: tuple[str, str, bool]) -> dict[str, Any]:
        said = [{"type": t, "subtype": s, "masking": m} for t, s, m in steps]
        return {**table("a"), "field": name, "transformations": said}

    sources = [
        taken("same", ("DIRECT", "IDENTITY", False)),
        taken("plain"),
        taken("sum", ("DIRECT", "AGGREGATION", False), ("INDIRECT", "FILTER", False)),
        taken("hash", ("DIRECT", "TRANSFORMATION", True)),
        taken("day", ("INDIRECT", "FILTER", False), ("INDIRECT", "GROUP_BY", False)),
    ]
    lineage = {"fields": {"y": {"inputFields": sources}}}
    reports.send(run(1, "COMPLETE", outputs=[table("b", columnLineage=lineage)]))
    assert reports.linked(Fo.derivedFromColumn) == {
        ("y", name) for name in ("same", "plain", "sum", "hash")
    }
    pairs = dict(reports.linked(Fo.sourceColumn))
    kept = {
        predicate: {(pairs[node], value) for node, value in reports.linked(predicate)}
        for predicate in (Fo.influence, Fo.transformation)
    }
    assert kept[Fo.influence] == {("sum", "direct"), ("hash", "direct"), ("day", "indirect")}
    assert kept[Fo.transformation] == {
        *(("sum", "AGGREGATION"), ("sum", "FILTER"), ("hash", "TRANSFORMATION")),
        *(("day", "FILTER"), ("day", "GROUP_BY")),
    }
    assert {pairs[node] for node, _ in reports.linked(Fo.masks)} == {"hash"}
    assert {made for _, made in reports.linked(Fo.derivedColumn)} == {"y"}


def test_nothing_is_made_from_itself(reports: Reports) -> None:
    itself = {"inputFields": [{**table("a"), "field": "x"}]}
    same = table("a", columnLineage={"fields": {"x": itself}})
    reports.send(run(1, "COMPLETE", inputs=[table("a")], outputs=[table("a")]))
    reports.send(run(2, "COMPLETE", inputs=[table("a")], outputs=[same]))
    assert reports.linked(Fo.derivedFrom) == reports.linked(Fo.derivedFromColumn) == set()
    assert reports.linked(Fo.writes) == {("daily", "a")}


def test_a_run_with_very_many_inputs_and_outputs_is_set_aside(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stewards.job_queries.MAX_PAIRS", 3)
    many = [table("a"), table("b")]
    wide = run(1, "COMPLETE", inputs=many, outputs=[table("c"), table("d")])
    assert reports.send(wide).set_aside == {TOO_WIDE: 1}
    assert reports.linked(Fo.derivedFrom) == set()
    assert len(reports.linked(Fo.reads)) == 2
    fine = run(2, "COMPLETE", inputs=many, outputs=[table("c")])
    assert reports.send(fine).set_aside == {}
    assert reports.linked(Fo.derivedFrom) == {("c", "a"), ("c", "b")}


def test_the_other_name_of_a_dataset_is_kept_beside(reports: Reports) -> None:
    link = {"namespace": "s3://lake/", "name": "/sales/a", "type": "LOCATION"}
    reports.send(run(1, "START", inputs=[table("a", symlinks={"identifiers": [link]})]))
    (said,) = (quad.object for quad in reports.graph if quad.predicate.value == Skos.altLabel)
    assert str(said) == '"s3://lake/sales/a"'


def test_a_parent_is_a_job_of_its_own(reports: Reports) -> None:
    facets = {"parent": {"run": {"runId": RUN % 9}, "job": {"namespace": "airflow", "name": "dag"}}}
    reports.send(run(1, "START", run={"runId": RUN % 1, "facets": facets}))
    assert reports.linked(Fo.parentJob) == {("daily", "dag")}


def test_names_that_cannot_be_kept_are_counted() -> None:
    long = "x" * 257
    rows = LineageRows(
        jobs=[JobRow("a", long, "", "", 1, "b"), JobRow("a", "j", "a", "\u200b", 1, "b")],
        assets=[AssetRow("input", "a", "j", "file", long, "", 1, "b")],
        derivations=[DerivationRow("derived", "file", "a", "file", long, 1, "b", 1, "b", 1, "b")],
        columns=[ColumnRow("file", "a", "\u200b", "file", "b", "x", "direct", "", "", 1, "b")],
    )
    found = claims(rows, Ids(), "shop")
    assert found.set_aside == {LONG_NAME: 3, NAMELESS: 2}
    assert long not in str(found.claims)


def test_the_gate_and_its_shapes_take_it(
    gate: PlayedGate, hire: Hire, reports: Reports, project: str
) -> None:
    for body in bodies():
        reports.send(body, read=False)
    outcome = hire().run_once()
    assert (outcome.state, outcome.set_aside) == ("proposed", ())
    text = gate.lineage(project).replace(project, "shop")
    golden = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert text.splitlines() == sorted(line for line in golden if line.startswith("<"))
