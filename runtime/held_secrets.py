"""Secrets of other systems that must be had again as they are.

Invariant: they lie in the file of the credentials, which its owner alone can read and a backup
takes along, and nowhere else: not in the graph, the journal, the facts or a log.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from runtime.errors import AccessError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS held_secrets"
    " (name TEXT PRIMARY KEY, secret TEXT NOT NULL) WITHOUT ROWID"
)


class HeldSecrets:
    """Secrets by name; any thread may use it. Raises :class:`AccessError`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False)
            path.chmod(0o600)
            self._db.execute("PRAGMA synchronous=FULL")
            with self._db:
                self._db.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise AccessError(f"{path.name} cannot be read ({error}): restore a backup") from error

    def keep(self, name: str, secret: str) -> None:
        """Keep a secret; the one before it under this name is gone."""
        try:
            with self._lock, self._db:
                self._db.execute(
                    "INSERT OR REPLACE INTO held_secrets VALUES (?, ?)", (name, secret)
                )
        except sqlite3.Error as error:
            raise AccessError(
                f"a secret cannot be kept ({error}): nothing was changed. Free some space or mend"
                " the folder, and try again"
            ) from error

    def get(self, name: str) -> str | None:
        """The secret of this name."""
        with self._lock:
            row = self._db.execute(
                "SELECT secret FROM held_secrets WHERE name = ?", (name,)
            ).fetchone()
        return str(row[0]) if row else None

    def drop(self, name: str) -> bool:
        """Keep a secret no longer; whether there was one."""
        with self._lock, self._db:
            return self._db.execute("DELETE FROM held_secrets WHERE name = ?", (name,)).rowcount > 0

    def all(self) -> dict[str, str]:
        """Every secret by its name."""
        with self._lock:
            return dict(self._db.execute("SELECT name, secret FROM held_secrets").fetchall())

    def close(self) -> None:
        with self._lock:
            self._db.close()
