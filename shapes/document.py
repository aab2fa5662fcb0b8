"""Writes docs/shapes.md from the shapes.

Invariant: the page is a pure function of the shipped Turtle; a test compares the two. Run:
``python -m shapes.document > docs/shapes.md``
"""

from __future__ import annotations

import sys

from pyoxigraph import NamedNode

from ontology.clashes import compact
from ontology.document import Document, code, table
from ontology.vocab import Sh
from shapes.library import shapes_turtle

_TOPICS = {
    "services": "Services, operations, environments and releases",
    "lineage": "Data and lineage",
    "telemetry": "Product, errors and evidence",
    "assets": "Runtime assets",
    "governance": "Governance",
    "rules": "Classification rules",
    "vocabulary": "The vocabulary itself",
    "common": "Everything",
}
_TARGETS = {
    Sh.targetClass: "every",
    Sh.targetSubjectsOf: "whatever has",
    Sh.targetObjectsOf: "every value of",
    Sh.targetNode: "the node",
}
_INTRODUCTION = """# What may be true: the shapes

*This page is written by `python -m shapes.document` from `shapes/*.ttl`; change those.*

A proposal is checked against these [SHACL](https://www.w3.org/TR/shacl/) shapes before anything is
written. A report names the shape that spoke and carries its message, which says what to do. No
shape is closed: whatever else you want to state is welcome. The terms are explained in
[ontology.md](ontology.md).
"""


def page() -> str:
    """The whole of docs/shapes.md."""
    files = shapes_turtle()
    whole = Document.read(files.values())
    parts = [_INTRODUCTION]
    for name, title in _TOPICS.items():
        here = Document.read([files[name]])
        targeted = [iri for iri in here.named(Sh.NodeShape) if _targets(whole, iri)]
        parts.append(f"## {title}\n")
        parts += [_shape(whole, iri) for iri in sorted(targeted)]
    return "\n".join(parts)


def _targets(document: Document, iri: str) -> str:
    found = [
        f"{words} {code(sorted(compact(target) for target in targets))}"
        for predicate, words in _TARGETS.items()
        if (targets := document.texts(iri, predicate))
    ]
    return " and ".join(found)


def _shape(document: Document, iri: str) -> str:
    rows = [
        [f"`{compact(part)}`", _path(document, part), document.text(part, Sh.message)]
        for part in sorted(document.texts(iri, Sh.property))
    ]
    message = document.text(iri, Sh.message)
    lines = [f"### `{compact(iri)}`\n", f"Looks at {_targets(document, iri)}.\n"]
    if message:
        lines.append(f"{message}\n")
    return "\n".join([*lines, table(["Shape", "Path", "Message"], rows)])


def _path(document: Document, iri: str) -> str:
    paths = document.objects(NamedNode(iri), Sh.path)
    return code(compact(path.value) for path in paths)


if __name__ == "__main__":
    sys.stdout.write(page())
