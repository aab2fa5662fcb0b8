"""Processes may be ended at any time, and the next task is taken."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout

import pytest
from pebble import ProcessExpired

from shapes.lasting_pool import LastingPool


def nothing() -> None:
    """Prepares a process for nothing."""


@pytest.fixture
def pool() -> Iterator[LastingPool]:
    made = LastingPool(1, nothing)
    yield made
    made.close()


@pytest.mark.parametrize("rest", [0.0, 1.0], ids=["at once", "after a while"])
def test_a_process_that_was_killed_while_idle_is_replaced(pool: LastingPool, rest: float) -> None:
    first = pool.run(os.getpid, (), 30)
    os.kill(first, signal.SIGKILL)
    time.sleep(rest)
    assert pool.run(os.getpid, (), 30) != first


def test_one_that_ends_in_the_middle_is_told_and_the_next_is_taken(pool: LastingPool) -> None:
    with pytest.raises(ProcessExpired):
        pool.run(os._exit, (3,), 30)
    assert pool.run(os.getpid, (), 30) != os.getpid()


def test_what_takes_too_long_is_ended(pool: LastingPool) -> None:
    with pytest.raises(FutureTimeout):
        pool.run(time.sleep, (60,), 0.5)
    assert pool.run(abs, (-1,), 30) == 1


def test_it_can_be_used_again_once_it_was_closed(pool: LastingPool) -> None:
    assert not pool.started
    assert pool.run(abs, (-1,), 30) == 1
    pool.close()
    assert not pool.started
    assert pool.run(abs, (-2,), 30) == 2
