"""The stewards at work: one for each assignment, hired when it appears and let go with it.

Invariant: a project has one steward here, and one cycle of it runs at a time, whoever asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from stewards.errors import UnknownSteward
from stewards.loop import TelemetrySteward
from stewards.outcome import Outcome


@dataclass(frozen=True)
class Assignment:
    """A steward, the project it looks after, and the bearer token it shows at the gate."""

    name: str
    project: str
    token: str

    def __repr__(self) -> str:
        return f"Assignment({self.name!r}, {self.project!r})"


class Staff:
    """The stewards of the assignments, which are asked for before each round; ``hire`` makes one.
    Any thread may call."""

    def __init__(
        self,
        assignments: Callable[[], Iterable[Assignment]],
        hire: Callable[[Assignment], TelemetrySteward],
    ) -> None:
        self._assignments = assignments
        self._hire = hire
        self._lock = threading.Lock()
        self._closed = False
        self._held: dict[str, tuple[Assignment, TelemetrySteward]] = {}

    def close(self) -> None:
        """Let everybody go, each once its cycle has ended."""
        with self._lock:
            self._closed = True
            held, self._held = self._held, {}
        for _, steward in held.values():
            steward.close()

    def gather(self) -> None:
        """Make the staff that of the assignments."""
        wanted = {assignment.name: assignment for assignment in self._assignments()}
        with self._lock:
            if self._closed:
                return
            left = [
                self._held.pop(name)
                for name, (assignment, _) in list(self._held.items())
                if wanted.get(name) != assignment
            ]
            for name, assignment in wanted.items():
                if name not in self._held:
                    self._held[name] = (assignment, self._hire(assignment))
        for _, steward in left:
            steward.close()

    def sweep(self, project: str, stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """Run one cycle of the project's steward, in this thread. Raises
        :class:`UnknownSteward`."""
        return self._of(lambda assignment: assignment.project == project, project).run_once(
            stopping
        )

    def project_of(self, name: str) -> str:
        """The project that this steward looks after. Raises :class:`UnknownSteward`."""
        return self._of(lambda assignment: assignment.name == name, name).project

    def read_again(self, project: str, seq: int) -> None:
        """Let the project's steward read its facts again from this batch on; returns once it will,
        also after a crash. Raises :class:`UnknownSteward`."""
        self.gather()
        self._of(lambda assignment: assignment.project == project, project).read_again(seq)

    def status(self) -> list[dict[str, Any]]:
        """Every steward as ``GET /stewards`` shows it, by name."""
        with self._lock:
            held = sorted(self._held.items())
        return [steward.status() for _, (_, steward) in held]

    def _of(self, wanted: Callable[[Assignment], bool], named: str) -> TelemetrySteward:
        found = self._find(wanted)
        if found is None:
            # It may have come since.
            self.gather()
            found = self._find(wanted)
        if found is None:
            with self._lock:
                known = ", ".join(sorted(self._held))
            raise UnknownSteward(
                f"there is no steward {named!r}; at work: {known}"
                if known
                else f"there is no steward {named!r}; at work: none, for there is no project yet"
            )
        return found

    def _find(self, wanted: Callable[[Assignment], bool]) -> TelemetrySteward | None:
        with self._lock:
            return next((s for a, s in self._held.values() if wanted(a)), None)
