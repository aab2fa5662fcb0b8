"""Rules that imports alone don't tell of: raw addresses, and programs that are started.

Invariant: the syntax tree is looked at and no line of text, so that neither a line break nor a
formatted string hides anything, and a comment or a docstring isn't taken for code. What may stand
is listed by file and rule, each with its reason; a reason that no file needs any more is a fault.
"""

from __future__ import annotations

import ast
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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
    }
)

_HOLE = "\0"
"""What stands in a formatted string for a value."""
_NAME = re.compile(
    r"\blocalhost\b|(?:[\w-]+\.)+svc\b|\.cluster\.local\b|\bhost\.docker\.internal\b", re.IGNORECASE
)
_FOUR = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])")
_SIX = re.compile(r"(?<![\w:])(?:::1|(?:fe80|f[cd][0-9a-f]{2}):[0-9a-f:]*)(?![\w:])", re.IGNORECASE)
# A time of the day has digits alone before the colon, or the T of a date and time.
_PORT = re.compile(
    rf"(?<![\w.%-])(?:[a-z_][\w.-]*[\w]|{_HOLE}):[0-9]{{2,5}}(?![\w:.%-])", re.IGNORECASE
)
_TIME = re.compile(r"(?:.*[0-9-])?T[0-9]{1,2}:[0-9]{2}", re.IGNORECASE)


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
            for line, found in _addresses(tree):
                yield Finding(name, line, ADDRESS, found)
            for line, found in _processes(tree):
                yield Finding(name, line, PROCESS, found)


def refused(root: Path) -> list[Finding]:
    """What is found and not allowed."""
    return [found for found in findings(root) if (found.file, found.rule) not in ALLOWED]


# --- addresses


def _addresses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for line, text in _texts(tree):
        for found in _in_text(text):
            yield line, found.replace(_HOLE, "{}")


def _in_text(text: str) -> Iterator[str]:
    """The addresses in one text."""
    if text.strip("[]") == "::":
        yield text
    for pattern in (_NAME, _SIX):
        yield from (match.group() for match in pattern.finditer(text))
    for match in _FOUR.finditer(text):
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        # What documentation is written with leads nowhere.
        documented = any(address in network for network in _DOCUMENTATION)
        if not documented and not address.is_global:
            yield match.group()
    for match in _PORT.finditer(text):
        if not _TIME.fullmatch(match.group()):
            yield match.group()


_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
)


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text that code makes of constants, with its line; none that only explains."""
    seen: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            seen.add(id(node.value))
    # From the outside in, so that a whole is looked at before its parts.
    for node in ast.walk(tree):
        if id(node) in seen or not isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
            continue
        text = _folded(node)
        if text is None:
            continue
        seen.update(id(part) for part in ast.walk(node) if _is_part(part))
        yield node.lineno, text
        for part in ast.walk(node):
            # What is put into a formatted string is an expression with texts of its own.
            if isinstance(part, ast.FormattedValue):
                inner = ast.Module([ast.Expr(part.value)], [])
                yield from _texts_of_expression(inner, node.lineno)


def _texts_of_expression(tree: ast.Module, line: int) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        text = _folded(node) if isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)) else None
        if text is not None:
            yield line, text


def _is_part(node: ast.AST) -> bool:
    return isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp))


def _folded(node: ast.AST) -> str | None:
    """The text that an expression is, with holes for what isn't known; ``None`` for no text."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_folded(value) or _HOLE for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _folded(node.left), _folded(node.right)
        if left is None and right is None:
            return None
        return (_HOLE if left is None else left) + (_HOLE if right is None else right)
    return None


# --- programs


def _processes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if _module(a.name))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if _module(node.module):
                yield node.lineno, node.module
            yield from (
                (node.lineno, f"{node.module}.{alias.name}")
                for alias in node.names
                if _starts(node.module, alias.name)
            )
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if _starts(owner, node.attr):
                yield node.lineno, f"{owner}.{node.attr}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # importlib.import_module("subprocess"), getattr(os, "system").
            if node.value in ("subprocess", "_posixsubprocess", "pty", "ctypes"):
                yield node.lineno, repr(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            named = node.args[1] if len(node.args) > 1 else None
            if isinstance(named, ast.Constant) and _starts("os", str(named.value)):
                yield node.lineno, ast.unparse(node)


def _module(name: str) -> bool:
    return name.split(".")[0] in _MODULES


def _starts(owner: str, name: str) -> bool:
    """Whether ``owner.name`` starts a program."""
    if owner in ("os", "posix"):
        return bool(_OF_OS.fullmatch(name)) or name in _FORKS
    return name in _CALLS
