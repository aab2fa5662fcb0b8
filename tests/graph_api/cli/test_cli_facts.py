"""Asking the facts with SQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS = {
    "columns": ["service", "spans", "attributes", "nothing"],
    "rows": [["web [bold]\x1b[31m", 12, {"http.route": "/cart"}, None]],
    "truncated": False,
}


@pytest.fixture
def ask(data: Path, run: Callable[..., Any]) -> Callable[..., Any]:
    """Run ``facts query`` against the server."""
    return lambda *arguments, **more: run("facts", "query", *arguments, "--data", data, **more)


def test_rows_as_a_table_and_as_json(fake: Any, ask: Callable[..., Any]) -> None:
    fake.says("POST /facts", ROWS)
    result = ask("SELECT 'é'")
    assert result.code == 0, result.err
    assert "web [bold]\\x1b[31m" in result.out
    assert "http.route" in result.out
    assert fake.last.body == "SELECT 'é'".encode()
    assert fake.last.headers["content-type"] == "application/sql"
    assert "limit" not in fake.last.query
    result = ask("SELECT 1", "--output", "json", "--limit", "7")
    assert json.loads(result.out) == ROWS
    assert fake.last.query == {"limit": ["7"]}
    assert result.err == ""


def test_csv_is_the_servers_own_and_a_cut_answer_is_said_to_be_one(
    fake: Any, ask: Callable[..., Any]
) -> None:
    said = {"headers": {"Fractalops-Truncated": "true"}, "media_type": "text/csv"}
    fake.says("POST /facts", b'a,b\r\n1,"x\r\ny"\r\n', **said)
    result = ask("SELECT 1", "--output", "csv")
    assert result.out == 'a,b\r\n1,"x\r\ny"\r\n'
    assert "more rows than these" in result.err
    assert fake.last.headers["accept"] == "text/csv"
    fake.says("POST /facts", {**ROWS, "truncated": True})
    assert "more rows than these" in ask("SELECT 1").err


def test_sql_from_a_file_and_from_stdin(fake: Any, ask: Callable[..., Any], tmp_path: Path) -> None:
    fake.says("POST /facts", ROWS)
    path = tmp_path / "q.sql"
    path.write_text("\ufeffSELECT 2", encoding="utf-8")
    assert ask("-f", str(path)).code == 0
    assert fake.last.body == b"SELECT 2"
    assert ask(stdin=b"SELECT 3").code == 0
    assert fake.last.body == b"SELECT 3"
    assert ask("SELECT 1", "-f", str(path)).code == 2


def test_a_refusal_and_an_answer_that_is_none(fake: Any, ask: Callable[..., Any]) -> None:
    fake.refuses("POST /facts", 403, "Only reading the facts is allowed", "Leave DROP out.")
    result = ask("DROP TABLE events")
    assert result.code == 1
    assert "Leave DROP out." in result.err
    fake.says("POST /facts", {"columns": 1})
    result = ask("SELECT 1")
    assert result.code == 1
    assert "cannot be read" in result.err
