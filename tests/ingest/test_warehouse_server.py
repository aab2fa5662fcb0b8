"""The facts on a ClickHouse server: the same code by a DSN, and nothing lost while it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.classify import Classifier
from ingest.decoders import decoders
from ingest.errors import QueryInvalid, QueryRefused, WarehouseUnavailable
from ingest.events import Event
from ingest.fact_columns import COLUMNS, from_columns
from ingest.inbox import Inbox
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.pump import FAILURES, Pump
from ingest.sender import Sender
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from tests.ingest.clickhouse_process import ClickHouse

IDS = Ids("http://test.localhost")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    found = ClickHouse(tmp_path / "server")
    yield found
    found.kill()


def test_a_server_answers_as_the_embedded_engine_does(
    server: ClickHouse, an_event: Callable[..., Event]
) -> None:
    house = Warehouse(server.dsn, days=30)
    rows = [an_event(), an_event(event_id="1", project="secret")]
    house.insert(rows, {}, "v1")
    house.insert([an_event(seq=2, service="later")], {}, "v1")
    assert house.counts() == {"events": 2, "unclassified": 2}
    seen = house.query("SELECT seq, service, attributes FROM events", hidden_projects={"secret"})
    assert seen.rows == ((2, "later", {"http.route": "/cart"}),)
    [page] = house.scan("project = 'secret'", COLUMNS, 5)
    assert from_columns(page)[0] == rows[1:]
    house.insert_rows("proof_entries", ["index", "kind"], [(1, "applied"), (2, "applied")])
    assert house.query("SELECT sum(index) FROM proof_entries").rows == ((3,),)
    for sql, error in (("SELEC", QueryInvalid), ("SELECT * FROM system.tables", QueryRefused)):
        with pytest.raises(error):
            house.query(sql)
    again = Warehouse(server.dsn, days=30)
    assert again.identity == house.identity
    house.close()
    again.close()


def test_what_is_said_of_a_server_that_is_away_names_neither_it_nor_its_password(
    server: ClickHouse, an_event: Callable[..., Event], caplog: pytest.LogCaptureFixture
) -> None:
    server.kill()
    house = Warehouse(server.dsn)
    for attempt in (
        lambda: house.identity,
        lambda: house.insert([an_event()]),
        lambda: house.query("SELECT 1"),
    ):
        with pytest.raises(WarehouseUnavailable) as refused:
            attempt()
        assert str(server.port) not in refused.value.detail
    server.start()
    house.insert([an_event()])
    assert house.counts()["events"] == 1
    server.kill()
    with pytest.raises(WarehouseUnavailable):
        house.query("SELECT count() FROM events")
    assert "geheim" not in caplog.text
    house.close()


def test_nothing_is_lost_while_the_server_refuses_hangs_up_and_dies_under_load(
    server: ClickHouse,
    inbox: Inbox,
    payload: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    server.kill()
    # It is away from the first moment on: what is sent is taken in all the same.
    house = Warehouse(server.dsn)
    pump = Pump(inbox, house, lambda: Classifier((), IDS), decoders(Pseudonyms(b"key")))
    pump.start()
    ended = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not ended.wait(0.002):
            inbox.submit_blocking(
                Sender("shop"), "otel.span", PROTOBUF, payload(5, first=1 + 5 * sent)
            )
            sent += 1

    load = threading.Thread(target=send)
    load.start()
    failed = FAILURES._value.get()

    def until_it_failed() -> None:
        nonlocal failed
        while FAILURES._value.get() == failed:
            time.sleep(0.01)
        failed = FAILURES._value.get()

    until_it_failed()
    server.start()
    assert pump.drain(30)
    server.order("refuse")
    until_it_failed()
    server.order("hang-up")
    until_it_failed()
    server.order("serve")
    assert pump.drain(60)
    server.kill()
    until_it_failed()
    server.start()
    ended.set()
    load.join()
    assert pump.drain(60)
    pump.stop()
    assert sent > 20
    assert house.query("SELECT count(), uniqExact(event_id), uniqExact(seq) FROM events").rows == (
        (5 * sent, 5 * sent, sent),
    )
    assert inbox.aside() == ()
    house.close()
