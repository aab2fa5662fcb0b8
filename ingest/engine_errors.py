"""What ClickHouse says went wrong, in words for whoever asked.

Invariant: an explanation holds no path, version or stack trace of the server, nothing of what we
added to the query, and, for somebody who may not see every row, no value out of a row.
Source: https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
"""

from __future__ import annotations

import re

from ingest.errors import (
    QueryInvalid,
    QueryLimitReached,
    QueryRefused,
    WarehouseError,
    WarehouseUnavailable,
)

_LIMITS = frozenset(
    {
        "MEMORY_LIMIT_EXCEEDED",
        "QUERY_WAS_CANCELLED",
        "TIMEOUT_EXCEEDED",
        "TOO_MANY_BYTES",
        "TOO_MANY_ROWS",
        "TOO_MANY_ROWS_OR_BYTES",
        "TOO_SLOW",
    }
)
_REFUSALS = frozenset({"ACCESS_DENIED", "FUNCTION_NOT_ALLOWED", "READONLY"})
# Errors in the query as written; the messages of all others may quote values out of rows.
_STATIC = frozenset(
    {
        "AMBIGUOUS_IDENTIFIER",
        "ILLEGAL_TYPE_OF_ARGUMENT",
        "MULTIPLE_EXPRESSIONS_FOR_ALIAS",
        "NOT_AN_AGGREGATE",
        "NUMBER_OF_ARGUMENTS_DOESNT_MATCH",
        "SYNTAX_ERROR",
        "TOO_DEEP_AST",
        "TOO_DEEP_RECURSION",
        "UNKNOWN_AGGREGATE_FUNCTION",
        "UNKNOWN_FUNCTION",
        "UNKNOWN_IDENTIFIER",
        "UNKNOWN_TABLE",
    }
)
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)\s*(?:\(version [^)]*\))?\s*\Z")
# What the client puts around the words of a server.
_WRAPPING = re.compile(
    r"\A(?:HTTPDriver for \S+ |Received ClickHouse exception).*?server response: "
    r"|\s*\(for url [^)]*\)\s*\Z",
    re.DOTALL,
)
_NOISE = re.compile(
    r"Code: \d+\. |DB::Exception: |\(version [^)]*\)|(?:: )?In scope .*|: [Ww]hile executing .*"
    r"|Stack trace:.*|SETTINGS .*|FORMAT \w+\. ",
    re.DOTALL,
)
_MAX_EXPLANATION = 500


def explain(message: str, *, hide: str, show_values: bool) -> WarehouseError:
    """The error that a message of the engine amounts to.

    ``hide`` is the folder of the engine, ``show_values`` whether the asker may see every row.
    """
    found = _NAME.search(_WRAPPING.sub("", message.strip()))
    name = found[1] if found else ""
    if not name:
        return WarehouseUnavailable("the facts gave no answer; ask again later", retry_after=5)
    said = clean(message, hide)
    if name in _LIMITS:
        return QueryLimitReached(
            f"{said} Ask for less: a narrower time, fewer columns, an earlier LIMIT."
        )
    if name in _REFUSALS:
        return QueryRefused(said)
    if not show_values and name not in _STATIC:
        return QueryInvalid(f"the query failed while it ran ({name})")
    return QueryInvalid(said)


def clean(message: str, hide: str) -> str:
    """The sentence in a message, without what is no business of the asker."""
    said = _NAME.sub("", _NOISE.sub("", _WRAPPING.sub("", message.strip())))
    said = said.replace(hide, "(facts)") if hide else said
    return (said.strip(" .:")[:_MAX_EXPLANATION] or "no reason given") + "."
