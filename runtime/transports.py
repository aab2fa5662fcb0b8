"""How a command's own program is started where it has to run: here, or on another host.

Invariant: a transport starts exactly the arguments it is given, with the environment it is given
and the mark of the run. What it raises, it raises before anything was started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from threading import Event
from typing import Protocol

from runtime.commands import Command, Outcome, Sink
from runtime.errors import MachineUnreachable, ProgramMissing
from runtime.execution import Clock, execute
from runtime.marked_processes import end_marked


class Transport(Protocol):
    """A place where programs can be started."""

    def start(
        self,
        arguments: Sequence[str],
        command: Command,
        variables: Mapping[str, str],
        *,
        sink: Sink,
        cancel: Event,
    ) -> Outcome:
        """Run ``arguments``, which carry out ``command`` there, within its limits.

        ``variables`` are added to the little that programs there need. Raises
        :class:`MachineUnreachable`, and then nothing was started.
        """

    def end(self, run: str) -> bool:
        """End what a run left there; ``False`` when that isn't certain."""


class LocalTransport:
    """This machine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(
        self,
        arguments: Sequence[str],
        command: Command,
        variables: Mapping[str, str],
        *,
        sink: Sink,
        cancel: Event,
    ) -> Outcome:
        environment = program_environment() | dict(variables)
        try:
            return execute(
                arguments, command, environment, sink=sink, cancel=cancel, clock=self._clock
            )
        except ProgramMissing as error:
            raise MachineUnreachable(str(error)) from error

    def end(self, run: str) -> bool:
        return end_marked(run)


def program_environment() -> dict[str, str]:
    """What a transport's own program gets of this process's environment."""
    return {"PATH": os.environ.get("PATH", os.defpath)}
