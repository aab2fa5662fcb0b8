"""kill -9 at any moment: what was acknowledged is there once, nothing is half there.

Clients that know what they were told send proposals, decisions and spans all the time, and send
again what they were not told about, as real clients do. The server is killed under that load, while
it starts, and while it rebuilds what is derived. After each restart everything is compared.

The long run: ``make test ARGS="-m long tests/live/test_crash.py"``; ``FRACTALOPS_CRASH_COUNT`` sets
how many kills it makes (60).
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs, Skos
from proofs.checkpoint import Checkpoint, VerifierKey, open_checkpoint
from proofs.merkle import consistency_proof, verify_consistency
from proofs.tiles import CHECKPOINT_PATH, TileReader

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, Serve, Server

pytestmark = pytest.mark.live

LOGGER = logging.getLogger(__name__)

PROJECTS = ("alpha", "beta")
NOTES = 17
SEED = 20_261_122
DERIVED = ("graph", "log", "snapshots", "index.sqlite", "facts")


def name_of(worker: str, number: int) -> str:
    return f"{worker}-{number}"


def quads(ids: Ids, project: str, name: str, version: int) -> set[tuple[str, str, str]]:
    """All that the graph says of a thing at a version, terms as N-Triples."""
    service = f"<{ids.service(project, name)}>"
    found = {
        (service, f"<{Rdf.type}>", f"<{Fo.Service}>"),
        (service, f"<{Fo.inProject}>", f"<{ids.project(project)}>"),
        (service, f"<{Rdfs.label}>", f'"{name}"'),
    }
    found |= {
        (service, f"<{Skos.scopeNote}>", f'"{name} v{version} note {number}"')
        for number in range(NOTES)
    }
    return found


@dataclass
class Thing:
    """A thing that one worker alone proposes: the version it was told of, and the one it tried."""

    project: str
    name: str
    told: int = 0
    tried: int = 0


@dataclass
class Worker:
    """A client with a memory; its thread ends when the server does."""

    label: str
    token: str
    seed: int
    done: int = field(default=0, kw_only=True)
    failures: list[str] = field(default_factory=list, kw_only=True)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def run(self, url: str) -> None:
        """Work until the server is gone."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            try:
                while True:
                    self.turn(client)
            except httpx.TransportError:
                return

    def turn(self, client: httpx.Client) -> None:
        raise AssertionError("each kind of worker has its own turn")

    def expect(self, answer: httpx.Response, *statuses: int) -> bool:
        """Whether the answer is as it must be; the others are told at the end."""
        if answer.status_code in statuses:
            self.done += 1
            return True
        self.failures.append(f"{self.label}: {answer.status_code} {answer.text[:300]}")
        time.sleep(0.2)
        return False


@dataclass
class Proposer(Worker):
    """Proposes new things, and new versions of what is there."""

    project: str = ""
    ids: Ids = field(default_factory=Ids)
    things: dict[str, Thing] = field(default_factory=dict)
    told: dict[str, str | None] = field(default_factory=dict)
    """Rationale to the proposal it became; ``None`` when it turned out to be there already."""

    def turn(self, client: httpx.Client) -> None:
        unclear = [thing for thing in self.things.values() if thing.tried > thing.told]
        if unclear:
            self._send(client, unclear[0])
            return
        if self.things and self.random.random() < 0.3:
            thing = self.random.choice(list(self.things.values()))
        else:
            name = name_of(self.label, len(self.things))
            thing = self.things[name] = Thing(self.project, name)
        thing.tried = thing.told + 1
        self._send(client, thing)

    def _send(self, client: httpx.Client, thing: Thing) -> None:
        rationale = f"{thing.name} v{thing.tried}"
        graph = f"<{self.ids.lineage_graph(thing.project)}>"
        wanted = quads(self.ids, thing.project, thing.name, thing.tried)
        before = quads(self.ids, thing.project, thing.name, thing.told) if thing.told else set()
        document = {
            "project": thing.project,
            "rationale": rationale,
            "additions": "".join(f"{s} {p} {o} {graph} .\n" for s, p, o in wanted - before),
            "removals": "".join(f"{s} {p} {o} {graph} .\n" for s, p, o in before - wanted),
        }
        answer = client.post("/proposals", json=document)
        if self.expect(answer, 200, 201):
            found = answer.json()
            if found["state"] == "applied" or found["state"] == "unchanged":
                self.told[rationale] = found["id"]
                thing.told = thing.tried
            else:
                self.failures.append(f"{self.label}: {rationale} is {found['state']}")


@dataclass
class Decider(Worker):
    """Proposes what awaits a decision, and rejects it."""

    ids: Ids = field(default_factory=Ids)
    waiting: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    number: int = 0

    def turn(self, client: httpx.Client) -> None:
        self.number += 1
        quad = (
            f'<{Fo.Service}> <{Rdfs.comment}> "idea {self.number}" <{self.ids.graph("ontology")}> .'
        )
        answer = client.post(
            "/proposals", json={"rationale": f"idea {self.number}", "additions": quad}
        )
        if not self.expect(answer, 201):
            return
        identifier = answer.json()["id"]
        self.waiting.add(identifier)
        answer = client.post(
            f"/proposals/{identifier}/decisions", json={"outcome": "reject", "reason": "no"}
        )
        if self.expect(answer, 200):
            self.rejected.add(identifier)


@dataclass
class Exporter(Worker):
    """Sends spans, and sends again what was not acknowledged."""

    make_spans: MakeSpans
    told: list[ExportTraceServiceRequest] = field(default_factory=list)
    unclear: list[ExportTraceServiceRequest] = field(default_factory=list)
    number: int = 0

    def turn(self, client: httpx.Client) -> None:
        if self.unclear and self.random.random() < 0.9:
            request = self.unclear[0]
        else:
            self.number += 1
            request = self.make_spans(f"{self.label} {self.number}", self.random.randint(1, 40))
            self.unclear.append(request)
        answer = client.post(
            "/v1/traces",
            content=request.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )
        if self.expect(answer, 200):
            self.unclear.remove(request)
            self.told.append(request)


@dataclass
class Onlooker(Worker):
    """Keeps the newest checkpoint it saw."""

    seen: str = ""

    def turn(self, client: httpx.Client) -> None:
        answer = client.get("/proofs/checkpoint")
        if self.expect(answer, 200):
            self.seen = answer.text
        time.sleep(0.02)


class Trial:
    """One server that is killed again and again, and what its clients know."""

    def __init__(self, server: Server, make_spans: MakeSpans) -> None:
        self.server = server
        self.random = Random(SEED)
        server.start()
        keys = {
            project: server.post("/projects", {"slug": project})["ingest_key"]
            for project in PROJECTS
        }
        self.proposers = [
            Proposer(
                f"steward-{project}",
                server.token_of(f"{project}-agent", "steward", project),
                number,
                project=project,
            )
            for number, project in enumerate(PROJECTS)
        ]
        self.proposers.append(Proposer("operator", server.token, 7, project=PROJECTS[0]))
        self.decider = Decider("decider", server.token, 8)
        self.exporters = [
            Exporter(f"sdk-{project}", key, 9 + number, make_spans)
            for number, (project, key) in enumerate(keys.items())
        ]
        self.onlooker = Onlooker("onlooker", server.token, 11)
        self.key = VerifierKey.parse((server.data / "keys" / "log.pub").read_text().strip())
        self.notes: list[str] = []

    @property
    def workers(self) -> list[Worker]:
        return [*self.proposers, self.decider, *self.exporters, self.onlooker]

    def load(self, seconds: float, *, at_work: bool) -> None:
        """Everybody works, for so long; then the server is killed. The time may begin when all
        are ``at_work``, since a server that has just started is slow."""
        threads = [
            threading.Thread(target=worker.run, args=(self.server.url,)) for worker in self.workers
        ]
        for thread in threads:
            thread.start()
        before = [worker.done for worker in self.workers]
        give_up = time.monotonic() + 120
        while at_work and not all(
            worker.done > done for worker, done in zip(self.workers, before, strict=True)
        ):
            assert time.monotonic() < give_up, [worker.failures for worker in self.workers]
            time.sleep(0.005)
        time.sleep(seconds)
        self.kill()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    def kill(self) -> None:
        children = self.server.children()
        self.server.kill()
        give_up = time.monotonic() + 20
        while alive := [pid for pid in children if Path(f"/proc/{pid}/exe").exists()]:
            assert time.monotonic() < give_up, f"{alive} outlived the server"
            time.sleep(0.02)
        note = self.server.data / "log" / CHECKPOINT_PATH
        self.notes = [text for text in (self.onlooker.seen,) if text]
        if note.exists():
            self.notes.append(note.read_text())

    def start_cut_short(self) -> None:
        """A start that is killed somewhere on its way."""
        self.server.begin()
        time.sleep(self.random.uniform(0.3, 1.0) * self.start_seconds)
        self.kill()

    def restart(self) -> None:
        began = time.monotonic()
        self.server.start()
        self.start_seconds = time.monotonic() - began

    start_seconds = 4.0

    # --- what must hold

    def check(self) -> None:
        """Everything that must be so after a restart."""
        failures = [text for worker in self.workers for text in worker.failures]
        assert not failures, failures
        self.check_consistency()
        self.check_audit()
        self.check_graph()
        self.check_log()
        self.check_facts()

    def check_consistency(self) -> None:
        """The log as it is now begins with the log as it was seen before."""
        with self.server.client() as client:
            now = open_checkpoint(client.get("/proofs/checkpoint").text, self.key)
        node = TileReader(self.server.data / "log").nodes(now.size)
        for note in self.notes:
            before: Checkpoint = open_checkpoint(note, self.key)
            assert before.size <= now.size
            proof = consistency_proof(before.size, now.size, node)
            verify_consistency(before.size, now.size, proof, before.root, now.root)

    def check_audit(self) -> None:
        report = self.server.post("/proofs/audit")
        assert report["ok"], report["checks"]

    def check_graph(self) -> None:
        """Each thing stands in the graph exactly as at one version, told of or tried."""
        for proposer in self.proposers:
            found: dict[str, set[tuple[str, str, str]]] = {}
            for line in self._lines(proposer.project):
                subject, predicate, rest = line.split(" ", 2)
                found.setdefault(subject, set()).add((subject, predicate, rest.removesuffix(" .")))
            for thing in proposer.things.values():
                subject = f"<{proposer.ids.service(thing.project, thing.name)}>"
                stands = found.get(subject, set())
                allowed = [
                    quads(proposer.ids, thing.project, thing.name, version) if version else set()
                    for version in {thing.told, thing.tried}
                ]
                assert stands in allowed, f"{thing}: {sorted(stands)}"

    def _lines(self, project: str) -> list[str]:
        with self.server.client() as client:
            answer = client.get(
                f"/graphs/lineage/{project}", headers={"Accept": "application/n-triples"}
            )
        if answer.status_code == 404:
            # A graph that nothing was stated in yet.
            return []
        assert answer.is_success, answer.text
        return answer.text.splitlines()

    def check_log(self) -> None:
        """Each acknowledged proposal has one entry, and no change was made twice."""
        proposals = {item["id"]: item for item in self._pages("/proposals", 500)}
        entries = self._pages("/proofs/log", 1000)
        assert [item["index"] for item in entries] == list(range(len(entries)))[::-1]
        applied = Counter(item["proposal"] for item in entries if item["kind"] == "applied")
        by_rationale = Counter(
            item["rationale"] for item in proposals.values() if applied[item["id"]]
        )
        assert set(applied.values()) <= {1}
        for proposer in self.proposers:
            for thing in proposer.things.values():
                for version in range(1, thing.tried + 1):
                    times = by_rationale[f"{thing.name} v{version}"]
                    assert times == 1 or (times == 0 and version > thing.told), (thing, version)
            for rationale, identifier in proposer.told.items():
                if identifier is not None:
                    assert proposals[identifier]["rationale"] == rationale
                    assert proposals[identifier]["state"] in ("applied", "proven")
                    assert applied[identifier] == 1
        for identifier in self.decider.waiting:
            rejections = [
                item["index"]
                for item in entries
                if item["proposal"] == identifier and item["kind"] == "rejected"
            ]
            assert len(rejections) == (proposals[identifier]["state"] == "rejected")
        for identifier in self.decider.rejected:
            assert proposals[identifier]["state"] == "rejected"

    def _pages(self, path: str, limit: int) -> list[dict[str, object]]:
        items: list[dict[str, object]] = []
        more: dict[str, int] = {}
        while True:
            page = self.server.get(path, limit=limit, **more)
            items += page["items"]
            if page["next"] is None:
                return items
            more = {"before": page["next"]}

    def check_facts(self) -> None:
        """Each acknowledged span is one fact; of what was not acknowledged all of it or nothing."""
        give_up = time.monotonic() + 120
        while self.server.get("/status")["inbox"]["pending"]:
            assert time.monotonic() < give_up, "the facts lag"
            time.sleep(0.05)
        facts: Counter[str] = Counter()
        shards = "0123456789abcdef"
        for shard in shards:
            rows = self.server.facts(
                f"SELECT event_id FROM events WHERE startsWith(event_id, '{shard}')"
            )
            facts.update(row[0] for row in rows)
        told = [ids for exporter in self.exporters for ids in map(span_ids, exporter.told)]
        unclear = [ids for exporter in self.exporters for ids in map(span_ids, exporter.unclear)]
        assert set(facts.values()) <= {1}
        assert set().union(*told) <= set(facts)
        for ids in unclear:
            assert len(ids & set(facts)) in (0, len(ids))
        assert set(facts) <= set().union(*told, *unclear)
        [[count, distinct]] = self.server.facts("SELECT count(), uniqExact(event_id) FROM events")
        assert int(count) == int(distinct) == len(facts)


def remove(path: Path) -> None:
    """A folder, or a database with what belongs to it."""
    if path.is_dir():
        shutil.rmtree(path)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def span_ids(request: ExportTraceServiceRequest) -> set[str]:
    return {
        f"{span.trace_id.hex()}-{span.span_id.hex()}"
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


@pytest.mark.parametrize(
    "kills",
    [
        4,
        pytest.param(int(os.environ.get("FRACTALOPS_CRASH_COUNT", "60")), marks=pytest.mark.long),
    ],
)
def test_kill_9(serve: Serve, make_spans: MakeSpans, kills: int) -> None:
    trial = Trial(serve(None, "--steward-seconds", "1"), make_spans)
    for number in range(kills):
        trial.load(trial.random.uniform(0.0, 1.0), at_work=number % 4 != 2)
        if number % 4 == 1:
            trial.start_cut_short()
        if number % 4 == 3:
            lost = trial.random.sample(DERIVED, trial.random.randint(1, len(DERIVED)))
            for name in lost:
                remove(trial.server.data / name)
            trial.start_cut_short()
        trial.restart()
        trial.check()
    told = sum(len(proposer.told) for proposer in trial.proposers)
    batches = sum(len(exporter.told) for exporter in trial.exporters)
    LOGGER.info("%d kills, %d proposals, %d batches of spans", kills, told, batches)
    assert told > kills
    assert batches > kills
    assert trial.server.stop() == 0
    trial.restart()
    trial.check()
