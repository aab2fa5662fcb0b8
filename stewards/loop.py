"""The telemetry steward: facts since its watermark become proposals.

Invariant: the watermark passes a page of facts only when the gate has answered for everything that
the page shows, so a crash at any moment costs a second reading and nothing else; and what was read
twice proposes nothing, for the graph holds it. A cycle looks first, and lets its graph run
(:mod:`stewards.graph`) only when there is something to do.

What holds the watermark, and what doesn't:

- The platform doesn't answer, is busy or fails (429, 5xx), or the token, the grant or the project
  is missing (401, 403, 404), or the steward's key was retired (422 of that kind): the watermark
  stays, whoever lets it run waits longer each time, and the outcome says why. Nothing is lost.
- A shape is broken (422): the things that the report names are set aside for a day, with whatever
  can't be said without them, and the rest is proposed.
- A refusal that names nothing (400, 413, 422), of the draft or of the page's facts: tried again in
  the next cycles, with smaller pages, ``MAX_REFUSALS`` times in all; then the page is passed over,
  which is logged and counted.
- The graph moved (409): read and drafted again.

What only senders show that aren't trusted, and what is more than the project may get in an hour, is
kept and waits for a person in one proposal (:mod:`stewards.new_things`, :mod:`stewards.waiting`),
which is submitted anew at most every ``hold_seconds``. When a trusted sender shows it, or the next
hour has room when it is seen again, it is proposed as usual. What waits holds up nothing: the run
is interrupted, and the next cycle resumes it, whoever has decided by then.

Once a day, when every fact was read, what no fact showed for a while is marked as dormant
(:mod:`stewards.dormancy`). Once an hour, rules are proposed for what stayed unknown
(:mod:`stewards.reflection`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from stewards.errors import GateRefused, LimitReached, SignatureRefused, StewardError
from stewards.outcome import Outcome, Tally
from stewards.run_state import page_of
from stewards.runs import Runs
from stewards.sweep import MAX_REFUSALS, Sweep

LOGGER = logging.getLogger(__name__)

REFUSAL_STATUSES = frozenset({400, 408, 413, 422})
"""What speaks of the request itself, so that the same request would be refused again."""
PASSED_OVER = "batches passed over after repeated refusals"


class TelemetrySteward:
    """The steward whose sweep this is. One cycle runs at a time; :meth:`run_once` may be called
    from any thread."""

    def __init__(self, sweep: Sweep, runs: Runs) -> None:
        self.name = sweep.name
        self.project = sweep.project
        self._runs = runs
        self._sweep = sweep
        self._bookmark = sweep.bookmark
        self._cycle_lock = threading.Lock()

    def close(self) -> None:
        """Close the connection, once a running cycle has ended."""
        with self._cycle_lock:
            self._sweep.close()

    def status(self) -> dict[str, Any]:
        """The steward as ``GET /stewards`` shows it."""
        record = self._bookmark.record
        return {
            "name": record.name,
            "project": record.project,
            "watermark": record.watermark,
            "last_run_at": record.last_run_at,
            "last_outcome": record.last_outcome,
            "runs": record.runs,
            "proposals": record.proposals,
        }

    def read_again(self, seq: int) -> None:
        """Move the watermark back to before this batch, once a running cycle has ended."""
        with self._cycle_lock:
            if self._bookmark.record.watermark >= seq:
                self._bookmark.keep(watermark=seq - 1)

    def run_once(self, stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """Read every new fact and propose what it shows; stops between pages when told to.

        Never raises a :class:`StewardError`: the outcome carries it.
        """
        with self._cycle_lock:
            self._sweep.stopping = stopping
            try:
                outcome = self._cycle()
            except StewardError as error:
                outcome = self._failed(error, {})
            record = self._bookmark.record
            at = self._sweep.clock().isoformat(timespec="seconds")
            if outcome.state == "idle" and record.last_outcome is not None:
                # The last thing that happened says more than that nothing happened since, and isn't
                # worth a write every few seconds.
                self._bookmark.note(last_run_at=at, runs=record.runs + 1)
            else:
                self._bookmark.keep(last_run_at=at, runs=record.runs + 1, last_outcome=str(outcome))
            return outcome

    def _cycle(self) -> Outcome:
        note = self._runs.note(self.project)
        page = None if self._sweep.stopping() else self._sweep.next_page()
        if not (
            page is not None
            or note.stage == "at work"
            or self._sweep.decided(note.awaiting)
            or self._sweep.is_due()
        ):
            return Tally().outcome(self._bookmark.record.watermark)
        ended = self._runs.go_on(self._sweep, page)
        if ended.error is not None:
            return self._failed(ended.error, ended.state)
        return _tally(ended.state).outcome(self._bookmark.record.watermark)

    def _failed(self, error: StewardError, state: Mapping[str, Any]) -> Outcome:
        LOGGER.warning("steward %s: %s", self.name, error)
        tally = _tally(state)
        refused = (
            isinstance(error, GateRefused)
            and not isinstance(error, SignatureRefused)
            and (isinstance(error, LimitReached) or error.status in REFUSAL_STATUSES)
        )
        if refused:
            self._refused(error, state, tally)
        return tally.outcome(
            self._bookmark.record.watermark, str(error), "refused" if refused else "failed"
        )

    def _refused(self, error: StewardError, state: Mapping[str, Any], tally: Tally) -> None:
        page = page_of(state)
        refusals = self._bookmark.record.refusals + 1
        if page is None or refusals < MAX_REFUSALS:
            self._bookmark.keep(refusals=refusals)
            return
        LOGGER.error(
            "steward %s passes over batches %d to %d, refused %d times: %s",
            self.name,
            page.after + 1,
            page.until,
            refusals,
            error,
        )
        tally.set_aside[PASSED_OVER] += 1
        self._bookmark.keep(watermark=page.until, refusals=0)


def _tally(state: Mapping[str, Any]) -> Tally:
    return Tally.of_json(state.get("tally", {}))
