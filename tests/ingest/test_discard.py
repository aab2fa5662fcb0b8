"""What is not to be kept is gone with the commit that made facts of it, and from the files too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.classify import Classifier
from ingest.decoders import decoders
from ingest.erasures import Erased
from ingest.errors import EvidenceErased
from ingest.inbox import Inbox
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.pump import Pump
from ingest.sender import Sender
from ingest.warehouse import Warehouse
from ontology.ids import Ids

Payload = Callable[..., bytes]


def put(inbox: Inbox, payload: bytes = b"payload", project: str = "shop") -> str:
    return inbox.submit_blocking(Sender(project), "otel.span", PROTOBUF, payload).digest


def key_bytes(path: Path) -> list[bytes]:
    with sqlite3.connect(path) as database:
        return [key for (key,) in database.execute("SELECT key FROM batch_key")]


def test_payloads_go_once_they_are_facts(
    tmp_path: Path, inbox: Inbox, warehouse: Warehouse, payload: Payload
) -> None:
    inbox.keep_payloads(False)
    kept = [put(inbox, payload(3)), put(inbox, b"poison")]
    keys = key_bytes(inbox.file.path)
    assert len(keys) == 2
    pump = Pump(
        inbox,
        warehouse,
        lambda: Classifier((), Ids("http://test.localhost")),
        decoders(Pseudonyms(b"key")),
    )
    pump.start()
    assert pump.drain(30)
    pump.stop()
    assert warehouse.counts()["events"] == 3
    for digest in kept:
        batch = inbox.evidence.find(digest)
        assert batch is not None
        assert batch.payload_sha256 is None
        assert inbox.erasures.of(digest) == Erased(None)
        with pytest.raises(EvidenceErased):
            inbox.payload(batch.seq)
    assert inbox.erasures.by_entry() == {None: 2}
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("inbox.sqlite*"))
    assert [key for key in keys if key in on_disk] == []


def test_what_was_kept_before_stays_also_when_facts_are_built_again(inbox: Inbox) -> None:
    before = put(inbox)
    inbox.advance(1)
    inbox.keep_payloads(False)
    waiting = put(inbox)
    inbox.advance(2)
    inbox.advance(0)
    inbox.advance(2)
    assert inbox.erasures.of(before) is None
    assert inbox.erasures.of(waiting) == Erased(None)
    inbox.keep_payloads(True)
    after = put(inbox)
    inbox.advance(3)
    assert inbox.erasures.of(after) is None
    assert [batch.digest for batch in inbox.evidence.batches(kept=True)] == [before, after]


def test_the_choice_outlives_the_process(tmp_path: Path) -> None:
    for number in range(1, 4):
        inbox = Inbox(tmp_path / "inbox.sqlite", fatal=pytest.fail)
        inbox.keep_payloads(False)
        digest = put(inbox)
        inbox.advance(number)
        assert inbox.erasures.of(digest) == Erased(None)
        inbox.close()


def test_an_erasure_is_told_by_its_entry_and_happens_once(inbox: Inbox) -> None:
    one, two = put(inbox), put(inbox)
    assert inbox.erasures.erase([one, "sha256:unknown"], 17) == 1
    assert inbox.erasures.erase([one], 18) == 0
    assert (inbox.erasures.of(one), inbox.erasures.of(two)) == (Erased(17), None)
    assert inbox.erasures.by_entry() == {17: 1}
    assert inbox.erasures.unexplained() == ()
    inbox.file.write(lambda db: db.execute("DELETE FROM batch_key"))
    assert inbox.erasures.unexplained() == (two,)


def test_batches_are_found_by_project_and_age(tmp_path: Path) -> None:
    times = iter(range(10, 100, 10))
    inbox = Inbox(tmp_path / "inbox.sqlite", fatal=pytest.fail, clock=lambda: next(times))
    shop = [put(inbox), put(inbox)]
    bank = put(inbox, project="bank")

    def digests(**wanted: object) -> list[str]:
        return [batch.digest for batch in inbox.evidence.batches(**wanted)]  # type: ignore[arg-type]

    assert digests() == [*shop, bank]
    assert digests(newest=True, limit=2) == [bank, shop[1]]
    assert digests(project="shop", before=20) == shop[:1]
    assert digests(after=1, before=30) == shop[1:]
    inbox.close()


def test_an_inbox_from_before_erasures_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    inbox = Inbox(path, fatal=pytest.fail)
    digest = put(inbox)
    inbox.close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE erased")
    database.close()
    inbox = Inbox(path, fatal=pytest.fail)
    assert inbox.erasures.erase([digest], 1) == 1
    inbox.close()
