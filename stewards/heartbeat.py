"""A call that takes its time, while whoever executes it hears that it is alive.

Invariant: a call that may be left is left once its activity is to stop, so that no executor waits
for a platform that doesn't answer; its thread holds up the end of no process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from stewards.activities import Pulse
from stewards.errors import JobStopped

BEAT = 1.0
"""Seconds between two beats."""
_LOOK = 0.25

T = TypeVar("T")


def while_alive(call: Callable[[], T], pulse: Pulse, *, leave: bool = True) -> T:
    """What the call gives, or raises; the pulse beats meanwhile.

    Raises :class:`JobStopped` where it is left; one that looks itself for whether to stop isn't to
    be left.
    """
    given: list[T] = []
    raised: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            given.append(call())
        except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
            raised.append(error)
        finally:
            ended.set()

    threading.Thread(target=run, name="job", daemon=True).start()
    until_beat = 0.0
    while not ended.wait(_LOOK):
        if leave and pulse.stopping():
            raise JobStopped("told to stop while the platform was waited for")
        until_beat -= _LOOK
        if until_beat <= 0:
            pulse.beat(pulse.left)
            until_beat = BEAT
    if raised:
        raise raised[0]
    return given[0]
