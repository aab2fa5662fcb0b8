"""Opens a data folder and brings up everything that runs on it, in order.

Invariant: this is the composition root: it reads the settings and hands values on. What is derived
is brought to the journal's head before anything is answered; what is opened is closed in reverse
order, however the start ends.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from pyoxigraph import NamedNode

from graph_api.auth import Authenticator
from graph_api.decision_card import DecisionCards
from graph_api.erasure import Eraser, check_evidence
from graph_api.evidence_trace import EvidenceTrace, doubts
from graph_api.live import Live
from graph_api.problems import Problem
from graph_api.proof_facts import ProofFacts
from graph_api.query_service import QueryLimits, QueryService
from graph_api.query_workers import QueryPool
from graph_api.rebuilding import Rebuilder
from graph_api.saved_queries import MEMORY, Preview
from graph_api.sweep_facts import SweepFacts
from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.errors import IngestError
from ingest.fact_process import FactProcess
from ingest.forward import Forwarder
from ingest.glitchtip_projects import GlitchTipProjects
from ingest.inbox import Inbox
from ingest.marks import Marks
from ingest.outbox import Outbox
from ingest.patience import Peer
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
from ontology.entailment import VERSION
from ontology.ids import Ids
from ontology.snapshots import Snapshots
from ontology.store import GraphStore
from proofs.audit import AuditCheck, AuditReport
from proofs.canonicaliser import Canonicaliser
from proofs.chain import Chain
from proofs.checkpoint import VerifierKey
from proofs.decider import POLICY_PRINCIPAL
from proofs.errors import JournalCorrupt
from proofs.explain import Explainer
from proofs.genesis import genesis_delta, steward_slug
from proofs.governance import OPERATOR, STEWARD
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.policy import Policy
from proofs.projections import Projections
from proofs.publish import Publisher, refuse_fork
from runtime.access import INGEST, Access
from runtime.data_folder import DataFolder, write_whole
from runtime.held_secrets import HeldSecrets
from runtime.log_key import open_log_key
from runtime.settings import Settings
from shapes.sparql_process import RUNNER, Runner
from shapes.validator import Validator
from stewards.new_things import HourlyCaps
from stewards.pages import Pacing
from stewards.reflection_model import Wording
from stewards.reflection_model import load as load_model
from stewards.runner import Assignment, StewardRunner
from stewards.watermark import WatermarkStore

LOGGER = logging.getLogger(__name__)

USUAL_SHARE = 3
"""A query gets the longest time divided by this, unless it asks for more."""

_CHANGED_FACTS = "facts changed under the stewards"

TICK = 1.0
"""Seconds between two looks for time locks that ran out."""

# Seconds that making a project may wait for GlitchTip.
_GLITCHTIP_PATIENCE = 5.0


def utc_now() -> datetime:
    return datetime.now(UTC)


def new_proposal_id(moment: datetime) -> str:
    """A short identifier that sorts by day: ``20261122-1cb8bef4a2``."""
    return f"{moment:%Y%m%d}-{secrets.token_hex(5)}"


def end_process(reason: str) -> None:
    """Ends the process at once: what reached the disk is unknown, and the next start finds out."""
    LOGGER.critical("stopping: %s", reason)
    logging.shutdown()
    os._exit(70)


class Assembly:
    """Everything that runs on one data folder. Use it as a context manager."""

    def __init__(self, settings: Settings, announce: Callable[[str], None]) -> None:
        self.settings = settings
        self.folder = DataFolder(settings.data.resolve())
        self.announce = announce
        self.url = ""
        self.grpc_address = ""
        self._closing = ExitStack()
        self._committed: dict[str, int] = {}
        self._steward_tokens: dict[str, str] = {}
        self.runner: StewardRunner | None = None

    def __enter__(self) -> Assembly:
        try:
            self._open()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    # --- opening, in order

    def _open(self) -> None:
        closing, folder, settings = self._closing, self.folder, self.settings
        self.wording = self._model()
        closing.callback(folder.open().close)
        shutil.rmtree(folder.scratch, ignore_errors=True)
        folder.scratch.mkdir()
        closing.callback(shutil.rmtree, folder.scratch, ignore_errors=True)

        self.journal = Journal(folder.journal)
        closing.callback(self.journal.close)
        self.ids = Ids(self._base())
        signer = open_log_key(
            folder, self.ids.base, settings.organisation, founding=self.journal.head() < 0
        )
        self.verifier = signer.verifier
        self.log_folders = [folder.log, *([settings.mirror] if settings.mirror else [])]
        refuse_fork(self.journal, self.log_folders, self.verifier)

        self.store = GraphStore(folder.graph, self.ids)
        self.index = Index(folder.index)
        closing.callback(self.index.close)
        self.projections = Projections(
            self.journal, self.store, self.index, self.ids, self.verifier
        )
        self._catch_up()
        chain = Chain(self.journal, signer, end_process)
        canonicaliser = Canonicaliser()
        closing.callback(canonicaliser.close)
        # The process that the queries of shapes run in.
        closing.callback(RUNNER.close)
        self.ledger = Ledger(
            self.journal,
            chain,
            self.projections,
            Validator(self.store, folder.scratch),
            Policy(self.ids),
            self.ids,
            clock=utc_now,
            new_id=new_proposal_id,
            canonicalise=canonicaliser,
            doubts=lambda evidence, project: doubts(self.inbox.evidence, evidence, project),
        )
        if self.ledger.head < 0:
            self._found()
        folder.write_format(self.ids.base)
        self.access = Access(folder.access, utc_now, secrets.token_bytes)
        closing.callback(self.access.close)
        self.held_secrets = HeldSecrets(folder.access)
        closing.callback(self.held_secrets.close)
        self.authenticator = Authenticator(self.access, lambda: self.ledger.governance)
        self._operator_token()
        self.explainer = Explainer(
            self.journal, self.index, self.store, self.verifier, self.witnesses
        )
        self.rebuilder = Rebuilder(
            self.journal, self.ledger, self.store, self.ids, self.verifier, folder.scratch
        )
        self._open_readers()
        self._open_telemetry()
        self._start_clock()

    def _base(self) -> str:
        base = self.journal.meta("base")
        if base is None:
            base = self.settings.base
            self.journal.set_meta({"base": Ids(base).base})
        return base

    def _catch_up(self) -> None:
        head = self.journal.head()
        behind = head - min(self.store.head() or -1, self.index.head())

        def progress(index: int, last: int) -> None:
            if behind > 500 and index % 500 == 0:
                self.announce(f"rebuilding from the journal: entry {index} of {last}")

        applied = self.projections.catch_up(progress)
        if applied > 1:
            LOGGER.info("brought graph and index to entry %d (%d entries)", head, applied)

    def _found(self) -> None:
        settings = self.settings
        operator = self.ids.principal(settings.operator)
        delta = genesis_delta(
            self.ids,
            settings.organisation,
            settings.operator,
            timedelta(seconds=settings.time_lock_seconds),
        )
        self.ledger.found(operator, delta, f"{settings.organisation} is founded")

    def _operator_token(self) -> None:
        path = self.folder.operator_token
        if any(item.role == OPERATOR and not item.revoked_at for item in self.access.all()):
            return
        operators = sorted(self.ledger.governance.operators())
        if not operators:
            raise JournalCorrupt("the governance graph names no operator: restore a backup")
        principal = operators[0]
        _, token = self.access.issue(principal.rpartition("/")[2], OPERATOR, principal)
        write_whole(path, token + "\n", 0o600)
        self.announce(f"operator token (shown once, kept in {path}): {token}")

    def _open_readers(self) -> None:
        closing, settings = self._closing, self.settings
        self.snapshots = Snapshots(
            self.folder.snapshots,
            self._cut,
            self.rebuilder.at,
            settings.snapshot_bytes,
            identity=self._identity,
        )
        self.snapshots.start()
        closing.callback(self.snapshots.close)
        # Started by the application, in the event loop that serves.
        self.workers = QueryPool(
            self.snapshots,
            self.folder.scratch / "results",
            settings.query_workers,
            settings.query_memory,
        )
        self.reading = QueryService(
            self.snapshots,
            self.workers,
            self.ids,
            QueryLimits(
                seconds=settings.query_seconds / USUAL_SHARE,
                most_seconds=settings.query_seconds,
                result_bytes=settings.query_result_bytes,
            ),
            self.min_head_for,
            self.store.recent,
        )
        self.publisher = Publisher(self.journal, self.log_folders, lambda size: None)
        self.publisher.start()
        closing.callback(self.publisher.stop)
        self.ledger.on_commit(self.snapshots.notify)
        self.ledger.on_commit(self.publisher.notify)
        self.live = Live(self.index, lambda: self.ledger.governance)
        self.ledger.on_commit(self.live.notify)

    def _open_telemetry(self) -> None:
        closing = self._closing
        settings = self.settings
        self.inbox = Inbox(
            self.folder.inbox,
            fatal=end_process,
            quotas=Quotas(
                Quota(settings.project_items, settings.project_bytes),
                {slug: Quota(*quota) for slug, quota in settings.quota_of().items()},
            ),
            on_batch=self._note_use,
        )
        closing.callback(self.inbox.close)
        self.inbox.keep_payloads(self.settings.evidence == "keep")
        self.warehouse = Warehouse(
            settings.facts.get_secret_value() if settings.facts else self.folder.facts,
            days=self.settings.facts_days,
            by_month=self.settings.facts_by_month,
        )
        closing.callback(self.warehouse.close)
        self._classifier: tuple[str | None, Classifier] | None = None
        pseudonyms = Pseudonyms.kept_in(self.inbox, secrets.token_bytes)
        self.decoders = decoders(pseudonyms)
        self.marks = Marks.kept_in(self.inbox, secrets.token_bytes)
        self.upstreams = Upstreams(self.held_secrets)
        self.outbox = Outbox(
            self.inbox.file,
            self.upstreams.find,
            secrets.token_bytes,
            days=settings.outbox_days,
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
            on_facts=lambda projects: self._wake_stewards(),
        )
        self.pump.start()
        closing.callback(self.pump.stop)
        self.eraser = Eraser(
            self.ledger,
            self.journal,
            self.index,
            self.verifier,
            self.inbox,
            self.warehouse,
            self.pump,
            pseudonyms,
            clock=utc_now,
            policy=self.ids.principal(POLICY_PRINCIPAL),
            days=self.settings.evidence_days,
        )
        self.eraser.start()
        closing.callback(self.eraser.stop)
        self.trace = EvidenceTrace(self.inbox, self.warehouse, self.eraser.told)
        # The process that what-if queries run in: those of shapes don't wait for them.
        runner = Runner(MEMORY)
        closing.callback(runner.close)
        preview = Preview(self.store, self.folder.scratch, self.ledger.writer_lock, runner)
        self.cards = DecisionCards(
            ledger=self.ledger,
            store=self.store,
            ids=self.ids,
            warehouse=self.warehouse,
            trace=self.trace,
            preview=preview,
        )
        self.reclassifier = Reclassifier(self.warehouse, self.classifier, self.marks)
        self._stopping = threading.Event()
        closing.callback(self._stopping.set)
        self.proof_facts = ProofFacts(self.journal, self.warehouse, self.verifier, self._is_steward)
        self.proof_facts.start()
        closing.callback(self.proof_facts.stop)
        self.ledger.on_commit(self.proof_facts.notify)

    def start_stewards(self, url: str) -> None:
        """Lets the stewards begin; ``url`` is where this server answers."""
        self.url = url
        marks = WatermarkStore(self.folder.stewards)
        dsn = self.settings.checkpoints
        self.runner = StewardRunner(
            self._assignments,
            url,
            self.ids,
            marks,
            utc_now,
            checkpoints=dsn.get_secret_value() if dsn else None,
            interval=self.settings.steward_seconds,
            caps=HourlyCaps(**self.settings.caps()),
            pacing=Pacing(hold_seconds=self.settings.hold_seconds),
            dormant_after=self.settings.dormant_days(),
            reflect_every=timedelta(seconds=self.settings.reflect_seconds),
            wording=self.wording,
            busy=lambda: self.pump.behind,
            swept=SweepFacts(self.warehouse, self.ids, utc_now).swept,
        )
        self._read_again(self._changed_facts())
        self.runner.start()
        self._closing.callback(marks.close)
        self._closing.callback(self.runner.stop)

    def _model(self) -> Wording | None:
        """The chat model that may word rules, where the settings name one."""
        place = self.settings.reflect_model
        if place is None:
            return None
        return Wording(load_model(place, self.settings.model_arguments()), place)

    def stewards(self) -> StewardRunner:
        """The stewards' runner; there is one from the moment the server answers."""
        if self.runner is None:
            raise Problem(
                503,
                "starting",
                "The server is starting",
                "The stewards are not at work yet; try again in a moment.",
                headers={"Retry-After": "1"},
            )
        return self.runner

    def _start_clock(self) -> None:
        stopping = threading.Event()

        def run() -> None:
            while not stopping.wait(TICK):
                try:
                    self.ledger.tick()
                except Exception:
                    LOGGER.exception("a time-locked proposal could not be applied")

        thread = threading.Thread(target=run, name="time-locks", daemon=True)
        thread.start()
        self._closing.callback(thread.join, 10)
        self._closing.callback(stopping.set)

    # --- what the parts ask for

    def sender_of(self, secret: str) -> Sender | None:
        """Whose an ingest key is, ``None`` for a key that is not valid (any more)."""
        key = self.access.ingest_key(secret)
        if key is None or key.project is None:
            return None
        return Sender(key.project, key.id, trusted=key.role == INGEST)

    def glitchtip(self) -> GlitchTipProjects | None:
        """Where projects are made in GlitchTip too; ``None`` unless all of it is configured."""
        url, token = self.settings.glitchtip_url, self.settings.glitchtip_token
        organisation, team = self.settings.glitchtip_organisation, self.settings.glitchtip_team
        if not (url and token and organisation and team):
            return None
        return GlitchTipProjects(
            lambda: Peer(
                url,
                token.get_secret_value(),
                sleep=time.sleep,
                clock=utc_now,
                patience=_GLITCHTIP_PATIENCE,
                seconds=_GLITCHTIP_PATIENCE,
            ),
            organisation,
            team,
            lambda slug, dsn: self.held_secrets.keep(f"glitchtip-dsn/{slug}", dsn),
        )

    def _note_use(self, sender: Sender) -> None:
        if sender.key:
            self.access.note_use(sender.key, from_page=not sender.trusted)

    def _is_steward(self, principal: str) -> bool:
        return self.ledger.governance.has_role(principal, STEWARD)

    def reclassify(self, project: str | None, since: int, *, dry_run: bool) -> Reclassification:
        """Classifies stored facts again; the stewards read those that changed once more.

        Which ones those are is noted before they are written, and the note stays until the stewards
        will read them: a crash in between loses no change.
        """
        found = self.reclassifier.run(
            project=project,
            since=since,
            dry_run=dry_run,
            on_change=self._note_changed_facts,
            stopping=self._stopping.is_set,
        )
        if not dry_run:
            self._read_again(found.first_changed)
        return found

    def _note_changed_facts(self, changed: Mapping[str, int]) -> None:
        noted = self._changed_facts()
        for project, seq in changed.items():
            noted[project] = min(seq, noted.get(project, seq))
        if noted != self._changed_facts():
            self.inbox.set_state(_CHANGED_FACTS, json.dumps(noted))

    def _changed_facts(self) -> dict[str, int]:
        noted: dict[str, int] = json.loads(self.inbox.state(_CHANGED_FACTS) or "{}")
        return noted

    def _read_again(self, changed: Mapping[str, int]) -> None:
        if changed and self.runner is not None:
            for project, seq in changed.items():
                self.runner.read_again(project, seq)
            self.inbox.set_state(_CHANGED_FACTS, "{}")

    def _wake_stewards(self) -> None:
        if self.runner is not None:
            self.runner.wake()

    def _assignments(self) -> list[Assignment]:
        found = []
        for project in self.ledger.governance.projects.values():
            name = steward_slug(project.slug)
            principal = self.ids.principal(name)
            if principal not in project.stewards:
                continue
            token = self._steward_tokens.get(name)
            if token is None:
                token = self.access.lend(name, STEWARD, principal, project.slug)
                self._steward_tokens[name] = token
            found.append(Assignment(name, project.slug, token))
        return found

    def classifier(self) -> Classifier:
        """The classifier of the rules as they stand in the graph."""
        version = self.projections.versions.get("rules")
        held = self._classifier
        if held is None or held[0] != version:
            graph = NamedNode(self.ids.graph("rules"))
            quads = list(self.store.match(graph=graph))
            redactor = Redactor(redaction_rules(quads))
            rules = rules_from_quads(quads)
            classifier = Classifier(rules, self.ids, version or "", redactor)
            held = self._classifier = (version, classifier)
        return held[1]

    def committed(self, principal: str, head: int) -> None:
        """Remembers what a caller changed last, so that they read their own writes."""
        self._committed[principal] = max(head, self._committed.get(principal, -1))

    def min_head_for(self, principal: str) -> int:
        """The head this caller's reads must have reached, -1 for any."""
        return self._committed.get(principal, -1)

    def _identity(self, head: int) -> str:
        # What a snapshot holds also depends on the rules that its inferred triples follow.
        return f"{self.journal.leaf_hashes(head, head + 1)[0].hex()} {VERSION}"

    def _cut(self, path: Path) -> int:
        with self.ledger.writer_lock:
            self.store.checkpoint(path)
            return self.ledger.head

    def audit(self) -> AuditReport:
        """Audits everything, the derived graphs against a store built anew, the evidence against
        the erasures that the log tells of, the facts against what the inbox noted of each batch."""
        report = self.rebuilder.audit(self.log_folders, self.witnesses, self.publisher)
        evidence = check_evidence(self.inbox, self.index)
        return replace(report, checks=(*report.checks, evidence, self._audit_facts()))

    def _audit_facts(self) -> AuditCheck:
        check = AuditCheck("facts")
        try:
            found = reconcile(
                self.inbox, self.warehouse, self.marks, time.time_ns(), self.settings.facts_days
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

    @cached_property
    def witnesses(self) -> tuple[VerifierKey, ...]:
        """The keys of the witnesses this organisation trusts."""
        return tuple(VerifierKey.parse(text) for text in self.settings.witness_keys)
