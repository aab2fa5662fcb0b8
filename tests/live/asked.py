"""Commands that the tests of machines ask of them, and what is left of them."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from threading import Event, Thread

from runtime.commands import Command, Kept, Outcome, Stream
from runtime.machines import Machine
from tests.live.run_processes import left_of

_RUNS = itertools.count()


def run_id() -> str:
    """The id of a run that no other test process has."""
    return f"asked-{os.getpid()}-{next(_RUNS)}"


@dataclass
class Asked:
    """A command that runs in a thread, so that something can be done to its machine meanwhile."""

    machine: Machine
    command: Command
    cancel: Event = field(default_factory=Event)
    heard: Event = field(default_factory=Event)
    outcome: Outcome | None = None

    def _sink(self, stream: Stream, chunk: bytes) -> None:
        self.heard.set()

    def _run(self) -> None:
        self.outcome = self.machine.run(self.command, sink=self._sink, cancel=self.cancel)

    def __enter__(self) -> Asked:
        self._thread = Thread(target=self._run)
        self._thread.start()
        assert self.heard.wait(60), "the command said nothing"
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self.cancel.set()
        self._thread.join(60)

    def ended(self) -> Outcome:
        self._thread.join(60)
        assert self.outcome is not None
        return self.outcome


def ask(
    asked: Machine, *argv: str, stdin: bytes = b"", seconds: float = 60
) -> tuple[Outcome, Kept]:
    """What came of a command, of which nothing may be left, and what it wrote."""
    kept = Kept()
    command = Command(run_id(), argv, stdin=stdin, seconds=seconds)
    outcome = asked.run(command, sink=kept, cancel=Event())
    assert left_of(command.run) == []
    return outcome, kept
