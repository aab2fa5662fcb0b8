"""Bearer tokens and ingest keys: who is at the door.

Invariant: a secret is shown once, when it is made, and only its SHA-256 is kept; it has 256 random
bits, so a plain digest is enough. A revocation holds from the moment the call returns. What a
principal may do is not said here but in the governance graph.
"""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from runtime.errors import AccessError

TOKEN_PREFIX = "fot_"
KEY_PREFIX = "foi_"
INGEST = "ingest"
"""The role of a key that servers send telemetry with."""

BROWSER = "ingest-browser"
"""The role of a key that stands in a page, and so is public."""

INGEST_ROLES = frozenset({INGEST, BROWSER})

_VERSION = 1
_SCHEMA = f"""
BEGIN;
CREATE TABLE credentials (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL,
    principal TEXT NOT NULL, project TEXT, created_at TEXT NOT NULL, revoked_at TEXT
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
COMMIT;
"""


@dataclass(frozen=True)
class Credential:
    """A token or an ingest key, without its secret. ``role`` is one of
    :data:`INGEST_ROLES` for the latter."""

    id: str
    name: str
    role: str
    principal: str
    project: str | None
    created_at: str
    revoked_at: str | None = None


class Access:
    """The credentials of one data folder; any thread may use it."""

    def __init__(
        self, path: Path, clock: Callable[[], datetime], random: Callable[[int], bytes]
    ) -> None:
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._held: dict[str, Credential] = {}
        try:
            self._db = sqlite3.connect(path, check_same_thread=False)
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._db.executescript(_SCHEMA)
            elif version > _VERSION:
                raise AccessError(
                    f"{path.name} was written by a newer version: install that version"
                )
            rows = self._db.execute("SELECT digest, * FROM credentials").fetchall()
        except sqlite3.Error as error:
            raise AccessError(
                f"{path.name} cannot be read ({error}): restore a backup, or move the file away and"
                " make new tokens and keys"
            ) from error
        for row in rows:
            self._held[row[0]] = Credential(row[1], row[3], row[4], row[5], row[6], row[7], row[8])

    def issue(
        self, name: str, role: str, principal: str, project: str | None = None
    ) -> tuple[Credential, str]:
        """A new credential and its secret, which is not kept."""
        credential, secret = self._make(name, role, principal, project)
        digest = _digest(secret)
        with self._lock:
            with self._kept(), self._db:
                self._db.execute(
                    "INSERT INTO credentials VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                    (
                        credential.id,
                        digest,
                        name,
                        role,
                        principal,
                        project,
                        credential.created_at,
                    ),
                )
            self._held[digest] = credential
        return credential, secret

    def adopt(
        self, secret: str, name: str, role: str, principal: str, project: str
    ) -> Credential | None:
        """Take a secret that another system made as a credential of this one; ``None`` where it is
        one of somebody else's already."""
        made, _ = self._make(name, role, principal, project)
        digest = _digest(secret)
        with self._lock:
            held = self._held.get(digest)
            if held is not None and held.revoked_at is None:
                return held if held.project == project and held.role in INGEST_ROLES else None
            with self._kept(), self._db:
                self._db.execute("DELETE FROM credentials WHERE digest = ?", (digest,))
                self._db.execute(
                    "INSERT INTO credentials VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                    (made.id, digest, name, role, principal, project, made.created_at),
                )
            self._held[digest] = made
        return made

    def lend(self, name: str, role: str, principal: str, project: str | None = None) -> str:
        """A secret for this process alone: it is kept nowhere and ends with it."""
        credential, secret = self._make(name, role, principal, project)
        with self._lock:
            self._held[_digest(secret)] = credential
        return secret

    def find(self, secret: str) -> Credential | None:
        """The credential of this secret, unless it is revoked."""
        credential = self._held.get(_digest(secret))
        return None if credential is None or credential.revoked_at else credential

    def ingest_key(self, secret: str) -> Credential | None:
        """The ingest key of this secret, unless it is revoked."""
        credential = self.find(secret)
        return credential if credential and credential.role in INGEST_ROLES else None

    def all(self) -> list[Credential]:
        """Every kept credential, oldest first, revoked ones too."""
        with self._lock, self._kept():
            rows = self._db.execute(
                "SELECT id, name, role, principal, project, created_at, revoked_at"
                " FROM credentials ORDER BY created_at, id"
            ).fetchall()
        return [Credential(*row) for row in rows]

    def revoke(self, identifier: str) -> Credential | None:
        """Ends a credential; ``None`` when there is none of this id."""
        now = self._clock().isoformat()
        with self._lock:
            digest = next((d for d, c in self._held.items() if c.id == identifier), None)
            if digest is None:
                return None
            credential = self._held[digest]
            if credential.revoked_at is None:
                with self._kept(), self._db:
                    self._db.execute(
                        "UPDATE credentials SET revoked_at = ? WHERE id = ?", (now, identifier)
                    )
                credential = self._held[digest] = replace(credential, revoked_at=now)
            return credential

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AccessError(
                f"the tokens and keys cannot be read or kept ({error}): nothing was changed. Free"
                " some space or mend the folder, and try again"
            ) from error

    def _make(
        self, name: str, role: str, principal: str, project: str | None
    ) -> tuple[Credential, str]:
        prefix = KEY_PREFIX if role in INGEST_ROLES else TOKEN_PREFIX
        secret = prefix + base64.urlsafe_b64encode(self._random(32)).rstrip(b"=").decode()
        identifier = self._random(6).hex()
        created = self._clock().isoformat()
        return Credential(identifier, name, role, principal, project, created), secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
