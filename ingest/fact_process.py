"""Makes facts in a process of its own, so that requests are answered while it works.

Invariant: the process holds nothing that isn't sent to it again when it is lost, and ends with the
connection. What a batch may do to it, it does to no other: whoever asked is told that it was lost,
and the next question is asked of a new one.
Source: https://docs.python.org/3/library/multiprocessing.html#multiprocessing.connection.Connection
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Final

from ingest.classify import Classifier
from ingest.decoders import decoders
from ingest.fact_making import FactMaker, Facts, Given
from ingest.marks import Marks
from ingest.pseudonyms import Pseudonyms
from runtime.process_exec import Running, spawn

PATIENCE: Final = 300.0
"""Seconds for one chunk of facts; no payload that is taken in needs a tenth of them."""

# A chunk of events and all that they hold; nothing among it refers to itself.
_ALLOCATIONS: Final = 2_000_000
_INHERITED: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "TZ")
_START: Final = (
    "import sys; sys.path[:] = {path!r}; from ingest.fact_process import main; main(sys.argv[1:])"
)


class ProcessLost(Exception):
    """The process ended, or was ended, before it had made what it was asked for."""


class FactProcess:
    """The process, started when it is first asked. For one thread."""

    def __init__(self, pseudonyms: Pseudonyms, marks: Marks) -> None:
        self._keys = pseudonyms, marks
        self._running: Running | None = None
        self._connection: Connection | None = None
        self._sent: Classifier | None = None

    def make(self, classifier: Classifier, given: Sequence[Given]) -> Iterator[Facts]:
        """As :meth:`ingest.fact_making.FactMaker.make`; the process begins at once. What it made is
        to be read to the end before it is asked again. Raises :class:`ProcessLost`."""
        connection = self._connection or self._start()
        # The rules go once, as long as they stay the same.
        news = None if classifier is self._sent else classifier
        try:
            connection.send_bytes(pickle.dumps((news, given), 5))
        except OSError as error:
            raise self._lost("it ended") from error
        self._sent = classifier
        return self._made(connection)

    @property
    def pid(self) -> int | None:
        """Its id, ``None`` while there is none."""
        return self._running.pid if self._running is not None else None

    def stop(self) -> None:
        """End the process, whatever it is at."""
        connection, self._connection = self._connection, None
        running, self._running = self._running, None
        if connection is not None:
            connection.close()
        if running is not None:
            running.stop(0)

    def _made(self, connection: Connection) -> Iterator[Facts]:
        last = False
        while not last:
            try:
                if not connection.poll(PATIENCE):
                    raise self._lost("it took too long")
                facts: Facts = pickle.loads(connection.recv_bytes())
            except (OSError, EOFError) as error:
                raise self._lost("it ended") from error
            last = facts.last
            yield facts

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self._running = spawn(
                [sys.executable, "-c", _START.format(path=sys.path), str(descriptor)],
                env=_inherited(),
                inherit=False,
                pass_fds=[descriptor],
            )
        self._connection = connection = Connection(ours.detach())
        connection.send_bytes(pickle.dumps(self._keys, 5))
        self._sent = None
        return connection

    def _lost(self, reason: str) -> ProcessLost:
        self.stop()
        return ProcessLost(f"the process that makes facts was lost: {reason}")


def _inherited() -> dict[str, str | None]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def main(arguments: list[str]) -> None:
    """``arguments``: the descriptor of the connection."""
    # The server decides when to end; a Ctrl-C meant for it must not end this first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    connection = Connection(int(arguments[0]))
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    try:
        pseudonyms, marks = pickle.loads(connection.recv_bytes())
        maker = FactMaker(decoders(pseudonyms), marks)
        classifier: Classifier | None = None
        while True:
            news, given = pickle.loads(connection.recv_bytes())
            classifier = news or classifier
            assert classifier is not None
            for facts in maker.make(classifier, given):
                connection.send_bytes(pickle.dumps(facts, 5))
    except (EOFError, ConnectionError):
        # Whoever asked is gone.
        return
