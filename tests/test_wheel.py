"""The wheel, installed outside the repository: it is whole, it owns its packages, it runs."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PROBE = """
import importlib, importlib.metadata, importlib.resources, json, sys
print(json.dumps({
    "files": {name: importlib.import_module(name).__file__ for name in sys.argv[1:]},
    "owners": {name: importlib.metadata.packages_distributions()[name] for name in sys.argv[1:]},
    "core": importlib.resources.files("ontology").joinpath("core.ttl").read_text("utf-8")[:1000],
}))
"""


@dataclass(frozen=True)
class Installed:
    """A wheel and the environment outside the repository that it is installed in."""

    wheel: Path
    folder: Path
    python: Path

    def run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a command from a folder where nothing of the repository can be imported."""
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def packages(checkout: Path) -> list[str]:
    """The root packages, as the build is told."""
    settings = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    names: list[str] = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return names


@pytest.fixture(scope="module")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("away from the repository")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, checkout],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=120
    )
    python = folder / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=120
    )
    # The dependencies come from the environment that runs the tests. A path file is not read for
    # path files in turn, so the editable install of the repository stays out.
    (own,) = (folder / "env" / "lib").glob("python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    (own / "dependencies.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    return Installed(wheel, folder, python)


def shipped(wheel: Path) -> set[str]:
    """What the wheel's own record lists."""
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = csv.reader(archive.read(record).decode().splitlines())
        return {row[0] for row in rows if ".dist-info/" not in row[0]}


def test_it_ships_every_file_of_its_packages(
    installed: Installed, checkout: Path, packages: list[str]
) -> None:
    expected = {
        path.relative_to(checkout).as_posix()
        for package in packages
        for path in (checkout / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        # A wheel of its own: tests/stewards/datahub.
        and (checkout / "stewards" / "datahub") not in path.parents
    }
    assert shipped(installed.wheel) == expected
    assert {"ontology/core.ttl", "ingest/migrations/0001_tables.sql"} <= expected


def test_it_owns_its_root_packages_and_nothing_else(
    installed: Installed, packages: list[str]
) -> None:
    assert {name.split("/")[0] for name in shipped(installed.wheel)} == set(packages)
    assert not set(packages) & sys.stdlib_module_names


def test_it_imports_from_where_it_is_installed(installed: Installed, packages: list[str]) -> None:
    done = installed.run([installed.python, "-c", PROBE, *packages])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in packages:
        assert Path(found["files"][name]).is_relative_to(installed.folder), name
        # A dependency that brought a package of the same name would stand here beside us.
        assert set(found["owners"][name]) == {"fractalops"}, name
    assert "https://w3id.org/fractalops/ns#" in found["core"]


def test_its_command_runs(installed: Installed) -> None:
    done = installed.run([installed.python.with_name("fractalops"), "--help"])
    assert done.returncode == 0, done.stderr
    for command in ("up", "demo", "query", "propose", "proofs"):
        assert command in done.stdout


def test_its_demo_says_that_it_needs_the_checkout(installed: Installed) -> None:
    done = installed.run([installed.python.with_name("fractalops"), "demo"])
    assert done.returncode == 1, done.stdout
    assert "examples/shop" in done.stderr
