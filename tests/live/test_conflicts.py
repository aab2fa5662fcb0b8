"""Two sources of one dataset: they agree, they contradict each other, and they agree again.

Runs come from OpenLineage's own client, spans from OpenTelemetry's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    schema_dataset,
)
from openlineage.client.uuid import generate_new_uuid
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from ontology.dataset_names import DataName, Store
from ontology.vocab import Fo, Rdf
from tests.live.conftest import wait_until

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Serve, Server

pytestmark = pytest.mark.live

DATABASE = "postgres://db.shop:5432"
ORDERS = DataName("dataset", Store("postgresql", "db.shop", "shop"), "orders")
QUESTIONS = Path(__file__).parents[2] / "docs" / "questions"
PROGRAM = "orders-loader"


@dataclass
class Sources:
    """A job that reports to OpenLineage, and the program that it is, which is traced."""

    server: Server
    lineage: OpenLineageClient
    exporter: OTLPSpanExporter
    minutes: int = 0

    def run(self, job: str, reads: str = "", writes: str = "", kind: str = "numeric") -> None:
        self.minutes += 1
        schema = schema_dataset.SchemaDatasetFacet(
            [schema_dataset.SchemaDatasetFacetFields("price", kind)]
        )
        lineage = column_lineage_dataset.ColumnLineageDatasetFacet(
            fields={
                "total": column_lineage_dataset.Fields(
                    inputFields=[
                        column_lineage_dataset.InputField(DATABASE, f"shop.public.{reads}", *made)
                        for made in (
                            ("price", [_step("DIRECT", "AGGREGATION")]),
                            ("day", [_step("INDIRECT", "FILTER")]),
                        )
                    ]
                )
            }
        )
        self.lineage.emit(
            RunEvent(
                eventType=RunState.COMPLETE,
                eventTime=(datetime.now(UTC) + timedelta(milliseconds=self.minutes)).isoformat(),
                run=Run(str(generate_new_uuid())),
                job=Job("etl", job),
                producer="https://shop.example/etl",
                inputs=[
                    InputDataset(DATABASE, f"shop.public.{name}", facets={"schema": schema})
                    for name in (reads,)
                    if name
                ],
                outputs=[
                    OutputDataset(
                        DATABASE,
                        f"shop.public.{name}",
                        facets={"columnLineage": lineage} if reads else {"schema": schema},
                    )
                    for name in (writes,)
                    if name
                ],
            )
        )

    def trace(self, statement: str) -> None:
        resource = Resource({"service.name": PROGRAM})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        attributes: dict[str, str | int] = {
            "db.system.name": "postgresql",
            "db.namespace": "shop",
            "server.address": "DB.shop",
            "server.port": 5432,
            "db.query.text": statement,
        }
        with provider.get_tracer("test").start_as_current_span(
            "query", kind=SpanKind.CLIENT, attributes=attributes
        ):
            pass
        provider.force_flush()

    def claim(self, *expected: tuple[str, str, str, str]) -> None:
        """Wait until this is disputed, by whom and how, as the documented question tells it: a look
        waits for ten times as long as the one before took."""
        self.server.settle()
        question = (QUESTIONS / "q27-conflicts.rq").read_text(encoding="utf-8")

        def told() -> bool:
            rows = self.server.select(question)
            found = sorted((on, source, who, says) for _, on, _, source, who, says, _ in rows)
            return found == sorted(expected)

        wait_until(told, f"the statement of {expected or 'no conflict'}")


def _step(kind: str, subtype: str) -> column_lineage_dataset.Transformation:
    return column_lineage_dataset.Transformation(type=kind, subtype=subtype)


@pytest.fixture
def sources(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    server = serve(None, "--steward-seconds", "0.2").start()
    made = server.post("/projects", {"slug": "shop"})
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_API_KEY"):
        monkeypatch.setenv(name, made["openlineage"][name])
    exporter = OTLPSpanExporter(
        endpoint=f"{server.url}/v1/traces",
        headers={"authorization": f"Bearer {made['ingest_key']}"},
    )
    lineage = OpenLineageClient()
    yield Sources(server, lineage, exporter)
    lineage.close()


def test_sources_agree_disagree_and_agree_again(sources: Sources, command: RunCommand) -> None:
    server = sources.server
    ids = server.ids
    job, orders = ids.job("shop", "etl", PROGRAM), ORDERS.iri(ids, "shop")
    # Both say that the program reads the table, under one name.
    sources.run(PROGRAM, reads="orders", writes="report")
    sources.trace("SELECT price FROM orders")
    sources.claim()
    reading = f"SELECT ?who {{ ?who <{Fo.reads}> <{orders}> }}"
    assert len(server.select(reading)) == 2
    assert "disagree" not in str(server.get("/status")["warnings"])

    # Column lineage is kept whole, and asked for by a question of its own.
    columns = server.select((QUESTIONS / "q26-column-lineage.rq").read_text(encoding="utf-8"))
    assert columns == [
        ("total", "report", "day", "orders", "indirect", "FILTER", ""),
        ("total", "report", "price", "orders", "direct", "AGGREGATION", ""),
    ]

    # A table that the job says it writes is one that its spans only read, and another job describes
    # a column of it otherwise.
    sources.trace("SELECT id FROM report")
    sources.run("audit", reads="orders", kind="text")
    sources.claim(
        ("access", "openlineage.event", PROGRAM, "writes"),
        ("access", "otel.span", "SELECT report", "reads"),
        ("type", "openlineage.event", "audit", "price is text"),
        ("type", "openlineage.event", PROGRAM, "price is numeric"),
    )
    # Neither statement went, and each is told of by its own evidence.
    [warning] = [text for text in server.get("/status")["warnings"] if "disagree" in text]
    assert warning.startswith("sources of project shop disagree on 2 points")
    assert warning in " ".join(command("status", "--data", server.data).text.split())
    [asset] = [
        item for item in server.get("/catalog", kind="dataset")["items"] if item["id"] == orders
    ]
    assert [conflict["label"] for conflict in asset["conflicts"]] == [
        f"type: audit (openlineage.event): price is text; {PROGRAM} (openlineage.event):"
        " price is numeric"
    ]
    payloads = set()
    for says in ("price is text", "price is numeric"):
        [(claim,)] = server.select(f'SELECT ?claim {{ ?claim <{Fo.claims}> "{says}" }}')
        story = command(
            *("--output", "json", "proofs", "explain", f"<{claim}>", f"<{Fo.claims}>"),
            *(f'"{says}"', "--data", server.data),
        ).text
        assert "payload_sha256" in story
        assert ids.principal("steward-shop") in story
        [(batch,)] = server.select(f"SELECT ?batch {{ <{claim}> <{Fo.shownBy}> ?batch }}")
        digest = f"sha256:{batch.rsplit('/', 1)[1]}"
        assert digest in story
        payloads.add(digest)
    assert len(payloads) == 2

    # Whoever decides on what is about the table is told.
    made = server.propose(
        "shop", f'<{orders}> <{Fo.namespace}> "shop" ; <{Fo.derivedFrom}> <{orders}> .'
    )
    card = server.get(f"/proposals/{made['id']}/card")
    assert [conflict["id"] for conflict in card["conflicts"]] == [
        conflict["id"] for conflict in asset["conflicts"]
    ]
    shown = command("proposals", "show", made["id"], "--data", server.data).text
    assert "conflicts between sources" in shown

    # The other job describes the column as the first one does, and spans show the writing.
    sources.run("audit", reads="orders", kind="DECIMAL(10,2)")
    sources.trace("INSERT INTO report (total) VALUES (1)")
    sources.claim()
    assert server.select(f"SELECT ?c {{ ?c <{Rdf.type}> <{Fo.Conflict}> }}") == []
    assert "disagree" not in str(server.get("/status")["warnings"])
    # That they disagreed is in the log for good.
    rationales = [item["rationale"] for item in server.get("/proposals")["items"]]
    assert [text for text in rationales if text.startswith("Sources agree again")]
    assert (job,) in server.select(reading)
