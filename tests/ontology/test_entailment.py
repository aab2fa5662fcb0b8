"""What is inferred is what follows, however the graph came to be what it is."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad, Triple

from ontology import entailment_change
from ontology.entailment import VERSION, Entailment
from ontology.entailment_derivation import derive
from ontology.ids import Ids
from ontology.store import PROPOSALS, GraphStore
from ontology.terms import Delta, graph_of, skolem_prefix
from ontology.vocab import Owl, Rdf, Rdfs

IDS = Ids("http://fractalops.localhost")
INFERRED = NamedNode(IDS.graph("inferred"))
ONTOLOGY = NamedNode(IDS.graph("ontology"))
SHOP = NamedNode(IDS.lineage_graph("shop"))
PRIVATE = NamedNode(IDS.lineage_graph("private"))
GRAPHS = (ONTOLOGY, SHOP, PRIVATE)

TYPE = NamedNode(Rdf.type)
SUBCLASS, SUBPROPERTY = NamedNode(Rdfs.subClassOf), NamedNode(Rdfs.subPropertyOf)
SAME_CLASS, SAME_PROPERTY = NamedNode(Owl.equivalentClass), NamedNode(Owl.equivalentProperty)
INVERSE, SYMMETRIC = NamedNode(Owl.inverseOf), NamedNode(Owl.SymmetricProperty)
WORDS = {TYPE, SUBCLASS, SUBPROPERTY, SAME_CLASS, SAME_PROPERTY, INVERSE}


def ex(name: str) -> NamedNode:
    return NamedNode(f"http://example.org/{name}")


NAMELESS = NamedNode(skolem_prefix(IDS.base) + "0" * 40)
CLASSES = [ex("A"), ex("B"), ex("C"), ex("D"), NAMELESS]
PROPERTIES = [ex("p"), ex("q"), ex("r"), NAMELESS]
THINGS = [ex("x"), ex("y"), ex("z")]
VALUES = [*THINGS, Literal("text")]


def quad(s: NamedNode, p: NamedNode, o: NamedNode | Literal, graph: NamedNode = SHOP) -> Quad:
    return Quad(s, p, o, graph)


class World:
    """A store, and what it has been told; graphs may turn restricted as it goes."""

    def __init__(self) -> None:
        self.store = GraphStore(None, IDS)
        self.entailment = Entailment(self.store)
        self.restricted: frozenset[str] = frozenset()
        self.head = 0

    def change(
        self,
        add: Iterable[Quad] = (),
        remove: Iterable[Quad] = (),
        restricted: Iterable[NamedNode] | None = None,
        system: Delta = Delta(),  # noqa: B008
    ) -> None:
        before = self.restricted
        if restricted is not None:
            self.restricted = frozenset(graph.value for graph in restricted)
        removed = frozenset(remove)
        delta = self.store.effective(Delta(frozenset(add) - removed, removed))
        result = self.entailment.consequence(delta, before, self.restricted)
        own = Delta(
            system.additions | result.delta.additions, system.removals | result.delta.removals
        )
        self.store.apply(delta, own, self.head, self.restricted, before)
        self.entailment.settle(result)
        self.head += 1

    def inferred(self) -> set[Triple]:
        return {found.triple for found in self.store.match(graph=INFERRED)}

    def asserted(self) -> set[Triple]:
        return {
            found.triple
            for found in self.store.asserted()
            if graph_of(found) not in self.restricted
        }

    def merge(self) -> set[Triple]:
        return {
            found.triple
            for found in self.store.match()
            if isinstance(found.graph_name, DefaultGraph)
        }


def closure(asserted: set[Triple]) -> set[Triple]:
    """Everything that follows and has a name."""
    return {t for t in everything(asserted) if not _nameless(t)}


def everything(asserted: set[Triple]) -> set[Triple]:
    """Everything that follows, by the rules one at a time until nothing is new."""
    known = set(asserted)
    while True:
        fresh = {t for t in _once(known, asserted) if _worth(t)} - known
        if not fresh:
            return known - asserted
        known |= fresh


def _once(known: set[Triple], asserted: set[Triple]) -> Iterable[Triple]:
    classes = {t for t in known if t.predicate == SUBCLASS and isinstance(t.object, NamedNode)}
    properties = {
        t
        for t in known
        if t.predicate == SUBPROPERTY and not WORDS & {t.subject, t.object}
    }  # fmt: skip
    for t in known:
        if t.predicate == SAME_CLASS and isinstance(t.object, NamedNode):
            yield Triple(t.subject, SUBCLASS, t.object)
            yield Triple(t.object, SUBCLASS, t.subject)
        if t.predicate == SAME_PROPERTY and not WORDS & {t.subject, t.object}:
            yield Triple(t.subject, SUBPROPERTY, t.object)
            yield Triple(t.object, SUBPROPERTY, t.subject)  # type: ignore[arg-type]
        if t.predicate == TYPE:
            yield from (Triple(t.subject, TYPE, a.object) for a in classes if a.subject == t.object)
    for one, other in product(classes, classes):
        if one.object == other.subject:
            yield Triple(one.subject, SUBCLASS, other.object)
    for one, other in product(properties, properties):
        if one.object == other.subject:
            yield Triple(one.subject, SUBPROPERTY, other.object)
    for t, a in product(known, properties):
        if t.predicate == a.subject:
            yield Triple(t.subject, a.object, t.object)  # type: ignore[arg-type]
    for a in asserted:
        if a.predicate == INVERSE and not WORDS & {a.subject, a.object}:
            pairs = [(a.subject, a.object), (a.object, a.subject)]
        elif a.predicate == TYPE and a.object == SYMMETRIC and a.subject not in WORDS:
            pairs = [(a.subject, a.subject)]
        else:
            continue
        for (p, q), t in product(pairs, known):
            if t.predicate == p and isinstance(t.object, NamedNode):
                yield Triple(t.object, q, t.subject)  # type: ignore[arg-type]


def _worth(t: Triple) -> bool:
    return not (t.predicate in (SUBCLASS, SUBPROPERTY) and t.subject == t.object)


def _nameless(t: Triple) -> bool:
    ends: set[object] = {t.predicate}
    if t.predicate in (TYPE, SUBCLASS, SUBPROPERTY):
        ends.add(t.object)
    if t.predicate in (SUBCLASS, SUBPROPERTY):
        ends.add(t.subject)
    return NAMELESS in ends


def triples() -> st.SearchStrategy[tuple[NamedNode, NamedNode, NamedNode | Literal]]:
    thing, value = st.sampled_from(THINGS), st.sampled_from(VALUES)
    class_, property_ = st.sampled_from(CLASSES), st.sampled_from(PROPERTIES)
    return st.one_of(
        st.tuples(thing, st.just(TYPE), class_),
        st.tuples(thing, property_, value),
        st.tuples(class_, st.sampled_from([SUBCLASS, SAME_CLASS]), class_),
        st.tuples(property_, st.sampled_from([SUBPROPERTY, SAME_PROPERTY, INVERSE]), property_),
        st.tuples(property_, st.just(TYPE), st.just(SYMMETRIC)),
        st.tuples(
            st.sampled_from([*PROPERTIES, TYPE, SUBCLASS]),
            st.sampled_from([SUBPROPERTY, SAME_PROPERTY, INVERSE]),
            st.sampled_from([TYPE, SUBCLASS, SUBPROPERTY, ex("p")]),
        ),
    )


QUADS = st.builds(lambda t, g: Quad(t[0], t[1], t[2], g), triples(), st.sampled_from(GRAPHS))
CHANGES = st.lists(
    st.tuples(
        st.sets(QUADS, max_size=8),
        st.lists(st.integers(0, 10_000), max_size=6),
        st.none() | st.sets(st.sampled_from([SHOP, PRIVATE])),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("most_held", [entailment_change.MOST_HELD, 1])
@settings(deadline=None)
@given(changes=CHANGES)
def test_kept_step_by_step_it_is_what_follows_from_what_is_stated(
    most_held: int, changes: list[tuple[set[Quad], list[int], set[NamedNode] | None]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entailment_change, "MOST_HELD", most_held)
        _follow(changes)


def _follow(changes: list[tuple[set[Quad], list[int], set[NamedNode] | None]]) -> None:
    world = World()
    for add, picks, restricted in changes:
        present = sorted(world.store.asserted(), key=str)
        remove = {present[pick % len(present)] for pick in picks} if present else set()
        world.change(add, remove, restricted)
        asserted = world.asserted()
        assert world.inferred() == closure(asserted)
        assert world.merge() == asserted | world.inferred()
        assert list(world.entailment.check(world.restricted)) == []


@settings(deadline=None)
@given(quads=st.sets(QUADS, max_size=25), hidden=st.booleans())
def test_everything_inferred_is_led_back_to_what_is_stated(quads: set[Quad], hidden: bool) -> None:
    world = World()
    world.change(quads, restricted=[PRIVATE] if hidden else [])
    asserted = world.asserted()
    for wanted in world.inferred():
        derivation = derive(world.store, wanted, world.restricted)
        assert derivation is not None
        known = set(asserted)
        for step in derivation.steps:
            assert known.issuperset(step.premises)
            # Each step follows by itself, from its premises alone.
            assert step.conclusion in everything(set(step.premises))
            known.add(step.conclusion)
        assert derivation.steps[-1].conclusion == wanted
        assert asserted.issuperset(derivation.stated())


def test_the_shortest_way_is_told() -> None:
    world = World()
    x, a, b, c, d = ex("x"), *(ex(name) for name in "ABCD")
    world.change(
        [
            quad(x, TYPE, a),
            quad(a, SUBCLASS, b),
            quad(b, SUBCLASS, c),
            quad(c, SUBCLASS, d),
            quad(c, SUBCLASS, a),
            quad(b, SAME_CLASS, d),
        ]
    )
    derivation = derive(world.store, Triple(x, TYPE, d), frozenset())
    assert derivation is not None
    assert [step.rule for step in derivation.steps] == ["rdfs:subClassOf", "owl:equivalentClass"]
    assert derivation.rule == "owl:equivalentClass"
    assert derivation.stated() == [
        Triple(x, TYPE, a),
        Triple(a, SUBCLASS, b),
        Triple(b, SAME_CLASS, d),
    ]


def test_what_does_not_follow_has_no_derivation() -> None:
    world = World()
    world.change([quad(ex("x"), TYPE, ex("A")), quad(ex("A"), SUBCLASS, ex("B"))])
    for triple in (
        Triple(ex("x"), TYPE, ex("C")),
        Triple(ex("x"), ex("p"), Literal("text")),
        Triple(ex("A"), SUBCLASS, ex("C")),
    ):
        assert derive(world.store, triple, frozenset()) is None


# --- single cases, each for a rule or for what must not happen


CASES = {
    "a class below another": (
        ["x type A", "A sub B", "B sub C"],
        ["x type B", "x type C", "A sub C"],
    ),
    "a circle of classes": (
        ["x type A", "A sub B", "B sub A"],
        ["x type B"],
    ),
    "the same class": (
        ["x type A", "y type B", "A same B"],
        ["x type B", "y type A", "A sub B", "B sub A"],
    ),
    "a property below another": (
        ["x p y", "x p text", "p subp q", "q subp r"],
        ["x q y", "x q text", "x r y", "x r text", "p subp r"],
    ),
    "the same property": (
        ["x p text", "x q y", "p samep q"],
        ["x q text", "x p y", "p subp q", "q subp p"],
    ),
    "an inverse, both ways, of things alone": (
        ["x p y", "x p text", "y q z", "p inverse q"],
        ["y q x", "z p y"],
    ),
    "a symmetric property": (["x p y", "x p x", "x p text", "p type Symmetric"], ["y p x"]),
    "symmetric above an inverse": (
        ["x p y", "p inverse q", "q subp r", "r type Symmetric"],
        ["y q x", "y r x", "x r y"],
    ),
    "nothing of a domain or a range": (["x p y", "p domain A", "p range B"], []),
    "nothing of the words themselves": (
        ["x type A", "A sub B", "type subp p", "sub subp q", "p subp type", "x p B"],
        ["x type B"],
    ),
    "nothing of itself": (["A sub A", "A same A", "p subp p", "x type A", "x p y"], []),
    "a literal is no class": (["x type A", "A sub text"], []),
}
TERMS: dict[str, NamedNode | Literal] = {
    "type": TYPE,
    "sub": SUBCLASS,
    "same": SAME_CLASS,
    "subp": SUBPROPERTY,
    "samep": SAME_PROPERTY,
    "inverse": INVERSE,
    "Symmetric": SYMMETRIC,
    "domain": NamedNode(Rdfs.domain),
    "range": NamedNode(Rdfs.range),
    "text": Literal("text"),
}


def said(texts: Iterable[str], graph: NamedNode = SHOP) -> set[Quad]:
    found = set()
    for text in texts:
        s, p, o = (TERMS.get(word, ex(word)) for word in text.split())
        assert isinstance(s, NamedNode)
        assert isinstance(p, NamedNode)
        found.add(Quad(s, p, o, graph))
    return found


def triples_of(texts: Iterable[str]) -> set[Triple]:
    return {found.triple for found in said(texts)}


@pytest.mark.parametrize("case", CASES)
def test_what_follows(case: str) -> None:
    stated, following = CASES[case]
    world = World()
    world.change(said(stated))
    assert world.inferred() == triples_of(following)
    world.change(remove=said(stated))
    assert world.inferred() == set()


def test_what_still_follows_from_something_else_stays() -> None:
    world = World()
    world.change(said(["x type A", "x type B", "A sub C", "B sub C"]))
    world.change(remove=said(["x type A"]))
    assert Triple(ex("x"), TYPE, ex("C")) in world.inferred()
    world.change(remove=said(["B sub C"]))
    assert world.inferred() == set()


def test_what_is_stated_is_not_inferred_and_is_again_when_it_is_stated_no_more() -> None:
    world = World()
    world.change(said(["x type A", "A sub B"]))
    twice = [*said(["x type B"]), *said(["x type B"], ONTOLOGY)]
    world.change(twice)
    assert world.inferred() == set()
    world.change(remove=twice[:1])
    assert world.inferred() == set()
    world.change(remove=twice[1:])
    assert world.inferred() == triples_of(["x type B"])
    assert Triple(ex("x"), TYPE, ex("B")) in world.merge()


def test_what_a_restricted_graph_says_shows_nowhere() -> None:
    world = World()
    world.change([*said(["x type A"], PRIVATE), *said(["A sub B"])], restricted=[PRIVATE])
    assert world.inferred() == set()
    world.change([*said(["B sub C"], PRIVATE), *said(["y type B"])])
    assert world.inferred() == set()
    world.change(restricted=[])
    assert world.inferred() == triples_of(["x type B", "x type C", "y type C", "A sub C"])
    world.change(restricted=[PRIVATE])
    assert world.inferred() == set()
    assert world.merge() == triples_of(["A sub B", "y type B"])


def test_what_the_system_writes_is_no_premise() -> None:
    world = World()
    proposals = NamedNode(IDS.graph(PROPOSALS))
    world.change(said(["A sub B"]), system=Delta(frozenset(said(["x type A"], proposals))))
    assert world.inferred() == set()
    world.change(said(["x type A"]))
    assert world.inferred() == triples_of(["x type B"])


def test_nameless_classes_are_followed_and_not_concluded() -> None:
    world = World()
    world.change(
        [
            *said(["x type A", "B sub A"]),
            quad(ex("A"), SUBCLASS, NAMELESS),
            quad(NAMELESS, SAME_CLASS, ex("C")),
        ]
    )
    assert world.inferred() == triples_of(["x type C", "A sub C", "B sub C"])


def test_a_store_of_before_is_brought_up_to_date() -> None:
    world = World()
    stated = said(["x type A", "A sub B", "p inverse q", "x p y"])
    world.store.apply(Delta(frozenset(stated)), Delta(), 0)
    stray = said(["x type Nonsense"], INFERRED)
    world.store.write_inferred(Delta(frozenset(stray)), version="0")
    assert world.entailment.bring_up_to_date(())
    assert world.inferred() == triples_of(["x type B", "y q x"])
    assert world.merge() == world.asserted() | world.inferred()
    assert world.store.entailment_version() == VERSION
    assert not world.entailment.bring_up_to_date(())


def test_a_large_change_is_written_in_parts_and_marked_until_it_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entailment_change, "MOST_HELD", 10)
    world = World()
    world.change(said(f"n{number} type A" for number in range(95)))
    assert world.entailment.bring_up_to_date(())
    axiom = Delta(frozenset(said(["A sub B"])))
    cut_off = world.entailment.consequence(axiom, (), ())
    assert cut_off.spilled
    assert len(cut_off.delta) == 5
    assert world.store.entailment_version() != VERSION
    # A process that ends here finds what is half done at its next start.
    world.entailment = Entailment(world.store)
    assert world.entailment.bring_up_to_date(())
    assert world.inferred() == set()
    world.change(axiom.additions)
    assert world.inferred() == triples_of(f"n{number} type B" for number in range(95))
    assert world.store.entailment_version() == VERSION
    world.change(remove=axiom.additions)
    assert world.inferred() == set()
    assert world.merge() == world.asserted()


def test_what_is_missing_and_what_is_stray_is_named() -> None:
    world = World()
    world.change(said(["x type A", "A sub B", "B sub C"]))
    lost, stray = said(["x type C"], INFERRED), said(["x type Nonsense"], INFERRED)
    world.store.write_inferred(Delta(frozenset(stray), frozenset(lost)))
    found = list(world.entailment.check(()))
    assert {quad for quad, missing in found if missing} == lost
    assert {quad for quad, missing in found if not missing} == stray


def test_a_change_reads_no_more_than_its_own_nodes() -> None:
    """The store is asked about the changed nodes alone, however many others there are."""
    world = World()
    world.change(said(["A sub B", "B sub C", "p inverse q", "q subp r"]))
    world.change(said(f"n{i} type A" for i in range(300)) | said(f"n{i} p hub" for i in range(300)))
    asked: list[tuple[object, ...]] = []
    match = world.store.match

    def counted(*pattern: object, **named: object) -> object:
        asked.append(pattern)
        return match(*pattern, **named)  # type: ignore[arg-type]

    world.store.match = counted  # type: ignore[method-assign, assignment]
    world.change(said(["new type A", "new p hub"]), said(["n7 type A", "n7 p hub"]))
    assert all(pattern[0] is not None for pattern in asked if len(pattern) == 3)
    assert len(asked) < 40
