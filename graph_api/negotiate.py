"""Chooses the media type of an answer.

Invariant: the choice is the offered type the client weighs highest, by its most specific range that
matches; between equals the order of the offer decides, and a type weighed 0 is never sent.
Specification: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from graph_api.problems import Problem

_MOST_RANGES = 64
_MOST_REMEMBERED = 512


def best(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type to answer in; ``None`` when the client takes none of them."""
    if not accept or accept == "*/*":
        return offered[0]
    if len(accept) > _MOST_REMEMBERED:
        return _choose(accept, tuple(offered))
    return _remembered(accept, tuple(offered))


def required(accept: str | None, offered: Sequence[str]) -> str:
    """As :func:`best`; raises the 406 problem that lists what there is."""
    chosen = best(accept, offered)
    if chosen is None:
        raise not_acceptable(offered)
    return chosen


def not_acceptable(offered: Sequence[str]) -> Problem:
    """The answer to a client that takes nothing of what there is."""
    return Problem(
        406,
        "not-acceptable",
        "No such format",
        f"This comes as {', '.join(offered)}. Name one of them in the Accept header, or leave the"
        " header out.",
        extra={"offered": list(offered)},
    )


def _choose(accept: str, offered: tuple[str, ...]) -> str | None:
    ranges = [_range(part) for part in accept.split(",")[:_MOST_RANGES] if "/" in part]
    if not ranges:
        return offered[0]
    chosen, highest = None, 0.0
    for media_type in offered:
        weight = _weight(media_type, ranges)
        if weight > highest:
            chosen, highest = media_type, weight
    return chosen


_remembered = lru_cache(maxsize=512)(_choose)


def _range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    # NaN compares false, so it falls to 0 here as well.
    return media_range, weight if 0.0 <= weight <= 1.0 else 0.0


def _weight(media_type: str, ranges: list[tuple[str, float]]) -> float:
    kind = media_type.partition("/")[0]
    for wanted in (media_type, f"{kind}/*", "*/*"):
        weights = [weight for media_range, weight in ranges if media_range == wanted]
        if weights:
            return max(weights)
    return 0.0
