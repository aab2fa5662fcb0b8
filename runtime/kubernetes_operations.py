"""The operations on a workload that are asked for like commands.

Invariant: their words are read whole or refused before anything is asked of the cluster. Each
answers with an exit code and text on the command's output, within its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from json import dumps

from runtime.commands import Command, Stream
from runtime.counted_output import CountedOutput
from runtime.errors import CommandRefused
from runtime.kubernetes_api import ClusterApi
from runtime.kubernetes_rollout import LINES_AT_MOST, Rollout
from runtime.kubernetes_workload import Workload

OPERATION = "kubernetes:"
LOGS = "kubernetes:logs"
READY = "kubernetes:ready"
RESTART = "kubernetes:rollout-restart"
STATUS = "kubernetes:rollout-status"

_LINES = 200
_USAGE = {
    LOGS: f"{LOGS} [--tail LINES] [--previous], at most {LINES_AT_MOST} lines",
    READY: READY,
    RESTART: RESTART,
    STATUS: STATUS,
}


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an operation; ``unknown`` says why nothing is known of its end."""

    code: int | None
    unknown: str = ""


def operate(
    api: ClusterApi, workload: Workload, command: Command, output: CountedOutput, at: datetime
) -> Done:
    """Carry out the operation that the command names; ``at`` is the time of a restart.

    Raises :class:`CommandRefused` for what is none, and :class:`MachineError` when nothing was
    done.
    """
    name, words = command.argv[0], command.argv[1:]
    lines, previous = _read(name, words)
    rollout = Rollout(api, workload)
    if name == LOGS:
        # One more, so that it shows when there is more.
        limit = command.output_bytes + 1
        output.heard(Stream.STDOUT, rollout.logs(lines=lines, limit=limit, previous=previous))
        return Done(0)
    if name == RESTART:
        unknown = rollout.restart(at)
        return Done(None, unknown) if unknown else Done(0)
    found = rollout.status()
    output.heard(Stream.STDOUT, dumps(asdict(found), separators=(",", ":")).encode() + b"\n")
    good = found.complete if name == STATUS else found.ready >= max(found.desired, 1)
    return Done(0 if good else 1)


def _read(name: str, words: Sequence[str]) -> tuple[int, bool]:
    """How many lines, and whether of the container before."""
    usage = _USAGE.get(name)
    if usage is None:
        raise CommandRefused(f"{name!r} is no operation; there are: {', '.join(_USAGE)}")
    lines, previous, left = _LINES, False, list(words) if name == LOGS else []
    while left:
        word = left.pop(0)
        if word == "--previous" and not previous:
            previous = True
        elif word == "--tail" and left and left[0].isdecimal() and len(left[0]) < 6:
            lines = int(left.pop(0))
        else:
            raise CommandRefused(f"it is asked for as: {usage}")
    if (words and name != LOGS) or not 0 < lines <= LINES_AT_MOST:
        raise CommandRefused(f"it is asked for as: {usage}")
    return lines, previous
