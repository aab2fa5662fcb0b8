"""Events as the columns of the table they are stored in, and back.

Invariant: a column for each one of the table, in its type, so that the engine converts nothing but
text to its dictionaries; what is written and read back is the same event.
Source: https://clickhouse.com/docs/interfaces/formats/Arrow, https://arrow.apache.org/docs/python/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.events import Event

Checksums = npt.NDArray[np.uint64]

_MOMENT: Final = pa.timestamp("ns", "UTC")
_TYPES: Final = {
    "seq": pa.uint64(),
    "time": _MOMENT,
    "duration_ns": pa.uint64(),
    "trusted": pa.bool_(),
}
# What an event has itself, under the names of its table.
_ATTRIBUTE_OF: Final = {
    "seq": "seq",
    "batch": "batch",
    "project": "project",
    "source": "source",
    "event_id": "event_id",
    "time": "time",
    "duration_ns": "duration_ns",
    "class": "event_class",
    "rule": "rule",
    "subject": "subject",
    "name": "name",
    "kind": "kind",
    "status": "status",
    "service": "service",
    "release": "release",
    "environment": "environment",
    "session": "session",
    "trace_id": "trace_id",
    "span_id": "span_id",
    "parent_span_id": "parent_span_id",
    "trusted": "trusted",
}
COLUMNS: Final = (*_ATTRIBUTE_OF, "attributes", "received", "rules", "checksum")
"""The columns of an event, as they are written."""


def to_columns(
    events: Sequence[Event], received: Sequence[int], rules: str, checksums: Checksums
) -> pa.Table:
    """The columns of these events; ``received`` has the receipt of each (nanoseconds since 1970),
    ``rules`` is the version of the rules that all of them were classified by."""
    held: Iterable[Sequence[Any]] = zip(*events, strict=True) if events else repeat(())
    values = dict(zip(Event._fields, held, strict=False))
    columns = [_column(name, values[field]) for name, field in _ATTRIBUTE_OF.items()]
    maps = values["attributes"]
    offsets = pa.array(list(accumulate(map(len, maps), initial=0)), pa.int32())
    keys = pa.array(list(chain.from_iterable(maps)), pa.string())
    texts = pa.array(list(chain.from_iterable(each.values() for each in maps)), pa.string())
    columns.append(pa.MapArray.from_arrays(offsets, keys, texts))
    columns.append(pa.array(received, pa.int64()).cast(_MOMENT))
    columns.append(pa.repeat(rules, len(events)))
    columns.append(pa.array(checksums, pa.uint64()))
    return pa.Table.from_arrays(columns, names=list(COLUMNS))


def from_columns(table: pa.Table) -> tuple[list[Event], list[int]]:
    """The events in such a table, and when each was received."""
    columns = {
        name: table.column(name).cast(pa.int64()).to_pylist()
        if name in ("time", "received")
        else table.column(name).to_pylist()
        for name in COLUMNS
        if name not in ("rules", "checksum")
    }
    received = columns.pop("received")
    attributes = [dict(pairs) for pairs in columns.pop("attributes")]
    names = [_ATTRIBUTE_OF[name] for name in columns]
    events = [
        Event(**dict(zip(names, row, strict=True)), attributes=held)
        for *row, held in zip(*columns.values(), attributes, strict=True)
    ]
    return events, received


def _column(name: str, values: Sequence[object]) -> pa.Array:
    if name == "time":
        return pa.array(values, pa.int64()).cast(_MOMENT)
    return pa.array(values, _TYPES.get(name, pa.string()))
