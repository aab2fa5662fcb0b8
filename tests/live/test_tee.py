"""Nobody loses the product behind: what its clients send with its own keys reaches it as well."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import brotli
import posthog
import pytest
import sentry_sdk

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Serve, Server

pytestmark = pytest.mark.live

PRODUCT_KEY, DSN_KEY = "phc_ofTheProduct", "0123456789abcdef0123456789abcdef"


@dataclass
class Product:
    """PostHog and GlitchTip as far as their clients see them."""

    port: int = 0
    answers: bool = True
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self, path: str) -> list[bytes]:
        """The plain bodies that came to a path."""
        return [
            _plain(headers.get("content-encoding", ""), body)
            for at, headers, body in list(self.seen)
            if at.partition("?")[0] == path
        ]


def _plain(encoding: str, body: bytes) -> bytes:
    unpack = {"gzip": gzip.decompress, "br": brotli.decompress}.get(encoding)
    return unpack(body) if unpack else body


@pytest.fixture
def product() -> Iterator[Product]:
    found = Product()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if not found.answers:
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.seen.append((self.path, headers, body))
            said: dict[str, Any] = {"status": "Ok", "id": "0" * 32}
            if self.path.startswith("/flags"):
                flag = {"key": "new-checkout", "enabled": True, "variant": "blue"}
                said = {"flags": {"new-checkout": flag}, "requestId": "r"}
            answer = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.port = server.server_address[1]
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def server(serve: Serve, product: Product, command: RunCommand) -> Server:
    """A server whose project has both products behind it."""
    found = serve(None, "--steward-seconds", "5").start()
    found.post("/projects", {"slug": "shop"})
    place = f"127.0.0.1:{product.port}"
    for arguments in (
        ("--kind", "posthog", "--url", f"http://{place}", "--key", PRODUCT_KEY),
        ("--kind", "sentry", "--url", f"http://{DSN_KEY}@{place}/42"),
    ):
        done = command("projects", "upstream", "shop", *arguments, "--data", found.data)
        assert not done.code, done.text
        assert PRODUCT_KEY not in done.text
    return found


def test_what_clients_send_with_the_products_own_keys_reaches_it(
    server: Server, product: Product, command: RunCommand
) -> None:
    client = posthog.Posthog(PRODUCT_KEY, host=server.url)
    for number in range(3):
        client.capture(f"event {number}", distinct_id="ann")
    assert client.evaluate_flags("ann").get_flag("new-checkout") == "blue"
    client.shutdown()
    place = server.url.removeprefix("http://")
    tracker = sentry_sdk.Client(f"http://{DSN_KEY}@{place}/42", default_integrations=False)
    reported = tracker.capture_event({"message": "out of stock", "level": "error"})
    tracker.close()
    wait_for(lambda: bool(product.bodies("/batch/") and product.bodies("/api/42/envelope/")))
    sent = [item for body in product.bodies("/batch/") for item in json.loads(body)["batch"]]
    assert {item["event"] for item in sent} >= {"event 0", "event 1", "event 2"}
    assert any(str(reported).encode() in body for body in product.bodies("/api/42/envelope/"))
    (_, headers, _) = next(item for item in product.seen if item[0].startswith("/api/42/"))
    assert DSN_KEY in headers["x-sentry-auth"]
    server.settle()
    assert server.facts("SELECT uniqExact(event_id) FROM events WHERE name LIKE 'event %'") == [[3]]
    assert server.facts("SELECT count() FROM events WHERE source = 'sentry.event'") == [[1]]
    # The product's key stands in pages.
    assert server.facts("SELECT DISTINCT trusted FROM events") == [[0]]
    shown = command("projects", "upstreams", "shop", "--data", server.data, "--output", "json")
    assert PRODUCT_KEY not in shown.text
    assert {item["kind"]: item["delivered"] > 0 for item in json.loads(shown.text)} == {
        "posthog": True,
        "sentry": True,
    }
    said = [(lane["kind"], lane["delivered"]) for lane in server.get("/status")["forwarding"]]
    server.stop()
    server.start()
    lanes = server.get("/status")["forwarding"]
    assert [(lane["kind"], lane["delivered"]) for lane in lanes] == said
    with server.client() as asking:
        metrics = asking.get("/metrics").text
    for kind in ("posthog", "sentry"):
        assert f'fractalops_outbox_entries{{product="{kind}",project="shop"}} 0.0' in metrics


def test_what_waited_for_a_product_outlives_a_kill(server: Server, product: Product) -> None:
    product.answers = False
    client = posthog.Posthog(PRODUCT_KEY, host=server.url, flush_at=1)
    for number in range(5):
        client.capture(f"event {number}", distinct_id="ann")
        client.flush()
    client.shutdown()
    wait_for(
        lambda: any("wait for the posthog" in text for text in server.get("/status")["warnings"])
    )
    server.kill()
    server.start()
    product.answers = True

    def names() -> list[str]:
        bodies = product.bodies("/batch/")
        return [item["event"] for body in bodies for item in json.loads(body)["batch"]]

    wait_for(lambda: names() == [f"event {number}" for number in range(5)])

    def waiting() -> list[str]:
        # What pages showed may wait for a person by now, which is no matter of forwarding.
        return [text for text in server.get("/status")["warnings"] if "the posthog" in text]

    wait_for(lambda: not waiting())


def test_without_the_product_its_key_is_refused(server: Server, command: RunCommand) -> None:
    arguments = ("upstream", "shop", "--kind", "posthog", "--remove", "--data", server.data)
    assert not command("projects", *arguments).code
    with server.client(anonymous=True) as client:
        answer = client.post("/e/", json={"event": "e", "api_key": PRODUCT_KEY})
    assert answer.status_code == 401
