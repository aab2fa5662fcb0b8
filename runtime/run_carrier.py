"""Carries out what was begun in the journal, each run in a thread of its own.

Invariant: a run has a place and somewhere for its output before it is begun, so that beginning it
is the last thing that can fail; then it is carried out once and ended, however it ends. Nothing is
begun after :meth:`RunCarrier.let_go`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from proofs.orders import Order
from proofs.proposal import ProposalView
from runtime.commands import Stream
from runtime.control_actions import Prepared
from runtime.errors import ControlClosed, RuntimeFloorError
from runtime.live_runs import LiveRun, LiveRuns
from runtime.run_ends import RunEnds
from runtime.run_output import RunOutput
from runtime.run_record import not_started, unknown
from runtime.run_slots import RunSlots

LOGGER = logging.getLogger(__name__)

_CLOSING = 10.0
"""Seconds in which what is cancelled at the end may still be recorded; else the next start does."""


class Place:
    """A place that was taken, and where the output goes. A context manager, which gives it back
    where nothing was begun in it."""

    def __init__(self, slots: RunSlots, asset_id: str, spool: Path | None) -> None:
        slots.take(asset_id)
        self._slots = slots
        self._asset_id = asset_id
        self.kept = False
        try:
            self.output = RunOutput(spool)
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        self._slots.give_back(self._asset_id)

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.kept:
            self.output.close()
            self.give_back()


class RunCarrier:
    """Any thread may call. ``beginning`` is held from before a run is begun in the journal until it
    is under way here; ``on_end`` is called when a run has ended, and is quick."""

    def __init__(
        self,
        ends: RunEnds,
        slots: RunSlots,
        live: LiveRuns,
        *,
        spool: Path | None,
        clock: Callable[[], datetime],
        on_end: Callable[[], None],
    ) -> None:
        self._ends = ends
        self._slots = slots
        self._live = live
        self._spool = spool
        self._clock = clock
        self._on_end = on_end
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()
        self.beginning = threading.Lock()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def place(self, asset_id: str) -> Place:
        """Raises :class:`ControlClosed`, :class:`runtime.errors.ControlBusy`, :class:`OSError`."""
        if self.closing:
            raise ControlClosed("the server is ending, and starts nothing any more")
        return Place(self._slots, asset_id, self._spool)

    def begin(self, place: Place, view: ProposalView, order: Order, prepared: Prepared) -> None:
        """Starts what has been begun in the journal, in this place."""
        place.kept = True
        live = LiveRun(view.id, order.asset_id, view.author, place.output)
        self._live.add(live)
        thread = threading.Thread(
            target=self._carry_out,
            args=(place, live, view, order, prepared),
            name=f"run {view.id}",
            daemon=True,
        )
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._threads.discard(thread)
            now = self._clock()
            document = not_started(f"there is no thread for it: {error}", now)
            self._ends.end(view, order, prepared.asset, document, now)
            self._over(place, live)

    def let_go(self) -> None:
        """Begins nothing any more, and cancels what is under way."""
        self._closing.set()
        with self.beginning:
            running = self._live.running()
        for live in running:
            live.end()
        self._live.tell()

    def close(self) -> None:
        """Waits until what was cancelled is recorded, for a while."""
        self.let_go()
        give_up = time.monotonic() + _CLOSING
        for thread in list(self._threads):
            thread.join(max(0.0, give_up - time.monotonic()))

    def _carry_out(
        self, place: Place, live: LiveRun, view: ProposalView, order: Order, prepared: Prepared
    ) -> None:
        began = self._clock()
        try:
            document = self._performed(live, prepared)
            if live.cancelled_by is not None:
                document["cancelled_by"] = live.cancelled_by or "the server, which ended"
            self._ends.end(view, order, prepared.asset, document, began, live.output)
        finally:
            self._over(place, live)
            self._threads.discard(threading.current_thread())

    def _performed(self, live: LiveRun, prepared: Prepared) -> dict[str, Any]:
        def sink(stream: Stream, chunk: bytes) -> None:
            live.output(stream, chunk)
            self._live.tell(live.run)

        try:
            return prepared.perform(live.run, sink, live.cancel)
        except RuntimeFloorError as error:
            return not_started(str(error), self._clock())
        except Exception as error:
            LOGGER.exception("the end of run %s was not seen", live.run)
            reason = f"it ended here with {type(error).__name__}; see the server's log"
            return unknown(reason, self._clock())

    def _over(self, place: Place, live: LiveRun) -> None:
        place.give_back()
        self._live.end(live)
        self._on_end()
