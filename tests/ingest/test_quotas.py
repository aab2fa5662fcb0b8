"""Buckets: what a project may send, and how long it waits when it sent more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import InboxBehind, QuotaDeferred, QuotaExceeded
from ingest.inbox import Inbox
from ingest.quotas import BURST, PUBLIC_SHARE, Quota, Quotas
from ingest.sender import Sender

SHOP = Sender("shop")
PAGE = SHOP.from_page()


@dataclass
class Time:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("sent", "after", "wait"),
    [
        (0, 0, None),
        (int(100 * BURST), 0, None),
        (int(100 * BURST) + 1, 0, 1),
        (int(100 * BURST) + 150, 0, 2),
        (int(100 * BURST) + 150, 1.5, None),
        (10**9, 0, int(BURST)),
        (10**9, BURST, None),
    ],
)
def test_who_sent_more_waits_until_it_fits(sent: int, after: float, wait: int | None) -> None:
    time = Time()
    quotas = Quotas(Quota(items=100), monotonic=time)
    quotas.charge(SHOP, sent, 10**12)
    time.now = after
    if wait is None:
        quotas.check(SHOP)
        return
    with pytest.raises(QuotaExceeded, match="more items than its quota") as refused:
        quotas.check(SHOP)
    assert refused.value.retry_after == wait


def test_bytes_are_a_measure_of_their_own_and_projects_may_differ() -> None:
    quotas = Quotas(Quota(size=10), {"blog": Quota()}, monotonic=Time())
    quotas.charge(SHOP, 10**9, 10_000)
    with pytest.raises(QuotaDeferred, match="more bytes"):
        quotas.check(SHOP, QuotaDeferred)
    quotas.charge(Sender("blog"), 10**9, 10**9)
    quotas.check(Sender("blog"))
    quotas.check(Sender("docs"))


def test_a_flood_from_pages_locks_out_no_server() -> None:
    quotas = Quotas(Quota(items=100), monotonic=Time())
    quotas.charge(PAGE, int(100 * BURST * PUBLIC_SHARE), 0)
    quotas.check(PAGE)
    quotas.charge(PAGE, 1, 0)
    with pytest.raises(QuotaExceeded, match="what pages may send"):
        quotas.check(PAGE)
    quotas.check(SHOP)


def seconds_to_wait(quotas: Quotas) -> int:
    try:
        quotas.check(SHOP)
    except QuotaExceeded as refused:
        return refused.retry_after or 0
    return 0


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.floats(0, 100)), max_size=50),
    st.integers(1, 1_000),
)
def test_nobody_waits_for_ever_and_waiting_always_helps(
    steps: list[tuple[int, float]], rate: int
) -> None:
    time = Time()
    quotas = Quotas(Quota(items=rate), monotonic=time)
    passed = 0
    for items, pause in steps:
        time.now += pause
        wait = seconds_to_wait(quotas)
        assert 0 <= wait <= BURST
        time.now += wait
        quotas.check(SHOP)
        # What comes in one request is never more than what came before it was checked.
        assert passed <= rate * (BURST + time.now) + 20_000 * (1 + time.now / BURST)
        quotas.charge(SHOP, items, 0)
        passed += items


def test_one_project_does_not_fill_the_inbox_and_pages_fill_less(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite", max_backlog=1_000)

    def send(sender: Sender, size: int) -> None:
        inbox.submit_blocking(sender, "otel.span", "application/json", b"x" * size)

    send(PAGE, 100)
    with pytest.raises(InboxBehind, match="of this project"):
        send(PAGE, 26)
    send(SHOP, 400)
    with pytest.raises(InboxBehind, match="of this project"):
        send(SHOP, 1)
    send(Sender("blog"), 500)
    with pytest.raises(InboxBehind):
        send(Sender("docs"), 1)
    inbox.close()
    again = Inbox(inbox.file.path, max_backlog=1_001)
    with pytest.raises(InboxBehind, match="500 bytes of this project"):
        again.submit_blocking(SHOP, "otel.span", "application/json", b"x")
    again.advance(2)
    again.submit_blocking(SHOP, "otel.span", "application/json", b"x")
    assert again.evidence.untrusted([again.pending(0, 1)[0].digest])
    assert not again.evidence.untrusted([batch.digest for batch in again.pending(1, 10)])
    again.close()
