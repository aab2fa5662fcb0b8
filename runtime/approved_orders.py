"""Begins what people approved, and ends what was begun and isn't under way.

Invariant: an approved order is looked at again before it is begun, and begun once, when there is a
place for it; one that can't be carried out any more is given up with the reason. What an earlier
process began is never begun again: what is left of it is ended, and its outcome is unknown.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from proofs.errors import BadSubmission, Forbidden, ProofError, WritingStopped
from proofs.orders import CHANGES, Order
from proofs.proposal import APPROVED, EXECUTING, ProposalView
from runtime.asset_graph import AssetGraph
from runtime.control_actions import ControlActions, Prepared
from runtime.control_orders import OrderIndex, Orders
from runtime.control_runs import order_of
from runtime.errors import (
    ControlBusy,
    ControlClosed,
    ControlError,
    RuntimeFloorError,
    UnknownAsset,
)
from runtime.live_runs import LiveRuns
from runtime.run_carrier import RunCarrier
from runtime.run_ends import RunEnds
from runtime.run_record import not_started, short, unknown

LOGGER = logging.getLogger(__name__)

RESTARTED = "the server ended while it was under way"
_LOOK_AGAIN = 5.0
"""Seconds after which what couldn't be recorded, or begun for want of room, is tried again."""
_MOST = 500
_END_SECONDS = 10.0


class ApprovedOrders:
    """A thread that looks after orders; :meth:`look` and :meth:`unsure` are quick, and any thread
    may call them. ``assets`` gives what the graph says now, ``clock`` UTC."""

    def __init__(
        self,
        orders: Orders,
        found: OrderIndex,
        assets: Callable[[], AssetGraph],
        actions: ControlActions,
        carrier: RunCarrier,
        ends: RunEnds,
        live: LiveRuns,
        clock: Callable[[], datetime],
    ) -> None:
        self._orders = orders
        self._found = found
        self._assets = assets
        self._actions = actions
        self._carrier = carrier
        self._ends = ends
        self._live = live
        self._clock = clock
        self._news = threading.Event()
        self._unsure = threading.Event()
        self._left: dict[str, ProposalView] = {}
        self._thread = threading.Thread(target=self._run, name="approved orders", daemon=True)

    def start(self) -> None:
        """To be called before anything is begun: what is under way now was left by another
        process."""
        found = self._found(states=(EXECUTING,), limit=_MOST)
        self._left = {view.id: view for _, view in found}
        self._news.set()
        self._thread.start()

    def look(self) -> None:
        """There may be something to begin, or a place for it."""
        self._news.set()

    def unsure(self) -> None:
        """Something may have been begun in the journal without our hearing of it."""
        self._unsure.set()
        self._news.set()

    def close(self) -> None:
        """To be called after the carrier was let go."""
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        for view in list(self._left.values()):
            if self._carrier.closing:
                return
            self._safely(self._end_left, view)
        while not self._carrier.closing:
            self._news.wait(_LOOK_AGAIN)
            self._news.clear()
            try:
                self._turn()
            except Exception:
                LOGGER.exception("approved orders could not be looked at; they are looked at again")
        self._record_rest()

    def _turn(self) -> None:
        self._record_rest()
        if self._unsure.is_set():
            self._unsure.clear()
            self._end_unheard()
        found = self._found(states=(APPROVED,), limit=_MOST)
        for _, view in reversed(found):
            if self._carrier.closing:
                return
            self._safely(self._begin, view)

    def _record_rest(self) -> None:
        for run in self._ends.record_rest():
            self._live.tell(run)

    def _safely(self, step: Callable[[ProposalView], None], view: ProposalView) -> None:
        """One order keeps no other from its turn."""
        try:
            step(view)
        except Exception:
            LOGGER.exception("order %s could not be looked after", view.id)

    def _end_left(self, view: ProposalView) -> None:
        """Ends what may still run of an order of an earlier process."""
        order = order_of(view)
        asset = self._assets().assets.get(order.asset_id)
        said = RESTARTED
        if order.action.get("kind") == "run":
            ended = False
            if asset is not None:
                try:
                    ended = self._actions.end(asset, view.id)
                except RuntimeFloorError as error:
                    LOGGER.warning("run %s could not be ended: %s", view.id, error)
            said += (
                "; what was left of it is ended" if ended else "; some of it may still be running"
            )
        now = self._clock()
        self._ends.end(view, order, asset, unknown(said, now), now)
        del self._left[view.id]

    def _end_unheard(self) -> None:
        """Records that nothing was started of what the journal began without our hearing of it."""
        with self._carrier.beginning:
            running = {live.run for live in self._live.running()}
            known = running | self._left.keys() | self._ends.waiting()
            found = self._found(states=(EXECUTING,), limit=_MOST)
        for _, view in found:
            if view.id not in known:
                now = self._clock()
                document = not_started("that it was begun was not certain in time", now)
                self._ends.end(view, order_of(view), None, document, now)

    def _begin(self, view: ProposalView) -> None:
        order = order_of(view)
        try:
            prepared = self._looked_at_again(order)
        except RuntimeFloorError as error:
            self._give_up(view, error)
            return
        with self._carrier.beginning:
            try:
                place = self._carrier.place(order.asset_id)
            except (ControlBusy, ControlClosed):
                # Its turn comes when a place is given back, or with the next start.
                return
            with place:
                try:
                    begun = self._orders.begin(view.id)
                except (Forbidden, BadSubmission) as error:
                    self._give_up(view, error)
                except WritingStopped as error:
                    LOGGER.warning("order %s was not begun: %s", view.id, error)
                    self._unsure.set()
                else:
                    self._carrier.begin(place, begun, order, prepared)

    def _looked_at_again(self, order: Order) -> Prepared:
        """What was approved, if it still is what was approved. Raises
        :class:`RuntimeFloorError`."""
        asset = self._assets().asset(order.asset_id)
        if asset.iri != order.asset:
            raise UnknownAsset(f"{order.asset_id} is another asset now")
        prepared = self._actions.prepared(asset, order.action)
        if prepared.target != order.target:
            raise ControlError("it leads elsewhere now than when it was ordered: order it again")
        if prepared.fitting.person and not order.person:
            raise ControlError(prepared.fitting.person)
        if prepared.fitting.effect == CHANGES and order.effect != CHANGES:
            raise ControlError("it is known to change something now, and was ordered as a read")
        return prepared

    def _give_up(self, view: ProposalView, error: RuntimeFloorError | ProofError) -> None:
        self._orders.abandon(view.id, short(f"it can't be carried out any more: {error}"))
