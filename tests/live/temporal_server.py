"""Temporal's own server for tests, as a process with its history on disk.

Invariant: it has a port that the system picked and a folder of its own; killed and begun again, it
has the same of both.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from temporalio.client import Client

PROGRAM = Path(sys.executable).with_name("temporal")
START_SECONDS = 60.0


class TemporalServer:
    """``temporal server start-dev`` on a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as picked:
            picked.bind(("127.0.0.1", 0))
            self.port = int(picked.getsockname()[1])
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> TemporalServer:
        with (self._folder / "temporal.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(PROGRAM, "server", "start-dev", "--headless", "--log-level", "error"),
                    *("--ip", "127.0.0.1", "--port", str(self.port)),
                    *("--db-filename", str(self._folder / "temporal.sqlite")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "temporal.txt").read_text()
            assert time.monotonic() < give_up, "Temporal's server did not start"
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def client(self) -> Client:
        """A client, once the server answers; it says of itself nothing of this machine."""
        give_up = time.monotonic() + START_SECONDS
        while True:
            try:
                return await Client.connect(self.address, identity="test")
            except RuntimeError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0
