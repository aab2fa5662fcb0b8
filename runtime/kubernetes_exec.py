"""Runs one program in a container of a pod, to its end or to a limit.

Invariant: an exit status is what the server's status object says, and it is named only when that
object came. Whatever else ended the connection leaves the end unknown. That nothing was started is
believed only of words that are known.
https://kubernetes.io/docs/reference/generated/kubernetes-api/ (exec, Status)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

from runtime.command_limits import CommandLimits
from runtime.commands import Stream
from runtime.counted_output import CountedOutput
from runtime.kubernetes_api import ClusterApi, one_line, server_text
from runtime.kubernetes_channels import (
    CLOSES,
    PROTOCOLS,
    STATUS,
    STDERR,
    STDOUT,
    Lost,
    opened,
)
from runtime.kubernetes_workload import Pod

_TICK = 0.05
_DRAIN = 2.0
"""Seconds to hear of the end of what was ended, and of output that comes after the status."""

_STATUS_BYTES = 64 * 1024
_NOT_THERE = ("executable file not found", "no such file or directory")
# Also that the cluster's server couldn't connect to the node.
_NOT_STARTED = (
    "unable to start container process",
    "failed to start exec",
    "container not found",
    "dial tcp ",
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: with a ``code``; or ``refused``, which certainly started nothing; or ``lost``,
    of which nothing is known. ``absent`` says that the program isn't there."""

    code: int | None = None
    refused: str = ""
    absent: bool = False
    lost: str = ""


class Limits(CommandLimits):
    """Calls ``end`` at a limit; ``ended`` is whether nothing of the run is left then, and
    ``given_up`` is set when nobody need listen any more."""

    def __init__(self, seconds: float, cancel: Event, end: Callable[[], bool]) -> None:
        super().__init__(seconds, cancel, self._give_up)
        self._end_run = end
        self.ended = False
        self.given_up = Event()

    def _give_up(self) -> None:
        try:
            self.ended = self._end_run()
            if self.ended:
                self._over.wait(_DRAIN)
        finally:
            self.given_up.set()


def execute(
    api: ClusterApi,
    pod: Pod,
    words: Sequence[str],
    *,
    stdin: bytes,
    output: CountedOutput,
    given_up: Event,
) -> Ended:
    """Run ``words`` in the pod's container, until ``given_up``.

    Raises :class:`MachineUnreachable` when nothing was started, and what the sink raises.
    """
    query = [("container", pod.container), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("command", word) for word in words]
    protocols = (CLOSES,) if stdin else PROTOCOLS
    status = bytearray()
    closing = None
    try:
        with opened(api, f"{pod.path}/exec", query, protocols) as channels:
            if stdin:
                channels.put_input(stdin)
            while not given_up.is_set() and (closing is None or time.monotonic() < closing):
                found = channels.turn(_TICK)
                if found is None:
                    continue
                channel, data = found
                if channel == STDOUT:
                    output.heard(Stream.STDOUT, data)
                elif channel == STDERR:
                    output.heard(Stream.STDERR, data)
                elif channel == STATUS and data:
                    status += data[: _STATUS_BYTES - len(status)]
                    closing = time.monotonic() + _DRAIN
    except Lost as lost:
        if not status:
            return Ended(lost=f"the connection was lost before the end was said: {lost}")
    if not status:
        return Ended(lost="the connection was ended before the end was said")
    return judged(bytes(status), words[0])


def judged(status: bytes, program: str) -> Ended:
    """What a status object says of the end of ``program``."""
    try:
        found = json.loads(status)
        if found["status"] == "Success":
            return Ended(code=0)
        causes = {
            cause.get("reason"): cause.get("message")
            for cause in (found.get("details") or {}).get("causes") or []
        }
        if found.get("reason") == "NonZeroExitCode":
            return Ended(code=int(causes["ExitCode"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Ended(lost=f"the server's status can't be read: {one_line(repr(status))}")
    text = server_text(status)
    said = one_line(text)
    absent = f'"{program}"' in text and any(words in text for words in _NOT_THERE)
    if absent or any(words in text for words in _NOT_STARTED):
        return Ended(refused=said, absent=absent)
    return Ended(lost=f"the server did not say how it ended: {said}")
