"""Telemetry of one data folder: from the inbox to the facts, and what is made and kept of them.

Invariant: as for the assembly, whose part this is: what is opened is closed in reverse order, by
the stack that was handed in.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from pyoxigraph import NamedNode

from graph_api.changed_facts import ChangedFacts
from graph_api.erasure import Eraser, check_evidence
from graph_api.evidence_trace import EvidenceTrace
from graph_api.proof_facts import ProofFacts
from graph_api.run_facts import RunFacts
from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.errors import IngestError
from ingest.fact_process import FactProcess
from ingest.forward import Forwarder
from ingest.inbox import Inbox
from ingest.marks import Marks
from ingest.outbox import Outbox
from ingest.pseudonyms import Pseudonyms
from ingest.pump import Pump
from ingest.quotas import Quota, Quotas
from ingest.reclassify import Reclassification, Reclassifier
from ingest.reconcile import reconcile
from ingest.redaction import Redactor
from ingest.redaction_rules import redaction_rules
from ingest.sender import Sender
from ingest.upstreams import Upstreams
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.store import GraphStore
from proofs.audit import AuditCheck
from proofs.governance import STEWARD
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.log_keys import LogKeys
from proofs.policy import POLICY_PRINCIPAL
from proofs.projections import Projections
from runtime.access import INGEST, Access
from runtime.data_folder import DataFolder
from runtime.held_secrets import HeldSecrets
from runtime.settings import Settings
from stewards.wakes import Wakes


@dataclass(frozen=True)
class Truth:
    """The journal and what is derived from it, as far as telemetry has to do with it."""

    journal: Journal
    keys: LogKeys
    ids: Ids
    store: GraphStore
    index: Index
    projections: Projections
    ledger: Ledger


class Telemetry:
    """Everything between a payload that arrives and its fact. ``fatal`` ends the process at once,
    ``clock`` gives the time in UTC; projects whose facts are there are told to ``wakes``."""

    def __init__(
        self,
        folder: DataFolder,
        settings: Settings,
        truth: Truth,
        access: Access,
        held_secrets: HeldSecrets,
        wakes: Wakes,
        closing: ExitStack,
        *,
        fatal: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._truth = truth
        self._access = access
        self._wakes = wakes
        self._classifier: tuple[str | None, Classifier] | None = None
        self.inbox = Inbox(
            folder.inbox,
            fatal=fatal,
            quotas=Quotas(
                Quota(settings.project_items, settings.project_bytes),
                {slug: Quota(*quota) for slug, quota in settings.quota_of().items()},
            ),
            on_batch=self._note_use,
        )
        closing.callback(self.inbox.close)
        self.inbox.keep_payloads(settings.evidence == "keep")
        self.warehouse = Warehouse(
            settings.facts.get_secret_value() if settings.facts else folder.facts,
            days=settings.facts_days,
            by_month=settings.facts_by_month,
        )
        closing.callback(self.warehouse.close)
        self.outcomes = RunFacts(self.warehouse, truth.ids, clock)
        pseudonyms = Pseudonyms.kept_in(self.inbox, secrets.token_bytes)
        self.decoders = decoders(pseudonyms)
        self.marks = Marks.kept_in(self.inbox, secrets.token_bytes)
        self.upstreams = Upstreams(held_secrets)
        self.outbox = Outbox(
            self.inbox.file, self.upstreams.find, secrets.token_bytes, days=settings.outbox_days
        )
        self.forwarder = Forwarder(self.outbox)
        self.forwarder.start()
        closing.callback(self.forwarder.stop)
        self.pump = Pump(
            self.inbox,
            self.warehouse,
            self.classifier,
            self.decoders,
            marks=self.marks,
            process=FactProcess(pseudonyms, self.marks),
            on_facts=wakes.wake,
        )
        self.pump.start()
        closing.callback(self.pump.stop)
        self.eraser = Eraser(
            truth.ledger,
            truth.journal,
            truth.index,
            truth.keys,
            self.inbox,
            self.warehouse,
            self.pump,
            pseudonyms,
            clock=clock,
            policy=truth.ids.principal(POLICY_PRINCIPAL),
            days=settings.evidence_days,
        )
        self.eraser.start()
        closing.callback(self.eraser.stop)
        self.trace = EvidenceTrace(self.inbox, self.warehouse, self.eraser.told)
        self.changed_facts = ChangedFacts(self.inbox)
        self._reclassifier = Reclassifier(self.warehouse, self.classifier, self.marks)
        self._stopping = threading.Event()
        closing.callback(self._stopping.set)
        self._proof_facts = ProofFacts(truth.journal, self.warehouse, truth.keys, self._is_steward)
        self._proof_facts.start()
        closing.callback(self._proof_facts.stop)
        truth.ledger.on_commit(self._proof_facts.notify)

    def sender_of(self, secret: str) -> Sender | None:
        """Whose an ingest key is, ``None`` for a key that is not valid (any more)."""
        key = self._access.ingest_key(secret)
        if key is None or key.project is None:
            return None
        return Sender(key.project, key.id, trusted=key.role == INGEST)

    def classifier(self) -> Classifier:
        """The classifier of the rules as they stand in the graph."""
        truth = self._truth
        version = truth.projections.versions.get("rules")
        held = self._classifier
        if held is None or held[0] != version:
            graph = NamedNode(truth.ids.graph("rules"))
            quads = list(truth.store.match(graph=graph))
            redactor = Redactor(redaction_rules(quads))
            rules = rules_from_quads(quads)
            classifier = Classifier(rules, truth.ids, version or "", redactor)
            held = self._classifier = (version, classifier)
        return held[1]

    def reclassify(self, project: str | None, since: int, *, dry_run: bool) -> Reclassification:
        """Classifies stored facts again; the stewards read those that changed once more."""
        with self.changed_facts.writing() as note:
            found = self._reclassifier.run(
                project=project,
                since=since,
                dry_run=dry_run,
                on_change=note,
                stopping=self._stopping.is_set,
            )
        if not dry_run:
            self._wakes.wake(found.first_changed)
        return found

    def audit(self) -> tuple[AuditCheck, ...]:
        """The evidence against the erasures that the log tells of, and the facts against what the
        inbox noted of each batch."""
        return check_evidence(self.inbox, self._truth.index), self._audit_facts()

    def _audit_facts(self) -> AuditCheck:
        check = AuditCheck("facts")
        try:
            found = reconcile(
                self.inbox, self.warehouse, self.marks, time.time_ns(), self._settings.facts_days
            )
        except IngestError as error:
            check.find(f"the facts could not be compared: {error.detail}")
            return check
        check.detail = f"{found.compared} facts of {found.batches} batches" + (
            f", {found.unnoted} older batches not compared" if found.unnoted else ""
        )
        for finding in found.findings():
            check.find(finding)
        return check

    def _note_use(self, sender: Sender) -> None:
        if sender.key:
            self._access.note_use(sender.key, from_page=not sender.trusted)

    def _is_steward(self, principal: str) -> bool:
        return self._truth.ledger.governance.has_role(principal, STEWARD)
