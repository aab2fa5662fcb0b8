"""LXC containers, on this machine or on another host: ``lxc-attach`` and ``lxc-info``.

Invariant: a command starts only in a container that runs, and is one with it: when the container
ended or was started again meanwhile, the outcome is unknown unless the command was seen to end by
itself. Values of variables travel in the environment of ``lxc-attach``, not among its arguments.
https://linuxcontainers.org/lxc/manpages/man1/lxc-attach.1.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from threading import Event

from runtime.commands import MARK, Command, Kept, Outcome, Sink
from runtime.errors import (
    CommandRefused,
    MachineError,
    MachineFrozen,
    MachineMissing,
    MachineStopped,
    MachineUnreachable,
)
from runtime.transports import Transport

_FIELD = re.compile(r"^(State|PID): +(\S+)$", re.MULTILINE)
_CHECK_SECONDS = 30.0
_CHECK_BYTES = 4096
_MISSING = "doesn't exist"

# `lxc-attach` answers 1 when it fails itself, and 128 + n when signal n ended the command, which
# is what the end of a container does to all in it.
_OWN_FAILURE = 1
_SIGNALLED = 128


@dataclass(frozen=True, slots=True)
class _State:
    state: str
    init: str | None
    """The process number of its init, another one each time it is started."""


def refuse_variables(command: Command, permitted: frozenset[str]) -> None:
    """Raises :class:`CommandRefused` for a command that sets other variables."""
    refused = sorted(set(command.environment) - permitted)
    if refused:
        raise CommandRefused(
            f"a command may not set {', '.join(refused)};"
            f" it may set {', '.join(sorted(permitted)) or 'nothing'}"
        )


class LxcContainer:
    """One container. ``path`` is where its host keeps containers, if not where LXC does."""

    def __init__(
        self, transport: Transport, name: str, path: PurePosixPath | None, variables: frozenset[str]
    ) -> None:
        self._transport = transport
        self._name = name
        self._where = ("-n", name) if path is None else ("-P", str(path), "-n", name)
        self._variables = variables

    def check(self, run: str) -> None:
        self._running(run)

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        refuse_variables(command, self._variables)
        before = self._running(command.run)
        entry, variables = self._entry(command)
        outcome = self._transport.start(
            [*entry, *command.argv], command, variables, sink=sink, cancel=cancel
        )
        code = outcome.exit_code
        if code is None or not (code == _OWN_FAILURE or code > _SIGNALLED):
            return outcome
        try:
            self._must_live(command.run)
            after = self._running(command.run)
        except MachineError as error:
            lost = f"the container may have ended while the command ran: {error}"
        else:
            if after == before:
                return outcome
            lost = "the container was started again while the command ran"
        return replace(outcome, exit_code=None, unknown=lost)

    def end(self, run: str) -> bool:
        return self._transport.end(run)

    def _entry(self, command: Command) -> tuple[list[str], Mapping[str, str]]:
        """What stands before the command's own arguments, and the variables that it needs."""
        kept = [part for name in (MARK, *command.environment) for part in ("--keep-var", name)]
        return ["lxc-attach", *self._where, "--clear-env", *kept, "--"], command.environment

    def _must_live(self, run: str) -> None:
        """Raises :class:`MachineStopped` for a container whose init has ended: no process can be
        started in it, which is so before its monitor has noticed and says that it isn't running."""
        asking = Command(run, ("true",), seconds=_CHECK_SECONDS, output_bytes=_CHECK_BYTES)
        entry, variables = self._entry(asking)
        outcome = self._transport.start(
            [*entry, *asking.argv], asking, variables, sink=Kept(), cancel=Event()
        )
        if outcome.exit_code in (None, _OWN_FAILURE):
            raise MachineStopped(f"no process can be started in container {self._name}")

    def _running(self, run: str) -> _State:
        found = self._state(run)
        if found.state == "FROZEN":
            raise MachineFrozen(f"container {self._name} is frozen; thaw it first")
        if found.state != "RUNNING" or found.init is None:
            raise MachineStopped(f"container {self._name} is {found.state.lower()}; start it first")
        return found

    def _state(self, run: str) -> _State:
        said = Kept()
        asking = Command(
            run,
            ("lxc-info", *self._where, "-s", "-p"),
            seconds=_CHECK_SECONDS,
            output_bytes=_CHECK_BYTES,
        )
        outcome = self._transport.start(asking.argv, asking, {}, sink=said, cancel=Event())
        words = (said.stdout + said.stderr).decode(errors="replace")
        fields = dict(_FIELD.findall(words))
        if outcome.succeeded and "State" in fields:
            return _State(fields["State"], fields.get("PID"))
        if outcome.exit_code == 1 and _MISSING in words:
            raise MachineMissing(f"there is no container {self._name} on its host")
        last: Sequence[str] = words.strip().splitlines()[-1:]
        reason = outcome.unknown or (last[0] if last else f"lxc-info gave {outcome.exit_code}")
        raise MachineUnreachable(f"container {self._name} could not be looked at: {reason}")
