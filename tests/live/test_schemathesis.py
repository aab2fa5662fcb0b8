"""Schemathesis asks every operation of ``/openapi.json``, rightly and wrongly: no answer is a
server error, and none is undocumented. The long version asks far more often, and at edges.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import own_environment, run_command, service_turtle, spans, wait_until

if TYPE_CHECKING:
    from tests.live.conftest import Server, Serving

pytestmark = pytest.mark.live

PROGRAM = Path(sys.executable).with_name("st")
SHORT = ("--phases", "examples,fuzzing", "--max-examples", "4")
LONG = ("--phases", "examples,coverage,fuzzing")


@pytest.fixture
def server(serving_in: Serving, tmp_path: Path) -> Iterator[Server]:
    """A server of its own: what is asked of it takes projects, tokens and keys away."""
    with serving_in(tmp_path) as serve:
        yield serve(None, "--time-lock", "1s", "--steward-seconds", "3600").start()


def names_of_what_there_is(server: Server, key: str, topology: Path) -> dict[str, dict[str, str]]:
    """For each path whose parameters name something, names that there are."""
    ended = run_command("infra", "apply", topology, "--data", server.data)
    assert ended.code == 0, ended.text
    server.send(key, spans("contract", 3))
    proposal = server.propose("shop", service_turtle(server.ids, "shop", "web"))
    server.settle()
    # A lone operator's change of assets waits for its time lock.
    wait_until(lambda: bool(server.get("/runtime-assets")["items"]), "the assets' beginning")
    digest = server.get("/evidence")["items"][0]["digest"]
    keys = server.get("/projects/shop/keys")["items"]
    size = server.head + 1
    names = {
        "/evidence/{digest}": {"digest": digest},
        "/graphs": {"graph": "ontology"},
        "/graphs/{name}": {"name": "ontology"},
        "/id/{name}": {"name": "project/shop"},
        "/projects/{slug}/keys/{identifier}": {"slug": "shop", "identifier": keys[-1]["id"]},
        "/proofs/entries/{entry}": {"entry": "0"},
        "/proofs/bundle/{entry}": {"entry": "0"},
        "/proofs/tile/{path}": {"path": f"0/000.p/{size}"},
        "/proofs/explain": {
            "s": f"<{server.ids.project('shop')}>",
            "p": "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>",
            "o": "<https://w3id.org/fractalops/ns#Project>",
        },
        "/sparql": {
            "query": "SELECT * { ?s ?p ?o } LIMIT 3",
            "at": "0",
            "min_head": "0",
            "entailment": "on",
        },
        "/facts": {"query": "SELECT name FROM events"},
        "/proposals": {"project": "shop", "graph": "lineage/shop", "base": "0"},
        "/validate": {"project": "shop", "graph": "lineage/shop", "base": "0"},
        "/live": {"after": "0", "last-event-id": "0"},
        "/api/{number}/envelope/": {"number": "1"},
        "/api/{number}/store/": {"number": "1"},
        "/api/{number}/integration/otlp/v1/traces/": {"number": "1"},
        "/array/{key}/config": {"key": key},
        "/array/{key}/config.js": {"key": key},
        "/webhooks/posthog/{key}": {"key": key},
        "/webhooks/glitchtip/{key}": {"key": key},
    }
    for path in ("surveys", "web_experiments", "early_access_features"):
        names[f"/api/{path}/"] = {"token": key}
    for path in ("/api/feature_flag/local_evaluation/", "/flags/definitions/"):
        names[path] = {"token": key}
    for path in ("", "/card", "/diff", "/report", "/decisions", "/revert"):
        names[f"/proposals/{{identifier}}{path}"] = {"identifier": proposal["id"]}
    for path in ("", "/check", "/runs", "/requests"):
        names[f"/runtime-assets/{{asset_id}}{path}"] = {"asset_id": "langboard"}
        names[f"/endpoints/{{endpoint_id}}{path}"] = {"endpoint_id": "artifacts"}
    names["/runtime-assets/{name}"] = {"name": "langboard"}
    names["/endpoints/{name}"] = {"name": "artifacts"}
    for path in ("/keys", "/rereading", "/run", "/token", "/keys/{key}/retire"):
        names[f"/stewards/{{name}}{path}"] = {"name": "steward-shop"}
    for path in ("/keys", "/upstreams", "/upstreams/{kind}", "/glitchtip"):
        names[f"/projects/{{slug}}{path}"] = {"slug": "shop"}
    return names


@pytest.mark.parametrize(
    "options",
    [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.long)],
)
def test_no_answer_is_undocumented(
    server: Server, checkout: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]
    count = os.environ.get("FRACTALOPS_CONTRACT_COUNT", "30")
    more = () if "--max-examples" in options else ("--max-examples", count)
    done = subprocess.run(
        [
            *(PROGRAM, "--config-file", checkout / "tests" / "live" / "schemathesis.toml"),
            *("run", f"{server.url}/openapi.json", *options, *more),
        ],
        env=own_environment(
            PYTHONPATH=str(checkout),
            CONTRACT_TOKEN=server.token,
            CONTRACT_KEY=key,
            CONTRACT_NAMES=json.dumps(
                names_of_what_there_is(server, key, checkout / "examples" / "topology.yaml")
            ),
        ),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    operations = [
        method
        for methods in server.get("/openapi.json")["paths"].values()
        for method in methods
        if method in ("get", "put", "post", "delete")
    ]
    assert f"Operations:       {len(operations)} selected / {len(operations)} total" in done.stdout
    # Not all of it was refused.
    assert len(server.get("/evidence", limit=100)["items"]) > 5
    assert " ERROR " not in server.text, server.text
