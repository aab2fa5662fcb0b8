"""The search for seeded secrets finds them, and fails the run without repeating them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import seeded_secrets
from tests.seeded_secrets import DSN_PASSWORD, PRIVATE_KEY, SECRETS, Find, Search

KEY = "PRIVATE+KEY+fractalops+0123abcd+AXNlY3JldA=="


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_every_secret_is_found_however_it_is_written(tmp_path: Path, secret: str) -> None:
    for number, spelling in enumerate((secret, quote(secret))):
        (tmp_path / f"{number}").write_bytes(b"\xff\0" + spelling.encode() + b"\0")
    assert {Path(find.place).name for find in Search().below(tmp_path)} == {"0", "1"}


def test_what_lies_across_two_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeded_secrets, "PIECE", 1000)
    file = tmp_path / "long"
    file.write_bytes(b"x" * 990 + DSN_PASSWORD.encode() + b"x" * 2000)
    assert list(Search().below(file)) == [Find(str(file), "password of a DSN")]


def test_what_lies_in_a_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "kept.sqlite")) as database:
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (?)", (f"postgres://u:{DSN_PASSWORD}@db",))
        database.commit()
    assert [find.secret for find in Search().below(tmp_path)] == ["password of a DSN"]


def test_the_key_of_a_log_is_nowhere_but_where_it_is_kept(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    for file, mode in ((keys / "log.key", 0o600), (tmp_path / "log.txt", 0o600)):
        file.write_text(KEY)
        file.chmod(mode)
    assert list(Search().below(tmp_path)) == [Find(str(tmp_path / "log.txt"), PRIVATE_KEY)]
    (keys / "log.key").chmod(0o644)
    assert len(list(Search().below(tmp_path))) == 2


def test_what_is_gone_and_what_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "clean").write_text("seeded-password-0000")
    assert list(Search().below(tmp_path)) == []
    assert list(Search().below(tmp_path / "missing")) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("planted", [True, False])
def test_a_find_fails_the_run(checkout: Path, tmp_path: Path, workers: int, planted: bool) -> None:
    said = "DSN_PASSWORD" if planted else "'nothing'"
    (tmp_path / "test_planting.py").write_text(
        "from tests.seeded_secrets import DSN_PASSWORD, watch\n"
        "def test_plants(tmp_path):\n"
        "    watch(tmp_path)\n"
        f"    (tmp_path / 'server.txt').write_text({said})\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.secret_search"),
            *("-p", "no:cacheprovider", "--numprocesses", str(workers), "test_planting.py"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (1 if planted else 0), done.stdout
    assert ("server.txt: password of a DSN" in done.stdout) is planted
    assert DSN_PASSWORD not in done.stdout + done.stderr
