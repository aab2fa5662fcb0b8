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
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from proofs.errors import BadSubmission, Forbidden, ProofError, WritingStopped, WrongState
from proofs.orders import READS, Order, Result
from proofs.proposal import APPROVED, AWAITING, EXECUTING, ProposalView
from proofs.statement import canonical_json
from runtime.asset_checks import AssetChecks, Checked
from runtime.asset_graph import AssetGraph
from runtime.assets import RuntimeAsset
from runtime.commands import Command, Stream
from runtime.control_orders import OrderIndex, Orders
from runtime.control_request import ControlRequest, Send
from runtime.errors import (
    CommandRefused,
    ControlBusy,
    ControlClosed,
    ControlError,
    NotControlled,
    RuntimeFloorError,
    UnknownAsset,
    UnknownRun,
)
from runtime.fitting import Fitting, fit_command, fit_request
from runtime.live_runs import LiveRun, LiveRuns
from runtime.machines import Machine
from runtime.run_output import RunOutput
from runtime.run_record import (
    RunRecord,
    not_started,
    outcome_document,
    reply_document,
    short,
    unknown,
)
from runtime.run_slots import RunSlots

LOGGER = logging.getLogger(__name__)

LONGEST_SECONDS = 3600.0
MOST_OUTPUT = 4 * 1024 * 1024
"""Bytes of each stream that are passed on and kept."""
DEFAULT_SECONDS = 60.0
DEFAULT_OUTPUT = 1024 * 1024
_LOOK_AGAIN = 5.0
"""Seconds after which what couldn't be recorded, or begun for want of room, is tried again."""
_CLOSING = 10.0
"""Seconds in which what is cancelled at the end may still be recorded; else the next start does."""
_REMEMBERED_KEYS = 200
"""Of a principal's newest orders so many are compared with a key that is used again."""
_MOST_APPROVED = 500

RESTARTED = "the server ended while it was under way"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which asset is meant: by its id, or by a role that it alone has, in an ``environment`` (an
    IRI) where one is said."""

    asset_id: str = ""
    role: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands; ``result`` is empty until it has ended."""

    view: ProposalView
    order: Order
    result: Mapping[str, Any]
    evidence: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.view.id


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is to be done once it is begun."""

    asset: RuntimeAsset
    fitting: Fitting
    perform: Callable[[LiveRun], dict[str, Any]]


class RuntimeAssetControlService:
    """Any thread may call. ``assets`` gives what the graph says now, ``opened`` the machine of an
    asset; ``send`` sends a request; ``keep`` keeps a record and its output as evidence, and answers
    with the digest of that. ``may(principal, asset)`` raises :class:`proofs.errors.Forbidden` where
    a principal may have nothing done on an asset. ``spool`` is where output lies while it is new,
    ``clock`` gives UTC.
    """

    def __init__(
        self,
        orders: Orders,
        found: OrderIndex,
        assets: Callable[[], AssetGraph],
        opened: Callable[[RuntimeAsset], Machine],
        send: Send,
        keep: Callable[[RunRecord], str],
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
        self._opened = opened
        self._send = send
        self._keep = keep
        self._checks = checks
        self._may = may
        self._clock = clock
        self._slots = slots or RunSlots()
        self._spool = spool
        self._asking = threading.Lock()
        self._looking = threading.Event()
        self._unsure = threading.Event()
        self._closing = threading.Event()
        self._unrecorded: dict[str, Result] = {}
        self._threads: set[threading.Thread] = set()
        self._worker = threading.Thread(target=self._work, name="asset-control", daemon=True)
        self._left: list[ProposalView] = []
        self._leaving: set[str] = set()
        self.live = LiveRuns()

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
    ) -> Sequence[tuple[int, Run]]:
        """Runs, the newest first, each with the number that ``before`` continues from; ``asset`` is
        an IRI."""
        found = self._found(
            states=states, asset=asset, principal=principal, before=before, limit=limit
        )
        return [(number, run_of(view)) for number, view in found]

    def cancel(self, principal: str, run: str) -> Run:
        """Ends a run that is under way; one that hasn't begun is not begun any more. What has ended
        stays as it ended. That it may be cancelled by ``principal`` is the caller's to say."""
        live = self.live.find(run)
        found = self.find(run)
        reason = f"cancelled by {principal}"
        if live is not None and not live.over.is_set():
            live.cancel.set()
        elif found.view.state == AWAITING:
            self._orders.withdraw(found.view.author, run, reason)
        elif found.view.state == APPROVED:
            self._orders.abandon(run, reason)
        return self.find(run)

    # --- from start to end

    def start(self) -> None:
        """Records what an earlier process left, and begins with what was approved meanwhile."""
        self._left = [view for _, view in self._found(states=(EXECUTING,), limit=_MOST_APPROVED)]
        self._leaving = {view.id for view in self._left}
        self._looking.set()
        self._worker.start()

    def committed(self, head: int) -> None:
        """An entry was committed: a person may have approved something. Quick."""
        self._looking.set()
        self.live.tell()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def let_go(self) -> None:
        """Begins nothing any more, cancels what is under way, and lets readers end."""
        self._closing.set()
        self._looking.set()
        with self._asking:
            running = self.live.running()
        for live in running:
            live.cancel.set()
        self.live.tell()

    def close(self) -> None:
        """Cancels what is under way, and waits until that is recorded."""
        self.let_go()
        give_up = time.monotonic() + _CLOSING
        for thread in (*list(self._threads), self._worker):
            if thread.is_alive():
                thread.join(max(0.0, give_up - time.monotonic()))
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
        prepared = self._prepared(asset, action)
        order = Order(
            asset=asset.iri,
            asset_id=asset.asset_id,
            roles=asset.roles,
            action=action,
            effect=prepared.fitting.effect,
            rule=prepared.fitting.rule,
            person=prepared.fitting.person,
        )
        with self._asking:
            if self._closing.is_set():
                raise ControlClosed("the server is ending, and starts nothing any more")
            again = self._asked_before(principal, order) if key else None
            if again is not None:
                return again
            try:
                self._slots.take(asset.asset_id)
            except ControlBusy as error:
                if order.effect == READS and not order.person:
                    raise
                return self._wait_for_person(principal, asset, order, rationale, error)
            output = self._output(asset.asset_id)
            begun = False
            try:
                view = self._orders.order(
                    principal, order, project=_slug(asset.project), rationale=rationale, begin=True
                )
                begun = view.state == EXECUTING
            except WritingStopped:
                self._unsure.set()
                raise
            finally:
                if not begun:
                    self._give_back(asset.asset_id, output)
            if begun:
                self._begin(view, order, prepared, output)
        return run_of(view)

    def _wait_for_person(
        self,
        principal: str,
        asset: RuntimeAsset,
        order: Order,
        rationale: str,
        busy: ControlBusy,
    ) -> Run:
        """An order that there is no place for now, and that need not have one before a person has
        decided. Raises ``busy`` where nobody has to."""
        view = self._orders.order(
            principal, order, project=_slug(asset.project), rationale=rationale
        )
        if view.state != APPROVED:
            return run_of(view)
        self._orders.abandon(view.id, short(str(busy)))
        raise busy

    def _asked_before(self, principal: str, order: Order) -> Run | None:
        found = self._found(principal=principal, limit=_REMEMBERED_KEYS)
        for _, view in found:
            earlier = order_of(view)
            if earlier.action.get("key") != order.action["key"]:
                continue
            if (earlier.asset, canonical_json(earlier.action)) != (
                order.asset,
                canonical_json(order.action),
            ):
                raise ControlError(
                    f"this Idempotency-Key was used for another order, {view.id}: choose a new one"
                )
            return run_of(view)
        return None

    def _prepared(self, asset: RuntimeAsset, action: Mapping[str, Any]) -> _Prepared:
        """What an action comes to on the asset as it is now. Raises :class:`RuntimeFloorError`."""
        if action.get("kind") == "request":
            request = ControlRequest.of(action)
            fitting = fit_request(asset, request.method, request.path)
            executor = asset.executor
            assert executor is not None
            return _Prepared(
                asset,
                fitting,
                lambda live: reply_document(
                    self._send(executor, request, self._sink(live), live.cancel)
                ),
            )
        argv = action.get("argv")
        if not isinstance(argv, list | tuple):
            raise CommandRefused("the order is not of a command that this version runs")
        command = Command(
            "unnamed",
            tuple(argv),
            seconds=float(action["seconds"]),
            output_bytes=int(action["output_bytes"]),
        )
        fitting = fit_command(asset, command.argv)
        machine = self._opened(asset)
        return _Prepared(
            asset,
            fitting,
            lambda live: outcome_document(
                machine.run(
                    replace(command, run=live.run), sink=self._sink(live), cancel=live.cancel
                )
            ),
        )

    def _sink(self, live: LiveRun) -> Callable[[Stream, bytes], None]:
        def sink(stream: Stream, chunk: bytes) -> None:
            live.output(stream, chunk)
            self.live.tell(live.run)

        return sink

    # --- carrying out

    def _output(self, asset_id: str) -> RunOutput:
        """Where output goes, for a place that is taken; made before anything is begun."""
        try:
            return RunOutput(self._spool)
        except BaseException:
            self._slots.give_back(asset_id)
            raise

    def _give_back(self, asset_id: str, output: RunOutput) -> None:
        output.close()
        self._slots.give_back(asset_id)

    def _begin(
        self, view: ProposalView, order: Order, prepared: _Prepared, output: RunOutput
    ) -> None:
        """Starts what has been begun in the journal; its place is taken already."""
        live = LiveRun(view.id, order.asset_id, view.author, output)
        self.live.add(live)
        thread = threading.Thread(
            target=self._carry_out,
            args=(live, view, order, prepared),
            name=f"run {view.id}",
            daemon=True,
        )
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            document = not_started(f"there is no thread for it: {error}", self._clock())
            self._end(view, order, prepared.asset, document, self._clock())
            self._slots.give_back(order.asset_id)
            self.live.end(live)

    def _carry_out(
        self, live: LiveRun, view: ProposalView, order: Order, prepared: _Prepared
    ) -> None:
        began = self._clock()
        try:
            try:
                document = prepared.perform(live)
            except RuntimeFloorError as error:
                # What a machine or its transport raises says that nothing was started.
                document = not_started(str(error), self._clock())
            except Exception as error:
                LOGGER.exception("the end of run %s was not seen", live.run)
                document = unknown(
                    f"it ended here with {type(error).__name__}; see the server's log",
                    self._clock(),
                )
            self._end(view, order, prepared.asset, document, began, live.output)
        finally:
            self._slots.give_back(order.asset_id)
            self.live.end(live)
            self._threads.discard(threading.current_thread())
            self._looking.set()

    def _end(
        self,
        view: ProposalView,
        order: Order,
        asset: RuntimeAsset | None,
        document: dict[str, Any],
        began: datetime,
        output: RunOutput | None = None,
    ) -> None:
        """Keeps and records how a run ended."""
        record = RunRecord(
            run=view.id,
            kind=str(order.action.get("kind", "run")),
            about=order.asset_id,
            subject=order.asset,
            principal=view.author,
            project=view.project or "",
            environment="" if asset is None else asset.environment,
            began=began,
            ended=self._clock(),
            outcome=str(document["outcome"]),
            document=document,
            action=order.action,
            effect=order.effect,
            entry=view.head,
            stdout=b"" if output is None else output.of(Stream.STDOUT),
            stderr=b"" if output is None else output.of(Stream.STDERR),
        )
        evidence: tuple[str, ...] = ()
        try:
            evidence = (self._keep(record),)
        except Exception as error:
            # How it ended is recorded, whatever becomes of what it printed.
            LOGGER.exception("the output of run %s is not kept", view.id)
            document = {**document, "not_kept": short(str(error) or type(error).__name__)}
        result = Result(document, evidence)
        if not self._recorded(view.id, result):
            self._unrecorded[view.id] = result

    def _recorded(self, run: str, result: Result) -> bool:
        try:
            try:
                self._orders.finish(run, result)
            except BadSubmission as error:
                kept = {name: result.document.get(name) for name in ("outcome", "exit_code")}
                kept["reason"] = short(f"more about it can't be recorded: {error}")
                self._orders.finish(run, Result(kept, result.evidence))
        except WrongState:
            # It is recorded already.
            return True
        except ProofError as error:
            LOGGER.error("the end of run %s is not recorded yet: %s", run, error)
            return False
        return True

    # --- looking after

    def _work(self) -> None:
        self._end_left()
        while not self._closing.is_set():
            self._looking.wait(_LOOK_AGAIN)
            self._looking.clear()
            if self._closing.is_set():
                break
            try:
                self._look()
            except Exception:
                LOGGER.exception("approved orders could not be looked at")
                self._closing.wait(1.0)
        self._record_rest()

    def _end_left(self) -> None:
        for view in self._left:
            if self._closing.is_set():
                return
            try:
                self._end_one_left(view)
            except Exception:
                LOGGER.exception("what became of run %s could not be recorded", view.id)
            else:
                self._leaving.discard(view.id)

    def _end_one_left(self, view: ProposalView) -> None:
        """Ends what may still run of an order of an earlier process, and records that its outcome
        isn't known."""
        order = order_of(view)
        asset = self._assets().assets.get(order.asset_id)
        said = RESTARTED
        if order.action.get("kind") == "run":
            ended = False
            if asset is not None:
                try:
                    ended = self._opened(asset).end(view.id)
                except RuntimeFloorError as error:
                    LOGGER.warning("run %s could not be ended: %s", view.id, error)
            said += (
                "; what was left of it is ended" if ended else "; some of it may still be running"
            )
        now = self._clock()
        self._end(view, order, asset, unknown(said, now), now)

    def _look(self) -> None:
        self._record_rest()
        if self._unsure.is_set():
            self._end_unconfirmed()
        approved = self._found(states=(APPROVED,), limit=_MOST_APPROVED)
        for _, view in reversed(approved):
            if self._closing.is_set():
                return
            self._begin_approved(view)

    def _record_rest(self) -> None:
        for run, result in list(self._unrecorded.items()):
            if self._recorded(run, result):
                del self._unrecorded[run]
                self.live.tell(run)

    def _end_unconfirmed(self) -> None:
        """Records that nothing was started of what the journal began without our hearing of it."""
        self._unsure.clear()
        with self._asking:
            known = {live.run for live in self.live.running()} | {*self._unrecorded, *self._leaving}
            found = self._found(states=(EXECUTING,), limit=_MOST_APPROVED)
        for _, view in found:
            if view.id not in known:
                now = self._clock()
                document = not_started("that it was begun was not certain in time", now)
                self._end(view, order_of(view), None, document, now)

    def _begin_approved(self, view: ProposalView) -> None:
        """Begins what a person approved, if it still is what they approved."""
        order = order_of(view)
        try:
            asset = self._assets().asset(order.asset_id)
            prepared = self._prepared(asset, order.action)
            if asset.iri != order.asset:
                raise UnknownAsset(f"{order.asset_id} is another asset now")
            if prepared.fitting.person and not order.person:
                raise ControlError(prepared.fitting.person)
        except RuntimeFloorError as error:
            self._orders.abandon(view.id, short(f"it can't be carried out any more: {error}"))
            return
        with self._asking:
            if self._closing.is_set():
                return
            try:
                self._slots.take(order.asset_id)
            except ControlBusy:
                # Its turn comes when a place is given back.
                return
            output = self._output(order.asset_id)
            try:
                view = self._orders.begin(view.id)
            except BaseException as error:
                self._give_back(order.asset_id, output)
                if isinstance(error, WritingStopped):
                    self._unsure.set()
                if not isinstance(error, ProofError):
                    raise
                LOGGER.warning("order %s was not begun: %s", view.id, error)
                if isinstance(error, Forbidden | BadSubmission):
                    reason = f"it can't be carried out any more: {error}"
                    self._orders.abandon(view.id, short(reason))
                return
            self._begin(view, order, prepared, output)


def run_of(view: ProposalView) -> Run:
    """The run that an order is."""
    return Run(view, order_of(view), view.result or {}, view.evidence)


def order_of(view: ProposalView) -> Order:
    return Order.from_dict(view.order)


def _slug(project: str) -> str | None:
    """The slug of the project with this IRI."""
    return project.rpartition("/")[2] or None
