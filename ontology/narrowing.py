"""Narrows a set that is contradictory as a whole to the few members that contradict one another.

Invariant: what comes back is contradictory itself, and where `minimal` is true, taking any one
member away makes it free of contradiction. The test must be monotonic: what holds a contradiction
still holds it with more added.
Algorithm: QuickXplain, U. Junker, "QUICKXPLAIN: Preferred Explanations and Relaxations for
Over-Constrained Problems", AAAI 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Member = TypeVar("Member")


@dataclass(frozen=True)
class Narrowed(Generic[Member]):
    """Members that contradict one another; `minimal` is false where the budget ran out before."""

    members: tuple[Member, ...]
    minimal: bool


class _BudgetSpent(Exception):
    pass


def narrow(
    members: Sequence[Member],
    contradictory: Callable[[Sequence[Member]], bool],
    budget: int,
) -> Narrowed[Member]:
    """The culprits among members that are contradictory together.

    Asks `contradictory` at most `budget` times; for k culprits among n members it takes about
    2k log2(n/k) + 2k of them.
    """
    smallest = tuple(members)
    asked = 0

    def conflict(chosen: Sequence[Member]) -> bool:
        nonlocal smallest, asked
        if asked >= budget:
            raise _BudgetSpent
        asked += 1
        answer = contradictory(chosen)
        if answer and len(chosen) < len(smallest):
            smallest = tuple(chosen)
        return answer

    def explain(
        background: list[Member], grown: bool, candidates: Sequence[Member]
    ) -> list[Member]:
        if grown and conflict(background):
            return []
        if len(candidates) == 1:
            return list(candidates)
        half = len(candidates) // 2
        left, right = candidates[:half], candidates[half:]
        from_right = explain([*background, *left], True, right)
        from_left = explain([*background, *from_right], bool(from_right), left)
        return from_left + from_right

    if not members:
        return Narrowed((), True)
    try:
        return Narrowed(tuple(explain([], True, members)), True)
    except _BudgetSpent:
        return Narrowed(smallest, False)
