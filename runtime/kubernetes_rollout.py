"""What is done with a workload as a whole: logs, the status of a rollout, a restart, readiness.

Invariant: a restart is one change of the pod template, sent once; everything else only reads. What
a rollout has come to is said of the generation that was asked for, and of no older one.
https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runtime.errors import CommandRefused
from runtime.kubernetes_api import ClusterApi, one_line
from runtime.kubernetes_workload import Pod, Workload, desired

LINES_AT_MOST = 10_000
RESTARTED = "kubectl.kubernetes.io/restartedAt"
"""The annotation by which ``kubectl rollout restart`` makes new pods."""

_RESTARTABLE = ("deployment", "statefulset", "daemonset")


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How far a rollout is: numbers are of pods. ``complete`` says that all that are wanted are of
    the newest revision and available; ``failed`` has the server's words when it gave up."""

    desired: int
    updated: int
    ready: int
    available: int
    complete: bool
    failed: str = ""


class Rollout:
    """The operations on one workload; each raises a :class:`MachineError` when nothing was done."""

    def __init__(self, api: ClusterApi, workload: Workload) -> None:
        self._api = api
        self._workload = workload

    def status(self) -> RolloutStatus:
        return rollout_status(self._workload.object())

    def ready(self) -> bool:
        """Whether as many pods are ready as are wanted, and any is."""
        found = self.status()
        return found.ready >= max(found.desired, 1)

    def restart(self, at: datetime) -> str:
        """Make new pods, one after the other; empty when the server took it, else why that isn't
        known. Raises :class:`CommandRefused` for what has no rollout."""
        place = self._workload.place
        if place.kind not in _RESTARTABLE:
            raise CommandRefused(f"a {place.kind} can't be restarted; {_RESTARTABLE} can")
        stamp = at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        annotations = {"metadata": {"annotations": {RESTARTED: stamp}}}
        return self._api.patched(place.path, {"spec": {"template": annotations}})

    def logs(self, *, lines: int, limit: int, previous: bool = False) -> bytes:
        """The last lines of the container's log, at most ``limit`` bytes; ``previous`` is that of
        the container before it was started again. Pods that are not ready are looked at too."""
        if not 0 < lines <= LINES_AT_MOST:
            raise CommandRefused(f"logs have 1 to {LINES_AT_MOST} lines")
        pod = self._pod()
        query = {
            "container": pod.container,
            "tailLines": str(lines),
            "limitBytes": str(limit),
        }
        query |= {"previous": "true"} if previous else {}
        return self._api.text(f"{pod.path}/log", limit, query)

    def _pod(self) -> Pod:
        pods = self._workload.pods()
        ready = [pod for pod in pods if pod.ready and not pod.ending]
        return (ready or pods or [self._workload.ready_pod()])[0]


def rollout_status(found: Mapping[str, Any]) -> RolloutStatus:
    """What an object of any kind of workload says of itself."""
    kind, status = found.get("kind"), found.get("status") or {}
    wanted = desired(found)
    if kind == "Pod":
        ready = int(_condition(status, "Ready").get("status") == "True")
        return RolloutStatus(1, 1, ready, ready, bool(ready))
    if kind == "Job":
        ready, done = int(status.get("ready", 0)), _condition(status, "Complete")
        ended = _condition(status, "Failed")
        return RolloutStatus(wanted, ready, ready, ready, bool(done), _said(ended))
    if kind == "DaemonSet":
        numbers = ("updatedNumberScheduled", "numberReady", "numberAvailable")
    else:
        numbers = ("updatedReplicas", "readyReplicas", "availableReplicas")
    updated, ready, available = (int(status.get(number, 0)) for number in numbers)
    seen = int(status.get("observedGeneration", 0)) >= int(found["metadata"].get("generation", 0))
    progress = _condition(status, "Progressing")
    failed = _said(progress) if progress.get("reason") == "ProgressDeadlineExceeded" else ""
    # Pods of the older revision count too until they are gone.
    total = int(status.get("replicas", updated))
    complete = seen and total == updated and updated >= wanted and available >= wanted
    return RolloutStatus(wanted, updated, ready, available, complete and not failed, failed)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind and (kind == "Progressing" or _holds(condition)):
            return dict(condition)
    return {}


def _holds(condition: Mapping[str, Any]) -> bool:
    return condition.get("status") == "True"


def _said(condition: Mapping[str, Any]) -> str:
    return one_line(f"{condition.get('reason', '')} {condition.get('message', '')}")
