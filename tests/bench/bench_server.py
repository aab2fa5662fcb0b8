"""The platform under measurement: the real command in a process of its own, on a folder.

Invariant: what is started here is stopped when the ``with`` block ends, however it ends. Nothing of
the caller's FRACTALOPS_ environment reaches it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from graph_api.client import Client

START_SECONDS = 600
STOP_SECONDS = 30
_READY = re.compile(r"^ready at http://127\.0\.0\.1:(\d+) ")


class Server:
    """``fractalops up`` on ``data``; ``seconds`` is how long it took until it said it was ready."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = 0
        self.seconds = 0.0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        started = time.perf_counter()
        kept = {key: v for key, v in os.environ.items() if not key.startswith("FRACTALOPS_")}
        log = self.data.with_suffix(".log")
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "graph_api.cli", "up"),
                    *("--data", str(self.data), "--port", "0", "--grpc-port", "off"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**kept, "PYTHONUNBUFFERED": "1"},
            )
        said = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = _READY.match(line)
            if found:
                self.port, self.seconds = int(found[1]), time.perf_counter() - started
                return self
            said.append(line)
        self._process.wait()
        raise RuntimeError(f"the server did not start: {''.join(said)}{log.read_text()[-2000:]}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def token(self) -> str:
        return (self.data / "operator.token").read_text(encoding="utf-8").strip()

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", self.token)

    def memory(self) -> tuple[int, int]:
        """Bytes that the server and all its processes hold: as each counts them (RSS), and with
        what they share counted once (PSS)."""
        return memory_of(self.pid)

    def settle(self, seconds: float = 60.0) -> None:
        """Waits until no telemetry is on its way and no steward has anything to propose."""
        until = time.monotonic() + seconds
        with self.client() as client:
            seen, since = -1, time.monotonic()
            while time.monotonic() < until:
                status = client.status()
                if status["head"] != seen or status["inbox"]["pending"]:
                    seen, since = status["head"], time.monotonic()
                elif time.monotonic() - since > 1.0:
                    return
                time.sleep(0.1)


def tree(pid: int) -> list[int]:
    """A process and everything below it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            # It ended while we looked.
            continue
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """RSS and PSS of a process and everything below it, in bytes."""
    pids = tree(pid)
    return sum(_memory(pid, "Rss") for pid in pids), sum(_memory(pid, "Pss") for pid in pids)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _memory(pid: int, kind: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{kind}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
