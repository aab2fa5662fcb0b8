"""The push of the catalog as a job: the command line, ``fractalops up`` that executes it, and a
DataHub with good days and bad ones."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import RdfFormat, parse

from ontology.vocab import Rdfs
from stewards.platform_client import PlatformClient
from tests.live.conftest import run_command, wait_until
from tests.live.datahub_server import Gms, Mood, failed, serving_datahub
from tests.live.test_datahub import ORDERS, TOTALS, URN, URNS, dataset_turtle, shop_turtle

if TYPE_CHECKING:
    from tests.live.conftest import Ended, Server, Serving

pytestmark = pytest.mark.live

HURRIED = (sys.executable, str(Path(__file__).with_name("hurried.py")))
TOKEN = "dh-of-a-test"
DOMAIN = "urn:li:domain:fractalops.%s"
ACCOUNTS = URN % ("mysql", "bank.accounts")
AWAY = Mood(503, failed(503, "starting"))
PATIENCE = 5
"""Requests that a push makes before it gives up a DataHub that is away."""


@dataclass
class Pushes:
    """A platform that executes its own jobs, and the DataHub that its schedule names."""

    server: Server
    gms: Gms

    def fractalops(self, *arguments: str) -> Ended:
        return run_command(*arguments, "--data", self.server.data)

    def push(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Asks for a push and waits for its end; the run."""
        ended = self.fractalops("jobs", "run", "catalog-push", *arguments, "--wait")
        assert ended.code == code, ended.text
        (run, *_) = self.server.get("/jobs/runs", limit=1)["items"]
        assert run["id"] in ended.text
        return dict(run)

    def elsewhere(self, gms: Gms, label: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The same to another DataHub, by a job of its own."""
        to = ("--label", label, "--server", gms.url, "--token-env", "DATAHUB_GMS_TOKEN")
        return self.push(*to, *arguments, code=code)

    def warnings(self, job: str) -> list[str]:
        return [it for it in self.server.get("/status")["warnings"] if f"job {job} " in it]

    def stated(self, name: str) -> str:
        """States one more dataset of the shop; its URN."""
        self.server.propose("shop", self._dataset(name))
        return URN % ("postgres", f"shop.public.{name}")

    def retracted(self, name: str) -> None:
        lines = "".join(
            f"{quad.triple} <{self.server.ids.lineage_graph('shop')}> .\n"
            for quad in parse(self._dataset(name), RdfFormat.TURTLE)
        )
        gone = {"project": "shop", "rationale": "gone", "removals": lines}
        assert self.server.post("/proposals", gone)["state"] == "applied"

    def _dataset(self, name: str) -> str:
        iri = self.server.ids.dataset("postgresql", "db.shop", "shop", name)
        return dataset_turtle(iri, name, "postgresql")


@pytest.fixture
def datahub() -> Iterator[Gms]:
    """A DataHub that nobody told anything yet."""
    with serving_datahub() as gms:
        gms.token = TOKEN
        yield gms
    assert gms.invalid == []
    assert gms.unknown == []


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory, serving_in: Serving) -> Iterator[Pushes]:
    folder = tmp_path_factory.mktemp("catalog push")
    with socket.socket() as picked:
        picked.bind(("127.0.0.1", 0))
        port = picked.getsockname()[1]
    with serving_datahub() as gms, serving_in(folder) as serve:
        gms.token = TOKEN
        # The same port when it is started again, as an operator's has.
        options = ("--port", str(port), "--time-lock", "0", "--steward-seconds", "3600")
        server = serve(None, *options, settings={"DATAHUB_GMS_TOKEN": TOKEN})
        server.prefix = HURRIED
        server.start()
        for slug in ("shop", "bank"):
            server.post("/projects", {"slug": slug})
        server.post("/projects", {"slug": "vault", "restricted": True})
        server.propose("shop", shop_turtle(server))
        for slug, name in (("bank", "accounts"), ("vault", "vaulted")):
            iri = server.ids.dataset("mysql", f"db.{slug}", slug, name)
            server.propose(slug, dataset_turtle(iri, name, "mysql"))
        # What projects share is told as those say it that anybody may read.
        server.propose("vault", f'<{ORDERS.iri(server.ids, "shop")}> <{Rdfs.comment}> "vaulted" .')
        found = Pushes(server, gms)
        to = ("--server", gms.url, "--token-env", "DATAHUB_GMS_TOKEN", "--every", "1h")
        ended = found.fractalops("schedules", "set", "catalog-push", *to)
        assert ended.code == 0, ended.text
        yield found
        server.end()
    assert gms.invalid == []
    assert gms.unknown == []


def test_datahub_is_told_the_graph_then_nothing_then_what_changed(pushes: Pushes) -> None:
    gms, server = pushes.gms, pushes.server
    first = pushes.push()
    assert (first["state"], first["attempt"], first["executor"]) == ("done", 1, "embedded")
    assert first["outcome"]["head"] == server.head
    assert {URNS[ORDERS], URNS[TOTALS], ACCOUNTS, DOMAIN % "shop", DOMAIN % "bank"} <= gms.urns
    assert gms.removed(ACCOUNTS) is False
    assert "vault" not in json.dumps(gms.proposals)

    gms.forget()
    assert pushes.push()["outcome"]["emitted"] == 0
    assert gms.requests == []

    urn = pushes.stated("changed")
    # The dataset, and the assertion of its shape.
    assert pushes.push()["outcome"]["emitted"] == 2
    assert {it for it in gms.urns if it.startswith(("urn:li:data", "urn:li:domain"))} == {urn}
    pushes.retracted("changed")
    assert pushes.push()["outcome"]["removed"] == 2
    assert gms.removed(urn) is True

    gms.forget()
    whole = pushes.push("--whole")["outcome"]
    assert whole["emitted"] == first["outcome"]["emitted"]
    # What was asked for once isn't asked for by the schedule.
    (schedule,) = [it for it in server.get("/schedules")["items"] if it["job"] == "catalog-push"]
    assert schedule["arguments"] == {"server": gms.url, "token_env": "DATAHUB_GMS_TOKEN"}
    assert schedule["last"]["state"] == "done"
    assert TOKEN not in str(server.get("/jobs/runs"))


def test_a_datahub_that_is_away_is_told_once_it_is_back(pushes: Pushes) -> None:
    gms, server = pushes.gms, pushes.server
    urn = pushes.stated("meanwhile")
    gms.moods.extend([AWAY] * PATIENCE)
    run = pushes.push()
    assert (run["state"], run["attempt"]) == ("done", 2)
    assert urn in gms.urns
    rows = "SELECT state, detail FROM lifecycle WHERE subject = 'catalog-push' ORDER BY time"
    wait_until(lambda: server.facts(rows)[-1][0] == "done", "the fact of the run's end")
    (state, detail), _ = server.facts(rows)[-2:]
    assert state == "retrying"
    assert "can't take metadata now (starting)" in detail


def test_a_datahub_that_stays_away_is_a_warning_until_a_push_is_done(pushes: Pushes) -> None:
    gms = pushes.gms
    urn = pushes.stated("much later")
    gms.moods.extend([AWAY] * PATIENCE * 3)
    run = pushes.push(code=1)
    assert (run["state"], run["attempt"], len(gms.moods)) == ("failed", 3, 0)
    assert run["error"].startswith(f"DataHub at {gms.url} can't take metadata now (starting)")
    (warning,) = pushes.warnings("catalog-push")
    assert f"fractalops jobs again {run['id']}" in warning
    ended = pushes.fractalops("jobs", "again", run["id"], "--wait")
    assert ended.code == 0, ended.text
    assert urn in gms.urns
    assert pushes.warnings("catalog-push") == []


def test_what_datahub_refuses_is_shown_and_sent_again_once_it_is_mended(pushes: Pushes) -> None:
    gms, server = pushes.gms, pushes.server
    urn = URN % ("postgres", "shop.public.refused")
    gms.refused[urn] = (422, "no such field")
    assert pushes.stated("refused") == urn
    assert pushes.push()["outcome"]["dead"] == 1
    assert server.metric("fractalops_catalog_dead_letters") == 1
    (warning,) = pushes.warnings("catalog-push")
    assert "fractalops jobs run catalog-push --again" in warning
    assert warning in " ".join(pushes.fractalops("status").text.split())
    letters = pushes.fractalops("jobs", "letters", "catalog-push").text
    assert all(said in letters for said in (urn, gms.url, "422", "no such field"))
    assert pushes.push()["outcome"]["emitted"] == 0

    gms.refused.clear()
    gms.forget()
    assert pushes.push("--again")["outcome"]["dead"] == 0
    assert {it for it in gms.urns if it.startswith("urn:li:data")} == {urn}
    assert pushes.warnings("catalog-push") == []
    assert server.metric("fractalops_catalog_dead_letters") == 0


def test_letters_of_another_datahub_are_no_warning(pushes: Pushes, datahub: Gms) -> None:
    pushes.gms.refused[URNS[ORDERS]] = (422, "no")
    pushes.elsewhere(pushes.gms, "moved")
    pushes.gms.refused.clear()
    assert len(pushes.warnings("catalog-push::moved")) == 1
    pushes.elsewhere(datahub, "moved")
    assert pushes.warnings("catalog-push::moved") == []
    assert URNS[ORDERS] in datahub.urns


def test_without_its_token_a_push_says_what_to_do(pushes: Pushes, datahub: Gms) -> None:
    arguments = ("--label", "none", "--server", datahub.url, "--token-env", "NOBODY_SET_THIS_TOKEN")
    run = pushes.push(*arguments, code=1)
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert run["error"].startswith("set the variable NOBODY_SET_THIS_TOKEN to a token of")
    assert len(pushes.warnings("catalog-push::none")) == 1
    assert datahub.requests == []
    datahub.token = "another"
    run = pushes.elsewhere(datahub, "wrong", code=1)
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert "refuses the token" in run["error"]
    assert TOKEN not in run["error"]


def test_of_one_project_that_one_alone_is_told(pushes: Pushes, datahub: Gms) -> None:
    url = "https://graph.example"
    pushes.elsewhere(datahub, "", "--project", "shop", "--env", "DEV", "--public-url", url)
    orders = URNS[ORDERS].replace("PROD", "DEV")
    assert {orders, DOMAIN % "shop"} <= datahub.urns
    told = json.dumps(datahub.proposals)
    assert "accounts" not in told
    assert DOMAIN % "bank" not in datahub.urns
    # Links lead where people get to.
    assert datahub.aspects[orders, "datasetProperties"]["externalUrl"].startswith(f"{url}/")
    assert pushes.server.url not in told


def test_of_a_restricted_project_nothing_is_told(pushes: Pushes, datahub: Gms) -> None:
    run = pushes.elsewhere(datahub, "", "--project", "vault", code=1)
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert run["error"].startswith("the project vault is restricted")
    assert datahub.requests == []


def test_killed_in_the_middle_it_goes_on_without_loss(pushes: Pushes, datahub: Gms) -> None:
    server = pushes.server
    pushes.stated("short_lived")
    reached, killed = threading.Event(), threading.Event()

    def written(count: int) -> None:
        if count > 200:
            reached.set()
            killed.wait(60)

    datahub.written = written
    arguments = {"server": datahub.url, "token_env": "DATAHUB_GMS_TOKEN"}
    asked = {"kind": "catalog-push", "label": "killed", "arguments": arguments}
    identifier = server.post("/jobs", asked)["id"]
    assert reached.wait(60)
    server.kill()
    killed.set()
    server.start()
    wait_until(lambda: server.get(f"/jobs/runs/{identifier}")["ended"], "the end of the push")
    run = server.get(f"/jobs/runs/{identifier}")
    assert (run["state"], run["attempt"]) == ("done", 2)
    assert run["outcome"]["head"] == server.head
    pushes.retracted("short_lived")
    assert pushes.elsewhere(datahub, "killed")["outcome"]["removed"] == 2
    with serving_datahub() as other:
        pushes.push("--label", "straight", "--server", other.url)
        assert other.aspects.keys() <= datahub.aspects.keys()
        assert all(datahub.aspects[key] == value for key, value in other.aspects.items())
        assert other.patched.keys() <= datahub.patched.keys()


def test_what_a_push_remembers_may_be_large(pushes: Pushes) -> None:
    server, job, value = pushes.server, "catalog-push::large", {"told": "x" * 3_000_000}
    client = PlatformClient.connect(server.url, server.token)
    try:
        assert client.keep_document(job, value, after=0) == 1
        found = client.document(job)
    finally:
        client.close()
    assert (found.version, found.value) == (1, value)
