"""Builds graphs anew from the journal: for a reader of an old head, and for an audit.

Invariant: what is built here is built in the scratch folder or at the path asked for, from the
journal alone, along the same road as the live graph; the live graph is only ever read.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ontology.errors import OntologyError
from ontology.ids import Ids
from ontology.snapshots import Snapshot
from ontology.store import GraphStore, copy_snapshot
from proofs.audit import AuditCheck, Auditor, AuditReport
from proofs.checkpoint import VerifierKey
from proofs.errors import ProofError
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.log_keys import LogKeys
from proofs.projections import Projections, load_entry
from proofs.publish import Publisher

PUBLISHING = 10.0
"""Seconds an audit waits for what was committed to be published."""


class Rebuilder:
    """Rebuilds and audits one data folder; any thread may use it."""

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        store: GraphStore,
        ids: Ids,
        keys: LogKeys,
        scratch: Path,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._store = store
        self._ids = ids
        self._keys = keys
        self._scratch = scratch

    def at(self, head: int, path: Path, base: Snapshot | None = None) -> None:
        """Writes the graph as it was right after entry ``head`` into a new folder at ``path``;
        ``base`` is a snapshot of an older head, whose entries need not be written again."""
        if base is not None:
            copy_snapshot(base.path, path)
        with self._replayed(head, path, stored=-1 if base is None else base.head) as store:
            if base is None:
                store.optimise()

    def audit(
        self, folders: Sequence[Path], witnesses: Sequence[VerifierKey], publisher: Publisher
    ) -> AuditReport:
        """Audits everything, the derived graphs against a store built anew.

        Journal, tiles and graph are seen at one head, while changes go on being taken; they are
        published once the tiles were looked at.
        """
        path = self._scratch / f"audit-{secrets.token_hex(4)}"
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            with ExitStack() as pausing:
                with self._ledger.writer_lock:
                    head = self._ledger.head
                    publisher.wait_for(head + 1, PUBLISHING)
                    pausing.enter_context(publisher.paused())
                    journal = stack.enter_context(self._journal.pinned())
                    path.mkdir()
                    self._store.checkpoint(path / "store")
                store = GraphStore(path / "store", self._ids, read_only=True)
                auditor = Auditor(journal, store, self._ids, self._keys, folders, witnesses)
                checked = auditor.check_folders()
            try:
                rebuilt = stack.enter_context(self._replayed(head, path / "rebuilt", journal))
            except (ProofError, OntologyError, SyntaxError, ValueError) as error:
                # The auditor reads on where a replay ends, and names the place.
                unbuilt = AuditCheck("rebuild")
                unbuilt.find(f"the journal cannot be replayed: {error}")
                report = auditor.run(folders=checked)
                return replace(report, checks=(*report.checks, unbuilt))
            return auditor.run(rebuilt=rebuilt, folders=checked)

    @contextmanager
    def _replayed(
        self, head: int, path: Path, journal: Journal | None = None, stored: int = -1
    ) -> Iterator[GraphStore]:
        """The store at ``path``, brought from entry ``stored`` to ``head``; the entries before make
        the views of proposals that later ones go on from."""
        journal = self._journal if journal is None else journal
        index_path = self._scratch / f"index-{secrets.token_hex(4)}.sqlite"
        index = Index(index_path)
        try:
            store = GraphStore(path, self._ids)
            projections = Projections(journal, store, index, self._ids, self._keys)
            projections.bring_up_to_date()
            for number, leaf in journal.leaves(0, head + 1):
                entry = load_entry(journal, number, leaf, self._keys)
                projections.apply(entry, to_store=number > stored)
            yield store
        finally:
            index.close()
            for suffix in ("", "-wal", "-shm"):
                index_path.with_name(index_path.name + suffix).unlink(missing_ok=True)
