"""OpenLineage's own client on its default settings, against a real server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    error_message_run,
    job_type_job,
    ownership_job,
    parent_run,
    schema_dataset,
    sql_job,
    symlinks_dataset,
)
from openlineage.client.uuid import generate_new_uuid
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ontology.dataset_names import DataName, Store
from ontology.vocab import Fo
from tests.seeded_secrets import DSN_PASSWORD

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

pytestmark = pytest.mark.live

NOW = datetime.now(UTC)
DATABASE = f"postgres://loader:{DSN_PASSWORD}@DB.Shop:5432"
BUCKET = "s3://shop-lake"
SECRETS = ("ann@example.org", DSN_PASSWORD, "4111111111111111", "Ann Smith")
PARENT = UUID("0197a000-0000-7000-8000-00000000aaaa")

ORDERS = DataName("dataset", Store("postgresql", "db.shop", "shop"), "orders")
REVENUE = DataName("dataset", Store("hive", "metastore.shop:9083", "sales"), "revenue")


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(None, "--steward-seconds", "0.2").start()


@pytest.fixture
def given(server: Server) -> dict[str, str]:
    """What creating a project says of OpenLineage, and its ingest key."""
    made = server.post("/projects", {"slug": "shop"})
    return {**made["openlineage"], "ingest_key": made["ingest_key"]}


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the client logs as a warning or worse."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    for name in ("openlineage", "urllib3", "httpx"):
        logging.getLogger(name).addHandler(listener)
    yield said
    for name in ("openlineage", "urllib3", "httpx"):
        logging.getLogger(name).removeHandler(listener)


@pytest.fixture
def client(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch, complaints: list[str]
) -> Iterator[OpenLineageClient]:
    """The client as a pipeline has it: told where to send by its environment alone."""
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_API_KEY"):
        monkeypatch.setenv(name, given[name])
    made = OpenLineageClient()
    yield made
    assert made.close()
    assert complaints == []


def run_of(client: OpenLineageClient, *states: RunState, name: str = "orders.daily_revenue") -> str:
    """One run of a task of a pipeline, with these states."""
    run_id = str(generate_new_uuid())
    parent = parent_run.ParentRunFacet(
        run=parent_run.Run(runId=str(PARENT)),
        job=parent_run.Job(namespace="airflow", name="orders"),
    )
    lineage = column_lineage_dataset.ColumnLineageDatasetFacet(
        fields={
            "revenue": column_lineage_dataset.Fields(
                inputFields=[
                    column_lineage_dataset.InputField(
                        DATABASE,
                        "shop.public.orders",
                        "price",
                        [
                            column_lineage_dataset.Transformation(
                                type="DIRECT", subtype="AGGREGATION"
                            )
                        ],
                    ),
                    column_lineage_dataset.InputField(
                        DATABASE,
                        "shop.public.customers",
                        "id",
                        [column_lineage_dataset.Transformation(type="INDIRECT", subtype="JOIN")],
                    ),
                ]
            )
        }
    )
    for place, state in enumerate(states):
        ended = state in (RunState.COMPLETE, RunState.FAIL)
        failed = {
            "errorMessage": error_message_run.ErrorMessageRunFacet(
                "no row 17 of ann@example.org: 'Ann Smith'", "python", "trace of Ann Smith"
            )
        }
        client.emit(
            RunEvent(
                eventType=state,
                eventTime=(NOW + timedelta(milliseconds=place)).isoformat(),
                run=Run(run_id, {"parent": parent, **(failed if state is RunState.FAIL else {})}),
                job=Job(
                    "airflow",
                    name,
                    {
                        "jobType": job_type_job.JobTypeJobFacet("BATCH", "AIRFLOW", "TASK"),
                        "sql": sql_job.SQLJobFacet(
                            "INSERT INTO revenue SELECT '4111111111111111' FROM orders"
                        ),
                        "ownership": ownership_job.OwnershipJobFacet(
                            [
                                ownership_job.Owner("user:ann@example.org"),
                                ownership_job.Owner("team:data"),
                            ]
                        ),
                    },
                ),
                producer="https://shop.example/etl",
                inputs=[
                    InputDataset(
                        DATABASE,
                        "shop.public.orders",
                        facets={
                            "schema": schema_dataset.SchemaDatasetFacet(
                                [schema_dataset.SchemaDatasetFacetFields("price", "numeric")]
                            )
                        },
                    ),
                    InputDataset(DATABASE, "shop.public.customers"),
                ],
                outputs=[
                    OutputDataset(
                        BUCKET,
                        "sales/revenue",
                        facets={
                            "symlinks": symlinks_dataset.SymlinksDatasetFacet(
                                [
                                    symlinks_dataset.Identifier(
                                        "hive://metastore.shop:9083", "sales.revenue", "TABLE"
                                    )
                                ]
                            ),
                            **({"columnLineage": lineage} if ended else {}),
                        },
                    )
                ],
            )
        )
    return run_id


def test_the_official_client(
    server: Server, client: OpenLineageClient, given: dict[str, str]
) -> None:
    run = run_of(client, RunState.START, RunState.RUNNING, RunState.COMPLETE)
    failed = run_of(client, RunState.START, RunState.FAIL)
    # The same table, as a trace knows it.
    server.send(given["ingest_key"], reading("SELECT price FROM public.orders"))
    server.settle()
    ids = server.ids
    job = ids.job("shop", "airflow", "orders.daily_revenue")
    orders, revenue = ORDERS.iri(ids, "shop"), REVENUE.iri(ids, "shop")
    assert server.facts(
        "SELECT attributes['run.state'], status, class, subject, attributes['parent.job.name'],"
        " attributes['job.type'], attributes['sql.table'], attributes['ownership.teams']"
        f" FROM events WHERE kind = 'run' AND attributes['run.id'] = '{run}' ORDER BY time"
    ) == [
        [state, status, Fo.Job, job, "orders", "TASK", "revenue", '["team:data"]']
        for state, status in (("START", ""), ("RUNNING", ""), ("COMPLETE", "ok"))
    ]
    assert server.facts(
        f"SELECT status, attributes['error.message'] FROM events WHERE event_id = '{failed}-FAIL'"
    ) == [["error", "no row {id} of {id}: ''"]]
    assert server.facts(
        "SELECT DISTINCT kind, class, rule, subject FROM events"
        f" WHERE attributes['run.id'] = '{run}' AND kind IN ('output', 'column') ORDER BY kind"
    ) == [
        ["column", Fo.Column, Fo.rule_lineage_column, REVENUE.column(ids, "shop", "revenue")],
        ["output", Fo.Dataset, Fo.rule_lineage_dataset, revenue],
    ]
    assert server.facts("SELECT count() FROM events WHERE class = ''") == [[0]]
    said = str(server.facts("SELECT * FROM events"))
    assert [secret for secret in SECRETS if secret in said] == []

    def linked(subject: str, predicate: str) -> set[str]:
        return {row[0] for row in server.select(f"SELECT ?o {{ <{subject}> <{predicate}> ?o }}")}

    customers = ids.dataset("postgresql", "db.shop", "shop", "customers")
    assert linked(job, Fo.reads) == {orders, customers}
    assert linked(job, Fo.writes) == {revenue}
    assert linked(job, Fo.parentJob) == {ids.job("shop", "airflow", "orders")}
    # Customers only decide which records there are.
    assert linked(revenue, Fo.derivedFrom) == {orders}
    assert linked(REVENUE.column(ids, "shop", "revenue"), Fo.derivedFromColumn) == {
        ORDERS.column(ids, "shop", "price")
    }
    # One neighbourhood: what a service reads, and what a job makes of it.
    assert server.select(
        f"SELECT ?made {{ ?operation <{Fo.reads}> ?table . ?service <{Fo.performs}> ?operation ."
        f" ?made <{Fo.derivedFrom}>+ ?table }}"
    ) == [(revenue,)]
    head = server.head
    run_of(client, RunState.START, RunState.COMPLETE)
    server.settle()
    assert server.head == head


def reading(statement: str) -> ExportTraceServiceRequest:
    """A service that asks a database."""

    def said(**pairs: str) -> list[KeyValue]:
        return [
            KeyValue(key=key.replace("_", "."), value=AnyValue(string_value=value))
            for key, value in pairs.items()
        ]

    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(said(service_name="orders"))
    resource.scope_spans.add().spans.append(
        Span(
            trace_id=b"t" * 16,
            span_id=b"s" * 8,
            name="SELECT",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=1,
            end_time_unix_nano=2,
            attributes=said(
                db_system="postgresql",
                db_name="shop",
                db_statement=statement,
                server_address="db.shop",
                server_port="5432",
            ),
        )
    )
    return request


def test_a_resend_counts_once_and_a_batch_says_what_failed(
    server: Server, given: dict[str, str]
) -> None:
    event = {
        "eventType": "START",
        "eventTime": NOW.isoformat(),
        "run": {"runId": str(generate_new_uuid())},
        "job": {"namespace": "dbt", "name": "twice"},
    }
    headers = {"Authorization": f"Bearer {given['OPENLINEAGE_API_KEY']}"}
    address = f"{given['OPENLINEAGE_URL']}/api/v1/lineage"
    for _ in range(2):
        answer = httpx.post(address, json=event, headers=headers, trust_env=False)
        assert (answer.status_code, answer.content) == (201, b"")
    answer = httpx.post(
        f"{address}/batch", json=[event, {"job": {}}], headers=headers, trust_env=False
    )
    assert answer.status_code == 200
    assert answer.json()["summary"]["failed"] == 1
    assert answer.json()["failed_events"][0]["index"] == 1
    server.settle()
    assert server.facts("SELECT count() FROM events WHERE name = 'twice'") == [[1]]


def test_a_wrong_key_is_told_and_keeps_nothing(
    server: Server, given: dict[str, str], complaints: list[str]
) -> None:
    before = server.get("/status")["inbox"]["batches"]
    client = OpenLineageClient(
        config={"transport": {"type": "http", "url": given["OPENLINEAGE_URL"]}}
    )
    with pytest.raises(Exception, match="401"):
        run_of(client, RunState.START)
    client.close()
    assert server.get("/status")["inbox"]["batches"] == before
