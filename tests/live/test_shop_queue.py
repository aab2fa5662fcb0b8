"""The shop's queue: what a consumer finds in its folder is whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MESSAGES = 300


class Watcher:
    """Reads every message as soon as it has its name, as an eager consumer would."""

    def __init__(self, folder: Path) -> None:
        self.seen: dict[str, bytes] = {}
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        last_round = False
        while not last_round:
            last_round = self._ended.is_set()
            for path in self._folder.glob("*.msg"):
                if path.name not in self.seen:
                    self.seen[path.name] = path.read_bytes()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watcher]:
    watcher = Watcher(tmp_path)
    yield watcher
    watcher.end()


def test_a_message_appears_whole(
    watched: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from kombu.connection import Connection
    from shop.tasks import Transport

    folders = {
        "data_folder_in": str(tmp_path),
        "data_folder_out": str(tmp_path),
        "control_folder": str(tmp_path / "control"),
    }
    with (
        Connection(  # type: ignore[no-untyped-call]
            transport=Transport, transport_options=folders
        ) as connection,
        connection.SimpleQueue("orders") as queue,
    ):
        for number in range(MESSAGES):
            queue.put({"number": number, "lines": "tea " * 10_000})
    watched.end()
    assert len(watched.seen) == MESSAGES
    for name, content in watched.seen.items():
        assert json.loads(content)["headers"] is not None, name
