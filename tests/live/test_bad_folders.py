"""Bad folders: whatever is wrong with one is said at the start, and nothing in it is lost."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import httpx
import pytest

from proofs.checkpoint import SignerKey

if TYPE_CHECKING:
    from tests.live.conftest import Grown, MakeSpans, Serve, Server, ServiceTurtle

pytestmark = pytest.mark.live

MEBIBYTE = 1024 * 1024


# --- what keeps a server from starting


def trash(path: Path, share: float = 0.4) -> None:
    """Random bytes over a stretch in the middle of a file."""
    data = bytearray(path.read_bytes())
    begin = int(len(data) * (1 - share) / 2)
    data[begin : begin + int(len(data) * share)] = Random(1).randbytes(int(len(data) * share))
    path.write_bytes(data)


def whole_file(name: str) -> Callable[[Path], None]:
    """The database is random bytes, from its first to its last."""

    def damage(data: Path) -> None:
        for suffix in ("-wal", "-shm"):
            (data / f"{name}{suffix}").unlink(missing_ok=True)
        trash(data / name, 1.0)

    return damage


def graph_files(data: Path) -> None:
    for path in (data / "graph").glob("MANIFEST-*"):
        trash(path)


def newer_folder(data: Path) -> None:
    place = data / "format.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"format": 99}))


def newer_journal(data: Path) -> None:
    with closing(sqlite3.connect(data / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'format'")


def unreadable_format(data: Path) -> None:
    (data / "format.json").write_text("{")


def without_key(data: Path) -> None:
    (data / "keys" / "log.key").unlink()


def another_key(data: Path) -> None:
    """A journal is of one log; the key beside it is of another, and no published log tells."""
    shutil.rmtree(data / "log")
    place = data / "keys" / "log.key"
    place.write_text(SignerKey.generate("another.example/log").export() + "\n")


DAMAGES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "a folder of a newer version": (newer_folder, ("newer version", "install that version")),
    "a journal of a newer version": (newer_journal, ("format 99", "install the version")),
    "an unreadable format": (unreadable_format, ("format.json", "backup")),
    "a journal of random bytes": (
        whole_file("journal.sqlite"),
        ("journal.sqlite", "restore"),
    ),
    "an inbox of random bytes": (whole_file("inbox.sqlite"), ("inbox.sqlite", "backup")),
    "tokens of random bytes": (whole_file("access.sqlite"), ("access.sqlite", "backup")),
    "a damaged graph store": (graph_files, ("graph store", "move", "rebuild")),
    "no log key": (without_key, ("log.key", "backup")),
    "another log key": (another_key, ("another.example/log", "restore a backup")),
}


@dataclass(frozen=True)
class Refusal:
    code: int
    text: str
    lost: list[str]
    """Files that were changed or removed by the attempt."""


def digests(data: Path) -> dict[str, str]:
    """What must survive: everything that can't be made again."""
    kept = [
        path
        for name in ("journal.sqlite", "inbox.sqlite", "access.sqlite", "format.json")
        if (path := data / name).exists()
    ]
    kept += list((data / "keys").iterdir())
    kept += [path for path in (data / "log").rglob("*") if path.is_file()]
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept
    }


@pytest.fixture(scope="module")
def refusals(
    grown: Grown, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Refusal]]:
    """Every damaged folder, started; all at once, since most of the time is the start's own."""
    with ExitStack() as stack:
        begun = {}
        for name, (damage, _) in DAMAGES.items():
            server = stack.enter_context(grown.served(tmp_path_factory.mktemp("damaged")))
            damage(server.data)
            before = digests(server.data)
            server.begin()
            begun[name] = (server, before)

        def refusal(name: str) -> Refusal:
            server, before = begun[name]
            assert server.process is not None
            code = server.process.wait(120)
            after = digests(server.data)
            return Refusal(code, server.text, [key for key in before if before[key] != after[key]])

        yield refusal


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused(refusals: Callable[[str], Refusal], name: str) -> None:
    refusal = refusals(name)
    assert refusal.code == 1, refusal.text
    for said in DAMAGES[name][1]:
        assert said in refusal.text, refusal.text
    assert "Traceback" not in refusal.text
    assert len(refusal.text.splitlines()) <= 3, refusal.text
    assert not refusal.lost


# --- what a server mends by itself, or with one step


def test_a_damaged_graph_moved_away_comes_back(grown: Grown, serve: Serve, tmp_path: Path) -> None:
    """The step that the refusal names. What else is derived and damaged, or half gone, needs none:
    an index of random bytes, a snapshot without files, a log without a tile and its checkpoint."""
    data = grown.copy(tmp_path / "data")
    graph_files(data)
    (data / "graph").rename(tmp_path / "graph that was")
    for path in (data / "snapshots").rglob("*.sst"):
        path.unlink()
    whole_file("index.sqlite")(data)
    published = digests(data)
    next(path for path in (data / "log" / "tile" / "0").rglob("*") if path.is_file()).unlink()
    (data / "log" / "checkpoint").unlink()
    server = serve(data).start()
    server.settle()
    assert digests(data) | {"inbox.sqlite": ""} == published | {"inbox.sqlite": ""}
    assert server.post("/proofs/audit")["ok"]
    assert server.select("SELECT (COUNT(*) AS ?n) { ?s ?p ?o }") != [("0",)]


def test_a_second_server_on_the_same_folder(grown: Grown, serve: Serve, tmp_path: Path) -> None:
    data = grown.copy(tmp_path / "data")
    first = serve(data).start()
    announced = (data / "server.json").read_text()
    second = serve(data)
    second.begin(tidy=False)
    assert second.process is not None
    assert second.process.wait(120) == 1
    assert f"another server (process {first.pid})" in second.text
    assert "--data" in second.text
    assert (data / "server.json").read_text() == announced
    assert first.post("/proofs/audit")["ok"]


# --- a disk without room


def mounted(folder: Path, size: int) -> list[str] | None:
    """The beginning of a command that runs with a small file system of its own at ``folder``;
    ``None`` where this system allows none to us."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    prefix = [unshare, "--map-root-user", "--mount", "sh", "-c", script, str(folder)]
    done = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if done.returncode == 0 else None


def test_a_full_disk(
    serve: Serve, make_spans: MakeSpans, turtle_of: ServiceTurtle, tmp_path: Path
) -> None:
    """Nothing is acknowledged that could not be stored; when there is room again, all goes on."""
    folder = tmp_path / "small"
    folder.mkdir()
    prefix = mounted(folder, 160 * MEBIBYTE)
    if prefix is None:
        pytest.skip("this system lets us mount no file system of our own, so no disk is full here")
    server = serve(folder / "data", "--steward-seconds", "3600")
    server.prefix = prefix
    server.begin()
    # The file system is the server's alone; we look at it through its eyes.
    inside = Path(f"/proc/{server.pid}/root{folder}")
    server.data = inside / "data"
    server.wait_ready()
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]
    server.propose("shop", turtle_of(server.ids, "shop", "before"))
    server.send(key, make_spans("before", 5))
    server.settle()

    fill(inside / "ballast")
    refused = propose_until_refused(server, turtle_of)
    assert refused.status_code in (503, 507), refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    told = refused.json()
    assert "disk" in told["detail"]
    assert server.problems(told["type"].rpartition("/")[2]) >= 1
    with server.client(key) as client:
        exported = client.post(
            "/v1/traces",
            content=make_spans("during", 4000).SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )
    assert exported.status_code in (503, 507)
    assert exported.headers["retry-after"]
    # Reading goes on.
    assert server.select('SELECT ?s { ?s ?p "before" }')
    assert server.running

    (inside / "ballast").unlink()
    head = server.head
    after = recovers(lambda: server.propose("shop", turtle_of(server.ids, "shop", "after")))
    assert after["head"] == head + 1
    recovers(lambda: server.send(key, make_spans("during", 4000)))
    server.settle()
    assert server.facts("SELECT count() FROM events") == [[4005]]
    assert server.post("/proofs/audit")["ok"]
    assert httpx.get(f"{server.url}/readyz", trust_env=False).is_success


def fill(place: Path) -> None:
    """Take all the room there is."""
    with place.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(MEBIBYTE))
    with place.open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)) == 512:
            pass


def propose_until_refused(server: Server, turtle_of: ServiceTurtle) -> httpx.Response:
    """A journal may have room left in its last page: the first proposal that finds none."""
    with server.client() as client:
        for number in range(200):
            answer = client.post(
                "/proposals?project=shop&graph=lineage/shop&rationale=full",
                content=turtle_of(server.ids, "shop", f"during-{number}"),
                headers={"Content-Type": "text/turtle"},
            )
            if not answer.is_success:
                return answer
    raise AssertionError("the disk is full, and two hundred proposals were stored")


def recovers(step: Callable[[], object], seconds: float = 60) -> dict[str, object]:
    """The result of a step that may take a few attempts until there is room again."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            found = step()
        except AssertionError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)
        else:
            return found if isinstance(found, dict) else {}
