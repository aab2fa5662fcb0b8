"""Many projects on one machine: from a new fact to its proof, and what stewards cost at rest.

Baselines, on the same server: the change of one service, proposed to the gate without telemetry or
steward; and what the server costs at rest while it has one project. A span of a service that wasn't
seen before is sent to its project, and looked for in the graph.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import fmean

from bench_context import Context, say, timed
from bench_data import delta
from bench_figures import Baseline, Figure
from bench_server import Server, tree
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from graph_api.client import Client

_PATIENCE = 120.0
_LOOK = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_TRACES = "application/x-protobuf"


def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    with Server(context.folder / "stewards") as server, server.client() as client:
        keys = {"p0": _found(client, "p0")}
        server.settle()
        one = _cpu_at_rest(server, sizes.rested)
        fresh, straight = [], []
        for number in range(sizes.rounds * sizes.facts):
            say(f"a new fact, {number + 1}")
            fresh.append(timed(_from_fact_to_proof, client, {"p0": keys["p0"]}, f"new-{number}"))
            body = delta(context.ids, "p0", f"straight-{number}", typed=True)
            straight.append(timed(_from_proposal_to_proof, client, body))
            # The steward looks again only after a rest.
            time.sleep(1.0)
        for number in range(1, sizes.projects):
            say(f"founding project {number + 1} of {sizes.projects}")
            keys[f"p{number}"] = _found(client, f"p{number}")
        server.settle()
        many = _cpu_at_rest(server, sizes.rested)
        say("a new fact for each project")
        everybody = timed(_from_fact_to_proof, client, keys, "all")
    return [
        Figure(
            "a new fact to its proven proposal",
            "s",
            tuple(fresh),
            (Baseline("one change through the gate", tuple(straight)),),
            aim="aim: under 2 s",
        ),
        Figure(
            f"CPU at rest, {sizes.projects} projects",
            "ms/s",
            (many,),
            (Baseline("one project", (one,)),),
        ),
        Figure(
            f"new facts of {sizes.projects} projects, proven",
            "s",
            (everybody,),
            (Baseline("as many through the gate, in turn", (fmean(straight) * len(keys),)),),
        ),
    ]


def _found(client: Client, slug: str) -> str:
    return str(client.create_project(slug, label=None, restricted=False)["ingest_key"])


def _cpu_at_rest(server: Server, seconds: float) -> float:
    """Milliseconds of CPU that the server and its processes take in a second, once it rests."""
    before = _cpu(server)
    time.sleep(seconds)
    return max((_cpu(server) - before) * 1_000 / seconds, 0.01)


def _cpu(server: Server) -> float:
    total = 0
    for pid in tree(server.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def _from_fact_to_proof(client: Client, keys: dict[str, str], service: str) -> None:
    """Send each project a span of a new service, and wait until another proposal of each is
    proven."""
    before = {project: _proven(client, project) for project in keys}
    for project, key in keys.items():
        answer = client.send(
            "POST",
            "/v1/traces",
            content=_span(f"{service}-{project}"),
            headers={"Authorization": f"Bearer {key}", "Content-Type": _TRACES},
        )
        assert answer.status == 200, answer.text
    waiting = set(keys)
    until = time.monotonic() + _PATIENCE
    while waiting:
        waiting -= {project for project in waiting if _proven(client, project) != before[project]}
        if waiting and time.monotonic() > until:
            raise TimeoutError(f"{len(waiting)} projects heard nothing in {_PATIENCE:g} s")
        time.sleep(_LOOK)


def _proven(client: Client, project: str) -> str:
    """The newest proven proposal of a project."""
    found = client.proposals(state="proven", project=project, limit=1)["items"]
    return str(found[0]["id"]) if found else ""


def _from_proposal_to_proof(client: Client, body: bytes) -> None:
    made = client.submit(body, "application/n-quads", {"project": "p0"})
    while client.proposal(made["id"])["state"] != "proven":
        time.sleep(_LOOK)


def _span(service: str) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    named = resource.resource.attributes.add()
    named.key, named.value.string_value = "service.name", service
    span = resource.scope_spans.add().spans.add()
    span.name, span.kind = "GET /", span.SPAN_KIND_SERVER
    span.trace_id, span.span_id = os.urandom(16), os.urandom(8)
    now = time.time_ns()
    span.start_time_unix_nano, span.end_time_unix_nano = now - 1_000_000, now
    return request.SerializeToString()
