"""From the inbox to facts, whatever lies in between."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyoxigraph import RdfFormat, parse

from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.events import Event
from ingest.fact_making import FactMaker, Facts, Given
from ingest.fact_process import FactProcess
from ingest.inbox import Inbox
from ingest.marks import UNKEYED
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.pump import SKIPPED, Pump
from ingest.sender import Sender
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.library import rules_turtle
from ontology.vocab import Fo

IDS = Ids("http://test.localhost")
DECODERS = decoders(Pseudonyms(b"key"))
Payload = Callable[..., bytes]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    quads = [quad for text in rules_turtle().values() for quad in parse(text, RdfFormat.TURTLE)]
    return Classifier(rules_from_quads(quads), IDS, "rules of the test")


@pytest.fixture
def pump(inbox: Inbox, warehouse: Warehouse, classifier: Classifier) -> Iterator[Pump]:
    running = Pump(inbox, warehouse, lambda: classifier, DECODERS)
    running.start()
    yield running
    running.stop()


def put(inbox: Inbox, payload: bytes, *, project: str = "shop", source: str = "otel.span") -> int:
    return inbox.submit_blocking(Sender(project), source, PROTOBUF, payload).seq


def events(warehouse: Warehouse) -> int:
    return warehouse.counts()["events"]


def test_a_fact_knows_its_sender_its_receipt_and_the_rules(
    inbox: Inbox, warehouse: Warehouse, classifier: Classifier, payload: Payload
) -> None:
    routed = {"http.request.method": "GET", "http.route": "/cart"}
    page = Sender("shop").from_page()
    inbox.submit_blocking(page, "otel.span", PROTOBUF, payload(1, attributes=routed))
    inbox.submit_blocking(Sender("shop"), "otel.span", PROTOBUF, payload(1, first=2))
    running = Pump(inbox, warehouse, lambda: classifier, DECODERS)
    running.start()
    assert running.drain(30)
    running.stop()
    rows = warehouse.query(
        "SELECT trusted, class != '', rules, toUnixTimestamp64Nano(received) FROM events"
        " ORDER BY seq"
    ).rows
    first, second = inbox.pending(0, 2)
    assert rows == (
        (False, 1, "rules of the test", first.received_at),
        (True, 0, "rules of the test", second.received_at),
    )


def test_a_batch_becomes_classified_facts(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    attributes = {"http.request.method": "GET", "http.route": "/cart"}
    receipt = inbox.submit_blocking(
        Sender("shop"), "otel.span", PROTOBUF, payload(3, attributes=attributes)
    )
    assert pump.wait_for(receipt.seq, 30)
    result = warehouse.query("SELECT DISTINCT seq, batch, project, class, subject FROM events")
    assert result.rows == (
        (
            receipt.seq,
            receipt.digest,
            "shop",
            "https://w3id.org/fractalops/ns#HttpRoute",
            IDS.operation("shop", "shop-web", "http", "GET /cart"),
        ),
    )
    assert events(warehouse) == 3
    assert pump.lag == 0


def test_what_no_rule_fits_is_kept_and_counted(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    put(inbox, payload(2))
    assert pump.drain(30)
    assert warehouse.counts() == {"events": 2, "unclassified": 2}


def test_a_retried_batch_counts_once(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    for _ in range(3):
        put(inbox, payload(5))
    put(inbox, payload(5), project="other")
    assert pump.drain(30)
    assert events(warehouse) == 10


def test_a_replay_after_a_crash_counts_once(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    put(inbox, payload(5))
    assert pump.drain(30)
    # As after a kill between the insert and the cursor's move.
    inbox.advance(0)
    inbox.wake()
    assert pump.drain(30)
    assert events(warehouse) == 5


def test_a_poisoned_batch_is_set_aside_and_the_next_goes_on(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    put(inbox, payload(1))
    poisoned = put(inbox, b"\xff\xff\xff")
    unknown = put(inbox, b"x", source="carrier.pigeon")
    put(inbox, payload(1, first=2))
    assert pump.drain(30)
    assert events(warehouse) == 2
    aside = dict(inbox.aside())
    assert set(aside) == {poisoned, unknown}
    assert "not a whole ExportTraceServiceRequest" in aside[poisoned]
    assert "carrier.pigeon" in aside[unknown]
    assert inbox.counts().set_aside == 2


def test_each_source_has_its_decoder_and_bad_items_are_counted(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    skipped = SKIPPED.labels("posthog.event", "no-event-name")
    before = skipped._value.get()
    put(inbox, payload(1))
    put(
        inbox,
        b'[{"event":"a"},{},{"event":"?","properties":{"a":"\\ud800"}}]',
        source="posthog.event",
    )
    assert pump.drain(30)
    rows = warehouse.query("SELECT source, name, rule FROM events ORDER BY source, name").rows
    assert rows == (
        ("otel.span", "GET /cart", ""),
        ("posthog.event", "?", Fo.rule_product_custom),
        ("posthog.event", "a", Fo.rule_product_custom),
    )
    assert skipped._value.get() == before + 1
    assert inbox.counts().set_aside == 0


def test_a_damaged_or_erased_batch_does_not_stop_the_next(
    inbox: Inbox, warehouse: Warehouse, classifier: Classifier, payload: Payload
) -> None:
    damaged = put(inbox, payload(1))
    inbox.file.write(lambda db: db.execute("UPDATE batch SET ciphertext = x'00'"))
    erased = inbox.submit_blocking(Sender("shop"), "otel.span", PROTOBUF, payload(1, first=2))
    inbox.erasures.erase((erased.digest,), None)
    put(inbox, payload(1, first=3))
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS)
    pump.start()
    assert pump.drain(30)
    pump.stop()
    assert events(warehouse) == 1
    assert [seq for seq, _ in inbox.aside()] == [damaged]


def test_a_fault_of_ours_sets_the_batch_aside(
    inbox: Inbox, warehouse: Warehouse, payload: Payload
) -> None:
    class Faulty(Classifier):
        def classify(self, event: Event) -> Event:
            if event.service == "bad":
                raise KeyError("a fault")
            return event

    bad = put(inbox, payload(1, service="bad"))
    put(inbox, payload(1, first=2))
    pump = Pump(inbox, warehouse, lambda: Faulty((), IDS), DECODERS)
    pump.start()
    assert pump.drain(30)
    pump.stop()
    assert inbox.aside() == ((bad, "KeyError while decoding"),)
    assert events(warehouse) == 1


def test_a_change_of_rules_takes_effect_with_the_next_batch(
    inbox: Inbox, warehouse: Warehouse, classifier: Classifier, payload: Payload
) -> None:
    current = Classifier((), IDS)
    pump = Pump(inbox, warehouse, lambda: current, DECODERS)
    pump.start()
    attributes = {"http.request.method": "GET", "http.route": "/cart"}
    put(inbox, payload(1, attributes=attributes))
    assert pump.drain(30)
    current = classifier
    put(inbox, payload(1, first=2, attributes=attributes))
    assert pump.drain(30)
    pump.stop()
    assert warehouse.counts() == {"events": 2, "unclassified": 1}


def test_facts_that_were_deleted_are_built_again(
    tmp_path: Path, inbox: Inbox, classifier: Classifier, payload: Payload
) -> None:
    for number in range(3):
        put(inbox, payload(10, first=1 + 10 * number))
    put(inbox, b"poison")
    for folder, aside in (("facts", 1), ("facts", 1), ("facts anew", 1)):
        warehouse = Warehouse(tmp_path / folder)
        pump = Pump(inbox, warehouse, lambda: classifier, DECODERS)
        pump.start()
        assert pump.drain(30)
        pump.stop()
        assert events(warehouse) == 30
        assert inbox.counts().set_aside == aside
        warehouse.close()


def test_a_large_batch_is_taken_across_in_chunks(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    put(inbox, payload(25_000))
    put(inbox, payload(1, first=30_000))
    assert pump.drain(60)
    assert events(warehouse) == 25_001


def test_a_warehouse_that_fails_blocks_and_loses_nothing(
    inbox: Inbox,
    warehouse: Warehouse,
    classifier: Classifier,
    payload: Payload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = iter([OSError(28, "No space left on device")])
    insert = warehouse.insert_columns

    def once_failing(*given: Any) -> Any:
        for failure in failures:
            raise failure
        return insert(*given)

    monkeypatch.setattr(warehouse, "insert_columns", once_failing)
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS)
    pump.start()
    put(inbox, payload(4))
    assert pump.drain(30)
    pump.stop()
    assert events(warehouse) == 4


def test_batches_of_which_nothing_becomes_a_fact_are_passed(
    inbox: Inbox, warehouse: Warehouse, pump: Pump, payload: Payload
) -> None:
    bad = put(inbox, b"poison")
    assert pump.drain(30)
    put(inbox, payload(0))
    assert pump.drain(30)
    assert ([seq for seq, _ in inbox.aside()], events(warehouse)) == ([bad], 0)


@pytest.fixture
def process() -> Iterator[FactProcess]:
    running = FactProcess(Pseudonyms(b"key"), UNKEYED)
    yield running
    running.stop()


def test_a_process_makes_the_same_facts(
    inbox: Inbox, classifier: Classifier, process: FactProcess, payload: Payload
) -> None:
    mail = {"note": "to ann@example.org"}
    given = [
        Given(batch, inbox.payload(batch.seq))
        for body in (payload(12_000), b"poison", payload(3, first=20_000, attributes=mail))
        for batch in inbox.pending(put(inbox, body) - 1, 1)
    ]
    for rules in (Classifier((), IDS, "none"), classifier):
        here = list(FactMaker(DECODERS, UNKEYED).make(rules, given))
        there = list(process.make(rules, given))
        assert len(here) == len(there) == 2
        for ours, theirs in zip(here, there, strict=True):
            assert ours.columns == theirs.columns
            assert {seq: keys.tolist() for seq, keys in ours.keys.items()} == {
                seq: keys.tolist() for seq, keys in theirs.keys.items()
            }
            for name in ("events", "skipped", "redacted", "set_aside", "last"):
                assert getattr(ours, name) == getattr(theirs, name), name
        assert list(here[1].set_aside) == [2]
        assert here[1].redacted == {("shop", Fo.redact_mail_address): 3}


def test_large_groups_are_made_apart_and_a_lost_process_loses_nothing(
    inbox: Inbox,
    warehouse: Warehouse,
    classifier: Classifier,
    process: FactProcess,
    payload: Payload,
) -> None:
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS, process=process)
    for number in range(4):
        put(inbox, payload(12_000, first=1 + 12_000 * number))
    pump.start()
    while process.pid is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert pump.drain(60)
    assert (events(warehouse), inbox.aside()) == (48_000, ())
    pump.stop()
    assert process.pid is None


def test_a_batch_that_ends_the_process_is_set_aside_alone(
    inbox: Inbox, warehouse: Warehouse, classifier: Classifier, payload: Payload
) -> None:
    class Fragile(FactProcess):
        """Ends at one of the batches, as it would where the kernel has no more memory for it."""

        def make(self, classifier: Classifier, given: Sequence[Given]) -> Iterator[Facts]:
            made = super().make(classifier, given)
            if self.pid and any(each.batch.seq == bad for each in given):
                os.kill(self.pid, signal.SIGKILL)
            return made

    puts = [put(inbox, payload(4_000, first=1 + 4_000 * number)) for number in range(5)]
    bad = puts[2]
    process = Fragile(Pseudonyms(b"key"), UNKEYED)
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS, process=process)
    pump.start()
    assert pump.drain(60)
    pump.stop()
    assert inbox.aside() == ((bad, "the process that read it ended, or took too long"),)
    assert events(warehouse) == 16_000


def test_stopping_ends_a_process_that_hangs_and_blames_no_batch(
    inbox: Inbox,
    warehouse: Warehouse,
    classifier: Classifier,
    process: FactProcess,
    payload: Payload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ingest.pump._STOP_SECONDS", 0.2)
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS, process=process)
    put(inbox, payload(12_000))
    pump.start()
    while (pid := process.pid) is None:
        time.sleep(0.01)
    os.kill(pid, signal.SIGSTOP)
    pump.stop()
    assert (inbox.aside(), pump.lag) == ((), 1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_listeners_hear_of_new_facts_and_stopping_is_quick(
    inbox: Inbox, warehouse: Warehouse, classifier: Classifier, payload: Payload
) -> None:
    heard: list[frozenset[str]] = []
    pump = Pump(inbox, warehouse, lambda: classifier, DECODERS, on_facts=heard.append)
    pump.start()
    seq = put(inbox, payload(1))
    assert pump.drain(30)
    started = time.monotonic()
    pump.stop()
    assert time.monotonic() - started < 5
    assert heard == [frozenset({"shop"})]
    put(inbox, payload(1))
    assert not pump.wait_for(seq + 1, 0.05)
