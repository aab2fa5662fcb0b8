"""A dataset has one IRI, by whatever names OpenLineage and a trace speak of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pyoxigraph import NamedNode

from ingest.events import Event
from ingest.evidence import EvidenceBatch
from ingest.openlineage import events_of
from ontology.ids import Ids
from ontology.vocab import Fo
from stewards.fact_queries import Page
from stewards.job_queries import SOURCE
from stewards.sources import claims
from tests.stewards.conftest import digest

if TYPE_CHECKING:
    from tests.stewards.conftest import Traffic

SELECT = "SELECT id FROM orders"
KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
RABBIT = {"messaging.system": "rabbitmq", "messaging.destination.name": "orders"}


def at(host: str, port: int | str = "", **said: str) -> dict[str, str]:
    found = {key.replace("__", "."): value for key, value in said.items()}
    return {"server.address": host, **({"server.port": str(port)} if port else {}), **found}


def sql(system: str, namespace: str, statement: str = SELECT) -> dict[str, str]:
    return {"db.system.name": system, "db.namespace": namespace, "db.query.text": statement}


def older(system: str, namespace: str, statement: str = SELECT) -> dict[str, str]:
    return {"db.system": system, "db.name": namespace, "db.statement": statement}


# What OpenLineage calls it (https://openlineage.io/docs/spec/naming), the kind of the span, and
# what the span says.
SAME: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "postgresql": (
        "postgres://db.shop:5432",
        "shop.public.orders",
        "client",
        at("DB.shop", 5432) | sql("postgresql", "shop"),
    ),
    "postgresql, older spelling": (
        "postgres://db.shop",
        "shop.public.orders",
        "client",
        {"net.peer.name": "db.shop", "net.peer.port": "5432"} | older("postgresql", "shop"),
    ),
    "postgresql, another schema": (
        "postgresql://me@db.shop:6432",
        "shop.sales.orders",
        "client",
        at("db.shop", 6432) | sql("postgresql", "shop", "SELECT id FROM sales.orders"),
    ),
    "postgresql by its collection": (
        "postgres://db.shop",
        "shop.public.orders",
        "client",
        at("db.shop")
        | {
            "db.system.name": "postgresql",
            "db.namespace": "shop",
            "db.operation.name": "SELECT",
            "db.collection.name": "public.orders",
        },
    ),
    "cockroachdb": (
        "cockroach://db.shop:26257",
        "shop.public.orders",
        "client",
        at("db.shop", 26257) | older("cockroachdb", "shop"),
    ),
    "mysql": (
        "mysql://db.shop:3306",
        "shop.orders",
        "client",
        at("db.shop", 3306) | sql("mysql", "shop"),
    ),
    "mysql, the database in the statement": (
        "mysql://db.shop",
        "shop.orders",
        "client",
        at("db.shop") | older("mysql", "other", "SELECT id FROM `shop`.`orders`"),
    ),
    "mariadb": (
        "mariadb://db.shop:3306",
        "shop.orders",
        "client",
        at("db.shop") | sql("mariadb", "shop"),
    ),
    "sql server": (
        "mssql://db.shop:1433",
        "shop.dbo.orders",
        "client",
        at("db.shop", 1433) | older("mssql", "shop"),
    ),
    "oracle": (
        "oracle://db.shop:1521",
        "XE.SHOP.ORDERS",
        "client",
        at("db.shop", 1521) | sql("oracle.db", "XE", "SELECT id FROM shop.orders"),
    ),
    "redshift": (
        "redshift://wh.eu-west-1:5439",
        "shop.public.orders",
        "client",
        at("wh.ab12.eu-west-1.redshift.amazonaws.com", 5439) | older("redshift", "shop"),
    ),
    "snowflake": (
        "snowflake://acme-main",
        "SHOP.PUBLIC.ORDERS",
        "client",
        at("acme-main.snowflakecomputing.com", 443) | sql("snowflake", "SHOP"),
    ),
    "bigquery": (
        "bigquery",
        "acme.shop.orders",
        "client",
        at("bigquery.googleapis.com", 443)
        | sql("gcp.bigquery", "acme", "SELECT id FROM `acme.shop.orders`"),
    ),
    "clickhouse": (
        "clickhouse://db.shop:8123",
        "shop.orders",
        "client",
        at("db.shop", 8123) | sql("clickhouse", "shop"),
    ),
    "mongodb": (
        "mongodb://db.shop:27017",
        "shop.orders",
        "client",
        at("db.shop", 27017)
        | {
            "db.system": "mongodb",
            "db.name": "shop",
            "db.operation": "find",
            "db.mongodb.collection": "orders",
        },
    ),
    "cassandra": (
        "cassandra://db.shop:9042",
        "shop.orders",
        "client",
        at("db.shop", 9042)
        | {
            "db.system.name": "cassandra",
            "db.namespace": "shop",
            "db.operation.name": "SELECT",
            "db.collection.name": "orders",
        },
    ),
    "sqlite": (
        "sqlite:///srv/shop.db",
        "orders",
        "client",
        sql("sqlite", "/var/other/shop.db"),
    ),
    "kafka, published": ("kafka://mq.shop:9092", "orders", "producer", at("mq.shop", 9092) | KAFKA),
    "kafka, consumed": (
        "kafka://MQ.shop",
        "orders",
        "consumer",
        {"net.peer.name": "mq.shop", "messaging.system": "kafka"}
        | {"messaging.destination": "orders"},
    ),
    "rabbitmq": ("rabbitmq://mq.shop:5672", "orders", "producer", at("mq.shop", 5672) | RABBIT),
    "rabbitmq by its protocol": ("amqp://mq.shop", "orders", "consumer", at("mq.shop") | RABBIT),
    "pulsar": (
        "pulsar://mq.shop:6650",
        "persistent://shop/main/orders",
        "producer",
        at("mq.shop", 6650)
        | {
            "messaging.system": "pulsar",
            "messaging.destination.name": "persistent://shop/main/orders",
        },
    ),
}


def named(traffic: Traffic, ids: Ids, since: int) -> set[tuple[str, str]]:
    """Classes and IRIs of the datasets and topics that the batches since then show."""
    page = Page(traffic.project, since, traffic.seq, 1)
    found = claims(page, lambda sql: traffic.warehouse.query(sql).rows, ids).claims
    return {
        (claim.quad.object.value.rpartition("#")[2], str(claim.introduces))
        for claim in found
        if claim.introduces
        and isinstance(claim.quad.object, NamedNode)
        and claim.quad.object.value in (Fo.Dataset, Fo.Topic)
    }


@pytest.mark.parametrize(("namespace", "name", "kind", "said"), SAME.values(), ids=SAME)
def test_a_dataset_has_one_identity_whoever_names_it(
    traffic: Traffic, ids: Ids, namespace: str, name: str, kind: str, said: dict[str, str]
) -> None:
    traffic.send(traffic.span("t", "s", "", "web", kind, said))
    of_trace = named(traffic, ids, 0)
    assert len(of_trace) == 1
    traffic.seq += 1
    batch = EvidenceBatch(
        traffic.seq,
        digest(traffic.seq),
        traffic.project,
        SOURCE,
        "application/json",
        1,
        1_795_840_000 * 10**9,
        None,
    )
    event = {
        "eventType": "START",
        "run": {"runId": "0197a000-0000-7000-8000-000000000001"},
        "job": {"namespace": "etl", "name": "load"},
        "inputs": [{"namespace": namespace, "name": name}],
    }
    traffic.warehouse.insert(
        [
            traffic.classifier.classify(item)
            for item in events_of(json.dumps(event).encode(), batch)
            if isinstance(item, Event)
        ]
    )
    assert named(traffic, ids, 1) == of_trace
    # The fact is about the same thing as the graph.
    ((subject,),) = traffic.warehouse.query(
        f"SELECT subject FROM events WHERE project = '{traffic.project}' AND kind = 'input'"
    ).rows
    assert {iri for _, iri in of_trace} == {subject}
