"""Reads what a client sends into the quads it wants added and removed.

Invariant: what comes out is data alone, in canonical form and within limits, however it came in: no
operation, no pattern, no remote reference survives parsing. Nothing here looks at the graph.
Accepted: Turtle, N-Triples, JSON-LD, TriG, N-Quads (additions), RDF Patch and SPARQL
``INSERT DATA``/``DELETE DATA`` (both), and a JSON envelope of N-Quads (both). RDF/XML is not: its
entities may unfold a few hundred bytes to gigabytes inside the parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, parse

from ontology.errors import SparqlSyntaxError, TermError
from ontology.ids import Ids
from ontology.sparql_tokens import data_blocks
from ontology.terms import canonical_quad, has_blank_nodes, in_named_graph
from proofs.errors import BadSubmission, MalformedStatement
from proofs.rdf_patch import read_patch
from proofs.secret_text import holds_secret
from proofs.statement import canonical_json

MAX_QUADS = 100_000
MAX_RATIONALE = 4_000
MAX_EVIDENCE = 10_000

TRIPLE_FORMATS = {
    "text/turtle": RdfFormat.TURTLE,
    "application/n-triples": RdfFormat.N_TRIPLES,
    "application/ld+json": RdfFormat.JSON_LD,
}
QUAD_FORMATS = {"application/trig": RdfFormat.TRIG, "application/n-quads": RdfFormat.N_QUADS}
PATCH_TYPES = frozenset({"application/rdf-patch", "text/x-rdf-patch", "text/rdf-patch"})
UPDATE_TYPE = "application/sparql-update"
JSON_TYPE = "application/json"
MEDIA_TYPES = (*TRIPLE_FORMATS, *QUAD_FORMATS, *sorted(PATCH_TYPES), UPDATE_TYPE, JSON_TYPE)

# Relative IRIs are allowed as graph names only: they resolve against this and are told apart by it.
_RELATIVE_SCHEME = "fractalops-relative:"
_RELATIVE = _RELATIVE_SCHEME + "///"
_SHORT_GRAPH = re.compile(
    rb" <(?![A-Za-z][A-Za-z0-9+.-]*:)([^\x00-\x20<>\"{}|^`\\]+)>([ \t]*\.[ \t]*(?:#[^\r\n]*)?\r?)$",
    re.MULTILINE,
)

_EVIDENCE = re.compile(r"sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Request:
    """What a client asks of the gate: quads still with their blank nodes, and the circumstances.

    ``hold`` says why its author wants a person to decide, empty where policy may; ``signature`` is
    its author's own, an envelope in canonical JSON, empty where it came unsigned.
    """

    additions: frozenset[Quad]
    removals: frozenset[Quad]
    project: str | None = None
    rationale: str = ""
    evidence: tuple[str, ...] = ()
    base: int | None = None
    hold: str = ""
    media_type: str = "application/n-quads"
    source: bytes = b""
    signature: bytes = b""


def graph_iri(name: str, ids: Ids) -> str:
    """The IRI of a graph given short (``lineage/shop``) or as an IRI."""
    if name.startswith(ids.base + "/graph/"):
        try:
            return NamedNode(name).value
        except ValueError as error:
            raise BadSubmission(f"{name!r} is no IRI: {error}", "unknown-graph") from error
    if "://" in name or name.startswith("urn:"):
        raise BadSubmission(
            f"{name} is not a graph of this organisation; its graphs are below {ids.base}/graph/",
            "unknown-graph",
        )
    try:
        return ids.graph(name)
    except ValueError as error:
        raise BadSubmission(str(error), "unknown-graph") from error


def read_submission(
    body: bytes,
    media_type: str,
    ids: Ids,
    *,
    project: str | None = None,
    graph: str | None = None,
    rationale: str = "",
    evidence: Iterable[str] = (),
    base: int | None = None,
) -> Request:
    """The request in a body. ``graph`` is where triples without a graph go, short or as an IRI.

    Raises :class:`BadSubmission`, whose ``kind`` names what is wrong.
    """
    hold, signature = "", b""
    reader = _Reader(ids, NamedNode(graph_iri(graph, ids)) if graph else None)
    if media_type in TRIPLE_FORMATS:
        if graph is None:
            raise BadSubmission(
                f"a body of {media_type} names no graph: add ?graph=NAME, for example"
                " graph=lineage/shop",
                "graph-missing",
            )
        reader.take(True, body, TRIPLE_FORMATS[media_type])
    elif media_type in QUAD_FORMATS:
        reader.take(True, body, QUAD_FORMATS[media_type])
    elif media_type in PATCH_TYPES:
        patch = read_patch(_text(body))
        reader.take(patch.adds, patch.trig.encode(), RdfFormat.TRIG, columns=False)
    elif media_type == UPDATE_TYPE:
        try:
            for part in data_blocks(_text(body)):
                adds = part.kind == "INSERT DATA"
                reader.take(adds, part.trig.encode(), RdfFormat.TRIG, part.line_offset)
        except SparqlSyntaxError as error:
            raise BadSubmission(
                f"the update cannot be taken: {error}", "update-not-data", error.line, error.column
            ) from error
    elif media_type == JSON_TYPE:
        envelope = _envelope(body)
        reader.take(True, envelope["additions"].encode(), RdfFormat.N_QUADS, what="additions: ")
        reader.take(False, envelope["removals"].encode(), RdfFormat.N_QUADS, what="removals: ")
        project = envelope["project"] if envelope["project"] is not None else project
        rationale = envelope["rationale"] or rationale
        evidence = envelope["evidence"] or evidence
        base = envelope["base"] if envelope["base"] is not None else base
        hold = envelope["hold"]
        signature = _signature(envelope["signature"])
    else:
        raise BadSubmission(
            f"a proposal cannot be read from {media_type or 'no Content-Type'}; send one"
            f" of {', '.join(MEDIA_TYPES)}",
            "unsupported-media-type",
        )
    if not reader.additions and not reader.removals:
        raise BadSubmission(
            "the body holds no quads: send what is to be added or removed", "empty-delta"
        )
    check_text(rationale, "the rationale")
    check_text(hold, "the reason to hold it")
    # The body is kept as it came, comments and all.
    if holds_secret(body.decode(errors="replace")):
        raise BadSubmission(
            "the body looks like it holds a secret, perhaps in a comment; what is proposed is kept"
            " for ever: revoke it, and send the rest without it",
            "secret",
        )
    return Request(
        frozenset(reader.additions),
        frozenset(reader.removals),
        project,
        rationale,
        _checked_evidence(evidence),
        base,
        hold,
        media_type,
        body,
        signature,
    )


class _Reader:
    """Collects quads in order: a later row about a quad takes an earlier one back."""

    def __init__(self, ids: Ids, graph: NamedNode | None) -> None:
        self._ids = ids
        self._graph = graph
        self.additions: set[Quad] = set()
        self.removals: set[Quad] = set()

    def take(
        self,
        adds: bool | Iterable[bool],
        data: bytes,
        form: RdfFormat,
        line_offset: int = 0,
        what: str = "",
        columns: bool = True,
    ) -> None:
        """Takes quads in: all of them to be added (or not), or each as it is said."""
        kinds = repeat(adds) if isinstance(adds, bool) else adds
        relative = _RELATIVE if form == RdfFormat.TRIG else None
        if form == RdfFormat.N_QUADS:
            # The format has no relative IRIs; only a graph's short name is let in as one.
            data = _SHORT_GRAPH.sub(rb" <" + _RELATIVE.encode() + rb"\1>\2", data)
        try:
            for quad, added in zip(
                parse(data, format=form, base_iri=relative), kinds, strict=False
            ):
                into, out_of = self.additions, self.removals
                if not added:
                    into, out_of = out_of, into
                placed = self._placed(quad)
                if not added and has_blank_nodes((placed,)):
                    raise BadSubmission(
                        f"{what}a blank node cannot be removed by its label: name the node by the"
                        " IRI that the graph gave it",
                        "blank-node-removal",
                    )
                into.add(placed)
                out_of.discard(placed)
                if len(self.additions) + len(self.removals) > MAX_QUADS:
                    raise BadSubmission(
                        f"the delta has more than {MAX_QUADS} quads: send it in parts", "too-large"
                    )
        except SyntaxError as error:
            raise _syntax_error(error, what, line_offset, columns) from error
        except TermError as error:
            raise BadSubmission(f"{what}{error}", "bad-term") from error

    def _placed(self, quad: Quad) -> Quad:
        _refuse_secret(quad)
        name = quad.graph_name
        if isinstance(name, NamedNode):
            if name.value.startswith(_RELATIVE_SCHEME):
                # "//other/graph" leaves the base behind and is no short name.
                short = name.value.removeprefix(_RELATIVE)
                iri = graph_iri(short, self._ids)
                quad = Quad(quad.subject, quad.predicate, quad.object, NamedNode(iri))
        elif isinstance(name, BlankNode):
            raise BadSubmission(
                f"{_short(quad)} is in a graph without a name: graphs are named, for example"
                " GRAPH <lineage/shop> { }",
                "graph-missing",
            )
        elif self._graph is not None:
            quad = in_named_graph(quad, self._graph)
        else:
            raise BadSubmission(
                f"{_short(quad)} is in no graph: put it into GRAPH <...> {{ }}, or add ?graph=NAME",
                "graph-missing",
            )
        for iri in _iris(quad):
            if iri.startswith(_RELATIVE_SCHEME):
                raise BadSubmission(
                    f"<{iri.removeprefix(_RELATIVE)}> is a relative IRI and there is no base to"
                    " resolve it against: write it in full",
                    "unparsable-rdf",
                )
        return canonical_quad(quad)


def _iris(quad: Quad) -> Iterator[str]:
    for term in (quad.subject, quad.predicate, quad.object):
        if isinstance(term, NamedNode):
            yield term.value
    if isinstance(quad.object, Literal):
        yield quad.object.datatype.value


def _refuse_secret(quad: Quad) -> None:
    value = quad.object
    if isinstance(value, Literal) and holds_secret(value.value):
        place = f"the value at {quad.predicate}"
    elif any(map(holds_secret, _iris(quad))):
        place = "an IRI"
    else:
        return
    raise BadSubmission(
        f"{place} looks like a secret; secrets do not belong in the graph: revoke it, and send the"
        " rest without it",
        "secret",
    )


def _short(quad: Quad) -> str:
    text = f"{quad.subject} {quad.predicate} {quad.object}"
    return text if len(text) <= 200 else text[:197] + "..."


def _syntax_error(error: SyntaxError, what: str, line_offset: int, columns: bool) -> BadSubmission:
    line = error.lineno + line_offset if error.lineno else None
    column = error.offset if columns else None
    message = re.sub(r"^Parser error (?:at|between) .*?: ", "", str(error.msg or error))
    place = f"line {line}" if line else ""
    place += f", column {column}" if line and column else ""
    return BadSubmission(
        f"{what}{place}{': ' if place else ''}{message}", "unparsable-rdf", line, column
    )


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BadSubmission(
            f"line {line}: the body is not UTF-8 (byte {error.start})", "unparsable-rdf", line
        ) from error


def check_text(text: str, what: str) -> None:
    """Refuses what somebody writes in their own words, and is kept, where it cannot be.

    Raises :class:`BadSubmission`.
    """
    if len(text) > MAX_RATIONALE:
        raise BadSubmission(
            f"{what} has {len(text)} characters, the limit is {MAX_RATIONALE}", "too-large"
        )
    _refuse_surrogates(text, what)
    if holds_secret(text):
        raise BadSubmission(
            f"{what} looks like it holds a secret: revoke it, and say it without", "secret"
        )


def _refuse_surrogates(text: str, what: str) -> None:
    # JSON can escape halves of surrogate pairs, and UTF-8 has no form for them.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadSubmission(
            f"{what} holds half of a surrogate pair, which is no character", "unparsable-json"
        )


_JSON_NAMES = {str: "a text", list: "a list", int: "a whole number", dict: "an object"}


def _envelope(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(_text(body))
    except (ValueError, RecursionError) as error:
        raise BadSubmission(
            f"the body is not JSON: {error}",
            "unparsable-json",
            getattr(error, "lineno", None),
            getattr(error, "colno", None),
        ) from error
    if not isinstance(value, dict):
        raise BadSubmission("the JSON body must be an object", "unparsable-json")
    kinds: dict[str, tuple[type, Any]] = {
        "project": (str, None),
        "rationale": (str, ""),
        "additions": (str, ""),
        "removals": (str, ""),
        "evidence": (list, []),
        "base": (int, None),
        "hold": (str, ""),
        "signature": (dict, None),
    }
    unknown = sorted(set(value) - set(kinds))
    if unknown:
        raise BadSubmission(
            f"unknown member {unknown[0]!r}: a proposal has {', '.join(kinds)}", "unparsable-json"
        )
    read: dict[str, Any] = {}
    for name, (kind, absent) in kinds.items():
        member = value.get(name)
        if member is None:
            member = absent
        elif not isinstance(member, kind) or isinstance(member, bool):
            raise BadSubmission(f"{name} must be {_JSON_NAMES[kind]}", "unparsable-json")
        if isinstance(member, str):
            _refuse_surrogates(member, name)
        read[name] = member
    return read


def _signature(value: dict[str, Any] | None) -> bytes:
    """A DSSE envelope in its canonical form; whose it is and of what is seen at the gate."""
    if value is None:
        return b""
    try:
        return canonical_json(value)
    except MalformedStatement as error:
        raise BadSubmission(f"signature: {error}", "unparsable-json") from error


def _checked_evidence(evidence: Iterable[str]) -> tuple[str, ...]:
    found = sorted(set(map(str, evidence)))
    if len(found) > MAX_EVIDENCE:
        raise BadSubmission(f"more than {MAX_EVIDENCE} evidence digests", "too-large")
    for digest in found:
        if not _EVIDENCE.match(digest):
            raise BadSubmission(
                f"evidence is given as sha256: and 64 hexadecimal digits, not {digest[:100]!r}",
                "bad-evidence",
            )
    return tuple(found)
