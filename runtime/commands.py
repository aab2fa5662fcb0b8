"""What is asked of a machine, and what came of it. Nothing runs here.

Invariant: a command is a sequence of arguments that arrive as they were given, or it is refused
before anything starts. It says itself how long it may run and how much output is passed on. An
outcome names an exit code or a signal only when the end was seen; one that is not known is never a
success.
Arguments and environment: https://pubs.opengroup.org/onlinepubs/9799919799/functions/exec.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from runtime.errors import CommandRefused

ARGUMENT_BYTES = 24 * 1024
"""All arguments of a command together. A remote shell gets them as one argument of at most 128 KiB
(``MAX_ARG_STRLEN`` of Linux), in which a quote takes four bytes."""

STDIN_BYTES = 1024 * 1024
LONGEST_SECONDS = 24 * 3600.0

PERMITTED_VARIABLES = frozenset({"LANG", "LC_ALL", "NO_COLOR", "TZ"})
"""What a command may set unless whoever opens the adapter says otherwise: nothing that makes a
program load, run or open something. A name and its value can be read in process lists."""

MARK = "FRACTALOPS_RUN"
"""The variable that all processes of a run inherit, and are found by when it ends."""

RUN_LENGTH = 100

_RUN = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{RUN_LENGTH - 1}}}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class Stream(StrEnum):
    """Where a chunk of output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


Sink = Callable[[Stream, bytes], None]
"""Hears the output while the command runs, in order within a stream. It is called in the thread
that runs the command: while it waits the command may wait too, and its time goes on. What it raises
ends the command and reaches the caller."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command to run once.

    ``run`` names the run, and no other: what has its mark is ended when it ends. ``environment`` is
    laid over the little that the machine itself sets; nothing of this process's own goes along.
    ``seconds`` is the time limit. ``output_bytes`` is what the sink hears of each stream; more is
    counted and digested.
    Raises :class:`CommandRefused`, which names the rule and never a value.
    """

    run: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    stdin: bytes = b""
    seconds: float = 60.0
    output_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        if not _RUN.fullmatch(self.run):
            raise CommandRefused(f"a run is named by {_RUN.pattern}")
        _check_arguments(self.argv)
        for name, value in self.environment.items():
            if not _VARIABLE.fullmatch(name) or name == MARK:
                raise CommandRefused(f"{name!r} is not the name of a variable that can be set")
            _check_text(value, f"the value of {name}")
        if len(self.stdin) > STDIN_BYTES:
            raise CommandRefused(f"standard input is longer than {STDIN_BYTES} bytes")
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise CommandRefused(f"the time limit is more than 0 and at most {LONGEST_SECONDS:g} s")
        if self.output_bytes < 0:
            raise CommandRefused("the output limit is negative")


def _check_arguments(argv: object) -> None:
    # A str is a sequence of str too, and would run its first letter.
    if not isinstance(argv, tuple) or not argv:
        raise CommandRefused("a command is a tuple of arguments, the program first")
    for position, argument in enumerate(argv):
        _check_text(argument, f"argument {position}")
    if not argv[0]:
        raise CommandRefused("argument 0 names no program")
    if sum(len(argument.encode()) + 1 for argument in argv) > ARGUMENT_BYTES:
        raise CommandRefused(f"the arguments are longer than {ARGUMENT_BYTES} bytes together")


def _check_text(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise CommandRefused(f"{what} is not text")
    if "\0" in text:
        raise CommandRefused(f"{what} has a NUL, which ends an argument")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandRefused(f"{what} has half of a surrogate pair and no bytes") from None


@dataclass(frozen=True, slots=True)
class Output:
    """One stream of a run: ``digest`` (``sha256:`` and 64 hexadecimal digits) and ``size`` in bytes
    are of everything that was written; the sink heard the first ``passed`` bytes. Where ``cut``,
    whoever ran the command over there dropped the rest, and they are of what it kept."""

    digest: str
    size: int
    passed: int
    cut: bool = False

    @property
    def truncated(self) -> bool:
        return self.cut or self.passed < self.size


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command that may have started.

    ``exit_code`` and ``signal`` are never both set. A machine's own entry (``lxc-attach``, a shell)
    answers 128 + n for a program that signal n ended, and that stays an exit code. ``unknown`` says
    what isn't known of the end: the command may have done all, part or nothing, or some of it may
    still run.
    """

    exit_code: int | None
    signal: int | None
    started: datetime
    ended: datetime
    stdout: Output
    stderr: Output
    timed_out: bool = False
    cancelled: bool = False
    unknown: str | None = None

    @property
    def succeeded(self) -> bool:
        """The command ended by itself, with 0."""
        return (
            self.exit_code == 0
            and not self.timed_out
            and not self.cancelled
            and self.unknown is None
        )

    @property
    def truncated(self) -> bool:
        return self.stdout.truncated or self.stderr.truncated


class Kept:
    """A sink that keeps what it hears, which the command's limit bounds."""

    def __init__(self) -> None:
        self._held = {stream: bytearray() for stream in Stream}

    def __call__(self, stream: Stream, chunk: bytes) -> None:
        self._held[stream] += chunk

    @property
    def stdout(self) -> bytes:
        return bytes(self._held[Stream.STDOUT])

    @property
    def stderr(self) -> bytes:
        return bytes(self._held[Stream.STDERR])
