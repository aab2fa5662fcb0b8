"""What traces and OpenLineage call the same thing has one name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openlineage.client.naming import dataset as naming

from ontology.dataset_names import (
    DataName,
    Store,
    dataset,
    of_openlineage,
    store,
    system_name,
    topic,
    without_credentials,
)
from ontology.ids import Ids

IDS = Ids()
KAFKA = topic("kafka", "broker.shop", "9092", "orders")


def traced(system: str, address: str, port: str, namespace: str, name: str) -> DataName:
    """The dataset as a span of a database client names it."""
    return dataset(store(system_name(system), address, port, namespace), name)


# What OpenLineage's own client calls a dataset, and what a span says of the same one.
SAME: list[tuple[Any, DataName]] = [
    (
        naming.Postgres("DB.shop", "5432", "shop", "public", "orders"),
        traced("postgresql", "db.shop", "5432", "shop", "orders"),
    ),
    (
        naming.Postgres("db.shop", "5432", "shop", "public", "orders"),
        traced("postgresql", "db.shop", "", "shop", "public.orders"),
    ),
    (
        naming.Postgres("db.shop", "6432", "shop", "sales", "orders"),
        traced("postgresql", "db.shop", "6432", "shop|sales", "orders"),
    ),
    (
        naming.Postgres("localhost", "5432", "shop", "public", "orders"),
        traced("postgresql", "127.0.0.1", "5432", "shop", "orders"),
    ),
    (
        naming.MySQL("db.shop", "3306", "shop", "orders"),
        traced("mysql", "db.shop", "3306", "shop", "orders"),
    ),
    (
        naming.MySQL("db.shop", "3306", "shop", "orders"),
        traced("mysql", "db.shop", "", "other", "shop.orders"),
    ),
    (
        naming.AzureSynapse("dw.shop", "1433", "dbo", "orders"),
        traced("mssql", "dw.shop", "1433", "", "orders"),
    ),
    (
        naming.Oracle("db.shop", "1521", "XE", "SHOP", "ORDERS"),
        traced("oracle", "db.shop", "1521", "XE", "SHOP.ORDERS"),
    ),
    (
        naming.DB2("db.shop", "50000", "shop", "s", "orders"),
        traced("db2", "db.shop", "", "shop", "s.orders"),
    ),
    (
        naming.Redshift("wh", "eu-west-1", "5439", "shop", "public", "orders"),
        traced("redshift", "wh.ab12.eu-west-1.redshift.amazonaws.com", "5439", "shop", "orders"),
    ),
    (
        naming.Snowflake("acme", "main", "SHOP", "PUBLIC", "ORDERS"),
        traced("snowflake", "acme-main.snowflakecomputing.com", "", "SHOP", "ORDERS"),
    ),
    (
        naming.BigQuery("acme", "shop", "orders"),
        traced("bigquery", "bigquery.googleapis.com", "443", "acme", "shop.orders"),
    ),
    (
        naming.Cassandra("db.shop", "9042", "shop", "orders"),
        traced("cassandra", "db.shop", "", "shop", "orders"),
    ),
    (
        naming.Trino("q.shop", "8080", "lake", "s", "orders"),
        traced("trino", "q.shop", "8080", "lake", "s.orders"),
    ),
    (
        naming.Hive("h.shop", "10000", "shop", "orders"),
        traced("hive", "h.shop", "10000", "shop", "orders"),
    ),
    (
        naming.Teradata("t.shop", "1025", "shop", "orders"),
        traced("teradata", "t.shop", "", "shop", "orders"),
    ),
    (
        naming.AzureCosmosDB("c.shop", "shop", "orders"),
        traced("cosmosdb", "c.shop", "", "shop", "orders"),
    ),
    (naming.Kafka("Broker.shop", "9092", "orders"), KAFKA),
]


@pytest.mark.parametrize(("named", "same"), SAME)
def test_one_dataset_has_one_name(named: Any, same: DataName) -> None:
    found = of_openlineage(named.get_namespace(), named.get_name())
    assert found == same
    assert found.iri(IDS, "shop") == same.iri(IDS, "shop")


@pytest.mark.parametrize(
    ("namespace", "name", "expected"),
    [
        ("s3://lake", "/sales/2026/", ("s3", "lake", "", "sales/2026")),
        ("s3a://lake", "sales/2026", ("s3", "lake", "", "sales/2026")),
        ("gs://lake", "/", ("gs", "lake", "", "/")),
        ("hdfs://nn.shop:8020", "/sales", ("hdfs", "nn.shop", "", "sales")),
        ("dbfs://work", "/sales", ("dbfs", "work", "", "sales")),
        ("file", "/srv/sales.csv", ("file", "", "", "srv/sales.csv")),
        ("file://nas.shop", "/sales.csv", ("file", "nas.shop", "", "sales.csv")),
        (
            "abfss://lake@Acme.dfs.core.windows.net",
            "/sales",
            ("abfss", "lake@acme.dfs.core.windows.net", "", "sales"),
        ),
        (
            "arn:aws:glue:eu-west-1:17",
            "table/shop/orders",
            ("aws.glue", "arn:aws:glue:eu-west-1:17", "shop", "orders"),
        ),
        (
            "awsathena://athena.eu.amazonaws.com",
            "c.d.t",
            ("aws.athena", "athena.eu.amazonaws.com", "c", "d.t"),
        ),
        (
            "azurekusto://k.kusto.windows.net",
            "shop/orders",
            ("azure.kusto", "k.kusto.windows.net", "shop", "orders"),
        ),
        ("spanner://acme:main", "shop.s.orders", ("gcp.spanner", "acme:main", "shop", "s.orders")),
        ("mongodb://db.shop:27017", "shop.fs.chunks", ("mongodb", "db.shop", "shop", "fs.chunks")),
        ("postgres://[::1]:5432", "shop.public.orders", ("postgresql", "", "shop", "orders")),
        ("postgres://db.shop/shop", "orders", ("postgresql", "db.shop", "shop", "orders")),
        ("sqlite:///srv/shop.db", "orders", ("sqlite", "", "shop.db", "orders")),
        ("food_delivery", "public.orders", ("openlineage", "", "food_delivery", "public.orders")),
        ("", "orders", ("openlineage", "", "", "orders")),
        ("postgres://a b", "x", ("postgresql", "a b", "", "x")),
    ],
)
def test_names_that_only_lineage_has(
    namespace: str, name: str, expected: tuple[str, str, str, str]
) -> None:
    system, address, inside, asset = expected
    found = of_openlineage(namespace, name)
    assert found == DataName("dataset", Store(system, address, inside), asset)


def test_topics_of_a_bus() -> None:
    assert of_openlineage("pubsub", "topic:acme:orders") == DataName(
        "topic", Store("gcp_pubsub", "acme", ""), "orders"
    )
    assert of_openlineage("pubsub", "subscription:acme:mail") == DataName(
        "topic", Store("gcp_pubsub", "acme", ""), "subscription:mail"
    )
    assert KAFKA.iri(IDS, "shop") == IDS.topic("kafka", "broker.shop", "orders")


def test_what_is_nowhere_has_no_name() -> None:
    assert of_openlineage("inmemory://", "t1") is None
    assert of_openlineage("postgres://db.shop", " ") is None


def test_without_an_address_a_dataset_is_of_its_project() -> None:
    local = of_openlineage("postgres://localhost:5432", "shop.public.orders")
    assert local is not None
    assert local.iri(IDS, "a") != local.iri(IDS, "b")
    assert local.column(IDS, "a", "x") != local.column(IDS, "b", "x")
    shared = of_openlineage("postgres://db.shop", "shop.public.orders")
    assert shared is not None
    assert shared.iri(IDS, "a") == shared.iri(IDS, "b")


def test_a_topic_and_a_dataset_have_columns_of_their_own() -> None:
    held = DataName("dataset", Store("kafka", "broker.shop", ""), "orders")
    assert held.column(IDS, "shop", "id") != KAFKA.column(IDS, "shop", "id")


@pytest.mark.parametrize(
    ("namespace", "kept"),
    [
        ("postgres://me:pw@db.shop:5432", "postgres://db.shop:5432"),
        ("postgres://me:p@w@db.shop/shop?password=pw#x", "postgres://db.shop/shop"),
        ("abfss://lake@acme.dfs.core.windows.net", "abfss://lake@acme.dfs.core.windows.net"),
        ("airflow", "airflow"),
    ],
)
def test_a_namespace_holds_no_credentials(namespace: str, kept: str) -> None:
    assert without_credentials(namespace) == kept


@given(st.text(max_size=60), st.text(max_size=60))
@example("postgres://", "..")
@example("mysql://db", ".x")
@example("kafka://:", " ")
@example("azurecosmos://h/dbs/", "colls/")
@example("arn:aws:glue::", "table/")
def test_any_name_has_an_iri_or_is_none(namespace: str, name: str) -> None:
    found = of_openlineage(namespace, name)
    if found is not None:
        assert found.name
        assert found.iri(IDS, "shop").startswith(f"{IDS.base}/id/{found.kind}/")
        assert found.store.iri(IDS, "shop").startswith(f"{IDS.base}/id/data-store/")
