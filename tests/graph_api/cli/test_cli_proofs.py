"""The log, explanations, and the offline verdict."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from graph_api.cli_terms import short_principal, short_term, term
from proofs.checkpoint import (
    COSIGNATURE_V1,
    Checkpoint,
    SignerKey,
    add_cosignature,
    cosign,
    sign_checkpoint,
)
from proofs.merkle import inclusion_proof, leaf_hash, nodes_of, root_from_hashes
from proofs.statement import (
    Proof,
    build,
    delta_digests,
    delta_subjects,
    envelope,
    sign_payload,
    statement,
)
from proofs.verify import Delta, make_bundle

FO = "https://w3id.org/fractalops/ns#"
GRAPH = "http://fractalops.localhost/graph/lineage/shop"
LOG = SignerKey("log.example/shop", bytes(range(32)))
OTHER = SignerKey("log.example/shop", bytes(range(1, 33)))
WITNESS = SignerKey("witness.example/w1", bytes(range(2, 34)), COSIGNATURE_V1)
EXPLAINED = {
    "triple": {"s": "<x:s>", "p": "<x:p>", "o": "<x:o>"},
    "graphs": [
        {
            "graph": GRAPH,
            "proof": 7,
            "proposal": {"id": "p1", "author": "steward", "state": "applied", "rationale": "r\x1b"},
            "decisions": [
                {
                    "by": "policy",
                    "outcome": "approve",
                    "reason": "own graph",
                    "at": "T",
                    "single_person": True,
                }
            ],
            "rules": [{"rule": FO + "rule-x", "class": FO + "HttpRoute", "events": 4}],
            "evidence": [
                {
                    "digest": "sha256:" + "a" * 64,
                    "received_at": "T",
                    "source": "otel.span",
                    "project": "shop",
                    "payload_sha256": "b" * 64,
                }
            ],
            "shapes": "c" * 64,
            "ontology": "d" * 64,
        }
    ],
}


def bundle(*, witnessed: bool = False) -> bytes:
    """Entry 3 of a log with five entries."""
    leaves: list[bytes] = []
    for index in range(5):
        delta = changes(index)
        proof = Proof(
            kind="applied",
            index=index,
            previous=leaf_hash(leaves[-1]).hex() if leaves else None,
            time="2026-11-22T19:45:00Z",
            proposal=f"urn:proposal:{index}",
            project="shop",
            principal="urn:steward",
            delta=delta_digests(delta.added, delta.removed),
            state_before="b" * 64,
            state_after="c" * 64,
        )
        subjects = delta_subjects(delta.added, delta.removed)
        payload = build(statement(subjects, proof.to_dict()))
        leaves.append(envelope(payload, LOG, [sign_payload(payload, LOG)][:0]))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    note = sign_checkpoint(Checkpoint(LOG.name, 5, root_from_hashes(hashes)), LOG)
    if witnessed:
        note = add_cosignature(note, cosign(note, WITNESS, 1_800_000_000), [WITNESS.verifier])
    return make_bundle(
        log_key=LOG.verifier,
        index=3,
        leaf=leaves[3],
        checkpoint=note,
        inclusion=inclusion_proof(3, 5, nodes_of(hashes.__getitem__)),
        delta=changes(3),
    )


def changes(index: int) -> Delta:
    return Delta(f'<{FO}s{index}> <{FO}name> "\u202e{index}" <{GRAPH}> .\n', "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "entry 3.json"
    path.write_bytes(bundle())
    return path


@pytest.mark.parametrize(
    ("typed", "place", "expected"),
    [
        ("fo:Service", "subject", f"<{FO}Service>"),
        ("<http://x/s>", "subject", "<http://x/s>"),
        ("http://x/s?a=b#c", "object", "<http://x/s?a=b#c>"),
        ("urn:x:y", "object", "<urn:x:y>"),
        ("a", "predicate", "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"),
        ('"web"', "object", '"web"'),
        ("'it\\'s'", "object", '"it\'s"'),
        ('"web"@en', "object", '"web"@en'),
        ('"x"^^xsd:date', "object", '"x"^^<http://www.w3.org/2001/XMLSchema#date>'),
        ("42", "object", '"42"^^<http://www.w3.org/2001/XMLSchema#integer>'),
        ("true", "object", '"true"^^<http://www.w3.org/2001/XMLSchema#boolean>'),
        (' "a\\nb" ', "object", '"a\\nb"'),
    ],
)
def test_terms_as_a_person_types_them(typed: str, place: str, expected: str) -> None:
    assert term(typed, place) == expected


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("web", "object"),
        ("unknown:web", "predicate"),
        ("_:b", "subject"),
        ("[]", "object"),
        ('"web"', "subject"),
        ("42", "predicate"),
        ("fo:a . fo:b fo:c fo:d", "object"),
        ("fo:a, fo:b", "object"),
        ("<<( fo:a fo:b fo:c )>>", "object"),
        ("<relative>", "object"),
        ("", "object"),
        ("<http://x/ y>", "object"),
    ],
)
def test_what_is_no_term(typed: str, place: str) -> None:
    if typed == "unknown:web":
        assert term(typed, place) == "<unknown:web>"
        return
    with pytest.raises(typer.BadParameter):
        term(typed, place)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"<{FO}name>", "fo:name"),
        ("<http://x.example/y>", "<http://x.example/y>"),
        ('"a <b>"', '"a <b>"'),
        ("(<a> <b>)", "(<a> <b>)"),
    ],
)
def test_terms_as_a_person_reads_them(written: str, read: str) -> None:
    assert short_term(written) == read


def test_a_principal_is_a_name_in_a_table_and_an_iri_elsewhere(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    iri = "http://fractalops.localhost/id/principal/ann"
    fake.says("GET /proofs/log", {"items": [{"index": 0, "principal": iri}]})
    arguments = ("proofs", "log", "--data", data, "--output")
    assert run(*arguments, "table").out.splitlines()[1].split() == ["0", "ann"]
    assert iri in run(*arguments, "csv").out
    assert short_principal("policy") == "policy"


def test_explain_draws_the_chain(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("GET /proofs/explain", EXPLAINED)
    shown = run(
        *("proofs", "explain", "fo:Service", "rdfs:label", '"s"@en', "--graph", GRAPH),
        *("--data", data),
    )
    assert shown.code == 0
    assert fake.last.query == {
        "s": [f"<{FO}Service>"],
        "p": ["<http://www.w3.org/2000/01/rdf-schema#label>"],
        "o": ['"s"@en'],
        "g": [GRAPH],
    }
    chain = [
        "proposal p1",
        "decision: approve by policy",
        "rule: fo:rule-x makes it fo:HttpRoute (4",
        "evidence: ",
        "raw payload: ",
    ]
    places = [shown.out.index(part) for part in chain]
    assert places == sorted(places)
    assert "single person: own graph" in shown.out
    assert f"raw payload: sha256:{'b' * 64}" in shown.out
    assert "rationale: r\\x1b" in shown.out


def test_explain_takes_a_short_graph_name(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("GET /proofs/explain", EXPLAINED)
    run("proofs", "explain", "fo:S", "a", "fo:T", "--graph", "lineage/shop", "--data", data)
    assert fake.last.query["g"] == ["lineage/shop"]


def test_explain_as_rows_and_json(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("GET /proofs/explain", EXPLAINED)
    arguments = ("proofs", "explain", "fo:S", "a", "fo:T", "--data", data, "--output")
    assert json.loads(run(*arguments, "json").out) == EXPLAINED
    rows = list(csv.reader(io.StringIO(run(*arguments, "csv").out, newline="")))
    assert rows[1][:4] == [GRAPH, "7", "p1", "steward"]
    assert run("proofs", "explain", "fo:S", "a", "plain", "--data", data).code == 2


def test_explain_draws_the_steps_to_what_is_inferred(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    web, rdf_type = "<http://e/web>", "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
    subclass = "<http://www.w3.org/2000/01/rdf-schema#subClassOf>"
    stated = {"s": web, "p": rdf_type, "o": f"<{FO}Service>"}
    axiom = {"s": f"<{FO}Service>", "p": subclass, "o": "<http://www.w3.org/ns/prov#Agent>"}
    concluded = {"s": web, "p": rdf_type, "o": "<http://www.w3.org/ns/prov#Agent>"}
    rule = "rdfs:subClassOf"
    found = {
        "triple": concluded,
        "graphs": [],
        "inferred": {
            "graph": "http://e/graph/inferred",
            "rule": rule,
            "steps": [{"rule": rule, "premises": [stated, axiom], "conclusion": concluded}],
            "premises": [
                {"triple": stated, "graphs": EXPLAINED["graphs"]},
                {"triple": axiom, "graphs": []},
            ],
            "omitted": 3,
        },
    }
    fake.says("GET /proofs/explain", found)
    arguments = ("proofs", "explain", "<http://e/web>", "a", "prov:Agent", "--data", data)
    shown = run(*arguments).out
    parts = [
        "inferred by rdfs:subClassOf",
        "<http://e/web> rdf:type prov:Agent by rdfs:subClassOf from",
        "<http://e/web> rdf:type fo:Service",
        "proposal p1",
        "fo:Service rdfs:subClassOf prov:Agent",
        "and 3 more premises",
    ]
    for part in parts:
        assert part in " ".join(shown.replace("│", "").split()), part
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--output", "csv").out, newline="")))
    assert [(row["premise"], row["proof"]) for row in rows] == [
        ("<http://e/web> rdf:type fo:Service", "7")
    ]
    assert json.loads(run(*arguments, "--output", "json").out) == found


def test_the_log_and_an_entry(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    item = {"index": 4, "kind": "applied", "time": "T", "leaf_hash": "ab"}
    fake.says("GET /proofs/log", {"size": 5, "items": [item]})
    shown = run("proofs", "log", "--limit", 1, "--data", data)
    assert "--before 4" in shown.err
    entry = {
        "index": 4,
        "leaf_hash": "ab",
        "statement": {
            "subject": [{"name": GRAPH, "digest": {"sha256": "cd"}}],
            "predicate": {"kind": "applied", "decisions": []},
        },
        "envelope": {"signatures": [{"keyid": "log+1"}, {"keyid": "ann+2"}]},
    }
    fake.says("GET /proofs/entries/4", entry)
    shown = run("proofs", "show", "4", "--data", data)
    for part in (GRAPH, "sha256: cd", "log+1, ann+2", "applied"):
        assert part in shown.out


def test_a_bundle_is_exported_byte_for_byte(
    fake: Any, data: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    fake.says("GET /proofs/bundle/3", bundle())
    assert run("proofs", "bundle", "3", "--data", data).out.encode() == bundle()
    target = tmp_path / "out.json"
    shown = run("proofs", "bundle", "3", "-o", target, "--data", data)
    assert (shown.code, shown.out) == (0, "")
    assert target.read_bytes() == bundle()
    assert run("proofs", "bundle", "3", "-o", tmp_path / "no" / "x", "--data", data).code == 1


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_audit_and_rebuild(
    fake: Any, data: Path, run: Callable[..., Any], ok: bool, code: int
) -> None:
    checks = [{"name": "graph state", "ok": ok, "detail": "d"}]
    fake.says("POST /proofs/audit", {"ok": ok, "checks": checks})
    fake.says("POST /proofs/rebuild", {"ok": ok, "state_digest": "ab", "quads": 3})
    shown = run("proofs", "audit", "--data", data)
    assert shown.code == code
    assert "graph state" in shown.out
    assert ("graph state" in shown.err) is not ok
    shown = run("proofs", "rebuild", "--data", data)
    assert shown.code == code
    assert "state digest  ab" in shown.out


def test_verify_without_a_key_is_loud(file: Path, run: Callable[..., Any]) -> None:
    shown = run("proofs", "verify", file)
    assert shown.code == 0
    assert shown.out.rstrip().endswith("UNANCHORED")
    assert "anybody could have made this bundle" in shown.err


def test_verify_with_a_key_and_a_witness(
    file: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    shown = run("proofs", "verify", file, "--key", str(LOG.verifier))
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.rstrip().endswith("UNANCHORED")
    file.write_bytes(bundle(witnessed=True))
    (tmp_path / "w.pub").write_text(f"{WITNESS.verifier}\n")
    shown = run(
        *("proofs", "verify", file, "--key", LOG.verifier, "--witness", tmp_path / "w.pub"),
        *("--output", "json"),
    )
    assert shown.code == 0
    assert json.loads(shown.out)["status"] == "WITNESSED"


@pytest.mark.parametrize("where", ["variable", "data", "file"])
def test_where_the_logs_key_is_found(
    file: Path,
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    (tmp_path / "kept" / "keys").mkdir(parents=True)
    (tmp_path / "kept" / "keys" / "log.pub").write_text(f"{LOG.verifier}\n")
    options: list[object] = []
    if where == "variable":
        monkeypatch.setenv("FRACTALOPS_LOG_KEY", str(LOG.verifier))
    elif where == "data":
        options = ["--data", tmp_path / "kept"]
    else:
        options = ["--key", tmp_path / "kept" / "keys" / "log.pub"]
    shown = run("proofs", "verify", file, *options)
    assert (shown.code, shown.err) == (0, "")
    monkeypatch.delenv("FRACTALOPS_LOG_KEY", raising=False)


def test_verify_with_another_key_fails(file: Path, run: Callable[..., Any]) -> None:
    shown = run("proofs", "verify", file, "--key", OTHER.verifier)
    assert shown.code == 1
    assert shown.out.rstrip().endswith("INVALID")
    assert "log key" in shown.err


def test_verify_says_what_a_changed_byte_broke(file: Path, run: Callable[..., Any]) -> None:
    file.write_bytes(bundle().replace(b"lineage/shop", b"lineage/shoq"))
    shown = run("proofs", "verify", file, "--key", LOG.verifier, "--output", "csv")
    assert shown.code == 1
    failed = [
        row[0] for row in csv.reader(io.StringIO(shown.out, newline="")) if row[1] == "FAILED"
    ]
    assert "digest" in failed
    assert "INVALID" in shown.err


@pytest.mark.parametrize(
    ("typed", "code"),
    [('fo:s3 fo:name "\u202e3"', 0), ("fo:s3 a fo:Service", 1), ("nonsense", 2), ("", 2)],
)
def test_verify_a_triple(file: Path, run: Callable[..., Any], typed: str, code: int) -> None:
    shown = run("proofs", "verify", file, "--key", LOG.verifier, "--triple", typed)
    assert shown.code == code, shown.err
    assert "\u202e" not in shown.out + shown.err


def test_verify_against_a_checkpoint_of_ones_own(
    file: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    note = sign_checkpoint(Checkpoint(LOG.name, 5, bytes(32)), LOG)
    (tmp_path / "checkpoint").write_text(note)
    shown = run(
        *("proofs", "verify", file, "--key", LOG.verifier),
        *("--checkpoint", tmp_path / "checkpoint"),
    )
    assert shown.code == 1
    assert "DIVERGED" in shown.out


def test_verify_unreadable_files_is_usage(
    file: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    assert run("proofs", "verify", tmp_path / "missing.json").code == 2
    assert run("proofs", "verify", tmp_path).code == 2
    assert run("proofs", "verify", file, "--key", "no-key").code == 2
    assert run("proofs", "verify", file, "--checkpoint", tmp_path / "missing").code == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a": 1e999}'])
def test_verify_anything_at_all(run: Callable[..., Any], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    shown = run("proofs", "verify", tmp_path / "x")
    assert shown.code == 1
    assert "INVALID" in shown.out


def test_verify_reads_a_pipe(run: Callable[..., Any]) -> None:
    assert run("proofs", "verify", "-", "--key", LOG.verifier, stdin=bundle()).code == 0
