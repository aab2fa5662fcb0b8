"""The demonstration, whole: a real platform, a real shop, and the graph between them.

What it kept is pulled by DataHub's own command too, into a file and into DataHub Lite.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ontology.vocab import FO, Fo, Rdf, Rdfs
from tests.live.datahub_executor import Executor, aspects, make_executor, removed

if TYPE_CHECKING:
    from tests.live.conftest import Server, Serving

pytestmark = pytest.mark.live


def processes_of(session: int) -> list[str]:
    """Command lines of the processes whose environment carries the session's mark."""
    mark = f"DEMO_TEST_SESSION={session}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            # It ended while we looked, or isn't ours to look at.
            continue
    return found


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a demo")


@pytest.fixture(scope="module")
def demo(temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graph_api.cli", "demo", "--keep", str(temporary / "kept")],
        env={**os.environ, "DEMO_TEST_SESSION": str(os.getpid()), "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_it_ends_well(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr


def test_it_shows_the_graph_of_the_shop(demo: subprocess.CompletedProcess[str]) -> None:
    tree = demo.stdout.split("The graph found")[1].split("Question 1")[0]
    for service in ("catalogue", "fulfilment", "orders", "storefront"):
        assert re.search(rf"[├└]── {service}$", tree, re.MULTILINE), tree
    for found in (
        "calls POST /orders  orders",
        "calls GET /products/<sku>  catalogue",
        "calls PUT /orders/<int:number>/status  orders",
        "writes order_lines",
        "writes shipments",
        "writes orders-to-ship",
        "reads orders-to-ship",
        "writes stock",
        "reads products",
    ):
        assert found in tree, tree


def test_it_answers_four_questions(demo: subprocess.CompletedProcess[str]) -> None:
    answers = demo.stdout.split("Question ")
    assert len(answers) == 5
    assert {"orders", "storefront", "fulfilment"} <= set(answers[1].split())
    assert {"shipments", "stock", "order_lines"} <= set(answers[2].split())
    # Through a call and through the queue.
    assert {"orders", "fulfilment", "stock", "shipments"} <= set(answers[3].split())
    # The feature of the request, the feature that failed in it, and what the request writes.
    table = answers[4].split("ORDER BY")[1].split("Why does the graph say")[0]
    for feature in ("checkout", "tea rebate"):
        for written in ("order_lines", "orders", "shipments", "stock"):
            assert re.search(
                rf"orders 1\.4\.0 +{feature} +ZeroDivisionError: \S+ +POST /orders +{written}\b",
                table,
            ), table


def test_it_explains_and_verifies_one_triple(demo: subprocess.CompletedProcess[str]) -> None:
    chain = demo.stdout.split("Why does the graph say")[1].split("The same traffic")[0]
    for link in ("proposal", "decision", "rule", "evidence", "raw payload"):
        assert link in chain, chain
    assert "UNANCHORED: all is well" in chain
    assert "with one letter changed: INVALID" in chain


def test_steady_traffic_proposes_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"\d+ more facts, and the stewards proposed nothing", demo.stdout)


def test_what_only_pages_say_waits(demo: subprocess.CompletedProcess[str]) -> None:
    part = demo.stdout.partition("Pages of the shop speak too")[2]
    if shutil.which("node") and shutil.which("npm"):
        assert "3 views arrived" in part
        assert "1 proposal of the steward's waits for a person" in part
        assert (
            "seen only by keys that stand in pages. First seen in 1 evidence batch: 1 page" in part
        )
    else:
        assert "Left out: Node.js isn't here" in part


def test_it_shows_no_secret(demo: subprocess.CompletedProcess[str], temporary: Path) -> None:
    token = (temporary / "kept" / "data" / "operator.token").read_text().strip()
    assert token not in demo.stdout + demo.stderr
    assert not re.search(r"foi_[A-Za-z0-9_-]{20,}", demo.stdout + demo.stderr)


def test_it_leaves_no_process(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0
    assert processes_of(os.getpid()) == []


def test_what_it_kept_is_verified_by_the_command(
    demo: subprocess.CompletedProcess[str], temporary: Path
) -> None:
    kept = temporary / "kept"
    command = [sys.executable, "-m", "graph_api.cli", "proofs", "verify", str(kept / "bundle.json")]
    done = subprocess.run(
        [*command, "--key", str(kept / "data" / "keys" / "log.pub")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UNANCHORED" in done.stdout


def test_a_folder_in_use_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep me", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "graph_api.cli", "demo", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "isn't an empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


QUESTIONS = sorted((Path(__file__).parents[2] / "docs" / "questions").glob("*.rq"))

# What a healthy shop without accidents can't have: circles of dependencies, and what is asleep; and
# what takes lineage of jobs, which the shop has none of (tests/live/test_conflicts.py asks both).
# Nor has it machines (tests/live/test_discovery.py asks for those).
MAY_BE_EMPTY = {
    "q10-circles",
    "q25-dormant",
    "q26-column-lineage",
    "q27-conflicts",
    "q28-what-ran",
}


@pytest.fixture(scope="module")
def reopened(
    demo: subprocess.CompletedProcess[str], temporary: Path, serving_in: Serving
) -> Iterator[Server]:
    """The platform again, on what the demonstration kept."""
    assert demo.returncode == 0
    with serving_in(temporary) as serve:
        yield serve(temporary / "kept" / "data").start()


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_every_competency_question_is_answered_on_its_graph(reopened: Server, path: Path) -> None:
    with reopened.client() as client:
        answer = client.post(
            "/sparql",
            content=path.read_bytes(),
            headers={"Content-Type": "application/sparql-query"},
        )
    assert answer.is_success, answer.text
    rows = answer.json()["results"]["bindings"]
    assert rows or path.stem in MAY_BE_EMPTY


@pytest.fixture(scope="module")
def executor(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Executor:
    return make_executor(checkout, tmp_path_factory.mktemp("executor"))


@pytest.fixture(scope="module")
def pulled(executor: Executor, reopened: Server) -> list[dict[str, Any]]:
    """What DataHub is told of the graph, in the executor's folder as ``demo.json`` too."""
    return executor.to_file(reopened, "demo", overwrite=True)


def asked(server: Server, pattern: str, names: str) -> list[tuple[str, ...]]:
    """The solutions of a pattern over the lineage graph of the shop."""
    graph = server.ids.lineage_graph("shop")
    return server.select(f"PREFIX fo: <{FO}> SELECT {names} {{ GRAPH <{graph}> {{ {pattern} }} }}")


def by_iri(emitted: list[dict[str, Any]], name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """URN and value of an aspect by the IRI that stands in it."""
    return {
        value["customProperties"]["iri"]: (urn, value)
        for urn, value in aspects(emitted, name).items()
    }


def test_datahub_is_told_of_every_entity(pulled: list[dict[str, Any]], reopened: Server) -> None:
    wanted = {
        "datasetProperties": f"VALUES ?c {{ <{Fo.Dataset}> <{Fo.Topic}> }} ?e a ?c .",
        "dataFlowInfo": "?e a fo:Service .",
        "dataJobInfo": "?h fo:offers|fo:performs ?e .",
    }
    told: dict[str, tuple[str, dict[str, Any]]] = {}
    for aspect, pattern in wanted.items():
        found = by_iri(pulled, aspect)
        rows = asked(reopened, f"{pattern} ?e <{Rdfs.label}> ?l .", "?e ?l")
        labels = {iri: label for iri, label in rows}  # noqa: C416 - rows have any length
        assert len(labels) >= 4, aspect
        assert {iri: value["name"] for iri, (_, value) in found.items()} == labels
        told |= found
    incidents = {it["title"]: it["entities"] for it in aspects(pulled, "incidentInfo").values()}
    issues = asked(reopened, f"?e a fo:ErrorIssue ; <{Rdfs.label}> ?l .", "?e ?l")
    assert {label for _, label in issues} == incidents.keys()
    for issue, label in issues:
        affected = {iri for (iri,) in asked(reopened, f"<{issue}> fo:affects ?o .", "?o")}
        # A feature is nothing that DataHub knows.
        raised = {told[iri][0] for iri in affected & told.keys()}
        assert raised == set(incidents[label]) != set()

    # Literals, each under its name, and where each entity comes from.
    for name in ("httpMethod", "route", "system"):
        for iri, value in asked(reopened, f"?e fo:{name} ?v .", "?e ?v"):
            if iri in told:
                assert told[iri][1]["customProperties"][name] == value, iri
    domains, proofs = aspects(pulled, "domains"), aspects(pulled, "structuredProperties")
    owners = aspects(pulled, "ownership")
    for urn, properties in told.values():
        assert domains[urn]["domains"] == ["urn:li:domain:fractalops.shop"]
        assert [it["owner"] for it in owners[urn]["owners"]] == ["urn:li:corpuser:steward-shop"]
        assert {it["propertyUrn"].rpartition(".")[2] for it in proofs[urn]["properties"]} == {
            *("proofEntry", "proofHead", "evidence", "proofChain")
        }
        assert properties["externalUrl"].startswith(f"{reopened.url}/proofs/explain?")


def test_datahub_is_told_what_reads_and_writes_what(
    pulled: list[dict[str, Any]], reopened: Server
) -> None:
    urns = {
        iri: urn
        for name in ("datasetProperties", "dataFlowInfo", "dataJobInfo")
        for iri, (urn, _) in by_iri(pulled, name).items()
    }
    edges = aspects(pulled, "dataJobInputOutput")
    for name, column in (("reads", "inputDatasets"), ("writes", "outputDatasets")):
        rows = asked(reopened, f"?j fo:{name} ?d .", "?j ?d")
        stated = {(urns[job], urns[data]) for job, data in rows}
        assert {(job, data) for job, it in edges.items() for data in it[column]} == stated
        assert len(stated) >= 4
    rows = asked(reopened, "?f fo:offers|fo:performs ?j .", "?j ?f")
    holders = {(urns[job], urns[flow]) for job, flow in rows}
    infos = aspects(pulled, "dataJobInfo")
    assert {(job, info["flowUrn"]) for job, info in infos.items()} == holders


@pytest.mark.usefixtures("pulled")
def test_datahub_finds_valid_what_it_is_told(executor: Executor) -> None:
    executor.run("check", "metadata-file", executor.folder / "demo.json")


def test_datahub_removes_what_was_retracted(
    pulled: list[dict[str, Any]], executor: Executor, reopened: Server
) -> None:
    lite = {"type": "sqlite", "config": {"file": str(executor.folder / "lite.db")}}
    sink = {"type": "datahub-lite", "config": lite}
    executor.ingest(reopened, "lite", sink, overwrite=True)
    (executor.folder / ".datahubenv").write_text(
        json.dumps({"gms": {"server": "http://127.0.0.1:9"}, "lite": lite}), encoding="utf-8"
    )
    urns = {urn for name in ("datasetProperties", "dataJobInfo") for urn in aspects(pulled, name)}
    known = executor.run("lite", "list-urns").splitlines()
    assert urns <= set(known)

    (gone,) = (urn for urn in urns if urn.endswith("fulfilment.db.shipments,PROD)"))
    iri = aspects(pulled, "datasetProperties")[gone]["customProperties"]["iri"]
    graph = reopened.ids.lineage_graph("shop")
    with reopened.client() as client:
        answer = client.post(
            "/sparql",
            content=f"CONSTRUCT {{ ?s ?p ?o }} {{ GRAPH <{graph}> {{ ?s ?p ?o"
            f" FILTER (?s = <{iri}> || ?o = <{iri}>) }} }}",
            headers={"Content-Type": "application/sparql-query", "Accept": "application/n-triples"},
        )
    lines = [line.removesuffix(" .") + f" <{graph}> ." for line in answer.text.splitlines()]
    assert any(f"<{Rdf.type}>" in line for line in lines)
    proposal = {"project": "shop", "rationale": "not ours", "removals": "\n".join(lines) + "\n"}
    assert reopened.post("/proposals", proposal)["state"] == "applied"

    again = executor.to_file(reopened, "demo", overwrite=True)
    assert removed(again) & urns == {gone}
    assert gone not in aspects(again, "datasetProperties")
    assert all(
        gone not in it["outputDatasets"] for it in aspects(again, "dataJobInputOutput").values()
    )
    executor.ingest(reopened, "lite", sink, overwrite=True)
    found = executor.run("lite", "get", "--urn", gone)
    assert re.search(r'"removed": true', found), found
