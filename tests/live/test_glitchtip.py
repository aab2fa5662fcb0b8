"""A project is made in GlitchTip too: a real server, and a stand-in that answers as documented."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.process_exec import Captured, capture
from tests.ingest.stand_in import Asked, Said, standing_in

if TYPE_CHECKING:
    from tests.live.conftest import Serve

pytestmark = pytest.mark.live

DSN = "https://0123456789abcdef0123456789abcdef@gt.example/7"


def test_a_project_gets_its_dsn_and_an_outage_loses_nothing(serve: Serve, checkout: Path) -> None:
    made: set[str] = set()
    refusing = True

    def glitchtip(asked: Asked) -> Said:
        assert asked.headers["authorization"] == "Bearer theirs"
        if refusing:
            return Said(403, {"detail": "the token lacks project:write"})
        if asked.method == "POST":
            assert asked.path == "/api/0/teams/acme/web/projects/"
            made.add(json.loads(asked.body)["name"])
            return Said(201, {"slug": json.loads(asked.body)["name"]})
        slug = asked.path.split("/")[-3]
        assert asked.path == f"/api/0/projects/acme/{slug}/keys/"
        return Said(200, [{"dsn": {"public": DSN}}]) if slug in made else Said(404)

    with standing_in() as stand_in:
        stand_in.answer = glitchtip
        settings = {
            "FRACTALOPS_GLITCHTIP_URL": stand_in.url,
            "FRACTALOPS_GLITCHTIP_ORGANISATION": "acme",
            "FRACTALOPS_GLITCHTIP_TEAM": "web",
            "FRACTALOPS_GLITCHTIP_TOKEN": "theirs",
        }
        server = serve(None, settings=settings).start()

        def cli(*arguments: str) -> Captured:
            return capture(
                [sys.executable, "-m", "graph_api.cli", "--data", server.data, *arguments],
                timeout=60,
                env=dict.fromkeys(("FRACTALOPS_URL", "FRACTALOPS_TOKEN", "FRACTALOPS_DATA")),
                cwd=checkout,
            )

        first = cli("projects", "create", "shop").checked()
        assert b"lacks project:write" in first.stderr
        assert b"fractalops projects glitchtip shop" in first.stderr
        assert "SENTRY_DSN" in first.text
        assert cli("projects", "glitchtip", "shop").returncode == 1
        refusing = False
        for _ in range(2):
            again = cli("projects", "glitchtip", "shop").checked()
            assert again.text == f"export GLITCHTIP_DSN={DSN}\n"
        assert f"export GLITCHTIP_DSN={DSN}" in cli("projects", "create", "bank").checked().text
        assert made == {"shop", "bank"}
        server.stop()
    holders = {
        path.name
        for path in server.data.rglob("*")
        if path.is_file() and DSN[8:40].encode() in path.read_bytes()
    }
    assert holders == {"access.sqlite"}
    assert (server.data / "access.sqlite").stat().st_mode & 0o777 == 0o600
    assert b"theirs" not in server.output.read_bytes()


def test_without_a_glitchtip_the_command_says_so(serve: Serve) -> None:
    server = serve().start()
    server.post("/projects", {"slug": "shop"})
    with server.client() as client:
        answer = client.post("/projects/shop/glitchtip")
    assert answer.status_code == 409
    assert "FRACTALOPS_GLITCHTIP_URL" in answer.json()["detail"]
