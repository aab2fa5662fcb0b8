"""A server is started from a settings file, and what it holds is told nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ontology.vocab import Fo
from tests.live.conftest import run_command
from tests.seeded_secrets import DSN_PASSWORD

if TYPE_CHECKING:
    from tests.live.conftest import Serve

pytestmark = pytest.mark.live


def test_a_server_takes_what_the_file_says(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "platform.toml"
    file.write_text(
        'organisation = "acme"\noperator = "ada"\nport = 1\n'
        'glitchtip_url = "https://glitchtip.example"\nglitchtip_organisation = "acme"\n'
        f'glitchtip_team = "web"\nglitchtip_token = "{DSN_PASSWORD}"\n'
    )
    file.chmod(0o600)
    # The port on the command line wins, or nothing would answer.
    server = serve(
        None, "--steward-seconds", "600", settings={"FRACTALOPS_SETTINGS": str(file)}
    ).start()
    status = server.get("/status")
    assert server.ids.organisation("acme") in [
        row[0] for row in server.select(f"SELECT ?o {{ ?o a <{Fo.Organisation}> }}")
    ]
    shown = run_command("settings", "show", "--settings", file, "--output", "json")
    rows = {row["name"]: row for row in json.loads(shown.text)["items"]}
    assert (rows["operator"]["value"], rows["operator"]["source"]) == ("ada", f"{file}:2")
    assert rows["glitchtip_token"]["value"] == "(hidden)"
    server.stop()
    for text in (server.text, shown.text, json.dumps(status)):
        assert DSN_PASSWORD not in text
