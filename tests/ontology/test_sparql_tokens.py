"""The gate before the engine: what a SPARQL text asks for, and which updates are ground data."""

from __future__ import annotations

import contextlib
import time

import pyoxigraph
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontology.errors import ServiceRefused, SparqlError, SparqlSyntaxError, UpdateRefused
from ontology.sparql_tokens import (
    data_blocks,
    lower_case_booleans,
    query_form,
    query_head,
    tokens,
)

REMOTE = "<http://127.0.0.1:1/>"


def kinds(text: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<http://a/b#c>", [("IRIREF", "<http://a/b#c>")]),
        (r"<http://a/\u0062>", [("IRIREF", r"<http://a/\u0062>")]),
        ("?a<?b", [("VAR", "?a"), ("PUNCTUATION", "<"), ("VAR", "?b")]),
        ("ex:a.b.c.", [("PNAME", "ex:a.b.c"), ("PUNCTUATION", ".")]),
        (r"ex:a\,b%41", [("PNAME", r"ex:a\,b%41")]),
        (":", [("PNAME", ":")]),
        ("_:a.b.", [("BLANK_NODE_LABEL", "_:a.b"), ("PUNCTUATION", ".")]),
        ("$x?y", [("VAR", "$x"), ("VAR", "?y")]),
        ("'a\\'b'", [("STRING", "'a\\'b'")]),
        ('"""a"b""c"""', [("STRING", '"""a"b""c"""')]),
        ("'''a\n'''", [("STRING", "'''a\n'''")]),
        ("''", [("STRING", "''")]),
        ('"x"@en-GB--ltr', [("STRING", '"x"'), ("LANG_DIR", "@en-GB--ltr")]),
        ("1 1. 1.5 1e5 1.e5 -.5", [
            ("INTEGER", "1"), ("INTEGER", "1"), ("PUNCTUATION", "."), ("DECIMAL", "1.5"),
            ("DOUBLE", "1e5"), ("DOUBLE", "1.e5"), ("DECIMAL", "-.5"),
        ]),
        ("a # b 'c\nd", [("WORD", "a"), ("WORD", "d")]),
        ("<<( )>> << >> {| |}", [
            ("PUNCTUATION", sign) for sign in ("<<(", ")>>", "<<", ">>", "{|", "|}")
        ]),
        ("^^ || && != <= >=", [
            ("PUNCTUATION", sign) for sign in ("^^", "||", "&&", "!=", "<=", ">=")
        ]),
    ],
)  # fmt: skip
def test_terminals_are_those_of_the_grammar(text: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(text) == expected


def test_a_token_knows_its_line_and_column() -> None:
    found = tokens('SELECT *\n\n  { ?s ?p "é" }')
    assert [(token.line, token.column) for token in found] == [
        (1, 1), (1, 8), (3, 3), (3, 5), (3, 8), (3, 11), (3, 15),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("SELECT *\n{ ?s ?p 'open }", 2, 9),
        ("SELECT * { ?s ?p '''open }", 1, 18),
        ("SELECT * { ?s ?p 'bad \\q' }", 1, 18),
        (r"SEL\u0045CT * {}", 1, 4),
        ("ASK { \u00a0 }", 1, 7),
    ],
)
def test_the_first_character_that_starts_nothing_is_named(
    text: str, line: int, column: int
) -> None:
    with pytest.raises(SparqlSyntaxError) as refusal:
        tokens(text)
    assert (refusal.value.line, refusal.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("SELECT * {}", "SELECT"),
        ("select?x{?x ?y ?z}", "SELECT"),
        ("# a comment\nASK {}", "ASK"),
        (
            "BASE <http://a/> PREFIX ex: <b#>\nPREFIX : <c> CONSTRUCT WHERE { ?s ?p ?o }",
            "CONSTRUCT",
        ),
        ("PREFIX\n#SELECT\nselect: <http://a/> DESCRIBE select:x", "DESCRIBE"),
        ('VERSION "1.2" ASK {}', "ASK"),
    ],
)
def test_the_form_of_a_query(text: str, form: str) -> None:
    assert query_form(text) == form


@pytest.mark.parametrize(
    "keyword",
    ["INSERT", "DELETE", "WITH", "LOAD", "CLEAR", "DROP", "CREATE", "ADD", "MOVE", "Copy"],
)
def test_an_update_is_no_query(keyword: str) -> None:
    with pytest.raises(UpdateRefused) as refusal:
        query_form(f"PREFIX ex: <http://e/>\n  {keyword} <http://x/>")
    assert (refusal.value.line, refusal.value.column) == (2, 3)
    assert keyword.upper() in refusal.value.message


@pytest.mark.parametrize(
    "text", ["", "# nothing", "HELLO", "ASKWHERE{}", "{ ?s ?p ?o }", "\ufeffASK{}"]
)
def test_what_is_no_query_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SparqlSyntaxError):
        query_form(text)


SERVICES = [
    f"SELECT * {{ SERVICE {REMOTE} {{ ?s ?p ?o }} }}",
    f"SELECT * {{ service silent {REMOTE} {{ ?s ?p ?o }} }}",
    f"SELECT * {{ SeRvIcE{REMOTE}{{ ?s ?p ?o }} }}",
    f"SELECT * {{ SERVICESILENT{REMOTE}{{ ?s ?p ?o }} }}",
    f"SELECT * {{ SERVICE # here\n {REMOTE} # there\n {{ ?s ?p ?o }} }}",
    f"SELECT * {{ ?s ?p ?o.SERVICE{REMOTE}{{}} }}",
    f"SELECT * {{ BIND({REMOTE} AS ?x) SERVICE ?x {{ ?s ?p ?o }} }}",
    f"SELECT * {{ SELECT * {{ SERVICE {REMOTE} {{}} }} }}",
    f"SELECT * {{ <http://e/service/a> <http://e/Service> ?o SERVICE {REMOTE} {{}} }}",
    f"PREFIX p: <http://a/> SELECT * {{ ?s p:b\\/service/p:service ?o SERVICE {REMOTE} {{}} }}",
    f"SELECT * {{ ?s ?p ?o FILTER EXISTS {{ SERVICE {REMOTE} {{}} }} }}",
    f"SELECT * {{ ?s ?p 1SERVICE{REMOTE}{{}} }}",
    f"SELECT * {{ ?s ?p trueSERVICE{REMOTE}{{}} }}",
    "PREFIX : <http://127.0.0.1:1/> SELECT * { SERVICE:x { ?s ?p ?o } }",
    "PREFIX : <http://127.0.0.1:1/> SELECT * { service:x { ?s ?p ?o } }",
    "PREFIX ex: <http://127.0.0.1:1/> SELECT * { SERVICEex:x { ?s ?p ?o } }",
    # The engine takes SERVICE off the front of a prefix, even of a declared one.
    "PREFIX : <http://127.0.0.1:1/> PREFIX service: <http://y/> ASK { service:x { ?s ?p ?o } }",
    # It ends a local name at its second dot.
    f"PREFIX : <http://x/> ASK {{ ?s ?p :a.b.SERVICE{REMOTE} {{ ?s ?p ?o }} }}",
    # It falls back to the prefix alone where the whole makes no IRI (here: a port with letters).
    f"PREFIX p: <http://a:80> ASK {{ ?s ?p p:SERVICE{REMOTE} {{ ?s ?p ?o }} }}",
    f"PREFIX p: <//a:80> ASK {{ ?s ?p p:SERVICE{REMOTE} {{ ?s ?p ?o }} }}",
    f"PREFIX p: <http://a:80> ASK {{ ?s p:trueSERVICE{REMOTE} {{ ?s ?p ?o }} }}",
    # It reads "<" as an operator where the longest match is an IRI.
    "ASK { ?s ?p ?x FILTER(1<2)SERVICE?x#>\n { ?s ?p ?o } }",
    f"ASK {{ ?s ?p ?a FILTER(1<2#> '''\n)SERVICE{REMOTE}{{}} #'''\n }}",
    f"ASK {{ ?s ?p ?a FILTER(?a<'>')SERVICE{REMOTE}{{?s ?p '...'}}#'\n }}",
]  # fmt: skip


@pytest.mark.parametrize("text", SERVICES)
def test_service_is_refused_in_every_disguise(text: str) -> None:
    with pytest.raises(ServiceRefused):
        query_head(text)


@pytest.mark.parametrize(
    "text",
    [
        f'SELECT * {{ ?s ?p "SERVICE {REMOTE} {{" }}',
        f"SELECT * {{ ?s ?p '''a\nSERVICE {REMOTE} {{''' }}",
        f"SELECT * {{ ?s ?p ?o }} # SERVICE {REMOTE} {{",
        "SELECT * { ?s <http://a/SERVICE> ?service . ?t ?u _:service }",
        "PREFIX ex: <http://e/> SELECT ?service { ?s ex:service ?service { ?s ?p ?o } }",
        "PREFIX ex: <http://e/> SELECT * { ?s a ex:Service { ?s ?p ?o } }",
        "PREFIX ex: <http://e/> SELECT * { ?s a ex:Service OPTIONAL { ?s ?p ?o } }",
        "PREFIX service: <http://e/> SELECT * { ?s service:x service:y, service: }",
        "PREFIX service: <http://e/> SELECT * { GRAPH service:x { ?s ?p ?o } }",
        "PREFIX service: <http://e/> SELECT * FROM service:x { ?s ?p ?o }",
        "PREFIX service: <http://e/> SELECT * FROM NAMED service:x { ?s ?p ?o }",
        "PREFIX service: <http://e/> DESCRIBE service:x service:y { ?s ?p ?o }",
        "SELECT * { VALUES (?a ?b) { (<http://e/#service> <http://e/x#service>) } }",
    ],
)
def test_the_word_service_may_stand_where_it_is_no_keyword(text: str) -> None:
    pyoxigraph.Store().query(text)
    query_head(text)


def test_the_engine_reads_no_escape_outside_strings_and_iris() -> None:
    """The gate reads the raw text; an engine that unescaped it first would read another one."""
    for text in (r"SEL\u0045CT * {}", r"SELECT * { SER\u0056ICE <http://127.0.0.1:1/> {} }"):
        with pytest.raises(SyntaxError):
            pyoxigraph.Store().query(text)
    rows = pyoxigraph.Store().query(r'SELECT ("\u0022} #" AS ?x) {}')
    assert isinstance(rows, pyoxigraph.QuerySolutions)
    assert str(next(rows)["x"]) == '"\\"} #"'


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * {" + "service " * 40_000 + "}",
        "SELECT * {" + "service#" * 40_000 + "}",
        "SELECT * {" + "service #\n" * 40_000 + "}",
        'SELECT * { "' + "service" * 40_000 + '" }',
        "SELECT * {" + "service<" * 40_000,
        "ASK{'''" + "''\\" * 100_000,
        "ASK { a" + "." * 100_000 + " service",
        "PREFIX " * 40_000,
    ],
)
def test_no_text_takes_the_gate_more_than_its_length(text: str) -> None:
    started = time.process_time()
    for read in (query_head, tokens, data_blocks):
        with contextlib.suppress(SparqlError):
            read(text)
    assert time.process_time() - started < 5


def test_dataset_clauses_are_found_where_they_stand() -> None:
    head = query_head(
        "PREFIX ex: <http://e/> SELECT (EXISTS { ?s ?p ?o } AS ?from)"
        " FROM ex:a FROM <b> FROM NAMED <http://c/> { ?s ?p 'FROM <d>' . ?x ex:from ex:e }"
    )
    assert head.default_graphs == ("ex:a", "<b>")
    assert head.named_graphs == ("<http://c/>",)
    assert head.prologue == "PREFIX ex: <http://e/> "


@pytest.mark.parametrize(
    ("text", "default", "named"),
    [
        ("ASK { ?s ?p ?o }", (), ()),
        ("ASK { ?from <http://from/> 'FROM <x>' }", (), ()),
        ("CONSTRUCT { ?s ?p ?o } FROM <http://a/> WHERE { ?s ?p ?o }", ("<http://a/>",), ()),
        ("CONSTRUCT FROM <http://a/> WHERE { ?s ?p ?o }", ("<http://a/>",), ()),
        ("DESCRIBE <http://x/> FROM NAMED <http://a/>", (), ("<http://a/>",)),
    ],
)
def test_dataset_clauses_by_form(
    text: str, default: tuple[str, ...], named: tuple[str, ...]
) -> None:
    head = query_head(text)
    assert (head.default_graphs, head.named_graphs) == (default, named)
    assert head.has_dataset is bool(default or named)


def quads_of(text: str) -> list[tuple[str, set[str]]]:
    return [
        (
            block.kind,
            {str(quad) for quad in pyoxigraph.parse(block.trig, pyoxigraph.RdfFormat.TRIG)},
        )
        for block in data_blocks(text)
    ]


def test_data_blocks_read_as_trig() -> None:
    assert quads_of(
        """PREFIX ex: <http://e/>
        INSERT DATA { ex:a ex:b "}" ; a ex:C GRAPH ex:g { ex:x ex:y 1 } . ex:q ex:r 2
          GRAPH <http://e/h> { ex:x ex:y true }GRAPH ex:i{} };
        # the data of the second kind
        delete data { GRAPH ex:g { ex:x ex:y () } } ;
        BASE <http://b/> PREFIX ex: <http://f/>
        INSERT DATA { ex:x <y> 'z' };"""
    ) == [
        ("INSERT DATA", {
            '<http://e/a> <http://e/b> "}"',
            "<http://e/a> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://e/C>",
            '<http://e/x> <http://e/y> "1"^^<http://www.w3.org/2001/XMLSchema#integer> <http://e/g>',
            '<http://e/q> <http://e/r> "2"^^<http://www.w3.org/2001/XMLSchema#integer>',
            '<http://e/x> <http://e/y> "true"^^<http://www.w3.org/2001/XMLSchema#boolean>'
            " <http://e/h>",
        }),
        ("DELETE DATA", {
            "<http://e/x> <http://e/y> <http://www.w3.org/1999/02/22-rdf-syntax-ns#nil>"
            " <http://e/g>"
        }),
        ("INSERT DATA", {'<http://f/x> <http://b/y> "z"'}),
    ]  # fmt: skip


def test_neighbours_of_a_kind_become_one_document() -> None:
    blocks = data_blocks("INSERT DATA { <a:a> <b:b> 1 };\nINSERT DATA\n{ <a:a> <b:b> 2 }")
    assert [block.kind for block in blocks] == ["INSERT DATA"]
    assert len(list(pyoxigraph.parse(blocks[0].trig, pyoxigraph.RdfFormat.TRIG))) == 2


def test_places_in_a_document_lead_back_to_the_update() -> None:
    text = "PREFIX ex: <http://e/>\nINSERT DATA {\n  ex:a ex:b ex:c .\n  ex:a ex:b nope:c }"
    (block,) = data_blocks(text)
    with pytest.raises(SyntaxError) as error:
        list(pyoxigraph.parse(block.trig, pyoxigraph.RdfFormat.TRIG))
    assert error.value.lineno is not None
    assert error.value.lineno + block.line_offset == 4
    assert error.value.offset == text.splitlines()[3].index("nope") + 1


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("INSERT DATA { <a:a> <b:b> 1 }; DROP ALL", 1, 32),
        ("INSERT DATA { <a:a> <b:b> 1 };\nLOAD <http://x/>", 2, 1),
        ("INSERT DATA { <a:a> <b:b> 1 } ; CLEAR SILENT DEFAULT", 1, 33),
        ("INSERT DATA { } INSERT DATA { }", 1, 17),
        ("INSERT { <a:a> <b:b> ?x } WHERE { ?x ?y ?z }", 1, 1),
        ("DELETE WHERE { ?s ?p ?o }", 1, 1),
        ("DELETE { ?s ?p ?o } INSERT { ?s ?p 1 } WHERE { ?s ?p ?o }", 1, 1),
        ("WITH <g:g> DELETE { ?s ?p ?o } WHERE { ?s ?p ?o }", 1, 1),
        ("CREATE GRAPH <g:g>", 1, 1),
        ("COPY <g:g> TO <h:h>", 1, 1),
        ("MOVE <g:g> TO <h:h>", 1, 1),
        ("ADD <g:g> TO <h:h>", 1, 1),
        ("SELECT * { ?s ?p ?o }", 1, 1),
        ("INSERT DATA { ?s <b:b> 1 }", 1, 15),
        ("INSERT DATA { GRAPH ?g { <a:a> <b:b> 1 } }", 1, 15),
        ("INSERT DATA { <a:a> <b:b> 1 . SERVICE <x:x> { } }", 1, 31),
        ("INSERT DATA { { <a:a> <b:b> 1 } }", 1, 15),
        ("INSERT DATA { GRAPH <g:g> { GRAPH <h:h> { } } }", 1, 29),
        ("INSERT DATA { <a:a> <b:b> 1 ", 1, 13),
        ("INSERT DATA { <a:a> <b:b> '1 }", 1, 27),
        ("DELETE DATA { _:a <b:b> 1 }", 1, 15),
        ("DELETE DATA { [] <b:b> 1 }", 1, 15),
        ("DELETE DATA { <a:a> <b:b> (1) }", 1, 27),
        ("INSERT DATA { _:a a <b:b> }; INSERT DATA { _:a a <c:c> }", 1, 44),
        ("PREFIX ex:a <http://e/> INSERT DATA { }", 1, 8),
        ("PREFIX <http://e/> INSERT DATA { }", 1, 8),
        ("", 1, 1),
        ("PREFIX ex: <http://e/>", 1, 23),
        ("INSERT", 1, 1),
        ("INSERT DATA", 1, 8),
    ],
)
def test_everything_but_ground_data_is_refused_with_its_place(
    text: str, line: int, column: int
) -> None:
    with pytest.raises(SparqlSyntaxError) as refusal:
        data_blocks(text)
    assert (refusal.value.line, refusal.value.column) == (line, column)


def test_the_number_of_alternations_is_bounded() -> None:
    pair = "INSERT DATA { <a:a> <b:b> 1 } ; DELETE DATA { <a:a> <b:b> 2 } ; "
    assert len(data_blocks(pair * 128)) == 256
    with pytest.raises(SparqlSyntaxError, match="256 operations"):
        data_blocks(pair * 129)


@given(st.text(alphabet="{}<>'\"#\\ \n.;?$:_@a1SERVICEserviceGRAPH()[]", max_size=60))
def test_any_text_gets_an_answer_or_a_place(text: str) -> None:
    for read in (tokens, query_head, data_blocks):
        place = (1, 1)
        try:
            read(text)
        except SparqlError as refusal:
            place = (refusal.line, refusal.column)
        assert 1 <= place[0] <= text.count("\n") + 1
        assert 1 <= place[1] <= len(text) + 1


@given(
    st.lists(
        st.sampled_from(
            ["SERVICE", "SILENT", " ", "<http://127.0.0.1:1/>", "{", "}", "?x", ":", "p:", "true",
             "1", ".", "'", "#", "\n", "<", ">", "FILTER(", ")", "a.b.", "?s ?p ?o"]
        ),
        max_size=14,
    )
)  # fmt: skip
def test_no_text_that_passes_makes_the_engine_call_out(parts: list[str]) -> None:
    text = "PREFIX : <http://127.0.0.1:1/> PREFIX p: <http://a:80> ASK { " + "".join(parts) + " }"
    try:
        query_head(text)
    except SparqlError:
        return
    try:
        pyoxigraph.Store().query(text)
    except SyntaxError:
        return
    except (OSError, RuntimeError) as error:
        pytest.fail(f"{text!r} passed the gate, and the engine said {error}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ASK { FILTER(TRUE || False) }", "ASK { FILTER(true || false) }"),
        ("ASK { ?TRUE ex:TRUE 'TRUE', <TRUE> } # TRUE",
         "ASK { ?TRUE ex:TRUE 'TRUE', <TRUE> } # TRUE"),
        ("ASK { FILTER(TRUE) } 'never closed", "ASK { FILTER(TRUE) } 'never closed"),
        ("ASK { FILTER(TRUER) }", "ASK { FILTER(TRUER) }"),
    ],
)  # fmt: skip
def test_only_the_keywords_become_lower_case(text: str, expected: str) -> None:
    assert lower_case_booleans(text) == expected
