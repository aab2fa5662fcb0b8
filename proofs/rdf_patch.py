"""Reads RDF Patch: rows that add (``A``) and delete (``D``) quads.

Invariant: a patch is read whole or refused whole. Transactions are understood as brackets: one that
is aborted or never committed is refused, since half a change is nobody's intention.
Specification: https://afs.github.io/rdf-delta/rdf-patch
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proofs.errors import BadSubmission

_TERM = re.compile(
    r"""\s*(?P<term><[^<>"{}|^`\\\x00-\x20]*>
    |_:[^\s<>"]+
    |"(?:[^"\\\r\n]|\\.)*"(?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^(?:<[^<>"{}|^`\\\x00-\x20]*>|[^\s<>"]+))?
    |'(?:[^'\\\r\n]|\\.)*'(?:@[A-Za-z]+(?:-[A-Za-z0-9]+)*|\^\^(?:<[^<>"{}|^`\\\x00-\x20]*>|[^\s<>"]+))?
    |[^\s<>"'.][^\s<>"']*
    |\.)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class PatchBlock:
    """Consecutive rows of one kind as one TriG document whose lines are the patch's lines."""

    adds: bool
    trig: str


def read_patch(text: str) -> Iterator[PatchBlock]:
    """The blocks of a patch, in order. Raises :class:`BadSubmission` with line and column."""
    prefixes: dict[str, str] = {}
    rows: list[tuple[bool, int, str]] = []
    open_transaction = False
    for number, row in enumerate(text.split("\n"), start=1):
        stripped = row.strip()
        if not stripped or stripped.startswith("#"):
            continue
        code, _, rest = stripped.partition(" ")
        if code in ("A", "D"):
            rows.append((code == "A", number, _statement(rest, number)))
        elif code == "PA":
            name, iri = _terms(rest, number, 2)
            prefixes[name.strip("\"'").rstrip(":")] = iri
        elif code == "PD":
            (name,) = _terms(rest, number, 1)
            prefixes.pop(name.strip("\"'").rstrip(":"), None)
        elif code == "TX":
            if open_transaction:
                raise _bad("a transaction starts inside another one", number)
            open_transaction = True
        elif code == "TC":
            open_transaction = False
        elif code == "TA":
            raise _bad("the patch aborts its transaction: send only what is to be done", number)
        elif code != "H":
            raise _bad(
                f"a row starts with A, D, H, PA, PD, TX or TC, not with {code[:20]!r}", number
            )
    if open_transaction:
        raise _bad("the last transaction is not committed (TC .): the patch may be cut off", None)
    head = " ".join(f"PREFIX {name}: {iri}" for name, iri in prefixes.items())
    at = 0
    while at < len(rows):
        end = at
        while end < len(rows) and rows[end][0] == rows[at][0]:
            end += 1
        lines = [head]
        for _, number, statement in rows[at:end]:
            lines.extend([""] * (number - len(lines)))
            lines[number - 1] += " " + statement
        yield PatchBlock(rows[at][0], "\n".join(lines))
        at = end


def _statement(rest: str, number: int) -> str:
    terms = list(_split(rest, number))
    if len(terms) == 3:
        return f"{{ {terms[0]} {terms[1]} {terms[2]} }}"
    if len(terms) == 4:
        return f"GRAPH {terms[3]} {{ {terms[0]} {terms[1]} {terms[2]} }}"
    raise _bad(f"a row has three or four terms and a full stop, this one has {len(terms)}", number)


def _terms(rest: str, number: int, count: int) -> list[str]:
    terms = list(_split(rest, number))
    if len(terms) != count:
        raise _bad(f"this row takes {count} terms and a full stop, not {len(terms)}", number)
    return terms


def _split(rest: str, number: int) -> Iterator[str]:
    offset, ended = 0, False
    rest = rest.rstrip()
    while offset < len(rest):
        match = _TERM.match(rest, offset)
        if match is None or ended:
            raise BadSubmission(
                f"line {number}: this is no RDF term: {rest[offset : offset + 40]!r}",
                "unparsable-rdf",
                number,
                offset + 3,
            )
        offset = match.end()
        if match["term"] == ".":
            ended = True
        else:
            yield match["term"]
    if not ended:
        raise _bad("a row ends with a full stop", number)


def _bad(message: str, line: int | None) -> BadSubmission:
    text = message if line is None else f"line {line}: {message}"
    return BadSubmission(f"the RDF Patch cannot be read: {text}", "unparsable-rdf", line)
