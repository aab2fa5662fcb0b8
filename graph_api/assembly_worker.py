"""What executes jobs on Temporal, brought up in order.

Invariant: this is a composition root. The stewards' memory, and their signing keys where those of
the platform can't be read, are in a folder of the worker's own, below the name of the platform, and
may be lost: stewards read their facts again then, and what they propose goes unsigned until a new
key is enrolled.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from graph_api.assembly_secrets import open_secrets, variables
from graph_api.assembly_stewards import conduct_of
from graph_api.process import utc_now
from ontology.ids import Ids
from proofs.checkpoint import SignerKey
from runtime.settings import Settings
from runtime.steward_keys import StewardKeys
from stewards.activities import Activity
from stewards.backfill_job import Backfill
from stewards.catalog_push_job import CatalogPush
from stewards.deployment import build_id
from stewards.errors import GateBusy, GateUnreachable, StewardError
from stewards.hiring import Hiring
from stewards.job_activities import job_activities
from stewards.jobs import BACKFILL, CATALOG_PUSH
from stewards.lent_staff import LentStaff
from stewards.performer import Performer
from stewards.platform_client import Identity, PlatformClient
from stewards.runs import Runs
from stewards.signer import ProposalSigner
from stewards.watermark import WatermarkStore
from stewards.worker import TemporalPlace, Worker

LOGGER = logging.getLogger(__name__)

KEYS_KNOWN = 60.0
"""Seconds after which it is asked again which keys are enrolled."""
_WAIT = 2.0


class WorkerAssembly:
    """A worker for the platform at ``url``, as the operator of this token; ``folder`` is where its
    stewards remember things, ``keys`` where their keys are, if not there. Use it as a context
    manager."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        token: str,
        folder: Path,
        keys: Path | None,
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._url = url
        self._token = token
        self._announce = announce
        self._closing = ExitStack()
        self._stopping = threading.Event()
        self._platform = PlatformClient.connect(url, token, self._stopping.wait)
        self._closing.callback(self._platform.close)
        self._folder = folder
        self._keys = keys

    def __enter__(self) -> WorkerAssembly:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._closing.close()

    def run(self) -> None:
        """Execute jobs until the process is told to end, by SIGTERM or SIGINT.

        Raises :class:`runtime.errors.RuntimeFloorError` where a secret can't be had."""
        self._settings, self._openbao = open_secrets(self._settings, self._closing)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: self._stopping.set())
        identity = self._identity()
        if identity is None:
            return
        self._worker(identity).run()

    def _identity(self) -> Identity | None:
        """Which platform it is, once it answers; ``None`` where this is to end before."""
        told = False
        while not self._stopping.is_set():
            try:
                return self._platform.identity()
            except (GateUnreachable, GateBusy) as error:
                if not told:
                    LOGGER.warning("jobs wait: the platform: %s", error)
                told = True
            self._stopping.wait(_WAIT)
        return None

    def _worker(self, identity: Identity) -> Worker:
        settings, closing = self._settings, self._closing
        folder = self._folder / identity.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = WatermarkStore(folder / "stewards.sqlite")
        closing.callback(store.close)
        dsn = settings.checkpoints
        runs = Runs(store, dsn.get_secret_value() if dsn else None)
        closing.callback(runs.close)
        held = StewardKeys(self._keys or folder / "keys", identity.base)
        keys = _Keys(held, self._platform, time.monotonic)
        ids = Ids(identity.base)
        hiring = Hiring(
            self._url,
            ids,
            store,
            runs,
            utc_now,
            conduct_of(settings),
            lambda name: ProposalSigner(ids.principal(name), identity.label, lambda: keys.of(name)),
            self._stopping.wait,
        )
        staff = LentStaff(self._platform, hiring.hire)
        closing.callback(staff.close)
        platform, url, secret = self._platform, self._url, variables(self._openbao)
        beyond: dict[str, Activity] = {
            BACKFILL: Backfill(platform, url, secret, utc_now, self._stopping.wait),
            CATALOG_PUSH: CatalogPush(platform, url, self._token, secret, self._stopping.wait),
        }
        activities = job_activities(platform, staff.sweep, beyond)
        where = _temporal(settings)
        return Worker(
            where,
            self._platform,
            identity.name,
            Performer(activities, self._platform),
            build=build_id(version("fractalops")),
            told=staff.told,
            ending=self._stopping,
            ready=lambda: self._announce(
                f"ready: executes the jobs of {self._url} on Temporal at {where.address}"
            ),
        )


class _Keys:
    """The keys that stewards sign with here: those of this folder that the platform has enrolled.
    One that isn't is made and said, for an operator to enrol."""

    def __init__(
        self, keys: StewardKeys, platform: PlatformClient, monotonic: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._platform = platform
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, frozenset[str]]] = {}
        self._told: set[str] = set()

    def of(self, steward: str) -> SignerKey | None:
        """The key that this steward signs with now; ``None`` while none is enrolled."""
        looked, named = self._known.get(steward, (0.0, frozenset()))
        if not named or self._monotonic() - looked > KEYS_KNOWN:
            try:
                named = self._platform.enrolled_keys(steward)
            except StewardError as error:
                LOGGER.warning("the keys of %s can't be asked for: %s", steward, error)
                return None
            self._known[steward] = (self._monotonic(), named)
        key = self._keys.active(steward, named)
        if key is None and steward not in self._told:
            self._told.add(steward)
            LOGGER.warning(
                "what %s proposes from here goes unsigned until its key is enrolled: fractalops"
                " stewards add-key %s %s",
                steward,
                steward,
                self._keys.unnamed(steward, named).verifier,
            )
        return key


def _temporal(settings: Settings) -> TemporalPlace:
    assert settings.temporal is not None
    key = settings.temporal_api_key
    return TemporalPlace(
        settings.temporal,
        settings.temporal_namespace,
        settings.temporal_queue,
        key.get_secret_value() if key else None,
        settings.temporal_tls,
    )
