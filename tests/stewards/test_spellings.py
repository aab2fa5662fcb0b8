"""Attributes in their current and their deprecated names, from the warehouse to what is claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyoxigraph import NamedNode

from ontology.ids import Ids
from ontology.vocab import Fo
from stewards.claim_set import Claims
from stewards.fact_queries import Page
from stewards.sources import claims

if TYPE_CHECKING:
    from tests.stewards.conftest import Traffic

SQL = {"db.system.name": "postgresql", "db.namespace": "shop", "server.address": "db.shop"}
CALL = {"http.request.method": "GET", "server.address": "pay.shop"}


def claimed(traffic: Traffic, ids: Ids, kind: str, attributes: dict[str, str]) -> Claims:
    """What one span of the service ``web`` has the graph say."""
    seq = traffic.send(traffic.span("t", "s", "", "web", kind, attributes))
    page = Page(traffic.project, seq - 1, seq, 1)
    return claims(page, lambda sql: traffic.warehouse.query(sql).rows, ids)


def objects(found: Claims, predicate: str) -> set[str]:
    found_ones = (claim.quad for claim in found.claims if claim.quad.predicate.value == predicate)
    return {quad.object.value for quad in found_ones if isinstance(quad.object, NamedNode)}


@pytest.mark.parametrize(
    ("said", "name", "way"),
    [
        ({"db.query.text": "SELECT total FROM orders"}, "SELECT orders", Fo.reads),
        ({"db.statement": "SELECT total FROM orders"}, "SELECT orders", Fo.reads),
        (
            {"db.operation.name": "INSERT", "db.collection.name": "orders"},
            "INSERT orders",
            Fo.writes,
        ),
        ({"db.operation": "INSERT", "db.sql.table": "orders"}, "INSERT orders", Fo.writes),
        ({"db.operation": "INSERT", "db.cosmosdb.container": "orders"}, "INSERT orders", Fo.writes),
        ({"db.query.summary": "SELECT orders"}, "SELECT orders", Fo.reads),
        # Of several targets it doesn't say which is read and which is written.
        ({"db.query.summary": "INSERT orders SELECT carts"}, "INSERT orders", ""),
    ],
)
def test_databases(traffic: Traffic, ids: Ids, said: dict[str, str], name: str, way: str) -> None:
    found = claimed(traffic, ids, "client", SQL | said)
    operation = ids.operation(traffic.project, "web", "database", name)
    assert objects(found, Fo.performs) == {operation}
    orders = ids.dataset("postgresql", "db.shop", "shop", "orders")
    assert (objects(found, Fo.reads), objects(found, Fo.writes)) == (
        {orders} if way == Fo.reads else set(),
        {orders} if way == Fo.writes else set(),
    )


@pytest.mark.parametrize(
    "key", ["messaging.destination.name", "messaging.destination", "messaging.source.name"]
)
def test_what_a_message_is_consumed_from(traffic: Traffic, ids: Ids, key: str) -> None:
    said = {"messaging.system": "kafka", key: "orders", "server.address": "mq.shop"}
    found = claimed(traffic, ids, "consumer", said)
    assert objects(found, Fo.reads) == {ids.topic("kafka", "mq.shop", "orders")}


@pytest.mark.parametrize("key", ["service.peer.name", "peer.service"])
def test_a_peer_that_nothing_instruments(traffic: Traffic, ids: Ids, key: str) -> None:
    found = claimed(traffic, ids, "client", CALL | {key: "payments"})
    assert objects(found, Fo.calls) == {ids.service(traffic.project, "payments")}
    # A database that is called like a service is none.
    other = claimed(traffic, ids, "client", SQL | {key: "payments"})
    assert objects(other, Fo.calls) == set()


@pytest.mark.parametrize("kind", ["deployment", "statefulset", "daemonset", "cronjob"])
@pytest.mark.parametrize("cluster", ["eu", ""])
def test_what_a_service_runs_as(traffic: Traffic, ids: Ids, kind: str, cluster: str) -> None:
    said = {
        "k8s.cluster.name": cluster,
        "k8s.namespace.name": "shop",
        f"k8s.{kind}.name": "web",
        "k8s.replicaset.name": "web-6d4cf56db6",
        "k8s.pod.name": "web-6d4cf56db6-x7k2p",
    }
    found = claimed(traffic, ids, "internal", {key: said[key] for key in said if said[key]})
    place = cluster or f"project:{traffic.project}"
    assert objects(found, Fo.runsAs) == {ids.workload(place, "shop", f"{kind}/web")}
    alone = claimed(traffic, ids, "internal", {"k8s.pod.name": "web-1", "host.name": "box"})
    assert objects(alone, Fo.runsAs) == set()
