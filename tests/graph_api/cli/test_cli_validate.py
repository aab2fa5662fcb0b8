"""``fractalops validate``, and how reports are printed wherever they are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyoxigraph import RdfFormat, parse

from graph_api.cli_report import short_cause, short_text
from ontology.vocab import Fo, Rdf, Sh

SERVICE = "https://w3id.org/fractalops/shapes#Service"
LINES = "application/x-ndjson"


def result(number: int, *, severity: str = "Violation", shape: str = SERVICE) -> dict[str, Any]:
    focus = f"http://x.example/id/{number}"
    return {
        "focus": f"<{focus}>",
        "path": f"<{Fo.calls}>",
        "value": '"x\x1b[2J"',
        "message": f"must be an instance of <{Fo.Service}>",
        "shape": f"<{shape}>",
        "severity": severity,
        "component": "<http://www.w3.org/ns/shacl#ClassConstraintComponent>",
        "messages": [],
        "cause": f"A <{focus}> <{Rdf.type}> <{Fo.Service}> <http://x.example/graph/lineage/shop> .",
        "advice": f"add: it a <{Fo.Service}>",
    }


def report(*results: dict[str, Any], omitted: int = 0, nodes: int = 0) -> dict[str, Any]:
    return {
        "conforms": not any(item["severity"] == "Violation" for item in results),
        "results": list(results),
        "omitted": omitted,
        "nodes": {f"<{SERVICE}>": nodes or len(results)} if results else {},
        "additions": 2,
        "removals": 0,
        "head": 7,
    }


def lines(*documents: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in documents)


def test_the_whole_graph_is_asked_for_with_nothing(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    progress = {"progress": {"part": 1, "parts": 2, "nodes": 3, "found": 0}}
    fake.says("POST /validate", lines(progress, {"report": report()}), media_type=LINES)
    shown = run("validate", "--data", data)
    assert (shown.code, shown.out.splitlines()[0]) == (0, "conforms   yes")
    assert fake.last.query == {}
    assert fake.last.body == b""
    assert "content-type" not in fake.last.headers
    assert fake.last.headers["accept"].startswith(LINES)


def test_a_terminal_shows_how_far_it_is(
    fake: Any, data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = {"part": 3, "parts": 40, "nodes": 12_000, "found": 2}
    fake.says("POST /validate", lines({"progress": step}, {"report": report()}), media_type=LINES)
    told: list[str] = []

    @contextmanager
    def working(what: str) -> Iterator[Callable[[str], None]]:
        yield told.append

    monkeypatch.setattr("graph_api.cli_validate.working", working)
    assert run("validate", "--data", data).code == 0
    assert told == ["Validating the whole graph: part 3 of 40, 12,000 nodes, 2 results"]


def test_a_file_is_tried_as_it_would_be_proposed(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.says("POST /validate", report(result(1)))
    (data / "a.ttl").write_bytes(b"a")
    shown = run("validate", data / "a.ttl", "--project", "shop", "--data", data)
    assert shown.code == 1
    assert fake.last.query == {"project": ["shop"], "graph": ["lineage/shop"]}
    assert fake.last.body == b"a"
    assert fake.last.headers["content-type"] == "text/turtle"
    assert "1 node would not conform to fos:Service" in shown.out
    heading, row = shown.out.splitlines()[-2:]
    titles = ["focus", "path", "value", "shape", "message", "because", "to pass"]
    assert [title for title in titles if f"{title} " in f"{heading} "] == titles
    assert '"x\\x1b[2J"' in row
    assert "added <http://x.example/id/1> a fo:Service in lineage/shop" in row
    assert row.endswith("add: it a fo:Service")


def test_a_warning_is_told_and_conforms(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    found = report(result(1, severity="Warning"), result(2, severity="Info"))
    fake.says("POST /validate", lines({"report": found}), media_type=LINES)
    shown = run("validate", "--data", data)
    assert shown.code == 0
    assert "2 nodes pass fos:Service with a warning" in shown.out
    assert " info " in shown.out


def test_a_long_report_is_cut_and_says_by_how_much(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    many = [result(number) for number in range(30)]
    more = [result(number, shape=SERVICE + "-label", severity="Warning") for number in range(3)]
    found = report(*more, *many, omitted=12_345, nodes=3_204)
    fake.says("POST /validate", lines({"report": found}), media_type=LINES)
    shown = run("validate", "--data", data)
    assert "3,204 nodes do not conform to fos:Service" in shown.out
    assert shown.out.index("fos:Service (violation): 30 results") < shown.out.index(
        "fos:Service-label (warning): 3 results"
    )
    assert shown.out.count("must be an instance") == 13
    assert "20 more results; see them with --output json" in shown.err
    assert "12,345 more results: counted, and not in the report" in shown.err
    whole = json.loads(run("validate", "--data", data, "--output", "json").out)
    assert whole == found


def test_a_narrow_terminal_gets_a_block_for_each_result(
    fake: Any,
    data: Path,
    terminal: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake.says("POST /validate", report(result(1)))
    monkeypatch.setenv("COLUMNS", "80")
    narrow = terminal("validate", "--data", data).out
    monkeypatch.setenv("COLUMNS", "200")
    wide = terminal("validate", "--data", data).out
    assert "because" in narrow
    assert len(narrow.splitlines()) > len(wide.splitlines()) > 3


def test_turtle_is_the_report_graph(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /validate", report(result(1), result(2)))
    shown = run("validate", "-", "--data", data, "--output", "turtle", stdin=b"x")
    assert shown.code == 1
    triples = list(parse(shown.out, format=RdfFormat.TURTLE))
    assert sum(triple.predicate.value == Sh.focusNode for triple in triples) == 2
    assert "prefix org:" not in shown.out


def test_several_files_are_tried_each_by_itself(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    for name in ("good", "bad"):
        (data / f"{name}.nq").write_text(name)

    def answer(seen: Any) -> Any:
        found = report(result(1)) if seen.body == b"bad" else report()
        fake.says("POST /dry", found)
        return fake.answers["POST /dry"]

    fake.answers["POST /validate"] = answer
    files = (data / "bad.nq", data / "good.nq")
    shown = run("validate", *files, "--data", data)
    assert shown.code == 1
    assert shown.out.index("bad.nq:") < shown.out.index("good.nq:")
    assert shown.out.rstrip().splitlines()[-4].split() == ["conforms", "yes"]
    found = json.loads(run("validate", *files, "--data", data, "--output", "json").out)
    assert [(Path(item["file"]).name, item["conforms"]) for item in found] == [
        ("bad.nq", False),
        ("good.nq", True),
    ]
    rows = list(
        csv.DictReader(io.StringIO(run("validate", *files, "--data", data, "--output", "csv").out))
    )
    assert [(Path(row["file"]).name, row["cause"][:1]) for row in rows] == [("bad.nq", "A")]
    assert run("validate", *files, "--data", data, "--output", "turtle").code == 2


def test_what_goes_wrong_on_the_way(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    problem = {
        "type": "https://w3id.org/fractalops/problems/validation-failed",
        "title": "It came to no end",
        "status": 503,
        "detail": "Try again.",
    }
    fake.says("POST /validate", lines({"problem": problem}), media_type=LINES)
    shown = run("validate", "--data", data)
    assert (shown.code, shown.out) == (1, "")
    assert "It came to no end: Try again." in shown.err
    fake.says("POST /validate", b"", media_type=LINES)
    assert "before the report" in run("validate", "--data", data).err
    fake.says("POST /validate", b"<html>", media_type=LINES)
    assert run("validate", "--data", data).code == 1
    fake.says("POST /validate", {"conforms": True, "results": [{"other": 1}]})
    shown = run("validate", "--data", data, "--output", "turtle")
    assert (shown.code, "another version" in shown.err) == (1, True)


def test_what_is_no_usage(data: Path, run: Callable[..., Any]) -> None:
    assert run("validate", "--project", "shop", "--data", data).code == 2
    assert run("validate", "a.unknown", "--data", data).code == 2
    assert run("validate", "--output", "xml", "--data", data).code == 2


def test_a_report_of_an_older_server_reads(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    """Before causes and counts were kept."""
    old = result(1)
    for name in ("messages", "cause", "advice"):
        del old[name]
    fake.says("POST /validate", {"conforms": False, "results": [old]})
    shown = run("validate", "-", "--data", data)
    assert shown.code == 1
    assert "because" not in shown.out
    assert "sh:focusNode" in run("validate", "-", "--data", data, "--output", "turtle").out


def test_a_proposal_shows_how_many_nodes_its_shapes_would_break(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    warned = report(result(1, severity="Warning"), nodes=40)
    waiting = {**proposal, "state": "awaiting decision", "report": warned}
    fake.says("GET /proposals/p1/card", {"proposal": waiting})
    shown = run("proposals", "show", "p1", "--data", data)
    assert "40 nodes would pass fos:Service with a warning" in shown.out


def test_texts_are_shortened() -> None:
    assert (
        short_text(f"a <{Fo.Service}> <http://x.example/s>") == "a fo:Service <http://x.example/s>"
    )
    row = f'D <http://x.example/s> <{Fo.calls}> "a <b> ." <http://x.example/graph/ontology> .'
    assert short_cause(row) == 'removed <http://x.example/s> fo:calls "a <b> ." in ontology'
    assert short_cause("strange") == "strange"
