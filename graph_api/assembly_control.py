"""The control of runtime assets of one data folder: what it reaches machines with, and what it
tells to whom.

Invariant: as for the assembly, whose part this is: what is opened is closed in reverse order, by
the stack that was handed in. What hosts may be reached is said by a file of the operator's alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from graph_api.asset_view import AssetView
from graph_api.control_evidence import RunEvidence
from ingest.inbox import Inbox
from ontology.ids import Ids
from ontology.store import GraphStore
from proofs.control_policy import authorise
from proofs.index import Index
from proofs.ledger import Ledger
from proofs.orders import READS, Order
from runtime.adapters import machine
from runtime.asset_checks import AssetChecks
from runtime.asset_service import RuntimeAssetControlService
from runtime.assets import RuntimeAsset
from runtime.endpoint_headers import headers_of
from runtime.executor_calls import ExecutorCalls
from runtime.http_client import HttpClient
from runtime.http_retries import ONCE
from runtime.machines import Machine, Reach
from runtime.reach_file import read_reach, secrets_from

if TYPE_CHECKING:
    from runtime.openbao import OpenBao

Observed = Callable[..., object]


class Control:
    """The service, over what the rest of the assembly has opened. ``machines`` is the file that
    names hosts, ``None`` where this machine is the only one."""

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        store: GraphStore,
        ids: Ids,
        inbox: Inbox,
        closing: ExitStack,
        *,
        machines: Path | None,
        openbao: OpenBao | None,
        redact: Callable[[str], str],
        observed: Observed,
        spool: Path,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._secret = secrets_from(os.environ, None if openbao is None else openbao.secret)
        self.reach = Reach(clock) if machines is None else read_reach(machines, clock, self._secret)
        self.assets = AssetView(store, index, ids)
        client = HttpClient("fractalops-control", retries=ONCE, circuit=None)
        closing.callback(client.close)
        self.calls = calls = ExecutorCalls(client, clock)
        self.evidence = RunEvidence(inbox, redact)
        checks = AssetChecks(
            self._opened,
            calls.probe,
            lambda endpoint: headers_of(endpoint, self._secret),
            self.evidence.keep,
            observed,
            clock=clock,
            new_id=new_id,
        )
        self.service = RuntimeAssetControlService(
            ledger,
            index.orders,
            self.assets,
            self._opened,
            calls.send,
            self.evidence.keep,
            checks,
            may=self._may,
            clock=clock,
            spool=spool,
        )
        ledger.on_commit(self.service.committed)
        closing.callback(self.service.close)

    def start(self) -> None:
        """Begins to carry out what is approved."""
        self.service.start()

    def forget(self, commitments: Collection[str]) -> None:
        """Lets go of what runs wrote whose evidence is erased."""
        gone = set(commitments)
        for live in self.service.live.ended():
            if gone.intersection(self.service.find(live.run).evidence):
                self.service.live.forget(live.run)

    def _opened(self, asset: RuntimeAsset) -> Machine:
        return machine(asset.kind, asset.locators, self.reach)

    def _may(self, principal: str, asset: RuntimeAsset) -> None:
        asked = Order(asset.iri, asset.asset_id, asset.roles, {"kind": "check"}, READS, "")
        authorise(self._ledger.governance, principal, asked, asset.roles)
