"""Workloads of a cluster, registered by proposal: checked, run on and operated by role and by id;
each step's proof verifies without the server.

What changes waits for somebody else and is done once, and a pod that is deleted mid-run leaves an
outcome that is unknown. On a played API server, and on a real one where there is one.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.live.conftest import serving, wait_until
from tests.live.kube_shop import CLUSTERS, CORE, Shop, cluster
from tests.live.run_processes import left_of, under_way
from tests.live.test_asset_control import Lab
from tests.seeded_secrets import remember

pytestmark = pytest.mark.live

PERMITS = """
      - {argv: [echo, ...], effect: reads}
      - {argv: [sleep, "*"], effect: reads}
      - {argv: ["kubernetes:ready"], effect: reads}
      - {argv: ["kubernetes:logs", "--tail", "*"], effect: reads}
      - {argv: ["kubernetes:rollout-restart"], effect: changes}
"""
TOPOLOGY = f"""topology: shop
owner: organisation/organisation
assets:
  - id: storefront
    kind: kubernetes
    roles: [shop_runtime]
    environment: production
    locators: {{cluster: here, namespace: shop, workload: deployment/web, container: main}}
    permits:{PERMITS}
  - id: till
    kind: kubernetes
    roles: [bank_runtime]
    environment: production
    locators: {{namespace: shop, workload: deployment/till}}
    permits:{PERMITS}
"""


@dataclass(frozen=True)
class KubeLab:
    """A server on which the workloads of a cluster are registered."""

    lab: Lab
    shop: Shop


@pytest.fixture(scope="module", params=CLUSTERS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KubeLab]:
    folder = tmp_path_factory.mktemp("kube-control")
    with cluster(request.param, tmp_path_factory.mktemp("kube")) as shop, serving(folder) as maker:
        shop.deploy("till", 1, "main")
        remember(f"token of the {request.param} cluster", shop.kube.token)
        config = folder / "kubeconfig"
        config.touch(0o600)
        config.write_text(json.dumps(shop.kube.kubeconfig(shop.kube.token)))
        machines = folder / "machines.yaml"
        machines.write_text("clusters:\n  here: {kubeconfig: kubeconfig}\n")
        server = maker(
            None,
            *("--time-lock", "1s", "--steward-seconds", "3600"),
            settings={"FRACTALOPS_MACHINES": str(machines)},
        ).start()
        second = server.token_of("second", "operator")

        def works() -> bool:
            with server.client(second) as client:
                return client.get("/status").is_success

        wait_until(works, "the second operator's beginning")
        lab = Lab(server, second, "", (), [], folder)
        file = folder / "topology.yaml"
        file.write_text(TOPOLOGY)
        proposed = lab.command("infra", "apply", file, "--output", "json")
        assert proposed.code == 0, proposed.err
        lab.decide(json.loads(proposed.out)["id"])
        yield KubeLab(lab, shop)
        server.end()


def test_a_cluster_is_controlled_by_role_and_by_id(both: KubeLab) -> None:
    lab, shop = both.lab, both.shop
    checked = lab.command("runtime-assets", "check", "--role", "shop_runtime", "--output", "json")
    assert (checked.code, checked.json["state"]) == (0, "running"), checked.err
    by_role = lab.run("--role", "shop_runtime", "--", "echo", "a b", "$HOME", "-n")
    assert (by_role.code, by_role.out) == (0, b"a b $HOME -n\n"), by_role.err
    by_id = lab.run("--asset-id", "till", "--", "kubernetes:logs", "--tail", "2")
    assert (by_id.code, by_id.out) == (0, b"line 999\nline 1000\n"), by_id.err
    ready = lab.run("--asset-id", "storefront", "--", "kubernetes:ready")
    assert ready.json["ready"] == 2
    lab.verify(*lab.runs()[:3])
    lab.verify_by_command(lab.runs()[0])
    refused = lab.run("--role", "shop_runtime", "--", "kubernetes:delete")
    assert refused.code == 1
    assert '["kubernetes:ready"] (reads)' in refused.err
    strange = lab.run("--role", "shop_runtime", "--", "kubernetes:logs", "--tail", "many")
    assert strange.code == 69
    assert "[--tail LINES]" in strange.err
    before = set(shop.pods("web"))
    asked = lab.run(
        "--role", "shop_runtime", "--output", "json", "--", "kubernetes:rollout-restart"
    )
    assert asked.code == 75
    assert set(shop.pods("web")) == before
    lab.decide(asked.json["id"])
    ended = lab.ended(asked.json["id"])
    assert (ended["outcome"], ended["result"]["exit_code"]) == ("succeeded", 0)
    wait_until(lambda: not before & set(shop.pods("web")), "new pods")
    lab.verify(ended)


def test_a_pod_that_is_deleted_leaves_the_outcome_unknown(both: KubeLab) -> None:
    lab, shop = both.lab, both.shop
    (pod,) = shop.pods("till")
    with lab.server.client() as client:
        run = client.post(
            "/runtime-assets/runs", json={"role": "bank_runtime", "argv": ["sleep", "900"]}
        ).json()
    wait_until(lambda: under_way(run["id"], "sleep", "900"), "the run to be under way", 60)
    shop.kube.ask("DELETE", f"{CORE}/pods/{pod}")
    wait_until(lambda: pod not in shop.pods("till"), "the end of the pod")
    # What the container's end does to all in it.
    for process in left_of(run["id"]):
        os.kill(process, signal.SIGKILL)
    ended = lab.ended(run["id"])
    assert ended["outcome"] == "unknown"
    assert ended["result"]["exit_code"] is None
    lab.verify(ended)


def test_a_server_that_is_killed_leaves_nothing_in_a_pod(both: KubeLab) -> None:
    lab = both.lab
    with lab.server.client() as client:
        run = client.post(
            "/runtime-assets/runs", json={"role": "shop_runtime", "argv": ["sleep", "800"]}
        ).json()
    wait_until(lambda: under_way(run["id"], "sleep", "800"), "the run to be under way", 60)
    lab.server.kill()
    lab.server.start()
    assert lab.ended(run["id"])["outcome"] == "unknown"
    assert left_of(run["id"]) == []
