"""The repository as a product: what its pages promise is there, and nothing is that must not be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REGISTRY = re.compile(r"https?://|--index-url|--extra-index-url|--find-links|--trusted-host")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE_TARGET = re.compile(r"\bmake ([a-z]+(?:-[a-z]+)*)\b")
# A command line shown in a code block, without its prompt.
COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:\.venv/bin/)?fractalops ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE
)
CODE_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


PLUGIN = "stewards/datahub"
PACKAGES = ("graph_api", "ingest", "ontology", "proofs", "runtime", "shapes", "stewards")


def canonical(requirement: str) -> str:
    """The name of a requirement, as the packaging specifications normalise it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


@cache
def owners() -> Mapping[str, list[str]]:
    """Which distributions installed each top-level name."""
    return packages_distributions()


def imported(path: Path) -> set[str]:
    """The top-level names that a module imports from elsewhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def pages(checkout: Path) -> list[Path]:
    return [checkout / "README.md", *sorted((checkout / "docs").rglob("*.md"))]


def tracked(checkout: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=checkout, capture_output=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files are tracked is unknown")
    return [name for name in listed.stdout.decode().split("\0") if name]


def make_targets(checkout: Path) -> set[str]:
    makefile = (checkout / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))


def test_no_tracked_file_records_where_packages_come_from(checkout: Path) -> None:
    locks = {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock"}
    for name in tracked(checkout):
        assert Path(name).name not in locks, name
        assert not re.fullmatch(r"pylock.*\.toml", Path(name).name), name


def test_requirements_are_pinned_by_hash_and_name_no_registry(checkout: Path) -> None:
    text = (checkout / "requirements.txt").read_text(encoding="utf-8")
    assert not REGISTRY.search(text)
    requirements = re.findall(r"^[a-z].*?(?=^[a-z]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(requirements) > 50
    for requirement in requirements:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,-]+\])?==\S+", requirement), requirement[:60]
        assert "--hash=sha256:" in requirement, requirement[:60]


def test_every_declared_dependency_is_pinned(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    text = (checkout / "requirements.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9._-]+)", text, re.MULTILINE))
    for line in declared:
        name = canonical(line)
        assert name in pinned, f"{name} isn't in requirements.txt: run `make lock`"


def test_ci_runs_what_everybody_runs(checkout: Path) -> None:
    assert "make test" in (checkout / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_names_the_two_commands(checkout: Path) -> None:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme


def test_every_make_target_on_a_page_exists(checkout: Path) -> None:
    targets = make_targets(checkout)
    assert {"setup", "demo", "test", "up", "bench", "lock"} <= targets
    for page in pages(checkout):
        text = page.read_text(encoding="utf-8")
        # Only where it is written as code: "make sense" is no target.
        code = "\n".join([*CODE_BLOCK.findall(text), *re.findall(r"`([^`\n]+)`", text)])
        for target in MAKE_TARGET.findall(code):
            assert target in targets, f"{page.relative_to(checkout)}: make {target}"


def test_every_command_on_a_page_exists(checkout: Path) -> None:
    from typer.main import get_command

    from graph_api.cli import app

    root = get_command(app)
    known: dict[str, set[str]] = {
        name: set(getattr(command, "commands", {}))
        for name, command in getattr(root, "commands", {}).items()
    }
    for page in pages(checkout):
        for block in CODE_BLOCK.findall(page.read_text(encoding="utf-8")):
            for command, sub in COMMAND.findall(block):
                assert command in known, f"{page.relative_to(checkout)}: fractalops {command}"
                if known[command]:
                    assert sub in known[command], (
                        f"{page.relative_to(checkout)}: fractalops {command} {sub}"
                    )


def test_every_link_between_pages_leads_somewhere(checkout: Path) -> None:
    for page in pages(checkout):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target) or target.startswith("#"):
                continue
            path = (page.parent / target.split("#")[0]).resolve()
            assert path.exists(), f"{page.relative_to(checkout)} links to {target}"


def test_no_file_is_too_large_to_read(checkout: Path) -> None:
    for name in tracked(checkout):
        path = checkout / name
        if path.is_file():
            assert path.stat().st_size < 1_000_000, name


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        *((name, ("datahub", "postgres") if name == "stewards" else ()) for name in PACKAGES),
        ("examples", ("demo",)),
        ("tests", ("demo", "dev", "bench", "postgres")),
    ],
)
def test_every_import_is_a_declared_dependency(
    checkout: Path, folder: str, extras: tuple[str, ...]
) -> None:
    """What is installed because something else needs it may be gone with its next release."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    declared = {canonical(line) for line in lines}
    for path in (checkout / folder).rglob("*.py"):
        if checkout / PLUGIN in path.parents:
            continue
        # A program's own modules stand beside it.
        own = {
            *PACKAGES,
            "fractalops_datahub",
            "shop",
            "tests",
            *(sibling.stem for sibling in path.parent.glob("*.py")),
        }
        for name in imported(path) - sys.stdlib_module_names - own:
            assert {canonical(owner) for owner in owners()[name]} & declared, f"{path}: {name}"


def test_the_plugin_of_datahub_imports_what_it_declares_and_nothing_of_the_platform(
    checkout: Path,
) -> None:
    folder = checkout / PLUGIN
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonical(line) for line in project["dependencies"]}
    modules = list((folder / "fractalops_datahub").glob("*.py"))
    assert modules
    for path in modules:
        names = imported(path) - sys.stdlib_module_names - {"fractalops_datahub"}
        assert not names & set(PACKAGES), path
        for name in names:
            assert {canonical(owner) for owner in owners()[name]} & declared, f"{path}: {name}"
