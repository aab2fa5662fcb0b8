"""Brings records in through the receivers, as any client would.

Invariant: records count as delivered only once a receiver acknowledged the request they were in; of
a request that is refused for what it says, the records that are to blame are found by halves and
named, and the others are delivered. What is delivered twice is one event.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.errors import PeerRefused
from ingest.history_records import TARGETS, Record, Unreadable
from ingest.patience import Peer, said
from runtime.http_messages import Answer

_TO_BLAME = frozenset({400, 413, 415, 422})


@dataclass(frozen=True)
class Delivered:
    """How many records were acknowledged, and those that were not, in order."""

    records: int
    refused: tuple[Unreadable, ...]


def deliver(peer: Peer, group: Sequence[Record | Unreadable]) -> Delivered:
    """Deliver records that share a request; what is unreadable among them is passed on.

    Raises :class:`PeerRefused` where the server takes nothing of this kind or knows no such key,
    and as :meth:`Peer.send` does.
    """
    records = [item for item in group if isinstance(item, Record)]
    refused = [item for item in group if isinstance(item, Unreadable)]
    blamed = _deliver(peer, records) if records else []
    refused = sorted([*refused, *blamed], key=lambda item: item.place)
    return Delivered(len(records) - len(blamed), tuple(refused))


def _deliver(peer: Peer, records: Sequence[Record]) -> list[Unreadable]:
    answer = _post(peer, records)
    taken = 200 <= answer.status < 300
    left_out = _left_out(answer) if taken else ""
    if taken and not left_out:
        return []
    if not taken and answer.status not in _TO_BLAME:
        raise _refusal(peer, answer, records[0])
    if len(records) == 1:
        only = records[0]
        why = left_out or said(answer)
        return [Unreadable(f"the server refuses it: {why}", only.place, only.end)]
    middle = len(records) // 2
    return _deliver(peer, records[:middle]) + _deliver(peer, records[middle:])


def _left_out(answer: Answer) -> str:
    """What an OTLP success says of items that were not taken in; empty where all were."""
    try:
        said = json.loads(answer.content)
    except ValueError:
        return ""
    partial = said.get("partialSuccess") if isinstance(said, dict) else None
    return str(partial.get("errorMessage", "")) if isinstance(partial, dict) else ""


def _post(peer: Peer, records: Sequence[Record]) -> Answer:
    target = TARGETS[records[0].kind]
    body = target.body(record.part for record in records)
    return peer.send("POST", target.path, content=body, media_type=target.media_type)


def _refusal(peer: Peer, answer: Answer, record: Record) -> PeerRefused:
    if answer.status in (401, 403):
        return PeerRefused(
            f"{peer.url} does not take the ingest key: {said(answer)}. Give one of the project's"
            " with --key or FRACTALOPS_INGEST_KEY"
        )
    if answer.status in (404, 405):
        return PeerRefused(
            f"{peer.url} has no receiver for {record.kind} ({TARGETS[record.kind].path});"
            " is it a FractalOps server of this version?"
        )
    return PeerRefused(f"{peer.url} answers {answer.status} {said(answer)}".rstrip())
