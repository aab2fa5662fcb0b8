"""What is read of a cluster's objects and status, and of an asset's locators."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.adapters import machine
from runtime.assets import Locators
from runtime.errors import AdapterError
from runtime.kubernetes_adapter import KubernetesWorkload
from runtime.kubernetes_api import one_line, server_words
from runtime.kubernetes_cluster import KubernetesCluster
from runtime.kubernetes_exec import Ended, judged
from runtime.kubernetes_rollout import RolloutStatus, rollout_status
from runtime.kubernetes_workload import desired, selector_text
from runtime.machines import Reach

CLUSTER = KubernetesCluster("shop", server="https://kube.example.net")
OTHER = KubernetesCluster("bank", server="https://bank.example.net")


def reach(*clusters: KubernetesCluster) -> Reach:
    named = {cluster.name: cluster for cluster in clusters}
    return Reach(lambda: datetime(2026, 11, 28, tzinfo=UTC), clusters=named)


def test_a_workload_is_opened_and_not_asked() -> None:
    locators = Locators(cluster="shop", namespace="web", workload="deployment/front.end")
    found = machine("kubernetes", locators, reach(CLUSTER, OTHER))
    assert isinstance(found, KubernetesWorkload)
    assert found.cluster is CLUSTER
    assert str(found.place) == "deployment/front.end in web"
    # The only cluster need not be named.
    alone = Locators(namespace="web", workload="deployment/front")
    assert isinstance(machine("kubernetes", alone, reach(CLUSTER)), KubernetesWorkload)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown cluster": ({"cluster": "other"}, "no cluster 'other' is configured"),
    "no cluster of several": ({"cluster": ""}, "the locator cluster is left out"),
    "a node": ({"node": "pve"}, "no node"),
    "no namespace": ({"namespace": ""}, "'' is not the name of a namespace"),
    "a path for a namespace": ({"namespace": "a/b"}, "not the name of a namespace"),
    "a strange kind": ({"workload": "secret/a"}, "'secret/a' is not a workload; it is one of depl"),
    "no kind": ({"workload": "web"}, "'web/' is not a workload"),
    "a path for a name": ({"workload": "pod/../a"}, "is not a workload"),
    "a line in a name": ({"workload": "pod/a\n"}, "is not a workload"),
    "a strange container": ({"container": "A b"}, "'A b' is not the name of a container"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_locators_are_refused(case: str) -> None:
    changes, said = WRONG[case]
    right = {"cluster": "shop", "namespace": "web", "workload": "deployment/front"}
    with pytest.raises(AdapterError, match=said):
        machine("kubernetes", Locators(**{**right, **changes}), reach(CLUSTER, OTHER))


def exit_code(code: object) -> dict[str, Any]:
    causes = [{"reason": "ExitCode", "message": code}]
    return {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}


STARTED = (
    f'failed to exec in container: failed to start exec "{"0" * 64}": OCI runtime exec failed: exec'
    ' failed: unable to start container process: exec: "sh": executable file not found in $PATH'
)
AWAY = (
    'Internal error occurred: error sending request: Post "https://10.0.0.1:10250/exec/shop/web?comm'
    f'and={"%0A" * 1000}": dial tcp 10.0.0.1:10250: connect: connection refused'
)
ENDS: dict[str, tuple[object, Ended]] = {
    "success": ({"status": "Success"}, Ended(code=0)),
    "a code": (exit_code("3"), Ended(code=3)),
    "no program": (
        {"status": "Failure", "message": f"Internal error occurred: {STARTED}"},
        Ended(refused=STARTED, absent=True),
    ),
    "another program": (
        {"status": "Failure", "message": STARTED.replace('"sh"', '"env"')},
        Ended(refused=STARTED.replace('"sh"', '"env"')),
    ),
    "no container": (
        {"status": "Failure", "message": "container not found (a)"},
        Ended(refused="container not found (a)"),
    ),
    "a node that is away": (
        {"status": "Failure", "message": AWAY},
        Ended(
            refused="error sending request: Post its node: dial tcp 10.0.0.1:10250: connect:"
            " connection refused"
        ),
    ),
    "something else": (
        {"status": "Failure", "message": "command timed\nout"},
        Ended(lost="the server did not say how it ended: command timed out"),
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_how_a_status_is_judged(case: str) -> None:
    said, ended = ENDS[case]
    assert judged(json.dumps(said).encode(), "sh") == ended


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b"null", b"{}", b"[" * 100_000, json.dumps(exit_code("x")).encode()]
)
def test_a_status_that_says_nothing_is_no_success(said: bytes) -> None:
    ended = judged(said, "sh")
    assert (ended.code, ended.refused) == (None, "")
    assert ended.lost.startswith("the server's status can't be read: ")


@given(st.binary())
def test_any_status_is_judged(said: bytes) -> None:
    ended = judged(said, "sh")
    assert ended.code is None or json.loads(said)["status"]


@given(st.text())
def test_a_strangers_words_are_one_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 400
    assert server_words(text.encode(errors="replace")).isprintable()


def deployment(**status: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"generation": 2},
        "spec": {"replicas": 3},
        "status": {"observedGeneration": 2, **status},
    }


ALL = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
LATE = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": "it waits",
}
DAEMON = {
    "desiredNumberScheduled": 2,
    "updatedNumberScheduled": 2,
    "numberReady": 1,
    "numberAvailable": 1,
}
ROLLOUTS: dict[str, tuple[dict[str, Any], RolloutStatus]] = {
    "complete": (deployment(**ALL), RolloutStatus(3, 3, 3, 3, True)),
    "not yet seen": (
        deployment(**ALL, observedGeneration=1),
        RolloutStatus(3, 3, 3, 3, False),
    ),
    "old pods too": (deployment(**{**ALL, "replicas": 4}), RolloutStatus(3, 3, 3, 3, False)),
    "some": (
        deployment(**{**ALL, "updatedReplicas": 1, "readyReplicas": 2}),
        RolloutStatus(3, 1, 2, 3, False),
    ),
    "nothing yet": (deployment(), RolloutStatus(3, 0, 0, 0, False)),
    "given up": (
        deployment(**ALL, conditions=[LATE]),
        RolloutStatus(3, 3, 3, 3, False, "ProgressDeadlineExceeded it waits"),
    ),
    "a daemon set": (
        {"kind": "DaemonSet", "metadata": {}, "spec": {}, "status": DAEMON},
        RolloutStatus(2, 2, 1, 1, False),
    ),
    "a pod": (
        {"kind": "Pod", "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        RolloutStatus(1, 1, 1, 1, True),
    ),
    "a job": (
        {"kind": "Job", "spec": {"parallelism": 2}, "status": {"ready": 1}},
        RolloutStatus(2, 1, 1, 1, False),
    ),
}


@pytest.mark.parametrize("case", ROLLOUTS)
def test_how_far_a_rollout_is(case: str) -> None:
    found, status = ROLLOUTS[case]
    assert rollout_status(found) == status


def test_a_selector_as_a_query_has_it() -> None:
    rules = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "new", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": rules}
    assert selector_text(selector) == "app=web,tier in (a,b),!old,new,zone notin (x)"
    assert selector_text({}) == ""


@pytest.mark.parametrize(
    ("found", "number"),
    [
        ({}, 1),
        ({"spec": {"replicas": 0}}, 0),
        ({"spec": {"parallelism": 4}}, 4),
        ({"spec": {"parallelism": 4, "suspend": True}}, 0),
        ({"status": {"desiredNumberScheduled": 7}}, 7),
    ],
    ids=str,
)
def test_how_many_pods_are_wanted(found: dict[str, Any], number: int) -> None:
    assert desired(found) == number
