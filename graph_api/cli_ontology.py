"""``fractalops ontology``: what the terms mean, and whether they can be true together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import (
    column,
    fail,
    show_facts,
    show_rows,
    working,
)
from graph_api.cli_session import DataOption, OutputOption, connect, output_format
from graph_api.cli_terms import short_iri
from ontology.vocab import FO, PREFIXES

_RDF, _RDFS, _OWL, _SKOS = (PREFIXES[name] for name in ("rdf", "rdfs", "owl", "skos"))
_LABEL, _DEFINITION, _TYPE = _RDFS + "label", _SKOS + "definition", _RDF + "type"

_TOLD = (
    ("definition", _DEFINITION),
    ("comment", _RDFS + "comment"),
    ("note", _SKOS + "scopeNote"),
    ("example", _SKOS + "example"),
    ("kind", _TYPE),
    ("subclass of", _RDFS + "subClassOf"),
    ("subproperty of", _RDFS + "subPropertyOf"),
    ("equivalent class", _OWL + "equivalentClass"),
    ("equivalent property", _OWL + "equivalentProperty"),
    ("disjoint with", _OWL + "disjointWith"),
    ("inverse of", _OWL + "inverseOf"),
    ("domain", _RDFS + "domain"),
    ("range", _RDFS + "range"),
    ("notation", _SKOS + "notation"),
    ("see also", _RDFS + "seeAlso"),
)
_TOLD_OF = (
    ("subclasses", _RDFS + "subClassOf"),
    ("subproperties", _RDFS + "subPropertyOf"),
    ("properties", _RDFS + "domain"),
    ("reached by", _RDFS + "range"),
)
_TERM_COLUMNS = (column("term"), column("kind"), column("label"), column("definition"))

Statements = dict[str, dict[str, list[tuple[str, bool]]]]
"""Subject -> predicate -> values; each value with whether it is an IRI."""

ServerOption = Annotated[
    bool, typer.Option("--server", help="Take the ontology of the running server's graph.")
]

ontology = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(ontology, name="ontology", help="The vocabulary: read it, reason over it.")


@ontology.command("check")
def check(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILES]...", help="More Turtle, taken together with the ontology."),
    ] = None,
    server: ServerOption = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Ask an OWL reasoner (HermiT, needs Java) whether the ontology is consistent and every class
    can have a member.

    \b
    Example:
        fractalops ontology check
        fractalops ontology check draft.ttl
    """
    shown = output_format(context, output)
    documents = _documents(context, data) if server else _shipped()
    documents += [file.read_bytes() for file in files or ()]
    with working("Reasoning"):
        from ontology.errors import OntologyError
        from ontology.reasoner import check as reason

        try:
            report = reason(documents)
        except OntologyError as error:
            raise CommandError(_named(str(error), files or (), len(documents))) from error
    verdict = "consistent" if report.consistent else "inconsistent"
    if report.consistent and report.unsatisfiable:
        verdict += ", with unsatisfiable classes"
    facts: dict[str, object] = {
        "verdict": verdict,
        "classes": report.classes,
        "properties": report.properties,
        "individuals": report.individuals,
        "seconds": f"{report.seconds:.1f}",
    }
    if report.unsatisfiable:
        facts["unsatisfiable"] = [short_iri(iri) for iri in report.unsatisfiable]
    if report.culprits:
        facts["culprits"] = [short_iri(iri) if ":" in iri else iri for iri in report.culprits]
    show_facts(facts, shown, whole={"ok": report.ok, **asdict(report)})
    for sentence in report.explanation:
        fail(sentence)
    if not report.ok:
        raise typer.Exit(1)


@ontology.command("show")
def show_term(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[TERM]", help="A name such as fo:Service, Service or an IRI."),
    ] = None,
    server: ServerOption = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Say what a term means, or list all of them. Without --server: the ontology that ships.

    \b
    Example:
        fractalops ontology show fo:Service
    """
    shown = output_format(context, output)
    stated = statements(_documents(context, data) if server else _shipped())
    if name is None:
        rows = [
            {
                "term": short_iri(iri),
                "kind": _values(said, _TYPE, of="fo owl rdfs skos"),
                "label": _values(said, _LABEL),
                "definition": _values(said, _DEFINITION),
            }
            for iri, said in sorted(stated.items())
            if iri.startswith(FO)
        ]
        show_rows(rows, _TERM_COLUMNS, shown)
        return
    found = find_term(name, stated)
    if not found:
        raise CommandError(
            f"there is no term {name}. `fractalops ontology show` lists all of them."
        )
    if len(found) > 1:
        names = ", ".join(short_iri(iri) for iri in found)
        raise CommandError(f"{name} may be {names}. Say which.")
    facts = description(found[0], stated)
    show_facts(facts, shown, whole=facts)


def statements(documents: Iterable[bytes]) -> Statements:
    """What documents in Turtle say of IRIs; blank nodes are left out."""
    from pyoxigraph import Literal, NamedNode, RdfFormat, parse

    stated: Statements = {}
    for document in documents:
        for quad in parse(document, RdfFormat.TURTLE):
            if isinstance(quad.subject, NamedNode) and isinstance(quad.object, NamedNode | Literal):
                said = stated.setdefault(quad.subject.value, {})
                value = quad.object.value, isinstance(quad.object, NamedNode)
                said.setdefault(quad.predicate.value, []).append(value)
    return stated


def find_term(name: str, stated: Statements) -> list[str]:
    """The IRIs a name may mean: an IRI, a prefixed name, a local name or a label."""
    plain = name.strip().removeprefix("<").removesuffix(">")
    prefix, separator, local = plain.partition(":")
    if separator and prefix in PREFIXES:
        plain = PREFIXES[prefix] + local
    if plain in stated:
        return [plain]
    if FO + plain in stated:
        return [FO + plain]
    wanted = plain.casefold()
    return sorted(
        iri
        for iri, said in stated.items()
        if iri.removeprefix(FO).casefold() == wanted
        or any(value.casefold() == wanted for value, _ in said.get(_LABEL, ()))
    )


def description(iri: str, stated: Statements) -> dict[str, Any]:
    """What is stated of a term, and of others with regard to it."""
    said = stated[iri]
    facts: dict[str, Any] = {"term": short_iri(iri), "iri": iri, "label": _values(said, _LABEL)}
    told = {predicate for _, predicate in _TOLD} | {_LABEL}
    for name, predicate in _TOLD:
        facts[name] = _values(said, predicate)
    for predicate in sorted(set(said) - told):
        facts[short_iri(predicate)] = _values(said, predicate)
    for name, predicate in _TOLD_OF:
        facts[name] = [
            short_iri(other)
            for other, its in sorted(stated.items())
            if (iri, True) in its.get(predicate, ())
        ]
    return {name: value for name, value in facts.items() if value}


def _values(
    said: Mapping[str, list[tuple[str, bool]]], predicate: str, of: str | None = None
) -> str | list[str]:
    values = [short_iri(value) if is_iri else value for value, is_iri in said.get(predicate, ())]
    if of is not None:
        values = [value for value in values if value.partition(":")[0] in of.split()]
    return values[0] if len(values) == 1 else values


def _shipped() -> list[bytes]:
    from ontology.library import ontology_turtle

    return list(ontology_turtle().values())


def _documents(context: typer.Context, data: Path | None) -> list[bytes]:
    from ontology.ids import Ids

    with connect(context, data) as client:
        return [client.graph(Ids(str(client.status().get("base"))).graph("ontology"))]


def _named(message: str, files: Iterable[Path], count: int) -> str:
    """The reasoner's message with the file's name instead of the document's number."""
    named = list(files)
    for number, file in enumerate(named, start=count - len(named) + 1):
        message = message.replace(f"document {number} ", f"{file} ")
    return message
