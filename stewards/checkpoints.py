"""Where the checkpoints of runs are kept: SQLite beside the watermarks, or PostgreSQL.

Invariant: what is read back is plain data: any other type, and every pickle, is refused, so that
who can write to the file can't make a steward run code. Of a run that waits only the newest
checkpoint is kept, of one that ended nothing.
Source: https://docs.langchain.com/oss/python/langgraph/persistence
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from stewards.errors import NotConfigured

if TYPE_CHECKING:
    from psycopg import Connection

Saver = BaseCheckpointSaver[Any]

POSTGRES_SECONDS = 5.0
"""How long a connection is waited for."""


def serializer() -> JsonPlusSerializer:
    """Numbers, texts, lists, mappings, and LangGraph's own Send and Interrupt; nothing else."""
    return JsonPlusSerializer(
        pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=None
    )


def sqlite_saver(path: str, closing: ExitStack) -> SqliteSaver:
    """Checkpoints in this file, which others may have open as well."""
    database = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    closing.callback(database.close)
    database.execute("PRAGMA journal_mode = WAL")
    # What kill -9 leaves is whole. After a loss of power the last steps are done again.
    database.execute("PRAGMA synchronous = NORMAL")
    saver = SqliteSaver(database, serde=serializer())
    saver.setup()
    return saver


def postgres_saver(dsn: str, closing: ExitStack) -> Saver:
    """Checkpoints in this PostgreSQL database. Raises :class:`NotConfigured`."""
    try:
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import DictRow, dict_row
        from psycopg_pool import ConnectionPool
    except ImportError as error:
        raise NotConfigured(
            "checkpoints in PostgreSQL need the extra: pip install 'fractalops[postgres]'"
        ) from error
    # A connection that broke is replaced by the pool.
    pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
        dsn,
        min_size=1,
        max_size=2,
        timeout=POSTGRES_SECONDS,
        check=ConnectionPool.check_connection,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        open=True,
    )
    closing.callback(pool.close)
    saver = PostgresSaver(pool)
    saver.serde = serializer()
    saver.setup()
    return saver


def keep_newest(saver: Saver, thread: str) -> None:
    """Forget every checkpoint of the thread but the newest."""
    newest = saver.get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    if newest is None:
        return
    if isinstance(saver, SqliteSaver):
        kept = newest.config["configurable"]["checkpoint_id"]
        with saver.cursor() as cursor:
            for table in ("checkpoints", "writes"):
                cursor.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id <> ?",
                    (thread, kept),
                )
    else:
        saver.prune([thread], strategy="keep_latest")
