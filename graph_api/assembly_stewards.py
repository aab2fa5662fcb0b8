"""The stewards of one data folder: their keys and tokens, and their work where it is done here.

Invariant: a steward's token is lent to this process and kept nowhere; its key is a file, and holds
once the governance graph names it. Where Temporal is configured no job is executed in this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Any

from graph_api.assembly_jobs import Jobs
from graph_api.changed_facts import ChangedFacts
from graph_api.problems import Problem
from ontology.ids import Ids
from proofs.checkpoint import SignerKey
from proofs.genesis import keys_delta, steward_slug
from proofs.governance import OPERATOR, STEWARD
from proofs.ledger import Ledger
from proofs.log_keys import LogKeys
from runtime.access import Access
from runtime.data_folder import DataFolder
from runtime.settings import Settings
from runtime.steward_keys import StewardKeys
from stewards.activities import Activity
from stewards.attempts import Attempts
from stewards.backfill_job import Backfill
from stewards.catalog_push_job import CatalogPush
from stewards.conduct import Conduct
from stewards.errors import UnknownSteward
from stewards.hiring import Hiring
from stewards.job_activities import job_activities
from stewards.jobs import BACKFILL, CATALOG_PUSH, SWEEP, Job
from stewards.new_things import HourlyCaps
from stewards.outcome import Outcome
from stewards.pages import Pacing
from stewards.platform_client import PlatformClient
from stewards.reflection_model import Wording, load
from stewards.runs import Runs
from stewards.scheduler import Scheduler
from stewards.signer import ProposalSigner
from stewards.staff import Assignment, Staff
from stewards.watermark import WatermarkStore


def conduct_of(settings: Settings) -> Conduct:
    """How stewards go about their work, as the settings say. Raises
    :class:`stewards.errors.NotConfigured` for a chat model that can't be had."""
    model = settings.reflect_model
    return Conduct(
        pacing=Pacing(hold_seconds=settings.hold_seconds),
        caps=HourlyCaps(**settings.caps()),
        dormant_after=settings.dormant_days(),
        reflect_every=timedelta(seconds=settings.reflect_seconds),
        wording=Wording(load(model, settings.model_arguments()), model) if model else None,
    )


class Roster:
    """Who the stewards are, with the keys and tokens that they have here."""

    def __init__(
        self, folder: DataFolder, ids: Ids, ledger: Ledger, keys: LogKeys, access: Access
    ) -> None:
        self.keys = StewardKeys(folder.keys, ids.base)
        self._ids = ids
        self._ledger = ledger
        self._log = keys
        self._access = access
        self._tokens: dict[str, str] = {}

    def enrol(self) -> str | None:
        """Propose keys for stewards of whom the graph names none: those of an older version. The
        proposal's id, ``None`` where there is nothing to propose."""
        governance = self._ledger.governance
        named = {key.verifier.label for key in governance.keys}
        delta = keys_delta(
            self._ids,
            [
                (name, self.keys.unnamed(name, named).verifier)
                for name, _, principal in self.named()
                if not governance.keys_of(principal)
            ],
        )
        view = self._ledger.enrol(delta, "stewards sign what they propose") if delta else None
        return None if view is None else view.id

    def named(self) -> list[tuple[str, str, str]]:
        """The stewards of the projects: name, slug of the project, principal."""
        found = []
        for project in self._ledger.governance.projects.values():
            name = steward_slug(project.slug)
            principal = self._ids.principal(name)
            if principal in project.stewards:
                found.append((name, project.slug, principal))
        return found

    def assignments(self) -> list[Assignment]:
        """The stewards, with the tokens that they act with."""
        found = []
        for name, project, principal in self.named():
            token = self._tokens.get(name)
            if token is None:
                token = self._access.lend(name, STEWARD, principal, project)
                self._tokens[name] = token
            found.append(Assignment(name, project, token))
        return found

    def key(self, name: str) -> SignerKey | None:
        """The key here that this steward signs with now; ``None`` where none holds."""
        held = self._ledger.governance.keys_of(self._ids.principal(name))
        return self.keys.active(name, {key.verifier.label for key in held if not key.retired})

    def signer(self, name: str) -> ProposalSigner:
        """Signs what this steward proposes."""
        principal = self._ids.principal(name)
        return ProposalSigner(principal, self._log.current.label, lambda: self.key(name))

    def scheduler_token(self) -> str:
        """A token for who executes jobs in this process: it asks what an operator may ask."""
        principal = min(self._ledger.governance.operators())
        return self._access.lend("scheduler", OPERATOR, principal)


@dataclass(frozen=True)
class _AtWork:
    staff: Staff
    scheduler: Scheduler


class Stewards:
    """The stewards' work, in this process or elsewhere. ``busy()`` tells whether much has arrived
    that isn't facts yet, ``new_id`` makes the id of a run, ``secret`` tells what a
    variable holds that a job names."""

    def __init__(
        self,
        folder: DataFolder,
        settings: Settings,
        conduct: Conduct,
        ids: Ids,
        roster: Roster,
        jobs: Jobs,
        changed: ChangedFacts,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        busy: Callable[[], bool],
        secret: Callable[[str], str | None],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._secret = secret
        self._ids = ids
        self._roster = roster
        self._jobs = jobs
        self._changed = changed
        self._clock = clock
        self._new_id = new_id
        self._busy = busy
        self._conduct = conduct
        self._at_work: _AtWork | None = None
        self._stopping = Event()

    def start(self, url: str, closing: ExitStack) -> None:
        """Let them begin; ``url`` is where this server answers. Where Temporal is configured,
        workers let them."""
        settings = self._settings
        if settings.temporal is not None:
            return
        stopping = self._stopping
        marks = WatermarkStore(self._folder.stewards)
        closing.callback(marks.close)
        dsn = settings.checkpoints
        runs = Runs(marks, dsn.get_secret_value() if dsn else None)
        closing.callback(runs.close)
        hiring = Hiring(
            url,
            self._ids,
            marks,
            runs,
            self._clock,
            self._conduct,
            self._roster.signer,
            stopping.wait,
        )
        staff = Staff(self._roster.assignments, hiring.hire)
        closing.callback(staff.close)
        token = self._roster.scheduler_token()
        platform = PlatformClient.connect(url, token, stopping.wait)
        closing.callback(platform.close)
        secret, wait = self._secret, stopping.wait
        beyond: dict[str, Activity] = {
            BACKFILL: Backfill(platform, url, secret, self._clock, wait),
            CATALOG_PUSH: CatalogPush(platform, url, token, secret, wait),
        }
        activities = job_activities(platform, self._sweep, beyond)
        scheduler = Scheduler(
            self._jobs.schedules,
            self._jobs.store.open_runs,
            self._jobs.last_began,
            Attempts(activities, self._jobs.note, time.time),
            self._jobs.wakes,
            new_id=self._new_id,
            stopping=stopping,
            busy=self._busy,
        )
        self._at_work = _AtWork(staff, scheduler)
        scheduler.start()
        closing.callback(scheduler.stop)

    def let_go(self) -> None:
        """Have what is in hand end where it may, while this server still answers it; returns at
        once."""
        self._stopping.set()

    def status(self) -> list[dict[str, Any]]:
        """The stewards, how far each has read and what came of it, as far as is known here."""
        return self._jobs.stewards() if self._at_work is None else self._at_work.staff.status()

    def run(self, name: str) -> dict[str, Any]:
        """Let a steward look for new facts now, and give its status. Raises
        :class:`UnknownSteward`, and :class:`Problem` where none is at work in this process."""
        at_work = self._here()
        project = at_work.staff.project_of(name)
        at_work.scheduler.run_now(Job(SWEEP, project))
        found = {status["name"]: status for status in at_work.staff.status()}
        if name not in found:
            raise UnknownSteward(f"steward {name!r} has gone, and so has its project")
        return found[name]

    def _sweep(self, project: str, stopping: Callable[[], bool]) -> Outcome:
        staff = self._here().staff
        seq = self._changed.to_read().get(project)
        if seq is not None:
            staff.read_again(project, seq)
            self._changed.will_be_read(project, seq)
        return staff.sweep(project, stopping)

    def _here(self) -> _AtWork:
        if self._settings.temporal is not None:
            raise Problem(
                409,
                "stewards-elsewhere",
                "The stewards are at work elsewhere",
                "Jobs are executed on Temporal here: 'fractalops jobs run sweep --project SLUG"
                " --wait' asks for a sweep, 'fractalops worker' executes it.",
            )
        if self._at_work is None:
            raise Problem(
                503,
                "starting",
                "The server is starting",
                "The stewards are not at work yet; try again in a moment.",
                headers={"Retry-After": "1"},
            )
        return self._at_work
