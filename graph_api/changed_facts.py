"""Facts that were classified again under the stewards, which are to read them once more.

Invariant: which ones is on disk before they are written, and stays until a steward will read them:
a crash in between loses no change. While facts are being written nobody is told of them yet.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ingest.inbox import Inbox

_STATE = "facts changed under the stewards"

Note = Callable[[Mapping[str, int]], None]


class ChangedFacts:
    """By project, the first batch whose facts changed. Any thread may call."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._lock = threading.Lock()
        self._writing = 0
        self._ready = self._noted()

    @contextmanager
    def writing(self) -> Iterator[Note]:
        """While facts are written again: what is to be called with those that will change, before
        they do."""
        with self._lock:
            self._writing += 1
        try:
            yield self._note
        finally:
            with self._lock:
                self._writing -= 1
                for project, seq in self._noted().items():
                    self._ready[project] = min(seq, self._ready.get(project, seq))

    def to_read(self) -> dict[str, int]:
        """What is to be read again, and from which batch on."""
        with self._lock:
            return dict(self._ready)

    def will_be_read(self, project: str, seq: int) -> None:
        """The project's steward will read its facts again from this batch on, also after a
        crash."""
        with self._lock:
            if self._ready.get(project, seq - 1) < seq:
                return
            self._ready.pop(project, None)
            noted = self._noted()
            # What is being written is told once it is there.
            if not self._writing and noted.pop(project, None) is not None:
                self._keep(noted)

    def _note(self, changed: Mapping[str, int]) -> None:
        with self._lock:
            before = self._noted()
            noted = before | {
                project: min(seq, before.get(project, seq)) for project, seq in changed.items()
            }
            if noted != before:
                self._keep(noted)

    def _noted(self) -> dict[str, int]:
        noted: dict[str, int] = json.loads(self._inbox.state(_STATE) or "{}")
        return noted

    def _keep(self, noted: Mapping[str, int]) -> None:
        self._inbox.set_state(_STATE, json.dumps(noted))
