"""The products behind projects, kept among the secrets of other systems.

Invariant: an upstream is known from the moment it was stated and forgotten from the moment it was
removed, in every thread; what is secret of it is kept nowhere else and never shown.
"""

from __future__ import annotations

import threading

from ingest.upstream import Upstream
from runtime.held_secrets import HeldSecrets

_PREFIX = "upstream/"


class Upstreams:
    """One upstream of each kind for each project; any thread may use it."""

    def __init__(self, held: HeldSecrets) -> None:
        self._held = held
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], Upstream] = {}
        for name, document in held.all().items():
            if name.startswith(_PREFIX):
                project, _, kind = name.removeprefix(_PREFIX).partition("/")
                self._known[project, kind] = Upstream.parse(document)

    def find(self, project: str, kind: str) -> Upstream | None:
        """What is behind a project."""
        return self._known.get((project, kind))

    def of(self, project: str) -> tuple[Upstream, ...]:
        """Everything that is behind a project."""
        with self._lock:
            return tuple(there for (of, _), there in sorted(self._known.items()) if of == project)

    def state(self, project: str, there: Upstream) -> None:
        """Have this behind a project from now on, instead of what was there of its kind."""
        with self._lock:
            self._held.keep(f"{_PREFIX}{project}/{there.kind}", there.document())
            self._known[project, there.kind] = there

    def remove(self, project: str, kind: str) -> Upstream | None:
        """Have nothing of this kind behind a project; what was there."""
        with self._lock:
            self._held.drop(f"{_PREFIX}{project}/{kind}")
            return self._known.pop((project, kind), None)
