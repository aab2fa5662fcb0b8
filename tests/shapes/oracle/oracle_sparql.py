"""Random SHACL-SPARQL constraints and constraint components, among other shapes.

Invariant: the queries keep to what engines of SPARQL agree on: terms are compared as terms, and no
literal by its value. Those of property shapes bind ``?value``: what is told without it, SHACL does
not say.
Specification: https://www.w3.org/TR/shacl/#sparql-constraints ,
https://www.w3.org/TR/shacl/#sparql-constraint-components
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from pyoxigraph import Literal, NamedNode

from tests.shapes.oracle.oracle_cases import Case, Statement
from tests.shapes.oracle.oracle_constraints import ON_NODES, ON_PROPERTIES
from tests.shapes.oracle.oracle_graphs import chained
from tests.shapes.oracle.oracle_shapes import Maker, ShapesMaker, Spo
from tests.shapes.oracle.oracle_terms import (
    CLASSES,
    NODES,
    PREDICATES,
    RDFS,
    STRINGS,
    TYPE,
    Term,
    ex,
    sh,
    typed,
)

# %p and %q are predicates, %n is a node, %c a class.
# Near their focus node,
_NEAR = (
    "SELECT $this WHERE { $this %p ?x . ?x %q ?y }",
    "SELECT $this ?value WHERE { $this %p ?value . FILTER (isLiteral(?value)) }",
    "SELECT $this ?value WHERE { ?value %p $this }",
    "SELECT $this WHERE { FILTER NOT EXISTS { $this %p ?x } }",
    "SELECT $this ?path ?value WHERE { $this ?path ?value . FILTER (?path IN (%p, %q)) }",
    "SELECT DISTINCT $this ?value WHERE { $this rdf:type/rdfs:subClassOf* ?value }",
    "SELECT $this ?value WHERE { $this %p ?value OPTIONAL { ?value %q ?x } FILTER (!bound(?x)) }",
    "SELECT $this ?value WHERE { { $this %p ?value } UNION { ?value %q $this } }",
    "SELECT $this WHERE { $this %p+ %n }",
    "SELECT $this ?value WHERE { $this %p ?x . ?x rdf:type %c . BIND (?x AS ?value) }",
    "SELECT $this ?value WHERE { $this %p ?value . FILTER NOT EXISTS { ?value rdf:type %c } }",
    "SELECT $this ?value WHERE { $this ^%p/%q ?value }",
    "SELECT DISTINCT $this ?value WHERE { $this %p/%q* ?value }",
    "SELECT DISTINCT $this ?value WHERE { $this (%p|^%q)+ ?value . ?value %p ?x }",
    "SELECT $this ?value WHERE { $this ?any ?value . ?value ?other $this }",
    "SELECT $this ?value WHERE { $this !%p ?value }",
    "SELECT $this WHERE { $this %p ?x . $this %q ?y . FILTER (sameTerm(?x, ?y)) }",
    "SELECT $this (COUNT(?x) AS ?value) WHERE { $this %p ?x } GROUP BY $this"
    " HAVING (COUNT(?x) > 1)",
)
# and anywhere.
_FAR = (
    "SELECT $this ?value WHERE { $this %p ?value . ?other %q ?value . FILTER (?other != $this) }",
    "SELECT $this ?value WHERE { $this %p ?x . ?value %q ?x . ?value rdf:type %c }",
    "SELECT $this WHERE { FILTER NOT EXISTS { ?x %p %n } }",
    "SELECT $this ?value WHERE { $this %p ?x . ?value rdf:type %c }",
    "SELECT $this ?value WHERE { ?value %p %n }",
    "SELECT $this WHERE { $this %p ?x . FILTER NOT EXISTS { ?y %q ?z . ?z rdf:type %c } }",
    "SELECT $this ?value WHERE { { $this %p ?value } UNION { ?value rdf:type %c } }",
)
_OF_NODES = (*_NEAR, *_FAR)
_OF_PROPERTIES = (
    "SELECT $this ?value WHERE { $this $PATH ?value . FILTER (isIRI(?value)) }",
    "SELECT $this ?value WHERE { $this $PATH ?value . ?value %q ?x }",
    "SELECT $this ?value WHERE { $this $PATH ?value . FILTER (strlen(str(?value)) > 2) }",
    "SELECT DISTINCT $this ?value WHERE { $this $PATH ?value . $this $PATH ?x ."
    " FILTER (!sameTerm(?value, ?x)) }",
    "SELECT $this ?value WHERE { $this $PATH ?value . ?value %p $this }",
)
_ASKS = (
    "ASK { FILTER (!sameTerm($value, $PARAM)) }",
    "ASK { FILTER (isIRI($value) || strlen(str($value)) <= strlen(str($PARAM))) }",
    "ASK { FILTER NOT EXISTS { $value %p $PARAM } }",
    "ASK { $value rdf:type/rdfs:subClassOf* %c }",
)
_SELECTS = (
    "SELECT DISTINCT $this ?value WHERE { $this $PATH ?value . FILTER (sameTerm(?value, $PARAM)) }",
    "SELECT DISTINCT $this ?value WHERE { $this $PATH ?value . ?value %q $PARAM }",
)
_NODE_SELECTS = (
    "SELECT DISTINCT $this WHERE { $this %p $PARAM }",
    "SELECT DISTINCT $this ?value WHERE { $this %p ?value . ?value %q $PARAM }",
)
_TARGETS = (
    "SELECT ?this WHERE { ?this %p ?x . ?x %q ?y }",
    "SELECT ?this WHERE { ?this rdf:type/rdfs:subClassOf* %c . FILTER NOT EXISTS { ?this %p ?x } }",
    "SELECT ?this WHERE { %n %p+ ?this }",
    "SELECT ?this WHERE { ?x %p ?this . FILTER (isLiteral(?this)) }",
)
_VALIDATORS = (
    *(("validator",), ("validator",), ("propertyValidator",), ("nodeValidator",)),
    *((("propertyValidator", "nodeValidator"),) * 3),
    ("validator", "nodeValidator"),
)
PREFIX_HOLDER = ex("prefixes")
PARAMETER = "parameter"


@dataclass
class SparqlMaker(ShapesMaker):
    """Shapes of which every third constraint is a query."""

    components: list[NamedNode] = field(default_factory=list)

    def make(self) -> None:
        self._prefixes()
        for _ in range(self.random.choice((0, 1, 1, 2))):
            self._component()
        super().make()

    def on_nodes(self) -> Sequence[tuple[str, Maker]]:
        queries: tuple[tuple[str, Maker], ...] = (("sparql", _query(_OF_NODES)),) * 12
        return (*ON_NODES, *queries, *((("component", self._use),) * 6))

    def on_properties(self) -> Sequence[tuple[str, Maker]]:
        queries: tuple[tuple[str, Maker], ...] = (("sparql", _query(_OF_PROPERTIES)),) * 12
        return (*ON_PROPERTIES, *queries, *((("component", self._use),) * 6))

    def target(self, shape: NamedNode) -> Statement:
        if not self.chance(0.25):
            return super().target(shape)
        target = self.name("target-")
        # pySHACL knows no shape by such a target alone.
        kind = sh("PropertyShape" if shape.value.startswith(ex("P").value) else "NodeShape")
        return self.say(
            shape,
            "target",
            (shape, TYPE, kind),
            (shape, sh("target"), target),
            (target, TYPE, sh("SPARQLTarget")),
            (target, sh("select"), self.text(self.random.choice(_TARGETS))),
            (target, sh("prefixes"), PREFIX_HOLDER),
        )

    def text(self, template: str) -> Literal:
        """The template with terms of the vocabulary in it."""
        for mark, terms in (("%p", PREDICATES), ("%q", PREDICATES), ("%n", NODES), ("%c", CLASSES)):
            template = template.replace(mark, str(self.random.choice(terms)))
        return Literal(template)

    def _prefixes(self) -> None:
        triples: list[Spo] = []
        for prefix, namespace in (("rdf", TYPE.value.removesuffix("type")), ("rdfs", RDFS)):
            declaration = ex(f"prefix-{prefix}")
            triples += [
                (PREFIX_HOLDER, sh("declare"), declaration),
                (declaration, sh("prefix"), Literal(prefix)),
                (declaration, sh("namespace"), typed(namespace, "anyURI")),
            ]
        self.say(PREFIX_HOLDER, "prefixes", *triples, removable=False)

    def _component(self) -> None:
        component = self.name("component-")
        name = f"{PARAMETER}{len(self.components)}"
        parameter = self.name("declared-")
        triples: list[Spo] = [
            (component, TYPE, sh("ConstraintComponent")),
            (component, sh("parameter"), parameter),
            (parameter, sh("path"), ex(name)),
        ]
        kinds = self.random.choice(_VALIDATORS)
        for kind in kinds:
            validator = self.name("validator-")
            asks = kind == "validator"
            templates = {"validator": _ASKS, "propertyValidator": _SELECTS}.get(kind, _NODE_SELECTS)
            query = self.text(self.random.choice(templates).replace("$PARAM", f"${name}"))
            triples += [
                (component, sh(kind), validator),
                (validator, TYPE, sh("SPARQLAskValidator" if asks else "SPARQLSelectValidator")),
                (validator, sh("ask" if asks else "select"), query),
                (validator, sh("prefixes"), PREFIX_HOLDER),
            ]
        self.say(component, "component", *triples, removable=False)
        self.components.append(component)

    def _use(self, _maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        if not self.components:
            return []
        number = self.random.randrange(len(self.components))
        values: tuple[Term, ...] = (*NODES, *STRINGS, typed("1", "integer"))
        return [(shape, ex(f"{PARAMETER}{number}"), self.random.choice(values))]


def _query(templates: Sequence[str]) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        assert isinstance(maker, SparqlMaker)
        constraint = maker.name("sparql-")
        return [
            (shape, sh("sparql"), constraint),
            (constraint, TYPE, sh("SPARQLConstraint")),
            (constraint, sh("select"), maker.text(maker.random.choice(templates))),
            (constraint, sh("prefixes"), PREFIX_HOLDER),
        ]

    return make


def sparql_case(random: Random, changes: int = 2) -> Case:
    """A case fit for a store whose shapes ask by queries."""
    return chained(SparqlMaker(random), changes)
