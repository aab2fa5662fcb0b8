"""The canonical form of literals, version 1.

Invariant: ``canonical_literal`` is a pure function from a literal to the one literal that stands
for its value here, and the store leaves what it gives alone. A lexical form outside its datatype's
lexical space is refused, never repaired: engines would launder ``"256"^^xsd:byte``.

Where several datatypes share a value, one stands for all: every type derived from ``xsd:integer``
becomes ``xsd:integer``, ``xsd:dateTimeStamp`` becomes ``xsd:dateTime``. ``xsd:double`` and
``xsd:float`` take the shortest decimal notation that reads back as the same number, without an
exponent. Everything else takes its XSD 1.1 canonical form, a time zone offset being kept.

Specification: https://www.w3.org/TR/xmlschema11-2/ , https://www.w3.org/TR/rdf11-concepts/
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from pyoxigraph import Literal, NamedNode

from ontology.errors import IllTypedLiteral, UnsupportedTerm

CANONICAL_VERSION = 1

XSD = "http://www.w3.org/2001/XMLSchema#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

_INTEGER_BOUNDS: dict[str, tuple[int | None, int | None]] = {
    "integer": (None, None),
    "long": (-(2**63), 2**63 - 1),
    "int": (-(2**31), 2**31 - 1),
    "short": (-(2**15), 2**15 - 1),
    "byte": (-128, 127),
    "nonNegativeInteger": (0, None),
    "positiveInteger": (1, None),
    "unsignedLong": (0, 2**64 - 1),
    "unsignedInt": (0, 2**32 - 1),
    "unsignedShort": (0, 2**16 - 1),
    "unsignedByte": (0, 255),
    "nonPositiveInteger": (None, 0),
    "negativeInteger": (None, -1),
}
# Python refuses to convert longer digit strings by default, and no fact needs them.
MAX_DIGITS = 4000

_ZONE = r"(?P<zone>Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)?"
_YEAR = r"(?P<year>-?(?:[1-9]\d{3,}|0\d{3}))"
_CLOCK = r"(?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d):(?P<second>[0-5]\d)(?:\.(?P<fraction>\d+))?"
_MONTH = r"(?P<month>0[1-9]|1[0-2])"
_DAY = r"(?P<day>0[1-9]|[12]\d|3[01])"

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
_DECIMAL = re.compile(r"(?P<sign>[+-]?)(?P<whole>\d*)(?:\.(?P<part>\d*))?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_DATE_TIME = re.compile(f"{_YEAR}-{_MONTH}-{_DAY}T{_CLOCK}{_ZONE}\\Z", re.ASCII)
_TIME = re.compile(f"{_CLOCK}{_ZONE}\\Z", re.ASCII)
_CALENDAR = {
    "date": re.compile(f"{_YEAR}-{_MONTH}-{_DAY}{_ZONE}\\Z", re.ASCII),
    "gYear": re.compile(f"{_YEAR}{_ZONE}\\Z", re.ASCII),
    "gYearMonth": re.compile(f"{_YEAR}-{_MONTH}{_ZONE}\\Z", re.ASCII),
    "gMonthDay": re.compile(f"--{_MONTH}-{_DAY}{_ZONE}\\Z", re.ASCII),
    "gDay": re.compile(f"---{_DAY}{_ZONE}\\Z", re.ASCII),
    "gMonth": re.compile(f"--{_MONTH}{_ZONE}\\Z", re.ASCII),
}
_DURATION = re.compile(
    r"(?P<sign>-?)P(?=[\dT])(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?"
    r"(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d+))?S)?)?\Z",
    re.ASCII,
)
_NAME_START = r"[A-Z_a-z\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u200C-\u200D\u2070-\u218F\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFFFD\U00010000-\U000EFFFF]"  # noqa: E501
_NAME_REST = _NAME_START[:-1] + r"\-.0-9\u00B7\u0300-\u036F\u203F-\u2040]"
_TEXT_PATTERNS = {
    "normalizedString": re.compile(r"[^\t\n\r]*\Z"),
    "token": re.compile(r"(?:[^ \t\n\r]+(?: [^ \t\n\r]+)*)?\Z"),
    "language": re.compile(r"[a-zA-Z]{1,8}(?:-[a-zA-Z0-9]{1,8})*\Z"),
    "NCName": re.compile(f"{_NAME_START}{_NAME_REST}*\\Z"),
    "Name": re.compile(f"(?:{_NAME_START}|:)(?:{_NAME_REST}|:)*\\Z"),
    "NMTOKEN": re.compile(f"(?:{_NAME_REST}|:)+\\Z"),
}
_ANY_URI = re.compile(r"[^\x00-\x20<>\"{}|\\^`]*\Z")


def canonical_literal(literal: Literal) -> Literal:
    """The literal that stands for this value.

    Raises :class:`IllTypedLiteral` for a lexical form its datatype does not have, and
    :class:`UnsupportedTerm` for the directional strings of RDF 1.2.
    """
    if literal.direction is not None:
        raise UnsupportedTerm(f"{literal}: directional strings of RDF 1.2 are not supported yet")
    if literal.language is not None:
        return Literal(literal.value, language=literal.language.lower())
    datatype = literal.datatype.value
    if datatype.startswith(XSD):
        return _canonical_xsd(literal, datatype[len(XSD) :])
    if datatype in (RDF + "langString", RDF + "dirLangString"):
        raise IllTypedLiteral(f"{literal}: a language-tagged string needs its language tag")
    return literal


def _canonical_xsd(literal: Literal, name: str) -> Literal:
    value = literal.value
    if name == "string":
        return literal
    if name in _INTEGER_BOUNDS:
        return _xsd(_integer(literal, value, *_INTEGER_BOUNDS[name]), "integer")
    canonical = _CANONICAL.get(name)
    if canonical is None:
        return literal
    text = canonical(value, name)
    if text is None:
        raise _ill_typed(literal)
    return _xsd(text, "dateTime" if name == "dateTimeStamp" else name)


def _xsd(value: str, name: str) -> Literal:
    return Literal(value, datatype=NamedNode(XSD + name))


def _ill_typed(literal: Literal) -> IllTypedLiteral:
    shown = literal.value if len(literal.value) <= 80 else literal.value[:77] + "..."
    name = literal.datatype.value.replace(XSD, "xsd:")
    return IllTypedLiteral(f'"{shown}" is not in the lexical space of {name}')


def _integer(literal: Literal, value: str, low: int | None, high: int | None) -> str:
    if len(value) > MAX_DIGITS or not _INTEGER.match(value):
        raise _ill_typed(literal)
    number = int(value)
    if (low is not None and number < low) or (high is not None and number > high):
        raise _ill_typed(literal)
    return str(number)


def _boolean(value: str, _name: str) -> str | None:
    return {"true": "true", "1": "true", "false": "false", "0": "false"}.get(value)


def _decimal(value: str, _name: str) -> str | None:
    match = _DECIMAL.match(value)
    if match is None or not (match["whole"] or match["part"]) or len(value) > MAX_DIGITS:
        return None
    whole = match["whole"].lstrip("0") or "0"
    part = (match["part"] or "").rstrip("0")
    text = f"{whole}.{part}" if part else whole
    return f"-{text}" if match["sign"] == "-" and text != "0" else text


def _floating(value: str, name: str) -> str | None:
    special = {"INF": "INF", "+INF": "INF", "-INF": "-INF", "NaN": "NaN"}.get(value)
    if special is not None:
        return special
    if len(value) > MAX_DIGITS or not _NUMBER.match(value):
        return None
    # Needed here alone, and a third of a second to import: query workers start without it.
    import numpy as np

    with np.errstate(over="ignore"):
        number = np.float32(value) if name == "float" else np.float64(value)
    if np.isinf(number):
        return "-INF" if number < 0 else "INF"
    return np.format_float_positional(number, unique=True, trim="-")


def _days_in_month(year: int, month: int) -> int:
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _zone(zone: str | None) -> str:
    return "Z" if zone in ("Z", "+00:00", "-00:00") else zone or ""


def _clock(match: re.Match[str]) -> tuple[str, bool] | None:
    """``(hh:mm:ss[.f], whether it is midnight at the day's end)``."""
    fraction = (match["fraction"] or "").rstrip("0")
    end_of_day = match["hour"] == "24"
    if end_of_day and (match["minute"] != "00" or match["second"] != "00" or fraction):
        return None
    hour = "00" if end_of_day else match["hour"]
    text = f"{hour}:{match['minute']}:{match['second']}"
    return (f"{text}.{fraction}" if fraction else text), end_of_day


def _year(year: int) -> str:
    return f"-{-year:04d}" if year < 0 else f"{year:04d}"


def _date_time(value: str, name: str) -> str | None:
    match = _DATE_TIME.match(value)
    if match is None or len(match["year"]) > 12 or (name == "dateTimeStamp" and not match["zone"]):
        return None
    clock = _clock(match)
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    if clock is None or day > _days_in_month(year, month):
        return None
    text, end_of_day = clock
    if end_of_day:
        day += 1
        if day > _days_in_month(year, month):
            day, month = 1, month + 1
            if month > 12:
                month, year = 1, year + 1
    return f"{_year(year)}-{month:02d}-{day:02d}T{text}{_zone(match['zone'])}"


def _time(value: str, _name: str) -> str | None:
    match = _TIME.match(value)
    clock = _clock(match) if match else None
    return None if match is None or clock is None else clock[0] + _zone(match["zone"])


def _calendar(value: str, name: str) -> str | None:
    match = _CALENDAR[name].match(value)
    if match is None:
        return None
    groups = match.groupdict()
    if len(groups.get("year") or "") > 12:
        return None
    if groups.get("day") and groups.get("month"):
        # A month-day without a year may be the leap day.
        year = int(groups["year"]) if groups.get("year") else 2000
        if int(groups["day"]) > _days_in_month(year, int(groups["month"])):
            return None
    zone = groups["zone"]
    body = value[: len(value) - len(zone)] if zone else value
    if groups.get("year"):
        # Only the year has more than one form: "-0000" is the year "0000".
        body = _year(int(groups["year"])) + body[len(groups["year"]) :]
    return body + _zone(zone)


def _duration(value: str, name: str) -> str | None:
    match = _DURATION.match(value)
    if match is None or len(value) > 60:
        return None
    part = match.groupdict()
    in_months = part["years"] or part["months"]
    in_seconds = part["days"] or part["hours"] or part["minutes"] or part["seconds"]
    if "T" in value and not (part["hours"] or part["minutes"] or part["seconds"]):
        return None
    if (name == "yearMonthDuration" and (in_seconds or "T" in value)) or (
        name == "dayTimeDuration" and in_months
    ):
        return None
    months = int(part["years"] or 0) * 12 + int(part["months"] or 0)
    seconds = (
        int(part["days"] or 0) * 86400
        + int(part["hours"] or 0) * 3600
        + int(part["minutes"] or 0) * 60
        + int(part["seconds"] or 0)
    )
    # Kept apart from the whole seconds, so that no digit is lost to rounding.
    fraction = (part["fraction"] or "").rstrip("0")
    if not months and not seconds and not fraction:
        return "P0M" if name == "yearMonthDuration" else "PT0S"
    return match["sign"] + "P" + _months_text(months) + _seconds_text(seconds, fraction)


def _months_text(months: int) -> str:
    years, months = divmod(months, 12)
    return (f"{years}Y" if years else "") + (f"{months}M" if months else "")


def _seconds_text(total: int, fraction: str) -> str:
    days, rest = divmod(total, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    clock = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    if seconds or fraction:
        clock += f"{seconds}.{fraction}S" if fraction else f"{seconds}S"
    return (f"{days}D" if days else "") + (f"T{clock}" if clock else "")


def _text(value: str, name: str) -> str | None:
    return value if _TEXT_PATTERNS[name].match(value) else None


def _any_uri(value: str, _name: str) -> str | None:
    return value if _ANY_URI.match(value) else None


def _hex_binary(value: str, _name: str) -> str | None:
    return value.upper() if re.fullmatch(r"(?:[0-9a-fA-F]{2})*", value) else None


def _base64_binary(value: str, _name: str) -> str | None:
    compact = value.replace(" ", "")
    try:
        encoded = base64.b64encode(base64.b64decode(compact, validate=True)).decode()
    except (binascii.Error, ValueError):
        return None
    # "YR==" has bits that its bytes do not: the lexical space leaves it out.
    return encoded if encoded == compact else None


_CANONICAL: dict[str, Callable[[str, str], str | None]] = {
    "boolean": _boolean,
    "decimal": _decimal,
    "double": _floating,
    "float": _floating,
    "dateTime": _date_time,
    "dateTimeStamp": _date_time,
    "time": _time,
    **dict.fromkeys(_CALENDAR, _calendar),
    **dict.fromkeys(("duration", "yearMonthDuration", "dayTimeDuration"), _duration),
    **dict.fromkeys(_TEXT_PATTERNS, _text),
    "anyURI": _any_uri,
    "hexBinary": _hex_binary,
    "base64Binary": _base64_binary,
}
