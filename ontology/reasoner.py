"""Asks an OWL reasoner whether what is stated can be true at all.

Invariant: this is the only module that imports owlready2. HermiT runs in a Java process of its own
on a world of its own; no import is followed, nothing is fetched. A verdict is only given when
HermiT gave one: without Java, or where HermiT refuses the input, an error says that nothing was
checked.
Semantics: https://www.w3.org/TR/owl2-direct-semantics/  Reasoner: http://www.hermit-reasoner.com/
"""

from __future__ import annotations

import io
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import owlready2
from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse, serialize

from ontology.clashes import Clash, compact, find_clashes
from ontology.errors import JavaMissing, ReasonerError, ReasonerInputError
from ontology.narrowing import narrow
from ontology.vocab import Owl, Rdf, Rdfs

# HermiT starts in about a second; so many starts are worth a name for the culprit.
NARROWING_RUNS = 40

_GENID = "/.well-known/genid/"
_BUILT_IN = tuple(term.rsplit("#", 1)[0] + "#" for term in (Owl.Class, Rdf.type, Rdfs.label))
_SCHEMA_TYPES = frozenset(
    (
        Owl.Class,
        Owl.Restriction,
        Owl.ObjectProperty,
        Owl.DatatypeProperty,
        Owl.AnnotationProperty,
        Owl.Ontology,
        Owl.AllDisjointClasses,
    )
)
_DECLARATIONS = _SCHEMA_TYPES | {Owl.FunctionalProperty, Owl.NamedIndividual}


@dataclass(frozen=True)
class ReasonerReport:
    """A verdict of the reasoner.

    `unsatisfiable` holds the IRIs of the named classes that nothing can be a member of (only known
    of what is consistent); `culprits` the IRIs behind a contradiction, `explanation` a sentence for
    each thing found. `minimal` is false where the search for culprits was cut short, so that some
    of them may be innocent.
    """

    consistent: bool
    unsatisfiable: tuple[str, ...]
    culprits: tuple[str, ...]
    explanation: tuple[str, ...]
    minimal: bool
    classes: int
    properties: int
    individuals: int
    seconds: float

    @property
    def ok(self) -> bool:
        return self.consistent and not self.unsatisfiable


def check(
    documents: Iterable[bytes | Path], narrowing_runs: int = NARROWING_RUNS
) -> ReasonerReport:
    """Checks documents in Turtle, N-Triples or TriG (graph names are left out), all taken together.

    Raises JavaMissing, ReasonerInputError where a document does not parse, and ReasonerError where
    HermiT refuses the axioms.
    """
    started = time.monotonic()
    if shutil.which(owlready2.JAVA_EXE) is None:
        raise JavaMissing(
            "the reasoner HermiT needs Java 11 or newer and there is no java on the PATH; install "
            "a runtime (Debian: apt install default-jre-headless) and run the check again. Nothing "
            "was checked."
        )
    triples = _read(documents)
    names = dict.fromkeys(("class", "property", "individual"), 0)
    for kind in _kinds(triples).values():
        names[kind] += 1
    unsatisfiable = _hermit(triples)
    clashes = find_clashes(triples)
    consistent = unsatisfiable is not None
    culprits: tuple[str, ...] = ()
    minimal = True
    if unsatisfiable is None:
        culprits, explanation, minimal = _contradiction(triples, clashes, narrowing_runs)
    else:
        explanation = tuple(_unsatisfiable_because(iri, clashes) for iri in unsatisfiable)
    return ReasonerReport(
        consistent=consistent,
        unsatisfiable=unsatisfiable or (),
        culprits=culprits,
        explanation=explanation,
        minimal=minimal,
        classes=names["class"],
        properties=names["property"],
        individuals=names["individual"],
        seconds=time.monotonic() - started,
    )


def _read(documents: Iterable[bytes | Path]) -> list[Triple]:
    triples: dict[Triple, None] = {}
    for number, document in enumerate(documents, start=1):
        data = document.read_bytes() if isinstance(document, Path) else document
        name = str(document) if isinstance(document, Path) else f"document {number}"
        try:
            for quad in parse(data, format=RdfFormat.TRIG, rename_blank_nodes=True):
                triples[_unskolemised(quad.triple)] = None
        except (SyntaxError, ValueError) as error:
            raise ReasonerInputError(
                f"{name} is not Turtle, N-Triples or TriG: {error}. Nothing was checked."
            ) from error
    return list(triples)


def _unskolemised(triple: Triple) -> Triple:
    # The graph holds no blank nodes, but OWL spells class expressions and lists with them.
    def plain(node: NamedNode | BlankNode) -> NamedNode | BlankNode:
        if isinstance(node, NamedNode) and _GENID in node.value:
            return BlankNode("genid" + "".join(c for c in node.value if c.isalnum()))
        return node

    subject, object_ = triple.subject, triple.object
    if isinstance(subject, Triple) or isinstance(object_, Triple):
        raise ReasonerInputError(
            "RDF 1.2 triple terms have no meaning in OWL; leave them out. Nothing was checked."
        )
    return Triple(
        plain(subject),
        triple.predicate,
        object_ if isinstance(object_, Literal) else plain(object_),
    )


def _kinds(triples: Iterable[Triple]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for triple in triples:
        if triple.predicate.value != Rdf.type or not isinstance(triple.subject, NamedNode):
            continue
        iri, type_ = triple.subject.value, triple.object
        if not isinstance(type_, NamedNode):
            kinds.setdefault(iri, "individual")
        elif type_.value == Owl.Class:
            kinds[iri] = "class"
        elif type_.value.endswith("Property") and type_.value.startswith(_BUILT_IN):
            kinds[iri] = "property"
        elif type_.value != Owl.Ontology:
            kinds.setdefault(iri, "individual")
    return kinds


def _hermit(triples: Sequence[Triple]) -> tuple[str, ...] | None:
    """The IRIs of the unsatisfiable classes, or None where the whole is inconsistent."""
    data = serialize(_without_puns(triples), format=RdfFormat.N_TRIPLES)
    assert data is not None
    world = owlready2.World()
    try:
        world.get_ontology("urn:fractalops:checked").load(fileobj=io.BytesIO(data))
        # Unknown datatypes (xsd:duration, xsd:date) are opaque to OWL 2; the shapes check them.
        owlready2.sync_reasoner_hermit(world, debug=0, ignore_unsupported_datatypes=True)
        return tuple(sorted(c.iri for c in world.inconsistent_classes() if c.iri != Owl.Nothing))
    except owlready2.OwlReadyInconsistentOntologyError as error:
        _remove_left_over(error.__traceback__)
        return None
    except owlready2.OwlReadyJavaError as error:
        _remove_left_over(error.__traceback__)
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        raise ReasonerError(
            "HermiT refused the axioms, so nothing was checked: "
            f"{lines[0] if lines else 'it gave no reason'}. Keep within OWL 2 DL "
            "(https://www.w3.org/TR/owl2-syntax/#Global_Restrictions_on_Axioms_in_OWL_2_DL)."
        ) from error
    finally:
        world.close()


def _without_puns(triples: Sequence[Triple]) -> list[Triple]:
    """OWL 2 lets one IRI name both a class or property and a thing, and keeps the two apart;
    owlready2 does not. So where a name has both uses, the thing gets a name of its own."""
    kinds = _kinds(triples)
    schema = {iri for iri, kind in kinds.items() if kind != "individual"}
    properties = {
        t.subject.value: t.object.value
        for t in triples
        if t.predicate.value == Rdf.type
        and isinstance(t.subject, NamedNode)
        and isinstance(t.object, NamedNode)
        and t.object.value in (Owl.ObjectProperty, Owl.DatatypeProperty)
    }

    def thing(node: NamedNode | BlankNode | Literal | Triple) -> NamedNode | BlankNode | Literal:
        assert not isinstance(node, Triple)
        if isinstance(node, NamedNode) and node.value in schema:
            return NamedNode(node.value + "-as-a-thing")
        return node

    out = []
    for triple in triples:
        predicate, object_ = triple.predicate.value, triple.object
        of_things = properties.get(predicate)
        if predicate == Rdf.type and not (
            isinstance(object_, NamedNode) and object_.value.startswith(_BUILT_IN)
        ):
            of_things = Owl.DatatypeProperty
        if of_things is None:
            out.append(triple)
            continue
        subject = thing(triple.subject)
        assert not isinstance(subject, Literal)
        if of_things == Owl.ObjectProperty:
            object_ = thing(object_)
        out.append(Triple(subject, triple.predicate, object_))
    return out


def _remove_left_over(traceback: TracebackType | None) -> None:
    # owlready2 leaves the file it wrote for HermiT behind whenever HermiT says no.
    while traceback is not None:
        left = traceback.tb_frame.f_locals.get("tmp")
        if traceback.tb_frame.f_code.co_name == "sync_reasoner_hermit" and left is not None:
            Path(left.name).unlink(missing_ok=True)
        traceback = traceback.tb_next


def _unsatisfiable_because(iri: str, clashes: Sequence[Clash]) -> str:
    for clash in clashes:
        if clash.subject == iri:
            return clash.sentence
    return f"{compact(iri)} can have no member; look at its superclasses and restrictions"


def _contradiction(
    triples: Sequence[Triple], clashes: Sequence[Clash], runs: int
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Culprits, sentences, and whether the culprits are known to be needed all."""
    kinds = _kinds(triples)
    of_things = [c for c in clashes if kinds.get(c.subject) not in ("class", "property")]
    if of_things:
        culprits = tuple(dict.fromkeys(clash.subject for clash in of_things))
        return culprits, tuple(clash.sentence for clash in of_things), True
    background, groups = _groups(triples, kinds)

    def contradictory(chosen: Sequence[str]) -> bool:
        return _hermit([*background, *(t for name in chosen for t in groups[name])]) is None

    found = narrow(tuple(groups), contradictory, runs)
    names = ", ".join(compact(name) if ":" in name else name for name in found.members)
    sentence = (
        f"what is stated of {names} contradicts itself; take any of it away and the contradiction "
        "is gone"
        if found.minimal
        else f"the contradiction lies in what is stated of {names}; the search stopped after "
        f"{runs} runs of the reasoner"
    )
    return found.members, (sentence,), found.minimal


def _groups(
    triples: Sequence[Triple], kinds: dict[str, str]
) -> tuple[list[Triple], dict[str, list[Triple]]]:
    """What is always there, and what may be taken away, by the name it is stated of.

    Declarations always stay: without them a reasoner reads the rest as annotations. While the
    schema alone is consistent it stays as a whole; only what is stated of things is in question.
    """
    by_subject: dict[NamedNode | BlankNode, list[Triple]] = defaultdict(list)
    declarations = []
    for triple in triples:
        assert not isinstance(triple.subject, Triple)
        object_ = triple.object
        if (
            triple.predicate.value == Rdf.type
            and isinstance(object_, NamedNode)
            and object_.value in _DECLARATIONS
            and isinstance(triple.subject, NamedNode)
        ):
            declarations.append(triple)
        else:
            by_subject[triple.subject].append(triple)

    # A blank node belongs to whoever refers to it; what nobody refers to stands by itself.
    owner: dict[BlankNode, NamedNode | BlankNode] = {
        triple.object: triple.subject
        for triple in triples
        if isinstance(triple.object, BlankNode) and not isinstance(triple.subject, Triple)
    }
    groups: dict[str, list[Triple]] = defaultdict(list)
    for subject, stated in by_subject.items():
        root, seen = subject, {subject}
        while isinstance(root, BlankNode) and root in owner and owner[root] not in seen:
            root = owner[root]
            seen.add(root)
        groups[root.value if isinstance(root, NamedNode) else f"axiom {root.value}"] += stated

    schema = [name for name in groups if kinds.get(name) != "individual" and name in kinds]
    schema += [name for name in groups if name.startswith("axiom ")]
    whole_schema = [*declarations, *(t for name in schema for t in groups[name])]
    if _hermit(whole_schema) is not None:
        return whole_schema, {n: g for n, g in groups.items() if n not in set(schema)}
    return declarations, {name: groups[name] for name in schema}
