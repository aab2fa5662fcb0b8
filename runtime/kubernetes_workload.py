"""A workload of a cluster, and its pods.

Invariant: a pod belongs to a workload when its selector fits and its owners lead there, so that
none of another workload is ever taken for it. Which pod is chosen follows from what the server
says alone: a ready one that isn't about to end, of the newest revision, the oldest first.
https://kubernetes.io/docs/concepts/workloads/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import MachineMissing, MachineStopped
from runtime.kubernetes_api import ClusterApi, one_line
from runtime.kubernetes_place import KINDS, Place

PODS_AT_MOST = 1000

_REPLICA_SETS = "/apis/apps/v1/namespaces/{}/replicasets"
_REVISION = "deployment.kubernetes.io/revision"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as it was seen, and its container: ``container_id`` is another one each time that the
    container is started, empty while it doesn't run."""

    namespace: str
    name: str
    uid: str
    container: str
    container_id: str
    ready: bool
    ending: bool
    created: str
    why_not: str

    @property
    def path(self) -> str:
        return f"{KINDS['pod'].format(self.namespace)}/{self.name}"

    def __str__(self) -> str:
        return f"container {self.container} of pod {self.name}"


class Workload:
    """One workload of a cluster."""

    def __init__(self, api: ClusterApi, place: Place) -> None:
        self._api = api
        self.place = place

    def object(self) -> dict[str, Any]:
        """As the server has it. Raises :class:`MachineMissing` and :class:`MachineUnreachable`."""
        return self._api.get(self.place.path)

    def pods(self) -> list[Pod]:
        """All its pods, those of the newest revision first, then the oldest first."""
        return self._pods(self.object())

    def ready_pod(self) -> Pod:
        """The pod that a command runs in now.

        Raises :class:`MachineMissing`, :class:`MachineStopped` with why none is ready, and
        :class:`MachineUnreachable`.
        """
        found = self.object()
        pods = self._pods(found)
        for pod in pods:
            if pod.ready and pod.container_id and not pod.ending:
                return pod
        raise MachineStopped(f"{self.place} has no pod that is ready: {_why(found, pods)}")

    def again(self, pod: Pod) -> Pod:
        """The pod as it is now. Raises as :meth:`ready_pod` does."""
        return _pod(self._api.get(pod.path), pod.container)

    def _pods(self, found: Mapping[str, Any]) -> list[Pod]:
        if self.place.kind == "pod":
            return [_pod(found, self.place.container)]
        owners = self._owners(found)
        pods: list[tuple[int, Pod]] = []
        missing: MachineMissing | None = None
        for item in self._selected(KINDS["pod"], found):
            if (owner := _owner(item)) in owners:
                try:
                    pods.append((owners[owner], _pod(item, self.place.container)))
                except MachineMissing as error:
                    # A pod of another revision may lack what the newest has.
                    missing = error
        if missing is not None and not pods:
            raise missing
        pods.sort(key=lambda entry: (-entry[0], entry[1].created, entry[1].name))
        return [pod for _, pod in pods]

    def _owners(self, found: Mapping[str, Any]) -> dict[str, int]:
        """The uids that a pod's owner is one of, each with its revision."""
        uid = str(found["metadata"]["uid"])
        if self.place.kind != "deployment":
            return {uid: 0}
        return {
            str(item["metadata"]["uid"]): _number(_annotations(item).get(_REVISION))
            for item in self._selected(_REPLICA_SETS, found)
            if _owner(item) == uid
        }

    def _selected(self, path: str, found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        selector = selector_text(found.get("spec", {}).get("selector") or {})
        if not selector:
            # It would be everything in the namespace.
            return iter(())
        return self._api.listed(
            path.format(self.place.namespace), PODS_AT_MOST, {"labelSelector": selector}
        )


def selector_text(selector: Mapping[str, Any]) -> str:
    """A label selector as a query has it."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        key, operator = rule["key"], rule["operator"]
        values = ",".join(rule.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return ",".join(parts)


def desired(found: Mapping[str, Any]) -> int:
    """How many pods a workload is to have."""
    spec, status = found.get("spec", {}), found.get("status", {})
    if "desiredNumberScheduled" in status:
        return int(status["desiredNumberScheduled"])
    if spec.get("suspend"):
        return 0
    return int(spec.get("replicas", spec.get("parallelism", 1)))


def _pod(item: Mapping[str, Any], wanted: str) -> Pod:
    metadata, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
    names = [str(container["name"]) for container in spec.get("containers") or []]
    default = _annotations(item).get(_DEFAULT_CONTAINER)
    container = wanted or (default if default in names else names[0])
    if container not in names:
        raise MachineMissing(
            f"pod {metadata['name']} has no container {container}; it has {', '.join(names)[:200]}"
        )
    state: Mapping[str, Any] = next(
        (s for s in status.get("containerStatuses") or [] if s.get("name") == container), {}
    )
    running = "running" in (state.get("state") or {})
    return Pod(
        namespace=str(metadata["namespace"]),
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        container=container,
        container_id=str(state.get("containerID") or "unnamed") if running else "",
        ready=any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in status.get("conditions") or []
        ),
        ending="deletionTimestamp" in metadata,
        created=str(metadata.get("creationTimestamp", "")),
        why_not=_waits(status, state),
    )


def _waits(status: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The server's words for why a pod isn't ready, where it has some."""
    found = state.get("state") or {}
    for part in (found.get("waiting"), found.get("terminated")):
        if part:
            return one_line(f"{part.get('reason', '')} {part.get('message', '')}")
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return one_line(f"{condition.get('reason', '')} {condition['message']}")
    return one_line(str(status.get("phase", "")))


def _why(found: Mapping[str, Any], pods: list[Pod]) -> str:
    for condition in found.get("status", {}).get("conditions") or []:
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return f"it has ended ({condition['type']})"
    if not pods:
        number = desired(found)
        return "it is scaled to 0; scale it up first" if number == 0 else f"0 of {number} are there"
    first = pods[0]
    words = "it is about to end" if first.ending else first.why_not or "its container doesn't run"
    return f"{len(pods)} of {desired(found)} are there, and {first.name}: {words}"


def _owner(item: Mapping[str, Any]) -> str:
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            return str(owner.get("uid"))
    return ""


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item["metadata"].get("annotations") or {}


def _number(text: object) -> int:
    digits = str(text)
    return int(digits) if digits.isdecimal() and len(digits) < 19 else 0
