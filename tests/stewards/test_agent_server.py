"""The graph as the LangGraph agent server finds it."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from ontology.ids import Ids
from stewards import agent_server
from stewards.agent_server import PROJECT, TOKEN, URL, required, served
from stewards.errors import NotConfigured
from stewards.gate_client import GateClient
from stewards.graph import STEPS
from stewards.watermark import WatermarkStore

if TYPE_CHECKING:
    from tests.stewards.conftest import PlayedGate, Traffic

A_TOKEN = "fot_" + "s" * 43


def test_the_file_names_the_graph(checkout: Path) -> None:
    named = json.loads((checkout / "langgraph.json").read_text(encoding="utf-8"))
    path, _, name = named["graphs"]["steward"].partition(":")
    assert (checkout / path).resolve() == Path(agent_server.__file__).resolve()
    assert getattr(agent_server, name) is agent_server.steward
    assert [(checkout / folder).resolve() for folder in named["dependencies"]] == [checkout]


def test_the_environment_must_say_whose_steward_it_is() -> None:
    with pytest.raises(NotConfigured, match="needs FRACTALOPS_TOKEN, FRACTALOPS_PROJECT in"):
        required({URL: "http://127.0.0.1:1"})


def test_the_same_graph_runs_without_a_checkpointer(
    gate: PlayedGate, traffic: Traffic, ids: Ids, watermarks: WatermarkStore
) -> None:
    traffic.send(*traffic.order())
    with GateClient.connect(gate.url, A_TOKEN) as client:
        graph = served(traffic.project, client, ids, watermarks)
        assert graph.checkpointer is None
        assert set(STEPS) < set(graph.get_graph().nodes)
        # Whatever else the caller says, a cycle begins with the steward's own watermark.
        far = {"after": 7, "until": 9_000, "facts": 1}
        state = graph.invoke({"project": "another", "page": far, "tally": {"pages": 5}})
        assert (state["tally"]["pages"], state["tally"]["facts"]) == (1, 8)
        assert [made["state"] for made in gate.made()] == ["applied"]
        assert graph.invoke({"project": traffic.project})["tally"]["pages"] == 0


@contextmanager
def langgraph_dev(checkout: Path, environment: dict[str, str], port: int) -> Iterator[str]:
    """The agent server. It takes the paths of its file from the working folder, and leaves a folder
    ``.langgraph_api`` there."""
    command = [
        *(sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"),
        *("--host", "127.0.0.1", "--port", str(port), "--config", str(checkout / "langgraph.json")),
    ]
    environment = {**os.environ, **environment}
    with subprocess.Popen(command, env=environment, cwd=checkout) as running:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


@pytest.mark.live
@pytest.mark.skipif(
    importlib.util.find_spec("langgraph_api") is None,
    reason="langgraph-api, the agent server, has the Elastic licence and is no dependency; "
    "to run this: pip install 'langgraph-cli[inmem]'",
)
def test_the_agent_server_serves_it(checkout: Path, gate: PlayedGate, traffic: Traffic) -> None:
    traffic.send(*traffic.order())
    environment = {URL: gate.url, TOKEN: A_TOKEN, PROJECT: traffic.project}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        langgraph_dev(checkout, environment, port) as url,
        httpx.Client(base_url=url) as http,
    ):
        for _ in range(600):
            try:
                if http.get("/ok").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        answer = http.post(
            "/runs/wait",
            json={"assistant_id": "steward", "input": {"project": traffic.project}},
            timeout=60,
        )
        assert answer.json()["tally"]["facts"] == 8
    assert len(gate.made()) == 1
