"""RDF Patch: rows mean what they mean where they stand, and half a patch is none."""

from __future__ import annotations

import pytest
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse

from proofs.errors import BadSubmission
from proofs.rdf_patch import read_patch

EX = "http://example.org/"
G = f"<{EX}g>"


def rows(text: str) -> list[tuple[bool, Quad]]:
    """Every quad of a patch with whether it is added, in order."""
    patch = read_patch(text)
    quads = parse(patch.trig.encode(), format=RdfFormat.TRIG, base_iri="relative:///")
    return list(zip(patch.adds, quads, strict=True))


def one(text: str) -> Quad:
    ((_, quad),) = rows(text)
    return quad


def refused(text: str) -> BadSubmission:
    with pytest.raises(BadSubmission) as caught:
        read_patch(text)
    assert caught.value.kind == "unparsable-rdf"
    return caught.value


def ex(name: str) -> NamedNode:
    return NamedNode(EX + name)


def test_a_whole_patch() -> None:
    patch = f"""H id <uuid:0686c69d-8f89-4496-acb5-744f0157a8db> .
# a comment
TX .
PA "ex" "{EX}" .
A ex:s ex:p "x" {G} .
A\tex:s\tex:p\t"y"@en\t{G} . # with tabs and a comment

D ex:s ex:p "5"^^<http://www.w3.org/2001/XMLSchema#integer> {G} .
  A <{EX}s> <{EX}p> _:b .
TC .
"""
    found = rows(patch)
    assert [adds for adds, _ in found] == [True, True, False, True]
    assert found[0][1] == Quad(ex("s"), ex("p"), Literal("x"), ex("g"))
    assert found[1][1].object == Literal("y", language="en")
    assert found[2][1].object == Literal(5)
    assert str(found[3][1].object) == "_:b"


@pytest.mark.parametrize(
    "row", ["PA ex: <%s> .", "PA ex <%s> .", 'PA "ex" <%s> .', 'PA "ex:" "%s" .', "PA 'ex' '%s' ."]
)
def test_prefixes_as_they_are_written_in_the_wild(row: str) -> None:
    assert one(f"{row % EX}\nA ex:s ex:p ex:o .").object == ex("o")


def test_the_empty_prefix() -> None:
    assert one(f"PA : <{EX}> .\nA :s :p :o .").object == ex("o")


def test_a_prefix_counts_from_its_row_on() -> None:
    patch = "PA e: <http://one/> .\nA e:s e:p 1 .\nPA e: <http://two/> .\nA e:s e:p 1 .\nPD e: .\n"
    assert [str(quad.subject) for _, quad in rows(patch)] == ["<http://one/s>", "<http://two/s>"]
    error = refused(patch + "A e:s e:p 1 .")
    assert error.line == 6
    assert "not declared by a PA row before" in str(error)
    assert refused("A e:s e:p 1 .\nPA e: <http://one/> .").line == 1


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ("<http://e/\\u00e9>", NamedNode("http://e/\u00e9")),
        ('"a \\"quoted\\" . text"', Literal('a "quoted" . text')),
        ("'single . A <x>'", Literal("single . A <x>")),
        ('"line\\nbreak"', Literal("line\nbreak")),
        ('"x"@en-GB', Literal("x", language="en-GB")),
        ('"5"^^xsd:integer', Literal(5)),
        ("5", Literal(5)),
        ("-1.5", Literal("-1.5", datatype=NamedNode("http://www.w3.org/2001/XMLSchema#decimal"))),
        ("true", Literal(True)),
        ("ex:a.b", ex("a.b")),
        ("ex:a\\,b", ex("a,b")),
        ("ex:%41", ex("%41")),
    ],
)
def test_terms(term: str, value: NamedNode | Literal) -> None:
    head = f"PA ex: <{EX}> .\nPA xsd: <http://www.w3.org/2001/XMLSchema#> .\n"
    assert one(f"{head}A ex:s ex:p {term} .").object == value
    # The full stop may stand right behind.
    assert one(f"{head}A ex:s ex:p {term}.").object == value


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("A <http://e/s> <http://e/p> .", 1, "three or four terms"),
        ("\nA <http://e/s> <http://e/p> 1 2 3 .", 2, "three or four terms"),
        ("A <http://e/s> <http://e/p> 1", 1, "full stop"),
        ("A <http://e/s> <http://e/p> 1 . 2", 1, "no RDF term"),
        ('A <http://e/s> <http://e/p> "open .', 1, "no RDF term"),
        ("A <http://e/s> <http://e/p> <a b> .", 1, "no RDF term"),
        ("A <http://e/s> <http://e/p> [] .", 1, "no RDF term"),
        ("A <http://e/s> <http://e/p> 1;<http://e/q> 2 .", 1, "no RDF term"),
        ("A <http://e/s> <http://e/p> 1 . }} DROP ALL", 1, "no RDF term"),
        ("INSERT DATA { }", 1, "starts with A, D"),
        ("Q <http://e/s> <http://e/p> 1 .", 1, "starts with A, D"),
        ("PA ex .", 1, "prefix row"),
        ("PA ex: <http://e/>", 1, "full stop"),
        ("PA ex: <http://a b> .", 1, "prefix row"),
        ("PA ex: nothing .", 1, "is no IRI"),
        ("PA ex: <http://e/> .\nA ex:s\\> ex:p 1 .", 2, "makes no IRI"),
        ("A word <http://e/p> 1 .", 1, "is no term"),
        ("TX .\nTX .", 2, "inside another"),
        ("TX .\nA <http://e/s> <http://e/p> 1 .\nTA .", 3, "aborts"),
    ],
)
def test_what_is_no_patch_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    error = refused(text)
    assert error.line == line
    assert said in str(error)


def test_a_column_is_given_where_a_term_is_broken() -> None:
    error = refused("A <http://e/s>   <http://e/p> <a b> .")
    assert (error.line, error.column) == (1, 31)
    assert "column 31" in str(error)


def test_a_patch_that_was_cut_off_is_refused() -> None:
    error = refused("TX .\nA <http://e/s> <http://e/p> 1 .\n")
    assert "not committed" in str(error)
    assert error.line is None


def test_lines_of_the_document_are_lines_of_the_patch() -> None:
    patch = "# one\n\nA <http://e/s> <http://e/p> 1 .\n\n\nA <http://e/s> <http://e/p> 2 .\n"
    lines = read_patch(patch).trig.split("\n")
    assert [number for number, line in enumerate(lines, start=1) if line] == [3, 6]


def test_an_empty_patch_has_no_rows() -> None:
    assert rows("H id <urn:x> .\nTX .\nTC .\n") == []
