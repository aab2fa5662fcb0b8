"""``fractalops settings``, and the settings file as every command reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph_api.cli_output import Output
from graph_api.cli_session import DEFAULT_DATA
from runtime.client_settings import ClientSettings
from runtime.settings import Settings

Run = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "platform.toml"
    path.write_text('port = 9000\ndata = "kept"\nglitchtip_token = "geheim"\n')
    path.chmod(0o600)
    return path


def test_each_setting_is_shown_with_its_source(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTALOPS_OPENBAO_SECRET_ID", "geheim")
    monkeypatch.setenv("FRACTALOPS_FACTS", "bao://secret/facts#dsn")
    monkeypatch.delenv("FRACTALOPS_DATA", raising=False)
    shown = run("settings", "show", "--settings", file, "--output", "json")
    assert (shown.code, shown.err) == (0, "")
    rows = {row["name"]: (row["value"], row["source"]) for row in json.loads(shown.out)["items"]}
    assert rows["port"] == (9000, f"{file}:1")
    assert rows["data"] == (str(file.parent / "kept"), f"{file}:2")
    assert rows["glitchtip_token"] == ("(hidden)", f"{file}:3")
    assert rows["openbao_secret_id"] == ("(hidden)", "environment:FRACTALOPS_OPENBAO_SECRET_ID")
    assert rows["facts"] == ("bao://secret/facts#dsn", "environment:FRACTALOPS_FACTS")
    assert rows["host"][1] == "default"
    assert "geheim" not in shown.out
    table = run("--settings", file, "--data", "here", "settings", "show")
    assert "geheim" not in table.out
    assert any(line.split() == ["data", "here", "option"] for line in table.out.splitlines())


def test_one_setting(run: Run, file: Path) -> None:
    shown = run("settings", "show", "port", "--settings", file, "--output", "json")
    assert json.loads(shown.out) == {
        "name": "port",
        "value": 9000,
        "source": f"{file}:1",
        "secret": False,
    }
    missing = run("settings", "show", "prot", "--settings", file)
    assert missing.code == 1
    assert "did you mean port?" in missing.err


def test_a_file_is_checked_by_itself(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACTALOPS_PORT", "no port")
    checked = run("settings", "check", file)
    assert checked.code == 0
    assert [line.split()[0] for line in checked.out.splitlines()[1:]] == [
        *("data", "port", "glitchtip_token"),
    ]
    file.write_text("port = 9000\nprot = 1\n")
    wrong = run("settings", "check", file)
    assert (wrong.code, wrong.out) == (1, "")
    assert f"{file}:2: 'prot' is no setting; did you mean port?" in wrong.err


def test_commands_find_the_server_by_the_file(
    fake: Any, data: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.says("GET /status", {"head": 3})
    for name in ("FRACTALOPS_DATA", "FRACTALOPS_URL", "FRACTALOPS_TOKEN", "FRACTALOPS_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "client.toml"
    file.write_text(f'data = "{data}"\noutput = "json"\ntoken = "geheim"\n')
    file.chmod(0o600)
    shown = run("--settings", file, "status")
    assert (shown.code, json.loads(shown.out)) == (0, {"head": 3})
    assert fake.last.headers["authorization"] == "Bearer geheim"
    monkeypatch.setenv("FRACTALOPS_SETTINGS", str(file))
    monkeypatch.setenv("FRACTALOPS_TOKEN", "mine")
    assert run("status").code == 0
    assert fake.last.headers["authorization"] == "Bearer mine"
    file.chmod(0o644)
    refused = run("status")
    assert refused.code == 2
    assert "chmod 600" in refused.err
    assert "geheim" not in refused.err


def test_a_server_is_not_started_with_a_file_that_is_wrong(run: Run, file: Path) -> None:
    file.write_text("prot = 1\n")
    refused = run("up", "--settings", file)
    assert refused.code == 2
    assert "did you mean port?" in refused.err


def test_what_commands_take_by_default_is_the_default_of_the_settings() -> None:
    assert Settings.model_fields["data"].default == DEFAULT_DATA
    assert ClientSettings.model_fields["output"].default == Output.TABLE
