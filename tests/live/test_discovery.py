"""Looking round on a running platform: real LXC containers, workloads of a cluster, and what the
OpenTelemetry SDK says of where it runs meet the asset that was declared; what is new waits for a
person. The cluster is a real one where there are the programs of one, and else a played one."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from tests.live.conftest import Server, run_command, serving, wait_until
from tests.live.containers import Container, container, why_not
from tests.live.kube_played import PlayedKube
from tests.live.kube_server import NODE, KubeServer, programs

pytestmark = pytest.mark.live

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
TOPOLOGY = """topology: main
owner: organisation/organisation
assets:
  - id: workbench
    kind: lxc
    roles: [daytona_runtime]
    environment: production
    capabilities: run
    locators: {container: box}
    permits: [{argv: [hostname], effect: reads}]
  - id: storefront
    kind: kubernetes
    environment: production
    locators: {namespace: shop, workload: deployment/web}
  - id: lost
    kind: lxc
    locators: {container: lost}
"""


@dataclass(frozen=True)
class Lab:
    server: Server
    key: str
    second: str
    boxes: Path
    kube: PlayedKube | KubeServer

    def approve(self, proposal: str) -> None:
        with self.server.client(self.second) as client:
            answer = client.post(
                f"/proposals/{proposal}/decisions", json={"outcome": "approve", "reason": "seen"}
            )
        assert answer.status_code == 200, answer.text

    def asset(self, name: str) -> dict[str, Any]:
        return self.server.get(f"/runtime-assets/{name}", min_head=self.server.head)

    def look(self) -> dict[str, Any]:
        """Runs the job, as its schedule does; its outcome."""
        ended = run_command(
            *("jobs", "run", "discover-assets", "--wait", "--output", "json"),
            *("--data", self.server.data),
        )
        assert ended.code == 0, ended.text
        found = json.loads(ended.text[ended.text.index("{") :])
        outcome: dict[str, Any] = found["outcome"]
        return outcome

    def drift(self, *options: str) -> tuple[int, list[dict[str, Any]]]:
        ended = run_command(
            *("runtime-assets", "drift", "--output", "json", "--data", self.server.data), *options
        )
        found = json.loads(ended.text[ended.text.index("[") : ended.text.rindex("]") + 1])
        return ended.code, found

    def trace(self, service: str, resource: dict[str, str]) -> None:
        """One span of a service that says where it runs, by OpenTelemetry's own SDK."""
        provider = TracerProvider(resource=Resource({"service.name": service, **resource}))
        exporter = OTLPSpanExporter(
            f"{self.server.url}/v1/traces", headers={"authorization": f"Bearer {self.key}"}
        )
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span("GET /", kind=SpanKind.SERVER):
            pass
        provider.shutdown()

    def deploy(self, name: str) -> None:
        """A deployment with one pod that is ready."""
        labels = {"app": name}
        pods = {"containers": [{"name": "app", "image": "app:1"}], "nodeName": NODE}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pods},
            },
        }
        self.kube.ask("POST", DEPLOYMENTS, deployment)
        wait_until(lambda: self.ready(name) == 1, f"the rollout of {name}")

    def scale(self, name: str, replicas: int) -> None:
        self.kube.ask("PATCH", f"{DEPLOYMENTS}/{name}", {"spec": {"replicas": replicas}})
        wait_until(lambda: self.ready(name) == replicas, f"{replicas} pods of {name}")

    def ready(self, name: str) -> int:
        found = self.kube.ask("GET", f"{DEPLOYMENTS}/{name}")
        return int(found.get("status", {}).get("readyReplicas", 0))


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedKube | KubeServer]:
    folder = tmp_path_factory.mktemp("kube")
    found = programs()
    made = PlayedKube(folder) if found is None else KubeServer(folder, found)
    try:
        made.start()
        made.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, kube: PlayedKube | KubeServer) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("discovery")
    boxes = folder / "boxes"
    boxes.mkdir()
    config = folder / "kubeconfig.json"
    config.write_text(json.dumps(kube.kubeconfig(kube.token)))
    config.chmod(0o600)
    machines = folder / "machines.yaml"
    machines.write_text(
        f"local:\n  lxc_path: {boxes}\nclusters:\n  main:\n    kubeconfig: {config}\n"
    )
    with serving(folder) as serve:
        server = serve(
            None,
            *("--time-lock", "1s", "--steward-seconds", "0.2"),
            settings={"FRACTALOPS_MACHINES": str(machines)},
        ).start()
        key = server.post("/projects", {"slug": "shop"})["ingest_key"]
        second = server.token_of("second", "operator")

        def works() -> bool:
            with server.client(second) as client:
                return client.get("/status").is_success

        wait_until(works, "the second operator's beginning")
        found = Lab(server, key, second, boxes, kube)
        topology = folder / "topology.yaml"
        topology.write_text(TOPOLOGY)
        ended = run_command("infra", "apply", topology, "--data", server.data, "--output", "json")
        assert ended.code == 0, ended.text
        found.approve(json.loads(ended.text[ended.text.index("{") :])["id"])
        yield found
        server.end()


@pytest.fixture(scope="module")
def box(lab: Lab) -> Iterator[Container]:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with container(lab.boxes, "box") as made:
        yield made


def test_the_job_is_usual_where_there_are_machines(lab: Lab) -> None:
    jobs = {item["job"]: item for item in lab.server.get("/schedules")["items"]}
    assert jobs["discover-assets"]["every"] == 3600


def test_a_real_container_is_the_asset_that_was_declared(lab: Lab, box: Container) -> None:
    with container(lab.boxes, "newcomer"):
        head = lab.server.head
        found = lab.look()
        assert (found["known"], found["changed"], found["assets"]) == (1, 1, ["newcomer"])
        status = lab.asset("workbench")["status"]
        assert status["state"] == "running"
        # A look that finds the same changes nothing.
        assert lab.server.head == head + 2
        again = lab.look()
        assert (again["changed"], again["proposal"]) == (0, None)
        assert lab.server.head == head + 2
        code, drift = lab.drift()
        assert code == 1
        assert [(item["kind"], item["asset_id"]) for item in drift] == [
            ("not-found", "lost"),
            ("not-found", "storefront"),
            ("not-declared", None),
        ]
        assert drift[2]["locators"] == {"container": "newcomer"}
        lab.approve(found["proposal"])
        new = lab.asset("newcomer")
        assert new["owner"] == lab.server.ids.organisation("organisation")
        assert new["status"]["state"] == "running"
        assert new["declared_in"] is None
    box.lxc("stop", "-k")
    assert lab.look()["changed"] == 1
    stopped = lab.asset("workbench")["status"]
    assert stopped["state"] == "stopped"
    assert stopped["since"] > status["since"]
    before = lab.server.get("/runtime-assets/workbench", at=head + 1)["status"]
    assert before == status
    kinds = [(item["kind"], item["asset_id"]) for item in lab.drift()[1]]
    assert ("not-running", "workbench") in kinds
    # What was destroyed is told of; that it ran is what was last known.
    assert ("not-found", "newcomer") in kinds


def test_a_workload_is_the_asset_that_was_declared(lab: Lab) -> None:
    lab.deploy("web")
    lab.deploy("basket")
    found = lab.look()
    assert found["silent"] == []
    assert "basket" in found["assets"]
    assert "web" not in found["assets"]
    assert found["capable"] == 1
    assert lab.asset("storefront")["status"]["state"] == "running"
    lab.approve(found["proposal"])
    basket = lab.asset("basket")
    assert basket["locators"] == {
        "cluster": "main",
        "namespace": "shop",
        "workload": "deployment/basket",
    }
    lab.scale("basket", 0)
    assert lab.look()["proposal"] is None
    assert lab.asset("basket")["status"]["state"] == "stopped"


def test_telemetry_meets_what_was_declared(lab: Lab, box: Container) -> None:
    lab.trace("agent", {"container.name": "box", "host.name": "somewhere"})
    lab.trace(
        "web",
        {
            "k8s.namespace.name": "shop",
            "k8s.deployment.name": "web",
            "k8s.container.name": "app",
            "k8s.pod.name": "web-6d4cf56db6-x2x8p",
            "deployment.environment.name": "production",
        },
    )
    lab.trace("laptop", {"host.name": "somebodys-laptop"})
    lab.server.settle()
    ids = lab.server.ids
    found = lab.look()
    assert found["hosted"] == 2
    assert found["assets"] == []
    assert found["set_aside"]["was heard from by a name that is no asset's"] == 1
    # The cluster and telemetry saw one thing.
    assert lab.asset("storefront")["capabilities"] == ["logs", "restart", "run"]
    assert lab.asset("storefront")["status"]["state"] == "running"
    # Its host says that the container stands still, which telemetry can't know.
    assert lab.asset("workbench")["status"]["state"] != "running"
    differing = {(i["kind"], i["asset_id"], i["service"]) for i in lab.drift()[1] if i["service"]}
    assert differing == {
        ("hosting-not-stated", "workbench", ids.service("shop", "agent")),
        ("hosting-not-stated", "storefront", ids.service("shop", "web")),
    }
    lab.approve(found["proposal"])
    assert lab.asset("storefront")["hosts"] == [ids.service("shop", "web")]
    assert lab.asset("workbench")["hosts"] == [ids.service("shop", "agent")]
    assert lab.look()["proposal"] is None


def test_drift_becomes_a_proposal_of_whoever_asks(lab: Lab) -> None:
    lab.trace("worker", {"k8s.namespace.name": "shop", "k8s.statefulset.name": "queue"})
    lab.server.settle()
    code, drift = lab.drift("--propose", "--rationale", "it is ours")
    assert code == 1
    assert ("not-declared", {"namespace": "shop", "workload": "statefulset/queue"}) in [
        (item["kind"], item["locators"]) for item in drift
    ]
    [waiting] = [
        item
        for item in lab.server.get("/proposals", state="awaiting decision")["items"]
        if item["rationale"].startswith("it is ours")
    ]
    lab.approve(waiting["id"])
    queue = lab.asset("queue")
    assert queue["kind"] == "kubernetes"
    assert queue["project"] == lab.server.ids.project("shop")
    [evidence] = queue["status"]["evidence"]
    digest = evidence.rpartition("/")[2]
    assert lab.server.get(f"/evidence/sha256:{digest}")["project"] == "shop"
    assert queue["hosts"] == [lab.server.ids.service("shop", "worker")]


def test_what_ran_then_is_asked_by_time(lab: Lab) -> None:
    question = Path(__file__).parents[2] / "docs" / "questions" / "q28-what-ran.rq"
    heads = {item["index"]: item["time"] for item in lab.server.get("/proofs/log")["items"]}
    newest = max(heads)

    def ran(moment: str) -> list[dict[str, str]]:
        ended = run_command(
            *("query", "-f", question, "--at-time", moment, "--output", "csv"),
            *("--data", lab.server.data),
        )
        assert ended.code == 0, ended.text
        return list(csv.DictReader(ended.text.splitlines()))

    queue = [row for row in ran(heads[newest]) if row["asset"] == "queue"]
    assert [(row["owner"], row["service"]) for row in queue] == [("organisation", "worker")]
    assert lab.server.get("/heads", time=heads[newest])["head"] == newest
    first = lab.server.get("/heads", time=heads[min(heads)])
    assert first == {"head": min(heads), "time": heads[min(heads)]}
    assert ran(heads[min(heads)]) == []
    for moment in ("0001-01-01T00:00:00%2B14:00", "1999-12-31T23:59:59Z"):
        with lab.server.client() as client:
            answer = client.get(f"/heads?time={moment}")
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("before-the-log")
    assert lab.server.get("/heads", time="9999-12-31T23:59:59-14:00")["head"] >= newest
    ended = run_command("query", "ASK {}", "--at-time", "soon", "--data", lab.server.data)
    assert ended.code == 2
    assert "is no moment" in ended.text


def test_who_may_look(lab: Lab) -> None:
    tokens = {role: lab.server.token_of(f"a-{role}", role) for role in ("analyst", "auditor")}
    wanted = {
        ("analyst", "GET", "/drift"): 403,
        ("auditor", "GET", "/drift"): 200,
        ("auditor", "POST", "/drift"): 403,
        ("auditor", "POST", "/discovery"): 403,
    }
    for (role, method, path), status in wanted.items():
        with lab.server.client(tokens[role]) as client:
            answer = client.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == status, (role, method, path, answer.text)
