"""Bearer tokens and ingest keys: who is at the door.

Invariant: a secret is shown once, when it is made, and only its SHA-256 is kept; it has 256 random
bits, so a plain digest is enough. A revocation holds from the moment the call returns. What a
principal may do is not said here but in the governance graph.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from runtime.errors import AccessError

LOGGER = logging.getLogger(__name__)

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
# Beside the credentials, and no part of them: without it nothing but this is unknown.
_USES = """
CREATE TABLE IF NOT EXISTS uses (
    id TEXT PRIMARY KEY, last_used TEXT NOT NULL, from_pages INTEGER NOT NULL
) WITHOUT ROWID;
"""
_USES_KEPT = timedelta(minutes=1)


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


@dataclass(frozen=True)
class Use:
    """When an ingest key was last sent with, and how many payloads came with it from pages."""

    last_used: str | None = None
    from_pages: int = 0


class Access:
    """The credentials of one data folder; any thread may use it."""

    def __init__(
        self, path: Path, clock: Callable[[], datetime], random: Callable[[int], bytes]
    ) -> None:
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._held: dict[str, Credential] = {}
        self._uses: dict[str, Use] = {}
        self._uses_kept = clock()
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
            self._db.executescript(_USES)
            rows = self._db.execute("SELECT digest, * FROM credentials").fetchall()
            for identifier, last_used, from_pages in self._db.execute("SELECT * FROM uses"):
                self._uses[identifier] = Use(last_used, from_pages)
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

    def note_use(self, identifier: str, *, from_page: bool) -> None:
        """Count a payload that came with an ingest key; kept once a minute, and at the end."""
        now = self._clock()
        with self._lock:
            known = self._uses.get(identifier, Use())
            self._uses[identifier] = Use(now.isoformat(), known.from_pages + from_page)
            if now - self._uses_kept >= _USES_KEPT:
                self._keep_uses(now)

    def use_of(self, identifier: str) -> Use:
        """How an ingest key has been used."""
        with self._lock:
            return self._uses.get(identifier, Use())

    def _keep_uses(self, now: datetime) -> None:
        self._uses_kept = now
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR REPLACE INTO uses VALUES (?, ?, ?)",
                    [(key, use.last_used, use.from_pages) for key, use in self._uses.items()],
                )
        except sqlite3.Error as error:
            # What was sent is kept all the same; the next minute tries again.
            LOGGER.warning("how ingest keys are used could not be kept: %s", error)

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
            if self._uses:
                self._keep_uses(self._clock())
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
