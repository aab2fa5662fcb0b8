"""Quads in canonical form, and blank nodes that become IRIs nobody else has."""

from __future__ import annotations

import pytest
from pyoxigraph import (
    BlankNode,
    CanonicalizationAlgorithm,
    DefaultGraph,
    Literal,
    NamedNode,
    Quad,
    RdfFormat,
    parse,
    serialize,
)

from ontology.errors import IllTypedLiteral, LimitExceeded, UnsupportedTerm
from ontology.terms import (
    MAX_IRI,
    MAX_LITERAL,
    Delta,
    canonical_quad,
    from_nquads,
    graph_of,
    in_named_graph,
    line,
    rdfc10,
    skolem_prefix,
    skolemise,
    to_nquads,
)

BASE = "http://fractalops.localhost"
G = NamedNode(f"{BASE}/graph/lineage/shop")
P = NamedNode("http://e/p")
S = NamedNode("http://e/s")

HOSTILE = [
    *('"', "\\", "\n", "\r", "\t", "\x00", "\x07", "\x7f", "\u0085", "\u2028", "\ufffe", "\\u0041"),
    *('" . <http://e/x> <http://e/y> "', "}; DROP ALL", "'''", '"""', "\U0001f6d2"),
]


def quads(text: str) -> frozenset[Quad]:
    found = parse(text.encode(), format=RdfFormat.TRIG)
    return frozenset(canonical_quad(in_named_graph(quad, G)) for quad in found)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_line_is_what_the_serialiser_writes_and_reads_back(text: str) -> None:
    quad = Quad(S, P, Literal(text), G)
    assert line(quad) == serialize([quad], format=RdfFormat.N_QUADS)
    assert line(quad).count(b"\n") == 1
    assert list(from_nquads(line(quad))) == [quad]


def test_lines_are_sorted_and_each_stands_once() -> None:
    data = to_nquads(quads("<http://e/b> <http://e/p> 1, 1.0, 01 . <http://e/a> <http://e/p> 1 ."))
    lines = data.splitlines()
    assert lines == sorted(lines)
    assert len(lines) == 3


def test_a_canonical_quad_carries_canonical_literals() -> None:
    assert quads("<http://e/s> <http://e/p> 1.50, 01 .") == quads(
        "<http://e/s> <http://e/p> 1.5, 1 ."
    )
    with pytest.raises(IllTypedLiteral):
        quads('<http://e/s> <http://e/p> "256"^^<http://www.w3.org/2001/XMLSchema#byte> .')


@pytest.mark.parametrize(
    "text",
    [
        "<http://e/s> <http://e/p> <<( <http://e/a> <http://e/b> <http://e/c> )>> .",
        "<< <http://e/a> <http://e/b> <http://e/c> >> <http://e/p> 1 .",
        "<http://e/s> <http://e/p> 1 {| <http://e/q> 2 |} .",
        '<http://e/s> <http://e/p> "a"@ar--rtl .',
    ],
)
def test_rdf_1_2_is_refused_clearly(text: str) -> None:
    with pytest.raises(UnsupportedTerm, match=r"RDF 1\.2"):
        quads(text)


def test_long_terms_are_refused() -> None:
    fits = Quad(NamedNode("http://e/" + "a" * (MAX_IRI - 9)), P, Literal("a" * MAX_LITERAL), G)
    assert canonical_quad(fits) == fits
    with pytest.raises(LimitExceeded, match=str(MAX_IRI)):
        canonical_quad(Quad(NamedNode("http://e/" + "a" * (MAX_IRI - 8)), P, Literal(""), G))
    with pytest.raises(LimitExceeded, match=str(MAX_LITERAL)):
        canonical_quad(Quad(S, P, Literal("a" * (MAX_LITERAL + 1)), G))


def test_the_graph_of_a_quad_has_an_iri() -> None:
    assert graph_of(Quad(S, P, S, G)) == G.value
    for graph in (DefaultGraph(), BlankNode("g")):
        with pytest.raises(UnsupportedTerm, match="named graph"):
            graph_of(Quad(S, P, S, graph))


def test_a_delta_has_an_exact_inverse_and_a_patch() -> None:
    one, two = Quad(S, P, Literal("1"), G), Quad(S, P, Literal("2"), NamedNode("http://e/g"))
    delta = Delta(frozenset({one}), frozenset({two}))
    assert delta.inverse() == Delta(frozenset({two}), frozenset({one}))
    assert delta.inverse().inverse() == delta
    assert len(delta) == 2
    assert delta
    assert not Delta()
    assert delta.graphs() == ["http://e/g", G.value]
    assert delta.patch() == f"D {two} .\nA {one} .\n"
    assert delta.in_graph(G.value) == Delta(frozenset({one}))
    assert delta.without_graphs({G.value}) == Delta(frozenset(), frozenset({two}))


# --- blank nodes


def nodes(found: frozenset[Quad]) -> set[str]:
    terms = {str(term) for quad in found for term in (quad.subject, quad.object)}
    return {term for term in terms if skolem_prefix(BASE) in term}


def test_no_blank_node_is_left_and_the_labels_do_not_count() -> None:
    one = skolemise(quads("_:a <http://e/p> _:b . _:b <http://e/q> 1 ."), BASE)
    other = skolemise(quads("_:y <http://e/q> 1 . _:x <http://e/p> _:y ."), BASE)
    assert one == other
    assert not any(isinstance(quad.subject, BlankNode) for quad in one)
    assert len(nodes(one)) == 2


def test_strangers_nodes_of_the_same_shape_stay_apart() -> None:
    shape = "[] <http://e/name> 'x' ."
    mine = skolemise(quads(shape + "<http://e/mine> <http://e/p> 1 ."), BASE)
    yours = skolemise(quads(shape + "<http://e/yours> <http://e/p> 1 ."), BASE)
    assert nodes(mine)
    assert not nodes(mine) & nodes(yours)


def test_the_salt_keeps_equal_deltas_of_two_authors_apart() -> None:
    given = quads("[] <http://e/name> 'x' .")
    assert skolemise(given, BASE, salt="a") != skolemise(given, BASE, salt="b")
    assert skolemise(given, BASE, salt="a") == skolemise(given, BASE, salt="a")


def test_equal_nodes_inside_one_delta_stay_two() -> None:
    found = skolemise(quads("<http://e/s> <http://e/p> [], [] ."), BASE)
    assert len(found) == len(nodes(found)) == 2


def test_without_blank_nodes_nothing_is_canonicalised() -> None:
    def fails(data: bytes) -> bytes:
        raise AssertionError("there is nothing to label")

    given = quads("<http://e/s> <http://e/p> 1 .")
    assert skolemise(given, BASE, canonicalise=fails) == given


def test_only_quads_of_the_default_graph_are_moved() -> None:
    other = NamedNode("http://e/g")
    assert in_named_graph(Quad(S, P, S), G).graph_name == G
    assert in_named_graph(Quad(S, P, S, other), G).graph_name == other


def test_both_hash_algorithms_of_rdfc10_give_one_form_each() -> None:
    given = b"_:a <http://e/p> _:b .\n_:c <http://e/p> _:d .\n_:d <http://e/q> _:a .\n"
    other = given.replace(b"_:", b"_:x")
    for algorithm in (
        CanonicalizationAlgorithm.RDFC_1_0_SHA_256,
        CanonicalizationAlgorithm.RDFC_1_0_SHA_384,
    ):
        assert rdfc10(given, algorithm) == rdfc10(other, algorithm)
    assert rdfc10(given) == rdfc10(given, CanonicalizationAlgorithm.RDFC_1_0_SHA_256)
