"""Who waits for a query worker, and whose turn is next.

Invariant: the principals take turns, whoever asked first or most; one of them can neither fill the
queue alone nor keep more workers busy than it may. A job's future is settled exactly once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graph_api.query_messages import Reply
from ontology.snapshots import Lease

if TYPE_CHECKING:
    from graph_api.query_process import WorkerProcess

MOST_WAITING = 256
MOST_WAITING_EACH = 64


class Saturated(Exception):
    """So much waits already that this task can't."""


@dataclass(slots=True, eq=False)
class Job:
    """A task on its way; ``future`` gets the reply, or why there is none."""

    principal: str
    lease: Lease
    data: bytes
    seconds: float
    future: asyncio.Future[Reply]
    worker: WorkerProcess | None = None
    deadline: float = 0.0


@dataclass(slots=True)
class Queue:
    """What waits, by principal; the principals take turns."""

    size: int = 0
    by_principal: OrderedDict[str, deque[Job]] = field(default_factory=OrderedDict)

    def add(self, job: Job) -> None:
        waiting = self.by_principal.setdefault(job.principal, deque())
        if self.size >= MOST_WAITING or len(waiting) >= MOST_WAITING_EACH:
            raise Saturated
        waiting.append(job)
        self.size += 1

    def take(self, running: Mapping[str, int], most: int) -> Job | None:
        for principal, waiting in self.by_principal.items():
            if running.get(principal, 0) < most:
                job = waiting.popleft()
                self._taken(principal, waiting)
                return job
        return None

    def remove(self, job: Job) -> None:
        waiting = self.by_principal.get(job.principal)
        if waiting is not None and job in waiting:
            waiting.remove(job)
            self._taken(job.principal, waiting)

    def _taken(self, principal: str, waiting: deque[Job]) -> None:
        self.size -= 1
        if waiting:
            self.by_principal.move_to_end(principal)
        else:
            del self.by_principal[principal]
