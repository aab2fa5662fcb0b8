"""Another host, over OpenSSH's client.

Invariant: a command counts as ended only when the host said how it ended; when the connection was
lost, and nobody said that we were not let in, the outcome is unknown. SSH knows no arguments: the
far shell gets one line, which is a fixed script and quoted arguments, and no text of a command is
anything else in it. The script is that of :mod:`runtime.far_script`, and the login shell has to be
a POSIX shell.
https://www.rfc-editor.org/rfc/rfc4254 (sections 6.5 and 6.10)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

from runtime.commands import RUN_LENGTH, Command, Kept, Outcome, Sink
from runtime.errors import MachineUnreachable, ProgramMissing
from runtime.execution import Clock, execute
from runtime.far_script import GRACE_SECONDS, end_words, run_words
from runtime.shell_line import shell_line
from runtime.ssh_host import Journal, SshHost
from runtime.transports import program_environment

_END_SECONDS = 30.0
_JOURNAL_BYTES = 64 * 1024


class SshTransport:
    """One host. Needs OpenSSH's client of version 8.5 or later on this machine. A command ends
    there ``grace_seconds`` after its limit, if nobody is there to do so."""

    def __init__(self, host: SshHost, clock: Clock, grace_seconds: int = GRACE_SECONDS) -> None:
        self._host = host
        self._clock = clock
        self._grace_seconds = grace_seconds

    def start(
        self,
        arguments: Sequence[str],
        command: Command,
        variables: Mapping[str, str],
        *,
        sink: Sink,
        cancel: Event,
    ) -> Outcome:
        words = run_words(
            command.run, arguments, variables, command.seconds, grace=self._grace_seconds
        )
        outcome = self._send(words, command, sink=sink, cancel=cancel)
        ended_by_us = outcome.timed_out or outcome.cancelled
        if ended_by_us and outcome.unknown is not None and self.end(command.run):
            return replace(outcome, unknown=None)
        return outcome

    def end(self, run: str) -> bool:
        # Not by the name of the run, whose own client may be there yet and is to hear the end.
        name = f"end-{run}"[:RUN_LENGTH]
        asked = Command(name, ("sh",), seconds=_END_SECONDS, output_bytes=0)
        try:
            return self._send(end_words(run), asked, sink=Kept(), cancel=Event()).succeeded
        except MachineUnreachable:
            return False

    def _send(
        self, words: Sequence[str], command: Command, *, sink: Sink, cancel: Event
    ) -> Outcome:
        with _journal() as (path, read):
            try:
                outcome = execute(
                    [*self._host.client(path), f"exec {shell_line(words)}"],
                    # The client is not the run: to end what it left here ends nothing there.
                    replace(command, run=f"ssh-{command.run}"[:RUN_LENGTH]),
                    program_environment() | {"LC_ALL": "C"},
                    sink=sink,
                    cancel=cancel,
                    clock=self._clock,
                )
            except ProgramMissing as error:
                raise MachineUnreachable(str(error)) from error
            return self._judged(outcome, read())

    def _judged(self, outcome: Outcome, journal: Journal) -> Outcome:
        """What the client's end says of the command's: 255 is the client's failure, or the
        command's own status, and a signal was the client's."""
        ended_by_us = outcome.timed_out or outcome.cancelled
        code = None if ended_by_us else outcome.exit_code
        if code is not None and (code < 255 or journal.exit_status):
            return outcome
        if outcome.exit_code is None and outcome.signal is None:
            return outcome  # cancelled before the client was started
        if journal.refused:
            raise MachineUnreachable(
                f"{self._host.address} did not let us in: {journal.last_words}"
            )
        lost = "the connection was lost before the host said how the command ended"
        if ended_by_us:
            lost = "the connection was ended, and whether the command was isn't certain"
        return replace(outcome, exit_code=None, signal=None, unknown=lost)


@contextmanager
def _journal() -> Iterator[tuple[Path, Callable[[], Journal]]]:
    """What the client itself says, apart from the command's errors: a pipe with a name, since the
    client closes the descriptors that it is given. A client that fills it waits for its time limit.
    """
    with tempfile.TemporaryDirectory(prefix="fractalops-ssh-") as folder:
        path = Path(folder) / "journal"
        os.mkfifo(path, 0o600)
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

        def said() -> Journal:
            try:
                return Journal(os.read(reading, _JOURNAL_BYTES).decode(errors="replace"))
            except BlockingIOError:
                return Journal("")

        try:
            yield path, said
        finally:
            os.close(reading)
