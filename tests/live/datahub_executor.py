"""An environment as an executor of DataHub has it: DataHub and the source plugin, nothing of ours.

Invariant: the plugin is the wheel's, and nothing of the platform can be imported there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.live.conftest import Server


@dataclass(frozen=True)
class Executor:
    """An environment with DataHub and the plugin, and a folder to run in."""

    command: Path
    folder: Path

    def run(self, *arguments: str | Path) -> str:
        """Runs ``datahub`` with these arguments; what it printed."""
        done = subprocess.run(
            [self.command, *map(str, arguments)],
            cwd=self.folder,
            env=_environment() | {"DATAHUB_TELEMETRY_ENABLED": "false", "HOME": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def ingest(self, server: Server, name: str, sink: dict[str, Any], **config: Any) -> str:
        """Runs a recipe of this name, whose state is kept from run to run."""
        recipe = {
            "pipeline_name": name,
            "source": {
                "type": "fractalops",
                "config": {
                    "server": server.url,
                    "token": server.token,
                    "page_size": 3,
                    "stateful_ingestion": {
                        "enabled": True,
                        "state_provider": {
                            "type": "file",
                            "config": {"filename": str(self.folder / f"{name}-state.json")},
                        },
                    },
                    **config,
                },
            },
            "sink": sink,
        }
        path = self.folder / f"{name}.yml"
        # JSON is YAML too.
        path.write_text(json.dumps(recipe), encoding="utf-8")
        said = self.run("ingest", "-c", path)
        assert server.token not in said
        return said

    def to_file(self, server: Server, name: str, **config: Any) -> list[dict[str, Any]]:
        """What a run emits."""
        path = self.folder / f"{name}.json"
        self.ingest(server, name, {"type": "file", "config": {"filename": str(path)}}, **config)
        emitted: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return emitted


def make_executor(checkout: Path, folder: Path) -> Executor:
    """An executor in a new folder, with the plugin built from the checkout."""
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder,
    ]
    subprocess.run(
        [*build, checkout / "stewards" / "datahub"], check=True, capture_output=True, timeout=300
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "env"
    venv: list[str | Path] = [sys.executable, "-m", "venv", "--without-pip", environment]
    subprocess.run(venv, check=True, timeout=120)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=120
    )
    # As in tests/test_wheel.py: dependencies from here, the editable platform stays out.
    (own,) = (environment / "lib").glob("python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    (own / "dependencies.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('ontology') is not None)"
    subprocess.run([python, "-c", probe], cwd=folder, env=_environment(), check=True, timeout=60)
    command = environment / "bin" / "datahub"
    command.write_text(
        f"#!{python}\nimport sys\nfrom datahub.entrypoints import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    command.chmod(0o755)
    return Executor(command, folder)


def _environment() -> dict[str, str]:
    """Without what would lead to the platform, to a proxy or to an error tracker."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "SENTRY_DSN") and not name.lower().endswith("_proxy")
    }


def aspects(emitted: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The values of one aspect by the URNs they are of."""
    return {it["entityUrn"]: it["aspect"]["json"] for it in emitted if it["aspectName"] == name}


def removed(emitted: list[dict[str, Any]]) -> set[str]:
    return {urn for urn, status in aspects(emitted, "status").items() if status["removed"]}
