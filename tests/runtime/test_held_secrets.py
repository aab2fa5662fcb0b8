"""Secrets of other systems beside the credentials."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.access import Access
from runtime.errors import AccessError
from runtime.held_secrets import HeldSecrets


def test_a_secret_is_had_again_beside_the_credentials(tmp_path: Path) -> None:
    path = tmp_path / "access.sqlite"
    access = Access(path, lambda: datetime(2026, 1, 1, tzinfo=UTC), secrets.token_bytes)
    held = HeldSecrets(path)
    held.keep("glitchtip-dsn/shop", "old")
    held.keep("glitchtip-dsn/shop", "new")
    _, token = access.issue("ann", "analyst", "urn:ann")
    held.close()
    access.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = HeldSecrets(path)
    assert (again.get("glitchtip-dsn/shop"), again.get("other")) == ("new", None)
    again.close()
    reopened = Access(path, lambda: datetime(2026, 1, 1, tzinfo=UTC), secrets.token_bytes)
    assert reopened.find(token)
    reopened.close()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "access.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(AccessError, match="restore a backup"):
        HeldSecrets(path)
