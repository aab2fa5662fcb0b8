"""Whatever is changed behind the system's back is found, and the place is named."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyoxigraph import Literal, NamedNode, Quad, Store

from ontology.vocab import Fo, Rdfs

if TYPE_CHECKING:
    from tests.live.conftest import Ended, Grown, RunCommand, Serve, Server

pytestmark = pytest.mark.live


def execute(journal: Path, sql: str, *values: object) -> None:
    """One change of the journal, by whoever can write the file."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        assert connection.execute(sql, values).rowcount == 1


def value(journal: Path, sql: str) -> bytes:
    with closing(sqlite3.connect(journal)) as connection:
        found = connection.execute(sql).fetchone()[0]
        return found.encode() if isinstance(found, str) else bytes(found)


def flip(data: bytes, place: int = -2) -> bytes:
    """The same bytes, one of them another."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.fixture
def data(grown: Grown, tmp_path: Path) -> Path:
    """A folder of one's own to tamper with."""
    return grown.copy(tmp_path / "data")


def audited(server: Server, command: RunCommand) -> Ended:
    """The audit of a server's folder, as an operator runs it."""
    return command("--data", server.data, "proofs", "audit")


def refused(serve: Serve, data: Path) -> str:
    """What a start that must fail says."""
    server = serve(data)
    server.begin()
    assert server.process is not None
    assert server.process.wait(120) == 1
    assert not (data / "server.json").exists()
    return server.text


def test_an_entry(serve: Serve, command: RunCommand, data: Path) -> None:
    journal = data / "journal.sqlite"
    leaf = value(journal, "SELECT leaf FROM entries WHERE n = 5")
    # A letter of the base64 text, so that it still reads as an envelope.
    place = leaf.index(b'"payload":"') + 40
    execute(journal, "UPDATE entries SET leaf = ? WHERE n = 5", flip(leaf, place))
    ended = audited(serve(data).start(troubled=True), command)
    assert ended.code == 1
    assert "entry 5 of the journal" in ended.text, ended.text


def test_a_blob_and_a_checkpoint(serve: Serve, command: RunCommand, data: Path) -> None:
    journal = data / "journal.sqlite"
    digest = value(journal, "SELECT max(digest) FROM blobs").decode()
    blob = value(journal, "SELECT bytes FROM blobs ORDER BY digest DESC LIMIT 1")
    execute(journal, "UPDATE blobs SET bytes = ? WHERE digest = ?", flip(blob), digest)
    note = value(journal, "SELECT note FROM checkpoints WHERE size = 3").decode()
    execute(
        journal, "UPDATE checkpoints SET note = ? WHERE size = 3", note.replace("\n3\n", "\n4\n")
    )
    ended = audited(serve(data).start(troubled=True), command)
    assert ended.code == 1
    assert digest in ended.text, ended.text
    assert "checkpoint 3 of the journal" in ended.text, ended.text


def test_tiles_and_quads(grown: Grown, serve: Serve, command: RunCommand, data: Path) -> None:
    """A tile, an entry bundle, a quad that was planted and one that was taken: each is named."""
    tiles = sorted(path for path in (data / "log" / "tile" / "0").rglob("*") if path.is_file())
    bundles = sorted(
        path for path in (data / "log" / "tile" / "entries").rglob("*") if path.is_file()
    )
    for path in (tiles[0], bundles[0]):
        path.chmod(0o644)
        path.write_bytes(flip(path.read_bytes(), 10))
    graph = NamedNode(grown.ids.lineage_graph("bank"))
    planted = Quad(
        NamedNode(grown.ids.service("bank", "late-0")),
        NamedNode(Rdfs.label),
        Literal("not what was said"),
        graph,
    )
    taken = Quad(
        NamedNode(grown.ids.service("bank", "late-1")),
        NamedNode(Fo.inProject),
        NamedNode(grown.ids.project("bank")),
        graph,
    )
    store = Store(str(data / "graph"))
    assert taken in store
    store.add(planted)
    store.remove(taken)
    store.flush()
    del store

    server = serve(data).start(troubled=True)
    # A damaged tile is met when the log is published; it is left as it is, and told.
    assert server.get("/status")["problems"]
    assert server.metric("fractalops_troubles") == 1
    ended = audited(server, command)

    assert ended.code == 1
    for place in (
        str(tiles[0].relative_to(data)),
        str(bundles[0].relative_to(data)),
        "not what was said",
        grown.ids.service("bank", "late-1"),
    ):
        assert place in ended.text, (place, ended.text)


def test_the_published_checkpoint(serve: Serve, data: Path) -> None:
    place = data / "log" / "checkpoint"
    place.write_bytes(flip(place.read_bytes()))
    said = refused(serve, data)
    assert "log/checkpoint" in said
    assert "Traceback" not in said


def test_the_newest_checkpoint_of_the_journal(
    serve: Serve, command: RunCommand, data: Path
) -> None:
    journal = data / "journal.sqlite"
    note = value(journal, "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").decode()
    size = note.splitlines()[1]
    root = note.splitlines()[2]
    changed = note.replace(root, ("A" if root[0] != "A" else "B") + root[1:])
    execute(journal, "UPDATE checkpoints SET note = ? WHERE size = ?", changed, int(size))
    said = refused(serve, data)
    assert "log/checkpoint" in said or f"checkpoint {size}" in said
    assert "Traceback" not in said


def test_an_old_journal_under_a_newer_log(grown: Grown, serve: Serve, data: Path) -> None:
    """Put there by hand, past the command that refuses it."""
    for suffix in ("-wal", "-shm"):
        (data / f"journal.sqlite{suffix}").unlink(missing_ok=True)
    shutil.copy(grown.backup / "journal.sqlite", data / "journal.sqlite")
    published = (data / "log" / "checkpoint").read_bytes()
    said = refused(serve, data)
    assert "older copy" in said
    assert (data / "log" / "checkpoint").read_bytes() == published


def test_an_old_journal_under_a_newer_mirror(
    grown: Grown, serve: Serve, data: Path, tmp_path: Path
) -> None:
    """The same with the log deleted as well: the mirror elsewhere knows better."""
    mirror = tmp_path / "mirror"
    shutil.copytree(data / "log", mirror)
    shutil.rmtree(data / "log")
    for suffix in ("-wal", "-shm"):
        (data / f"journal.sqlite{suffix}").unlink(missing_ok=True)
    shutil.copy(grown.backup / "journal.sqlite", data / "journal.sqlite")
    server = serve(data, "--mirror", str(mirror))
    server.begin()
    assert server.process is not None
    assert server.process.wait(120) == 1
    assert str(mirror) in server.text
    assert "older copy" in server.text


def test_restore_over_a_newer_log(
    grown: Grown, command: RunCommand, data: Path, tmp_path: Path
) -> None:
    before = (data / "journal.sqlite").read_bytes()
    ended = command("restore", grown.backup, "--data", data)
    assert ended.code == 1
    assert "fork the log" in ended.text
    assert (data / "journal.sqlite").read_bytes() == before

    ended = command("restore", grown.backup, "--data", tmp_path / "new", "--mirror", data / "log")
    assert ended.code == 1
    assert "fork the log" in ended.text
    assert not (tmp_path / "new").exists()


def test_restore_into_a_new_folder(
    grown: Grown, serve: Serve, command: RunCommand, tmp_path: Path
) -> None:
    """What the refusals above do not cost: a backup that is the newest there is goes on."""
    data = tmp_path / "new"
    ended = command("restore", grown.backup, "--data", data)
    assert ended.code == 0, ended.text
    server = serve(data).start()
    assert server.post("/proofs/audit")["ok"]
    names = server.select(f"SELECT ?l {{ ?s a <{Fo.Service}> ; <{Rdfs.label}> ?l }}")
    assert ("early-3",) in names
