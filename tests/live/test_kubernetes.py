"""Commands in workloads of a cluster: what they are given, how they end, and what is left of them.

Each test runs on a played API server, and on a real one (API server, etcd, controllers, kwok) where
its programs are on PATH, or in the folder that FRACTALOPS_TEST_KUBE_BIN names.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.commands import MARK, Command, Kept, Outcome, Stream
from runtime.errors import (
    CommandRefused,
    MachineMissing,
    MachineStopped,
    MachineUnreachable,
    RuntimeFloorError,
)
from runtime.kubernetes_api import ClusterApi
from runtime.kubernetes_channels import PROTOCOLS, Lost, opened
from runtime.kubernetes_discovery import SeenWorkload, workloads
from runtime.kubernetes_place import Place
from runtime.kubernetes_workload import Workload
from runtime.machines import Machine
from tests.live.asked import Asked, ask, run_id
from tests.live.conftest import wait_until
from tests.live.kube_authority import HOST, Authority
from tests.live.kube_played import PlayedKube
from tests.live.kube_relay import Relay
from tests.live.kube_server import KubeServer
from tests.live.kube_shop import APPS, CLUSTERS, CORE, Shop, cluster, template
from tests.live.run_processes import left_of

pytestmark = pytest.mark.live

HOSTILE = ("a b", "it's", '"', "a\nb", "-x", "--", "", "$HOME", "`id`", "*", "\\", "é", "x=y", "&")


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module", params=CLUSTERS)
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    with cluster(request.param, tmp_path_factory.mktemp("kube")) as made:
        yield made


@pytest.fixture
def web(shop: Shop) -> Machine:
    return shop.workload()


def test_a_command_runs_in_a_ready_pod(web: Machine) -> None:
    web.check(run_id())
    outcome, kept = ask(web, "sh", "-c", "echo $container; echo no >&2")
    assert (outcome.exit_code, outcome.unknown) == (0, None)
    assert (outcome.succeeded, kept.stdout, kept.stderr) == (True, b"played\n", b"no\n")
    assert outcome.started <= outcome.ended


def test_arguments_and_bytes_arrive_as_they_are(web: Machine) -> None:
    _, kept = ask(web, "printf", r"%s\n--\n", *HOSTILE)
    assert kept.stdout.decode() == "".join(f"{argument}\n--\n" for argument in HOSTILE)
    binary = bytes(range(256)) * 2000
    outcome, kept = ask(web, "cat", stdin=binary)
    assert (outcome.succeeded, kept.stdout) == (True, binary)
    # It ends without having read its input.
    assert ask(web, "true", stdin=binary)[0].succeeded


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_any_arguments_arrive(web: Machine, arguments: list[str]) -> None:
    kept = Kept()
    argv = ("printf", r"%s\0", "-first", *arguments)
    assert web.run(Command(run_id(), argv), sink=kept, cancel=Event()).succeeded
    assert kept.stdout == b"".join(a.encode() + b"\0" for a in ["-first", *arguments])


def test_exit_codes_are_the_commands_own(web: Machine) -> None:
    for code in (0, 1, 2, 126, 255):
        outcome, _ = ask(web, "sh", "-c", f"exit {code}")
        assert (outcome.exit_code, outcome.unknown) == (code, None)
    # There is one number for both.
    outcome, kept = ask(web, "sh", "-c", "kill -KILL $$")
    assert (outcome.exit_code, outcome.unknown, kept.stderr) == (137, None, b"")
    outcome, kept = ask(web, "no-such-program")
    assert outcome.exit_code == 127
    assert b"no-such-program" in kept.stderr


def test_the_environment_is_what_was_permitted(
    web: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "secret")
    kept = Kept()
    command = Command(run_id(), ("env",), environment={"LANG": "de DE"})
    web.run(command, sink=kept, cancel=Event())
    said = dict(line.split("=", 1) for line in kept.stdout.decode().splitlines())
    assert (said["LANG"], said[MARK], "OURS" in said) == ("de DE", command.run, False)
    with pytest.raises(CommandRefused, match="may not set LD_PRELOAD"):
        web.run(Command(run_id(), ("env",), {"LD_PRELOAD": "x"}), sink=kept, cancel=Event())


def test_what_is_more_than_the_limit_is_counted_and_digested(web: Machine) -> None:
    heard = 0

    def sink(stream: Stream, chunk: bytes) -> None:
        nonlocal heard
        heard += len(chunk)

    size = 50_000_000
    command = Command(run_id(), ("head", "-c", str(size), "/dev/zero"), output_bytes=1000)
    outcome = web.run(command, sink=sink, cancel=Event())
    assert (outcome.stdout.size, outcome.stdout.passed, heard) == (size, 1000, 1000)
    assert outcome.truncated
    assert outcome.succeeded


def test_a_command_that_never_ends_or_forks_away_is_ended(web: Machine) -> None:
    outcome, _ = ask(web, "sleep", "600", seconds=0.5)
    assert (outcome.timed_out, outcome.unknown) == (True, None)
    outcome, kept = ask(web, "sh", "-c", "setsid sleep 600 & echo started")
    assert (outcome.succeeded, kept.stdout) == (True, b"started\n")


def test_a_cancelled_command_is_ended(web: Machine) -> None:
    command = Command(run_id(), ("sh", "-c", "echo; setsid sleep 600 & exec sleep 600"))
    with Asked(web, command) as asked:
        asked.cancel.set()
        outcome = asked.ended()
    assert (outcome.cancelled, outcome.unknown) == (True, None)
    assert left_of(command.run) == []
    before = Event()
    before.set()
    outcome = web.run(command, sink=Kept(), cancel=before)
    assert (outcome.cancelled, outcome.exit_code) == (True, None)


def test_what_the_sink_raises_ends_the_command(web: Machine) -> None:
    def full(stream: Stream, chunk: bytes) -> None:
        raise OSError("no space left")

    command = Command(run_id(), ("sh", "-c", "echo; exec sleep 600"))
    with pytest.raises(OSError, match="no space left"):
        web.run(command, sink=full, cancel=Event())
    assert left_of(command.run) == []


def test_a_container_without_a_shell(shop: Shop) -> None:
    bare = shop.workload(container="bare")
    outcome, kept = ask(bare, "echo", "-n", "a b")
    assert (outcome.succeeded, kept.stdout) == (True, b"a b")
    assert ask(bare, "cat", stdin=b"in")[1].stdout == b"in"
    with pytest.raises(MachineUnreachable, match=r'started nothing: .*"no-such-program"'):
        ask(bare, "no-such-program")
    with pytest.raises(MachineUnreachable, match=r'started nothing: .*"sh"'):
        bare.run(Command(run_id(), ("true",), {"LANG": "C"}), sink=Kept(), cancel=Event())
    # What can't be marked can't be ended.
    outcome, _ = ask(bare, "sleep", "3", seconds=0.5)
    assert (outcome.timed_out, outcome.succeeded) == (True, False)
    assert "could not be ended" in str(outcome.unknown)
    assert not bare.end(run_id())


def test_a_pod_that_is_deleted_mid_command(shop: Shop) -> None:
    shop.deploy("gone", 1, "main")
    (pod,) = shop.pods("gone")
    gone = shop.workload("deployment/gone")
    command = Command(run_id(), ("sh", "-c", "echo; exec sleep 600"))
    with Asked(gone, command) as asked:
        shop.kube.ask("DELETE", f"{CORE}/pods/{pod}")
        wait_until(lambda: pod not in shop.pods("gone"), "the end of the pod")
        # What the container's end does to all in it.
        for process in left_of(command.run):
            os.kill(process, signal.SIGKILL)
        outcome = asked.ended()
    assert (outcome.exit_code, outcome.signal, outcome.succeeded) == (None, None, False)
    assert f"container main of pod {pod}" in str(outcome.unknown)
    wait_until(lambda: bool(shop.pods("gone")), "another pod")
    wait_until(lambda: _runs(gone), "a pod that is ready")


def _runs(asked: Machine) -> bool:
    try:
        asked.check(run_id())
    except MachineStopped:
        return False
    return True


def test_a_lost_connection_is_no_success(shop: Shop) -> None:
    relay = Relay(urlsplit(shop.kube.address).port or 0)
    try:
        far = shop.workload(cluster=shop.cluster(server=f"https://{HOST}:{relay.port}"))
        command = Command(run_id(), ("sh", "-c", "echo; sleep 600; exit 0"))
        with Asked(far, command) as asked:
            relay.cut()
            outcome = asked.ended()
        assert (outcome.exit_code, outcome.succeeded) == (None, False)
        assert "lost before the end was said" in str(outcome.unknown)
        assert left_of(command.run) != []
        assert far.end(command.run)
        assert left_of(command.run) == []
    finally:
        relay.close()
    with pytest.raises(MachineUnreachable, match="can't be reached"):
        far.check(run_id())
    assert not far.end(run_id())


def test_credentials_that_expire_mid_command(shop: Shop) -> None:
    cluster = shop.cluster(shop.account("passing", role="cluster-admin"))
    web = shop.workload(cluster=cluster)
    command = Command(run_id(), ("sh", "-c", "echo; exec sleep 600"))
    with Asked(web, command) as asked:
        shop.kube.ask("DELETE", f"{CORE}/serviceaccounts/passing")
        wait_until(lambda: "not accepted" in _refusal(web), "the end of the token")
        asked.cancel.set()
        outcome = asked.ended()
    assert (outcome.cancelled, outcome.succeeded) == (True, False)
    assert "could not be ended" in str(outcome.unknown)
    assert not web.end(command.run)
    assert shop.workload().end(command.run)
    assert left_of(command.run) == []


def _refusal(asked: Machine) -> str:
    try:
        asked.check(run_id())
    except RuntimeFloorError as error:
        return str(error)
    return ""


def test_what_may_not_be_asked(shop: Shop) -> None:
    stranger = shop.workload(cluster=shop.cluster("not-a-token-of-it"))
    said = _refusal(stranger)
    assert "its credentials are not accepted; renew those of its kubeconfig" in said
    assert "not-a-token" not in said
    nobody = shop.workload(cluster=shop.cluster(shop.account("nobody")))
    assert "its account may not do this; give it the right (403: " in _refusal(nobody)
    with pytest.raises(MachineUnreachable):
        ask(nobody, "true")


def test_a_server_that_is_another(shop: Shop, tmp_path: Path) -> None:
    other = str(Authority(tmp_path, "other").path)
    said = _refusal(shop.workload(cluster=shop.cluster(**{"certificate-authority": other})))
    assert "its server's certificate is not of the authority that is trusted" in said
    named = shop.cluster(**{"tls-server-name": "elsewhere.test"})
    assert "Hostname mismatch" in _refusal(shop.workload(cluster=named))
    # The websocket is a connection of its own.
    with ClusterApi(shop.cluster()) as api, ClusterApi(named) as wrong:
        (pod, *_) = Workload(api, Place("shop", "deployment", "web")).pods()
        with pytest.raises(MachineUnreachable, match="Hostname mismatch"):
            opened(wrong, f"{pod.path}/exec", [("command", "true")], PROTOCOLS)


def test_what_is_not_there_or_stopped(shop: Shop) -> None:
    with pytest.raises(MachineMissing, match='"nothing" not found'):
        shop.workload("deployment/nothing").check(run_id())
    with pytest.raises(MachineMissing, match="has no container other; it has main, bare"):
        shop.workload(container="other").check(run_id())
    shop.deploy("idle", 1, "main")
    path = f"{APPS}/deployments/idle"
    shop.kube.ask("PATCH", path, {"spec": {"replicas": 0}})
    wait_until(lambda: not shop.pods("idle"), "the end of the pods")
    with pytest.raises(MachineStopped, match="scaled to 0; scale it up first"):
        shop.workload("deployment/idle").check(run_id())
    assert shop.workload("deployment/idle").end(run_id())


def test_another_workload_with_the_same_labels_is_not_taken(shop: Shop) -> None:
    pod = template("web", "main") | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"]["name"] = "a-stranger"
    shop.kube.ask("POST", f"{CORE}/pods", pod)
    wait_until(lambda: _runs(shop.workload("pod/a-stranger")), "the pod")
    found = pods_of(shop)
    assert found
    assert not [name for name in found if not name.startswith("web-")]
    shop.kube.ask("DELETE", f"{CORE}/pods/a-stranger")


def pods_of(shop: Shop) -> list[str]:
    with ClusterApi(shop.cluster()) as api:
        return [pod.name for pod in Workload(api, Place("shop", "deployment", "web")).pods()]


@pytest.mark.parametrize("kind", ["statefulset", "job"])
def test_other_kinds_of_workloads(shop: Shop, kind: str) -> None:
    body: dict[str, Any] = {
        "metadata": {"name": kind},
        "spec": {"template": template(kind, "main")},
    }
    if kind == "job":
        body["spec"]["template"]["spec"]["restartPolicy"] = "Never"
        path = "/apis/batch/v1/namespaces/shop/jobs"
    else:
        body["spec"] |= {"selector": {"matchLabels": {"app": kind}}, "serviceName": kind}
        path = f"{APPS}/statefulsets"
    shop.kube.ask("POST", path, body)
    found = shop.workload(f"{kind}/{kind}")
    if kind == "job" and isinstance(shop.kube, KubeServer):
        # kwok ends the pods of jobs at once.
        wait_until(lambda: "has ended (Complete)" in _refusal(found), "the end of the job")
        return
    wait_until(lambda: _runs(found), "a pod that is ready")
    assert ask(found, "true")[0].succeeded


def test_operations_on_a_workload(shop: Shop) -> None:
    shop.deploy("rolled", 2, "main")
    rolled = shop.workload("deployment/rolled")
    outcome, kept = ask(rolled, "kubernetes:logs", "--tail", "2")
    assert (outcome.succeeded, kept.stdout) == (True, b"line 999\nline 1000\n")
    short = Command(run_id(), ("kubernetes:logs",), output_bytes=10)
    outcome = rolled.run(short, sink=(cut := Kept()), cancel=Event())
    assert (cut.stdout, outcome.truncated) == (b"line 801\nl", True)
    outcome, kept = ask(rolled, "kubernetes:rollout-status")
    whole = {"desired": 2, "updated": 2, "ready": 2, "available": 2, "complete": True}
    assert json.loads(kept.stdout) == whole | {"failed": ""}
    assert ask(rolled, "kubernetes:ready")[0].succeeded
    before = set(shop.pods("rolled"))
    assert ask(rolled, "kubernetes:rollout-restart")[0].succeeded
    wait_until(
        lambda: len(after := shop.pods("rolled")) == 2 and not before & set(after), "new pods"
    )
    wait_until(lambda: ask(rolled, "kubernetes:rollout-status")[0].succeeded, "the rollout")
    assert ask(rolled, "true")[0].succeeded


@pytest.mark.parametrize(
    "argv",
    [
        ("kubernetes:delete",),
        ("kubernetes:ready", "now"),
        ("kubernetes:logs", "--tail", "0"),
        ("kubernetes:logs", "--tail", "99999"),
        ("kubernetes:logs", "--follow"),
    ],
    ids=" ".join,
)
def test_what_is_no_operation(web: Machine, argv: tuple[str, ...]) -> None:
    with pytest.raises(CommandRefused):
        ask(web, *argv)


def test_an_operation_that_was_refused(shop: Shop, web: Machine) -> None:
    with pytest.raises(MachineUnreachable, match="previous terminated container"):
        ask(web, "kubernetes:logs", "--previous")
    with pytest.raises(CommandRefused, match="can't be restarted"):
        ask(shop.workload(f"pod/{shop.pods('web')[0]}"), "kubernetes:rollout-restart")


def test_what_a_cluster_runs_is_found(shop: Shop) -> None:
    found = {seen.workload: seen for seen in workloads(shop.cluster())}
    assert found["deployment/web"] == SeenWorkload(
        namespace="shop",
        workload="deployment/web",
        ready=2,
        desired=2,
        containers=("main", "bare"),
        images=("main:1", "bare:1"),
        labels={"name": "web"},
    )


def test_what_a_killed_server_left_is_ended_by_its_name(shop: Shop, web: Machine) -> None:
    command = Command(run_id(), ("sh", "-c", "echo; setsid sleep 600 & exec sleep 600"))
    with Asked(web, command) as running:
        assert shop.workload().end(command.run)
        outcome = running.ended()
    assert not outcome.succeeded
    assert left_of(command.run) == []


STRANGE: dict[str, tuple[bytes, Callable[[Outcome], bool], str]] = {
    "huge": (b"", lambda outcome: outcome.exit_code is None, "a frame of"),
    "garbled": (b"", lambda outcome: outcome.exit_code is None, "can't be read"),
    "silent": (b"said\n", lambda outcome: outcome.exit_code is None, "before the end was said"),
    "other": (b"", lambda outcome: outcome.exit_code is None, "ended: [2Jthe node is gone"),
    "split": (b"in two\n", lambda outcome: outcome.succeeded, "None"),
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    kube = PlayedKube(tmp_path_factory.mktemp("strange")).start()
    shop = Shop(kube, tmp_path_factory.mktemp("configs"))
    shop.deploy("web", 1, *STRANGE)
    yield shop
    kube.stop()


@pytest.mark.parametrize("how", STRANGE)
def test_a_server_that_says_something_strange(strange: Shop, how: str) -> None:
    stdout, ended, unknown = STRANGE[how]
    outcome, kept = ask(strange.workload(container=how), "true")
    assert kept.stdout == stdout
    assert ended(outcome)
    assert unknown in str(outcome.unknown)


def test_pods_of_another_revision_may_lack_the_container(strange: Shop) -> None:
    strange.deploy("grown", 2, "main", "extra")
    old, new = strange.pods("grown")
    lacking = {"spec": {"containers": [{"name": "main", "image": "main:0"}]}}
    strange.kube.ask("PATCH", f"{CORE}/pods/{old}", lacking)
    assert ask(strange.workload("deployment/grown", "extra"), "true")[0].succeeded
    strange.kube.ask("PATCH", f"{CORE}/pods/{new}", lacking)
    with pytest.raises(MachineMissing, match="has no container extra; it has main"):
        strange.workload("deployment/grown", "extra").check(run_id())


def test_a_server_that_sends_elsewhere_is_not_followed(strange: Shop) -> None:
    kube = strange.kube
    assert isinstance(kube, PlayedKube)
    (pod,) = strange.pods("web")
    with ClusterApi(strange.cluster()) as api:
        kube.moved_to = kube.address
        kube.asked.clear()
        try:
            with pytest.raises(MachineUnreachable, match=r"did not do it \(307\)"):
                api.get(f"{CORE}/pods/{pod}")
            with pytest.raises(Lost, match="Redirect"):
                opened(api, f"{CORE}/pods/{pod}/exec", [("command", "true")], PROTOCOLS)
        finally:
            kube.moved_to = ""
    assert len(kube.asked) == 2


def test_a_server_that_says_nothing(strange: Shop) -> None:
    with socket.create_server((HOST, 0)) as silent:
        server = f"https://{HOST}:{silent.getsockname()[1]}"
        cluster = replace(strange.cluster(server=server), connect_seconds=0.2, answer_seconds=0.2)
        with pytest.raises(MachineUnreachable, match="can't be reached"):
            strange.workload(cluster=cluster).check(run_id())
        with ClusterApi(cluster) as api, pytest.raises(MachineUnreachable, match="timed out"):
            opened(api, f"{CORE}/pods/web/exec", [("command", "true")], PROTOCOLS)
