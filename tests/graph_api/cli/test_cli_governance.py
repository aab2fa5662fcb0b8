"""Projects, tokens, proposals and stewards on the command line."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph_api.harmless import harmless_json
from proofs.checkpoint import SignerKey

KEY = "foi_" + "K" * 43
REPORT = {
    "conforms": False,
    "results": [
        {
            "focus": "http://x.example/s",
            "path": "https://w3id.org/fractalops/ns#name",
            "value": '"x\x1b[2J"',
            "message": "a name has no control characters",
            "shape": "http://x.example/shape",
            "severity": "Violation",
            "component": "pattern",
        }
    ],
}


def test_a_new_project_prints_what_the_sdk_needs(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:8080",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-fractalops-key={KEY}",
        "OTEL_SERVICE_NAME": "it's; $(touch x)",
        "BAD NAME; rm": "x",
    }
    made: dict[str, Any] = {
        "project": {"slug": "shop"},
        "proposal": proposal,
        "ingest_key": KEY,
        "environment": environment,
        "posthog": {"POSTHOG_HOST": "http://127.0.0.1:8080", "POSTHOG_PROJECT_API_KEY": KEY},
        "sentry": {"SENTRY_DSN": f"http://{KEY}@127.0.0.1:8080/1"},
        "openlineage": {"OPENLINEAGE_URL": "http://127.0.0.1:8080", "OPENLINEAGE_API_KEY": KEY},
        "browser_key": "foi_page",
        "browser": {"SENTRY_DSN": "http://page@127.0.0.1:8080/1"},
    }
    fake.says("POST /projects", made, status=201)
    shown = run("projects", "create", "shop", "--label", "Web shop", "--restricted", "--data", data)
    assert shown.code == 0
    assert fake.last.json == {"slug": "shop", "label": "Web shop", "restricted": True}
    assert "proposal p1: applied, proof 7" in shown.err
    assert KEY not in shown.err
    exported = dict(shlex.split(line)[1].split("=", 1) for line in shown.out.splitlines() if line)
    first = {name: environment[name] for name in list(environment)[:3]}
    pages = {"BROWSER_SENTRY_DSN": "http://page@127.0.0.1:8080/1"}
    assert exported == first | made["posthog"] | made["sentry"] | made["openlineage"] | pages
    assert "posthog.init(KEY" in shown.err
    assert "Sentry.init({dsn" in shown.err


def test_a_projects_key_may_be_json(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /projects/web%20shop/keys", {"ingest_key": KEY})
    shown = run("projects", "key", "web shop", "--data", data, "--output", "json")
    assert json.loads(shown.out) == {"ingest_key": KEY}
    assert run("projects", "key", "web shop", "--data", data).out == KEY + "\n"


def test_a_project_that_waits_for_a_decision(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    waiting = {**proposal, "state": "awaiting decision", "proof": None, "time_lock_until": "T"}
    fake.says("POST /projects", {"proposal": waiting, "ingest_key": None}, status=201)
    shown = run("projects", "create", "shop", "--data", data)
    assert (shown.code, shown.out) == (0, "")
    assert "awaiting decision" in shown.err
    assert "time lock until T" in shown.err


def test_a_token_is_printed_alone(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    token = "fot_" + "N" * 43
    made = {"id": "7c", "token": token, "name": "ann", "role": "analyst", "project": None}
    fake.says("POST /tokens", made, status=201)
    shown = run("tokens", "create", "ann", "--role", "analyst", "--data", data)
    assert shown.out == token + "\n"
    assert token not in shown.err
    assert fake.last.json == {"name": "ann", "role": "analyst"}


def test_tokens_are_listed_and_revoked(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    item = {"id": "7c", "name": "ann", "role": "analyst", "project": None, "created_at": "T"}
    fake.says("GET /tokens", {"items": [item]})
    fake.says("DELETE /tokens/7c", b"", status=204)
    shown = run("tokens", "list", "--data", data, "--output", "csv")
    rows = list(csv.reader(io.StringIO(shown.out, newline="")))
    assert rows == [
        ["id", "name", "role", "project", "created", "revoked"],
        ["7c", "ann", "analyst", "", "T", ""],
    ]
    assert run("tokens", "revoke", "7c", "--data", data).code == 0


def test_empty_listings_say_so_on_stderr(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    for path, arguments in (
        ("/projects", ("projects", "list")),
        ("/tokens", ("tokens", "list")),
        ("/proposals", ("proposals", "list")),
        ("/stewards", ("stewards", "list")),
        ("/proofs/log", ("proofs", "log")),
    ):
        fake.says(f"GET {path}", {"items": []})
        shown = run(*arguments, "--data", data)
        assert (shown.code, shown.out) == (0, "")
        assert shown.err
        assert run(*arguments, "--data", data, "--output", "json").out.strip() == "[]"


def test_proposals_are_listed(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    fake.says("GET /proposals", {"items": [proposal], "next": 4})
    shown = run("proposals", "list", "--state", "awaiting decision", "--limit", 1, "--data", data)
    assert fake.last.query == {"state": ["awaiting decision"], "limit": ["1"]}
    assert shown.out.splitlines()[1].split()[:6] == ["p1", "applied", "shop", "ann", "2", "1"]
    assert "--before 4" in shown.err


def test_a_proposal_is_shown_with_its_steps(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    fake.says("GET /proposals/p1/card", {"proposal": {**proposal, "report": REPORT}})
    shown = run("proposals", "show", "p1", "--data", data)
    assert shown.code == 0
    for part in ("because", "own graph", "decisions", "transitions", "x\\x1b[2J", "sha256:aaaa"):
        assert part in shown.out


def test_an_order_is_shown_with_all_its_arguments(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    argv = ["sh", "-c", "reboot; echo 'argument 2'\n[bold]\x1b[2J"]
    action = [
        {"part": "program", "text": harmless_json(argv[0])},
        {"part": "argument 1", "text": harmless_json(argv[1])},
        {"part": "argument 2", "text": harmless_json(argv[2])},
    ]
    order = {
        **{"asset": "web-1", "iri": "http://x/id/runtime-asset/web-1", "roles": ["web"]},
        **{"effect": "changes", "rule": '["sh", "..."]', "person": "sh does what it is told"},
        **{"action": action, "result": [{"part": "exit_code", "text": "0"}]},
    }
    raw = {"asset_id": "web-1", "action": {"kind": "run", "argv": argv}}
    told = {**proposal, "order": raw, "result": {"exit_code": 0}}
    fake.says("GET /proposals/p1/card", {"proposal": told, "order": order})
    shown = run("proposals", "show", "p1", "--data", data)
    assert shown.code == 0, shown.err
    for part in ("web-1", '["sh", "..."]', "sh does what it is told", "exit_code"):
        assert part in shown.out
    (line,) = [line for line in shown.out.splitlines() if line.startswith("argument 2")]
    assert json.loads(line.removeprefix("argument 2")) == argv[2]
    fake.says("GET /proposals", {"items": [told], "next": None})
    listed = run("proposals", "list", "--all-orders", "--data", data)
    assert fake.last.query == {"limit": ["50"], "orders": ["all"]}
    assert listed.out.splitlines()[1].split()[:3] == ["p1", "applied", "web-1"]


def test_a_diff_can_be_proposed_again(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    quad = '<http://x/s> <http://x/p> "a\u2028b" <http://x/g> .'
    changes = {"additions": f"{quad}\n{quad}\n", "removals": f"{quad}\n"}
    fake.says("GET /proposals/p1/diff", changes)
    shown = run("proposals", "diff", "p1", "--data", data)
    assert shown.out == f"D {quad}\nA {quad}\nA {quad}\n"
    shown = run("proposals", "diff", "p1", "--data", data, "--output", "csv")
    assert [row[0] for row in csv.reader(io.StringIO(shown.out, newline=""))] == [
        "change",
        "D",
        "A",
        "A",
    ]
    shown = run("proposals", "diff", "p1", "--data", data, "--output", "json")
    assert json.loads(shown.out) == changes


def test_a_diff_on_a_terminal_has_colours_and_obeys_nothing(
    fake: Any, data: Path, terminal: Callable[..., Any]
) -> None:
    fake.says("GET /proposals/p1/diff", {"additions": '<s> <p> "\x9b" <g> .', "removals": ""})
    shown = terminal("proposals", "diff", "p1", "--data", data)
    assert "\x1b[32mA <s>" in shown.out
    assert "\\x9b" in shown.out


@pytest.mark.parametrize("outcome", ["approve", "reject", "withdraw"])
def test_deciding(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any], outcome: str
) -> None:
    fake.says("POST /proposals/p1/decisions", proposal)
    shown = run("proposals", outcome, "p1", "--reason", "so be it", "--data", data)
    assert shown.code == 0
    assert fake.last.json == {"outcome": outcome, "reason": "so be it"}
    assert "state  applied" in shown.out


def test_an_approval_that_no_longer_conforms_shows_the_report(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.refuses(
        "POST /proposals/p1/decisions", 422, "The shapes refuse it", "Mend it.", report=REPORT
    )
    shown = run("proposals", "approve", "p1", "--data", data)
    assert shown.code == 1
    assert "a name has no control characters" in shown.out
    assert "The shapes refuse it: Mend it." in shown.err


def test_reverting(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    fake.says("POST /proposals/p1/revert", {**proposal, "id": "p2"}, status=201)
    assert run("proposals", "revert", "p1", "--data", data).code == 0
    assert fake.last.json == {"rationale": "Reverts proposal p1"}


@pytest.mark.parametrize(
    ("name", "said", "media_type"),
    [
        ("a.ttl", None, "text/turtle"),
        ("a.NT", None, "application/n-triples"),
        ("a.nq", None, "application/n-quads"),
        ("a.trig", None, "application/trig"),
        ("a.jsonld", None, "application/ld+json"),
        ("a.rdfp", None, "application/rdf-patch"),
        ("a.patch", None, "application/rdf-patch"),
        ("a.ru", None, "application/sparql-update"),
        ("a.json", None, "application/json"),
        ("a.txt", "rdfp", "application/rdf-patch"),
        ("a.txt", "N-Quads", "application/n-quads"),
        ("a.txt", "text/x-rdf-patch", "text/x-rdf-patch"),
    ],
)
def test_the_format_is_said_or_guessed(
    fake: Any,
    data: Path,
    run: Callable[..., Any],
    proposal: dict[str, Any],
    name: str,
    said: str | None,
    media_type: str,
) -> None:
    fake.says("POST /proposals", proposal, status=201)
    (data / name).write_bytes(b"content")
    options = [] if said is None else ["--format", said]
    assert run("propose", data / name, "--project", "shop", "--data", data, *options).code == 0
    assert fake.last.headers["content-type"] == media_type
    assert fake.last.body == b"content"


def test_a_proposal_says_everything_it_was_told(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    fake.says("POST /proposals", proposal, status=201)
    evidence = ["sha256:" + letter * 64 for letter in "ab"]
    shown = run(
        *("propose", "-", "--project", "shop", "--rationale", "who & what"),
        *("--evidence", evidence[0], "--evidence", evidence[1], "--base", 6, "--data", data),
        stdin=b"<http://x/s> <http://x/p> 1 .",
    )
    assert shown.code == 0
    assert fake.last.query == {
        "project": ["shop"],
        "graph": ["lineage/shop"],
        "rationale": ["who & what"],
        "evidence": evidence,
    }
    assert fake.last.headers["if-match"] == '"6"'
    assert shown.out.splitlines() == ["id     p1", "state  applied", "proof  7", "head   7"]


def test_a_body_with_graphs_gets_none_added(
    fake: Any, data: Path, run: Callable[..., Any], proposal: dict[str, Any]
) -> None:
    fake.says("POST /proposals", proposal, status=201)
    run("propose", "-", "--format", "nquads", "--project", "shop", "--data", data, stdin=b"")
    assert fake.last.query == {"project": ["shop"]}


def test_a_refused_proposal_shows_the_report(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.refuses("POST /proposals", 422, "The shapes refuse it", "Mend it.", report=REPORT, id="p9")
    (data / "a.ttl").write_bytes(b"")
    shown = run("propose", data / "a.ttl", "--project", "shop", "--data", data)
    assert shown.code == 1
    assert "a name has no control characters" in shown.out
    assert "proposals show p9" in shown.err
    shown = run("propose", data / "a.ttl", "--project", "x", "--data", data, "--output", "json")
    assert json.loads(shown.out) == REPORT


def test_a_conflict_shows_both_deltas(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.refuses("POST /proposals", 409, "Changed", "Look.", theirs="A 1 .", yours="A 2 .")
    shown = run("propose", "-", "--project", "shop", "--data", data)
    assert shown.code == 1
    assert "A 1 ." in shown.err
    assert "A 2 ." in shown.err


@pytest.mark.parametrize(("conforms", "code"), [(True, 0), (False, 1)])
def test_a_dry_run_only_validates(
    fake: Any, data: Path, run: Callable[..., Any], conforms: bool, code: int
) -> None:
    results = [] if conforms else REPORT["results"]
    fake.says("POST /validate", {"conforms": conforms, "results": results})
    shown = run("propose", "-", "--project", "shop", "--dry-run", "--data", data)
    assert shown.code == code
    assert shown.out.startswith(f"conforms  {'yes' if conforms else 'no'}")
    assert [seen.path for seen in fake.seen] == ["/validate"]


def test_an_unchanged_graph_is_success(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    unchanged = {"id": None, "state": "unchanged", "head": 7, "proof": None, "report": None}
    fake.says("POST /proposals", unchanged)
    shown = run("propose", "-", "--project", "shop", "--data", data)
    assert shown.code == 0
    assert shown.out.splitlines() == ["state  unchanged", "head   7"]


def test_what_cannot_be_proposed(data: Path, run: Callable[..., Any]) -> None:
    assert run("propose", "a.unknown", "--data", data).code == 2
    assert run("propose", "a.ttl", "--format", "yaml", "--data", data).code == 2
    missing = run("propose", "missing.ttl", "--data", data)
    assert (missing.code, missing.err) == (1, "error: missing.ttl: No such file or directory\n")


def test_the_keys_of_a_steward(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    public = str(SignerKey("bot", bytes(32)).verifier)
    item = {"hash": "0a1b2c3d", "active": True, "since": 3, "until": None, "here": True}
    proposal = {"id": "p1", "state": "awaiting decision", "head": 4}
    fake.says("GET /stewards", {"items": [{"name": "steward-shop", "project": "shop"}]})
    fake.says("GET /stewards/steward-shop/keys", {"items": [{**item, "public_key": public}]})
    for name in ("shop", "steward-shop"):
        shown = run("stewards", "keys", name, "--data", data)
        assert public in shown.out
    for command, path, body in (
        (("rotate-key", "shop"), "keys", None),
        (("add-key", "shop", public), "keys", {"public_key": public}),
        (("retire-key", "shop", "0a1b2c3d"), "keys/0a1b2c3d/retire", None),
    ):
        fake.says(f"POST /stewards/steward-shop/{path}", {"proposal": proposal})
        shown = run("stewards", *command, "--data", data)
        assert shown.code == 0, shown.err
        assert "fractalops proposals approve p1" in shown.err
        assert (json.loads(fake.last.body) if fake.last.body else None) == body
    assert run("stewards", "add-key", "shop", "nonsense", "--data", data).code == 2


def test_stewards_run_all_or_one(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    item = {"name": "steward-shop", "project": "shop", "watermark": 3, "runs": 1, "proposals": 1}
    fake.says("GET /stewards", {"items": [item]})
    fake.says("POST /stewards/steward-shop/run", {**item, "runs": 2})
    for name in ([], ["shop"], ["steward-shop"]):
        arguments = ("stewards", "run", *name)
        shown = run(*arguments, "--data", data, "--output", "json")
        assert json.loads(shown.out)[0]["runs"] == 2
    fake.refuses("POST /stewards/nobody/run", 404, "No such steward", "At work: steward-shop.")
    shown = run("stewards", "run", "nobody", "--data", data)
    assert shown.code == 1
    assert "At work: steward-shop." in shown.err
