"""A load generator for HTTP: requests prepared beforehand, over connections that stay open.

Invariant: it does as little as it can for each request (one send, one or two reads, no parsing but
of the length), so that it takes a small part of the cores it shares with the server. It runs in a
process of its own: ``python bench_client.py FILE PORT CONNECTIONS SECONDS``, where 0 seconds sends
each request once. What it found is JSON on its output; times are in seconds.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SIZE = struct.Struct("!I")
_READ = 1 << 18
_QUIET_SECONDS = 60.0


@dataclass(frozen=True)
class Load:
    """What a server did under load: answers by status, and the times they took, in seconds."""

    seconds: float
    statuses: dict[int, int]
    p50: float
    p99: float

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def times(self) -> str:
        """The times, ready to print."""
        return f"p50 {self.p50 * 1e3:.2f} ms, p99 {self.p99 * 1e3:.2f} ms"

    def expect(self, *statuses: int) -> Load:
        """This, where every answer had one of these statuses: others measure something else."""
        if set(self.statuses) - set(statuses) or not self.answers:
            raise RuntimeError(f"the answers had the statuses {self.statuses}, not {statuses}")
        return self


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        for request in requests:
            file.write(_SIZE.pack(len(request)) + request)


def run_client(requests: Path, port: int, connections: int, seconds: float = 0) -> Load:
    """Runs the program of this module against a server on this machine."""
    command = [sys.executable, __file__, requests, port, connections, seconds]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    statuses = {int(status): count for status, count in found["statuses"].items()}
    return Load(found["seconds"], statuses, found["p50"], found["p99"])


def read_requests(path: Path) -> list[bytes]:
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        start = place + _SIZE.size
        place = start + _SIZE.unpack_from(data, place)[0]
        found.append(data[start:place])
    return found


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _QUIET_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self._received = b""

    def send(self, request: bytes) -> None:
        self._received = b""
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """The status once the whole answer is here."""
        data = self.socket.recv(_READ)
        if not data:
            raise ConnectionError("the server closed the connection")
        received = self._received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = _LENGTH.search(received, 0, end + 2)
        if length is None:
            whole = received.endswith(b"0\r\n\r\n")
        else:
            whole = len(received) >= end + 4 + int(length[1])
        return int(received[9:12]) if whole else None


def _drive(
    waiting: Iterator[bytes], port: int, connections: int, until: float | None
) -> tuple[list[float], Counter[int]]:
    times: list[float] = []
    statuses: Counter[int] = Counter()
    poll = select.epoll()
    opened = {c.socket.fileno(): c for c in (_Connection(port) for _ in range(connections))}
    busy = 0
    for number, connection in opened.items():
        request = next(waiting, None)
        if request is not None:
            poll.register(number, select.EPOLLIN)
            connection.send(request)
            busy += 1
    while busy:
        ready = poll.poll(_QUIET_SECONDS)
        if not ready:
            raise TimeoutError(f"no answer came for {_QUIET_SECONDS:g} s")
        for number, _ in ready:
            connection = opened[number]
            status = connection.receive()
            if status is None:
                continue
            now = time.perf_counter()
            times.append(now - connection.sent)
            statuses[status] += 1
            request = None if until is not None and now > until else next(waiting, None)
            if request is None:
                busy -= 1
            else:
                connection.send(request)
    for connection in opened.values():
        connection.socket.close()
    return times, statuses


def _main(arguments: list[str]) -> None:
    requests = read_requests(Path(arguments[0]))
    port, connections, seconds = int(arguments[1]), int(arguments[2]), float(arguments[3])
    started = time.perf_counter()
    if seconds:
        times, statuses = _drive(_again(requests), port, connections, started + seconds)
    else:
        times, statuses = _drive(iter(requests), port, connections, None)
    taken = time.perf_counter() - started
    times.sort()
    found = {
        "seconds": taken,
        "statuses": statuses,
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
    }
    json.dump(found, sys.stdout)


def _again(requests: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from requests


if __name__ == "__main__":
    _main(sys.argv[1:])
