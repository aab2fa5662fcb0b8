"""Virtual machines of Proxmox VE: commands by the agent in the guest.

Invariant: the agent is asked to start a command once. It says what a command printed when that has
ended and not before, so nothing is streamed, and it ends nothing: what has no more time or is
cancelled is ended by another command, which looks for the mark of the run. When nobody says any
more how a command ended, the outcome is unknown.
https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Final

from runtime.commands import RUN_LENGTH, Command, Outcome, Output, Sink, Stream
from runtime.errors import (
    MachineError,
    MachineFrozen,
    MachineStopped,
    RuntimeFloorError,
)
from runtime.execution import Clock
from runtime.far_script import end_words, run_words
from runtime.proxmox import Asking, Ended, Lost
from runtime.shell_line import armoured

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a command is found by in a guest: nothing of the agent's own environment goes along."""

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_END_SECONDS = 30.0
_KILLED = 128 + 9

_RUNNING = "running"
_FROZEN = frozenset({"paused", "suspended", "save-vm", "inmigrate", "prelaunch", "io-error"})


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """One virtual machine, asked over ``asking``."""

    asking: Asking
    node: str
    vmid: int
    clock: Clock

    def check(self, run: str) -> None:
        """Raises :class:`MachineError` where a command could not be started now."""
        state = self.asking.state(self.node, self.vmid, run)
        if state in _FROZEN:
            raise MachineFrozen(f"virtual machine {self.vmid} is {state}; resume it first")
        if state != _RUNNING:
            raise MachineStopped(f"virtual machine {self.vmid} is {state}; start it first")
        self.asking.ping(self.node, self.vmid, run)

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        """Run a command once; see :meth:`runtime.machines.Machine.run`."""
        started = self.clock()
        if cancel.is_set():
            return self._outcome(started, Ended(None, None), command, cancelled=True)
        variables = {"PATH": PATH, **command.environment}
        words = run_words(command.run, command.argv, variables, command.seconds, clear=True)
        deadline = time.monotonic() + command.seconds
        try:
            begun = self._begin(words, command.stdin, command.run)
        except MachineError:
            # It may be known better why.
            self.check(command.run)
            raise
        if isinstance(begun, Lost):
            return self._outcome(
                started,
                Ended(None, None),
                command,
                unknown=f"it isn't known whether the command was started: {begun.reason}",
            )
        found = self._wait(begun, command.run, deadline, cancel)
        cancelled = found is None and cancel.is_set()
        timed_out = found is None and not cancelled
        unknown = None
        if found is None:
            ended = self.end(command.run)
            found = self._wait(begun, command.run, time.monotonic() + _END_SECONDS / 3, Event())
            if isinstance(found, Ended) and found.exit_code not in (None, _KILLED):
                cancelled = timed_out = False  # It ended by itself first.
            elif not ended:
                unknown = "the command could not be ended and may still run"
        if isinstance(found, Lost):
            unknown = unknown or f"nobody says how the command ended: {found.reason}"
        elif found is None:
            unknown = unknown or "the agent does not say that the command has ended"
        elif found.exit_code is None:
            unknown = "the shell around the command was killed, and what it ran may still be there"
        said = found if isinstance(found, Ended) else Ended(None, None)
        _tell(said, command, sink)
        return self._outcome(
            started, said, command, timed_out=timed_out, cancelled=cancelled, unknown=unknown
        )

    def end(self, run: str) -> bool:
        """End what a run left in the guest; ``False`` when that isn't certain."""
        # Not by the name of the run, which may be asked about meanwhile.
        name = f"end-{run}"[:RUN_LENGTH]
        try:
            begun = self._begin(end_words(run), b"", name)
            if isinstance(begun, Lost):
                return False
            found = self._wait(begun, name, time.monotonic() + _END_SECONDS, Event())
        except RuntimeFloorError:
            return False
        return isinstance(found, Ended) and found.exit_code == 0

    def _begin(self, words: Sequence[str], stdin: bytes, run: str) -> int | Lost:
        return self.asking.begin(self.node, self.vmid, armoured(words), stdin, run)

    def _wait(self, pid: int, run: str, deadline: float, cancel: Event) -> Ended | Lost | None:
        """How the process ended; ``None`` when the time is over or it is cancelled first. An agent
        that can't be asked for a while is asked again."""
        pause = _FIRST_PAUSE
        while True:
            with suppress(MachineError):
                found = self.asking.ended(self.node, self.vmid, pid, run)
                if found is not None:
                    return found
            left = deadline - time.monotonic()
            if left <= 0 or cancel.wait(min(pause, left)):
                return None
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _outcome(
        self,
        started: datetime,
        ended: Ended,
        command: Command,
        *,
        timed_out: bool = False,
        cancelled: bool = False,
        unknown: str | None = None,
    ) -> Outcome:
        seen = unknown is None and not timed_out and not cancelled
        return Outcome(
            exit_code=ended.exit_code if seen else None,
            signal=None,
            started=started,
            ended=self.clock(),
            stdout=_output(ended.stdout, command.output_bytes, ended.stdout_cut),
            stderr=_output(ended.stderr, command.output_bytes, ended.stderr_cut),
            timed_out=timed_out,
            cancelled=cancelled,
            unknown=unknown,
        )


def _tell(ended: Ended, command: Command, sink: Sink) -> None:
    for stream, said in ((Stream.STDOUT, ended.stdout), (Stream.STDERR, ended.stderr)):
        if passed := said[: command.output_bytes]:
            sink(stream, passed)


def _output(said: bytes, limit: int, cut: bool) -> Output:
    digest = f"sha256:{hashlib.sha256(said).hexdigest()}"
    return Output(digest, len(said), min(len(said), limit), cut)
