"""Pushes the catalog to a DataHub: what changed since the last push, and what is gone.

Invariant: what was pushed is remembered by the head it was read at, so the same head again asks
nothing of DataHub, and a push that was stopped anywhere, by kill -9 too, goes on without loss: what
it told twice is the same. DataHub is never read as truth. Nothing of DataHub is imported before a
push begins, and neither are the plugin's modules that know how to say things.
Source: docs/decisions/datahub-push.md
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from stewards.datahub_state import Document
from stewards.errors import PushNeedsPerson

LONGEST_REST = 5.0
"""Seconds of waiting after which a push tells that it lives, and sees whether it shall stop."""


@dataclass(frozen=True, slots=True)
class Source:
    """The platform: its address, a token that reads the catalog, and options of a recipe of the
    source plugin (``docs/catalog.md``), such as ``stores``."""

    url: str
    token: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A DataHub: the address of its metadata service, a token where it asks for one, and the
    seconds that an answer may take."""

    url: str
    token: str | None = field(default=None, repr=False)
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to. ``head`` is the head that DataHub knows now, -1 for none; ``emitted``
    and ``removed`` count URNs, ``dead`` those that DataHub refuses at present. ``finished`` is
    false where the push was told to stop."""

    head: int
    emitted: int
    removed: int
    dead: int
    seconds: float
    finished: bool = True


class Stopped(Exception):
    """The push was told to stop."""


@dataclass(frozen=True, slots=True)
class Life:
    """How a push tells that it lives, sees that it shall stop, and passes the time. Between two
    beats lies one request at most, which may take ``Target.timeout`` to connect and once more to be
    answered, or a page of the catalog."""

    heartbeat: Callable[[Mapping[str, Any]], None] = lambda details: None
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], object] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    random: Random = field(default_factory=Random)

    def beat(self, details: Mapping[str, Any]) -> None:
        """Tells how far the push is. Raises :class:`Stopped` where it shall stop."""
        self.heartbeat(details)
        if self.stopping():
            raise Stopped

    def rest(self, seconds: float, details: Mapping[str, Any]) -> None:
        """Waits, alive all the while."""
        while seconds > 0:
            self.beat(details)
            self.sleep(min(seconds, LONGEST_REST))
            seconds -= LONGEST_REST


def push(
    source: Source,
    target: Target,
    *,
    load: Callable[[], Document | None],
    save: Callable[[Document], None],
    life: Life | None = None,
    again: bool = False,
    whole: bool = False,
) -> Pushed:
    """Brings a DataHub up to the newest head of the catalog.

    ``load`` gives the document that ``save`` was last given, ``None`` before the first time; one
    document serves any number of DataHubs, one push at a time. ``again`` tries what DataHub refused
    earlier, ``whole`` tells everything once more, as for a DataHub that lost something, and takes
    what is gone for gone, however much it is.

    Raises :class:`stewards.errors.PushLater` and :class:`stewards.errors.PushNeedsPerson`, the
    latter also where the options or what is installed doesn't do.
    """
    place = urlsplit(target.url)
    if place.scheme not in ("http", "https") or not place.hostname or "@" in place.netloc:
        raise PushNeedsPerson(
            "the address of DataHub is to begin with http:// or https://, and its token isn't in it"
        )
    target = Target(target.url.rstrip("/"), target.token, target.timeout)
    try:
        with _silent():
            from stewards.datahub_reading import Push
    except ImportError as error:
        raise PushNeedsPerson(
            f"a push needs DataHub's client and the source plugin ({error}):"
            " pip install 'fractalops[datahub]' and the wheel of stewards/datahub"
        ) from error
    return Push(source, target, load, save, life or Life()).run(again=again, whole=whole)


@contextmanager
def _silent() -> Iterator[None]:
    """DataHub's client looks at these when it is first imported: whether to tell its makers what it
    does, and where the errors of this process should go."""
    if "datahub" in sys.modules:
        yield
        return
    os.environ["DATAHUB_TELEMETRY_ENABLED"] = "false"
    address = os.environ.pop("SENTRY_DSN", None)
    try:
        yield
    finally:
        if address is not None:
            os.environ["SENTRY_DSN"] = address
