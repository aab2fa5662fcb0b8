"""Runs every steward, again and again, in one thread.

Invariant: no error ends the thread, and none passes silently. A steward that fails waits longer
each time, up to ``LONGEST_WAIT``, while the others go on; one that appears (a new project) starts
within an interval, one that goes is closed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from ontology.ids import Ids
from stewards.errors import UnknownSteward
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.new_things import HourlyCaps
from stewards.outcome import Outcome
from stewards.pages import Pacing
from stewards.reflection_model import Wording
from stewards.runs import Runs
from stewards.signer import ProposalSigner
from stewards.submission import Clock
from stewards.watermark import WatermarkStore

LOGGER = logging.getLogger(__name__)

INTERVAL = 5.0
LONGEST_WAIT = 300.0
SHORTEST_REST = 1.0
SHARE = 0.2
"""A steward is woken early only so often that it works at most this part of the time."""
LONGEST_DELAY = 60.0
JITTER = 0.2
"""Part of the interval by which each waiting time differs, so that stewards don't march in step."""


@dataclass(frozen=True)
class Assignment:
    """A steward, the project it looks after, and the bearer token it shows at the gate."""

    name: str
    project: str
    token: str

    def __repr__(self) -> str:
        return f"Assignment({self.name!r}, {self.project!r})"


@dataclass
class _Seat:
    assignment: Assignment
    steward: TelemetrySteward
    due: float = 0.0
    rested: float = 0.0
    failures: int = 0


class StewardRunner:
    """Keeps one steward at work for each assignment.

    ``assignments`` is asked before each round. ``url`` is where the platform answers; stewards go
    through its HTTP API like everyone else. ``busy()`` tells whether much has arrived that isn't
    facts yet; a steward waits for that, ``LONGEST_DELAY`` at most. ``signer(steward)`` signs what
    that one proposes. ``swept(steward, project, outcome)`` is told of each cycle. ``checkpoints``
    is as for :class:`stewards.runs.Runs`, ``monotonic`` gives seconds.
    """

    def __init__(
        self,
        assignments: Callable[[], Iterable[Assignment]],
        url: str,
        ids: Ids,
        store: WatermarkStore,
        clock: Clock,
        *,
        checkpoints: str | None = None,
        interval: float = INTERVAL,
        caps: HourlyCaps | None = None,
        pacing: Pacing | None = None,
        dormant_after: int = 0,
        reflect_every: timedelta = timedelta(0),
        wording: Wording | None = None,
        busy: Callable[[], bool] = lambda: False,
        signer: Callable[[str], ProposalSigner | None] = lambda steward: None,
        swept: Callable[[str, str, Outcome], None] = lambda steward, project, outcome: None,
        random: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._assignments = assignments
        self._url = url
        self._ids = ids
        self._store = store
        self._runs = Runs(store, checkpoints)
        self._clock = clock
        self._interval = interval
        self._caps = caps
        self._pacing = pacing
        self._dormant_after = dormant_after
        self._reflect_every = reflect_every
        self._wording = wording
        self._busy = busy
        self._signer = signer
        self._swept = swept
        self._random = random or Random()
        self._monotonic = monotonic
        self._seats: dict[str, _Seat] = {}
        self._seats_lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._run, name="stewards", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 30.0) -> bool:
        """End after the page in hand; whether it ended in time (seconds)."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                LOGGER.warning("the stewards are still at work after %.0f s", timeout)
                return False
        with self._seats_lock:
            for seat in self._seats.values():
                seat.steward.close()
            self._seats.clear()
        self._runs.close()
        return True

    def wake(self) -> None:
        """Look for new facts soon rather than at the end of the interval: at once, unless a
        steward has only just looked."""
        with self._seats_lock:
            for seat in self._seats.values():
                if not seat.failures:
                    seat.due = min(seat.due, seat.rested)
        self._wake.set()

    def read_again(self, project: str, seq: int) -> None:
        """Let the project's steward read its facts again from this batch on, soon; returns once it
        will, also after a crash."""
        self._take_seats()
        with self._seats_lock:
            seats = [s for s in self._seats.values() if s.assignment.project == project]
        for seat in seats:
            seat.steward.read_again(seq)
        self.wake()

    def trigger(self, name: str) -> dict[str, Any]:
        """Run one cycle of this steward now, in this thread, and give its status.

        Raises :class:`UnknownSteward`.
        """
        self._take_seats()
        with self._seats_lock:
            seat = self._seats.get(name)
            known = sorted(self._seats)
        if seat is None:
            raise UnknownSteward(
                f"there is no steward {name!r}; at work: {', '.join(known) or 'none, for there'}"
                + ("" if known else " is no project yet")
            )
        self._cycle(seat)
        return seat.steward.status()

    def status(self) -> list[dict[str, Any]]:
        """Every steward as ``GET /stewards`` shows it, by name."""
        with self._seats_lock:
            seats = sorted(self._seats.items())
        return [seat.steward.status() for _, seat in seats]

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._take_seats()
                with self._seats_lock:
                    seats = list(self._seats.values())
                for seat in seats:
                    if self._stopping.is_set():
                        return
                    if self._is_due(seat):
                        self._cycle(seat)
            except Exception:
                LOGGER.exception("the stewards' round failed; the next one follows")
            self._wake.wait(self._rest())
            self._wake.clear()

    def _is_due(self, seat: _Seat) -> bool:
        """Whether its time has come: what has arrived becomes facts first, but not for ever."""
        late = self._monotonic() - seat.due
        return late >= LONGEST_DELAY or (late >= 0 and not self._busy())

    def _cycle(self, seat: _Seat) -> None:
        began = self._monotonic()
        try:
            found = seat.steward.run_once(self._stopping.is_set)
            self._swept(seat.assignment.name, seat.assignment.project, found)
            outcome: Outcome | None = found
        except Exception:
            # A full disk, a fault of ours: the facts stay, and so does the watermark.
            LOGGER.exception("steward %s failed", seat.assignment.name)
            outcome = None
        failed = outcome is None or outcome.state in ("failed", "refused")
        seat.failures = seat.failures + 1 if failed else 0
        wait = min(self._interval * 2 ** min(seat.failures, 16), LONGEST_WAIT)
        ended = self._monotonic()
        seat.due = ended + wait * (1 + JITTER * self._random.random())
        seat.rested = ended + max(SHORTEST_REST, (ended - began) * (1 / SHARE - 1))

    def _rest(self) -> float:
        with self._seats_lock:
            due = min((seat.due for seat in self._seats.values()), default=float("inf"))
        # New projects are looked for at least once in an interval.
        least = SHORTEST_REST if self._busy() else 0.05
        return max(least, min(due - self._monotonic(), self._interval))

    def _take_seats(self) -> None:
        """Make the seats those of the assignments."""
        wanted = {assignment.name: assignment for assignment in self._assignments()}
        with self._seats_lock:
            if self._stopping.is_set():
                return
            left = [
                seat for name, seat in self._seats.items() if wanted.get(name) != seat.assignment
            ]
            for seat in left:
                del self._seats[seat.assignment.name]
            for name, assignment in wanted.items():
                if name not in self._seats:
                    self._seats[name] = _Seat(assignment, self._hire(assignment))
        for seat in left:
            seat.steward.close()

    def _hire(self, assignment: Assignment) -> TelemetrySteward:
        return TelemetrySteward(
            assignment.name,
            assignment.project,
            GateClient.connect(
                self._url, assignment.token, self._stopping.wait, self._signer(assignment.name)
            ),
            self._ids,
            self._store,
            self._runs,
            self._clock,
            pacing=self._pacing,
            caps=self._caps,
            dormant_after=self._dormant_after,
            reflect_every=self._reflect_every,
            wording=self._wording,
        )
