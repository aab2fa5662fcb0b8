"""ClickHouse is away for a minute while clients go on sending: nothing is lost, nothing twice.

The minute is what the acceptance asks for; it is the one test that waits for a clock.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.ingest.clickhouse_process import ClickHouse

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, Serve

pytestmark = pytest.mark.live

MINUTE = 60.0
BEFORE = 20
SPANS = 20
PAUSE = 0.05


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    found = ClickHouse(tmp_path / "clickhouse")
    yield found
    found.kill()


class Load:
    """A client that sends requests of ``SPANS`` spans, each until it was acknowledged."""

    def __init__(self, url: str, key: str, make_spans: MakeSpans) -> None:
        self._url, self._key, self._make_spans = url, key, make_spans
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.acknowledged = 0
        self.answers: Counter[int] = Counter()
        self.failure: Exception | None = None
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        headers = {"x-fractalops-key": self._key, "Content-Type": "application/x-protobuf"}
        try:
            with httpx.Client(base_url=self._url, headers=headers, trust_env=False) as client:
                while not self._ended.wait(PAUSE):
                    request = self._make_spans(f"order {self.acknowledged}", SPANS)
                    body = request.SerializeToString()
                    answer = client.post("/v1/traces", content=body)
                    self.answers[answer.status_code] += 1
                    while answer.status_code == 503:
                        time.sleep(float(answer.headers["Retry-After"]))
                        answer = client.post("/v1/traces", content=body)
                        self.answers[answer.status_code] += 1
                    answer.raise_for_status()
                    self.acknowledged += 1
        except (httpx.HTTPError, KeyError) as error:
            self.failure = error


def test_a_minute_without_clickhouse_under_load_loses_nothing(
    serve: Serve, clickhouse: ClickHouse, make_spans: MakeSpans
) -> None:
    server = serve(
        None, "--steward-seconds", "600", settings={"FRACTALOPS_FACTS": clickhouse.dsn}
    ).start()
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]
    load = Load(server.url, key, make_spans)
    while load.acknowledged < BEFORE and load.failure is None:
        time.sleep(PAUSE)
    clickhouse.order("refuse")
    acknowledged = load.acknowledged
    began = time.monotonic()
    time.sleep(MINUTE / 2)
    # It refuses no longer: nobody is there at all.
    clickhouse.kill()
    time.sleep(MINUTE - (time.monotonic() - began))
    during: Any = server.get("/status")
    taken_in = load.acknowledged - acknowledged
    clickhouse.start()
    load.end()
    assert load.failure is None
    assert set(load.answers) <= {200, 503}
    assert load.answers[200] == load.acknowledged
    # The clients were hardly held up, and what they sent waited on this side.
    assert taken_in > MINUTE
    assert during["inbox"]["pending"] >= taken_in - 1
    assert during["problems"]
    server.settle()
    assert server.facts("SELECT count(), uniqExact(event_id), uniqExact(seq) FROM events") == [
        [SPANS * load.acknowledged, SPANS * load.acknowledged, load.acknowledged]
    ]
    assert server.get("/status")["inbox"] == {
        "batches": load.acknowledged,
        "pending": 0,
        "set_aside": 0,
    }
    server.stop()
