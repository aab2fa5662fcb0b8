"""The floors of the house: import-linter's contracts hold, and they would notice."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import grimp
import pytest

# Offline verification rests on these alone, so that it runs where there is no platform.
VERIFY_MAY_IMPORT = {
    "proofs",
    "proofs.bundle",
    "proofs.checkpoint",
    "proofs.delta",
    "proofs.errors",
    "proofs.log_keys",
    "proofs.merkle",
    "proofs.note",
    "proofs.predicate",
    "proofs.signed_proposal",
    "proofs.statement",
    "proofs.tiles",
    "proofs.verdict",
    "proofs.verify",
    "proofs.verify_signature",
}
VERIFY_MAY_INSTALL = {"cryptography", "rfc8785"}
# Of the standard library, what import-linter can't tell from its harmless neighbours, and the calls
# that connect: in the one module that connects to where a request may go, and in none else.
SPEAKS = frozenset(
    {
        *("urllib.request", "urllib.robotparser", "http.client", "http.server", "http.cookiejar"),
        *("socket", "_socket", "socketserver", "multiprocessing.managers", "imaplib", "nntplib"),
        *("multiprocessing.connection.Client", "multiprocessing.connection.Listener"),
        *("logging.handlers", "logging.config", "wsgiref", "wsgiref.simple_server"),
    }
)
CONNECTS = re.compile(
    r"(?:.*\.)?(?:create_connection|create_unix_connection|create_datagram_endpoint"
    r"|open_connection|open_unix_connection|sock_connect|connect_tcp|connect_unix|getaddrinfo"
    r"|import_module|__import__)"
)
EXCEPTIONS = {
    # Where a name leads is judged there, for everybody.
    "runtime.http_connections: socket.getaddrinfo",
    "runtime.http_connections: self._inner.connect_tcp",
    # It reads which proxies the environment names, and asks nothing.
    "runtime.http_transport: urllib.request",
    # One end of a pair of sockets; the other one is with a process that was started there.
    "graph_api.query_process: asyncio.get_running_loop().create_connection",
    # What a socket is to modules that serve, or that talk to processes of their own.
    *(
        f"{module}: socket"
        for module in (
            *("graph_api.query_process", "graph_api.query_worker", "graph_api.serving"),
            *("ingest.fact_process", "runtime.http_connections", "runtime.kubernetes_channels"),
        )
    ),
    # A command in a cluster, at the address of an operator's kubeconfig.
    "runtime.kubernetes_channels: socket.create_connection",
    # The chat model that an operator has named: its vendor's client speaks for itself.
    "stewards.reflection_model: importlib.import_module",
}
# pyoxigraph's own class; a module may still name it as a type.
OPENS_A_STORE = re.compile(r"(pyoxigraph\.)?Store(\.\w+)?$")


@pytest.fixture(scope="module")
def settings(checkout: Path) -> dict[str, Any]:
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    tool: dict[str, Any] = tomllib.loads(text)["tool"]
    return tool


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_contracts_hold(checkout: Path) -> None:
    done = lint_imports(checkout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_planted_import_breaks_each_contract(
    checkout: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    for package in settings["importlinter"]["root_packages"]:
        copytree(checkout / package, tmp_path / package, ignore=ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").write_bytes((checkout / "pyproject.toml").read_bytes())
    contracts = settings["importlinter"]["contracts"]
    forbidden = [
        name
        for contract in contracts
        for name in contract.get("protected_modules", contract.get("forbidden_modules", []))
    ]
    imports = "\n".join(f"import {name}" for name in [*forbidden, "graph_api"])
    (tmp_path / "ontology" / "planted.py").write_text(imports + "\n", encoding="utf-8")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    for contract in contracts:
        assert f"{contract['name']} BROKEN" in done.stdout, done.stdout


def test_every_root_package_has_a_floor(checkout: Path, settings: dict[str, Any]) -> None:
    layers = next(c for c in settings["importlinter"]["contracts"] if c["type"] == "layers")
    folders = {path.parent.name for path in checkout.glob("*/__init__.py")}
    assert set(layers["layers"]) == folders
    assert set(settings["importlinter"]["root_packages"]) == folders
    assert set(settings["hatch"]["build"]["targets"]["wheel"]["packages"]) == folders


def test_verification_needs_neither_the_platform_nor_a_database() -> None:
    graph = grimp.build_graph("proofs", include_external_packages=True, cache_dir=None)
    reached = graph.find_upstream_modules("proofs.verify") | {"proofs.verify"}
    own = {name for name in reached if name.split(".")[0] == "proofs"}
    assert own <= VERIFY_MAY_IMPORT
    others = {name.split(".")[0] for name in reached} - {"proofs"}
    assert others - sys.stdlib_module_names <= VERIFY_MAY_INSTALL
    assert not others & {"sqlite3", "socket", "urllib", "http", "subprocess"}


def test_only_the_store_module_opens_a_store(checkout: Path, settings: dict[str, Any]) -> None:
    for package in settings["importlinter"]["root_packages"]:
        for path in (checkout / package).rglob("*.py"):
            if path == checkout / "ontology" / "store.py":
                continue
            text = path.read_text(encoding="utf-8")
            if "pyoxigraph" not in text:
                # Another thing of that name.
                continue
            opened = [
                node.lineno
                for node in ast.walk(ast.parse(text, str(path)))
                if isinstance(node, ast.Call) and OPENS_A_STORE.match(ast.unparse(node.func))
            ]
            assert not opened, f"{path} opens a store in lines {opened}"


def test_the_examples_know_nothing_of_the_platform(
    checkout: Path, settings: dict[str, Any]
) -> None:
    own = set(settings["importlinter"]["root_packages"])
    found = 0
    for path in (checkout / "examples").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found += len(names)
            assert not {name.split(".")[0] for name in names} & own, path
    assert found


def doors(folder: Path, packages: list[str]) -> list[str]:
    """Where code reaches the network by something that no contract of import-linter sees."""
    found = []
    for path in sorted(it for package in packages for it in (folder / package).rglob("*.py")):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        # The source plugin of DataHub is a wheel of its own, and speaks as DataHub's client does.
        if module.startswith("stewards.datahub."):
            continue
        for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Attribute) and CONNECTS.fullmatch(node.attr):
                # What is called later, by another name, is named here.
                found.append(f"{module}: {ast.unparse(node)}")
            elif isinstance(node, ast.Name) and CONNECTS.fullmatch(node.id):
                found.append(f"{module}: {node.id}")
            found += [f"{module}: {it}" for it in names if it in SPEAKS or _connects(it)]
    return found


def _connects(name: str) -> bool:
    return CONNECTS.fullmatch(name.rpartition(".")[2]) is not None


def test_no_other_door_leads_to_the_network(checkout: Path, settings: dict[str, Any]) -> None:
    found = doors(checkout, settings["importlinter"]["root_packages"])
    assert set(found) == EXCEPTIONS
    assert "runtime.http_connections: self._inner.connect_tcp" in found


@pytest.mark.parametrize(
    "planted",
    [
        "import urllib.request",
        "from urllib import request",
        "from urllib.request import urlopen",
        "import http.client as quiet",
        "def f():\n    from http import client",
        "import asyncio\nasyncio.open_connection('a', 1)",
        "import asyncio\nasyncio.get_running_loop().create_connection(list, 'a', 1)",
        "from anyio import connect_tcp\nconnect_tcp('a', 1)",
        "from importlib import import_module\nimport_module('htt' + 'px')",
        "__import__('requests')",
        "import socket",
        "import socket as quiet\nquiet.socket().connect(('a', 1))",
        "import _socket",
        "from asyncio import open_connection as quiet",
        "import asyncio as a\nquiet = a.open_connection",
        "quiet = loop.create_connection\nquiet(list, 'a', 1)",
        "from multiprocessing.connection import Client",
        "from logging.handlers import SocketHandler",
        "from importlib import import_module as get",
        "get = __import__\nget('requests')",
    ],
)
def test_a_planted_door_is_found(planted: str, tmp_path: Path) -> None:
    (tmp_path / "ontology").mkdir()
    (tmp_path / "ontology" / "planted.py").write_text(planted, encoding="utf-8")
    assert doors(tmp_path, ["ontology"])
