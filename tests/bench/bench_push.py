"""The push to DataHub: entities per second, and a push with nothing new.

Baseline: DataHub's own emitter sending what the source plugin says of the same entities, which it
has read before: one proposal in a request, as its examples do, and as many as fit. All of them send
to a server that answers as DataHub does and keeps nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench_context import say
from bench_figures import Baseline, Figure

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("bench_push_run.py")
ONE_BY_ONE = 10_000
"""So many proposals are sent one by one; all of them would take very long."""
CONFIG = {
    "noCode": "true",
    "versions": {"acryldata/datahub": {"version": "v1.7.0"}},
    "datahub": {"serverType": "quickstart", "serverEnv": "core"},
    "patchCapable": True,
}


def measure(
    url: str, token: str, metadata: Path, folder: Path, entities: int, rounds: int
) -> list[Figure]:
    """Figures of pushes of the platform at ``url``, which has so many ``entities``; ``metadata`` is
    what the plugin says of them, as DataHub's file sink wrote it."""
    pushed: list[float] = []
    idle: list[float] = []
    single, many = [], []
    with _taking() as target:
        for number in range(rounds):
            say(f"push, round {number + 1}")
            state = folder / f"push-{number}.json"
            for times in (pushed, idle):
                times.append(_run("push", url, token, target, state)["seconds"])
            every = _run("emit", target, metadata, 200, 0)
            one = _run("emit", target, metadata, 1, ONE_BY_ONE)
            many.append(entities / every["seconds"])
            single.append(entities * one["sent"] / every["sent"] / one["seconds"])
    return [
        Figure(
            "push to DataHub",
            "entities/s",
            tuple(entities / seconds for seconds in pushed),
            (
                Baseline("DataHub's emitter, one by one", tuple(single), note="metadata at hand"),
                Baseline("DataHub's emitter, 200 at a time", tuple(many), note="metadata at hand"),
            ),
            note=f"{entities:,} entities",
        ),
        Figure(
            "push to DataHub with nothing new",
            "s",
            tuple(idle),
            (Baseline("the first push", tuple(pushed)),),
            aim="aim: seconds",
        ),
    ]


def _run(*arguments: object) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(RUNNER), *map(str, arguments)],
        env=os.environ
        | {
            "DATAHUB_TELEMETRY_ENABLED": "false",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "stewards" / "datahub"))),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def _taking() -> Iterator[str]:
    """The address of a server that takes all metadata, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            known = self.path == "/config"
            self._answer(200 if known else 404, CONFIG if known else {"status": 404})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(200, {"value": "success"})

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            payload = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
