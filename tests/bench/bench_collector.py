"""CPU time for spans, beside the OpenTelemetry Collector that writes the same requests to a file.

Invariant: both get the same requests from the same load generator, and both are measured from the
first request until all of it is written: by the Collector as lines of its file, here as classified
facts. The Collector is built from ``tests/bench/go`` when it is asked for; where there is no Go or
no registry, that is said instead of a figure.
Source: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/fileexporter
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench_client import read_requests, run_client, write_requests
from bench_context import Context, say
from bench_data import traces
from bench_figures import Baseline, Figure
from bench_server import free_port, tree
from bench_spans import bare_rows, drain, otlp_request

from ingest.otlp import PROTOBUF, TRACES, read

PROJECT = Path(__file__).with_name("go")
CLIENTS = 8
_PATIENCE = 120.0
_MILLION = 1e6


class Unavailable(Exception):
    """Why the Collector cannot be measured here, in words for the table."""


def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    payloads = [traces(place, sizes.spans) for place in range(sizes.payloads)]
    spans = sum(read(gzip.decompress(payload), PROTOBUF, TRACES).items for payload in payloads)
    ours, bare = [], []
    port = context.server.port
    requests = context.folder / "requests"
    for number in range(sizes.rounds):
        say(f"CPU time for spans, round {number + 1}")
        write_requests(requests, (otlp_request(context.key, payload) for payload in payloads))
        before = _cpu(context.server.pid)
        run_client(requests, port, CLIENTS).expect(200)
        drain(context)
        ours.append((_cpu(context.server.pid) - before) * _MILLION / spans)
        context.server.settle()
        started = time.process_time()
        bare_rows(payloads)
        bare.append((time.process_time() - started) * _MILLION / spans)
    baselines = [Baseline("decode into rows, one core", tuple(bare))]
    note = ""
    try:
        baselines.append(Baseline("Collector, to a file", tuple(_collector(context, requests))))
    except Unavailable as error:
        note = str(error)
    name = "CPU for a million spans, to facts"
    return [Figure(name, "s", tuple(ours), tuple(baselines), note=note)]


def _collector(context: Context, requests: Path) -> Iterator[float]:
    """CPU seconds for a million spans, of as many rounds."""
    if context.sizes.tiny:
        raise Unavailable("the Collector takes minutes to build: not for a look at whether it runs")
    program = _build(context.folder / "collector")
    sent = _spans_of(requests)
    for number in range(context.sizes.rounds):
        say(f"the Collector, round {number + 1}")
        written = context.folder / f"collector-{number}.jsonl"
        with _running(program, written) as (pid, port):
            before = _cpu(pid)
            run_client(requests, port, CLIENTS).expect(200)
            _wait_for(written, sent)
            yield (_cpu(pid) - before) * _MILLION / sent


def _build(folder: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise Unavailable("the Collector: not measured, there is no go on PATH")
    say("building the Collector")
    program = folder / "collector"
    done = subprocess.run(
        [go, "build", "-mod=readonly", "-o", str(program), "."],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise Unavailable(f"the Collector: not measured, it could not be built: {' '.join(last)}")
    return program


@contextmanager
def _running(program: Path, written: Path) -> Iterator[tuple[int, int]]:
    """The Collector's process and the port of its receiver."""
    port = free_port()
    settings = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"file": {"path": str(written)}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
        },
    }
    # JSON is YAML.
    place = written.with_suffix(".yaml")
    place.write_text(json.dumps(settings))
    process = subprocess.Popen([str(program), "--config", str(place)])
    try:
        _wait_for_port(process, port)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Unavailable("the Collector: not measured, it did not start")


def _wait_for(written: Path, spans: int) -> None:
    """Wait until the file holds so many spans: each has one such key."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if written.exists() and written.read_bytes().count(b'"spanId"') >= spans:
            return
        time.sleep(0.05)
    raise TimeoutError(f"the Collector did not write {spans} spans")


def _spans_of(requests: Path) -> int:
    return sum(
        read(gzip.decompress(request.partition(b"\r\n\r\n")[2]), PROTOBUF, TRACES).items
        for request in read_requests(requests)
    )


def _cpu(pid: int) -> float:
    """CPU seconds that a process and everything below it have taken so far."""
    ticks = 0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            # It ended while we looked.
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
