"""Why an event has its class, and facts under changed rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FO = "https://w3id.org/fractalops/ns#"
TRIALS = [
    {
        "rule": FO + "rule-a",
        "priority": 9,
        "won": False,
        "conditions": [{"asks": "kind is client", "met": False, "found": "server"}],
    },
    {
        "rule": FO + "rule-b",
        "priority": 5,
        "won": True,
        "conditions": [{"asks": "has http.route", "met": True, "found": "http.route=/\x1b[31m"}],
    },
]
EVENT = {"event_id": "1-2", "name": "GET /cart", "kind": "server", "service": "web"}
FOUND = {
    "source": "otel.span",
    "rules": "sha256:r",
    "events": [
        {
            **EVENT,
            "class": FO + "HttpRoute",
            "rule": FO + "rule-b",
            "subject": "urn:cart",
            "subject_name": "GET /cart",
            "trials": TRIALS,
        },
        {**EVENT, "class": None, "rule": None, "subject": None, "trials": TRIALS[:1]},
    ],
    "skipped": ["no-event-name"],
}


def test_the_rules_are_told_over(
    fake: Any, data: Path, run: Callable[..., Any], tmp_path: Path
) -> None:
    fake.says("POST /classify/explain", FOUND)
    path = tmp_path / "payload"
    path.write_bytes(b"\x0a\xff")
    result = run("classify", "explain", path, "--project", "shop", "--data", data)
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        "source otel.span, rules sha256:r",
        "",
        "1-2: GET /cart (server)",
        "  fo:rule-a, priority 9",
        "    - kind is client: server",
        "  fo:rule-b, priority 5, which wins",
        "    + has http.route: http.route=/\\x1b[31m",
        "  class fo:HttpRoute",
        "  subject GET /cart: urn:cart",
        "",
        "1-2: GET /cart (server)",
        "  fo:rule-a, priority 9",
        "    - kind is client: server",
        "  no rule fits: it is kept without a class",
        "left out: no-event-name",
    ]
    assert fake.last.body == b"\x0a\xff"
    assert fake.last.query == {"project": ["shop"]}
    assert fake.last.headers["content-type"] == "application/octet-stream"


def test_the_payload_from_stdin_and_its_kind_said(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.says("POST /classify/explain", FOUND)
    kind = ("--source", "otel.span", "--content-type", "application/json")
    result = run(
        *("classify", "explain", "-", *kind, "--data", data, "--output", "json"), stdin=b"{}"
    )
    assert json.loads(result.out) == FOUND
    assert fake.last.query == {"source": ["otel.span"]}
    assert fake.last.headers["content-type"] == "application/json"
    assert fake.last.body == b"{}"
    result = run("classify", "explain", "-", "--data", data, "--output", "csv", stdin=b"{}")
    assert result.out.splitlines()[0] == "event,name,class,rule,subject"


def test_how_many_facts_changed(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    changes = [{"before": None, "after": FO + "Page", "events": 3}]
    fake.says(
        "POST /facts/reclassify",
        {"rules": "r", "dry_run": True, "looked_at": 7, "changed": 3, "changes": changes},
    )
    result = run(
        *("classify", "rerun", "--project", "shop", "--since", "4", "--dry-run", "--data", data)
    )
    assert result.code == 0, result.err
    assert fake.last.json == {"project": "shop", "since": 4, "dry_run": True}
    assert "fo:Page" in result.out
    assert result.err == "3 of 7 facts would change.\n"
    assert "3 of 7 facts changed." in run("classify", "rerun", "--data", data).err
    assert fake.last.json == {"project": None, "since": 0, "dry_run": False}
