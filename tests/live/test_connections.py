"""The running system connects to where it was told to, by the foundation client, and nowhere else.

Two witnesses: Python's own audit of ``socket.connect``, with the modules that led there, and the
kernel's, which sees libraries in other languages and event loops too.
Source: https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import posthog
import pytest
import sentry_sdk

from tests.live.conftest import serving, spans, wait_until
from tests.runtime.http_server import Handler, Misbehaving, misbehaving

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Server

pytestmark = pytest.mark.live

PRODUCT_KEY, DSN_KEY, OWN_KEY = "phc_ofTheProduct", "0123456789abcdef0123456789abcdef", "b" * 32
CLIENT = "runtime.http_connections"

WITNESS = """
import json, os, sys

_file = os.open(os.environ["CONNECTIONS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _witness(event, arguments):
    if event != "socket.connect":
        return
    modules, frame = [], sys._getframe(1)
    while frame is not None:
        modules.append(frame.f_globals.get("__name__"))
        frame = frame.f_back
    line = json.dumps({"family": int(arguments[0].family), "to": repr(arguments[1]), "by": modules})
    os.write(_file, line.encode() + b"\\n")


sys.addaudithook(_witness)
"""
CONNECT = re.compile(r"connect\(\d+, \{sa_family=(AF_\w+)(.*?)\}, \d+\)")
PORT = re.compile(r"port=htons\((\d+)\).*\"(127\.0\.0\.1|::1)\"")


@dataclass(frozen=True)
class Seen:
    """What the witnesses wrote down."""

    audit: Path
    kernel: Path

    def foreign(self) -> list[dict[str, Any]]:
        """Connections that Python made other than by the foundation client."""
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        assert lines, "the witness saw nothing"
        return [line for line in lines if CLIENT not in line["by"]]

    def addresses(self) -> set[str]:
        """Where anything connected to over a network: ports of this machine, and whatever else as
        it is told. The C library asks name services of this machine through files."""
        found = set()
        for family, rest in CONNECT.findall(self.kernel.read_text()):
            if family == "AF_UNIX":
                continue
            here = PORT.search(rest)
            found.add(here[1] if here else f"{family}{rest}")
        return found


@pytest.fixture(scope="module")
def product() -> Iterator[Misbehaving]:
    """PostHog and GlitchTip, as far as their clients see them."""

    def answer(it: Handler) -> None:
        said: Any = {"status": "Ok", "id": "0" * 32, "flags": {}, "requestId": "r", "results": []}
        if "/keys/" in it.path:
            said = [{"dsn": {"public": f"http://{OWN_KEY}@127.0.0.1:{it.mine.port}/7"}}]
        it.reply(200, json.dumps(said).encode(), Content_Type="application/json")

    with misbehaving() as found:
        found.handle = answer
        yield found


@pytest.fixture(scope="module")
def watched(
    product: Misbehaving, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Seen]]:
    """A server that is watched, with two products behind a project and a GlitchTip."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: only it sees what libraries connect to")
    folder = tmp_path_factory.mktemp("watched")
    seen = Seen(folder / "audit", folder / "kernel")
    (folder / "sitecustomize.py").write_text(WITNESS)
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {
        "PYTHONPATH": os.pathsep.join(path),
        "CONNECTIONS_FILE": str(seen.audit),
        "POSTHOG_TOKEN": "phx_theirs",
        "FRACTALOPS_GLITCHTIP_URL": product.url,
        "FRACTALOPS_GLITCHTIP_TOKEN": "theirs",
        "FRACTALOPS_GLITCHTIP_ORGANISATION": "acme",
        "FRACTALOPS_GLITCHTIP_TEAM": "web",
    }
    with serving(folder) as serve:
        server = serve(None, "--steward-seconds", "1", settings=settings)
        # The server stays the child of this process; who watches is its grandchild.
        server.prefix = (
            *("strace", "-D", "--seccomp-bpf", "-f", "-q", "-e", "trace=connect"),
            *("-e", "signal=none", "-o", str(seen.kernel)),
        )
        server.start()
        yield server, seen
        server.end()


def test_it_opens_no_other_connection(
    watched: tuple[Server, Seen], product: Misbehaving, command: RunCommand
) -> None:
    """Telemetry of all kinds, products behind, stewards, jobs and questions."""
    server, seen = watched
    server.post("/projects", {"slug": "shop"})
    key = server.post("/projects/shop/keys", {})["ingest_key"]
    for arguments in (
        ("--kind", "posthog", "--url", product.url, "--key", PRODUCT_KEY),
        ("--kind", "sentry", "--url", f"http://{DSN_KEY}@127.0.0.1:{product.port}/42"),
    ):
        done = command("projects", "upstream", "shop", *arguments, "--data", server.data)
        assert not done.code, done.text
    assert server.post("/projects/shop/glitchtip")
    server.send(key, spans("connections", 20))
    client = posthog.Posthog(PRODUCT_KEY, host=server.url)
    client.capture("bought", distinct_id="ann")
    client.evaluate_flags("ann")
    client.shutdown()
    place = server.url.removeprefix("http://")
    tracker = sentry_sdk.Client(f"http://{DSN_KEY}@{place}/42", default_integrations=False)
    tracker.capture_event({"message": "out of stock", "level": "error"})
    tracker.close()
    jobs = [
        {"kind": "audit"},
        {
            "kind": "backfill",
            "project": "shop",
            "arguments": {
                **{"source": "posthog", "url": product.url, "of": "17", "since": "2026-01-01"},
                "token_env": "POSTHOG_TOKEN",
            },
        },
    ]
    runs = [server.post("/jobs", job)["id"] for job in jobs]
    wait_until(
        lambda: all(server.get(f"/jobs/runs/{run}")["ended"] is not None for run in runs),
        "the end of the jobs",
    )
    server.settle()
    assert server.select("SELECT ?s { ?s a <https://w3id.org/fractalops/ns#Service> }")
    assert server.facts("SELECT count() FROM events") != [[0]]

    def all_asked() -> bool:
        asked = {it.target.partition("?")[0] for it in product.asked}
        return asked >= {
            *("/batch/", "/flags/", "/api/42/envelope/", "/api/projects/17/query/"),
            "/api/0/projects/acme/shop/keys/",
        }

    wait_until(all_asked, "the arrival of everything at the products")
    assert {it.headers["user-agent"].split("/")[0] for it in product.asked} >= {"fractalops"}
    server.stop()
    assert seen.foreign() == []
    own = server.url.rpartition(":")[2]
    assert seen.addresses() == {own, str(product.port)}


def test_a_product_is_not_put_where_clouds_keep_credentials(
    tmp_path: Path, watched: tuple[Server, Seen], command: RunCommand
) -> None:
    server, _ = watched
    if not server.running:
        server.start()
    for url in ("http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://2852039166/"):
        done = command(
            *("projects", "upstream", "shop", "--kind", "posthog", "--url", url),
            *("--key", PRODUCT_KEY, "--data", server.data),
        )
        assert done.code, done.text
        assert "no request can be put there" in done.text


def test_the_witnesses_would_notice(tmp_path: Path) -> None:
    """A connection by anything else, and one that Python's audit doesn't see."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: only it sees what libraries connect to")
    seen = Seen(tmp_path / "audit", tmp_path / "kernel")
    (tmp_path / "sitecustomize.py").write_text(WITNESS)
    program = (
        "import ctypes, socket, struct\n"
        "socket.socket().connect_ex(('127.0.0.1', 9))\n"
        "libc = ctypes.CDLL(None)\n"
        "to = struct.pack('=HH4s8x', socket.AF_INET, socket.htons(7), bytes([127, 0, 0, 1]))\n"
        "libc.connect(socket.socket().fileno(), to, len(to))\n"
    )
    subprocess.run(
        [
            *("strace", "-D", "-f", "-q", "-e", "trace=connect", "-o", str(seen.kernel)),
            *(sys.executable, "-c", program),
        ],
        env={"PYTHONPATH": str(tmp_path), "CONNECTIONS_FILE": str(seen.audit)},
        timeout=60,
        check=True,
    )
    wait_until(lambda: {"7", "9"} <= seen.addresses(), "what the kernel saw")
    assert [line["to"] for line in seen.foreign()] == ["('127.0.0.1', 9)"]
