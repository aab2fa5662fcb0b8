"""Counts, digests and passes on what a command writes.

Invariant: the sink hears the first bytes of each stream up to the command's limit, everything is
counted and digested, and nothing is kept.
"""

from __future__ import annotations

import hashlib

from runtime.commands import Command, Output, Sink, Stream


class CountedOutput:
    """The two streams of one command."""

    def __init__(self, command: Command, sink: Sink) -> None:
        self._sink = sink
        self._limit = command.output_bytes
        self._digests = {stream: hashlib.sha256() for stream in Stream}
        self._sizes = dict.fromkeys(Stream, 0)

    def heard(self, stream: Stream, chunk: bytes) -> None:
        room = self._limit - self._sizes[stream]
        self._digests[stream].update(chunk)
        self._sizes[stream] += len(chunk)
        if room > 0 and chunk:
            self._sink(stream, chunk[:room])

    def output(self, stream: Stream) -> Output:
        size = self._sizes[stream]
        digest = f"sha256:{self._digests[stream].hexdigest()}"
        return Output(digest, size, min(size, self._limit))
