"""Looks at runtime assets and integration endpoints: whether a machine would run a command now,
whether an executor URL is reached, whether an endpoint says that it is ready.

Invariant: a look changes nothing where it looks. What it found is a record of its own with a time;
no entry of the log is made of it here: who keeps the status of assets decides what is new.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from proofs.errors import ProofError
from runtime.assets import IntegrationEndpoint, RuntimeAsset, State
from runtime.errors import (
    ControlBusy,
    MachineError,
    MachineFrozen,
    MachineStopped,
    MachineUnreachable,
)
from runtime.machines import Machine
from runtime.run_record import RunRecord, short
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl

LOGGER = logging.getLogger(__name__)

MOST_CHECKS = 8
"""Looks that are under way at a time."""

READY = "ready"
NOT_READY = "not-ready"
UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Probed:
    """What an address answered to one request; ``status`` is ``None`` where it did not, and
    ``reason`` then says why."""

    status: int | None
    reason: str = ""


Probe = Callable[[ExecutorUrl | InternalUrl | PublicUrl, str, str, Mapping[str, str]], Probed]
"""Asks an address once: method, path, headers. It raises nothing."""

Observed = Callable[..., object]
"""``observed(asset, state, at=..., evidence=..., by=...)``: told what a look at an asset found."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look found: ``state`` is one of an asset, or ``ready``, ``not-ready`` and
    ``unreachable`` of an endpoint; ``evidence`` is empty where the record could not be kept."""

    check: str
    about: str
    state: str
    at: datetime
    reason: str = ""
    executor: Mapping[str, Any] | None = None
    status: int | None = None
    evidence: tuple[str, ...] = field(default=())


class AssetChecks:
    """Any thread may call. ``opened`` gives the machine of an asset, ``probe`` asks an address,
    ``headers`` are those that an endpoint is asked with, ``keep`` keeps a record as evidence and
    answers with its digest, ``observed`` is told of assets, ``new_id`` names a look."""

    def __init__(
        self,
        opened: Callable[[RuntimeAsset], Machine],
        probe: Probe,
        headers: Callable[[IntegrationEndpoint], Mapping[str, str]],
        keep: Callable[[RunRecord], str],
        observed: Observed,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._opened = opened
        self._probe = probe
        self._headers = headers
        self._keep = keep
        self._observed = observed
        self._clock = clock
        self._new_id = new_id
        self._places = threading.BoundedSemaphore(MOST_CHECKS)

    def asset(self, principal: str, asset: RuntimeAsset) -> Checked:
        """Looks at a runtime asset. Raises :class:`AdapterError` where nothing reaches such a
        machine, :class:`ControlBusy`, and what ``keep`` raises."""
        with self._place():
            began, check = self._clock(), self._new_id()
            state, reason = self._machine(asset, check)
            executor = None
            if asset.executor is not None:
                found = self._probe(asset.executor, "HEAD", "", {})
                executor = {
                    "url": asset.executor.address,
                    "reached": found.status is not None,
                    "status": found.status,
                    "reason": short(found.reason) or None,
                }
            document: dict[str, Any] = {"state": state, "reason": reason}
            if executor is not None:
                document["executor"] = {name: executor[name] for name in ("reached", "status")}
            at = self._clock()
            digest = self._keep(
                RunRecord(
                    *(check, "check", asset.asset_id, asset.iri, principal),
                    *(asset.project.rpartition("/")[2], asset.environment, began, at),
                    *(state, document),
                )
            )
        try:
            self._observed(
                asset, state, at=at, evidence=(digest,), by=f"a check that <{principal}> asked for"
            )
        except ProofError as error:
            # What was found is kept, and stated once the gate takes changes.
            LOGGER.warning("the status of %s is not stated yet: %s", asset.asset_id, error)
        return Checked(check, asset.asset_id, state, at, reason, executor, evidence=(digest,))

    def endpoint(self, principal: str, endpoint: IntegrationEndpoint) -> Checked:
        """Asks an endpoint where it shows that it is ready. Raises as :meth:`asset`, and what
        ``headers`` raises."""
        with self._place():
            began, check = self._clock(), self._new_id()
            if endpoint.urls:
                headers = self._headers(endpoint)
                found = self._probe(endpoint.urls[0], "GET", endpoint.readiness_path, headers)
            else:
                found = Probed(None, "it has no URL")
            state = UNREACHABLE
            if found.status is not None:
                state = READY if 200 <= found.status < 300 else NOT_READY
            reason = short(found.reason)
            at = self._clock()
            document = {"state": state, "status": found.status, "reason": reason}
            digest = self._keep(
                RunRecord(
                    *(check, "endpoint-check", endpoint.endpoint_id, endpoint.iri, principal),
                    *(endpoint.project.rpartition("/")[2], endpoint.environment, began, at),
                    *(state, document),
                )
            )
        return Checked(
            check,
            endpoint.endpoint_id,
            state,
            at,
            reason,
            status=found.status,
            evidence=(digest,),
        )

    def _machine(self, asset: RuntimeAsset, check: str) -> tuple[State, str]:
        machine = self._opened(asset)
        try:
            machine.check(check)
        except (MachineStopped, MachineFrozen) as error:
            return "stopped", short(str(error))
        except MachineUnreachable as error:
            return "unreachable", short(str(error))
        except MachineError as error:
            return "unknown", short(str(error))
        return "running", ""

    def _place(self) -> _Place:
        if not self._places.acquire(blocking=False):
            raise ControlBusy(
                f"{MOST_CHECKS} looks are under way, which is as many as there may be: try again"
                " later"
            )
        return _Place(self._places)


class _Place:
    """A place that was taken, given back at the end."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places = places

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._places.release()
