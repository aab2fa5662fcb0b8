"""What a client sends is read into data, or refused with the place and the reason."""

from __future__ import annotations

import json
import time

import pytest
from pyoxigraph import BlankNode, Literal, NamedNode, Quad

from ontology.ids import Ids
from proofs.errors import BadSubmission
from proofs.secret_text import holds_secret
from proofs.submission import (
    MAX_EVIDENCE,
    MAX_QUADS,
    MAX_RATIONALE,
    MEDIA_TYPES,
    Request,
    check_text,
    graph_iri,
    read_submission,
)

IDS = Ids()
SHOP = NamedNode(IDS.lineage_graph("shop"))
EVIDENCE = "sha256:" + "ab" * 32
# Made up for these tests, and in two pieces so that no scanner takes this file for a leak.
SECRETS = [
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "fot_" + "A" * 43,
    "foi_" + "b-_9" * 10 + "xyz",
    # As it stands in a DSN.
    "foi_" + "0a" * 32,
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a" * 40,
    "glpat-" + "a" * 20,
    "xoxb-" + "1234567890",
    "sk_live_" + "a" * 16,
    "phx_" + "a" * 40,
    "hvs." + "a" * 20,
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "c2lnbmF0dXJlIQ",
    "postgres://shop:" + "hunter2@db:5432/shop",
    "redis://:" + "hunter2@cache",
    "PRIVATE+KEY+" + "log+abc+xyz",
]
HARMLESS = [
    "postgres://shop@db:5432/shop",
    "postgres://shop:****@db/shop",
    "http://web:8080/a@b",
    "https://example.org/?mail=a@b.example&t=10:30",
    "someone@example.org",
    "SELECT * FROM fot_table WHERE gh = 1",
    "-----BEGIN PUBLIC KEY-----",
    "AKIA is a name",
    "2026-11-22T10:00:00Z http://a:80 b@c",
]


def read(body: str | bytes, media_type: str, **named: object) -> Request:
    data = body if isinstance(body, bytes) else body.encode()
    return read_submission(data, media_type, IDS, **named)  # type: ignore[arg-type]


def refused(kind: str, body: str | bytes, media_type: str, **named: object) -> BadSubmission:
    with pytest.raises(BadSubmission) as caught:
        read(body, media_type, **named)
    assert caught.value.kind == kind, str(caught.value)
    return caught.value


def quad(value: str, graph: NamedNode = SHOP) -> Quad:
    return Quad(NamedNode("http://e/s"), NamedNode("http://e/p"), Literal(value), graph)


IN_SHOP = {"graph": "lineage/shop"}
G = SHOP.value
ONE = {
    "text/turtle": ("@prefix ex: <http://e/> . ex:s ex:p 'x' .", IN_SHOP),
    "application/n-triples": ('<http://e/s> <http://e/p> "x" .', IN_SHOP),
    "application/ld+json": ('{"@id": "http://e/s", "http://e/p": "x"}', IN_SHOP),
    "application/trig": ("GRAPH <lineage/shop> { <http://e/s> <http://e/p> 'x' }", {}),
    "application/n-quads": (f'<http://e/s> <http://e/p> "x" <{G}> .', {}),
    "application/rdf-patch": (f'TX .\nA <http://e/s> <http://e/p> "x" <{G}> .\nTC .', {}),
    "text/x-rdf-patch": ('A <http://e/s> <http://e/p> "x" <lineage/shop> .', {}),
    "text/rdf-patch": ('A <http://e/s> <http://e/p> "x" .', IN_SHOP),
    "application/sparql-update": (
        "PREFIX ex: <http://e/> INSERT DATA { GRAPH <lineage/shop> { ex:s ex:p 'x' } }",
        {},
    ),
    "application/json": (
        json.dumps({"additions": f'<http://e/s> <http://e/p> "x" <{G}> .'}),
        {},
    ),
}


def test_every_form_has_an_example() -> None:
    assert set(ONE) == set(MEDIA_TYPES)


@pytest.mark.parametrize("media_type", ONE)
def test_every_form_gives_the_same_quad(media_type: str) -> None:
    body, named = ONE[media_type]
    request = read(body, media_type, project="shop", rationale="why", base=4, **named)
    assert request.additions == {quad("x")}
    assert request.removals == frozenset()
    assert (request.project, request.rationale, request.base) == ("shop", "why", 4)
    assert (request.media_type, request.source) == (media_type, body.encode())


def test_the_json_envelope_carries_everything() -> None:
    body = {
        "project": "shop",
        "rationale": "tidy up",
        "additions": f'<http://e/s> <http://e/p> "new" <{G}> .',
        "removals": f'<http://e/s> <http://e/p> "old" <{G}> .',
        "evidence": [EVIDENCE, EVIDENCE],
        "base": 7,
    }
    request = read(json.dumps(body), "application/json", project="other", rationale="r", base=1)
    assert request.additions == {quad("new")}
    assert request.removals == {quad("old")}
    assert request.evidence == (EVIDENCE,)
    assert (request.project, request.rationale, request.base) == ("shop", "tidy up", 7)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ('{"additons": ""}', "unknown member 'additons'"),
        ('{"additions": 5}', "additions must be a text"),
        ('{"base": true}', "base must be a whole number"),
        ('{"base": "1"}', "base must be a whole number"),
        ('{"evidence": "sha256:"}', "evidence must be a list"),
        ('{"rationale": "\\ud800"}', "surrogate"),
        ('{"additions": "\\udfff"}', "surrogate"),
        ("[" * 100_000, "is not JSON"),
        (b"\xff{}", "is not UTF-8"),
    ],
)
def test_an_envelope_is_read_strictly(body: str | bytes, said: str) -> None:
    kind = "unparsable-rdf" if said == "is not UTF-8" else "unparsable-json"
    assert said in str(refused(kind, body, "application/json"))


def test_json_says_where() -> None:
    error = refused("unparsable-json", '{"base":\n  x}', "application/json")
    assert (error.line, error.column) == (2, 3)


@pytest.mark.parametrize(
    ("media_type", "body", "line", "column"),
    [
        ("text/turtle", "<http://e/s> <http://e/p> 'x' .\n<http://e/s> <http://e/p> ; .", 2, 27),
        ("application/n-triples", '<http://e/s> <http://e/p> "x" .\n<http://e/s> .', 2, 14),
        ("text/turtle", "<http://e/s> <http://e/p> <no scheme> .", 1, 27),
        ("text/turtle", "<http://e/s> <http://e/p> <relative> .", 1, 28),
        (
            "application/sparql-update",
            "INSERT DATA {\n GRAPH <lineage/shop> { <http://e/s> . } }",
            2,
            38,
        ),
    ],
)
def test_a_syntax_error_names_line_and_column(
    media_type: str, body: str, line: int, column: int
) -> None:
    named = IN_SHOP if media_type in ("text/turtle", "application/n-triples") else {}
    error = refused("unparsable-rdf", body, media_type, **named)
    assert error.line == line
    assert error.column is not None
    assert abs(error.column - column) <= 2, error
    assert f"line {line}, column {error.column}" in str(error)


def test_a_half_of_the_envelope_is_named() -> None:
    body = json.dumps({"additions": "", "removals": "<http://e/s> ."})
    assert str(refused("unparsable-rdf", body, "application/json")).startswith("removals: line 1")


def test_bytes_that_are_no_utf8_are_refused_in_every_form() -> None:
    for media_type, (body, named) in ONE.items():
        broken = body.encode().replace(b"x", b"\xff\xfe", 1)
        error = refused_any(broken, media_type, named)
        assert error.kind.startswith("unparsable"), (media_type, error)


def refused_any(body: bytes, media_type: str, named: dict[str, str]) -> BadSubmission:
    with pytest.raises(BadSubmission) as caught:
        read(body, media_type, **named)
    return caught.value


def test_an_unknown_form_is_refused_with_the_known_ones() -> None:
    for media_type in ("application/pdf", "", "application/rdf+xml", "text/n3"):
        error = refused("unsupported-media-type", "x", media_type)
        assert "text/turtle" in str(error)


def test_remote_contexts_are_not_fetched() -> None:
    body = '{"@context": "http://127.0.0.1:9/context", "@id": "http://e/s", "p": "x"}'
    refused("unparsable-rdf", body, "application/ld+json", **IN_SHOP)


# --- graphs


def test_triples_need_a_graph() -> None:
    body = "<http://e/s> <http://e/p> 'x' ."
    assert "?graph=NAME" in str(refused("graph-missing", body, "text/turtle"))
    refused("graph-missing", body, "application/trig")
    refused("graph-missing", "INSERT DATA { " + body + " }", "application/sparql-update")
    refused("graph-missing", "A " + body, "text/x-rdf-patch")
    assert read(body, "application/trig", **IN_SHOP).additions == {quad("x")}


@pytest.mark.parametrize(
    ("name", "iri"),
    [
        ("lineage/shop", G),
        (G, G),
        ("ontology", IDS.graph("ontology")),
        ("lineage/../ontology", f"{IDS.base}/graph/lineage/%2E%2E/ontology"),
    ],
)
def test_a_graph_is_named_short_or_in_full(name: str, iri: str) -> None:
    assert graph_iri(name, IDS) == iri


@pytest.mark.parametrize(
    "name", ["http://elsewhere/graph/x", "urn:x", "", "a//b", "/", f"{IDS.base}/graph/a b"]
)
def test_no_other_graph_can_be_named(name: str) -> None:
    with pytest.raises(BadSubmission) as caught:
        graph_iri(name, IDS)
    assert caught.value.kind == "unknown-graph"


def test_a_graph_without_a_name_is_refused() -> None:
    for named in ({}, IN_SHOP):
        body = "GRAPH _:g { <http://e/s> <http://e/p> 1 }"
        assert "without a name" in str(refused("graph-missing", body, "application/trig", **named))
        body = "<http://e/s> <http://e/p> <http://e/o> _:g ."
        refused("graph-missing", body, "application/n-quads", **named)


@pytest.mark.parametrize(
    "terms",
    [
        "<s> <http://e/p> 1",
        "<http://e/s> <p> 1",
        "<http://e/s> <http://e/p> <o>",
        "<//elsewhere/s> <http://e/p> 1",
        "<http://e/s> <http://e/p> '1'^^<type>",
        "<fractalops-relative:x> <http://e/p> 1",
    ],
)
def test_relative_iris_name_graphs_and_nothing_else(terms: str) -> None:
    for body, media_type in (
        (f"GRAPH <lineage/shop> {{ {terms} }}", "application/trig"),
        (f"INSERT DATA {{ GRAPH <lineage/shop> {{ {terms} }} }}", "application/sparql-update"),
    ):
        error = refused("unparsable-rdf", body, media_type)
        assert "relative IRI" in str(error)


def test_a_relative_graph_that_leaves_the_base_is_none_of_ours() -> None:
    refused(
        "unknown-graph", "GRAPH <//elsewhere/g> { <http://e/s> <http://e/p> 1 }", "application/trig"
    )


# --- removals and order


def test_later_rows_take_earlier_ones_back() -> None:
    one = 'GRAPH <lineage/shop> { <http://e/s> <http://e/p> "x" }'
    update = f"INSERT DATA {{ {one} }} ; DELETE DATA {{ {one} }}"
    request = read(update, "application/sparql-update")
    assert not request.additions
    assert request.removals == {quad("x")}
    update = f"DELETE DATA {{ {one} }} ; INSERT DATA {{ {one} }}"
    request = read(update, "application/sparql-update")
    assert request.additions == {quad("x")}
    assert not request.removals


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ("D _:b <http://e/p> 1 <lineage/shop> .", "text/x-rdf-patch"),
        (
            "DELETE DATA { GRAPH <lineage/shop> { _:b <http://e/p> 1 } }",
            "application/sparql-update",
        ),
        ("DELETE DATA { GRAPH <lineage/shop> { [] <http://e/p> 1 } }", "application/sparql-update"),
        (
            "DELETE DATA { GRAPH <lineage/shop> { <http://e/s> <http://e/p> (1) } }",
            "application/sparql-update",
        ),
        (json.dumps({"removals": f"_:b <http://e/p> <http://e/o> <{G}> ."}), "application/json"),
    ],
)
def test_a_blank_node_cannot_be_removed(body: str, media_type: str) -> None:
    with pytest.raises(BadSubmission) as caught:
        read(body, media_type)
    assert caught.value.kind in ("blank-node-removal", "update-not-data")


def test_one_label_is_one_node_throughout_a_patch() -> None:
    patch = (
        "A _:b <http://e/p> <http://e/1> <lineage/shop> .\n"
        "D <http://e/s> <http://e/p> <http://e/o> <lineage/shop> .\n"
        "A _:b <http://e/p> <http://e/2> <lineage/shop> .\n"
    )
    request = read(patch, "text/x-rdf-patch")
    subjects = {item.subject for item in request.additions}
    assert len(subjects) == 1
    assert all(isinstance(item, BlankNode) for item in subjects)


def test_a_label_of_another_insert_is_refused() -> None:
    block = "INSERT DATA { GRAPH <lineage/shop> { _:b <http://e/p> %d } }"
    update = f"{block % 1} ; {block % 2}"
    error = refused("update-not-data", update, "application/sparql-update")
    assert "already used in another operation" in str(error)
    # Nodes without a label are nodes of their own.
    update = update.replace("_:b", "[]")
    assert len({q.subject for q in read(update, "application/sparql-update").additions}) == 2


# --- nothing but data


@pytest.mark.parametrize(
    "update",
    [
        "INSERT DATA { GRAPH <lineage/shop> { <http://e/s> <http://e/p> 1 } }; DROP ALL",
        "INSERT DATA { GRAPH <lineage/shop> { <http://e/s> <http://e/p> 1 } } DROP ALL",
        "DROP ALL",
        "drop silent default",
        "CLEAR ALL",
        "CREATE GRAPH <http://e/g>",
        "COPY DEFAULT TO <http://e/g>",
        "MOVE DEFAULT TO <http://e/g>",
        "ADD DEFAULT TO <http://e/g>",
        "INSERT { GRAPH <lineage/shop> { ?s ?p ?o } } WHERE { ?s ?p ?o }",
        "INSERT { GRAPH <lineage/shop> { <http://e/s> <http://e/p> 1 } } WHERE { }",
        "DELETE WHERE { ?s ?p ?o }",
        "DELETE { ?s ?p ?o } WHERE { ?s ?p ?o }",
        "WITH <lineage/shop> DELETE { ?s ?p ?o } WHERE { ?s ?p ?o }",
        "LOAD <http://127.0.0.1:9/data>",
        "load silent <http://127.0.0.1:9/data> into graph <http://e/g>",
        "LO\\u0041D <http://127.0.0.1:9/data>",
        "\\u004cOAD <http://127.0.0.1:9/data>",
        "#\nLOAD#\n<http://127.0.0.1:9/data>",
        "PREFIX LOAD: <http://e/> LOAD <http://127.0.0.1:9/data>",
        "INSERT DATA { GRAPH ?g { <http://e/s> <http://e/p> 1 } }",
        "INSERT DATA { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }",
        "INSERT DATA { \\u0053ERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }",
        "INSERT { } WHERE { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }",
        "INSERT DATA { GRAPH <lineage/shop> { <http://e/s> <http://e/p> 1 } } ;"
        " INSERT { } WHERE { sErViCe#x\n<http://127.0.0.1:9/> { } }",
        "SELECT * WHERE { ?s ?p ?o }",
        "INSERT DATA { GRAPH <lineage/shop> { <http://e/s> <http://e/p> 1 }",
        "INSERT DATA { GRAPH <lineage/shop> { <http://e/s> <http://e/p> 1 } } }",
        "",
    ],
)
def test_an_update_that_is_more_than_data_is_refused_whole(update: str) -> None:
    error = refused("update-not-data", update, "application/sparql-update")
    assert error.line is not None
    assert error.column is not None


def test_keywords_inside_values_are_no_operations() -> None:
    text = "; DROP ALL } LOAD <x> SERVICE INSERT { } WHERE"
    update = f'INSERT DATA {{ GRAPH <lineage/shop> {{ <http://e/s> <http://e/p> "{text}" }} }}'
    assert read(update, "application/sparql-update").additions == {quad(text)}


@pytest.mark.parametrize("media_type", ["application/trig", "application/n-quads"])
def test_rdf_1_2_is_refused(media_type: str) -> None:
    body = f"<http://e/s> <http://e/p> <<( <http://e/a> <http://e/b> <http://e/c> )>> <{G}> ."
    if media_type == "application/trig":
        body = (
            "GRAPH <lineage/shop> { <http://e/s> <http://e/p> <<( <http://e/a> <http://e/b> 1 )>> }"
        )
    assert "RDF 1.2" in str(refused("bad-term", body, media_type))


@pytest.mark.parametrize(
    ("value", "datatype"), [("256", "byte"), ("-5", "nonNegativeInteger"), ("2020-02-30", "date")]
)
def test_ill_typed_literals_are_refused_not_laundered(value: str, datatype: str) -> None:
    body = f'<http://e/s> <http://e/p> "{value}"^^<http://www.w3.org/2001/XMLSchema#{datatype}> .'
    error = refused("bad-term", body, "text/turtle", **IN_SHOP)
    assert value in str(error)
    assert datatype in str(error)


# --- limits


def test_too_many_quads_are_refused_before_the_rest_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_QUADS == 100_000
    monkeypatch.setattr("proofs.submission.MAX_QUADS", 1000)
    lines = [f'<http://e/s> <http://e/p> "{n}" .\n' for n in range(1001)]
    assert "in parts" in str(refused("too-large", "".join(lines), "text/turtle", **IN_SHOP))
    assert len(read("".join(lines[1:]), "text/turtle", **IN_SHOP).additions) == 1000
    # A list of three million members would take many seconds to read to its end.
    started = time.monotonic()
    refused("too-large", "<http://e/s> <http://e/p> " + "(" * 3_000_000, "text/turtle", **IN_SHOP)
    assert time.monotonic() - started < 3


def test_many_alternating_rows_take_no_longer_than_many_rows() -> None:
    rows = "".join(
        f'{"AD"[n % 2]} <http://e/s{n}> <http://e/p> "x" <lineage/shop> .\n' for n in range(6_000)
    )
    started = time.monotonic()
    request = read(rows, "text/x-rdf-patch")
    assert len(request.additions) == len(request.removals) == 3_000
    assert time.monotonic() - started < 10


def test_a_long_rationale_is_refused() -> None:
    body, named = ONE["application/n-quads"]
    refused("too-large", body, "application/n-quads", rationale="x" * (MAX_RATIONALE + 1), **named)
    request = read(body, "application/n-quads", rationale="x" * MAX_RATIONALE, **named)
    assert len(request.rationale) == MAX_RATIONALE


@pytest.mark.parametrize(
    "given", ["", "sha256:", "md5:" + "ab" * 16, "SHA256:" + "ab" * 32, EVIDENCE + "\n"]
)
def test_evidence_is_a_list_of_commitments(given: str) -> None:
    body, _ = ONE["application/n-quads"]
    refused("bad-evidence", body, "application/n-quads", evidence=[given])
    refused(
        "bad-evidence",
        json.dumps({**json.loads(ONE["application/json"][0]), "evidence": [given, 5]}),
        "application/json",
    )


def test_too_much_evidence_is_refused() -> None:
    body, _ = ONE["application/n-quads"]
    many = [f"sha256:{n:064x}" for n in range(MAX_EVIDENCE + 1)]
    refused("too-large", body, "application/n-quads", evidence=many)
    assert len(read(body, "application/n-quads", evidence=many[1:]).evidence) == MAX_EVIDENCE


# --- secrets


@pytest.mark.parametrize("secret", SECRETS, ids=lambda text: text[:11])
def test_a_secret_is_refused_wherever_it_stands_and_never_repeated(secret: str) -> None:
    body, named = ONE["application/trig"]
    literal = json.dumps(f"see {secret} there")
    placed = f"GRAPH <lineage/shop> {{ <http://e/s> <http://e/p> {literal} }}"
    hidden = literal.replace(secret[0], f"\\u{ord(secret[0]):04x}", 1)
    errors = [
        refused("secret", placed, "application/trig"),
        # Also where it is in no graph, or hidden behind an escape.
        refused("secret", f"<http://e/s> <http://e/p> {literal} .", "application/trig"),
        refused("secret", placed.replace(literal, hidden), "application/trig"),
        refused("secret", body, "application/trig", rationale=f"with {secret}", **named),
        refused("secret", f"{body}\n# {secret.splitlines()[0]}", "application/trig", **named),
    ]
    for error in errors:
        assert secret not in str(error)
    with pytest.raises(BadSubmission, match="the reason looks like it holds a secret"):
        check_text(secret, "the reason")


def test_a_secret_inside_an_iri_is_refused() -> None:
    body = "<http://e/s> <http://e/p> <postgres://shop:hunter2@db/shop> ."
    error = refused("secret", body, "text/turtle", **IN_SHOP)
    assert "an IRI looks like a secret" in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_passes(text: str) -> None:
    assert not holds_secret(text)
    body = f"<http://e/s> <http://e/p> {json.dumps(text)} ."
    assert read(body, "text/turtle", **IN_SHOP).additions == {quad(text)}


@pytest.mark.parametrize(
    "text",
    [
        "a+" * 300_000 + "://",
        "a://" + "b:" * 200_000,
        "eyJ" + "A" * 500_000,
        "eyJaaaaaaaaaaa-" * 20_000,
        "eyJaaaaaaaaaaa.eyJ" * 20_000,
        "-----BEGIN " + "A " * 200_000 + "PRIVATE KEY-----",
        "@://:" * 100_000,
        "xox" * 200_000,
    ],
    ids=lambda text: text[:8],
)
def test_no_text_makes_the_search_slow(text: str) -> None:
    started = time.monotonic()
    holds_secret(text)
    assert time.monotonic() - started < 3


def test_words_of_their_own_are_kept_as_text() -> None:
    check_text("tidy up \U0001f9f9\n", "the reason")
    for text, said in (("x" * 4001, "4001 characters"), ("\udc00", "surrogate")):
        with pytest.raises(BadSubmission, match=said):
            check_text(text, "the reason")


@pytest.mark.parametrize("ending", ["\n", "\r\n", " # as it was\n", ""])
def test_a_graph_is_named_short_in_n_quads_too(ending: str) -> None:
    quads = f'<http://e/s> <http://e/p> "not a <graph> ." <lineage/shop> .{ending}'
    found = read(json.dumps({"additions": quads}), "application/json").additions
    value = Literal("not a <graph> .")
    assert found == {Quad(NamedNode("http://e/s"), NamedNode("http://e/p"), value, SHOP)}


def test_an_object_is_not_named_short_in_n_quads() -> None:
    with pytest.raises(BadSubmission, match="relative IRI"):
        read("<http://e/s> <http://e/p> <lineage/shop> .", "application/n-quads", graph="shapes")
