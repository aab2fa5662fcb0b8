"""How far a history was brought in, remembered on the machine that reads it.

Invariant: a bookmark is on disk before the next request is sent, is there whole or not at all, and
says nothing of what was read. To lose one costs time alone: what comes twice is one event.
Source: https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ingest.errors import HistoryUnreadable
from runtime.data_folder import write_whole

_HEAD = 64 * 1024


def state_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Where the bookmarks of a person lie."""
    named = environment.get("XDG_STATE_HOME", "")
    # The specification has a relative path ignored.
    root = Path(named) if Path(named).is_absolute() else home / ".local" / "state"
    return root / "fractalops" / "ingest"


class Bookmark:
    """One place in one history; ``names`` tell it from all others."""

    def __init__(self, folder: Path, *names: str) -> None:
        digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()
        self.path = folder / f"{digest[:40]}.json"

    def read(self) -> dict[str, Any] | None:
        """What was kept last. Raises :class:`HistoryUnreadable` for what is no bookmark."""
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._damaged() from error
        if not isinstance(found, dict):
            raise self._damaged()
        return found

    def keep(self, place: Mapping[str, Any]) -> None:
        write_whole(self.path, json.dumps(place) + "\n", 0o600)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def _damaged(self) -> HistoryUnreadable:
        return HistoryUnreadable(
            f"{self.path} can't be read; run again with --restart to begin from the start"
        )


def identity_of(file: BinaryIO, size: int, modified: int) -> dict[str, Any]:
    """What a file is known by; ``modified`` in nanoseconds. The file stands at its start then."""
    head = file.read(min(_HEAD, size))
    file.seek(0)
    digest = hashlib.sha256(head).hexdigest()
    return {"size": size, "modified": modified, "head": digest, "head_size": len(head)}


def is_continued(file: BinaryIO, size: int, modified: int, before: Mapping[str, Any]) -> bool:
    """Whether a file is the one of this identity, as it was or with more at its end."""
    head_size, old_size = before.get("head_size"), before.get("size")
    if not isinstance(head_size, int) or not isinstance(old_size, int) or size < old_size:
        return False
    head = file.read(min(max(head_size, 0), _HEAD))
    file.seek(0)
    same = hashlib.sha256(head).hexdigest() == before.get("head")
    return same and (size > old_size or modified == before.get("modified"))
