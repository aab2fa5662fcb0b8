"""Evidence is erased for good, the log says so, and every proof stays valid."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from ontology.vocab import Rdf
from tests.live.conftest import serving, wait_until

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, RunCommand, Serve, Server

pytestmark = pytest.mark.live

ANN, BOB = "ann", "bob"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("erasure")
    with serving(folder) as serve:
        yield serve(None, "--steward-seconds", "0.2").start()


def project(server: Server, slug: str) -> str:
    key: str = server.post("/projects", {"slug": slug})["ingest_key"]
    return key


def capture(server: Server, key: str, *people: str) -> None:
    """One batch with an event of each of these people."""
    events = [
        {
            "event": "seen",
            "uuid": str(uuid4()),
            "distinct_id": who,
            "properties": {"who": who},
        }
        for who in people
    ]
    with server.client(anonymous=True) as client:
        answer = client.post("/batch/", json={"api_key": key, "batch": events})
    assert answer.status_code == 200


def evidence(server: Server, slug: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get("/evidence", project=slug)["items"]
    return found


def seen(server: Server, slug: str) -> list[list[Any]]:
    return server.facts(
        f"SELECT attributes['who'] AS who, count() FROM events WHERE project = '{slug}'"
        " GROUP BY who ORDER BY who"
    )


def test_a_batch_is_erased_and_every_proof_stays_valid(
    server: Server, make_spans: MakeSpans, command: RunCommand, tmp_path: Path
) -> None:
    key = project(server, "shop")
    server.send(key, make_spans("erased", 4))
    server.settle()
    (batch,) = evidence(server, "shop")
    assert batch["erased"] is None
    before = server.head
    chosen = ("--data", server.data, "evidence", "erase", "--batch", batch["digest"])
    counted = command(*chosen, "--reason", "asked to", "--output", "json")
    assert counted.code == 0, counted.text
    assert "Nothing was erased" in counted.text
    assert (server.head, evidence(server, "shop")) == (before, [batch])

    done = command(*chosen, "--reason", "asked to", "--yes")
    assert done.code == 0, done.text
    entry = before + 1
    assert server.head == entry
    shown = command("--data", server.data, "evidence", "show", batch["digest"])
    for told in ("erased on", "by operator", f"log entry {entry}", "asked to"):
        assert told in shown.text
    (gone,) = evidence(server, "shop")
    assert gone["payload_sha256"] is None
    assert gone["erased"]["entry"] == entry

    statement = server.get(f"/proofs/entries/{entry}")["statement"]["predicate"]
    assert statement["kind"] == "erasure"
    assert statement["evidence"] == [batch["digest"]]
    assert statement["project"] == "shop"
    # The facts stay, as they were not asked for.
    assert server.facts("SELECT count() FROM events WHERE project = 'shop'") == [[4]]
    audit = server.post("/proofs/audit")
    assert audit["ok"], audit
    (check,) = [check for check in audit["checks"] if check["name"] == "evidence"]
    assert "1 erased by 1 entries" in check["detail"]
    service = server.select("SELECT ?s { ?s a <https://w3id.org/fractalops/ns#Service> }")[0][0]
    explained = command(
        *("--data", server.data, "proofs", "explain", f"<{service}>", f"<{Rdf.type}>"),
        "<https://w3id.org/fractalops/ns#Service>",
    )
    assert "raw payload: erased on" in explained.text, explained.text
    for number in (entry, before):
        bundle = tmp_path / f"{number}.json"
        with server.client() as client:
            bundle.write_bytes(client.get(f"/proofs/bundle/{number}").content)
        verified = command("proofs", "verify", bundle, "--key", server.data / "keys" / "log.pub")
        assert verified.code == 0, verified.text


def test_a_person_goes_with_the_facts_about_them_and_others_stay(server: Server) -> None:
    key = project(server, "club")
    for people in ((ANN, BOB), (BOB,), (ANN,)):
        capture(server, key, *people)
    server.settle()
    assert seen(server, "club") == [[ANN, 2], [BOB, 2]]
    asked = {"project": "club", "person": ANN, "reason": "asked to", "facts": True}
    told = server.post("/evidence/erasures", asked)
    assert (told["batches"], told["done"]) == (2, True)
    assert seen(server, "club") == [[BOB, 2]]
    assert [bool(batch["erased"]) for batch in evidence(server, "club")] == [True, False, True]
    # Nothing about that person is left to erase, and the log doesn't name them.
    again = server.post("/evidence/erasures", asked)
    assert (again["batches"], again["entry"]) == (0, None)
    with server.client() as client:
        leaf = client.get(f"/proofs/entries/{told['entry']}").text
    assert ANN not in json.loads(leaf)["statement"]["predicate"].values()


def test_a_project_is_erased_up_to_a_moment(server: Server) -> None:
    key = project(server, "old")
    capture(server, key, ANN)
    server.settle()
    asked = {"project": "old", "reason": "kept long enough", "facts": True}
    early = server.post("/evidence/erasures", asked | {"before": "2020-01-01T00:00:00Z"})
    assert early["batches"] == 0
    late = server.post("/evidence/erasures", asked | {"before": "2100-01-01T00:00:00Z"})
    assert late["batches"] == 1
    assert seen(server, "old") == []


def test_who_may_not_erase_and_what_is_not_understood(server: Server) -> None:
    auditor = server.token_of("auditor-1", "auditor")
    asked = {"batches": ["sha256:" + "0" * 64], "reason": "x"}
    with server.client(auditor) as client:
        assert client.post("/evidence/erasures", json=asked).status_code == 403
        assert client.get("/evidence").status_code == 200
        assert client.get("/evidence/sha256:x").status_code == 404
    with server.client() as client:
        for wrong in (
            {"reason": "x"},
            {"reason": "x", "project": "shop"},
            {"reason": "x", "person": ANN},
            {"reason": "", **asked, "project": "shop"},
        ):
            assert client.post("/evidence/erasures", json=wrong).status_code == 422, wrong
        missing = {"project": "nowhere", "person": ANN, "reason": "x"}
        assert client.post("/evidence/erasures", json=missing).status_code == 404


def test_what_a_restored_inbox_brings_back_is_erased_again(serve: Serve, tmp_path: Path) -> None:
    server = serve().start()
    key = project(server, "shop")
    capture(server, key, ANN)
    server.settle()
    server.stop()
    kept = tmp_path / "inbox.kept"
    shutil.copy(server.data / "inbox.sqlite", kept)
    server.start()
    told = server.post(
        "/evidence/erasures",
        {"project": "shop", "person": ANN, "reason": "asked to", "facts": True},
    )
    server.stop()
    # As after a crash between the entry and the keys, or when an older copy is put back.
    shutil.copy(kept, server.data / "inbox.sqlite")
    server.start()

    def erased() -> bool:
        (batch,) = evidence(server, "shop")
        return batch["erased"] is not None and batch["erased"]["entry"] == told["entry"]

    wait_until(erased, "the erasure of what was put back")
    assert seen(server, "shop") == []


def test_what_is_older_than_its_time_goes_by_one_entry(serve: Serve) -> None:
    server = serve(settings={"FRACTALOPS_EVIDENCE_DAYS": "30"}).start()
    key = project(server, "shop")
    for _ in range(3):
        capture(server, key, ANN)
    server.settle()
    server.stop()
    with closing(sqlite3.connect(server.data / "inbox.sqlite")) as inbox, inbox:
        inbox.execute(
            "UPDATE batch SET received_at = received_at - 86400000000000 * 31 WHERE seq < 3"
        )
    server.start()
    head = server.head

    wait_until(lambda: server.get("/evidence", project="shop")["items"][2]["erased"], "the sweep")
    items = evidence(server, "shop")
    assert [bool(batch["erased"]) for batch in items] == [False, True, True]
    assert len({batch["erased"]["entry"] for batch in items[1:]}) == 1
    assert items[1]["erased"]["by"].endswith("/policy")
    assert "30 days" in items[1]["erased"]["reason"]
    assert server.head <= head + 1
    assert server.post("/proofs/audit")["ok"]
