"""Which tables a database statement reads and writes.

Invariant: only names of tables leave this module. The text of a statement, which may hold secrets,
is parsed, never kept in an answer, an error or a log line. What can't be parsed yields nothing: a
table is never guessed.
Source: https://sqlglot.com/ (parser), https://opentelemetry.io/docs/specs/semconv/database/
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

MAX_STATEMENT = 8192

# The parser quotes statements in its warnings, and a statement may hold a secret.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

# `db.system.name` values (with their older spellings) and the SQL they speak. A system that speaks
# another language has no entry: its datasets come from the collection attribute alone.
_DIALECTS = {
    "sqlite": "sqlite",
    "postgresql": "postgres",
    "cockroachdb": "postgres",
    "aws.redshift": "redshift",
    "mysql": "mysql",
    "mariadb": "mysql",
    "microsoft.sql_server": "tsql",
    "oracle.db": "oracle",
    "clickhouse": "clickhouse",
    "duckdb": "duckdb",
    "trino": "trino",
    "presto": "presto",
    "hive": "hive",
    "spark": "spark",
    "databricks": "databricks",
    "snowflake": "snowflake",
    "bigquery": "bigquery",
    "gcp.bigquery": "bigquery",
    "teradata": "teradata",
    "gcp.spanner": "",
    "ibm.db2": "",
    "derby": "",
    "h2database": "",
    "hsqldb": "",
    "firebirdsql": "",
    "sap.hana": "",
    "sap.maxdb": "",
    "other_sql": "",
}

# A database's own catalog describes data, it isn't the organisation's data.
_CATALOG_SCHEMAS = frozenset(
    {"information_schema", "pg_catalog", "performance_schema", "sys", "system"}
)
_CATALOG_TABLES = re.compile(r"(?:sqlite_|pg_|duckdb_)\w+\Z")

# One spelling for the parser: MySQL's and SQLite's REPLACE is an insert, and the warehouse prints
# "?.." for a list of literals.
_REPLACE = re.compile(r"\A\s*replace\s+(?=into\b)", re.IGNORECASE)
_LITERALS = re.compile(r"\?\.\.")

# Spellings differ by driver ("insertOne", "insert_one", "PutItem"): compared in lower case, without
# underscores.
_READ_VERBS = frozenset(
    {"select", "find", "findone", "get", "getitem", "batchgetitem", "query", "scan", "search"}
    | {"msearch", "count", "countdocuments", "aggregate", "distinct", "mget", "exists", "read"}
)
_WRITE_VERBS = frozenset(
    {"insert", "insertone", "insertmany", "update", "updateone", "updatemany", "delete"}
    | {"deleteone", "deletemany", "replace", "replaceone", "upsert", "put", "putitem", "merge"}
    | {"updateitem", "deleteitem", "batchwriteitem", "save", "remove", "bulk", "bulkwrite"}
    | {"findandmodify", "findoneandupdate", "index", "create", "drop", "alter", "truncate"}
    | {"write"}
)


@dataclass(frozen=True)
class Tables:
    """Names of the tables a statement reads and of those it writes."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.reads or self.writes)


NO_TABLES = Tables()


def speaks_sql(system: str) -> bool:
    """Whether this ``db.system.name`` is a system whose statements are SQL."""
    return system in _DIALECTS


def tables(system: str, statement: str, collection: str, verb: str) -> Tables | None:
    """What a database operation touches, from the attributes of its span.

    ``statement`` is ``db.query.text``, ``collection`` ``db.collection.name`` and ``verb``
    ``db.operation.name``; each may be empty. The statement says most, so it is asked first.
    ``None`` when there is a statement and nothing of it could be understood.
    """
    found: Tables | None = NO_TABLES
    if statement and speaks_sql(system):
        found = _parsed(_DIALECTS[system], statement[:MAX_STATEMENT])
        if found:
            return found
    name = collection_name(system, collection)
    # An operation's name may carry more than the verb ("SELECT shop.orders").
    word = (verb or statement).strip().split(maxsplit=1)
    action = word[0].lower().replace("_", "") if word else ""
    if name and action in _READ_VERBS:
        return Tables(reads=frozenset({name}))
    if name and action in _WRITE_VERBS:
        return Tables(writes=frozenset({name}))
    return found


def collection_name(system: str, collection: str) -> str:
    """The name of a collection as a parsed statement would spell it; empty for a catalog's."""
    collection = collection.strip()
    if not collection or not speaks_sql(system):
        return collection
    dialect = _DIALECTS[system]
    try:
        table = exp.to_table(collection, dialect=dialect or None)
    except (SqlglotError, RecursionError, ValueError):
        return collection
    return _name(table, dialect) or ""


@lru_cache(maxsize=1024)
def _parsed(dialect: str, statement: str) -> Tables | None:
    """``None`` for a text that the parser can't make sense of as a whole."""
    text = _LITERALS.sub("?", _REPLACE.sub("INSERT ", statement))
    try:
        trees = sqlglot.parse(text, dialect=dialect or None)
    except (SqlglotError, RecursionError, ValueError):
        return None
    reads: set[str] = set()
    writes: set[str] = set()
    for tree in trees:
        if isinstance(tree, exp.Command):
            # What the grammar has no rule for: EXPLAIN, VACUUM, a trigger's definition.
            continue
        if isinstance(tree, exp.Expression):
            found = _tables_of(tree, dialect)
            reads |= found.reads
            writes |= found.writes
    return Tables(frozenset(reads), frozenset(writes))


def _tables_of(tree: exp.Expression, dialect: str) -> Tables:
    if isinstance(tree, exp.Create | exp.Drop) and str(tree.args.get("kind") or "") != "TABLE":
        # Views, indexes and functions are no datasets of their own, and making one moves no row.
        return NO_TABLES
    local = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    aliases = {table.alias.lower(): table for table in tree.find_all(exp.Table) if table.alias}
    targets = {id(table) for table in _targets(tree)}
    reads: set[str] = set()
    writes: set[str] = set()
    for table in tree.find_all(exp.Table):
        if table.find_ancestor(exp.Reference):
            # A foreign key names a table without touching its rows.
            continue
        target = id(table) in targets
        meant = table
        if target and not table.db and isinstance(table.parent, exp.Delete | exp.Update):
            # "DELETE o FROM orders AS o" names its target by the alias.
            meant = aliases.get(table.name.lower(), table)
        name = None if not meant.db and meant.name.lower() in local else _name(meant, dialect)
        if name:
            (writes if target else reads).add(name)
    if any(node.args.get("tables") for node in tree.find_all(exp.Delete)):
        # There the target stands a second time, among the tables of FROM.
        reads -= writes
    return Tables(frozenset(reads), frozenset(writes))


def _targets(tree: exp.Expression) -> Iterator[exp.Table]:
    """The tables that the statement, or a statement inside it, changes."""
    for node in tree.find_all(
        exp.Insert, exp.Update, exp.Merge, exp.Copy, exp.Alter, exp.Into, exp.Create
    ):
        yield from _first_table(node.this)
    for node in tree.find_all(exp.Delete):
        named = node.args.get("tables") or ()
        yield from (table for table in named if isinstance(table, exp.Table))
        if not named:
            yield from _first_table(node.this)
    for node in tree.find_all(exp.Drop):
        yield from (
            table for table in node.args.get("tables") or () if isinstance(table, exp.Table)
        )
        yield from _first_table(node.this)
    for node in tree.find_all(exp.TruncateTable):
        yield from (table for table in node.expressions if isinstance(table, exp.Table))


def _first_table(node: object) -> Iterator[exp.Table]:
    if isinstance(node, exp.Schema):
        node = node.this
    if isinstance(node, exp.Table):
        yield node


def _name(table: exp.Table, dialect: str) -> str | None:
    """``schema.table`` as the database would resolve it; ``None`` for what is no stored table."""
    parts = [table.args.get(key) for key in ("catalog", "db", "this")]
    names = []
    for part in parts:
        if part is None or part == "":
            continue
        if not isinstance(part, exp.Identifier):
            return None
        folded = normalize_identifiers(part.copy(), dialect=dialect or None)
        names.append(folded.name)
    if not names or not all(name.strip() for name in names):
        return None
    if any(name.lower() in _CATALOG_SCHEMAS for name in names[:-1]):
        return None
    if _CATALOG_TABLES.match(names[-1].lower()):
        return None
    # SQLite's own name for the file that is open says nothing.
    if dialect == "sqlite" and len(names) == 2 and names[0] in ("main", "temp"):
        names = names[1:]
    return ".".join(names)
