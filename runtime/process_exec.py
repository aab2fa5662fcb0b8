"""Runs local programs: the only module that uses ``subprocess``.

Invariant: no program outlives the interest in it. Every program leads a process group of its own,
and a time-out, an exception or the end of a ``with`` block ends the group, so that what the program
started in turn goes with it. No shell is ever involved: a command is a sequence of arguments.
Process groups: https://pubs.opengroup.org/onlinepubs/9799919799/functions/setpgid.html
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from runtime.errors import ProcessFailed, ProcessTimeout, ProgramMissing

DEFAULT_GRACE = 5.0
"""Seconds between the request to end (SIGTERM) and the end (SIGKILL)."""


@dataclass(frozen=True)
class Captured:
    """What a program that has ended left behind. A negative ``returncode`` is a signal's number."""

    command: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become the replacement character."""
        return self.stdout.decode(errors="replace")

    def checked(self) -> Captured:
        """This, or :class:`ProcessFailed` when the program ended with another status than 0."""
        if self.returncode != 0:
            raise ProcessFailed(self.command, self.returncode, self.stderr)
        return self


class Running:
    """A program that was started and not waited for. Leaving its ``with`` block ends its group."""

    def __init__(self, process: subprocess.Popen[bytes], command: tuple[str, ...]) -> None:
        self._process = process
        self.command = command

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end of its output, when it was spawned with ``pipe=True``."""
        return self._process.stdout

    @property
    def pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        """Our ends of its input, output and errors, when :func:`spawn_piped` started it."""
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise ValueError(f"{self.command[0]} was not started with three pipes")
        return stdin, stdout, stderr

    def poll(self) -> int | None:
        """The return code, or ``None`` while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and give the return code.

        Raises :class:`ProcessTimeout` after ``timeout`` seconds and leaves the program running.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise ProcessTimeout(self.command, error.timeout, b"", b"") from error

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens when it is gone."""
        _signal_group(self.pid, number)

    def stop(self, grace: float = DEFAULT_GRACE) -> int:
        """Ask the group to end, force it after ``grace`` seconds, and give the return code."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
        # Also when the leader ended well: what it started may have stayed behind.
        self.signal(signal.SIGKILL)
        code = self._process.wait()
        for end in (self._process.stdin, self._process.stdout, self._process.stderr):
            if end is not None:
                end.close()
        return code

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def capture(
    command: Sequence[str | Path],
    *,
    timeout: float,
    stdin: bytes = b"",
    env: Mapping[str, str | None] | None = None,
    inherit: bool = True,
    cwd: Path | None = None,
) -> Captured:
    """Run a program to its end and give its output; its status is the caller's to judge.

    ``env`` is laid over this process's environment (``None`` takes a variable away); with
    ``inherit=False`` it is the whole environment. Raises :class:`ProgramMissing`, and
    :class:`ProcessTimeout` with what was written so far after ``timeout`` seconds.
    """
    arguments = tuple(str(part) for part in command)
    process = _start(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(env, inherit=inherit),
        cwd=cwd,
    )
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        _signal_group(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise ProcessTimeout(arguments, timeout, stdout, stderr) from None
    except BaseException:
        # Also on Ctrl-C: the group does not get the terminal's signal, since it is not ours.
        _signal_group(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Captured(arguments, process.returncode, stdout, stderr)


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str | None] | None = None,
    inherit: bool = True,
    cwd: Path | None = None,
    log: Path | None = None,
    pipe: bool = False,
    pass_fds: Sequence[int] = (),
) -> Running:
    """Start a program and return at once. It reads nothing; use the result as a context manager.

    Output and errors are appended to ``log``, or with ``pipe=True`` the output can be read from
    :attr:`Running.stdout` (errors then go where ours go); otherwise both go where ours go.
    ``pass_fds`` are open in the program under the same numbers; every other descriptor is closed.
    ``env`` and ``inherit`` as in :func:`capture`. Raises :class:`ProgramMissing`.
    """
    if log is not None and pipe:
        raise ValueError("output goes to a log or to a pipe, not to both")
    arguments = tuple(str(part) for part in command)
    opened = log.open("ab") if log is not None else None
    try:
        process = _start(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe else opened,
            stderr=opened,
            env=environment(env, inherit=inherit),
            cwd=cwd,
            pass_fds=pass_fds,
        )
    finally:
        if opened is not None:
            opened.close()
    return Running(process, arguments)


def spawn_piped(command: Sequence[str], *, env: Mapping[str, str]) -> Running:
    """Start a program whose input, output and errors are pipes of ours, and return at once.

    ``env`` is its whole environment. The ends are :attr:`Running.pipes`; whoever reads one and
    forgets another may wait for ever. Raises :class:`ProgramMissing`.
    """
    arguments = tuple(command)
    process = _start(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd=None,
    )
    return Running(process, arguments)


def environment(
    changes: Mapping[str, str | None] | None = None, *, inherit: bool = True
) -> dict[str, str]:
    """This process's environment (or an empty one) with changes; ``None`` takes a variable away."""
    result = dict(os.environ) if inherit else {}
    for name, value in (changes or {}).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def _start(
    arguments: tuple[str, ...],
    *,
    stdin: int,
    stdout: int | IO[bytes] | None,
    stderr: int | IO[bytes] | None,
    env: dict[str, str],
    cwd: Path | None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        missing = str(cwd) if cwd is not None and not cwd.is_dir() else arguments[0]
        raise ProgramMissing(missing, error.strerror or str(error)) from error


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        # The group is gone, which is what the caller wants. Its id can't belong to a stranger yet:
        # the kernel keeps it while any member lives, and hands ids out in rising order.
        return
    except PermissionError:
        # macOS answers so for a group whose only member is a zombie.
        return
