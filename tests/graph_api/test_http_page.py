"""Holds docs/http.md against the code: every problem type, both ways; routes in tests/live."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text()

# Roots of error trees: never raised themselves.
_ABSTRACT = {"", "body", "payload"}


def _documented() -> set[str]:
    table = PAGE.partition("| type | when |")[2]
    return set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))


def _first_texts(call: ast.Call) -> list[str]:
    return [
        item.value
        for item in call.args[1:2]
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]


def _kinds_in(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("Problem", "BadSubmission"):
                found.update(_first_texts(node))
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "kind":
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                found.add(node.value.value)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "kind":
            found.update(
                item.value
                for item in ast.walk(node.value)
                if isinstance(item, ast.Constant)
                and isinstance(item.value, str)
                and re.fullmatch(r"[a-z]+(-[a-z]+)+", item.value)
            )
    return found


def _titles() -> set[str]:
    """The kinds of errors of the gate and of control that are told apart by their class."""
    found: set[str] = set()
    for name in ("proposal_json", "control_json"):
        source = (ROOT / "graph_api" / f"{name}.py").read_text()
        table = source.partition("_TITLES")[2].partition("\n}\n")[0]
        found.update(re.findall(r'\(\d{3}, "([a-z-]+)"', table))
    return found


def test_every_problem_type_is_documented_and_every_documented_one_exists() -> None:
    raised = _titles()
    for folder in ("graph_api", "proofs", "ingest"):
        for path in (ROOT / folder).glob("*.py"):
            if not path.name.startswith("cli"):
                raised |= _kinds_in(ast.parse(path.read_text()))
    raised -= _ABSTRACT
    assert raised >= {"forbidden", "shapes-violated", "body-too-large", "query-timeout"}
    assert _documented() == raised
