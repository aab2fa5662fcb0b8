"""Facts against what the inbox noted: what is found, and what is no finding."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import RdfFormat, parse

from ingest import reconcile as module
from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.events import Event
from ingest.inbox import Inbox
from ingest.marks import Marks, note, noted
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.pump import Pump
from ingest.reclassify import Reclassifier
from ingest.reconcile import Reconciliation, reconcile
from ingest.sender import Sender
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.library import rules_turtle

IDS = Ids("http://test.localhost")
DECODERS = decoders(Pseudonyms(b"key"))
MARKS = Marks(b"secret")
ROUTED = {"http.request.method": "GET", "http.route": "/cart"}
DAY = 24 * 3600 * 10**9

Payload = Callable[..., bytes]
Change = Callable[[str], None]


def put(inbox: Inbox, payload: bytes) -> str:
    return inbox.submit_blocking(Sender("shop"), "otel.span", PROTOBUF, payload).digest


def drain(inbox: Inbox, warehouse: Warehouse, version: str = "v1") -> None:
    quads = [quad for text in rules_turtle().values() for quad in parse(text, RdfFormat.TURTLE)]
    classifier = Classifier(rules_from_quads(quads), IDS, version)
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS, marks=MARKS)
    pump.start()
    assert pump.drain(30)
    pump.stop()


def compare(inbox: Inbox, warehouse: Warehouse, *, days: int = 0, now: int = 0) -> Reconciliation:
    return reconcile(inbox, warehouse, MARKS, now or time.time_ns(), days)


@pytest.fixture
def filled(inbox: Inbox, warehouse: Warehouse, payload: Payload) -> Warehouse:
    """Batches 1 to 4 of five facts each; 5 brings those of 2 again, 6 is no payload at all."""
    for first in (1, 6, 11, 16, 6):
        put(inbox, payload(5, first=first, attributes=ROUTED))
    put(inbox, b"poison")
    drain(inbox, warehouse)
    return warehouse


@pytest.fixture
def change(filled: Warehouse) -> Change:
    """Runs a statement behind everybody's back."""

    def run(sql: str) -> None:
        with filled._write() as client:
            client.command(sql, settings={"mutations_sync": 1})

    return run


@pytest.mark.parametrize("rows", [3, 1000])
def test_what_came_once_more_and_what_is_written_again_is_no_finding(
    inbox: Inbox, filled: Warehouse, payload: Payload, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", rows)
    monkeypatch.setattr(module, "_NOTES", 2)
    assert compare(inbox, filled) == Reconciliation(compared=20, batches=6)
    # As after a crash before the cursor moved; the rules have changed since.
    inbox.advance(3)
    drain(inbox, filled, "v2")
    assert list(compare(inbox, filled).findings()) == []
    Reclassifier(filled, lambda: Classifier((), IDS, "v3"), MARKS).run()
    assert compare(inbox, filled) == Reconciliation(compared=20, batches=6)
    # Facts of a batch that the cursor has not passed.
    put(inbox, payload(5, first=1))
    event = Event("shop", "otel.span", "new", 0, 0, "", "", "", "", "", "", "", "", "", "", seq=7)
    filled.insert([event], {}, "v1", MARKS)
    assert list(compare(inbox, filled).findings()) == []


def test_a_fact_that_was_deleted(inbox: Inbox, filled: Warehouse, change: Change) -> None:
    change("DELETE FROM events WHERE seq = 3 AND span_id IN (SELECT max(span_id) FROM events)")
    assert compare(inbox, filled).gone == {}
    change("DELETE FROM events WHERE seq = 3 AND event_id LIKE '%c'")
    change("ALTER TABLE events DELETE WHERE seq = 5")
    found = compare(inbox, filled)
    assert (found.gone, found.added, found.changed) == ({3: 1, 5: 5}, {}, {})
    assert list(found.findings()) == [
        "batch 3: 1 facts are missing",
        "batch 5: 5 facts are missing",
    ]


def test_a_class_a_rule_or_a_batch_that_was_changed(
    inbox: Inbox, filled: Warehouse, change: Change
) -> None:
    change("ALTER TABLE events UPDATE class = 'urn:other' WHERE seq = 1 AND event_id LIKE '%2'")
    change("ALTER TABLE events UPDATE rules = 'v9' WHERE seq = 3")
    found = compare(inbox, filled)
    assert (found.gone, found.added, found.changed) == ({}, {}, {1: 1, 3: 5})
    # A row with the same key, put in instead of another one.
    change(
        "INSERT INTO events SELECT * REPLACE ('urn:mine' AS subject) FROM events FINAL"
        " WHERE seq = 4"
    )
    assert compare(inbox, filled).changed == {1: 1, 3: 5, 4: 5}


def test_facts_that_nobody_brought(inbox: Inbox, filled: Warehouse, change: Change) -> None:
    for seq, event in ((2, "a"), (0, "b"), (99, "c")):
        change(
            f"INSERT INTO events SELECT * REPLACE ('{event}' AS event_id, {seq} AS seq)"
            " FROM events FINAL LIMIT 1"
        )
    # Instead of its own, under the number of a batch that did not bring it.
    change(
        "INSERT INTO events SELECT * REPLACE (4 AS seq)"
        " FROM (SELECT * FROM events FINAL WHERE seq = 1)"
    )
    found = compare(inbox, filled)
    assert (found.gone, found.added, found.changed) == ({}, {2: 1, 0: 1, 99: 1, 4: 5}, {})


def test_facts_that_were_erased_or_dropped_for_their_age(
    inbox: Inbox, filled: Warehouse, change: Change, payload: Payload
) -> None:
    digest = put(inbox, payload(5, first=50))
    drain(inbox, filled)
    change("ALTER TABLE events DELETE WHERE seq IN (1, 7)")
    assert compare(inbox, filled).gone == {1: 5, 7: 5}
    # That a payload is not kept is no reason for its facts to be gone; an entry of the log is.
    inbox.erasures.erase((digest,), None)
    assert compare(inbox, filled).gone == {1: 5, 7: 5}
    inbox.erasures.erase((digest,), 3)
    assert compare(inbox, filled).gone == {1: 5}
    later = time.time_ns() + 30 * DAY
    assert compare(inbox, filled, days=31, now=later).gone == {1: 5}
    assert compare(inbox, filled, days=29, now=later).gone == {}


def test_the_facts_of_an_erased_batch_may_stay_after_a_replay(
    inbox: Inbox, filled: Warehouse
) -> None:
    batch = inbox.pending(0, 1)[0]
    inbox.erasures.erase((batch.digest,), None)
    inbox.advance(0)
    drain(inbox, filled)
    assert list(compare(inbox, filled).findings()) == []


def test_a_note_that_was_changed_and_batches_without_one(inbox: Inbox, filled: Warehouse) -> None:
    def damage(sql: str) -> None:
        inbox.file.write(lambda connection: connection.execute(sql))

    damage("DELETE FROM batch_facts WHERE seq = 1")
    damage("UPDATE batch_facts SET keys = substr(keys, 9) WHERE seq = 3")
    found = compare(inbox, filled)
    assert (found.unnoted, found.batches, found.compared) == (2, 4, 10)
    assert list(found.findings()) == ["batch 3: the inbox's note of its facts is damaged"]


def test_new_facts_are_noted_anew(
    inbox: Inbox, filled: Warehouse, payload: Payload, tmp_path: Path
) -> None:
    filled.close()
    anew = Warehouse(tmp_path / "anew")
    drain(inbox, anew)
    assert compare(inbox, anew) == Reconciliation(compared=20, batches=6)
    anew.close()


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(0, 9))
def test_a_note_holds_each_key_once_in_any_order_and_parts(keys: list[int], at: int) -> None:
    every = np.array(keys, np.uint64)
    assert note([every]) == note([every[:at:-1], every[: at + 1]])
    assert noted(note([every])).tolist() == sorted(set(keys))


def test_marks_depend_on_the_key_and_on_all_that_they_are_of(
    an_event: Callable[..., Event],
) -> None:
    event = an_event()
    others = [
        event._replace(project="other"),
        event._replace(source="other"),
        event._replace(event_id="other"),
        event._replace(seq=2),
        event._replace(rule="r"),
        event._replace(event_class="c"),
    ]
    events = [event, *others, event._replace(subject="s")]

    def checksums(marks: Marks, rules: str) -> list[int]:
        found: list[int] = marks.checksums(events, marks.keys(events), rules).tolist()
        return found

    every = [*checksums(MARKS, "v1"), *checksums(MARKS, "v2"), *checksums(Marks(b"x"), "v1")]
    assert len(set(every)) == len(every)
    assert len(set(MARKS.keys(events).tolist())) == 4
