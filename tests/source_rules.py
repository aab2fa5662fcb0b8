"""Rules that imports alone don't tell of: raw addresses, and programs that are started.

Invariant: the syntax tree is looked at and no line of text, so that neither a line break nor a
formatted string hides anything, and a comment or a docstring isn't taken for code. What may stand
is listed by file and rule, each with its reason; a reason that no file needs any more is a fault.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.source_texts import addresses

ADDRESS = "address"
"""No loopback, private or link-local address, no name inside a cluster, and no ``host:port``,
stands outside the settings."""
PROCESS = "process"
"""No program is started outside ``runtime.process_exec``."""

FOLDERS = (
    *("examples", "graph_api", "ingest", "ontology", "proofs", "runtime", "shapes", "stewards"),
)

_SETTINGS = "it is one of the modules that settings are made of"
_ADDRESSES = "it tells kinds of addresses apart, and leads nowhere"
_SHOP = "the shop is the system that is watched: it imports nothing of the platform"
ALLOWED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("runtime/local_urls.py", ADDRESS): _SETTINGS,
        ("runtime/settings_document.py", ADDRESS): "it shows people how a setting is written",
        ("stewards/datahub_session.py", ADDRESS): "its message shows how an address is written",
        ("ontology/ids.py", ADDRESS): "what IRIs start with is a name; nothing connects to it",
        ("ontology/dataset_names.py", ADDRESS): _ADDRESSES,
        ("runtime/http_addresses.py", ADDRESS): _ADDRESSES,
        ("runtime/urls.py", ADDRESS): _ADDRESSES,
        ("examples/shop/__main__.py", ADDRESS): _SHOP,
        ("examples/shop/serving.py", ADDRESS): _SHOP,
        ("examples/shop/__main__.py", PROCESS): _SHOP,
        ("runtime/process_exec.py", PROCESS): "this is where programs are started",
        ("stewards/reflection_model.py", PROCESS): "an operator names the class of a chat model",
        ("stewards/datahub_push.py", PROCESS): "it looks whether a module is there already",
        ("graph_api/sandbox.py", PROCESS): "it locks its own process by prctl, and starts nothing",
    }
)

# What starts a program by being called; ``os`` itself has many other uses.
_OF_OS = re.compile(r"(?:exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|system|popen|startfile)")
_FORKS = frozenset({"fork", "forkpty"})
_CALLS = frozenset(
    {
        *("create_subprocess_exec", "create_subprocess_shell", "subprocess_exec"),
        *("subprocess_shell", "set_executable", "spawnv_passfds", "open_process", "run_process"),
    }
)
"""Of asyncio, its loops, multiprocessing and anyio."""
_MODULES = frozenset(
    {
        *("subprocess", "_posixsubprocess", "pty", "ctypes", "cffi", "pexpect", "sh", "plumbum"),
        *("webbrowser", "paramiko", "asyncssh", "fabric", "lxc", "docker", "pywinpty"),
        # They run or find code by a text, and so whatever there is.
        *("runpy", "imp", "code", "codeop", "builtins", "zipimport", "_ctypes"),
    }
)
_HARMLESS_IMPORTLIB = frozenset({"importlib.metadata", "importlib.resources", "importlib.abc"})
_BY_NAME = ("subprocess", "_posixsubprocess", "pty", "ctypes")
_BY_TEXT = frozenset({"__import__", "__builtins__", "eval", "exec", "compile"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule finds: the file below the root, its line, and what stands there."""

    file: str
    line: int
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.found}"


def findings(root: Path) -> Iterator[Finding]:
    """Everything in the source below a root that a rule is about, whether it is allowed or not."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_bytes(), str(path))
            name = path.relative_to(root).as_posix()
            for line, found in addresses(tree):
                yield Finding(name, line, ADDRESS, found)
            for line, found in _processes(tree):
                yield Finding(name, line, PROCESS, found)


def refused(root: Path) -> list[Finding]:
    """What is found and not allowed."""
    return [found for found in findings(root) if (found.file, found.rule) not in ALLOWED]


# --- programs


def _processes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    names = _named(tree)
    owners = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if _module(a.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, found) for found in _imported(node.module, node.names))
        elif isinstance(node, ast.Attribute):
            owner = _dotted(node.value, names)
            if _starts(owner, node.attr) or _hides(owner, node.attr):
                yield node.lineno, f"{owner}.{node.attr}"
            elif id(node) not in owners and _is_os(_dotted(node, names)):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            # A module that is handed on is used by names that nobody sees.
            if node.id in _BY_TEXT or (id(node) not in owners and _is_os(_dotted(node, names))):
                yield node.lineno, node.id
        elif isinstance(node, ast.Constant) and node.value in _BY_NAME:
            yield node.lineno, repr(node.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            named = node.args[1] if len(node.args) > 1 else None
            if isinstance(named, ast.Constant) and _starts("os", str(named.value)):
                yield node.lineno, ast.unparse(node)


def _named(tree: ast.Module) -> dict[str, str]:
    """What the names of a module stand for, where that was imported."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    text = ast.unparse(node)
    first, dot, rest = text.partition(".")
    return names.get(first, first) + dot + rest


def _imported(module: str, aliases: list[ast.alias]) -> Iterator[str]:
    if module == "importlib":
        yield from (module for a in aliases if f"{module}.{a.name}" not in _HARMLESS_IMPORTLIB)
    elif _module(module):
        yield module
    for alias in aliases:
        whole = f"{module}.{alias.name}"
        anything = alias.name == "*" and _is_os(module)
        other_road = not _is_os(module) and _is_os(whole)
        if anything or other_road or _starts(module, alias.name) or _hides(module, alias.name):
            yield whole


def _module(name: str) -> bool:
    top = name.split(".")[0]
    return top in _MODULES or (top == "importlib" and name not in _HARMLESS_IMPORTLIB)


def _is_os(name: str) -> bool:
    return name.rpartition(".")[2] in ("os", "posix", "nt", "_os")


def _starts(owner: str, name: str) -> bool:
    """Whether ``owner.name`` starts a program."""
    if _is_os(owner):
        return bool(_OF_OS.fullmatch(name)) or name in _FORKS or name.startswith("__")
    return name in _CALLS


def _hides(owner: str, name: str) -> bool:
    """Whether ``owner.name`` gives a module by a text."""
    return f"{owner}.{name}" in ("sys.modules", "pkgutil.resolve_name", "pydoc.locate")
