"""Opens a data folder and brings up everything that runs on it, in order.

Invariant: this is the composition root: it reads the settings and hands values on. What is derived
is brought to the journal's head before anything is answered; what is opened is closed in reverse
order, however the start ends.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import cached_property

from graph_api.assembly_control import Control
from graph_api.assembly_discovery import open_discovery
from graph_api.assembly_jobs import Jobs, Place
from graph_api.assembly_readers import Readers
from graph_api.assembly_secrets import open_secrets, transit_of, variables
from graph_api.assembly_stewards import Roster, Stewards, conduct_of
from graph_api.assembly_telemetry import Telemetry, Truth
from graph_api.auth import Authenticator
from graph_api.decision_card import DecisionCards
from graph_api.evidence_trace import doubts
from graph_api.job_watch import JobWatch
from graph_api.live import Live
from graph_api.process import (
    end_process,
    new_process_name,
    new_proposal_id,
    new_run_id,
    utc_now,
)
from graph_api.rebuilding import Rebuilder
from graph_api.saved_queries import MEMORY, Preview
from ingest.glitchtip_projects import GlitchTipProjects
from ingest.patience import Peer
from ontology.ids import Ids
from ontology.store import GraphStore
from proofs.audit import AuditReport
from proofs.canonicaliser import Canonicaliser
from proofs.chain import Chain
from proofs.checkpoint import Signer, VerifierKey
from proofs.errors import JournalCorrupt, ProofError
from proofs.explain import Explainer
from proofs.genesis import genesis_delta
from proofs.governance import OPERATOR
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.log_keys import LogKeys, last_key
from proofs.policy import Policy
from proofs.projections import Projections
from proofs.publish import Publisher, refuse_fork
from runtime.access import Access
from runtime.asset_status import StatusKeeper
from runtime.data_folder import DataFolder, write_whole
from runtime.errors import RuntimeFloorError
from runtime.held_secrets import HeldSecrets
from runtime.log_key import LogKey, forget_file_key, open_log_key, publish_keys
from runtime.settings import Settings
from shapes.errors import ValidationFailed
from shapes.sparql_process import RUNNER, Runner
from shapes.validator import Validator
from stewards.wakes import Wakes

LOGGER = logging.getLogger(__name__)

TICK = 1.0
"""Seconds between two looks for time locks that ran out."""

# Seconds that making a project may wait for GlitchTip.
_GLITCHTIP_PATIENCE = 5.0


class Assembly:
    """Everything that runs on one data folder. Use it as a context manager."""

    def __init__(self, settings: Settings, announce: Callable[[str], None]) -> None:
        self.settings = settings
        self.folder = DataFolder(settings.data.resolve())
        self.announce = announce
        self.url = ""
        self.grpc_address = ""
        self._closing = ExitStack()

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
        closing, folder = self._closing, self.folder
        # A chat model that can't be had, or a secret, is told of before anything is opened.
        self.settings, self.openbao = open_secrets(self.settings, closing)
        settings = self.settings
        self._conduct = conduct_of(settings)
        closing.callback(folder.open().close)
        shutil.rmtree(folder.scratch, ignore_errors=True)
        folder.scratch.mkdir()
        closing.callback(shutil.rmtree, folder.scratch, ignore_errors=True)

        self.journal = Journal(folder.journal)
        closing.callback(self.journal.close)
        self.ids = Ids(self._base())
        rotations = self.journal.rotations()
        log_key = self._log_key(last_key(rotations))
        self.custody = log_key.custody
        self.keys = LogKeys.read(log_key.signer.verifier, rotations)
        self.log_folders = [folder.log, *([settings.mirror] if settings.mirror else [])]
        refuse_fork(self.journal, self.log_folders, self.keys)

        self.store = GraphStore(folder.graph, self.ids)
        self.index = Index(folder.index)
        closing.callback(self.index.close)
        self.projections = Projections(self.journal, self.store, self.index, self.ids, self.keys)
        self._catch_up()
        chain = Chain(self.journal, log_key.signer, self.keys, end_process)
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
            doubts=lambda cited, project: doubts(self.telemetry.inbox.evidence, cited, project),
        )
        if self.ledger.head < 0:
            self._found()
        self._hand_on(log_key.successor)
        folder.write_format(self.ids.base)
        self.access = Access(folder.access, utc_now, secrets.token_bytes)
        closing.callback(self.access.close)
        self.roster = Roster(folder, self.ids, self.ledger, self.keys, self.access)
        self._enrol_stewards()
        self.held_secrets = HeldSecrets(folder.access)
        closing.callback(self.held_secrets.close)
        self.authenticator = Authenticator(self.access, lambda: self.ledger.governance)
        self._operator_token()
        self.explainer = Explainer(self.journal, self.index, self.store, self.keys, self.witnesses)
        self.rebuilder = Rebuilder(
            self.journal, self.ledger, self.store, self.ids, self.keys, folder.scratch
        )
        self._open_readers()
        self._open_telemetry()
        self._open_jobs()
        self._open_control()
        self._open_discovery()
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

    def _log_key(self, current: VerifierKey | None) -> LogKey:
        settings = self.settings
        return open_log_key(
            self.folder,
            self.ids.base,
            settings.organisation,
            transit_of(settings, self.openbao),
            founding=self.journal.head() < 0,
            current=current,
        )

    def rotate_log_key(self, principal: str, reason: str) -> int | None:
        """Hands the log to the newest version of its key in OpenBao: the index of that entry;
        ``None`` where there is no newer one, or the key is in a file.

        Raises :class:`proofs.errors.GateError` and :class:`runtime.errors.RuntimeFloorError`."""
        with self.ledger.writer_lock:
            successor = self._log_key(self.verifier).successor
            return None if successor is None else self._hand_on(successor, principal, reason)

    def _hand_on(
        self, successor: Signer | None, principal: str | None = None, reason: str = ""
    ) -> int:
        """Hands the log to the key that the settings and OpenBao name now, where it is another: the
        index of that entry, -1 for none."""
        entry = -1
        if successor is not None:
            before = self.verifier
            entry = self.ledger.rotate(
                successor, reason or "the key that the settings name is another one", principal
            )
            self.announce(f"the log is handed from {before.label} to {self.verifier.label}")
        publish_keys(self.folder, [item.key for item in self.keys.held])
        if forget_file_key(self.folder, self.verifier):
            self.announce(
                f"{self.folder.log_key} is deleted: the log's key is in OpenBao now, and copies of"
                " the file in backups sign nothing any more"
            )
        return entry

    def _enrol_stewards(self) -> None:
        """Where that can't be done now everything else goes on, and the next start tries again."""
        try:
            proposal = self.roster.enrol()
        except (ProofError, RuntimeFloorError, ValidationFailed, OSError) as error:
            LOGGER.warning("the stewards' signing keys could not be proposed: %s", error)
            return
        if proposal is not None:
            self.announce(
                "the stewards' signing keys await a person's approval: fractalops proposals"
                f" approve {proposal}"
            )

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
        self.readers = Readers(
            self.folder,
            settings,
            self.journal,
            self.ledger,
            self.store,
            self.ids,
            self.rebuilder,
            closing,
        )
        self.publisher = Publisher(self.journal, self.log_folders, lambda size: None)
        self.publisher.start()
        closing.callback(self.publisher.stop)
        self.ledger.on_commit(self.readers.snapshots.notify)
        self.ledger.on_commit(self.publisher.notify)
        self.live = Live(self.index, lambda: self.ledger.governance)
        self.ledger.on_commit(self.live.notify)

    def _open_telemetry(self) -> None:
        self.wakes = Wakes(new_process_name())
        self.telemetry = Telemetry(
            self.folder,
            self.settings,
            Truth(
                self.journal,
                self.keys,
                self.ids,
                self.store,
                self.index,
                self.projections,
                self.ledger,
            ),
            self.access,
            self.held_secrets,
            self.wakes,
            self._closing,
            fatal=end_process,
            clock=utc_now,
        )
        # The process that what-if queries run in: those of shapes don't wait for them.
        runner = Runner(MEMORY)
        self._closing.callback(runner.close)
        preview = Preview(self.store, self.folder.scratch, self.ledger.writer_lock, runner)
        self.cards = DecisionCards(
            ledger=self.ledger,
            store=self.store,
            ids=self.ids,
            warehouse=self.telemetry.warehouse,
            trace=self.telemetry.trace,
            preview=preview,
        )

    def _open_jobs(self) -> None:
        settings = self.settings
        self.jobs = Jobs(
            self.folder.jobs,
            Place(
                settings.steward_seconds,
                settings.mirror is not None,
                settings.temporal,
                settings.machines is not None,
            ),
            self.wakes,
            ids=self.ids,
            index=self.index,
            governance=lambda: self.ledger.governance,
            versions=lambda: self.projections.versions,
            facts=self.telemetry.outcomes,
            clock=time.time,
        )
        self._closing.callback(self.jobs.close)
        self.job_watch = JobWatch(self.wakes)
        self.ledger.on_commit(self.jobs.committed)
        self.stewards = Stewards(
            self.folder,
            settings,
            self._conduct,
            self.ids,
            self.roster,
            self.jobs,
            self.telemetry.changed_facts,
            clock=utc_now,
            new_id=new_run_id,
            busy=lambda: self.telemetry.pump.behind,
            secret=variables(self.openbao),
        )

    def _open_control(self) -> None:
        self.statuses = StatusKeeper(self.ledger, self.store, self.ids, clock=utc_now)
        self.control = Control(
            self.ledger,
            self.index,
            self.store,
            self.ids,
            self.telemetry.inbox,
            self._closing,
            machines=self.settings.machines,
            openbao=self.openbao,
            redact=lambda text: self.telemetry.classifier().redacted_document(text),
            observed=self.statuses.observed,
            spool=self.folder.scratch,
            clock=utc_now,
            new_id=new_run_id,
        )
        self.telemetry.eraser.on_erased(self.control.forget)
        self.control.start()

    def _open_discovery(self) -> None:
        self.discovery = open_discovery(
            self.ledger,
            self.store,
            self.ids,
            self.index,
            self.statuses,
            self.control,
            self.telemetry.warehouse,
            clock=utc_now,
            new_id=new_run_id,
        )

    def start_stewards(self, url: str) -> None:
        """Lets the stewards begin; ``url`` is where this server answers."""
        self.url = url
        self.stewards.start(url, self._closing)

    def let_go(self) -> None:
        """Ends what never ends by itself, or not soon; to be called in the event loop."""
        self.control.service.let_go()
        self.stewards.let_go()
        self.live.close()
        self.job_watch.close()

    def _start_clock(self) -> None:
        stopping = threading.Event()

        def run() -> None:
            while not stopping.wait(TICK):
                for due in (self.ledger.tick, self.statuses.tick):
                    try:
                        due()
                    except Exception:
                        LOGGER.exception("what was due could not be applied")

        thread = threading.Thread(target=run, name="time-locks", daemon=True)
        thread.start()
        self._closing.callback(thread.join, 10)
        self._closing.callback(stopping.set)

    # --- what the parts ask for

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

    def audit(self) -> AuditReport:
        """Audits everything: the derived graphs against a store built anew, and the telemetry."""
        report = self.rebuilder.audit(self.log_folders, self.witnesses, self.publisher)
        return replace(report, checks=(*report.checks, *self.telemetry.audit()))

    @property
    def verifier(self) -> VerifierKey:
        """The log's key as it is now."""
        return self.keys.current

    @cached_property
    def witnesses(self) -> tuple[VerifierKey, ...]:
        """The keys of the witnesses this organisation trusts."""
        return tuple(VerifierKey.parse(text) for text in self.settings.witness_keys)
