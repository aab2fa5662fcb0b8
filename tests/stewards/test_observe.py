"""Rows of facts, and what they show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ontology.dataset_names import DataName, Store
from ontology.vocab import Fo
from ontology.workload_names import Workload
from stewards.fact_rows import PageRows, RelationRow, SpanRow
from stewards.names import MAX_NAME
from stewards.observe import (
    LONG_NAME,
    NO_SERVICE_NAME,
    NOT_UNDERSTOOD,
    Access,
    Call,
    Invocation,
    Operation,
    observations,
    role,
)

B1, B2, B3 = ((seq, f"sha256:{seq:064x}") for seq in (1, 2, 3))

SPAN = SpanRow(
    service="web",
    environment="",
    release="",
    subject="",
    event_class="",
    kind="internal",
    database="",
    messaging="",
    destination="",
    address="",
    port="",
    namespace="",
    collection="",
    verb="",
    peer="",
    workload="",
    cluster="",
    cluster_namespace="",
    statement="",
    first_seq=B1[0],
    first_batch=B1[1],
    spans=3,
)
STATEMENT = replace(
    SPAN,
    subject="op",
    event_class=Fo.DatabaseOperation,
    kind="client",
    database="sqlite",
    namespace="/home/me/shop.db",
)
MESSAGE = replace(
    SPAN,
    subject="op",
    event_class=Fo.PublishOperation,
    kind="producer",
    messaging="kafka",
    destination="orders",
    address="Broker.Shop",
    port="9092",
)
CALL = RelationRow(
    "call",
    *("web", "out", Fo.HttpCall, "client"),
    *("orders", "in", Fo.HttpRoute, "server"),
    *(*B1, *B2, *B2),
)
INVOCATION = RelationRow(
    "invocation",
    *("web", "in", Fo.HttpRoute, "server"),
    *("web", "out", Fo.HttpCall, "client"),
    *(*B1, *B2, *B3),
)


def test_a_service_with_its_environment_and_release() -> None:
    seen = observations(PageRows(spans=[replace(SPAN, environment="prod", release="1.0")]))
    assert seen.services == {"web": (B1,)}
    assert seen.environments == {("web", "prod"): (B1,)}
    assert seen.releases == {("web", "1.0"): (B1,)}
    assert not seen.operations
    assert not seen.set_aside


def test_a_service_runs_as_a_workload() -> None:
    ran = replace(SPAN, workload="deployment/web", cluster="eu", cluster_namespace="shop")
    seen = observations(PageRows(spans=[ran]))
    assert seen.workloads == {("web", Workload("eu", "shop", "deployment/web")): (B1,)}
    for odd, aside in (("deployment/ ", {}), ("deployment/" + "n" * 256, {LONG_NAME: 3})):
        other = observations(PageRows(spans=[replace(ran, workload=odd)]))
        assert (other.workloads, other.set_aside) == ({}, aside)


def test_a_call_names_the_service_that_nothing_instruments() -> None:
    call = replace(SPAN, subject="op", event_class=Fo.HttpCall, kind="client", peer="pay")
    seen = observations(PageRows(spans=[call]))
    assert seen.services == {"web": (B1,), "pay": (B1,)}
    assert seen.calls == {Call("web", "pay", "", ""): (B1,)}
    # What is no service's name, or one's own, is none.
    for peer, aside in (("web", {}), ("unknown_service", {}), ("n" * 257, {LONG_NAME: 3})):
        other = observations(PageRows(spans=[replace(call, peer=peer)]))
        assert (set(other.services), other.calls) == ({"web"}, {})
        assert other.set_aside == aside


@pytest.mark.parametrize("name", ["", " \n", "unknown_service", "unknown_service:python", "\u200b"])
def test_spans_without_a_service_name_are_set_aside_and_counted(name: str) -> None:
    seen = observations(
        PageRows(
            spans=[
                replace(SPAN, service=name, subject="op", environment="prod"),
                replace(STATEMENT, service=name, statement="SELECT * FROM t"),
                replace(MESSAGE, service=name),
            ],
            relations=[
                replace(CALL, from_service=name),
                replace(CALL, to_service=name),
                replace(INVOCATION, from_service=name, to_service=name),
            ],
        )
    )
    assert seen.set_aside == {NO_SERVICE_NAME: 9}
    assert observations(PageRows()) == replace(seen, set_aside={})


def test_a_name_that_is_too_long_is_set_aside_and_never_cut() -> None:
    long = "n" * (MAX_NAME + 1)
    seen = observations(
        PageRows(
            spans=[
                replace(SPAN, service=long),
                replace(SPAN, release=long),
                replace(MESSAGE, destination=long),
            ]
        )
    )
    assert seen.set_aside == {LONG_NAME: 7}
    assert set(seen.services) == {"web"}
    assert not seen.releases
    assert not seen.accesses


def test_odd_names_are_names_all_the_same() -> None:
    odd = "Überweisung \n 支払い"
    seen = observations(PageRows(spans=[replace(SPAN, service=odd)]))
    assert set(seen.services) == {odd}


@pytest.mark.parametrize(
    ("event_class", "kind", "expected"),
    [
        (Fo.HttpRoute, "server", "offers"),
        (Fo.RpcMethod, "server", "offers"),
        (Fo.ConsumeOperation, "consumer", "offers"),
        (Fo.ConsumeOperation, "client", "performs"),
        (Fo.HttpCall, "client", "performs"),
        (Fo.DatabaseOperation, "client", "performs"),
        (Fo.PublishOperation, "producer", "performs"),
        (Fo.InternalOperation, "internal", "performs"),
        ("https://example.org/GraphQlField", "server", "offers"),
        ("https://example.org/GraphQlField", "internal", "performs"),
    ],
)
def test_the_role_of_an_operation(event_class: str, kind: str, expected: str) -> None:
    assert role(event_class, kind) == expected
    row = replace(SPAN, subject="op", event_class=event_class, kind=kind)
    seen = observations(PageRows(spans=[row]))
    assert list(seen.operations) == [Operation("web", "op", role(event_class, kind), event_class)]


@pytest.mark.parametrize(
    ("changes", "store"),
    [
        ({}, Store("sqlite", "", "shop.db")),
        ({"namespace": r"C:\Users\me\shop.db"}, Store("sqlite", "", "shop.db")),
        (
            {"database": "postgresql", "address": "DB.Shop", "port": "5432", "namespace": "shop"},
            Store("postgresql", "db.shop", "shop"),
        ),
        (
            {"database": "postgresql", "address": "db.shop", "port": "6432", "namespace": "shop"},
            Store("postgresql", "db.shop:6432", "shop"),
        ),
        (
            {"database": "mssql", "address": "db.shop", "namespace": "shop"},
            Store("microsoft.sql_server", "db.shop", "shop"),
        ),
        # What is local to one machine tells nothing apart elsewhere.
        (
            {"database": "mysql", "address": "127.0.0.1", "port": "3307", "namespace": "shop"},
            Store("mysql", "", "shop"),
        ),
        (
            {"database": "postgresql", "address": "/run/pg/.s.PGSQL.5432", "namespace": "shop"},
            Store("postgresql", "", "shop"),
        ),
    ],
)
def test_a_store_is_known_by_what_stays_the_same(changes: dict[str, Any], store: Store) -> None:
    row = replace(STATEMENT, statement="SELECT * FROM t", **changes)
    seen = observations(PageRows(spans=[row]))
    assert list(seen.accesses) == [Access("web", "op", "reads", DataName("dataset", store, "t"))]


def test_a_statement_that_reads_and_writes() -> None:
    row = replace(STATEMENT, statement="INSERT INTO t SELECT * FROM s")
    seen = observations(PageRows(spans=[row]))
    assert {(access.way, access.asset.name) for access in seen.accesses} == {
        ("reads", "s"),
        ("writes", "t"),
    }


def test_a_statement_that_cannot_be_parsed_is_counted_and_a_connection_is_not() -> None:
    seen = observations(
        PageRows(spans=[STATEMENT, replace(STATEMENT, statement="SELECT * FROM (")])
    )
    assert seen.set_aside == {NOT_UNDERSTOOD: 1}
    assert not seen.accesses


def test_publishing_writes_and_consuming_reads_the_same_topic() -> None:
    consumed = replace(
        MESSAGE,
        service="mail",
        event_class=Fo.ConsumeOperation,
        kind="consumer",
        address="broker.shop",
        port="",
    )
    # A class of somebody's own tells nothing; the kind of the span does.
    own = replace(MESSAGE, subject="own", event_class="https://example.org/Own")
    seen = observations(PageRows(spans=[MESSAGE, consumed, own]))
    orders = DataName("topic", Store("kafka", "broker.shop", ""), "orders")
    assert set(seen.accesses) == {
        Access("web", "op", "writes", orders),
        Access("mail", "op", "reads", orders),
        Access("web", "own", "writes", orders),
    }


def test_a_queue_in_a_database_is_a_message_or_a_database_operation_never_both() -> None:
    published = replace(
        MESSAGE, database="postgresql", statement="INSERT INTO q VALUES (?)", namespace="shop"
    )
    inserted = replace(published, subject="other", event_class=Fo.DatabaseOperation)
    seen = observations(PageRows(spans=[published, inserted]))
    assert {(access.subject, access.asset.kind) for access in seen.accesses} == {
        ("op", "topic"),
        ("other", "dataset"),
    }


def test_a_call_names_operations_only_from_a_call_to_what_it_calls() -> None:
    unclassified = replace(CALL, from_class="", from_subject="")
    odd = replace(CALL, from_class=Fo.ConsumeOperation)
    seen = observations(PageRows(relations=[CALL, unclassified, odd]))
    assert seen.calls == {
        Call("web", "orders", "out", "in"): (B1, B2),
        Call("web", "orders", "", "in"): (B1, B2),
    }


def test_the_evidence_is_what_was_complete_first() -> None:
    later = replace(CALL, from_seq=3, from_batch=B3[1])
    for rows in ([CALL, later], [later, CALL]):
        seen = observations(PageRows(relations=rows))
        assert seen.calls == {Call("web", "orders", "out", "in"): (B1, B2)}


def test_an_invocation_rests_on_the_way_between_too() -> None:
    seen = observations(PageRows(relations=[INVOCATION]))
    assert seen.invocations == {Invocation("web", "in", "out"): (B1, B2, B3)}


def test_both_ends_of_a_relation_are_seen_even_if_they_came_earlier() -> None:
    seen = observations(PageRows(relations=[CALL]))
    assert seen.services == {"web": (B1,), "orders": (B2,)}
    assert seen.operations == {
        Operation("web", "out", "performs", Fo.HttpCall): (B1,),
        Operation("orders", "in", "offers", Fo.HttpRoute): (B2,),
    }


def test_rows_do_not_show_statements() -> None:
    assert "4711" not in repr(replace(STATEMENT, statement="SELECT '4711'"))
