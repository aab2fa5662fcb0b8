"""JavaScript clients on their default settings, against a real server, where Node.js is there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ontology.vocab import Fo

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

HERE = Path(__file__).parent / "javascript"
NODE, NPM = shutil.which("node"), shutil.which("npm")

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        not (NODE and NPM),
        reason="Node.js isn't installed: install node and npm to run its clients",
    ),
]

Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run("otlp.mjs", ...)``: one of the scripts, its clients installed beside it; what it
    printed, each line a JSON object."""
    assert NODE
    assert NPM
    folder = tmp_path_factory.mktemp("javascript")
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    install = (NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    assert not installed.returncode, installed.stderr

    def node(*arguments: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            (NODE, *arguments), cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert not done.returncode, done.stdout + done.stderr
        assert done.stderr == ""
        return [json.loads(line) for line in done.stdout.splitlines()]

    return node


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(None, "--steward-seconds", "0.2").start()


def test_their_telemetry_arrives(run: Run, server: Server) -> None:
    project = server.post("/projects", {"slug": "shop"})
    key = project["ingest_key"]

    (traced,) = run("otlp.mjs", server.url, key)
    assert run("posthog.mjs", server.url, key) == []
    said = run("sentry.mjs", project["sentry"]["SENTRY_DSN"])
    answers = {line["event"]: line["status"] for line in said if "event" in line}
    (exception,) = (line["exception"] for line in said if "exception" in line)
    (message,) = (line["message"] for line in said if "message" in line)
    assert answers.keys() >= {exception, message}
    assert set(answers.values()) == {200}
    assert said[-1] == {"flushed": True}
    server.settle()

    assert server.facts(
        "SELECT class, kind, session, attributes['weight'], attributes['flags'] FROM events"
        f" WHERE event_id = '{traced['trace']}-{traced['span']}'"
    ) == [[Fo.HttpRoute, "server", "s-1", "0.5", "[true, false]"]]
    assert server.facts(
        "SELECT name, class, session, service, release FROM events"
        " WHERE source = 'posthog.event' AND name NOT LIKE '$%'"
    ) == [["order placed", Fo.ProductEventType, "s-1", "web-js", "1.4.2"]]
    events = server.facts("SELECT name FROM events WHERE source = 'posthog.event' ORDER BY name")
    assert {"$groupidentify", "$identify", "$pageview", "order placed"} <= {n for (n,) in events}
    assert server.facts(
        "SELECT name, class, service, release, environment, trace_id != '' FROM events"
        f" WHERE event_id IN ('{exception}', '{message}') ORDER BY name"
    ) == [
        ["TypeError", Fo.ErrorIssue, "web-js", "1.4.2", "staging", True],
        ["stock is low", Fo.ErrorIssue, "web-js", "1.4.2", "staging", True],
    ]
    assert server.facts(
        "SELECT count() FROM events WHERE toString(attributes) LIKE '%example.org%'"
    ) == [[0]]

    assert server.select(
        f"SELECT ?route ?table {{ ?service <{Fo.offers}> ?entry . ?entry a <{Fo.HttpRoute}> ;"
        f" <{Fo.route}> ?route ; <{Fo.invokes}> ?query . ?query <{Fo.reads}> ?data ."
        " ?data <http://www.w3.org/2000/01/rdf-schema#label> ?table }"
    ) == [("/orders/:id", "orders")]
