"""Literals take one form, the store leaves it alone, and what is no value is refused."""

from __future__ import annotations

import string
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import BaseDirection, Literal, NamedNode, Quad, Store

from ontology.errors import IllTypedLiteral, UnsupportedTerm
from ontology.literals import RDF, XSD, canonical_literal

HUGE = "1" * 4001

CANONICAL = [
    # lexical form, datatype, canonical form, and its datatype where it is another one
    ("plain text", "string", "plain text", "string"),
    ("  two  blanks\n", "string", "  two  blanks\n", "string"),
    ("", "string", "", "string"),
    ("true", "boolean", "true", "boolean"),
    ("1", "boolean", "true", "boolean"),
    ("0", "boolean", "false", "boolean"),
    ("+007", "integer", "7", "integer"),
    ("-0", "integer", "0", "integer"),
    ("99999999999999999999999", "integer", "99999999999999999999999", "integer"),
    ("127", "byte", "127", "integer"),
    ("-128", "byte", "-128", "integer"),
    ("-32768", "short", "-32768", "integer"),
    ("2147483647", "int", "2147483647", "integer"),
    ("-9223372036854775808", "long", "-9223372036854775808", "integer"),
    ("0", "nonNegativeInteger", "0", "integer"),
    ("-0", "nonNegativeInteger", "0", "integer"),
    ("1", "positiveInteger", "1", "integer"),
    ("0", "nonPositiveInteger", "0", "integer"),
    ("-1", "negativeInteger", "-1", "integer"),
    ("255", "unsignedByte", "255", "integer"),
    ("65535", "unsignedShort", "65535", "integer"),
    ("4294967295", "unsignedInt", "4294967295", "integer"),
    ("18446744073709551615", "unsignedLong", "18446744073709551615", "integer"),
    ("1.50", "decimal", "1.5", "decimal"),
    ("+.5", "decimal", "0.5", "decimal"),
    ("5.", "decimal", "5", "decimal"),
    ("-0.00", "decimal", "0", "decimal"),
    ("0.1234567890123456789012345", "decimal", "0.1234567890123456789012345", "decimal"),
    ("1e3", "double", "1000", "double"),
    ("1.50E-2", "double", "0.015", "double"),
    ("-0", "double", "-0", "double"),
    ("1e400", "double", "INF", "double"),
    ("+INF", "double", "INF", "double"),
    ("-INF", "double", "-INF", "double"),
    ("NaN", "double", "NaN", "double"),
    ("0.1", "float", "0.1", "float"),
    ("16777217", "float", "16777216", "float"),
    ("2026-11-22T10:00:00+00:00", "dateTime", "2026-11-22T10:00:00Z", "dateTime"),
    ("2026-11-22T10:00:00.120-05:30", "dateTime", "2026-11-22T10:00:00.12-05:30", "dateTime"),
    ("2026-12-31T24:00:00", "dateTime", "2027-01-01T00:00:00", "dateTime"),
    ("2024-02-28T24:00:00Z", "dateTime", "2024-02-29T00:00:00Z", "dateTime"),
    ("-0044-03-15T12:00:00Z", "dateTime", "-0044-03-15T12:00:00Z", "dateTime"),
    ("12026-01-01T00:00:00Z", "dateTime", "12026-01-01T00:00:00Z", "dateTime"),
    ("2026-11-22T10:00:00-00:00", "dateTimeStamp", "2026-11-22T10:00:00Z", "dateTime"),
    ("24:00:00", "time", "00:00:00", "time"),
    ("10:00:00.500Z", "time", "10:00:00.5Z", "time"),
    ("2024-02-29", "date", "2024-02-29", "date"),
    ("2026-11-22+00:00", "date", "2026-11-22Z", "date"),
    ("-0000-01-01", "date", "0000-01-01", "date"),
    ("2026Z", "gYear", "2026Z", "gYear"),
    ("2026-11-14:00", "gYearMonth", "2026-11-14:00", "gYearMonth"),
    ("--02-29", "gMonthDay", "--02-29", "gMonthDay"),
    ("---31", "gDay", "---31", "gDay"),
    ("--12", "gMonth", "--12", "gMonth"),
    ("P1Y13M", "duration", "P2Y1M", "duration"),
    ("PT90061.50S", "duration", "P1DT1H1M1.5S", "duration"),
    ("-P0Y", "duration", "PT0S", "duration"),
    ("PT24H", "dayTimeDuration", "P1D", "dayTimeDuration"),
    ("P0D", "dayTimeDuration", "PT0S", "dayTimeDuration"),
    # More digits than a decimal of Python's default context keeps.
    (
        "P99999999999999999999999999DT0.000000000000000000001S",
        "dayTimeDuration",
        "P99999999999999999999999999DT0.000000000000000000001S",
        "dayTimeDuration",
    ),
    ("P25M", "yearMonthDuration", "P2Y1M", "yearMonthDuration"),
    ("-P0Y", "yearMonthDuration", "P0M", "yearMonthDuration"),
    ("no line break", "normalizedString", "no line break", "normalizedString"),
    ("one two", "token", "one two", "token"),
    ("no\u00a0break", "token", "no\u00a0break", "token"),
    ("en-GB", "language", "en-GB", "language"),
    ("_name.1", "NCName", "_name.1", "NCName"),
    ("a:b", "Name", "a:b", "Name"),
    ("-1a", "NMTOKEN", "-1a", "NMTOKEN"),
    ("http://example.org/%7Ea?b#c", "anyURI", "http://example.org/%7Ea?b#c", "anyURI"),
    ("0fB7", "hexBinary", "0FB7", "hexBinary"),
    ("Y Q = =", "base64Binary", "YQ==", "base64Binary"),
    ("anything", "QName", "anything", "QName"),
]

REFUSED = [
    ("256", "byte"),
    ("-129", "byte"),
    ("32768", "short"),
    ("2147483648", "int"),
    ("9223372036854775808", "long"),
    ("-5", "nonNegativeInteger"),
    ("0", "positiveInteger"),
    ("1", "nonPositiveInteger"),
    ("0", "negativeInteger"),
    ("256", "unsignedByte"),
    ("65536", "unsignedShort"),
    ("4294967296", "unsignedInt"),
    ("18446744073709551616", "unsignedLong"),
    ("-1", "unsignedLong"),
    ("1.0", "integer"),
    ("one", "integer"),
    (" 1", "integer"),
    ("1\n", "integer"),
    ("\u0661", "integer"),  # a digit, but not of ASCII
    ("", "integer"),
    (HUGE, "integer"),
    ("TRUE", "boolean"),
    ("yes", "boolean"),
    ("1e3", "decimal"),
    (".", "decimal"),
    ("", "decimal"),
    ("INF", "decimal"),
    ("1,5", "decimal"),
    ("inf", "double"),
    ("1e", "double"),
    ("0x10", "double"),
    ("nan", "float"),
    ("2020-02-30", "date"),
    ("2023-02-29", "date"),
    ("20-02-03", "date"),
    ("02026-01-01", "date"),
    ("2026-1-1", "date"),
    ("2026-01-01+14:01", "date"),
    ("2026-13-01T00:00:00Z", "dateTime"),
    ("2026-01-01 00:00:00", "dateTime"),
    ("2026-01-01T24:00:01Z", "dateTime"),
    ("2026-01-01T00:00:60Z", "dateTime"),
    ("2026-01-01T00:00:00", "dateTimeStamp"),
    ("25:00:00", "time"),
    ("10:00", "time"),
    ("26", "gYear"),
    ("2026-13", "gYearMonth"),
    ("--02-30", "gMonthDay"),
    ("---32", "gDay"),
    ("--13", "gMonth"),
    ("P", "duration"),
    ("PT", "duration"),
    ("P1DT", "duration"),
    ("P1S", "duration"),
    ("1D", "duration"),
    ("P1.5D", "duration"),
    ("PT.5S", "duration"),
    ("P1M", "dayTimeDuration"),
    ("P1D", "yearMonthDuration"),
    ("P1YT0S", "yearMonthDuration"),
    ("two\nlines", "normalizedString"),
    ("two  blanks", "token"),
    (" token", "token"),
    ("toolongatag", "language"),
    ("1name", "NCName"),
    ("a:b", "NCName"),
    ("", "Name"),
    ("a b", "NMTOKEN"),
    ("http://a b", "anyURI"),
    ("<http://a>", "anyURI"),
    ("abc", "hexBinary"),
    ("0g", "hexBinary"),
    ("YQ=", "base64Binary"),
    ("YR==", "base64Binary"),  # bits that no byte has
    ("Y!Q=", "base64Binary"),
]


def typed(value: str, name: str) -> Literal:
    return Literal(value, datatype=NamedNode(XSD + name))


def through_the_store(literal: Literal) -> Literal:
    store = Store()
    store.add(Quad(NamedNode("http://e/s"), NamedNode("http://e/p"), literal))
    (quad,) = store
    assert isinstance(quad.object, Literal)
    return quad.object


@pytest.mark.parametrize(
    ("value", "datatype", "canonical", "kept"), CANONICAL, ids=lambda item: item[:40]
)
def test_a_literal_takes_its_canonical_form(
    value: str, datatype: str, canonical: str, kept: str
) -> None:
    found = canonical_literal(typed(value, datatype))
    assert found == typed(canonical, kept)
    assert canonical_literal(found) == found
    assert through_the_store(found) == found


@pytest.mark.parametrize(("value", "datatype"), REFUSED, ids=lambda item: repr(item)[:40])
def test_what_its_datatype_does_not_have_is_refused(value: str, datatype: str) -> None:
    with pytest.raises(IllTypedLiteral, match=f"not in the lexical space of xsd:{datatype}") as why:
        canonical_literal(typed(value, datatype))
    assert len(str(why.value)) < 200


def test_every_datatype_of_the_code_is_in_the_tables() -> None:
    from ontology.literals import _CANONICAL, _INTEGER_BOUNDS

    named = {row[1] for row in CANONICAL}
    assert set(_CANONICAL) | set(_INTEGER_BOUNDS) <= named
    assert {name for name in named if name in _INTEGER_BOUNDS} == set(_INTEGER_BOUNDS)


def test_language_tags_are_kept_in_lower_case() -> None:
    assert canonical_literal(Literal("x", language="en-GB")) == Literal("x", language="en-gb")


def test_a_language_string_needs_its_tag() -> None:
    with pytest.raises(IllTypedLiteral, match="needs its language tag"):
        canonical_literal(Literal("x", datatype=NamedNode(RDF + "langString")))


def test_directional_strings_are_not_taken_yet() -> None:
    with pytest.raises(UnsupportedTerm, match="directional"):
        canonical_literal(Literal("x", language="ar", direction=BaseDirection.RTL))


def test_other_datatypes_are_left_as_they_are() -> None:
    literal = Literal("007", datatype=NamedNode("http://example.org/agent"))
    assert canonical_literal(literal) == literal
    assert through_the_store(literal) == literal


DIGITS = st.text(string.digits, min_size=1, max_size=30)
SIGNS = st.sampled_from(["", "-", "+"])
ZONES = st.sampled_from(["", "Z", "+00:00", "-00:00", "+05:30", "-14:00", "+13:59"])
FRACTIONS = st.one_of(st.just(""), DIGITS.map(lambda digits: "." + digits))
CLOCKS = st.builds(
    "{:02d}:{:02d}:{:02d}{}".format,
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
    FRACTIONS,
)
DATES = st.dates(min_value=date(1, 1, 1)).map(date.isoformat)
PARTS = st.integers(0, 10**12)
LITERALS = st.one_of(
    st.builds(typed, st.builds("{}{}".format, SIGNS, DIGITS), st.just("integer")),
    st.builds(
        typed,
        st.builds("{}{}{}".format, SIGNS, DIGITS, FRACTIONS),
        st.sampled_from(["decimal", "double", "float"]),
    ),
    st.builds(
        typed,
        st.builds("{}{}{}e{}".format, SIGNS, DIGITS, FRACTIONS, st.integers(-400, 400)),
        st.sampled_from(["double", "float"]),
    ),
    st.floats(allow_nan=False).map(
        lambda number: typed(repr(number).replace("inf", "INF"), "double")
    ),
    st.builds(typed, st.builds("{}{}".format, DATES, ZONES), st.just("date")),
    st.builds(typed, st.builds("{}T{}{}".format, DATES, CLOCKS, ZONES), st.just("dateTime")),
    st.builds(typed, st.builds("{}{}".format, CLOCKS, ZONES), st.just("time")),
    st.builds(
        typed,
        st.builds(
            "{}P{}DT{}H{}M{}S".format, st.sampled_from(["", "-"]), PARTS, PARTS, PARTS, PARTS
        ),
        st.sampled_from(["duration", "dayTimeDuration"]),
    ),
    st.builds(
        typed,
        st.builds("{}P{}Y{}M".format, st.sampled_from(["", "-"]), PARTS, PARTS),
        st.sampled_from(["duration", "yearMonthDuration"]),
    ),
    st.binary(max_size=40).map(lambda data: typed(data.hex(), "hexBinary")),
    st.text(max_size=60).map(Literal),
    st.builds(Literal, st.text(max_size=20), language=st.sampled_from(["en", "de-AT", "zh-Hant"])),
)


@given(LITERALS)
def test_the_store_leaves_the_canonical_form_alone(literal: Literal) -> None:
    canonical = canonical_literal(literal)
    assert canonical_literal(canonical) == canonical
    assert through_the_store(canonical) == canonical


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_a_decimal_keeps_its_value(number: object) -> None:
    from decimal import Decimal

    assert isinstance(number, Decimal)
    found = canonical_literal(typed(format(number, "f"), "decimal"))
    assert Decimal(found.value) == number


@given(st.floats(allow_nan=False))
def test_a_double_keeps_its_value(number: float) -> None:
    found = canonical_literal(typed(repr(number).replace("inf", "INF"), "double"))
    assert float(found.value) == number
    assert "e" not in found.value.lower()
