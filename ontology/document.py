"""Writes docs/ontology.md from the Turtle.

Invariant: the page is a pure function of the shipped Turtle, so that what people read is what the
graph holds; a test compares the two. Run: ``python -m ontology.document > docs/ontology.md``
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse

from ontology.clashes import compact
from ontology.library import ontology_turtle, rules_turtle
from ontology.vocab import FO, ONTOLOGY, PREFIXES, Fo, Owl, Rdf, Rdfs, Skos

_TOPICS = {
    "core": "Organisation, services and operations",
    "lineage": "Data and lineage",
    "telemetry": "Product, errors, evidence and classification",
    "assets": "Runtime assets",
    "governance": "Governance, proposals and proofs",
}
_KINDS = (Owl.ObjectProperty, Owl.DatatypeProperty, Owl.AnnotationProperty)
_ALIGNMENTS = {
    Rdfs.subClassOf: "is a kind of",
    Rdfs.subPropertyOf: "is a kind of",
    Skos.closeMatch: "is close to",
    Skos.relatedMatch: "is related to",
}
_INTRODUCTION = f"""# The FractalOps vocabulary

*This page is written by `python -m ontology.document` from `ontology/*.ttl`; change those.*

The vocabulary names what an organisation's telemetry can tell about its architecture, and how a
change of that knowledge is proposed, decided and proved. Its terms live in the namespace
<{FO}>, written `fo:` below. The shapes that say what may be stated with them are in
[shapes.md](shapes.md), questions to ask in [questions/](questions/README.md).
"""

Node = NamedNode | BlankNode


@dataclass(frozen=True)
class Document:
    """One Turtle document, by subject and predicate, in the order of the file."""

    statements: Mapping[Node, Mapping[str, list[NamedNode | BlankNode | Literal]]]

    @classmethod
    def read(cls, turtle: Iterable[bytes]) -> Document:
        found: dict[Node, dict[str, list[NamedNode | BlankNode | Literal]]] = {}
        for data in turtle:
            for quad in parse(data, format=RdfFormat.TURTLE, rename_blank_nodes=True):
                if isinstance(quad.subject, Triple) or isinstance(quad.object, Triple):
                    continue
                about = found.setdefault(quad.subject, {})
                about.setdefault(quad.predicate.value, []).append(quad.object)
        return cls(found)

    def objects(self, subject: Node, predicate: str) -> list[NamedNode | BlankNode | Literal]:
        return self.statements.get(subject, {}).get(predicate, [])

    def texts(self, subject: str, predicate: str) -> list[str]:
        return [o.value for o in self.objects(NamedNode(subject), predicate)]

    def text(self, subject: str, predicate: str) -> str:
        return " ".join(self.texts(subject, predicate))

    def named(self, *types: str) -> list[str]:
        """The IRIs of everything of one of these types, in the order of the file."""
        return [
            node.value
            for node, about in self.statements.items()
            if isinstance(node, NamedNode)
            and any(o.value in types for o in about.get(Rdf.type, ()))
        ]

    def ours(self, *types: str) -> list[str]:
        return [iri for iri in self.named(*types) if iri.startswith(FO)]

    def members(self, head: Node) -> Iterator[str]:
        """The members of an RDF list."""
        while head.value != Rdf.nil:
            yield self.objects(head, Rdf.first)[0].value
            rest = self.objects(head, Rdf.rest)[0]
            assert not isinstance(rest, Literal)
            head = rest


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; nothing at all without rows."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    names = list(heads)
    if not lines:
        return ""
    rendered = [names, ["---"] * len(names), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rendered)


def code(texts: Iterable[str]) -> str:
    """Texts as code, parted by commas."""
    return ", ".join(f"`{text}`" for text in texts)


def page() -> str:
    """The whole of docs/ontology.md."""
    topics = {name: Document.read([data]) for name, data in ontology_turtle().items()}
    whole = Document.read(ontology_turtle().values())
    parts = [_INTRODUCTION, _header(whole), _tree(whole)]
    for name, title in _TOPICS.items():
        parts += [f"## {title}\n", _classes(topics[name]), _properties(topics[name])]
    parts += [_roles(whole), _alignments(whole), _disjoint(whole), _keys(whole)]
    rules = Document.read(rules_turtle().values())
    parts += [_rules(rules), _redaction_rules(rules)]
    return "\n".join(part for part in parts if part)


def _header(document: Document) -> str:
    rows = [
        ["IRI", f"<{ONTOLOGY}>"],
        ["Version", document.text(ONTOLOGY, Owl.versionInfo)],
        ["Version IRI", f"<{document.text(ONTOLOGY, Owl.versionIRI)}>"],
        [
            "Size",
            f"{len(document.ours(Owl.Class))} classes, {len(document.ours(*_KINDS))} properties",
        ],
    ]
    prefixes = [[f"`{prefix}:`", f"<{namespace}>"] for prefix, namespace in PREFIXES.items()]
    return table(["", ""], rows) + "\n" + table(["Prefix", "Namespace"], prefixes)


def _tree(document: Document) -> str:
    children: dict[str, list[str]] = {}
    roots = []
    for iri in document.ours(Owl.Class):
        parents = [p for p in document.texts(iri, Rdfs.subClassOf) if p.startswith(FO)]
        for parent in parents:
            children.setdefault(parent, []).append(iri)
        if not parents:
            roots.append(iri)

    def lines(iri: str, depth: int) -> Iterator[str]:
        yield f"{'  ' * depth}- `{compact(iri)}` {document.text(iri, Rdfs.label)}\n"
        for child in sorted(children.get(iri, ())):
            yield from lines(child, depth + 1)

    return "## The classes at a glance\n\n" + "".join(
        line for root in sorted(roots) for line in lines(root, 0)
    )


def _classes(document: Document) -> str:
    rows = [
        [
            f"`{compact(iri)}`",
            document.text(iri, Skos.definition),
            code(compact(p) for p in document.texts(iri, Rdfs.subClassOf)),
        ]
        for iri in document.ours(Owl.Class)
    ]
    return "### Classes\n\n" + table(["Class", "Meaning", "Subclass of"], rows)


def _properties(document: Document) -> str:
    rows = []
    for iri in document.ours(*_KINDS):
        notes = document.texts(iri, Skos.definition) + document.texts(iri, Skos.scopeNote)
        notes += [f"For example `{example}`." for example in document.texts(iri, Skos.example)]
        if Owl.FunctionalProperty in document.texts(iri, Rdf.type):
            notes.append("At most one.")
        rows.append(
            [
                f"`{compact(iri)}`",
                _classes_of(document, iri, Rdfs.domain),
                _classes_of(document, iri, Rdfs.range),
                " ".join(notes),
            ]
        )
    return "### Properties\n\n" + table(["Property", "From", "To", "Meaning"], rows)


def _classes_of(document: Document, iri: str, predicate: str) -> str:
    names: list[str] = []
    for node in document.objects(NamedNode(iri), predicate):
        if isinstance(node, NamedNode):
            names.append(node.value)
        for head in document.objects(node, Owl.unionOf) if isinstance(node, BlankNode) else ():
            assert not isinstance(head, Literal)
            names += document.members(head)
    return " or ".join(f"`{compact(name)}`" for name in names)


def _roles(document: Document) -> str:
    rows = [
        [f"`{compact(iri)}`", document.text(iri, Skos.definition)] for iri in document.ours(Fo.Role)
    ]
    return "### Roles\n\n" + table(["Role", "Meaning"], rows)


def _alignments(document: Document) -> str:
    rows = [
        [f"`{compact(iri)}`", words, f"`{compact(other)}`"]
        for iri in sorted(document.ours(Owl.Class, *_KINDS))
        for predicate, words in _ALIGNMENTS.items()
        for other in document.texts(iri, predicate)
        if not other.startswith(FO)
    ]
    return (
        "## Alignments\n\nHow these terms relate to those of other vocabularies: [PROV-O]"
        "(http://www.w3.org/TR/prov-o/), [DCAT 3](https://www.w3.org/TR/vocab-dcat-3/) and [ORG]"
        "(https://www.w3.org/TR/vocab-org/). Names and raw keys are SKOS: `rdfs:label` is the "
        "human name of a thing, `skos:notation` the key by which telemetry knows it.\n\n"
        + table(["Term", "", "Foreign term"], rows)
    )


def _disjoint(document: Document) -> str:
    groups: list[list[str]] = []
    for node, about in document.statements.items():
        for predicate in (Owl.members, Owl.disjointUnionOf):
            for head in about.get(predicate, ()):
                assert not isinstance(head, Literal)
                groups.append(list(document.members(head)))
        if isinstance(node, NamedNode) and node.value.startswith(FO):
            groups += [[node.value, other.value] for other in about.get(Owl.disjointWith, ())]
    lines = sorted(f"- {code(compact(iri) for iri in group)}\n" for group in groups)
    return (
        "## What can't be the same thing\n\nNothing is of two classes of one line.\n\n"
        + "".join(lines)
    )


def _keys(document: Document) -> str:
    keys: dict[str, list[str]] = {}
    for iri in document.ours(Owl.Class, *_KINDS):
        for key in document.texts(iri, Skos.notation):
            keys.setdefault(key, []).append(compact(iri))
    rows = [[f"`{key}`", code(sorted(terms))] for key, terms in sorted(keys.items())]
    return (
        "## Telemetry keys\n\nThe [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/) "
        "attributes that feed a term, in old and new spellings.\n\n" + table(["Key", "Feeds"], rows)
    )


def _rules(document: Document) -> str:
    rules = document.ours(Fo.ClassificationRule)
    rules.sort(key=lambda iri: (-int(document.text(iri, Fo.priority)), iri))
    rows = []
    for iri in rules:
        conditions = [f"kind {' or '.join(sorted(document.texts(iri, Fo.whenKind)))}"]
        conditions += [f"has `{key}`" for key in sorted(document.texts(iri, Fo.whenAttribute))]
        conditions += [f"`{pair}`" for pair in sorted(document.texts(iri, Fo.whenAttributeEquals))]
        rows.append(
            [
                document.text(iri, Fo.priority),
                f"`{compact(iri)}`",
                "; ".join(conditions),
                f"`{compact(document.text(iri, Fo.classifiesAs))}`",
                f"`{document.text(iri, Fo.nameTemplate)}`",
                document.text(iri, Skos.definition),
            ]
        )
    heads = ["Priority", "Rule", "Fits when", "Class", "Name", "Meaning"]
    return (
        "## Classification rules\n\nHow a span gets its class before it is kept as a fact, in the "
        "order in which the rules are tried. They are graph data (`graph/rules`): a proposal can "
        "add to them.\n\n" + table(heads, rows)
    )


def _redaction_rules(document: Document) -> str:
    rules = document.ours(Fo.RedactionRule)
    rules.sort(key=lambda iri: (-int(document.text(iri, Fo.priority)), iri))
    rows = []
    for iri in rules:
        of_key = document.texts(iri, Fo.keyPattern)
        takes = "values of keys" if of_key else "what is found in texts"
        kinds = " or ".join(sorted(document.texts(iri, Fo.whenKind)))
        checks = " and ".join(document.texts(iri, Fo.checkedBy))
        rows.append(
            [
                document.text(iri, Fo.priority),
                f"`{compact(iri)}`",
                takes + (f", kind {kinds}" if kinds else "") + (f", {checks}" if checks else ""),
                document.text(iri, Skos.definition),
            ]
        )
    return (
        "## Redaction rules\n\nWhat is taken out of an event of any source before it is "
        "classified, in the order in which the rules are applied. The patterns stand in the graph "
        "(`graph/rules`), and a proposal can add to them.\n\n"
        + table(["Priority", "Rule", "Takes", "Meaning"], rows)
    )


if __name__ == "__main__":
    sys.stdout.write(page())
