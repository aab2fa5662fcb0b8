"""What OpenLineage's clients report: bytes to events, purely.

Invariant: `events_of` is a function of the payload and of when it was received; it raises nothing
but `PayloadError` and `BodyError`, before the first event. A malformed event, dataset or column is
skipped in its place. One event stands for the state of the run, one for each of its inputs and
outputs, one for each pair of columns, so that nothing has to fit one attribute.

A run says START, COMPLETE, ABORT or FAIL once: its id and that state are the key. RUNNING and OTHER
come again and again, each with what is new: there the time is part of the key, so that a resent one
is still one, and two of them are two.
Source: https://openlineage.io/spec/2-0-2/OpenLineage.json, https://openlineage.io/docs/spec/facets/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.attributes import MAX_NAME, bounded, text
from ingest.events import LATEST_TIME, LINEAGE_SOURCE, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.openlineage_facets import (
    dataset_facets,
    environment_of,
    identities,
    job_facets,
    names_in,
    run_facets,
)
from ingest.openlineage_request import (
    NO_DATASET_NAME,
    Identity,
    column_of,
    identity_of,
    parse,
    refusal_of,
    run_id_of,
)
from ingest.personal import redacted
from ingest.posthog_request import instant, object_of, text_of
from ontology.dataset_names import of_openlineage

MAX_DATASETS = 10_000
"""Inputs of one event that are kept, and outputs."""
MAX_COLUMN_PAIRS = 50_000
"""Pairs of columns of one event that are kept."""

TOO_MANY_DATASETS = "too-many-datasets"
TOO_MANY_COLUMNS = "too-many-column-pairs"
TEMPORARY = "temporary-dataset"
MALFORMED_COLUMN = "malformed-column-lineage"

# An event from further ahead than this is a clock gone wrong: it happened when it came.
_AHEAD = 60 * 10**9

_ONCE = frozenset({"START", "COMPLETE", "ABORT", "FAIL"})
_STATE = re.compile(r"[A-Z_]{1,32}")
_STATUSES = {"COMPLETE": "ok", "FAIL": "error", "ABORT": "error"}
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True)
class _Around:
    """What the events of one OpenLineage event share. ``key`` begins their ids."""

    batch: EvidenceBatch
    key: str
    time: int
    status: str
    environment: str
    identity: Mapping[str, str]


def events_of(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """Every event of a payload, in the order sent. Raises as :func:`parse` does."""
    for item in parse(payload):
        reason = refusal_of(item)
        if reason:
            yield Skipped(reason)
        elif "run" in item or "job" in item:
            yield from _of_job(item, batch)
        else:
            yield from _of_dataset(item, batch)


def _of_job(item: Mapping[str, Any], batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """A state of a run, or a job that is described without one."""
    job = identity_of(item.get("job"))
    assert job is not None, "refused before"
    kind = "run" if "run" in item else "job"
    run, state = run_id_of(item), _state(item)
    if not _UUID.fullmatch(run):
        # An id that isn't unique by itself, as UUIDs are, is one of its job.
        run = _digest((*job, run))
    if kind == "run":
        key = f"{run}-{state}" + ("" if state in _ONCE else f"-{_moment(item)}")
        named = {"run.id": run, "run.state": state, "lineage.scope": run}
    else:
        key = f"job-{_digest(job)}-{_moment(item)}"
        named = {"lineage.scope": key}
    of_run = run_facets(object_of(item.get("run")).get("facets"))
    of_job = job_facets(object_of(item.get("job")).get("facets"))
    around = _Around(
        batch,
        key,
        _time(item, batch),
        _STATUSES.get(state, "") if kind == "run" else "",
        environment_of(of_run, of_job),
        {"job.namespace": job[0], "job.name": job[1], **named},
    )
    producer = {"producer": text_of(item, "producer")}
    yield _event(around, kind, key, job[1], producer | of_job | of_run)
    entries = {way: item.get(f"{way}s") for way in ("input", "output")}
    canonical = _canonical(*entries.values())
    columns = _Columns(around, canonical)
    for way, said in entries.items():
        for number, entry in enumerate(said if isinstance(said, list) else ()):
            if number >= MAX_DATASETS:
                yield Skipped(TOO_MANY_DATASETS)
                continue
            yield _dataset(around, way, entry, {})
            if way == "output":
                yield from columns.of(entry)


def _of_dataset(item: Mapping[str, Any], batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """A dataset that is described without a run."""
    entry = item.get("dataset")
    named = identity_of(entry)
    assert named is not None, "refused before"
    key = f"dataset-{_digest(named)}-{_moment(item)}"
    around = _Around(batch, key, _time(item, batch), "", "", {"lineage.scope": key})
    yield _dataset(around, "dataset", entry, {"producer": text_of(item, "producer")})
    yield from _Columns(around, _canonical([entry])).of(entry)


def _dataset(around: _Around, kind: str, entry: Any, more: Mapping[str, str]) -> Event | Skipped:
    found = identities(entry)
    if found is None:
        return Skipped(NO_DATASET_NAME)
    identity, aliases = found
    named = _named(identity)
    if named is None:
        return Skipped(TEMPORARY)
    if aliases:
        named["dataset.aliases"] = names_in(aliases)
    event_id = f"{around.key}-{kind}-{_digest(identity)}"
    return _event(around, kind, event_id, identity[1], {**more, **dataset_facets(entry)}, named)


class _Columns:
    """The pairs of columns in one event, so many that an event may have."""

    def __init__(self, around: _Around, canonical: Mapping[Identity, Identity]) -> None:
        self._around = around
        self._canonical = canonical
        self._room = MAX_COLUMN_PAIRS

    def of(self, entry: Any) -> Iterator[Event | Skipped]:
        """One event for each column that a column of this output is made from."""
        found = identities(entry)
        output = _named(found[0]) if found else None
        if found is None or output is None:
            return
        facet = object_of(object_of(entry.get("facets")).get("columnLineage"))
        for raw, made in object_of(facet.get("fields")).items():
            column, sources = column_of(raw), object_of(made).get("inputFields")
            for source in sources if isinstance(sources, list) else ():
                self._room -= 1
                if self._room < 0:
                    yield Skipped(TOO_MANY_COLUMNS)
                else:
                    yield self._pair(found[0], output, column, source)

    def _pair(
        self, identity: Identity, output: Mapping[str, str], column: str, source: Any
    ) -> Event | Skipped:
        said, field = identity_of(source), column_of(object_of(source).get("field"))
        if said is None or not field or not column:
            return Skipped(MALFORMED_COLUMN)
        other = self._canonical.get(said, said)
        if of_openlineage(*other) is None:
            return Skipped(TEMPORARY)
        named = {
            **output,
            "column.name": column,
            "source.namespace": other[0],
            "source.name": other[1],
            "source.column": field,
        }
        event_id = f"{self._around.key}-column-{_digest((*identity, column, *other, field))}"
        return _event(self._around, "column", event_id, column, _transformation(source), named)


def _transformation(source: Any) -> dict[str, str]:
    """How the column is made: an indirect way only decides which records there are."""
    said = object_of(source).get("transformations")
    steps = [object_of(step) for step in (said if isinstance(said, list) else ())[:100]]
    kinds = {text_of(step, "type").upper() for step in steps}
    return {
        "lineage.influence": "indirect" if kinds == {"INDIRECT"} else "direct",
        "lineage.transformations": " ".join(
            sorted({text_of(step, "subtype")[:64] for step in steps} - {""})
        ),
        "lineage.masking": "true" if any(step.get("masking") is True for step in steps) else "",
    }


def _canonical(*lists: Any) -> dict[Identity, Identity]:
    """The canonical identity for each other one that the datasets of an event state."""
    found: dict[Identity, Identity] = {}
    for entries in lists:
        for entry in (entries if isinstance(entries, list) else ())[:MAX_DATASETS]:
            named = identities(entry)
            if named is None:
                continue
            canonical, aliases = named
            for alias in aliases:
                # Of two tables at one place, the same one wins in whatever order they come.
                found[alias] = min(canonical, found.get(alias, canonical))
    return found


def _named(identity: Identity) -> dict[str, str] | None:
    name = of_openlineage(*identity)
    if name is None:
        return None
    return {
        "dataset.namespace": identity[0],
        "dataset.name": identity[1],
        "dataset.type": name.kind,
    }


def _event(
    around: _Around,
    kind: str,
    event_id: str,
    name: str,
    pairs: Mapping[str, str],
    named: Mapping[str, str] | None = None,
) -> Event:
    """An event; what is empty among the pairs is left out, and an identity is never cut."""
    kept = bounded(((key, value) for key, value in pairs.items() if value), redact=redacted)
    batch = around.batch
    return Event(
        project=batch.project,
        source=LINEAGE_SOURCE,
        event_id=event_id,
        time=around.time,
        duration_ns=0,
        name=text(name, MAX_NAME),
        kind=kind,
        status=around.status if kind == "run" else "",
        service="",
        release="",
        environment=redacted(text(around.environment, MAX_NAME)),
        session="",
        trace_id="",
        span_id="",
        parent_span_id="",
        attributes={**kept, **around.identity, **(named or {})},
        seq=batch.seq,
        batch=batch.digest,
    )


def _state(item: Mapping[str, Any]) -> str:
    said = text_of(item, "eventType").upper()
    return said if _STATE.fullmatch(said) else "OTHER"


def _moment(item: Mapping[str, Any]) -> str:
    """What tells one event from the next: its time, or without one all that it says."""
    moment = instant(item.get("eventTime"))
    return _digest(item) if moment is None else str(moment)


def _time(item: Mapping[str, Any], batch: EvidenceBatch) -> int:
    moment = instant(item.get("eventTime"))
    if moment is None or not 0 <= moment <= batch.received_at + _AHEAD:
        moment = batch.received_at
    return min(max(moment, 0), LATEST_TIME)


def _digest(content: Any) -> str:
    said = json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(said).hexdigest()[:32]
