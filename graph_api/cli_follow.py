"""Follows a run to its end: its output to our own streams, its end to an exit code.

Invariant: what the run wrote reaches standard output and error byte for byte when they are piped,
each byte once, also where the connection broke in between; on a terminal control characters are
spelled out. Ctrl-C asks the server to cancel the run, and waits to hear how it ended.
Exit codes: https://www.gnu.org/software/coreutils/manual/html_node/timeout-invocation.html,
sysexits.h
"""

from __future__ import annotations

import base64
import codecs
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer

from graph_api.cli_errors import OutputClosed, Unreachable
from graph_api.cli_output import fail, say, show_raw, visible_text, warn

if TYPE_CHECKING:
    from graph_api.client import Client

NOT_STARTED: Final = 69
UNKNOWN: Final = 74
WAITING: Final = 75
NOT_APPROVED: Final = 77
TIMED_OUT: Final = 124
CANCELLED: Final = 130
REFUSED_STATUS: Final = 22
"""As curl ends for a status that is an error."""

_ATTEMPTS = 5
_PAUSE = 0.5
_WORDS = {
    "not-started": NOT_STARTED,
    "unknown": UNKNOWN,
    "timed-out": TIMED_OUT,
    "cancelled": CANCELLED,
}
_UNDECIDED = ("awaiting decision", "approved", "executing")


@dataclass
class Followed:
    """What was followed: the run as it stands at the end, and what it wrote, where that was not
    printed."""

    run: dict[str, Any]
    stdout: str = ""
    stderr: str = ""


@dataclass
class _Printer:
    """Prints what a run writes, and skips what was printed before."""

    quiet: bool
    seen: dict[str, int] = field(default_factory=lambda: {"stdout": 0, "stderr": 0})
    skip: dict[str, int] = field(default_factory=dict)
    kept: dict[str, bytearray] = field(
        default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()}
    )
    redacted: bool = False

    def __post_init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder(errors="replace") for name in self.seen}

    def again(self) -> None:
        """The output is told from its beginning once more."""
        self.skip = dict(self.seen)

    def take(self, name: str, data: bytes, *, redacted: bool) -> None:
        if name not in self.seen:
            return
        if redacted and not self.redacted:
            self.redacted = True
            warn("this is the output as it is kept: redacted, and text where it was not")
        known = min(self.skip.get(name, 0), len(data))
        self.skip[name] = self.skip.get(name, 0) - known
        data = data[known:]
        self.seen[name] += len(data)
        if self.quiet:
            self.kept[name] += data
            return
        stream = sys.stdout if name == "stdout" else sys.stderr
        if stream.isatty():
            text = self._decoders[name].decode(data).replace("\r\n", "\n")
            data = visible_text(text).encode(errors="backslashreplace")
        show_raw(data, stream)


def follow(client: Client, run: Mapping[str, Any], *, quiet: bool, ours: bool = True) -> Followed:
    """Print what a run writes until it has ended; with ``quiet`` it is kept instead. Who stops
    listening cancels the run if it is ``ours``.

    Raises :class:`Unreachable` where the server can't be asked any more; the run goes on.
    """
    identifier = str(run.get("id"))
    printer = _Printer(quiet)
    cancelled, attempts = False, 0
    while True:
        try:
            ended = _read(client, identifier, printer)
            if ended is not None:
                texts = (printer.kept[name].decode(errors="replace") for name in printer.seen)
                return Followed(ended, *texts)
            attempts = 0
            # The server is about to end, or can't record the end just now.
            time.sleep(_PAUSE)
        except KeyboardInterrupt:
            if cancelled or not ours:
                say(f"It may still run: fractalops runtime-assets runs {identifier}")
                raise typer.Exit(CANCELLED) from None
            cancelled = True
            say(f"\ncancelling run {identifier}; Ctrl-C again leaves it to itself")
            client.cancel_run(identifier)
        except OutputClosed:
            if ours:
                client.cancel_run(identifier)
            raise
        except Unreachable:
            attempts += 1
            if attempts >= _ATTEMPTS:
                say(f"What becomes of the run: fractalops runtime-assets output {identifier}")
                raise
            time.sleep(_PAUSE * attempts)
        printer.again()


def _read(client: Client, identifier: str, printer: _Printer) -> dict[str, Any] | None:
    """The run once it has ended; ``None`` where the server let us go before."""
    # Takes time to import, and there is nothing to follow before a client is there.
    from graph_api.client_connection import refused

    for line in client.run_output(identifier):
        if "stream" in line:
            data = base64.b64decode(str(line.get("data", "")))
            printer.take(str(line["stream"]), data, redacted=bool(line.get("redacted")))
        elif line.get("kept") is False:
            say(f"its output is not kept: {line.get('reason')}")
        elif "problem" in line:
            raise refused(dict(line["problem"]))
        elif "run" in line:
            found = dict(line["run"])
            return found if found.get("state") not in _UNDECIDED else None
    return None


def exit_code(run: Mapping[str, Any]) -> int:
    """What a command ends with that was about this run."""
    state, outcome = run.get("state"), str(run.get("outcome"))
    result = run.get("result") or {}
    if state in _UNDECIDED:
        return WAITING
    if state != "executed":
        return NOT_APPROVED
    if outcome in _WORDS:
        return _WORDS[outcome]
    if (run.get("action") or {}).get("kind") == "request":
        return 0 if outcome == "succeeded" else REFUSED_STATUS
    if result.get("signal") is not None:
        return 128 + int(result["signal"])
    code = result.get("exit_code")
    return int(code) if isinstance(code, int) else UNKNOWN


def finished(run: Mapping[str, Any]) -> None:
    """Say how a run ended, where its exit code alone doesn't."""
    result, outcome = run.get("result") or {}, run.get("outcome")
    identifier, reason = run.get("id"), result.get("reason")
    because = f": {reason}" if reason else ""
    if run.get("state") != "executed":
        said = [str(item.get("reason")) for item in run.get("decisions") or () if item]
        fail(f"run {identifier} was not begun, it is {run.get('state')}: {'; '.join(said)}")
    elif outcome == "unknown":
        fail(
            f"the outcome of run {identifier} is unknown{because}. It is not tried again by itself"
        )
    elif outcome == "not-started":
        fail(f"nothing was started{because}")
    elif outcome in ("timed-out", "cancelled"):
        fail(
            f"run {identifier} was {'out of time' if outcome == 'timed-out' else outcome}{because}"
        )
    elif (run.get("action") or {}).get("kind") == "request" and outcome != "succeeded":
        fail(f"the executor answered {result.get('status')}{because}")
    for name in ("stdout", "stderr", "body"):
        part = result.get(name) or {}
        if part.get("truncated"):
            warn(f"{name} was cut: {part.get('passed')} of {part.get('size')} bytes")
