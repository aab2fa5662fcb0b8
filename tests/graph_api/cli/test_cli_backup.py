"""A backup is whole or not there, and a restore never forks a log."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from graph_api import backup as backup_module
from graph_api.backup import DATABASES, MANIFEST
from graph_api.restore import MARKER
from proofs.checkpoint import Checkpoint, SignerKey, sign_checkpoint
from proofs.journal import Journal, Running
from proofs.merkle import Frontier, leaf_hash

LOG = SignerKey("log.example/shop", bytes(range(32)))
OTHER = SignerKey("log.example/other", bytes(range(1, 33)))


class Folder:
    """A data folder with a real journal and databases beside it, but no server."""

    def __init__(self, path: Path, signer: SignerKey = LOG, *, word: str = "entry") -> None:
        self.path = path
        self.signer = signer
        self.word = word
        self.frontier = Frontier()
        (path / "keys").mkdir(parents=True)
        (path / "keys" / "log.key").write_text(signer.export())
        (path / "keys" / "log.key").chmod(0o600)
        (path / "keys" / "log.pub").write_text(str(signer.verifier) + "\n")
        (path / "format.json").write_text('{"format": 1}')
        (path / "operator.token").write_text("fot_" + "T" * 43)
        for name in DATABASES:
            if name != "journal.sqlite":
                with closing(sqlite3.connect(path / name)) as database:
                    database.execute("PRAGMA journal_mode=WAL")
                    database.execute("CREATE TABLE things (n INTEGER)")
                    database.execute("INSERT INTO things VALUES (1)")
                    database.commit()
        self.journal = Journal(path / "journal.sqlite")

    def grow(self, count: int, *, publish: bool = True) -> Folder:
        for _ in range(count):
            n = self.frontier.size
            leaf = f"{self.word} {n}".encode()
            self.frontier.append(leaf_hash(leaf))
            running = Running(n, self.frontier.to_bytes(), b"")
            self.journal.append(n, leaf, leaf_hash(leaf), {}, self.note(), running)
        if publish:
            (self.path / "log").mkdir(exist_ok=True)
            (self.path / "log" / "checkpoint").write_text(self.note())
        return self

    def note(self) -> str:
        root = self.frontier.root()
        return sign_checkpoint(Checkpoint(self.signer.name, self.frontier.size, root), self.signer)

    def derived(self) -> Folder:
        for name in ("graph", "snapshots", "facts", "scratch"):
            (self.path / name).mkdir()
            (self.path / name / "content").write_text("derived")
        (self.path / "index.sqlite").write_text("derived")
        (self.path / "server.json").write_text('{"url": "http://127.0.0.1:1", "pid": 1}')
        return self


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Folder]]:
    made: list[Folder] = []

    def folder(name: str = "data", **options: Any) -> Folder:
        made.append(Folder(tmp_path / name, **options))
        return made[-1]

    yield folder
    for one in made:
        one.journal.close()


@contextmanager
def held(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def head(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as journal:
        return int(journal.execute("SELECT max(n) FROM entries").fetchone()[0])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm", "lock"))
    }


@pytest.mark.parametrize("name", ["kept copy", "kept.tar"])
def test_a_backup_is_restored_into_a_new_folder(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    data = make("data").grow(5).derived().path
    made = run("backup", tmp_path / name, "--data", data, "--output", "json")
    assert made.code == 0
    assert json.loads(made.out)["head"] == 4
    back = run("restore", tmp_path / name, "--data", tmp_path / "new" / "data")
    assert back.code == 0, back.err
    restored = tmp_path / "new" / "data"
    assert head(restored) == 4
    assert (restored / "keys" / "log.key").read_text() == LOG.export()
    assert (restored / "operator.token").read_bytes() == (data / "operator.token").read_bytes()
    assert sorted(path.name for path in restored.iterdir()) == sorted(
        [*DATABASES, "keys", "format.json", "operator.token", "lock"]
    )
    assert "fractalops up --data" in back.err
    assert "fot_" not in made.out + made.err + back.out + back.err
    assert "PRIVATE" not in made.out + made.err + back.out + back.err


def test_secrets_are_for_their_owner_only(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    data = make().grow(1).path
    old = os.umask(0)
    try:
        run("backup", tmp_path / "copy", "--data", data)
        run("backup", tmp_path / "copy.tar", "--data", data)
        run("restore", tmp_path / "copy.tar", "--data", tmp_path / "restored")
    finally:
        os.umask(old)
    for place in (tmp_path / "copy", tmp_path / "restored"):
        for path in place.rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode & 0o077 == 0, path
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "copy.tar").stat().st_mode) == 0o600
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_an_entry_rests_on_is_copied_after_it(
    make: Callable[..., Folder],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    copy = backup_module._copy_database

    def recorded(source: Path, target: Path) -> None:
        order.append(source.name)
        copy(source, target)

    monkeypatch.setattr(backup_module, "_copy_database", recorded)
    run("backup", tmp_path / "copy", "--data", make().grow(1).path)
    journal = order.index("journal.sqlite")
    assert order.index("stewards.sqlite") < journal
    assert order.index("jobs.sqlite") < journal
    assert order.index("inbox.sqlite") > journal
    assert order.index("access.sqlite") > journal


def test_a_backup_while_entries_are_added(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = make().grow(3)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            folder.grow(1, publish=False)

    writer = threading.Thread(target=write)
    with held(folder.path / "lock"):
        writer.start()
        try:
            results = [
                run("backup", tmp_path / f"copy{n}", "--data", folder.path) for n in range(3)
            ]
        finally:
            stop.set()
            writer.join()
    assert [result.code for result in results] == [0, 0, 0]
    for n in range(3):
        assert run("restore", tmp_path / f"copy{n}", "--data", tmp_path / f"r{n}").code == 0
        assert head(tmp_path / f"r{n}") >= 2


def test_what_is_refused_leaves_nothing_behind(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    data = make().grow(2).path
    (tmp_path / "there").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    for destination, folder, reason in (
        (tmp_path / "there", data, "there already"),
        (tmp_path / "no" / "copy", data, "make it first"),
        (tmp_path / "copy", tmp_path / "there", "not a data folder"),
    ):
        shown = run("backup", destination, "--data", folder)
        assert shown.code == 1
        assert reason in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE entries SET leaf = X'00' WHERE n = 1", "not those that its newest checkpoint"),
        ("DELETE FROM entries WHERE n = 1", "not those that its newest checkpoint"),
        ("DELETE FROM checkpoints WHERE size = 3", "not those that its newest checkpoint"),
        ("UPDATE checkpoints SET note = replace(note, '3', '4') WHERE size = 3", "cannot be"),
        ("DELETE FROM checkpoints", "no entry yet"),
    ],
)
def test_a_changed_journal_is_not_copied(
    make: Callable[..., Folder],
    run: Callable[..., Any],
    tmp_path: Path,
    statement: str,
    reason: str,
) -> None:
    folder = make().grow(3)
    with closing(sqlite3.connect(folder.path / "journal.sqlite")) as journal:
        journal.execute(statement)
        journal.commit()
    shown = run("backup", tmp_path / "copy", "--data", folder.path)
    assert shown.code == 1
    assert reason in shown.err
    assert not (tmp_path / "copy").exists()


def test_a_damaged_database_is_not_copied(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    data = make().grow(1).path
    (data / "inbox.sqlite").write_bytes(b"no database" * 1000)
    shown = run("backup", tmp_path / "copy", "--data", data)
    assert shown.code == 1
    assert not (tmp_path / "copy").exists()


def test_a_restore_over_an_older_copy_of_the_log(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    new, old = make("new").grow(5), make("old").grow(3).derived()
    run("backup", tmp_path / "copy", "--data", new.path)
    old.journal.close()
    published = (old.path / "log" / "checkpoint").read_bytes()
    shown = run("restore", tmp_path / "copy", "--data", old.path)
    assert shown.code == 0, shown.err
    assert head(old.path) == 4
    assert (old.path / "log" / "checkpoint").read_bytes() == published
    for name in ("graph", "snapshots", "facts", "scratch", "index.sqlite", "server.json", MARKER):
        assert not (old.path / name).exists()
    aside = list(old.path.glob("replaced-*"))
    assert len(aside) == 1
    assert head(aside[0]) == 2
    assert str(aside[0]) in shown.err


def test_the_same_head_may_be_restored_again(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = make().grow(4)
    run("backup", tmp_path / "copy", "--data", folder.path)
    folder.journal.close()
    (folder.path / "journal.sqlite").write_bytes(b"damaged")
    shown = run("restore", tmp_path / "copy", "--data", folder.path)
    assert shown.code == 0, shown.err
    assert head(folder.path) == 3


@pytest.mark.parametrize("ahead", ["journal", "published", "mirror", "set aside"])
def test_an_older_backup_never_forks_the_log(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path, ahead: str
) -> None:
    folder = make().grow(3)
    run("backup", tmp_path / "copy", "--data", folder.path)
    folder.grow(2)
    folder.journal.close()
    target, options = folder.path, []
    if ahead == "journal":
        shutil.rmtree(folder.path / "log")
    elif ahead == "published":
        (folder.path / "journal.sqlite").unlink()
    elif ahead == "mirror":
        target, options = tmp_path / "elsewhere", ["--mirror", folder.path / "log"]
    else:
        shutil.rmtree(folder.path / "log")
        aside = folder.path / "replaced-20260101T000000Z-x"
        aside.mkdir()
        (folder.path / "journal.sqlite").rename(aside / "journal.sqlite")
    before = contents(target) if target.exists() else None
    shown = run("restore", tmp_path / "copy", "--data", target, *options)
    assert shown.code == 1
    assert "shows 5 entries" in shown.err
    assert "would fork the log" in shown.err
    assert (contents(target) if target.exists() else None) == before


def test_a_mirror_of_the_environment_is_asked_too(
    make: Callable[..., Folder],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make().grow(3)
    run("backup", tmp_path / "copy", "--data", folder.path)
    folder.grow(1)
    monkeypatch.setenv("FRACTALOPS_MIRROR", str(folder.path / "log"))
    shown = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert shown.code == 1
    assert "would fork the log" in shown.err
    monkeypatch.setenv("FRACTALOPS_MIRROR", str(tmp_path / "nowhere"))
    shown = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert "has no checkpoint" in shown.err


def test_a_log_that_went_another_way_is_not_replaced(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy", "--data", make("one").grow(4).path)
    other = make("other", word="another").grow(3)
    shown = run("restore", tmp_path / "copy", "--data", other.path)
    assert shown.code == 1
    assert "forked already" in shown.err
    assert head(other.path) == 2


def test_another_log_is_not_replaced(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy", "--data", make("one").grow(4).path)
    other = make("other", signer=OTHER).grow(3)
    shown = run("restore", tmp_path / "copy", "--data", other.path)
    assert shown.code == 1
    assert "not of log" in shown.err
    assert head(other.path) == 2


def test_a_damaged_journal_without_anything_published(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = make().grow(3, publish=False)
    run("backup", tmp_path / "copy", "--data", folder.path)
    folder.journal.close()
    (folder.path / "journal.sqlite").write_bytes(b"damaged")
    shown = run("restore", tmp_path / "copy", "--data", folder.path)
    assert shown.code == 1
    assert "--mirror" in shown.err


def test_a_running_server_keeps_its_folder(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = make().grow(3)
    run("backup", tmp_path / "copy", "--data", folder.path)
    with held(folder.path / "lock"):
        shown = run("restore", tmp_path / "copy", "--data", folder.path)
    assert shown.code == 1
    assert "a server runs on" in shown.err


def test_somebodys_own_folder_is_no_data_folder(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy", "--data", make().grow(1).path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    shown = run("restore", tmp_path / "copy", "--data", home)
    assert shown.code == 1
    assert "neither empty nor a data folder" in shown.err
    assert contents(home) == {"letter.txt": b"dear"}


def test_every_file_of_a_backup_is_checked(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy", "--data", make().grow(2).path)
    listed = json.loads((tmp_path / "copy" / MANIFEST).read_bytes())["files"]
    assert set(DATABASES) | {"keys/log.key", "keys/log.pub", "operator.token"} <= set(listed)
    for name in sorted(set(listed) - {"checkpoint"}):
        path = tmp_path / "copy" / name
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        shown = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
        assert shown.code == 1
        assert f"{name} is not what was copied" in shown.err
        path.unlink()
        shown = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
        assert f"{name} is missing" in shown.err
        path.write_bytes(content)
        assert not (tmp_path / "new").exists()
    assert run("restore", tmp_path / "copy", "--data", tmp_path / "new").code == 0


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, None])
def test_what_is_no_backup(run: Callable[..., Any], tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / "copy.tar"
    if content is not None:
        source.write_bytes(content)
    shown = run("restore", source, "--data", tmp_path / "new")
    assert shown.code == 1
    assert "backup" in shown.err
    assert not (tmp_path / "new").exists()


def test_an_archive_writes_nowhere_else(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy.tar", "--data", make().grow(1).path)
    hostile = tmp_path / "hostile.tar"
    with tarfile.open(tmp_path / "copy.tar") as good, tarfile.open(hostile, "w") as bad:
        for name in ("../escaped", "/tmp/escaped", "keys/../../escaped", "keys/x/y", "more"):
            info = tarfile.TarInfo(name)
            info.size = 1
            bad.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("keys/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        bad.addfile(link)
        for member in good:
            bad.addfile(member, good.extractfile(member) if member.isreg() else None)
    shown = run("restore", hostile, "--data", tmp_path / "deep" / "new")
    assert shown.code == 0, shown.err
    assert not list(tmp_path.rglob("escaped"))
    assert not (tmp_path / "deep" / "new" / "more").exists()
    assert sorted(p.name for p in (tmp_path / "deep" / "new" / "keys").iterdir()) == [
        "log.key",
        "log.pub",
    ]


def test_a_backup_of_a_newer_version(
    make: Callable[..., Folder], run: Callable[..., Any], tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy", "--data", make().grow(1).path)
    manifest = json.loads((tmp_path / "copy" / MANIFEST).read_bytes())
    (tmp_path / "copy" / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))
    shown = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert shown.code == 1
    assert "format 99" in shown.err


def test_an_interrupted_restore_is_noticed_and_done_again(
    make: Callable[..., Folder],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("backup", tmp_path / "copy", "--data", make("new").grow(5).path)
    old = make("old").grow(3)
    old.journal.close()
    replace, calls = os.replace, []

    def dies(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 9:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies)
    shown = run("restore", tmp_path / "copy", "--data", old.path)
    monkeypatch.setattr(os, "replace", replace)
    assert shown.code == 1
    assert (old.path / MARKER).exists()
    started = run("up", "--data", old.path)
    assert started.code == 1
    assert "run fractalops restore again" in started.err
    shown = run("restore", tmp_path / "copy", "--data", old.path)
    assert shown.code == 0, shown.err
    assert head(old.path) == 4
    assert not (old.path / MARKER).exists()
