"""The closed vocabulary of the generated cases: few enough terms that everything collides.

Invariant: every literal of ``LITERALS`` is canonical, so that the store keeps it as it is;
``RAW_LITERALS`` are the ones it would rewrite or refuse, for graphs that never enter a store.
"""

from __future__ import annotations

from pyoxigraph import BlankNode, Literal, NamedNode

E = "http://e/"
SH = "http://www.w3.org/ns/shacl#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
XSD = "http://www.w3.org/2001/XMLSchema#"

PREFIXES = {"ex": E, "sh": SH, "rdf": RDF, "rdfs": RDFS, "xsd": XSD}

Term = NamedNode | BlankNode | Literal


def ex(name: str) -> NamedNode:
    return NamedNode(E + name)


def sh(name: str) -> NamedNode:
    return NamedNode(SH + name)


def rdf(name: str) -> NamedNode:
    return NamedNode(RDF + name)


def rdfs(name: str) -> NamedNode:
    return NamedNode(RDFS + name)


def xsd(name: str) -> NamedNode:
    return NamedNode(XSD + name)


def typed(value: str, datatype: str) -> Literal:
    return Literal(value, datatype=xsd(datatype))


TYPE = rdf("type")
SUBCLASS = rdfs("subClassOf")
TRUE = typed("true", "boolean")
FALSE = typed("false", "boolean")

NODES = tuple(ex(f"n{number}") for number in range(5))
CLASSES = tuple(ex(name) for name in "ABCD")
PREDICATES = tuple(ex(name) for name in "pqr")
BLANKS = tuple(BlankNode(f"b{number}") for number in range(3))

STRINGS = tuple(Literal(text) for text in ("", "a", "abc", "Abc", "b\na", "10", "é"))
TAGGED = tuple(
    Literal(text, language=tag)
    for text, tag in (
        *(("a", "en"), ("abc", "en"), ("a", "en-gb"), ("b", "en-gb"), ("a", "de")),
        *(("b", "fr"), ("a", "en-gb-oed"), ("a", "eng")),
    )
)
NUMBERS = (
    *(typed(text, "integer") for text in ("-1", "0", "1", "2", "10")),
    *(typed(text, "decimal") for text in ("1", "1.5", "10")),
    *(typed(text, "double") for text in ("1", "1.5", "10", "INF", "NaN")),
    *(typed(text, "float") for text in ("1", "2.5")),
)
TIMES = (
    *(
        typed(text, "dateTime")
        for text in (
            *("2024-01-01T00:00:00", "2024-01-01T12:00:00", "2024-01-03T00:00:00"),
            *("2024-01-01T00:00:00Z", "2024-01-01T06:00:00Z", "2024-01-03T00:00:00Z"),
            *("2024-01-01T02:00:00+02:00", "2024-01-01T01:00:00+02:00"),
        )
    ),
    *(typed(text, "date") for text in ("2024-01-01", "2024-01-02")),
)
OTHERS = (
    *(TRUE, FALSE),
    typed("http://e/n0", "anyURI"),
    Literal("a", datatype=ex("datatype")),
    Literal("1", datatype=ex("datatype")),
)
LITERALS = (*STRINGS, *TAGGED, *NUMBERS, *TIMES, *OTHERS)

# What a store would rewrite or refuse: derived integers, other spellings, ill-typed literals.
RAW_LITERALS = (
    *(typed("1", name) for name in ("int", "long", "byte", "nonNegativeInteger")),
    *(typed(text, "integer") for text in ("01", "abc", "1.5", "")),
    *(typed(text, "decimal") for text in ("1.50", "x")),
    *(typed("256", "byte"), typed("-1", "unsignedInt"), typed("1e0", "double")),
    *(typed("1", "boolean"), typed("yes", "boolean")),
    *(typed("2024-13-01T00:00:00", "dateTime"), typed("2024-02-30", "date")),
    Literal("a", language="EN-GB"),
)

DATATYPES = (
    *(xsd(name) for name in ("string", "integer", "decimal", "double", "float", "boolean")),
    *(xsd(name) for name in ("dateTime", "date", "anyURI")),
    *(rdf("langString"), ex("datatype")),
)
NODE_KINDS = tuple(
    sh(name)
    for name in (
        *("IRI", "Literal", "BlankNode"),
        *("BlankNodeOrIRI", "BlankNodeOrLiteral", "IRIOrLiteral"),
    )
)
SEVERITIES = (*(sh(name) for name in ("Violation", "Warning", "Info")), ex("Grave"))
# In the part of the two languages of regular expressions that XPath and Python share.
PATTERNS = (
    *("", "^a", "a$", "a.a", "n[0-2]$", "^http", "^[0-9]+$", "A|B", "^$", "b.*a"),
    *("^.{3}$", "[^a-z]"),
)
FLAGS = (None, None, None, "i", "m", "im", "s")
LANGUAGE_RANGES = ("en", "de", "en-gb", "EN", "fr", "*", "en-gb-oed")
