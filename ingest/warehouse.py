"""The facts: the only module that talks to ClickHouse.

Invariant: what `insert` returned from is on disk; a row with the key of an earlier one replaces it,
so that nothing counts twice; a query can neither change anything nor see more than the facts it was
granted, and ends at its limits.

The embedded engine keeps what a failed query had produced so far and hands it out with the next
answer of the same connection, so a connection on which anything failed is thrown away.
Source: https://clickhouse.com/docs/engines/table-engines/mergetree-family/replacingmergetree,
https://clickhouse.com/docs/chdb
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.engine_errors import clean, explain
from ingest.errors import (
    QueryInvalid,
    WarehouseBusy,
    WarehouseError,
    WarehouseUnavailable,
)
from ingest.events import Event
from ingest.fact_columns import to_columns
from ingest.marks import UNKEYED, Marks, Numbers
from ingest.read_only_sql import Functions, check, not_a_select
from ingest.schema import keep_for, migrate

TABLES: Final = frozenset({"events", "lifecycle", "proof_entries", "steward_lifecycle"})

MAX_SECONDS = 30.0
MAX_ROWS = 10_000
MAX_MEMORY = 512 * 1024 * 1024
MAX_RESULT_BYTES = 64 * 1024 * 1024
READERS = 2
MAX_QUERY = 64 * 1024
# The engine takes statements of 256 KiB.
_ERASED_AT_A_TIME = 2_000

# Rows with the same key collapse when they are read and merged anyway; collapsing those of one
# insert before it is written takes longer than writing it.
_INSERT_SETTINGS: Final = {"optimize_on_insert": 0}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Column names, their ClickHouse types and rows of JSON values (64-bit integers as numbers,
    times as ISO 8601 text). ``truncated`` says that there was more than the limit."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool


@dataclass(frozen=True)
class _Opened:
    """What is known of the facts once their tables are up to date."""

    identity: str
    database: str
    functions: Functions


class Warehouse:
    """The facts in a folder (embedded engine) or on a server (a clickhouse-connect DSN).

    Events are dropped ``days`` days after their receipt, 0 for never; ``by_month`` counts where the
    tables are made. ``clock`` gives nanoseconds since 1970-01-01 UTC. A folder is opened at once. A
    server is reached when it is needed, so that one that is away stops nothing but the facts.

    All calls block; call them in threads. One engine serves one process and one folder.
    """

    def __init__(
        self,
        location: Path | str,
        *,
        readers: int = READERS,
        days: int = 0,
        by_month: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._embedded = isinstance(location, Path)
        self._dsn = f"chdb:///{location.resolve()}" if isinstance(location, Path) else location
        self._folder = str(location.resolve()) if isinstance(location, Path) else location
        self._days = days
        self._by_month = by_month
        self._clock = clock
        self._opening = threading.Lock()
        self._opened: _Opened | None = None
        self._writing = threading.Lock()
        self.rewriting = threading.Lock()
        """Held from the reading of rows that are written again to their writing, and while rows are
        removed: what was removed must not come back."""
        self._writer: Client | None = None
        self._closed = False
        self._changes = 0
        # Connections that wait for a query; None stands for one that is opened when it is needed.
        self._readers: queue.LifoQueue[Client | None] = queue.LifoQueue()
        for _ in range(readers):
            self._readers.put(None)
        self._reader_count = readers
        if isinstance(location, Path):
            location.mkdir(parents=True, exist_ok=True)
            self._open()

    @property
    def identity(self) -> str:
        """Made when the tables were: another one means that the facts are to be built again.

        Raises :class:`WarehouseUnavailable` while the server can't be reached.
        """
        return self._open().identity

    def insert(
        self,
        events: Sequence[Event],
        received: Mapping[int, int] | None = None,
        rules: str = "",
        marks: Marks = UNKEYED,
    ) -> Numbers:
        """Add events, durably, and give their keys. Raises :class:`WarehouseUnavailable`; then
        trying again is safe.

        ``received`` has the receipt of each batch by its number, in nanoseconds since 1970; now, if
        it isn't there. ``rules`` is the version of the rules that the events were classified by.
        """
        keys = marks.keys(events)
        if events:
            known, now = received or {}, self._clock()
            moments = [known.get(event.seq, now) for event in events]
            self.insert_columns(
                to_columns(events, moments, rules, marks.checksums(events, keys, rules))
            )
        return keys

    def insert_columns(self, columns: pa.Table) -> None:
        """The same of events that were laid out as columns."""
        self._insert(
            lambda client: client.insert_arrow("events", columns, settings=_INSERT_SETTINGS)
        )

    def insert_rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Add rows to one of the other tables, durably. Times are ``datetime`` or integers in the
        column's own unit."""
        if table not in TABLES:
            raise WarehouseError(f"there is no table {table}")
        if rows:
            values = [list(column) for column in zip(*rows, strict=True)]
            names = list(columns)
            self._insert(
                lambda client: client.insert(
                    table, values, column_names=names, column_oriented=True
                )
            )

    def scan(self, condition: str, columns: Sequence[str], size: int) -> Iterator[pa.Table]:
        """The events for which ``condition`` (SQL of our own) holds, in pages of the order of their
        key, which is among the ``columns``. Raises as :meth:`query` does."""
        kinds = f"SELECT DISTINCT project, source FROM events WHERE {condition} ORDER BY ALL"
        names = ", ".join(columns)
        for project, source in self.query(kinds).rows:
            of_kind = f"{condition} AND project = {text(project)} AND source = {text(source)}"
            after = ""
            while True:
                page = self._page(
                    f"SELECT {names} FROM events FINAL WHERE {of_kind}{after}"
                    f" ORDER BY project, source, event_id LIMIT {size:d}"
                )
                if page.num_rows:
                    yield page
                if page.num_rows < size:
                    break
                after = f" AND event_id > {text(page.column('event_id')[-1].as_py())}"

    def _page(self, sql: str) -> pa.Table:
        try:
            with self._reader(MAX_SECONDS) as client:
                return client.query_arrow(sql)
        except ClickHouseError as error:
            raise self._explained(error, show_values=True) from error

    @property
    def changes(self) -> int:
        """A number that is another one whenever rows were written or erased here."""
        return self._changes

    def erase(self, batches: Collection[str], attributes: Mapping[str, str]) -> None:
        """Remove the events of these batches (commitments), of those that have all these attributes
        alone; durably, from the files as well once the engine has cleared the parts it replaced.
        Raises :class:`WarehouseUnavailable`; then trying again is safe."""
        every = sorted(batches)
        having = "".join(
            f" AND attributes[{text(key)}] = {text(value)}" for key, value in attributes.items()
        )
        for start in range(0, len(every), _ERASED_AT_A_TIME):
            some = ", ".join(map(text, every[start : start + _ERASED_AT_A_TIME]))
            try:
                with self.rewriting, self._write() as client:
                    client.command(
                        f"ALTER TABLE events DELETE WHERE batch IN ({some}){having}"
                        " SETTINGS mutations_sync = 1"
                    )
                    self._changes += 1
            except (ClickHouseError, OSError) as error:
                raise WarehouseUnavailable(
                    f"the facts could not be erased ({clean(str(error), self._folder)}); it is"
                    " tried again"
                ) from error

    def query(
        self,
        sql: str,
        *,
        max_seconds: float = MAX_SECONDS,
        max_rows: int = MAX_ROWS,
        max_memory: int = MAX_MEMORY,
        hidden_projects: Collection[str] = (),
        trusted_only: bool = False,
    ) -> Result:
        """Answer one SELECT; rows of ``hidden_projects`` are not there for it, and with
        ``trusted_only`` no events either but those of trusted senders.

        Raises :class:`QueryInvalid`, :class:`QueryRefused`, :class:`QueryLimitReached`,
        :class:`WarehouseBusy`, :class:`WarehouseUnavailable`.
        """
        if len(sql) > MAX_QUERY:
            raise QueryInvalid(f"a query may have {MAX_QUERY} characters")
        opened = self._open()
        settings: dict[str, str | float] = {
            "readonly": 1,
            "final": 1,
            "limit": max_rows + 1,
            "max_execution_time": max_seconds,
            "timeout_overflow_mode": "throw",
            "max_memory_usage": max_memory,
            "max_result_bytes": MAX_RESULT_BYTES,
            "result_overflow_mode": "throw",
            "max_threads": 2,
            "date_time_output_format": "iso",
            "output_format_json_quote_64bit_integers": 0,
            "output_format_json_quote_denormals": 0,
            "output_format_json_validate_utf8": 1,
        }
        if hidden_projects or trusted_only:
            settings["additional_table_filters"] = _filters(
                opened.database, hidden_projects, trusted_only
            )
            # Conditions of the query must not run on rows before that filter did.
            settings["optimize_move_to_prewhere"] = 0
        try:
            with self._reader(max_seconds) as client:
                checked = self._checked(client, sql, opened)
                # The filter and the limits bind at the outermost SELECT, also for a UNION.
                answer = client.raw_query(
                    f"SELECT * FROM ({checked})\nSETTINGS {_clause(settings)}",
                    fmt="JSONCompactEachRowWithNamesAndTypes",
                )
        except ClickHouseError as error:
            raise self._explained(error, show_values=not hidden_projects) from error
        lines = answer.splitlines()
        if not lines:
            return Result((), (), (), False)
        names, types = json.loads(lines[0]), json.loads(lines[1])
        rows = [tuple(json.loads(line)) for line in lines[2:]]
        return Result(tuple(names), tuple(types), tuple(rows[:max_rows]), len(rows) > max_rows)

    def counts(self) -> dict[str, int]:
        """``events`` in all and how many of them are ``unclassified``."""
        result = self.query("SELECT count() AS events, countIf(class = '') AS none FROM events")
        return {"events": int(result.rows[0][0]), "unclassified": int(result.rows[0][1])}

    def close(self) -> None:
        """Let go of the engine, after running queries have ended."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._reader_count):
            client = self._readers.get()
            if client is not None:
                client.close()
        with self._writing:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _insert(self, insert: Callable[[Client], object]) -> None:
        self._open()
        try:
            with self._write() as client:
                try:
                    insert(client)
                finally:
                    # What failed may have been written all the same.
                    self._changes += 1
        except (ClickHouseError, OSError) as error:
            raise WarehouseUnavailable(
                f"the facts could not be written ({clean(str(error), self._folder)});"
                " they are kept in the inbox"
            ) from error

    def _open(self) -> _Opened:
        """Bring the tables up to date, the first time."""
        with self._opening:
            if self._opened is None:
                try:
                    with self._write() as client:
                        self._opened = self._prepared(client)
                except (ClickHouseError, OSError) as error:
                    raise self._unopened(error) from error
            return self._opened

    def _prepared(self, client: Client) -> _Opened:
        engine = _Engine(client)
        identity = migrate(engine, self._now, by_month=self._by_month)
        keep_for(engine, self._days)
        database = str(client.command("SELECT currentDatabase()"))
        return _Opened(identity, database, _functions(client))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1e9, UTC)

    def _checked(self, client: Client, sql: str, opened: _Opened) -> str:
        """The query as written back from its syntax tree, after the tree was checked."""
        if "\x00" in sql:
            raise QueryInvalid("the query holds a NUL character; leave it out")
        try:
            parsed = client.raw_query(f"SELECT parseQueryToJSON({text(sql)})", fmt="RawBLOB")
        except ClickHouseError as error:
            if "not supported by parseQueryToJSON" in str(error):
                raise not_a_select() from error
            raise
        try:
            tree = parsed.decode()
        except UnicodeDecodeError:
            raise QueryInvalid("write bytes that are not UTF-8 with unhex('...')") from None
        check(json.loads(tree), opened.functions, opened.database, TABLES)
        written = client.raw_query(f"SELECT formatQueryFromJSON({text(tree)})", fmt="RawBLOB")
        return written.decode()

    @contextmanager
    def _write(self) -> Iterator[Client]:
        with self._writing:
            if self._closed:
                raise _closing()
            client, self._writer = self._writer or self._connect(), None
            try:
                yield client
            except BaseException:
                client.close()
                raise
            self._writer = client

    @contextmanager
    def _reader(self, patience: float) -> Iterator[Client]:
        if self._closed:
            raise _closing()
        try:
            client = self._readers.get(timeout=patience)
        except queue.Empty:
            raise WarehouseBusy(
                "every reader of the facts is busy; ask again later", retry_after=5
            ) from None
        try:
            if self._closed:
                raise _closing()
            client = client or self._connect()
            yield client
        except BaseException:
            if client is not None:
                client.close()
                client = None
            raise
        finally:
            self._readers.put(client)

    def _connect(self) -> Client:
        try:
            return clickhouse_connect.get_client(dsn=self._dsn)
        except ClickHouseError as error:
            raise self._unopened(error) from error

    def _explained(self, error: ClickHouseError, *, show_values: bool) -> WarehouseError:
        return explain(str(error), hide=self._folder, show_values=show_values)

    def _unopened(self, error: Exception) -> WarehouseUnavailable:
        if not self._embedded:
            # Whoever asks for facts learns nothing of where they lie.
            log.warning("the ClickHouse server of the facts: %s", clean(str(error), self._dsn))
            return WarehouseUnavailable(
                "the ClickHouse server of the facts can't be reached; ask again later",
                retry_after=5,
            )
        return WarehouseUnavailable(
            f"the facts could not be opened ({clean(str(error), self._folder)}); if the folder is"
            " damaged, stop the server and move it away: it is rebuilt from the inbox"
        )


class _Engine:
    """A connection, as migrations use it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def command(self, sql: str) -> None:
        self._client.command(sql)

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        return self._client.query(sql).result_rows


def _closing() -> WarehouseUnavailable:
    return WarehouseUnavailable("the server is shutting down; ask again later", retry_after=5)


def _functions(client: Client) -> Functions:
    rows = client.query(
        "SELECT name, is_aggregate, case_insensitive, alias_to, categories, toString(origin)"
        " FROM system.functions"
    ).result_rows
    combinators = client.query("SELECT name FROM system.aggregate_function_combinators").result_rows
    return Functions(
        [
            (name, bool(a), bool(b), alias, group, origin)
            for name, a, b, alias, group, origin in rows
        ],
        [name for (name,) in combinators],
    )


def _filters(database: str, hidden: Collection[str], trusted_only: bool) -> str:
    shown = f"project NOT IN ({', '.join(text(slug) for slug in sorted(hidden))})"
    conditions = {table: [shown] if hidden else [] for table in sorted(TABLES)}
    if trusted_only:
        conditions["events"].append("trusted")
    tables = (
        f"{text(f'{database}.{table}')}: {text(' AND '.join(needed))}"
        for table, needed in conditions.items()
        if needed
    )
    return "{" + ", ".join(tables) + "}"


def _clause(settings: dict[str, str | float]) -> str:
    return ", ".join(f"{name} = {text(str(value))}" for name, value in settings.items())


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
