"""Load from wrk, which takes less of the shared cores than any client in Python.

Source: https://github.com/wg/wrk/blob/master/SCRIPTING
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_client import Load, run_client, write_requests

_SCRIPT = """
local requests = {}
function init(arguments)
  for path in io.lines(os.getenv("BENCH_PATHS")) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end
local number = 0
function request()
  number = number % #requests + 1
  return requests[number]
end
function done(summary, latency)
  io.write(string.format(
    '\\n{"seconds": %f, "answers": %d, "failed": %d, "broken": %d, "p50": %f, "p99": %f}\\n',
    summary.duration / 1e6, summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


def generator() -> str:
    """What :func:`get_load` uses on this machine."""
    return "wrk" if shutil.which("wrk") else "bench_client.py"


def get_load(
    folder: Path,
    port: int,
    paths: Sequence[str],
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
) -> Load:
    """GETs these paths again and again; every answer has to be a 200."""
    if generator() != "wrk":
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        requests = folder / "requests"
        write_requests(
            requests,
            (f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode() for path in paths),
        )
        return run_client(requests, port, connections, seconds).expect(200)
    script, listed = folder / "load.lua", folder / "paths"
    script.write_text(_SCRIPT, encoding="utf-8")
    listed.write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"],
        env={**os.environ, "BENCH_PATHS": str(listed)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    if found["failed"] or found["broken"] or not found["answers"]:
        raise RuntimeError(f"not every answer was a 200: {found}")
    return Load(found["seconds"], {200: found["answers"]}, found["p50"], found["p99"])
