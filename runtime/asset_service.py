"""``RuntimeAssetControlService``: the one contract for running commands on runtime assets and for
sending requests to their executor URLs.

Invariant: an asset is chosen by id or role, and does what its permitted actions say and nothing
else. Who may order it, and who must decide, is the gate's to say. An order is begun in the journal
before anything starts, once; whatever becomes of it is recorded there, and one whose end wasn't
seen is unknown and is never tried again by itself. The graph is not changed by a run.
Source: :mod:`proofs.orders`, :mod:`runtime.machines`
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from proofs.errors import ProofError, WritingStopped
from proofs.orders import READS, Order
from proofs.proposal import APPROVED, AWAITING, EXECUTING
from proofs.statement import canonical_json
from runtime.approved_orders import ApprovedOrders
from runtime.asset_checks import AssetChecks, Checked
from runtime.asset_graph import AssetGraph
from runtime.assets import RuntimeAsset
from runtime.control_actions import ControlActions
from runtime.control_orders import OrderIndex, Orders
from runtime.control_request import ControlRequest, Send
from runtime.control_runs import Run, order_of, run_of
from runtime.errors import (
    CommandRefused,
    ControlBusy,
    ControlError,
    NotControlled,
    UnknownAsset,
    UnknownRun,
)
from runtime.live_runs import LiveRuns
from runtime.machines import Machine
from runtime.run_carrier import RunCarrier
from runtime.run_ends import Keep, RunEnds
from runtime.run_record import short
from runtime.run_slots import RunSlots

LONGEST_SECONDS = 3600.0
MOST_OUTPUT = 4 * 1024 * 1024
"""Bytes of each stream that are passed on and kept."""
DEFAULT_SECONDS = 60.0
DEFAULT_OUTPUT = 1024 * 1024
_REMEMBERED_KEYS = 200
"""Of a principal's newest orders so many are compared with a key that is used again."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which asset is meant: by its id, or by a role that it alone has, in an ``environment`` (an
    IRI) where one is said."""

    asset_id: str = ""
    role: str = ""
    environment: str = ""


class RuntimeAssetControlService:
    """Any thread may call. ``assets`` gives what the graph says now, ``opened`` the machine of an
    asset; ``send`` sends a request; ``keep`` keeps a record and its output as evidence.
    ``may(principal, asset)`` raises :class:`proofs.errors.Forbidden` where a principal may have
    nothing done on an asset. ``spool`` is where output lies while it is new, ``clock`` gives UTC.
    """

    def __init__(
        self,
        orders: Orders,
        found: OrderIndex,
        assets: Callable[[], AssetGraph],
        opened: Callable[[RuntimeAsset], Machine],
        send: Send,
        keep: Keep,
        checks: AssetChecks,
        *,
        may: Callable[[str, RuntimeAsset], None],
        clock: Callable[[], datetime],
        slots: RunSlots | None = None,
        spool: Path | None = None,
    ) -> None:
        self._orders = orders
        self._found = found
        self._assets = assets
        self._checks = checks
        self._may = may
        self._actions = ControlActions(opened, send)
        self.live = LiveRuns()
        ends = RunEnds(orders, keep, clock)
        self._carrier = RunCarrier(
            ends,
            slots or RunSlots(),
            self.live,
            spool=spool,
            clock=clock,
            on_end=lambda: self._approved.look(),
        )
        self._approved = ApprovedOrders(
            orders, found, assets, self._actions, self._carrier, ends, self.live, clock
        )

    # --- what there is

    def list(self, role: str = "", environment: str = "") -> tuple[RuntimeAsset, ...]:
        """The assets, those with this role and of this environment (an IRI) where these are
        said."""
        found = self._assets().assets.values()
        return tuple(
            asset
            for asset in found
            if (not role or role in asset.roles) and environment in ("", asset.environment)
        )

    def show(self, selection: Selection) -> RuntimeAsset:
        """The asset that is meant. Raises :class:`runtime.errors.AssetError`, and
        :class:`NotControlled` for the id of an integration endpoint."""
        graph = self._assets()
        if not selection.asset_id:
            return graph.by_role(selection.role, selection.environment)
        try:
            return graph.asset(selection.asset_id)
        except UnknownAsset:
            if selection.asset_id in graph.endpoints:
                raise NotControlled(
                    f"{selection.asset_id} is an integration endpoint: it is called, and has"
                    " nothing to control it with. See: fractalops endpoints show, and endpoints"
                    " check"
                ) from None
            raise

    def check(self, principal: str, selection: Selection) -> Checked:
        """Looks at an asset now; raises as :meth:`AssetChecks.asset`."""
        asset = self.show(selection)
        self._may(principal, asset)
        return self._checks.asset(principal, asset)

    def check_endpoint(self, principal: str, endpoint_id: str) -> Checked:
        """Asks an endpoint whether it is ready; raises as :meth:`AssetChecks.endpoint`."""
        return self._checks.endpoint(principal, self._assets().endpoint(endpoint_id))

    # --- what is asked

    def run(
        self,
        principal: str,
        selection: Selection,
        argv: Sequence[str],
        *,
        seconds: float = DEFAULT_SECONDS,
        output_bytes: int = DEFAULT_OUTPUT,
        rationale: str = "",
        key: str = "",
    ) -> Run:
        """Asks for a command: begun at once where that may be, else waiting for a person.

        ``key`` makes it the same run when it is asked for again by the same principal.
        Raises :class:`runtime.errors.RuntimeFloorError` and :class:`proofs.errors.GateError`, with
        nothing started.
        """
        asset = self.show(selection)
        if not 0 < seconds <= LONGEST_SECONDS:
            raise CommandRefused(f"the time limit is more than 0 and at most {LONGEST_SECONDS:g} s")
        if not 0 <= output_bytes <= MOST_OUTPUT:
            raise CommandRefused(f"the output limit is at most {MOST_OUTPUT} bytes")
        action = {
            "kind": "run",
            "argv": [*argv],
            "seconds": float(seconds),
            "output_bytes": output_bytes,
        }
        return self._ask(principal, asset, action, rationale, key)

    def request(
        self,
        principal: str,
        selection: Selection,
        request: ControlRequest,
        *,
        rationale: str = "",
        key: str = "",
    ) -> Run:
        """As :meth:`run`, for one request to the asset's executor URL."""
        asset = self.show(selection)
        if request.output_bytes > MOST_OUTPUT:
            raise CommandRefused(f"the output limit is at most {MOST_OUTPUT} bytes")
        return self._ask(principal, asset, request.action(), rationale, key)

    def find(self, run: str) -> Run:
        """A run by its id. Raises :class:`UnknownRun`."""
        try:
            view = self._orders.proposal(run)
        except ProofError as error:
            raise UnknownRun(f"there is no run {run[:100]!r}") from error
        if view.order is None:
            raise UnknownRun(f"{run} is a proposal to change the graph, and no run")
        return run_of(view)

    def runs(
        self,
        *,
        states: Sequence[str] = (),
        asset: str | None = None,
        principal: str | None = None,
        before: int | None = None,
        limit: int = 50,
        readable: Collection[str] | None = None,
        reader: str | None = None,
    ) -> Sequence[tuple[int, Run]]:
        """Runs, the newest first, each with the number that ``before`` continues from; ``asset`` is
        an IRI; ``readable`` and ``reader`` as for :class:`OrderIndex`."""
        found = self._found(
            states=states,
            asset=asset,
            principal=principal,
            before=before,
            limit=limit,
            readable=readable,
            reader=reader,
        )
        return [(number, run_of(view)) for number, view in found]

    def cancel(self, principal: str, run: str) -> Run:
        """Ends a run that is under way; one that hasn't begun is not begun any more. What has ended
        stays as it ended. That it may be cancelled by ``principal`` is the caller's to say; what
        waits is withdrawn by its author, and rejected by an operator."""
        live = self.live.find(run)
        found = self.find(run)
        reason = f"cancelled by {principal}"
        if live is not None and not live.over.is_set():
            live.end(principal)
        elif found.view.state == AWAITING and found.view.author == principal:
            self._orders.withdraw(principal, run, reason)
        elif found.view.state == AWAITING:
            self._orders.reject(principal, run, reason)
        elif found.view.state == APPROVED:
            self._orders.abandon(run, reason, by=principal)
        return self.find(run)

    # --- from start to end

    def start(self) -> None:
        """Records what an earlier process left, and begins with what was approved meanwhile."""
        self._approved.start()

    def committed(self, head: int) -> None:
        """An entry was committed: a person may have approved something. Quick."""
        self._approved.look()
        self.live.tell()

    @property
    def closing(self) -> bool:
        return self._carrier.closing

    def let_go(self) -> None:
        """Begins nothing any more, cancels what is under way, and lets readers end."""
        self._carrier.let_go()

    def close(self) -> None:
        """Cancels what is under way, and waits until that is recorded."""
        self._carrier.close()
        self._approved.close()
        self.live.tell()
        self.live.close()

    # --- asking

    def _ask(
        self,
        principal: str,
        asset: RuntimeAsset,
        action: dict[str, Any],
        rationale: str,
        key: str,
    ) -> Run:
        if key:
            action["key"] = hashlib.sha256(f"{principal}\n{key}".encode()).hexdigest()[:32]
        prepared = self._actions.prepared(asset, action)
        order = Order(
            asset=asset.iri,
            asset_id=asset.asset_id,
            roles=asset.roles,
            action=action,
            effect=prepared.fitting.effect,
            rule=prepared.fitting.rule,
            person=prepared.fitting.person,
            target=prepared.target,
        )
        project = _slug(asset.project)
        with self._carrier.beginning:
            again = self._asked_before(principal, order) if key else None
            if again is not None:
                return again
            try:
                place = self._carrier.place(asset.asset_id)
            except ControlBusy as error:
                if order.effect == READS and not order.person:
                    raise
                return self._wait_for_person(principal, order, project, rationale, error)
            with place:
                try:
                    view = self._orders.order(
                        principal, order, project=project, rationale=rationale, begin=True
                    )
                except WritingStopped:
                    self._approved.unsure()
                    raise
                if view.state == EXECUTING:
                    self._carrier.begin(place, view, order, prepared)
        return run_of(view)

    def _wait_for_person(
        self, principal: str, order: Order, project: str | None, rationale: str, busy: ControlBusy
    ) -> Run:
        """An order that there is no place for now, and that need not have one before a person has
        decided. Raises ``busy`` where nobody has to."""
        view = self._orders.order(principal, order, project=project, rationale=rationale)
        if view.state != APPROVED:
            return run_of(view)
        self._orders.abandon(view.id, short(str(busy)))
        raise busy

    def _asked_before(self, principal: str, order: Order) -> Run | None:
        wanted = (order.asset, canonical_json(order.action))
        for _, view in self._found(principal=principal, limit=_REMEMBERED_KEYS):
            earlier = order_of(view)
            if earlier.action.get("key") != order.action["key"]:
                continue
            if (earlier.asset, canonical_json(earlier.action)) != wanted:
                raise ControlError(
                    f"this Idempotency-Key was used for another order, {view.id}: choose a new one"
                )
            return run_of(view)
        return None


def _slug(project: str) -> str | None:
    """The slug of the project with this IRI."""
    return project.rpartition("/")[2] or None
