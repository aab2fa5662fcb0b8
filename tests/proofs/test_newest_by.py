"""Which entry was the newest at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from proofs.projections import format_time

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate


def test_the_head_at_a_moment_is_the_newest_entry_by_then(gate: Gate) -> None:
    moments = []
    for number in range(3):
        gate.clock.move(hours=1)
        gate.propose(gate.service(f"s{number}"))
        moments.append((gate.clock.now, gate.ledger.head))
    before = gate.ledger.head - 3

    def head_at(moment: datetime, **later: float) -> int | None:
        row = gate.index.newest_by(format_time(moment + timedelta(**later)))
        return None if row is None else row.index

    for moment, head in moments:
        assert head_at(moment) == head
        assert head_at(moment, minutes=59) == head
        assert head_at(moment, microseconds=-1) == head - 1
    assert head_at(moments[0][0], minutes=-1) == before
    assert head_at(moments[0][0], days=-365) is None
    assert head_at(moments[0][0], days=365) == gate.ledger.head


def test_a_clock_that_went_back_hides_no_later_entry(gate: Gate) -> None:
    gate.propose(gate.service("one"))
    gate.clock.move(hours=-1)
    gate.propose(gate.service("two"))
    row = gate.index.newest_by(format_time(gate.clock.now))
    assert row is not None
    assert row.index == gate.ledger.head
