"""Reads RDF Patch: rows that add (``A``) and delete (``D``) quads.

Invariant: a patch is read whole or refused whole, and a row means what it means where it stands: a
prefix counts from its ``PA`` row on. Transactions are understood as brackets: one that is aborted
or never committed is refused, since half a change is nobody's intention.
Specification: https://afs.github.io/rdf-delta/rdf-patch
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proofs.errors import BadSubmission

_UCHAR = r"\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}"
_IRI = rf"<(?:[^<>\"{{}}|^`\\\x00-\x20]|{_UCHAR})*>"
# What a prefixed name, a number or a boolean may hold; a full stop only in between.
_BARE = r"(?:[^\s<>\"'(){}\[\],;#^@\\.]|\\[^\s]|\.(?=[^\s<>\"'(){}\[\],;#^@]))+"
_TERM = re.compile(
    rf"""\s*(?P<term>(?P<iri>{_IRI})
    |(?P<literal>(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')
        (?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^(?P<datatype>{_IRI}|{_BARE}))?)
    |(?P<bare>{_BARE})
    |\.)""",
    re.VERBOSE,
)
_VALUE = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|true|false")
_LOCAL_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Patch:
    """The rows of a patch as one TriG document without prefixes.

    Its lines are the patch's lines, and each row is exactly one quad; ``adds`` says of each in
    order whether it is added.
    """

    trig: str
    adds: tuple[bool, ...]


def read_patch(text: str) -> Patch:
    """Reads a patch. Raises :class:`BadSubmission` with line and column."""
    return _Patch().read(text)


class _Patch:
    def __init__(self) -> None:
        self._prefixes: dict[str, str] = {}

    def read(self, text: str) -> Patch:
        in_transaction = False
        adds: list[bool] = []
        lines: list[str] = []
        for number, row in enumerate(text.split("\n"), start=1):
            lines.append("")
            stripped = row.strip()
            if not stripped or stripped.startswith("#"):
                continue
            code = stripped.split(None, 1)[0]
            start = row.index(code) + len(code)
            if code in ("A", "D"):
                adds.append(code == "A")
                lines[-1] = _statement(self._terms(row, number, start), number)
            elif code in ("PA", "PD"):
                self._prefix(code, row, number, start)
            elif code == "TX":
                if in_transaction:
                    raise _bad("a transaction starts inside another one", number)
                in_transaction = True
            elif code == "TC":
                in_transaction = False
            elif code == "TA":
                raise _bad("the patch aborts its transaction: send only what is to be done", number)
            elif code != "H":
                raise _bad(
                    f"a row starts with A, D, H, PA, PD, TX or TC, not with {code[:20]!r}", number
                )
        if in_transaction:
            raise _bad(
                "the last transaction is not committed (TC .): the patch may be cut off", None
            )
        return Patch("\n".join(lines), tuple(adds))

    def _prefix(self, code: str, row: str, number: int, start: int) -> None:
        """``PA ex: <http://...> .``, or with either part in quotation marks, as Jena writes it."""
        row = row[start:].strip()
        if not row.endswith("."):
            raise _bad("a row ends with a full stop", number)
        parts = row[:-1].split()
        if len(parts) != (2 if code == "PA" else 1):
            raise _bad("a prefix row is: PA ex: <http://...> . or PD ex: .", number)
        name = parts[0].strip("\"'").removesuffix(":")
        if code == "PD":
            self._prefixes.pop(name, None)
            return
        iri = parts[1]
        if iri[0] in "\"'" and iri[-1] == iri[0]:
            iri = f"<{iri[1:-1]}>"
        if not re.fullmatch(_IRI, iri):
            raise _bad(f"{parts[1][:80]!r} is no IRI", number)
        self._prefixes[name] = iri[1:-1]

    def _terms(self, row: str, number: int, start: int) -> list[str]:
        terms: list[str] = []
        offset, end = start, len(row.rstrip())
        while offset < end:
            match = _TERM.match(row, offset, end)
            if match is None:
                raise _no_term(row, number, offset)
            offset = match.end()
            if match["term"] == ".":
                rest = row[offset:end].strip()
                if rest and not rest.startswith("#"):
                    raise _no_term(row, number, offset)
                return terms
            terms.append(self._term(match, number))
        raise _bad("a row ends with a full stop", number)

    def _term(self, match: re.Match[str], number: int) -> str:
        term = match["term"]
        if match["bare"] is not None:
            if term.startswith("_:") or _VALUE.fullmatch(term):
                return term
            return self._full(term, number)
        datatype = match["datatype"]
        if datatype is not None and not datatype.startswith("<"):
            return term[: -len(datatype)] + self._full(datatype, number)
        return term

    def _full(self, name: str, number: int) -> str:
        prefix, colon, local = name.partition(":")
        if not colon or prefix not in self._prefixes:
            raise _bad(
                f"{name[:80]!r} is no term: its prefix was not declared by a PA row before", number
            )
        plain = _LOCAL_ESCAPE.sub(r"\1", local)
        iri = f"<{self._prefixes[prefix]}{plain}>"
        if not re.fullmatch(_IRI, iri):
            raise _bad(f"{name[:80]!r} makes no IRI", number)
        return iri


def _statement(terms: list[str], number: int) -> str:
    if len(terms) == 3:
        return f"{{ {' '.join(terms)} }}"
    if len(terms) == 4:
        return f"GRAPH {terms[3]} {{ {' '.join(terms[:3])} }}"
    raise _bad(f"a row has three or four terms and a full stop, this one has {len(terms)}", number)


def _no_term(row: str, number: int, offset: int) -> BadSubmission:
    offset += len(row[offset:]) - len(row[offset:].lstrip())
    return BadSubmission(
        f"line {number}, column {offset + 1}: this is no RDF term: {row[offset : offset + 40]!r}",
        "unparsable-rdf",
        number,
        offset + 1,
    )


def _bad(message: str, line: int | None) -> BadSubmission:
    text = message if line is None else f"line {line}: {message}"
    return BadSubmission(f"the RDF Patch cannot be read: {text}", "unparsable-rdf", line)
