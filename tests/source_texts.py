"""The texts that source makes of constants, and the addresses in them.

Invariant: a text is looked at as it would be, whether it is written in one piece, added up, joined,
formatted or filled in; what isn't known of it is a hole, and an address with a hole is one. What is
computed in other ways no rule of the source finds: where a connection leads is judged when it is
made (:mod:`runtime.http_addresses`).
"""

from __future__ import annotations

import ast
import ipaddress
import re
import unicodedata
from collections.abc import Iterator

_HOLE = "\0"
"""What stands in a text for a value that isn't known."""
_NAME = re.compile(
    rf"\blocalhost\b|(?:(?:[\w-]|{_HOLE})+\.)+svc\b|\.cluster\.local\b"
    r"|\bhost\.(?:docker|containers)\.internal\b|\bmetadata\.google\.internal\b",
    re.IGNORECASE,
)
_FOUR = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])")
_PART = rf"(?:[0-9]{{1,3}}|{_HOLE})"
_PRIVATE = re.compile(
    rf"(?<![\w.])(?:(?:10|127)\.{_PART}|192\.168|169\.254|172\.(?:1[6-9]|2[0-9]|3[01]))"
    rf"(?:\.{_PART}){{2}}(?![\w.])|(?<![\w.])(?:10|127)\.(?:[0-9]{{1,3}}\.){{0,2}}{_HOLE}"
)
_SIX = re.compile(r"(?<![\w:])(?:::1|(?:fe80|f[cd][0-9a-f]{2}):[0-9a-f:]*)(?![\w:])", re.IGNORECASE)
_BRACKETS = re.compile(r"//\[([0-9a-f:.]+)\]", re.IGNORECASE)
# A host that is a number, or has fewer than four parts, is an IPv4 address to many readers.
_NUMBER = re.compile(
    r"//(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+)){0,3}(?=[:/?#]|$)", re.IGNORECASE
)
# A time of the day has digits alone before the colon, or the T of a date and time.
_PORT = re.compile(
    rf"(?<![\w.%-])(?:[a-z_][\w.-]*[\w]|{_HOLE}):[0-9]{{2,5}}(?![\w:.%-])", re.IGNORECASE
)
_TIME = re.compile(r"(?:.*[0-9-])?T[0-9]{1,2}:[0-9]{2}", re.IGNORECASE)
_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
)
_FIELD = re.compile(r"\{[^{}]*\}")
_CONVERSION = re.compile(r"%(?:\([^)]*\))?[-#0 +]*[0-9.*]*[sdrxi]")
_ADDRESS_OF = re.compile(r"(?:.*\.)?(?:ip_address|ip_network|ip_interface|IPv[46]\w+|inet_ntoa)")


def addresses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The addresses in the texts of a module, each with its line."""
    for line, text in _texts(tree):
        for found in _in_text(unicodedata.normalize("NFKC", text)):
            yield line, found.replace(_HOLE, "{}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _ADDRESS_OF.fullmatch(ast.unparse(node.func)):
            given = [it.value for it in node.args if isinstance(it, ast.Constant)]
            if any(isinstance(it, int | bytes) for it in given):
                yield node.lineno, ast.unparse(node)


def _in_text(text: str) -> Iterator[str]:
    """The addresses in one text."""
    if text.strip("[]") == "::":
        yield text
    for pattern in (_NAME, _SIX):
        yield from (match.group() for match in pattern.finditer(text))
    for pattern in (_FOUR, _BRACKETS):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match.group(pattern.groups))
            except ValueError:
                continue
            # What documentation is written with leads nowhere.
            documented = any(address in network for network in _DOCUMENTATION)
            if not documented and not address.is_global:
                yield match.group()
    for match in _PRIVATE.finditer(text):
        if _HOLE in match.group():
            yield match.group()
    for match in _NUMBER.finditer(text):
        if not _FOUR.fullmatch(match.group()[2:]):
            yield match.group()
    for match in _PORT.finditer(text):
        if not _TIME.fullmatch(match.group()):
            yield match.group()


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text that code makes of constants, with its line; none that only explains."""
    seen: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            seen.add(id(node.value))
    # From the outside in, so that a whole is looked at before its parts.
    for node in ast.walk(tree):
        if id(node) in seen or not isinstance(node, _MAKES_TEXT):
            continue
        text = _folded(node)
        if text is None:
            continue
        seen.update(id(part) for part in ast.walk(node) if isinstance(part, _MAKES_TEXT))
        yield node.lineno, text
        for part in ast.walk(node):
            # What is put into a text is an expression with texts of its own.
            inside = [part.value] if isinstance(part, ast.FormattedValue) else []
            if isinstance(part, ast.Call):
                inside = [*part.args, *(keyword.value for keyword in part.keywords)]
            for expression in inside:
                yield from _texts_of_expression(expression, node.lineno)


def _texts_of_expression(tree: ast.AST, line: int) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        text = _folded(node) if isinstance(node, _MAKES_TEXT) else None
        if text is not None:
            yield line, text


_MAKES_TEXT = (ast.Constant, ast.JoinedStr, ast.BinOp, ast.Call)


def _folded(node: ast.AST) -> str | None:
    """The text that an expression is, with holes for what isn't known; ``None`` for no text."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_piece, node.values))
    if isinstance(node, ast.FormattedValue):
        return _piece(node.value)
    if isinstance(node, ast.BinOp):
        return _operated(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _called(node.func, node)
    return None


def _operated(node: ast.BinOp) -> str | None:
    left, right = _folded(node.left), _folded(node.right)
    if isinstance(node.op, ast.Add) and not (left is None and right is None):
        return (_HOLE if left is None else left) + (_HOLE if right is None else right)
    if isinstance(node.op, ast.Mod) and left is not None:
        values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        return _filled(_CONVERSION, left, values)
    return None


def _called(method: ast.Attribute, node: ast.Call) -> str | None:
    text = _folded(method.value)
    if text is None:
        return None
    if method.attr == "format":
        return _filled(_FIELD, text, node.args)
    if method.attr == "join" and len(node.args) == 1:
        parts = node.args[0]
        if isinstance(parts, ast.List | ast.Tuple):
            return text.join(map(_piece, parts.elts))
    return None


def _filled(pattern: re.Pattern[str], text: str, values: list[ast.expr]) -> str:
    given = map(_piece, values)
    return pattern.sub(lambda _: next(given, _HOLE), text)


def _piece(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return str(node.value)
    text = _folded(node)
    return _HOLE if text is None else text
