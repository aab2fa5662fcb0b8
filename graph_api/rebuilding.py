"""Builds graphs anew from the journal: for a reader of an old head, and for an audit.

Invariant: what is built here is built in the scratch folder or at the path asked for, from the
journal alone, along the same road as the live graph; the live graph is only ever read.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ontology.errors import OntologyError
from ontology.ids import Ids
from ontology.store import GraphStore
from proofs.audit import AuditCheck, Auditor, AuditReport
from proofs.checkpoint import VerifierKey
from proofs.errors import ProofError
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.projections import Projections, load_entry

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
        verifier: VerifierKey,
        scratch: Path,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._store = store
        self._ids = ids
        self._verifier = verifier
        self._scratch = scratch

    def at(self, head: int, path: Path) -> None:
        """Writes the graph as it was right after entry ``head`` into a new folder at ``path``."""
        with self._replayed(head, path) as store:
            store.optimise()

    def audit(
        self,
        folders: Sequence[Path],
        witnesses: Sequence[VerifierKey],
        published: Callable[[int, float], bool],
    ) -> AuditReport:
        """Audits everything, the derived graphs against a store built anew.

        Nothing is written meanwhile, so that journal, tiles and graph are seen at one head;
        ``published(size, seconds)`` waits until that much is published.
        """
        path = self._scratch / f"audit-{secrets.token_hex(4)}"
        with self._ledger.writer_lock:
            head = self._ledger.head
            published(head + 1, PUBLISHING)
            auditor = Auditor(
                self._journal, self._store, self._ids, self._verifier, folders, witnesses
            )
            with ExitStack() as stack:
                stack.callback(shutil.rmtree, path, ignore_errors=True)
                try:
                    rebuilt = stack.enter_context(self._replayed(head, path))
                except (ProofError, OntologyError, SyntaxError, ValueError) as error:
                    # The auditor reads on where a replay ends, and names the place.
                    unbuilt = AuditCheck("rebuild")
                    unbuilt.find(f"the journal cannot be replayed: {error}")
                    report = auditor.run()
                    return replace(report, checks=(*report.checks, unbuilt))
                return auditor.run(rebuilt=rebuilt)

    @contextmanager
    def _replayed(self, head: int, path: Path) -> Iterator[GraphStore]:
        index_path = self._scratch / f"index-{secrets.token_hex(4)}.sqlite"
        index = Index(index_path)
        try:
            store = GraphStore(path, self._ids)
            projections = Projections(self._journal, store, index, self._ids, self._verifier)
            projections.bring_up_to_date()
            for number, leaf in self._journal.leaves(0, head + 1):
                projections.apply(load_entry(self._journal, number, leaf, self._verifier))
            yield store
        finally:
            index.close()
            for suffix in ("", "-wal", "-shm"):
                index_path.with_name(index_path.name + suffix).unlink(missing_ok=True)
