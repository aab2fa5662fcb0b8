"""Makes a case smaller while something stays true of it.

Invariant: what comes back is a part of what was given, and the property holds of it. Taking any one
more thing away loses the property.
Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from shapes.errors import ShapesError
from tests.shapes.oracle.oracle_cases import Case, Change

Item = TypeVar("Item")
Holds = Callable[[Case], bool]


def shrink(case: Case, holds: Holds) -> Case:
    """The smallest part of the case, found by leaving things out, of which this holds."""

    def still(candidate: Case) -> bool:
        try:
            return holds(candidate)
        except ShapesError:
            # Without a part of theirs the shapes are none.
            return False

    smaller = _pass(case, still)
    while smaller != case:
        case, smaller = smaller, _pass(smaller, still)
    return case


def _pass(case: Case, still: Holds) -> Case:
    for number in range(len(case.changes) - 1, -1, -1):
        if len(case.changes) > 1:
            changes = (*case.changes[:number], *case.changes[number + 1 :])
            if still(replace(case, changes=changes)):
                case = replace(case, changes=changes)
    case = replace(
        case, shapes=_fewest(case.shapes, lambda items: still(replace(case, shapes=items)))
    )
    case = replace(case, data=_fewest(case.data, lambda items: still(replace(case, data=items))))
    for number, change in enumerate(case.changes):
        for name in ("additions", "removals", "shapes_added", "shapes_removed"):
            case = _fewest_of(case, number, change, name, still)
            change = case.changes[number]
    return case


def _fewest_of(case: Case, number: int, change: Change, name: str, still: Holds) -> Case:
    def having(items: Sequence[object]) -> Case:
        changes = list(case.changes)
        changes[number] = replace(change, **{name: tuple(items)})  # type: ignore[arg-type]
        return replace(case, changes=tuple(changes))

    return having(_fewest(getattr(change, name), lambda items: still(having(items))))


def _fewest(items: tuple[Item, ...], still: Callable[[tuple[Item, ...]], bool]) -> tuple[Item, ...]:
    size = max(1, len(items) // 2)
    while items:
        for start in range(0, len(items), size):
            fewer = (*items[:start], *items[start + size :])
            if still(fewer):
                items = fewer
                break
        else:
            if size == 1:
                return items
            size = max(1, size // 2)
    return items
