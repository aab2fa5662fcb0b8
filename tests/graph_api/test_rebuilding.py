"""An audit of a platform at work: one head is looked at, and nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graph_api.rebuilding import Rebuilder
from ontology.snapshots import Snapshot
from ontology.store import open_snapshot
from proofs.audit import AuditCheck, Auditor
from proofs.publish import Publisher
from tests.proofs.conftest import Gate, founded, gate, signer

__all__ = ["founded", "gate", "signer"]  # fixtures


@pytest.fixture
def publisher(gate: Gate) -> Iterator[Publisher]:
    publisher = Publisher(gate.journal, [gate.folder / "log"], lambda size: None)
    gate.ledger.on_commit(publisher.notify)
    publisher.start()
    yield publisher
    publisher.stop()


@pytest.fixture
def rebuilder(gate: Gate) -> Iterator[Rebuilder]:
    scratch = gate.folder / "scratch"
    scratch.mkdir()
    yield Rebuilder(gate.journal, gate.ledger, gate.store, gate.ids, gate.keys, scratch)
    assert list(scratch.iterdir()) == []


class Held:
    """One step of an audit, held up until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        usual = getattr(Auditor, step)

        def held(auditor: Auditor, *arguments: object) -> object:
            self.reached.set()
            assert self.go_on.wait(60)
            return usual(auditor, *arguments)

        monkeypatch.setattr(Auditor, step, held)


@pytest.mark.parametrize("step", ["check_folders", "_replay", "_check_blobs", "_check_store"])
def test_proposals_are_taken_during_an_audit(
    gate: Gate,
    publisher: Publisher,
    rebuilder: Rebuilder,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    gate.propose(gate.service("web"))
    before, digest = gate.ledger.head, gate.ledger.state_digest
    held = Held(monkeypatch, step)
    with ThreadPoolExecutor(1) as pool:
        audit = pool.submit(rebuilder.audit, [gate.folder / "log"], [], publisher)
        assert held.reached.wait(60)
        # Entries, blobs, tiles and quads that the audit must not mistake for strangers.
        for name in ("api", "worker"):
            gate.propose(gate.service(name))
        if step != "check_folders":
            assert publisher.wait_for(gate.ledger.head + 1, 60)
        held.go_on.set()
        report = audit.result(60)
    assert [finding for check in report.checks for finding in check.findings] == []
    assert (report.head, report.state_digest) == (before, digest)
    assert publisher.wait_for(gate.ledger.head + 1, 60)
    assert rebuilder.audit([gate.folder / "log"], [], publisher).head == gate.ledger.head


def test_an_old_head_is_the_same_from_wherever_it_is_rebuilt(
    gate: Gate, rebuilder: Rebuilder, tmp_path: Path
) -> None:
    first = gate.propose(gate.service("web"))
    waiting = gate.propose('ex:T a owl:Class ; rdfs:label "t" .', "ontology", by=gate.operator)
    gate.ledger.reject(gate.operator, waiting.id, "no need for it")
    gate.ledger.revert(gate.steward, first.id, "again")
    gate.propose(gate.service("api"))

    def quads(head: int, base: int | None = None) -> set[str]:
        path = tmp_path / f"{head}-{base}"
        older = None if base is None else Snapshot(base, tmp_path / f"{base}-None")
        rebuilder.at(head, path, older)
        return {str(quad) for quad in open_snapshot(path)}

    heads = range(2, gate.ledger.head + 1)
    whole = {head: quads(head) for head in heads}
    assert len({frozenset(found) for found in whole.values()}) == len(heads)
    for head in heads:
        for base in range(2, head):
            assert quads(head, base) == whole[head], (head, base)


def test_tiles_stay_as_they_are_while_they_are_looked_at(
    gate: Gate, publisher: Publisher, rebuilder: Rebuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert publisher.wait_for(gate.ledger.head + 1, 60)
    size = publisher.size
    seen: list[int] = []

    def looked(auditor: Auditor) -> list[AuditCheck]:
        gate.propose(gate.service("web"))
        assert not publisher.wait_for(size + 1, 0.5)
        seen.append(publisher.size)
        return []

    monkeypatch.setattr(Auditor, "check_folders", looked)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(rebuilder.audit, [Path("nowhere")], [], publisher).result(60)
    assert seen == [size]
    assert publisher.wait_for(size + 1, 60)
