"""Writes ``docs/cli.md`` from the commands themselves.

Invariant: the page says what ``--help`` says; a test holds the two together. Write it again with
``python -m graph_api.cli_document > docs/cli.md``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from graph_api.cli import app
from graph_api.cli_output import write

INTRODUCTION = """\
# The `fractalops` command

<!-- Generated: python -m graph_api.cli_document > docs/cli.md -->

It speaks HTTP to the running server. Which one, and who you are:

- `FRACTALOPS_URL` (or `--url`) and `FRACTALOPS_TOKEN`; or
- `--data DIR` (or `FRACTALOPS_DATA`; without either `./data`): the server's address is in
  `DIR/server.json`, the operator's token in `DIR/operator.token`. What is said on the command line
  wins over the environment. A token found in a folder is only sent to the server that runs on it,
  or to this machine; `FRACTALOPS_TOKEN`, when set, always decides who you are.

Any of these may also stand in a [settings file](settings.md), named by `--settings FILE` or
`FRACTALOPS_SETTINGS`.

`--output table|json|csv` (or `FRACTALOPS_OUTPUT`) works on everything that prints rows; `--data`
and `--output` may stand before or after the subcommand. Data goes to stdout, messages to stderr.
Tables, and everything on a terminal, spell out control and formatting characters (`\\x1b`); piped
JSON, CSV and RDF is exact.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused, or failed verification; stderr says why and what to do |
| 2 | wrong usage |

`up`, `demo`, `backup`, `restore`, `proofs verify`, `settings`, `infra` but for `apply`, and
`ontology check|show` (without `--server`) need no running server.
"""


def document() -> str:
    """The page, Markdown."""
    parts = [INTRODUCTION]
    for path, command in commands():
        parts.append("\n".join(_section(path, command)))
    return "\n".join(parts)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path, ``("projects", "create")``, in the order of the help."""
    group = typer.main.get_command(app)
    yield from _below((), group)


def example_lines(command: Any) -> list[str]:
    """The lines of a command's example."""
    _, _, example = _text(command).partition("Example:\n")
    return [line.strip() for line in example.splitlines() if line.strip()]


def _below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _below((*path, name), inner)
    else:
        yield path, command


def _section(path: tuple[str, ...], command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if isinstance(p, TyperArgument)]
    options = [p for p in command.params if isinstance(p, TyperOption) and not p.hidden]
    usage = ["fractalops", *path, "[OPTIONS]", *(_argument(p) for p in arguments)]
    yield f"## `fractalops {' '.join(path)}`"
    yield ""
    yield _text(command).partition("\b")[0].partition("Example:\n")[0].strip()
    yield ""
    yield "```sh"
    yield from example_lines(command)
    yield "```"
    yield ""
    yield f"Usage: `{' '.join(usage)}`"
    yield ""
    rows = [(_argument(p), p.help) for p in arguments]
    rows += [
        (" ".join(part for part in (", ".join(p.opts), _value(p)) if part), p.help) for p in options
    ]
    if rows:
        yield "| | |"
        yield "|---|---|"
        for name, text in rows:
            yield f"| `{_cell(name)}` | {_cell(text or '')} |"
        yield ""


def _text(command: Any) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


def _argument(parameter: TyperArgument) -> str:
    return parameter.metavar or str(parameter.name).upper()


def _value(parameter: TyperOption) -> str:
    if parameter.is_flag:
        return ""
    choices = ("--output", "table|json|csv")
    return parameter.metavar or (choices[1] if choices[0] in parameter.opts else "TEXT")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    write(document())
