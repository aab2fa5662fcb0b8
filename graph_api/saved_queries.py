"""What saved queries answer now, and what they would answer if a proposal were applied.

Invariant: the change is made in a scratch copy, by a process of its own that can be ended, has
bounded memory and time, and reaches nothing else; graphs that the reader may not read aren't in its
sight. Queries see what is stated, not what follows from it. One comparison runs at a time.
Specification: https://www.w3.org/TR/sparql11-query/
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_api.harmless import harmless
from ontology.store import GraphStore
from ontology.terms import Delta, to_nquads
from ontology.vocab import PREFIXES
from shapes.sparql_process import Call, Copy, Row, Runner, Stopped

SECONDS = 5.0
"""For each query, and for making the change."""
MEMORY = 1024**3
MOST_ROWS = 2_000
SHOWN_ROWS = 20


class Unanswered(Exception):
    """There is no comparison; the message says why, and what the decider can do."""


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A question in words, its variables, and the query that answers it."""

    name: str
    question: str
    columns: tuple[str, ...]
    pattern: str

    @property
    def text(self) -> str:
        prologue = "".join(f"PREFIX {name}: <{iri}>\n" for name, iri in PREFIXES.items())
        wanted = " ".join(f"?{name}" for name in self.columns)
        return (
            f"{prologue}SELECT DISTINCT {wanted} WHERE {{ {self.pattern} }}"
            f" ORDER BY {wanted} LIMIT {MOST_ROWS + 1}"
        )


SAVED = (
    SavedQuery(
        "who-calls-whom",
        "Which service calls which?",
        ("caller", "callee"),
        "?a fo:calls ?b . ?a rdfs:label ?caller . ?b rdfs:label ?callee",
    ),
    SavedQuery(
        "who-uses-which-data",
        "What reads or writes which dataset or topic?",
        ("user", "way", "data"),
        "?a ?property ?b . ?a rdfs:label ?user . ?b rdfs:label ?data ."
        ' VALUES (?property ?way) { (fo:reads "reads") (fo:writes "writes") }',
    ),
    SavedQuery(
        "what-is-there",
        "Of which class are the things that are described?",
        ("class", "thing"),
        "?a a ?type ; fo:inProject ?project ; rdfs:label ?thing ."
        ' BIND(REPLACE(STR(?type), "^.*[/#]", "") AS ?class)',
    ),
    SavedQuery(
        "who-may-change-what",
        "Who may change which graph, and how much of it without a decision?",
        ("who", "graph", "limit"),
        "?grant fo:grantee ?a ; fo:onGraph ?g . ?a rdfs:label ?who . ?g rdfs:label ?graph ."
        " OPTIONAL { ?grant fo:autoApplyLimit ?limit }",
    ),
    SavedQuery(
        "who-is-what",
        "Who holds which role?",
        ("who", "role"),
        '?a fo:hasRole ?r . ?a rdfs:label ?who . BIND(REPLACE(STR(?r), "^.*[/#]", "") AS ?role)',
    ),
)


class Preview:
    """Compares what saved queries answer. ``scratch`` is a folder on the store's own disk,
    ``writing`` is held while the store is copied, ``runner`` is closed by whoever gives it."""

    def __init__(
        self, store: GraphStore, scratch: Path, writing: threading.RLock, runner: Runner
    ) -> None:
        self._store = store
        self._scratch = scratch
        self._writing = writing
        self._runner = runner
        self._one = threading.Lock()

    def compare(self, delta: Delta, hidden: Collection[str]) -> list[dict[str, Any]]:
        """For each saved query the rows that it would gain and lose.

        Raises :class:`Unanswered`."""
        if not self._one.acquire(timeout=SECONDS):
            raise Unanswered("another comparison is running; ask again in a moment")
        try:
            with self._folder() as folder:
                return self._compared(folder, delta, frozenset(hidden))
        except Stopped as error:
            raise Unanswered(f"it came to no end within its limits ({error})") from error
        finally:
            self._one.release()

    def _compared(self, folder: Path, delta: Delta, hidden: frozenset[str]) -> list[dict[str, Any]]:
        path = folder / "store"
        with self._writing:
            self._store.checkpoint(path)
        copy = Copy(path, self._store.system_graphs | hidden)
        before = [self._answer(copy, query) for query in SAVED]
        additions, removals = to_nquads(delta.additions), to_nquads(delta.removals)
        self._runner.change(copy, additions, removals, SECONDS)
        after = [self._answer(copy, query) for query in SAVED]
        return [_difference(*found) for found in zip(SAVED, before, after, strict=True)]

    def _answer(self, copy: Copy, query: SavedQuery) -> list[Row]:
        return self._runner.answer(Call(copy, (query.text,), query.columns), SECONDS)[0]

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="card-", dir=self._scratch))
        try:
            yield folder
        finally:
            self._runner.release(folder, wait=True)
            shutil.rmtree(folder, ignore_errors=True)


def _difference(query: SavedQuery, before: list[Row], after: list[Row]) -> dict[str, Any]:
    old, new = dict.fromkeys(map(_cells, before)), dict.fromkeys(map(_cells, after))
    gained = [row for row in new if row not in old]
    lost = [row for row in old if row not in new]
    cut = max(len(before), len(after)) > MOST_ROWS
    return {
        "name": query.name,
        "question": query.question,
        "columns": list(query.columns),
        "rows_before": min(len(before), MOST_ROWS),
        "rows_after": min(len(after), MOST_ROWS),
        "gained": [list(row) for row in gained[:SHOWN_ROWS]],
        "lost": [list(row) for row in lost[:SHOWN_ROWS]],
        "omitted": max(0, len(gained) - SHOWN_ROWS) + max(0, len(lost) - SHOWN_ROWS),
        # Then rows beyond the limit may have moved into sight or out of it.
        "complete": not cut,
    }


def _cells(row: Row) -> tuple[str, ...]:
    return tuple(
        "" if term is None else harmless(getattr(term, "value", str(term))) for term in row
    )
