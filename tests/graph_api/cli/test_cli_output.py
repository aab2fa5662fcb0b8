"""Nothing from outside obeys a terminal, and what is piped is exact."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph_api.cli_output import cell_text, visible, visible_text
from runtime.process_exec import capture

HOSTILE = {
    "escape": "\x1b[31mred",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "c1 csi": "\x9b2Jcleared",
    "c1 osc": "\x9d0;owned\x9c",
    "bidi override": "user\u202etxt.exe",
    "bidi isolate": "a\u2066b\u2069",
    "mark": "a\u200fb\u061c",
    "zero width": "pay\u200bpal",
    "byte order mark": "\ufefftext",
    "tag": "a\U000e0041b",
    "separator": "one\u2028two\u2029three",
    "carriage return": "safe\rrm -rf",
    "backspace": "abc\b\b\bxyz",
    "delete": "a\x7fb",
    "bell": "\x07",
    "null": "a\x00b",
    "surrogate": "a\ud800b",
    "line": "one\ntwo",
    "tab": "one\ttwo",
}
# Colours and attributes, which rich writes itself.
SGR = re.compile(r"\x1b\[[0-9;]*m")
BAD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_line_holds_no_character_that_a_terminal_obeys(text: str) -> None:
    shown = visible(text)
    assert not BAD.search(shown)
    assert "\n" not in shown
    assert "\t" not in shown
    assert shown != text


def test_spelling() -> None:
    assert visible("a\x1b[0m\u202e\U000e0041\n\t\r\x9b") == (
        "a\\x1b[0m\\u202e\\U000e0041\\n\\t\\r\\x9b"
    )


def test_a_text_keeps_its_lines_and_tabs() -> None:
    assert visible_text("one\ttwo\nthree\x1b") == "one\ttwo\nthree\\x1b"


@pytest.mark.parametrize(
    "text", ["naïve", "日本語", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩‍🚀"]
)
def test_words_of_any_script_stay(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (["a", 1, None], "a, 1, "),
        ({"name": "x", "ok": True}, "name: x, ok: yes"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell_text(value) == text


def projects_with(labels: list[str]) -> dict[str, Any]:
    return {
        "items": [
            {"slug": f"p{n}", "label": label, "iri": "x", "graph": "[bold]g[/bold]"}
            for n, label in enumerate(labels)
        ]
    }


def test_a_table_shows_hostile_names_and_interprets_no_markup(
    fake: Any, data: Path, terminal: Callable[..., Any]
) -> None:
    names = [name for name in HOSTILE.values() if name != HOSTILE["surrogate"]]
    fake.says("GET /projects", projects_with(names))
    shown = terminal("--data", data, "projects", "list")
    assert shown.code == 0
    plain = SGR.sub("", shown.out)
    assert not BAD.search(plain)
    assert "[bold]g[/bold]" in plain
    assert "\\x1b]8;;http://evil.example" in plain
    assert len(plain.strip().splitlines()) == len(names) + 2


def test_json_is_json_and_safe_to_show(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    names = list(HOSTILE.values())
    fake.says("GET /projects", projects_with(names))
    shown = run("--data", data, "projects", "list", "--output", "json")
    assert not BAD.search(shown.out)
    assert [item["label"] for item in json.loads(shown.out)] == names


def test_csv_is_rfc_4180_and_exact_when_piped(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    names = ['say "hi", then\r\ngo', "\x1b[31m", ""]
    fake.says("GET /projects", projects_with(names))
    shown = run("--output", "csv", "--data", data, "projects", "list")
    rows = list(csv.reader(io.StringIO(shown.out, newline="")))
    assert rows[0] == ["slug", "label", "graph", "restricted"]
    assert [row[1] for row in rows[1:]] == names
    assert shown.out.count("\r\n") == 5


def test_csv_on_a_terminal_is_made_visible(
    fake: Any, data: Path, terminal: Callable[..., Any]
) -> None:
    fake.says("GET /projects", projects_with(["\x1b[31m"]))
    shown = terminal("--output", "csv", "--data", data, "projects", "list")
    assert "\\x1b[31m" in shown.out
    assert not BAD.search(shown.out)


def test_a_servers_own_words_are_made_visible(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.refuses("GET /projects", 403, "No \x1b[2J", "line one\nline two \u202e[bold]x[/bold]")
    shown = run("projects", "list", "--data", data)
    assert shown.code == 1
    assert shown.out == ""
    assert not BAD.search(shown.err)
    assert "No \\x1b[2J: line one\nline two \\u202e[bold]x[/bold]" in shown.err


def test_a_piped_table_is_never_cut(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("GET /projects", projects_with(["x" * 500]))
    shown = run("projects", "list", "--data", data)
    assert "x" * 500 in shown.out
    assert not SGR.search(shown.out)
    assert all(line == line.rstrip() for line in shown.out.splitlines())


def test_a_real_terminal_gets_colours_and_no_orders(
    fake: Any, data: Path, checkout: Path, tmp_path: Path
) -> None:
    fake.says("GET /projects", projects_with([HOSTILE["title"], HOSTILE["c1 csi"]]))
    master, slave = pty.openpty()
    script = (
        "import os, sys; os.dup2(int(sys.argv[1]), 1);"
        "from graph_api.cli import main; sys.exit(main(sys.argv[2:]))"
    )
    os.set_inheritable(slave, True)
    # The helper closes what a program does not inherit by name, so the descriptor goes by path.
    name = os.ttyname(slave)
    opened = f"import os; fd = os.open({name!r}, os.O_RDWR | os.O_NOCTTY);" + script.replace(
        "int(sys.argv[1])", "fd"
    ).replace("sys.argv[2:]", "sys.argv[1:]")
    ended = capture(
        [sys.executable, "-c", opened, "--data", data, "projects", "list"],
        timeout=60,
        env={"TERM": "xterm-256color", "NO_COLOR": None, "PYTHONPATH": str(checkout)},
        cwd=tmp_path,
    )
    os.set_blocking(master, False)
    shown = os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    assert ended.returncode == 0
    assert SGR.search(shown)
    assert "\\x1b]0;owned\\x07" in shown
    assert not BAD.search(SGR.sub("", shown).replace("\r\n", "\n"))


def test_a_reader_who_goes_away_is_no_error(
    fake: Any, data: Path, checkout: Path, tmp_path: Path
) -> None:
    fake.says("GET /projects", projects_with(["x" * 100] * 5000))
    command = f'"{sys.executable}" -m graph_api.cli projects list --data "{data}" | head -n 1'
    ended = capture(
        ["bash", "-c", f"set -o pipefail; {command}; exit ${{PIPESTATUS[0]}}"],
        timeout=60,
        env={"PYTHONPATH": str(checkout)},
        cwd=tmp_path,
    )
    assert ended.stderr == b""
    assert ended.returncode == 141
    assert ended.stdout.startswith(b"slug")
