"""Which SQL may run on the facts: a check on the syntax tree, never on the text.

Invariant: what passes is one SELECT over the tables of the facts, built from functions that compute
on values alone: no files, no network, no other database, no settings, no output clause, nothing
that waits. The tree is the engine's own (``parseQueryToJSON``), and what runs is written back from
that same tree, so that the checked and the executed query can't differ.
Everything is an allow-list: what a newer engine brings along is refused until it is listed.
Source: https://clickhouse.com/docs/operations/settings/permissions-for-queries for what the
engine's own read-only mode leaves open
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ingest.errors import QueryRefused


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Categories of system.functions whose members compute on their arguments alone.
CATEGORIES = frozenset(
    {
        "Aggregate Functions",
        "Arithmetic",
        "Arrays",
        "Bit",
        "Bitmap",
        "Comparison",
        "Conditional",
        "Dates and Times",
        "Distance",
        "Encoding",
        "Hash",
        "IP Address",
        "JSON",
        "Logical",
        "Map",
        "Mathematical",
        "Null",
        "Random Number",
        "Rounding",
        "String",
        "String Replacement",
        "String Search",
        "String Splitting",
        "Time Window",
        "Tuple",
        "Type Conversion",
        "URL",
        "UUID",
    }
)
# Of the categories above: what takes time in proportion to the square of its arguments, within one
# row, where the engine doesn't look at its time limit.
_NEVER = _words(
    """
    arrayAutocorrelation arrayLevenshteinDistance arrayLevenshteinDistanceWeighted arraySimilarity
    chdb damerauLevenshteinDistance editDistance editDistanceUTF8 jaroSimilarity
    jaroWinklerSimilarity
    """
)
# Harmless members of the category "Other", and what the parser makes of operators.
_ALSO = _words(
    """
    bar byteSize countDigits exists finalizeAggregation formatReadableDecimalSize
    formatReadableQuantity formatReadableSize formatReadableTimeDelta grouping identity ignore
    isConstant isDecimalOverflow lambda materialize normalizeQuery normalizeQueryKeepNames
    normalizedQueryHash parseReadableSize parseTimeDelta rowNumberInAllBlocks toColumnTypeName
    toTypeName transform untuple
    """
)
_TABLE_FUNCTIONS = frozenset(
    {"numbers", "numbers_mt", "zeros", "values", "SQLStandardValues", "generateSeries"}
    | {"generate_series"}
)
_FOREIGN_DATABASES = frozenset({"system", "information_schema"})

_NODES = _words(
    """
    ArrayJoin Asterisk ColumnsApplyTransformer ColumnsExceptTransformer ColumnsListMatcher
    ColumnsRegexpMatcher ColumnsReplaceTransformer ColumnsReplaceTransformerReplacement
    ColumnsTransformerList ExpressionList Function Identifier InterpolateElement Literal
    OrderByElement QualifiedAsterisk QualifiedColumnsListMatcher QualifiedColumnsRegexpMatcher
    SampleRatio SelectIntersectExceptQuery SelectQuery SelectWithUnionQuery Subquery TableExpression
    TableIdentifier TableJoin TablesInSelectQuery TablesInSelectQueryElement WindowDefinition
    WindowListElement WithElement
    """
)


class Functions:
    """The functions an engine has, and which of them a query may use."""

    def __init__(
        self, rows: list[tuple[str, bool, bool, str, str, str]], combinators: list[str]
    ) -> None:
        """``rows``: name, is_aggregate, case_insensitive, alias_to, categories and origin of
        each in ``system.functions``; ``combinators`` of ``system.aggregate_function_combinators``.
        """
        category = {name: categories for name, _, _, _, categories, _ in rows}
        self._allowed = set(_ALSO)
        self._folded: set[str] = set()
        self._aggregates: set[str] = set()
        self._combinators = tuple(combinators)
        for name, is_aggregate, case_insensitive, alias_to, categories, origin in rows:
            meant = alias_to or name
            known = (category.get(meant) or categories) in CATEGORIES or meant in _ALSO
            if origin != "System" or meant in _NEVER or not (known or is_aggregate):
                continue
            self._allowed.add(name)
            if case_insensitive:
                self._folded.add(name.lower())
            if is_aggregate:
                self._aggregates.add(name)

    def allows(self, name: str) -> bool:
        if name in self._allowed or name.lower() in self._folded:
            return True
        return self._is_combined(name)

    def _is_combined(self, name: str) -> bool:
        """Whether this is an aggregate function with combinators, such as ``sumIf``."""
        for combinator in self._combinators:
            if name.endswith(combinator) and len(name) > len(combinator):
                base = name[: -len(combinator)]
                if base in self._aggregates or base.lower() in self._folded:
                    return True
                if self._is_combined(base):
                    return True
        return False


def check(
    tree: Mapping[str, Any], functions: Functions, database: str, tables: frozenset[str]
) -> None:
    """Raises :class:`QueryRefused` unless the tree is a SELECT that may run on these tables."""
    if tree.get("type") != "SelectWithUnionQuery":
        raise not_a_select()
    known = tables | {
        str(node.get("name", "")) for node in _nodes(tree) if node["type"] == "WithElement"
    }
    for node in _nodes(tree):
        _check_node(node, functions, database, known)


def not_a_select() -> QueryRefused:
    return QueryRefused(
        "only SELECT runs here; facts come in through the receivers and are never changed by hand"
    )


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if "type" in item:
                yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _check_node(
    node: Mapping[str, Any], functions: Functions, database: str, tables: frozenset[str]
) -> None:
    kind = node["type"]
    for field in ("settings", "settings_ast", "SETTINGS"):
        if field in node:
            raise QueryRefused("leave out SETTINGS: the limits are set by the server")
    if "out_file" in node:
        raise QueryRefused("leave out INTO OUTFILE: the answer is the body of the response")
    if "format_ast" in node or "format" in node:
        raise QueryRefused("leave out FORMAT: ask for a format with the Accept header")
    if "prewhere" in node:
        raise QueryRefused("use WHERE instead of PREWHERE")
    if kind == "QueryParameter":
        raise QueryRefused("write the value into the query: it takes no parameters")
    if kind not in _NODES:
        raise QueryRefused(f"{kind} is not part of the SQL that runs here")
    if "table_function" in node:
        name = str(node["table_function"].get("name"))
        if name not in _TABLE_FUNCTIONS:
            raise QueryRefused(
                f"the table function {name} is not available: a query reads {_list(tables)} alone"
            )
    elif kind == "Function":
        _check_function(str(node.get("name")), functions)
    elif kind == "ColumnsApplyTransformer" and "func_name" in node:
        _check_function(str(node["func_name"]), functions)
    elif kind == "TableIdentifier":
        _check_table(_parts(node), database, tables)
    elif kind == "Identifier":
        # A column; but the right side of IN may name a table too.
        parts = _parts(node)
        if len(parts) > 1 and parts[0].lower() in _FOREIGN_DATABASES:
            raise _foreign(parts, tables)


def _check_function(name: str, functions: Functions) -> None:
    if not functions.allows(name) and name not in _TABLE_FUNCTIONS:
        raise QueryRefused(f"the function {name} is not available in queries on the facts")


def _check_table(parts: list[str], database: str, tables: frozenset[str]) -> None:
    if parts[-1] not in tables or (len(parts) > 1 and parts[:-1] != [database]):
        raise _foreign(parts, tables)


def _foreign(parts: list[str], tables: frozenset[str]) -> QueryRefused:
    return QueryRefused(f"{'.'.join(parts)} is not among the facts: {_list(tables)}")


def _parts(node: Mapping[str, Any]) -> list[str]:
    return [str(part) for part in node.get("name_parts") or [node.get("name", "")]]


def _list(tables: frozenset[str]) -> str:
    return ", ".join(sorted(tables))
