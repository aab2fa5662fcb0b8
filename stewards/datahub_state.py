"""What a push of the catalog remembers: how far it came, what it told, and what DataHub refused.

Invariant: a document of plain JSON with one part for each DataHub, all dead letters at the top
where a status finds them, and no token in it. What was told is packed, for it is most of it. What
stands in ``told`` has been told; what was told and isn't true any more stands in ``stale`` until
DataHub was told so. A reading that was begun is remembered before its first word, so that whoever
goes on reads the same head again, and nothing that came and went in between is left behind.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stewards.errors import PushNeedsPerson

VERSION = 1
LONGEST_TOLD = 1 << 28
"""Characters of what was told, as text."""
MOST_DEAD = 1_000
"""Entities that one DataHub may refuse before somebody has to look."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entity that DataHub refused.

    ``iri`` is what it comes from, empty where it was to be removed; ``status`` is DataHub's answer,
    0 for an error in an answer of success; ``attempts`` counts the pushes that tried.
    """

    urn: str
    iri: str
    status: int
    error: str
    head: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Told:
    """What DataHub was told of one entity of the graph: the digest of what that follows from, and
    the URNs that are this source's to remove. ``mark`` is the number of the reading that saw it
    last, ``lineage`` says whether some was told."""

    digest: str
    mark: int
    urns: tuple[str, ...]
    lineage: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading of the catalog that goes on: of ``head``, by ``recipe``, after ``since``.

    Without a ``since`` it is of the whole catalog. ``next`` is the page to go on with, ``None`` for
    the first; ``confirmed`` says that much may be gone.
    """

    head: int
    recipe: str
    since: int | None = None
    next: str | None = None
    confirmed: bool = False


@dataclass(slots=True)
class PushState:
    """The part of one DataHub. ``head`` is ``None`` before the first push came to its end."""

    head: int | None = None
    recipe: str = ""
    mark: int = 0
    told: dict[str, Told] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    dead: dict[str, DeadLetter] = field(default_factory=dict)
    reading: Reading | None = None

    @classmethod
    def of(cls, document: Document | None, target: str) -> PushState:
        """The part of the DataHub at this address. Raises :class:`PushNeedsPerson` for a document
        that isn't one."""
        if document is None:
            return cls()
        try:
            if document["version"] != VERSION:
                raise ValueError(f"its version is {document['version']!r}")
            part = document["targets"].get(target)
            dead = [_letter(it) for it in document["dead"] if it["target"] == target]
            if part is None:
                return cls()
            reading = part["reading"]
            return cls(
                part["head"],
                part["recipe"],
                part["mark"],
                _unpacked(part["told"]),
                set(part["stale"]),
                {it.urn: it for it in dead},
                None if reading is None else Reading(**reading),
            )
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
            raise PushNeedsPerson(
                f"the state of the pushes to DataHub can't be read ({error}): put back an older"
                " copy of it, or remove it, and the next push tells everything, but removes nothing"
                " that is gone by now"
            ) from error

    def within(self, others: Document, target: str) -> dict[str, Any]:
        """The document of this part, which is of the DataHub at this address, and of the others,
        as :func:`without` gives them."""
        part = {
            "head": self.head,
            "recipe": self.recipe,
            "mark": self.mark,
            "told": _packed(self.told),
            "stale": sorted(self.stale),
            "reading": None if self.reading is None else asdict(self.reading),
        }
        dead = [{"target": target, **asdict(it)} for it in self.dead.values()]
        return {
            "version": VERSION,
            "dead": [*others["dead"], *dead],
            "targets": {**others["targets"], target: part},
        }

    def forget(self, iri: str) -> None:
        """The entity is gone: so is what was told of it, and what was refused."""
        told = self.told.pop(iri, None)
        if told is not None:
            self.stale.update(told.urns)
        for urn in [urn for urn, letter in self.dead.items() if letter.iri == iri]:
            del self.dead[urn]

    def alive(self, urns: Iterable[str]) -> set[str]:
        """Those of these URNs that some entity still stands behind."""
        wanted = set(urns)
        return {urn for told in self.told.values() for urn in told.urns if urn in wanted}


def without(document: Document | None, target: str) -> Document:
    """The parts of the other DataHubs."""
    if document is None:
        return {"dead": [], "targets": {}}
    return {
        "dead": [it for it in document["dead"] if it["target"] != target],
        "targets": {it: part for it, part in document["targets"].items() if it != target},
    }


def _letter(given: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(**{name: value for name, value in given.items() if name != "target"})


def _packed(told: Mapping[str, Told]) -> str:
    """In order, so that what is alike stands together."""
    rows = [
        [iri, it.digest, it.mark, it.urns, *([1] if it.lineage else [])]
        for iri, it in sorted(told.items())
    ]
    text = json.dumps(rows, separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode())).decode()


def _unpacked(text: str) -> dict[str, Told]:
    unpacking = zlib.decompressobj()
    rows = json.loads(unpacking.decompress(base64.b85decode(text), LONGEST_TOLD))
    return {
        iri: Told(digest, mark, tuple(urns), bool(lineage))
        for iri, digest, mark, urns, *lineage in rows
    }
