"""What a compiled shape means, as a digest, so that two versions of the shapes can be compared.

Invariant: shapes of the same meaning find the same at every node of every graph, but for the words
they say it in. The digest is taken over the shape as it was read: its targets, those it has as a
class among them, its constraints with all that these were made of, prefixes and bodies of queries,
and every shape it refers to. So it makes no difference where in the shapes graph something is said,
nor that other shapes changed. A query that reads the shapes graph means all of that graph.
Source: https://www.w3.org/TR/shacl/#shapes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from typing import Any

from pyoxigraph import BlankNode, Literal, NamedNode, Triple

from shapes.compile import Program
from shapes.model import Query, Shape, ValueTest

_WORDS: dict[type, frozenset[str]] = {
    Shape: frozenset({"messages", "passes"}),
    # What a test was made of stands for the function that was made of it.
    ValueTest: frozenset({"holds", "requirement"}),
    Query: frozenset({"messages", "label"}),
}
"""What words are chosen by, and what is made of the rest."""


def changed(before: Program, after: Program) -> list[Shape]:
    """The targeted shapes of ``after`` that ``before`` has not, or that meant something else."""
    known = _Meanings()
    said = {known.of(shape) for shape in before.targeted}
    return [shape for shape in after.targeted if known.of(shape) not in said]


class _Meanings:
    """The meanings of shapes, each worked out once."""

    def __init__(self) -> None:
        self._known: dict[Shape, bytes] = {}

    def of(self, shape: Shape) -> bytes:
        known = self._known.get(shape)
        if known is None:
            digest = sha256()
            for part in self._members(shape):
                digest.update(part)
            known = self._known[shape] = digest.digest()
        return known

    def _said(self, value: Any) -> Iterator[bytes]:
        """A value as bytes from which it could be read again."""
        match value:
            case Shape():
                yield b"#" + self.of(value)
            case None | bool() | int() | str() | Enum():
                yield _framed(f"{type(value).__name__} {value}")
            case NamedNode() | BlankNode() | Literal() | Triple():
                yield _framed(str(value))
            case tuple() | list():
                yield from self._listed(value)
            case frozenset():
                yield from self._listed(sorted(value, key=str))
            case _ if is_dataclass(value):
                yield from self._members(value)
            case _:
                raise TypeError(f"{type(value).__name__} has no meaning here")

    def _listed(self, items: Iterable[Any]) -> Iterator[bytes]:
        yield b"("
        for item in items:
            yield from self._said(item)
        yield b")"

    def _members(self, value: Any) -> Iterator[bytes]:
        words = _WORDS.get(type(value), frozenset())
        yield _framed(type(value).__name__) + b"{"
        for member in fields(value):
            if member.name not in words:
                yield from self._said(getattr(value, member.name))
        yield b"}"


def _framed(text: str) -> bytes:
    """Text with its length before it, so that it cannot be taken for anything else."""
    data = text.encode()
    return b"%d:%b" % (len(data), data)
