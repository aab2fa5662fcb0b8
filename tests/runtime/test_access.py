"""Tokens and keys: shown once, kept hashed, ended at once."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.access import BROWSER, INGEST, KEY_PREFIX, TOKEN_PREFIX, Access, Credential
from runtime.errors import AccessError

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def opened(path: Path, start: int = 0) -> Access:
    numbers = itertools.count(start)
    return Access(
        path, lambda: NOW, lambda size: hashlib.shake_256(b"%d" % next(numbers)).digest(size)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.sqlite"


@pytest.fixture
def access(path: Path) -> Iterator[Access]:
    access = opened(path)
    yield access
    access.close()


def test_a_token_is_found_by_its_secret_alone(access: Access) -> None:
    credential, secret = access.issue("ann", "analyst", "http://e/ann")
    assert secret.startswith(TOKEN_PREFIX)
    assert len(secret) == len(TOKEN_PREFIX) + 43
    assert access.find(secret) == credential
    assert credential.created_at == NOW.isoformat()
    for wrong in ("", "fot_", secret[:-1], secret + "x", secret.swapcase(), credential.id):
        assert access.find(wrong) is None


def test_an_ingest_key_belongs_to_its_project(access: Access) -> None:
    credential, key = access.issue("shop telemetry", INGEST, "http://e/shop", "shop")
    assert key.startswith(KEY_PREFIX)
    assert access.find(key) == credential
    assert access.ingest_key(key) == credential
    browsers, public = access.issue("shop pages", BROWSER, "http://e/shop", "shop")
    assert public.startswith(KEY_PREFIX)
    assert access.ingest_key(public) == browsers
    _, token = access.issue("steward-shop", "steward", "http://e/steward", "shop")
    assert access.ingest_key(token) is None
    assert access.ingest_key("foi_" + "x" * 43) is None


def test_secrets_are_kept_hashed_in_a_file_of_ones_own(access: Access, path: Path) -> None:
    _, secret = access.issue("ann", "analyst", "http://e/ann")
    access.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file in path.parent.iterdir():
        assert secret.encode() not in file.read_bytes()
        assert secret.removeprefix(TOKEN_PREFIX).encode() not in file.read_bytes()


def test_what_was_issued_outlives_the_process(path: Path) -> None:
    access = opened(path)
    kept, secret = access.issue("ann", "analyst", "http://e/ann")
    gone, revoked = access.issue("bob", "operator", "http://e/bob")
    access.revoke(gone.id)
    access.close()
    again = opened(path, 50)
    assert again.find(secret) == kept
    assert again.find(revoked) is None
    assert {item.name for item in again.all()} == {"ann", "bob"}
    again.close()


def test_a_revoked_token_ends_at_once(access: Access) -> None:
    credential, secret = access.issue("ann", "analyst", "http://e/ann")
    revoked = access.revoke(credential.id)
    assert revoked is not None
    assert revoked.revoked_at == NOW.isoformat()
    assert access.find(secret) is None
    assert access.revoke(credential.id) == revoked
    assert access.all() == [revoked]
    assert access.revoke("none") is None


def test_a_lent_token_is_kept_nowhere(access: Access, path: Path) -> None:
    secret = access.lend("steward-shop", "steward", "http://e/steward", "shop")
    found = access.find(secret)
    assert found is not None
    assert (found.role, found.project) == ("steward", "shop")
    assert access.all() == []
    access.close()
    assert opened(path, 50).find(secret) is None


def test_a_lent_token_can_be_revoked(access: Access) -> None:
    secret = access.lend("steward-shop", "steward", "http://e/steward")
    found = access.find(secret)
    assert found is not None
    assert access.revoke(found.id) is not None
    assert access.find(secret) is None


def test_nothing_secret_is_in_what_can_be_shown(access: Access) -> None:
    credential, secret = access.issue("ann", "analyst", "http://e/ann")
    assert secret not in repr(credential)
    assert isinstance(credential, Credential)


def test_a_newer_file_is_refused(access: Access, path: Path) -> None:
    access.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(AccessError, match="newer version"):
        opened(path)


def test_a_damaged_file_says_what_to_do(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(AccessError, match="restore a backup, or move the file away"):
        opened(path)


def test_a_full_disk_gives_no_half_kept_token(access: Access) -> None:
    before, secret = access.issue("ann", "analyst", "http://e/ann")
    (pages,) = access._db.execute("PRAGMA page_count").fetchone()
    access._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AccessError, match="nothing was changed"):
        access.issue("x" * 10_000, "analyst", "http://e/long")
    assert access.all() == [before]
    assert access.find(secret) == before


def test_a_first_start_that_was_cut_off_can_be_repeated(path: Path) -> None:
    path.touch()
    access = opened(path)
    access.issue("ann", "analyst", "http://e/ann")
    access.close()
