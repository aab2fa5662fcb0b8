"""Another host, over OpenSSH's client.

Invariant: a command counts as ended only when the host said how it ended; when the connection was
lost, and nobody said that we were not let in, the outcome is unknown. SSH knows no arguments: the
far shell gets one line, which is a fixed script and quoted arguments, and no text of a command is
anything else in it.

The script ends what the command left behind before it answers, since a connection stays open for
as long as anything there holds its output; where it can't, it ends itself by a signal. ``timeout``
ends a command some seconds after its limit when nobody is there any more to do so. The login shell
has to be a POSIX shell; ``env``, ``timeout`` and ``grep -z`` have to be there (GNU, BusyBox).
https://www.rfc-editor.org/rfc/rfc4254 (sections 6.5 and 6.10)
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

from runtime.commands import MARK, RUN_LENGTH, Command, Kept, Outcome, Sink
from runtime.errors import MachineUnreachable, ProgramMissing
from runtime.execution import Clock, execute
from runtime.shell_line import shell_line
from runtime.ssh_host import Journal, SshHost
from runtime.transports import program_environment

_END_SECONDS = 30.0
_GRACE_SECONDS = 15
_JOURNAL_BYTES = 64 * 1024

# The script's own processes have no mark: only what `env` starts does.
_END_SCRIPT = r"""
end_marked() {
    round=0
    while [ "$round" -lt 20 ]; do
        found=$(grep -lzxF -e "$1" /proc/[0-9]*/environ)
        [ -n "$found" ] || return 0
        for file in $found; do
            process=${file#/proc/}
            kill -9 "${process%/environ}"
        done
        round=$((round + 1))
        sleep 0.1
    done
    return 1
}
mark=$1
shift
"""
_RUN_SCRIPT = (
    _END_SCRIPT
    + r"""
"$@"
status=$?
end_marked "$mark" </dev/null >/dev/null 2>&1 || kill -9 $$
exit "$status"
"""
)
_ONLY_END_SCRIPT = (
    _END_SCRIPT
    + r"""
end_marked "$mark" </dev/null >/dev/null 2>&1
"""
)


class SshTransport:
    """One host. Needs OpenSSH's client of version 8.5 or later on this machine."""

    def __init__(self, host: SshHost, clock: Clock) -> None:
        self._host = host
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
        mark = f"{MARK}={command.run}"
        limit = str(math.ceil(command.seconds) + _GRACE_SECONDS)
        given = (f"{name}={value}" for name, value in variables.items())
        far = ["env", mark, *given, "timeout", "-s", "KILL", limit, *arguments]
        outcome = self._send(
            ["sh", "-c", _RUN_SCRIPT, "sh", mark, *far], command, sink=sink, cancel=cancel
        )
        ended_by_us = outcome.timed_out or outcome.cancelled
        if ended_by_us and outcome.unknown is not None and self.end(command.run):
            return replace(outcome, unknown=None)
        return outcome

    def end(self, run: str) -> bool:
        # Not by the name of the run, whose own client may be there yet and is to hear the end.
        name = f"end-{run}"[:RUN_LENGTH]
        asked = Command(name, ("sh",), seconds=_END_SECONDS, output_bytes=0)
        words = ["sh", "-c", _ONLY_END_SCRIPT, "sh", f"{MARK}={run}"]
        try:
            return self._send(words, asked, sink=Kept(), cancel=Event()).succeeded
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
