"""Stewards of a real server: bytes of the official SDK in, a governed graph out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ontology.ids import Ids
from ontology.vocab import Fo
from stewards.conduct import Conduct
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.runs import Runs
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore
from tests.stewards.conftest import Clock

pytestmark = pytest.mark.live

GOLDEN = Path(__file__).parent / "golden"
SERVICES = ("storefront", "orders", "catalogue", "fulfilment")


class Platform:
    """A running ``fractalops up``, spoken to as its operator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        (self.folder / "server.json").unlink(missing_ok=True)
        self._log = (self.folder.parent / "up.log").open("ab")
        self._process = subprocess.Popen(
            [
                Path(sys.executable).with_name("fractalops"),
                *("up", "--data", self.folder, "--port", "0", "--grpc-port", "off"),
                *("--steward-seconds", "600"),
            ],
            stdout=self._log,
            stderr=self._log,
        )
        assert until((self.folder / "server.json").exists, 60), "the server didn't start"
        self.http = httpx.Client(
            base_url=json.loads((self.folder / "server.json").read_text())["url"],
            headers={
                "Authorization": f"Bearer {(self.folder / 'operator.token').read_text().strip()}"
            },
            trust_env=False,
            timeout=60,
        )
        assert until(lambda: self.http.get("/readyz").is_success, 60)

    def stop(self) -> None:
        self.http.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._log.close()

    def get(self, path: str, **parameters: str) -> Any:
        return self.http.get(path, params=parameters).raise_for_status().json()

    def post(self, path: str, body: Any = None) -> Any:
        return self.http.post(path, json=body).raise_for_status().json()

    def found(self, slug: str, restricted: bool = False) -> str:
        """Create a project; its ingest key."""
        return str(self.post("/projects", {"slug": slug, "restricted": restricted})["ingest_key"])

    def send(self, key: str) -> None:
        """What the four processes of the shop sent, and wait until it is facts."""
        for service in SERVICES:
            self.export(key, (GOLDEN / f"shop-{service}.pb").read_bytes())

    def export(self, key: str, spans: bytes) -> None:
        """Send spans, and wait until they are facts."""
        self.http.post(
            "/v1/traces",
            content=spans,
            headers={"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {key}"},
        ).raise_for_status()
        assert until(lambda: self.get("/status")["inbox"]["pending"] == 0, 30)

    def run(self, slug: str) -> dict[str, Any]:
        status: dict[str, Any] = self.post(f"/stewards/steward-{slug}/run")
        return status

    def lineage(self, slug: str) -> list[str]:
        answer = self.http.get(
            f"/graphs/lineage/{slug}", headers={"Accept": "application/n-triples"}
        )
        if answer.status_code == 404:
            return []
        return sorted(answer.raise_for_status().text.splitlines())


def until(condition: Callable[[], bool], seconds: float) -> bool:
    waited = threading.Event()
    for _ in range(int(seconds / 0.1)):
        try:
            if condition():
                return True
        except httpx.TransportError:
            # Not listening yet.
            pass
        waited.wait(0.1)
    return False


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("platform") / "data")
    yield running
    running.stop()


def golden(slug: str) -> list[str]:
    """The triples of the golden file, as they stand in this project's graph."""
    graph = " <http://fractalops.localhost/graph/lineage/shop> ."
    lines = (GOLDEN / "shop-proposals.nq").read_text(encoding="utf-8").splitlines()
    triples = [line.removesuffix(graph) for line in lines if line and line[0] != "#"]
    renamed = [
        triple.replace("/shop/", f"/{slug}/")
        .replace("/shop>", f"/{slug}>")
        .replace("project%3Ashop", f"project%3A{slug}")
        .replace('"celery shop"', f'"celery {slug}"')
        for triple in triples
    ]
    return sorted(f"{triple} ." for triple in renamed)


def test_traffic_becomes_knowledge_once_and_survives_a_restart(platform: Platform) -> None:
    key = platform.found("shop")
    platform.send(key)
    status = platform.run("shop")
    assert status["watermark"] > 0
    # New facts wake a steward, so it may have run before it was told to.
    assert until(lambda: platform.lineage("shop") == golden("shop"), 20)
    applied = platform.get("/proposals", project="shop")["items"]
    assert {item["state"] for item in applied} <= {"applied", "proven"}
    assert {item["author"].rsplit("/", 1)[1] for item in applied} == {"steward-shop"}
    assert all(item["evidence"] and item["rationale"] for item in applied)

    head = platform.get("/status")["head"]
    platform.send(key)
    status = platform.run("shop")
    assert platform.get("/status")["head"] == head
    assert "nothing that the graph doesn't hold" in status["last_outcome"]

    # Its own notes are gone: it reads everything again and proposes nothing.
    platform.stop()
    for path in platform.folder.glob("stewards.sqlite*"):
        path.unlink()
    platform.start()
    status = platform.run("shop")
    assert platform.get("/status")["head"] == head
    assert status["watermark"] > 0
    assert status["proposals"] == 0
    assert platform.lineage("shop") == golden("shop")


def test_the_steward_of_a_restricted_project_reads_and_writes_its_graph(
    platform: Platform,
) -> None:
    key = platform.found("vault", restricted=True)
    platform.send(key)
    platform.run("vault")
    assert until(lambda: platform.lineage("vault") == golden("vault"), 20)
    head = platform.get("/status")["head"]
    platform.send(key)
    status = platform.run("vault")
    assert platform.get("/status")["head"] == head
    assert "nothing that the graph doesn't hold" in status["last_outcome"]


def test_a_reverted_proposal_is_not_made_again(platform: Platform) -> None:
    key = platform.found("undone")
    platform.send(key)
    platform.run("undone")
    assert until(lambda: platform.lineage("undone") == golden("undone"), 20)
    for item in platform.get("/proposals", project="undone")["items"]:
        platform.post(f"/proposals/{item['id']}/revert", {"rationale": "not ours"})
    assert until(lambda: not platform.lineage("undone"), 20)
    head = platform.get("/status")["head"]
    platform.send(key)
    status = platform.run("undone")
    assert "nothing that the graph doesn't hold" in status["last_outcome"]
    assert platform.get("/status")["head"] == head


def test_what_is_not_seen_for_a_month_is_marked_and_wakes(
    platform: Platform, tmp_path: Path
) -> None:
    """The steward here is the project's own, by its token, with a clock of its own."""
    key = platform.found("asleep")
    platform.send(key)
    platform.run("asleep")
    assert until(lambda: platform.lineage("asleep") == golden("asleep"), 20)
    token = platform.post("/tokens", {"name": "clock", "role": "steward", "project": "asleep"})
    client = GateClient.connect(str(platform.http.base_url), token["token"])
    service = f"<{Ids().service('asleep', 'orders')}> "

    def asleep() -> list[str]:
        return [line for line in platform.lineage("asleep") if Fo.dormantSince in line]

    with (
        closing(WatermarkStore(tmp_path / "stewards.sqlite")) as notes,
        closing(Runs(notes)) as runs,
        client,
    ):
        clock = Clock(datetime.now(UTC))
        conduct = Conduct(dormant_after=30)
        steward = TelemetrySteward(
            Sweep("steward-asleep", "asleep", client, Ids(), notes, clock, conduct), runs
        )
        assert steward.run_once().state == "unchanged"
        clock.pass_by(timedelta(days=40))
        outcome = steward.run_once()
        assert (outcome.state, outcome.reason) == ("proposed", "")
        (marked,) = outcome.proposals
        proposal = platform.get(f"/proposals/{marked}")
        assert proposal["state"] in ("applied", "proven")
        assert proposal["rationale"].startswith("Not seen in the last 30 days: ")
        assert until(lambda: len(asleep()) == outcome.quads, 20)
        assert any(line.startswith(service) for line in asleep())
        # When the shop was at work, not when it was told of.
        assert all('"2026-11-22T00:00:00Z"' in line for line in asleep())
        assert sorted(set(platform.lineage("asleep")) - set(asleep())) == golden("asleep")

        platform.export(key, at_work_now("orders"))
        clock.now = datetime.now(UTC)
        outcome = steward.run_once()
        assert (outcome.state, outcome.awaiting) == ("proposed", 0)
        (lifted,) = outcome.proposals
        assert platform.get(f"/proposals/{lifted}")["evidence"]
        assert until(lambda: not any(line.startswith(service) for line in asleep()), 20)
        assert asleep()


def at_work_now(service: str) -> bytes:
    """What a service of the shop sent, as if it were sending it now."""
    request = ExportTraceServiceRequest.FromString((GOLDEN / f"shop-{service}.pb").read_bytes())
    spans = [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    late = time.time_ns() - max(span.end_time_unix_nano for span in spans)
    for span in spans:
        span.start_time_unix_nano += late
        span.end_time_unix_nano += late
    return request.SerializeToString()


def test_an_unknown_steward_is_a_404_that_names_the_others(platform: Platform) -> None:
    answer = platform.http.post("/stewards/nobody/run")
    assert answer.status_code == 404
    assert "nobody" in answer.json()["detail"]
