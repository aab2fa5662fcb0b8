"""Brings the records of a file in, from where it was left.

Invariant: what was acknowledged is remembered before more is sent, so that at whatever instant this
is killed, the next run goes on behind the last acknowledged request; a file that was changed
otherwise than by more at its end is read from its start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ingest.bookmarks import Bookmark
from ingest.byte_reader import ByteReader, unpacked
from ingest.delivery import deliver
from ingest.errors import HistoryUnreadable
from ingest.history_layouts import PARQUET_MAGIC, Layout, layout_of, records
from ingest.history_parquet import ParquetRows
from ingest.history_records import Kind, Unreadable, requests_of
from ingest.patience import Peer


@dataclass(frozen=True)
class Outcome:
    """``delivered`` records of this run, ``unreadable`` ones of it, ``before`` of earlier runs."""

    layout: Layout
    delivered: int
    unreadable: int
    before: int


class HistoryFile:
    """One file on its way in. ``name`` tells Brotli; ``kind`` is what the records are said to be.

    ``tell`` hears of each record that can't be taken in, ``advance`` how many of the file's bytes
    were read.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        peer: Peer,
        *,
        kind: Kind | None = None,
        tell: Callable[[Unreadable], None],
        advance: Callable[[int], None],
    ) -> None:
        self._file, self._name, self._peer, self._kind = file, name, peer, kind
        self._tell, self._advance = tell, advance

    def bring_in(self, bookmark: Bookmark | None, identity: dict[str, Any]) -> Outcome:
        """Deliver what was not delivered yet; without a bookmark, all of it.

        ``identity`` is kept with the place. Raises :class:`HistoryError` and what the file system
        raises.
        """
        before = (bookmark.read() if bookmark else None) or {}
        place, position = _number(before.get("place")), _number(before.get("position"))
        start = place
        rows: ParquetRows | None = None
        size = _number(identity.get("size"))
        packed = ByteReader(self._file.read)
        if packed.peek(len(PARQUET_MAGIC)) == PARQUET_MAGIC:
            layout = Layout.PARQUET
            if not self._file.seekable():
                raise HistoryUnreadable("Parquet can't be read from a pipe; name the file")
            self._file.seek(0)
            rows = ParquetRows(self._file)
            found = rows.records(place)
        else:
            reader = unpacked(packed, self._name)
            # A file that was read before is read on; its beginning was looked at then.
            layout = Layout(before["layout"]) if position else layout_of(reader, self._kind)
            if layout is Layout.PARQUET:
                raise HistoryUnreadable("Parquet compressed as a whole can't be read; unpack it")
            reader.skip(position)
            found = records(reader, layout, self._kind, place)
        delivered = unreadable = 0
        for group in requests_of(found):
            result = deliver(self._peer, group)
            for item in result.refused:
                self._tell(item)
            delivered += result.records
            unreadable += len(result.refused)
            place, position = group[-1].place, group[-1].end
            if bookmark:
                bookmark.keep({**identity, "layout": layout, "place": place, "position": position})
            self._advance(packed.position if rows is None else size * place // max(1, rows.rows))
        return Outcome(layout, delivered, unreadable, start)


def _number(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
