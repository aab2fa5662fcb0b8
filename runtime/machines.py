"""What every machine answers to, whatever its kind, and what this process reaches machines with.

Invariant: a machine runs a command at most once per call and never tries again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from types import MappingProxyType
from typing import Protocol

from runtime.commands import PERMITTED_VARIABLES, Command, Outcome, Sink
from runtime.execution import Clock
from runtime.ssh_host import SshHost


class Machine(Protocol):
    """One machine; any thread may use it, several at once too."""

    def check(self, run: str) -> None:
        """Return when it would run a command now; otherwise raises a :class:`MachineError`.

        ``run`` names this look at it, as :attr:`Command.run` names a command.
        """

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        """Run a command once; ``cancel`` ends it.

        Raises :class:`CommandRefused` and :class:`MachineError` when nothing was started.
        """

    def end(self, run: str) -> bool:
        """End what a run left there, such as one whose outcome is unknown; ``False`` when that
        isn't certain."""


@dataclass(frozen=True, slots=True)
class Reach:
    """``hosts`` are those that a locator may name, ``variables`` those that a command may set."""

    clock: Clock
    hosts: Mapping[str, SshHost] = field(default_factory=lambda: MappingProxyType({}))
    variables: frozenset[str] = PERMITTED_VARIABLES
