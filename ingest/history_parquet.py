"""PostHog's exports in Parquet, row by row.

Invariant: one row group's columns are read a thousand rows at a time and nothing else is held; a
position is the number of rows before it.
Source: https://posthog.com/docs/cdp/batch-exports, https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

import pyarrow
from pyarrow import parquet

from ingest.errors import HistoryUnreadable
from ingest.history_records import MAX_RECORDS, Record, Unreadable, product_event

_COLUMNS: Final = ("uuid", "event", "distinct_id", "timestamp", "properties")


class ParquetRows:
    """The rows of a Parquet file. Raises :class:`HistoryUnreadable` for what is none."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._file = parquet.ParquetFile(file)
        except (pyarrow.ArrowException, OSError) as error:
            raise HistoryUnreadable("this is no whole Parquet file; copy it again") from error
        self._columns = [name for name in _COLUMNS if name in self._file.schema_arrow.names]
        if "event" not in self._columns:
            raise HistoryUnreadable(
                "this Parquet file has no column event, so it is no export of PostHog's events"
            )
        self.rows = int(self._file.metadata.num_rows)

    def records(self, after: int) -> Iterator[Record | Unreadable]:
        """The rows behind the first ``after``; whole row groups of those are not even read."""
        place = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if place + rows <= after:
                place += rows
                continue
            for batch in self._batches(group):
                if place + len(batch) <= after:
                    place += len(batch)
                    continue
                for row in batch.to_pylist():
                    place += 1
                    if place > after:
                        yield product_event(row, place, place)

    def _batches(self, group: int) -> Iterator[pyarrow.RecordBatch]:
        try:
            yield from self._file.iter_batches(
                MAX_RECORDS, row_groups=[group], columns=self._columns
            )
        except (pyarrow.ArrowException, OSError) as error:
            raise HistoryUnreadable(
                f"row group {group + 1} of the Parquet file is damaged; copy the file again"
            ) from error
