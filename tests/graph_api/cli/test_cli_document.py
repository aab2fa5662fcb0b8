"""Every command explains itself, and ``docs/cli.md`` says the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from graph_api.cli import app
from graph_api.cli_document import commands, document, example_lines
from graph_api.cli_session import seconds

COMMANDS = dict(commands())
CONTRACT = """
up, demo, status, query, propose, validate, backup, restore,
projects create, projects list, projects key, projects keys, projects glitchtip,
projects upstream, projects upstreams,
tokens create, tokens list, tokens revoke,
proposals list, proposals show, proposals diff, proposals approve, proposals reject,
proposals request-changes, proposals withdraw, proposals revert,
proofs log, proofs show, proofs explain, proofs bundle, proofs verify,
proofs audit, proofs rebuild, proofs rotate-key,
runtime-assets list, runtime-assets show, endpoints list,
endpoints show, endpoints check, runtime-assets check, runtime-assets run,
runtime-assets request, runtime-assets runs, runtime-assets output, runtime-assets cancel,
runtime-assets grant, runtime-assets drift, infra validate, infra apply,
infra generate-env, infra env-check, infra machines-check,
ontology check, ontology show, stewards run,
evidence list, evidence show, evidence erase,
stewards list, stewards keys, stewards rotate-key, stewards add-key, stewards retire-key,
ingest, pull posthog, pull glitchtip, facts query, classify explain,
classify rerun, schedules list, schedules set, schedules pause, schedules resume,
settings show, settings check,
schedules remove, jobs list, jobs show, jobs run, jobs again, jobs letters,
worker
"""


def test_the_commands_are_those_of_the_contract() -> None:
    expected = {tuple(name.split()) for name in CONTRACT.replace("\n", " ").split(",")}
    assert set(COMMANDS) == expected


def test_the_page_is_what_the_commands_say(checkout: Path) -> None:
    written = (checkout / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == document(), "write it again: python -m graph_api.cli_document > docs/cli.md"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_the_command_takes(
    path: tuple[str, ...], run: Callable[..., Any]
) -> None:
    shown = run(*path, "--help")
    assert shown.code == 0
    assert "Example:" in shown.out
    lines = example_lines(COMMANDS[path])
    assert lines
    for line in lines:
        words = [word for word in shlex.split(line) if not word.startswith("FRACTALOPS_")]
        assert words[: len(path) + 1] == ["fractalops", *path]
        # Parses the words as the command would, and stops before it runs.
        COMMANDS[path].make_context(" ".join(path), words[len(path) + 1 :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_and_argument_is_explained(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        assert parameter.help or parameter.name == "help", parameter.name


def test_rows_may_be_had_in_every_format() -> None:
    without = {
        path
        for path, command in COMMANDS.items()
        if not any("--output" in getattr(parameter, "opts", ()) for parameter in command.params)
    }
    assert without == {
        *(("up",), ("worker",), ("demo",), ("tokens", "revoke"), ("projects", "upstream")),
        ("proofs", "bundle"),
        *(("schedules", name) for name in ("pause", "resume", "remove")),
    }


def test_the_groups_explain_themselves(run: Callable[..., Any]) -> None:
    assert isinstance(app, typer.Typer)
    for group in (
        "projects",
        "settings",
        "tokens",
        "proposals",
        "proofs",
        "ontology",
        "stewards",
        "evidence",
        "schedules",
        "jobs",
    ):
        assert run(group, "--help").code == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("90", 90), ("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800)],
)
def test_durations(text: str, value: int) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "h", "-1", "1w", "1.5h", "²"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        seconds(text)
