"""Digests of a delta: what a log entry commits to instead of carrying the quads themselves.

Invariant: a delta's lines are canonical N-Quads without blank nodes, so that their RDFC-1.0 form
is the lines in code point order and a digest doesn't depend on the order they came in.
Specifications: https://www.w3.org/TR/rdf-canon/ (canonical N-Quads),
https://afs.github.io/rdf-delta/rdf-patch (the patch form of a graph's part)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from proofs.errors import MalformedStatement

_IRI = rb"<[^\x00-\x20<>\"{}|^`\\]+>"
_QUAD = re.compile(
    rb"(?P<s>" + _IRI + rb") (?P<p>" + _IRI + rb") "
    rb"(?P<o>" + _IRI + rb'|"(?:[^"\\\n\r]|\\[^\n\r])*"(?:@[A-Za-z0-9-]+|\^\^' + _IRI + rb")?) "
    rb"<(?P<g>[^\x00-\x20<>\"{}|^`\\]+)> \.\n"
)


@dataclass(frozen=True)
class DeltaDigest:
    """SHA-256 of sorted canonical N-Quads lines, and how many there are."""

    sha256: str
    count: int


@dataclass(frozen=True)
class DeltaDigests:
    """Both halves of a delta."""

    additions: DeltaDigest
    removals: DeltaDigest

    def to_dict(self) -> dict[str, Any]:
        return {
            "additions": {"sha256": self.additions.sha256, "count": self.additions.count},
            "removals": {"sha256": self.removals.sha256, "count": self.removals.count},
        }


def parse_quad(line: bytes) -> tuple[bytes, bytes, bytes, str]:
    """Subject, predicate and object as N-Quads terms, and the graph's IRI, of a canonical line."""
    match = _QUAD.fullmatch(line)
    if match is None:
        raise MalformedStatement(
            "a delta line reads '<s> <p> <o> <g> .' with a newline, without blank nodes, "
            f"not {line[:200]!r}"
        )
    try:
        return match["s"], match["p"], match["o"], match["g"].decode()
    except UnicodeDecodeError as error:
        raise MalformedStatement(f"a delta line is UTF-8: {line[:200]!r}") from error


def delta_digests(additions: Iterable[bytes], removals: Iterable[bytes]) -> DeltaDigests:
    """Digests of the RDFC-1.0 canonical N-Quads of both halves.

    Without blank nodes the canonical form is the lines in code point order.
    """
    return DeltaDigests(_digest(additions), _digest(removals))


def delta_subjects(additions: Iterable[bytes], removals: Iterable[bytes]) -> list[dict[str, Any]]:
    """One in-toto subject per named graph that the delta touches, by graph IRI.

    Its digest is the SHA-256 over the graph's part in canonical RDF Patch: the sorted additions
    as ``A <s> <p> <o> <g> .`` lines, then the sorted removals as ``D`` lines.
    """
    patches: dict[str, Any] = {}
    for mark, lines in ((b"A ", additions), (b"D ", removals)):
        for line in sorted(set(lines)):
            graph = parse_quad(line)[3]
            patches.setdefault(graph, hashlib.sha256()).update(mark + line)
    return [
        {"name": graph, "digest": {"sha256": patches[graph].hexdigest()}}
        for graph in sorted(patches)
    ]


def order_subjects(order: str, result: str | None) -> list[dict[str, Any]]:
    """The in-toto subjects of an entry about an order: its document, and that of its outcome where
    the entry has one."""
    documents = (("order", order), ("result", result))
    return [{"name": name, "digest": {"sha256": digest}} for name, digest in documents if digest]


def _digest(lines: Iterable[bytes]) -> DeltaDigest:
    ordered = sorted(set(lines))
    for line in ordered:
        parse_quad(line)
    return DeltaDigest(hashlib.sha256(b"".join(ordered)).hexdigest(), len(ordered))
