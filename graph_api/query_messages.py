"""What the server and its query workers say to each other.

Invariant: a worker is told everything by its task and answers each task once, in order. It is not
trusted: nothing it sends is ever executed or unpickled.

On the wire a task is a length and a marshalled tuple; an answer is a header (kind, flags, length of
the note, length of the body), the note as UTF-8 and the body.
"""

from __future__ import annotations

import json
import marshal
import struct
from typing import Any, Literal, NamedTuple, TypeAlias

LENGTH = struct.Struct("!I")
HEADER = struct.Struct("!BBHI")

INLINE_BYTES = 256 * 1024
"""A longer body goes through a spool file."""

READY, BODY, SPOOLED, REFUSED = range(4)
RETIRING = 1
"""Flag of an answer after which the worker ends."""

MORE = 2
"""Flag of a description that does not hold everything that points at the resource."""

Operation: TypeAlias = Literal["open", "close", "query", "dump", "describe", "graphs", "catalog"]


class Task(NamedTuple):
    """One piece of work on one snapshot.

    ``what`` is the query, the IRI to describe, the graph to dump (empty: all of them) or the page
    of the catalog;
    ``results_type`` and ``graph_type`` are the media types to answer in, by the form of the query
    (empty: the caller takes none). ``hidden`` names the graphs the caller may not read. A query's
    own dataset gives way to ``dataset`` (default graphs, named graphs) of the protocol. ``base`` is
    what relative IRIs in a query are resolved against when it has no BASE of its own.
    """

    operation: Operation
    path: str
    what: str = ""
    results_type: str = ""
    graph_type: str = ""
    hidden: tuple[str, ...] = ()
    dataset: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    seconds: float = 0.0
    result_bytes: int = 0
    base: str = ""

    def encode(self) -> bytes:
        body = marshal.dumps(tuple(self))
        return LENGTH.pack(len(body)) + body

    @staticmethod
    def decode(body: bytes) -> Task:
        """Reads a task; only ever called in a worker, on what its server sent."""
        return Task._make(marshal.loads(body))


class Reply(NamedTuple):
    """A worker's answer: what kind, the media type or the spool file, and the bytes."""

    kind: int
    flags: int
    note: str
    body: bytes

    def details(self) -> dict[str, Any]:
        """What a refusal, or a worker's first message, carries."""
        details = json.loads(self.body)
        return details if isinstance(details, dict) else {}


def encode_reply(kind: int, note: str, body: bytes, flags: int = 0) -> bytes:
    """An answer on the wire."""
    raw = note.encode()
    return HEADER.pack(kind, flags, len(raw), len(body)) + raw + body


class ReplyReader:
    """Cuts the stream of bytes from a worker into answers."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Reply]:
        pending = self._pending
        if not pending:
            # Nearly every answer arrives in one piece.
            reply, used = _read(data)
            if reply is not None and used == len(data):
                return [reply]
        pending += data
        replies: list[Reply] = []
        while True:
            reply, used = _read(pending)
            if reply is None:
                return replies
            replies.append(reply)
            del pending[:used]


def _read(data: bytes | bytearray) -> tuple[Reply | None, int]:
    if len(data) < HEADER.size:
        return None, 0
    kind, flags, note_length, body_length = HEADER.unpack_from(data)
    end = HEADER.size + note_length + body_length
    if len(data) < end:
        return None, 0
    middle = HEADER.size + note_length
    note = bytes(data[HEADER.size : middle]).decode()
    return Reply(kind, flags, note, bytes(data[middle:end])), end
