"""Runs one program on this machine for a command: streams it, limits it, ends it.

Invariant: when :func:`execute` returns or raises, the program has ended, and so have its process
group and every process with the run's mark, or the outcome says that they have not. Memory doesn't
grow with what the program prints: a chunk is digested, passed on within the limit, and forgotten.
https://pubs.opengroup.org/onlinepubs/9799919799/functions/read.html
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Event
from typing import IO

from runtime.command_limits import CommandLimits
from runtime.commands import MARK, Command, Outcome, Output, Sink, Stream
from runtime.counted_output import CountedOutput
from runtime.errors import ProcessTimeout
from runtime.marked_processes import end_marked
from runtime.process_exec import Running, spawn_piped

Clock = Callable[[], datetime]

_TICK = 0.05
"""Seconds until an end that closed no pipe is noticed."""

_CHUNK = 64 * 1024
_DRAIN = 2.0
"""Seconds to read what an ended program left in its pipes, if somebody still holds them open."""

LEFT_BEHIND = "processes of the run could not be ended and may still be there"


def execute(
    arguments: Sequence[str],
    command: Command,
    environment: Mapping[str, str],
    *,
    sink: Sink,
    cancel: Event,
    clock: Clock,
) -> Outcome:
    """Run ``arguments``, which carry out ``command`` here, and say what came of it.

    ``environment`` is the whole environment, but for the mark of the run. A command that is
    cancelled or has no more time is killed at once; one that was cancelled before isn't started.
    Raises :class:`ProgramMissing` when it could not be started, and what ``sink`` raises.
    """
    started = clock()
    if cancel.is_set():
        nothing = CountedOutput(command, sink).output(Stream.STDOUT)
        return Outcome(None, None, started, clock(), nothing, nothing, cancelled=True)
    with spawn_piped(arguments, env={MARK: command.run, **environment}) as running:
        try:
            with _Pipes(running, command, sink) as pipes:
                with CommandLimits(
                    command.seconds, cancel, lambda: running.signal(signal.SIGKILL)
                ) as limits:
                    _until_it_ends(running, pipes)
                running.signal(signal.SIGKILL)
                clean = end_marked(command.run)
                clean = pipes.drain() and clean
        except BaseException:
            running.signal(signal.SIGKILL)
            end_marked(command.run)
            raise
    code = running.wait()
    # Nothing else than the signal ends what was killed: it ended by itself first.
    killed = code == -signal.SIGKILL
    return Outcome(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        started=started,
        ended=clock(),
        stdout=pipes.output(Stream.STDOUT),
        stderr=pipes.output(Stream.STDERR),
        timed_out=limits.timed_out and killed,
        cancelled=limits.cancelled and killed,
        unknown=None if clean else LEFT_BEHIND,
    )


def _until_it_ends(running: Running, pipes: _Pipes) -> None:
    while running.poll() is None:
        if pipes.open:
            pipes.turn(_TICK)
        else:
            with suppress(ProcessTimeout):
                running.wait(_TICK)


class _Pipes:
    """Our ends of a program's three pipes."""

    def __init__(self, running: Running, command: Command, sink: Sink) -> None:
        stdin, stdout, stderr = running.pipes
        self._output = CountedOutput(command, sink)
        self._input = memoryview(command.stdin)
        self._selector = selectors.DefaultSelector()
        for stream, end in ((Stream.STDOUT, stdout), (Stream.STDERR, stderr)):
            os.set_blocking(end.fileno(), False)
            self._selector.register(end, selectors.EVENT_READ, stream)
        if command.stdin:
            os.set_blocking(stdin.fileno(), False)
            self._selector.register(stdin, selectors.EVENT_WRITE)
        else:
            stdin.close()

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *error: object) -> None:
        self._selector.close()

    @property
    def open(self) -> bool:
        return bool(self._selector.get_map())

    def turn(self, seconds: float) -> None:
        """Wait at most this long until something can be moved, and move it."""
        for key, _ in self._selector.select(seconds):
            end: IO[bytes] = key.fileobj  # type: ignore[assignment]
            if key.data is None:
                self._write(end)
            else:
                self._read(end, key.data)

    def drain(self) -> bool:
        """Read what is left; ``False`` when a process that escaped still holds a pipe open."""
        give_up = time.monotonic() + _DRAIN
        while self.open and time.monotonic() < give_up:
            self.turn(_TICK)
        return not self.open

    def output(self, stream: Stream) -> Output:
        return self._output.output(stream)

    def _read(self, end: IO[bytes], stream: Stream) -> None:
        chunk = os.read(end.fileno(), _CHUNK)
        if not chunk:
            self._selector.unregister(end)
            return
        self._output.heard(stream, chunk)

    def _write(self, end: IO[bytes]) -> None:
        written = len(self._input)
        # A program may end, or close its input, without having read all of it.
        with suppress(BrokenPipeError):
            written = os.write(end.fileno(), self._input[:_CHUNK])
        self._input = self._input[written:]
        if not self._input:
            self._selector.unregister(end)
            end.close()
