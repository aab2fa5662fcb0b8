"""The audit: whatever was changed behind the system's back is found, and its place is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.terms import Delta, sha256
from proofs.audit import MAX_NAMED, AuditCheck, Auditor, AuditReport
from proofs.checkpoint import SignerKey
from proofs.errors import ProofError
from proofs.log_keys import LogKeys

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

EX = "http://example.org/"
SHOP = NamedNode("http://fractalops.localhost/graph/lineage/shop")
PROOFS = NamedNode("http://fractalops.localhost/graph/proofs")
PROPOSALS = NamedNode("http://fractalops.localhost/graph/proposals")
FORGED = Quad(NamedNode("http://e/s"), NamedNode("http://e/p"), Literal("forged"), SHOP)


@pytest.fixture
def gate_with_history(gate: Gate) -> Gate:
    view = gate.propose(gate.service("web") + gate.service("api"))
    waiting = gate.propose('ex:T a owl:Class ; rdfs:label "t" .', "ontology", by=gate.operator)
    gate.ledger.reject(gate.operator, waiting.id, "no need for it")
    gate.ledger.revert(gate.steward, view.id, "again")
    gate.propose(gate.service("web"))
    gate.publish()
    return gate


def findings(report: AuditReport) -> list[str]:
    return [f"{check.name}: {what}" for check in report.checks for what in check.findings]


def test_a_sound_folder_is_found_sound(gate_with_history: Gate) -> None:
    report = gate_with_history.audit(rebuild=True)
    assert findings(report) == []
    assert report.ok
    assert report.head == gate_with_history.ledger.head
    assert report.state_digest == gate_with_history.ledger.state_digest
    assert [check.name for check in report.checks] == [
        *("entries, tree and checkpoints", "blobs", "graph state", "tiles"),
        *("authors' signatures", "inferred graph", "system graphs and merge"),
    ]
    assert all(check.detail for check in report.checks)


def test_a_mirror_is_checked_too(gate_with_history: Gate) -> None:
    gate = gate_with_history
    log = gate.folder / "log"
    auditor = Auditor(gate.journal, gate.store, gate.ids, gate.keys, [log, log])
    assert [check.name for check in auditor.run().checks][3:5] == ["tiles", "mirror"]


# --- the journal

JOURNAL = {
    "an entry": (
        "UPDATE entries SET leaf = CAST(replace(CAST(leaf AS TEXT), 'A', 'B') AS BLOB) WHERE n = 4",
        "entry 4",
    ),
    "a byte at the end of an entry": (
        "UPDATE entries SET leaf = CAST(leaf || ' ' AS BLOB) WHERE n = 3",
        "entry 3",
    ),
    "an entry of another kind": ("UPDATE entries SET leaf = 'text' WHERE n = 3", "entry 3"),
    "an entry in another's place": (
        "UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE n = 3) WHERE n = 4",
        "entry 4",
    ),
    "an entry taken out": ("DELETE FROM entries WHERE n = 3", "entry 3 of the journal is missing"),
    "the newest entry": ("DELETE FROM entries WHERE n = 7", "checkpoint 8"),
    "the first entry": ("DELETE FROM entries WHERE n = 0", "entry 0 of the journal is missing"),
    "an entry added": (
        "INSERT INTO entries SELECT 8, leaf, leaf_hash FROM entries WHERE n = 7",
        "entry 8",
    ),
    "a leaf hash": (
        "UPDATE entries SET leaf_hash = zeroblob(32) WHERE n = 5",
        "entry 5 of the journal: its stored leaf hash",
    ),
    "a checkpoint": (
        "UPDATE checkpoints SET note = replace(note, '/test', '/tost') WHERE size = 5",
        "checkpoint 5",
    ),
    "the signature of a checkpoint": (
        "UPDATE checkpoints SET note = substr(note, 1, length(note) - 8) || 'AAAAAAA' || char(10)"
        " WHERE size = 4",
        "checkpoint 4",
    ),
    "a checkpoint in another's place": (
        "UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 4)"
        " WHERE size = 5",
        "checkpoint 5 of the journal signs another tree",
    ),
    "a checkpoint taken out": ("DELETE FROM checkpoints WHERE size = 5", "checkpoint 5"),
    "the newest checkpoint": ("DELETE FROM checkpoints WHERE size = 8", "checkpoint 8"),
    "a checkpoint added": (
        "INSERT INTO checkpoints SELECT 0, note FROM checkpoints WHERE size = 4",
        "checkpoint 0 of the journal belongs to none",
    ),
    "the number of the running hashes": ("UPDATE running SET n = 6", "running hashes"),
    "the frontier": ("UPDATE running SET frontier = zeroblob(40)", "running hashes"),
    "the graph state": ("UPDATE running SET graph_state = zeroblob(2048)", "running hashes"),
    "the running hashes": ("DELETE FROM running", "running hashes"),
}


def alter(gate: Gate, sql: str, *values: object) -> None:
    connection = sqlite3.connect(gate.journal.path)
    with connection:
        assert connection.execute(sql, values).rowcount > 0
    connection.close()


@pytest.mark.parametrize(("sql", "place"), JOURNAL.values(), ids=JOURNAL)
def test_any_change_of_the_journal_is_found_and_named(
    gate_with_history: Gate, sql: str, place: str
) -> None:
    alter(gate_with_history, sql)
    report = gate_with_history.audit()
    assert not report.ok
    assert [what for what in findings(report) if place in what], findings(report)


def test_a_journal_whose_base_is_another_is_found(gate_with_history: Gate) -> None:
    gate = gate_with_history
    auditor = Auditor(gate.journal, gate.store, Ids("http://other"), gate.keys, [])
    assert [what for what in findings(auditor.run()) if "its base is http://other" in what]


def blobs(gate: Gate) -> dict[str, str]:
    """One digest of every sort of blob, by what it is."""
    views = {view.state: view for view in gate.views()}
    applied, rejected = views["applied"], views["rejected"]
    document = gate.projections.submission_of(applied)
    (decision,) = [item for item in rejected.decisions if item.outcome == "reject"]
    return {
        "additions": document.additions,
        "removals": document.removals,
        "source": document.source_sha256,
        "submission": applied.submission,
        "reason": sha256(decision.reason.encode()),
    }


@pytest.mark.parametrize("kind", ["additions", "removals", "source", "submission", "reason"])
def test_any_change_of_a_blob_is_found_and_named(gate_with_history: Gate, kind: str) -> None:
    digest = blobs(gate_with_history)[kind]
    alter(gate_with_history, "UPDATE blobs SET bytes = x'66' WHERE digest = ?", digest)
    named = findings(gate_with_history.audit())
    assert f"blobs: blob {digest} of the journal was changed" in named
    alter(gate_with_history, "UPDATE blobs SET bytes = 'text' WHERE digest = ?", digest)
    assert [what for what in findings(gate_with_history.audit()) if digest in what]
    alter(gate_with_history, "DELETE FROM blobs WHERE digest = ?", digest)
    named = findings(gate_with_history.audit())
    assert [what for what in named if digest in what], named


def test_every_blob_is_looked_at(gate_with_history: Gate) -> None:
    (count,) = (
        sqlite3.connect(gate_with_history.journal.path)
        .execute("SELECT count(*) FROM blobs")
        .fetchone()
    )
    alter(gate_with_history, "UPDATE blobs SET bytes = bytes || 'x'")
    alter(gate_with_history, "UPDATE blobs SET bytes = CAST(bytes AS BLOB)")
    check = gate_with_history.audit().checks[1]
    assert check.count >= count
    assert len(check.findings) == MAX_NAMED


def test_a_blob_that_no_entry_knows_is_found(gate_with_history: Gate) -> None:
    alter(gate_with_history, "INSERT INTO blobs VALUES (?, x'66')", "f" * 64)
    named = findings(gate_with_history.audit())
    assert f"blobs: blob {'f' * 64} of the journal belongs to none of its entries" in named


def test_a_damaged_file_is_a_finding_not_a_failure(gate_with_history: Gate) -> None:
    gate = gate_with_history
    gate.journal.close()
    path = gate.journal.path
    data = bytearray(path.read_bytes())
    data[4096 * 4 : len(data) - 4096] = b"\xff" * (len(data) - 4096 * 5)
    path.write_bytes(data)
    report = gate.audit()
    assert not report.ok
    assert [what for what in findings(report) if "journal.sqlite" in what]


def test_the_key_of_another_log_fits_nothing(gate_with_history: Gate) -> None:
    gate = gate_with_history
    stranger = SignerKey.generate("fractalops.localhost/test").verifier
    report = Auditor(gate.journal, gate.store, gate.ids, LogKeys(stranger), []).run()
    assert report.checks[0].count >= 2 * (gate.ledger.head + 1)


# --- the published log


def tile_files(gate: Gate) -> list[Path]:
    return sorted(path for path in (gate.folder / "log").rglob("*") if path.is_file())


def test_any_byte_of_any_published_file_is_found_and_named(gate_with_history: Gate) -> None:
    log = gate_with_history.folder / "log"
    for path in tile_files(gate_with_history):
        original = path.read_bytes()
        for at in {0, len(original) // 2, len(original) - 1}:
            changed = bytearray(original)
            changed[at] ^= 1
            path.write_bytes(changed)
            check = gate_with_history.audit().checks[3]
            place = path.relative_to(log).as_posix()
            assert [what for what in check.findings if f"log/{place}" in what], (place, at)
        path.write_bytes(original)
    assert gate_with_history.audit().ok


def test_files_that_are_missing_or_do_not_belong_are_found(gate_with_history: Gate) -> None:
    log = gate_with_history.folder / "log"
    path = tile_files(gate_with_history)[-1]
    data = path.read_bytes()
    path.unlink()
    assert [what for what in findings(gate_with_history.audit()) if "is missing" in what]
    path.write_bytes(data)
    (log / "tile" / "extra").write_bytes(b"x")
    named = findings(gate_with_history.audit())
    assert [what for what in named if "log/tile/extra: does not belong" in what]


# --- the store


def stated(gate: Gate) -> Quad:
    return min(gate.asserted(), key=str)


def system_quad(gate: Gate, graph: NamedNode) -> Quad:
    return min(gate.store.match(graph=graph), key=str)


def merged(gate: Gate) -> Quad:
    return min((q for q in gate.store.match() if isinstance(q.graph_name, DefaultGraph)), key=str)


TAMPERED: dict[str, tuple[Callable[[Gate], None], Callable[[Gate], str], str]] = {
    "an asserted quad added": (
        lambda gate: gate.store._store.add(FORGED),
        lambda gate: '"forged"',
        "the store holds a quad no entry states",
    ),
    "an asserted quad removed": (
        lambda gate: gate.store._store.remove(stated(gate)),
        lambda gate: str(stated(gate)),
        "the store lacks what entry 7 states",
    ),
    "a quad in a graph of nobody": (
        lambda gate: gate.store._store.add(
            Quad(FORGED.subject, FORGED.predicate, FORGED.object, NamedNode("http://e/g"))
        ),
        lambda gate: "<http://e/g>",
        "the store holds a quad no entry states",
    ),
    "a proof added": (
        lambda gate: gate.store._store.add(
            Quad(FORGED.subject, FORGED.predicate, FORGED.object, PROOFS)
        ),
        lambda gate: '"forged"',
        "the store holds what no entry leads to",
    ),
    "a proof removed": (
        lambda gate: gate.store._store.remove(system_quad(gate, PROOFS)),
        lambda gate: str(system_quad(gate, PROOFS)),
        "the store lacks what the entries lead to",
    ),
    "a proposal removed": (
        lambda gate: gate.store._store.remove(system_quad(gate, PROPOSALS)),
        lambda gate: str(system_quad(gate, PROPOSALS)),
        "the store lacks what the entries lead to",
    ),
    "the default graph added to": (
        lambda gate: gate.store._store.add(
            Quad(FORGED.subject, FORGED.predicate, FORGED.object, DefaultGraph())
        ),
        lambda gate: '"forged"',
        "the store holds what no entry leads to: in the merge",
    ),
    "the default graph taken from": (
        lambda gate: gate.store._store.remove(merged(gate)),
        lambda gate: str(merged(gate)),
        "the store lacks what the entries lead to: in the merge",
    ),
}


@pytest.mark.parametrize(("tamper", "quad", "said"), TAMPERED.values(), ids=TAMPERED)
def test_a_quad_changed_in_the_store_is_found_and_named(
    gate_with_history: Gate,
    tamper: Callable[[Gate], None],
    quad: Callable[[Gate], str],
    said: str,
) -> None:
    named = quad(gate_with_history)
    tamper(gate_with_history)
    report = gate_with_history.audit(rebuild=True)
    assert not report.ok
    found = [what for what in findings(report) if said in what and named in what]
    assert found, findings(report)


def test_the_head_marker_is_checked(gate_with_history: Gate) -> None:
    gate = gate_with_history
    (marker,) = gate.store.match(PROOFS, None, None, PROOFS)
    gate.store._store.remove(marker)
    gate.store._store.add(Quad(PROOFS, marker.predicate, Literal(3), PROOFS))
    report = gate.audit(rebuild=True)
    assert len([what for what in findings(report) if "headEntry" in what]) == 2


def test_many_findings_are_counted_and_some_told() -> None:
    check = AuditCheck("x")
    assert check.ok
    for number in range(MAX_NAMED + 5):
        check.find(str(number))
    assert (check.ok, check.count, len(check.findings)) == (False, MAX_NAMED + 5, MAX_NAMED)


def test_a_changed_journal_does_not_rebuild(gate_with_history: Gate) -> None:
    alter(gate_with_history, "UPDATE blobs SET bytes = x'66'")
    with pytest.raises(ProofError, match="entry 0 of the journal"):
        gate_with_history.rebuilt()


def test_what_is_inferred_is_held_against_what_is_stated(gate_with_history: Gate) -> None:
    gate = gate_with_history
    inferred = gate.store.inferred
    web = NamedNode(EX + "web")
    lost = next(gate.store.match(web, graph=inferred))
    stray = Quad(web, lost.predicate, NamedNode(EX + "Nonsense"), inferred)
    stated = next(gate.store.match(web, lost.predicate, graph=SHOP))
    twice = Quad(stated.subject, stated.predicate, stated.object, inferred)
    gate.store.write_inferred(Delta(frozenset({stray, twice}), frozenset({lost})))
    (check,) = (found for found in gate.audit().checks if found.name == "inferred graph")
    assert sorted(check.findings) == sorted(
        [
            f"the store lacks what follows from what it states: {lost}",
            f"the store infers what does not follow, or is stated: {stray}",
            f"the store infers what does not follow, or is stated: {twice}",
        ]
    )
    assert check.count == 3
