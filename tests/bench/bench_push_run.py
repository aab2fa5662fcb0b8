"""Sends metadata to a DataHub once: ``push URL TOKEN TARGET STATE``, or with DataHub's own emitter
``emit TARGET FILE TOGETHER MOST``, so many proposals in a request, ``MOST`` of them (0: all).

Prints, as JSON, the seconds that it took without the start of Python, and how much was sent.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datahub.emitter.mcp import MetadataChangeProposalWrapper
from datahub.emitter.rest_emitter import DataHubRestEmitter, EmitMode
from datahub.ingestion.source.file import read_metadata_file
from datahub.metadata.schema_classes import MetadataChangeProposalClass

from stewards.datahub_push import Source, Target, push
from stewards.datahub_state import Document


def main() -> None:
    what, *given = sys.argv[1:]
    seconds, sent = _push(*given) if what == "push" else _emit(*given)
    print(json.dumps({"seconds": seconds, "sent": sent}))


def _push(url: str, token: str, target: str, state: str) -> tuple[float, int]:
    place = Path(state)

    def save(document: Document) -> None:
        place.write_text(json.dumps(document), encoding="utf-8")

    started = time.perf_counter()
    found = push(
        Source(url, token),
        Target(target),
        load=lambda: json.loads(place.read_text()) if place.exists() else None,
        save=save,
    )
    return time.perf_counter() - started, found.emitted


def _emit(target: str, file: str, together: str, most: str) -> tuple[float, int]:
    proposals = [
        record
        for record in read_metadata_file(Path(file))
        if isinstance(record, MetadataChangeProposalClass | MetadataChangeProposalWrapper)
    ][: int(most) or None]
    emitter = DataHubRestEmitter(target)
    size = int(together)
    started = time.perf_counter()
    for begin in range(0, len(proposals), size):
        if size == 1:
            emitter.emit(proposals[begin])
        else:
            emitter.emit_mcps(proposals[begin : begin + size], emit_mode=EmitMode.SYNC_PRIMARY)
    return time.perf_counter() - started, len(proposals)


if __name__ == "__main__":
    main()
