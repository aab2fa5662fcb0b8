"""Names that stay few: what differs from one request to the next is taken out of them.

Invariant: a name that leaves here was shortened, never made up: it holds words of the attribute it
came from, `{id}` where an identifier stood, and no value out of a statement's text.
Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#name and
https://opentelemetry.io/docs/specs/semconv/database/database-spans/#generating-a-summary-of-the-query
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

# Values that name a template or a declared thing already, and so are taken as they are.
_DECLARED = frozenset(
    {
        "http.route",
        "url.template",
        "rpc.service",
        "rpc.method",
        "code.function.name",
        "messaging.destination.template",
        "db.collection.name",
        "db.operation.name",
        "db.sql.table",
        "db.operation",
        "db.mongodb.collection",
        "db.cassandra.table",
        "db.cosmosdb.container",
        "server.address",
        "net.peer.name",
        "error.issue",
    }
)
_METHOD_KEYS = frozenset({"http.request.method", "http.method"})
# RFC 9110 and RFC 5789; the conventions call everything else _OTHER.
_METHODS = re.compile("GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|QUERY", re.IGNORECASE)
_STATEMENT_KEYS = ("db.query.text", "db.statement")
_URL_KEYS = ("url.full", "http.url")
_PAGE_KEY = "$current_url"
_SUMMARY_KEY = "db.query.summary"

_ID = "{id}"
_IDENTIFIER = re.compile(
    r"""(?ix)
      \d+                                              # a number
    | [0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}      # a UUID
    | (?=[a-z]*\d)[0-9a-f]{12,}                        # a hash or an object id
    | (?=(?:\D*\d){4})[\w-]{20,}                       # a token, a ULID, a KSUID
    | [^@\s]+@[^@\s]+                                  # a mail address
    | \[redacted\]                                     # what one was before it was kept
    """
)
_SEPARATORS = re.compile(r"([/\s?&=:,;|]+)")

# What is never closed ends with the text, so that both take time in proportion to its length.
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|''|\\.)*(?:'|\Z)", re.DOTALL)
_NAME = r"""((?:["`\[]?[\w$]+["`\]]?\.)*["`\[]?[\w$]+["`\]]?)"""
_VERB = re.compile(r"\s*(?:\(\s*)*([A-Za-z]+)")
_TARGETS = {
    "SELECT": re.compile(rf"\bFROM\s+{_NAME}", re.IGNORECASE),
    "DELETE": re.compile(rf"\bFROM\s+{_NAME}", re.IGNORECASE),
    "INSERT": re.compile(rf"\bINTO\s+(?:TABLE\s+)?{_NAME}", re.IGNORECASE),
    "REPLACE": re.compile(rf"\bINTO\s+{_NAME}", re.IGNORECASE),
    "MERGE": re.compile(rf"\bINTO\s+{_NAME}", re.IGNORECASE),
    "UPDATE": re.compile(rf"\bUPDATE\s+(?:OR\s+\w+\s+|ONLY\s+)?{_NAME}", re.IGNORECASE),
}
_DEFINITION = re.compile(
    rf"\b(?:TABLE|VIEW|INDEX)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?{_NAME}", re.IGNORECASE
)
_CHANGING = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_DEFINING = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE"})
_VERBS = re.compile(
    "SELECT|INSERT|UPDATE|DELETE|REPLACE|MERGE|WITH|CREATE|ALTER|DROP|TRUNCATE|BEGIN|COMMIT"
    "|ROLLBACK|SAVEPOINT|RELEASE|SET|SHOW|EXPLAIN|PRAGMA|CALL|EXEC|EXECUTE|VALUES|GRANT|REVOKE"
    "|VACUUM|ANALYZE|LOCK|COPY|USE|DECLARE|FETCH|CLOSE|PREPARE|DEALLOCATE"
)


def low_cardinality(value: str, key: str = "") -> str:
    """The value of an attribute as it may stand in a name."""
    if key in _DECLARED:
        return value
    if key in _METHOD_KEYS:
        return value.upper() if _METHODS.fullmatch(value) else "_OTHER"
    if key in _STATEMENT_KEYS:
        return " ".join(filter(None, summary(value)))
    if "://" in value:
        value = _path(value)
    value = value.partition("?")[0]
    return "".join(
        _ID if _IDENTIFIER.fullmatch(part) else part for part in _SEPARATORS.split(value)
    )


def derived(key: str, attributes: Mapping[str, str]) -> str:
    """An attribute that some senders leave inside another one; empty if there is none."""
    if key in ("db.operation.name", "db.collection.name"):
        statement = next((attributes[name] for name in _STATEMENT_KEYS if attributes.get(name)), "")
        found = summary(statement)[key == "db.collection.name"] if statement else ""
        return found or _of_summary(attributes.get(_SUMMARY_KEY, ""), key)
    if key == "server.address":
        return next((_host(attributes[name]) for name in _URL_KEYS if attributes.get(name)), "")
    if key == "$pathname":
        return _path(attributes[_PAGE_KEY]) if attributes.get(_PAGE_KEY) else ""
    return ""


@lru_cache(maxsize=4096)
def summary(statement: str) -> tuple[str, str]:
    """Verb and table of a database statement, either empty where it can't be told."""
    plain = _QUOTED.sub("''", _COMMENT.sub(" ", statement))
    found = _VERB.match(plain)
    verb = found[1].upper() if found else ""
    if not _VERBS.fullmatch(verb):
        return "", ""
    if verb == "WITH":
        # The statement that the common table expressions stand before.
        changing = _CHANGING.search(plain)
        return (changing[0].upper() if changing else "SELECT"), ""
    pattern = _DEFINITION if verb in _DEFINING else _TARGETS.get(verb)
    table = pattern.search(plain) if pattern else None
    return verb, re.sub(r'["`\[\]]', "", table[1]) if table else ""


def _of_summary(said: str, key: str) -> str:
    """Verb or target of a summary, which begins with both."""
    words = said.split(maxsplit=2)
    place = int(key == "db.collection.name")
    return words[place] if len(words) > place else ""


def without_values(statement: str) -> str:
    """A database statement without comments and the texts in it: its values, when they stand there
    in quotes, may be anything."""
    return _QUOTED.sub("'?'", _COMMENT.sub(" ", statement))


def _path(url: str) -> str:
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
