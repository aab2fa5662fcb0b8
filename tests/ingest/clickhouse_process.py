"""The process of :mod:`tests.ingest.clickhouse_server`, as tests order it about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "clickhouse_server.py"


class ClickHouse:
    """A server in a process of its own, which may go away and come back on the same port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(PROGRAM), str(self._folder), str(self.port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    def order(self, mode: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mode}\n")
        self._process.stdin.flush()
        assert self._line() == "done"

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)

    @property
    def dsn(self) -> str:
        return f"clickhouse://default:geheim@127.0.0.1:{self.port}/default?compress=false"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
