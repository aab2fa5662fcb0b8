"""What a steward's run carries from node to node, and into its checkpoints.

Invariant: numbers, words and lists of them, a few kilobytes whatever is in the facts. Claims and
drafts aren't among it: they are made anew from the facts and the graph, which are the truth, when a
run goes on in another process. So an old checkpoint can't bring back an old draft.
Source: https://docs.langchain.com/oss/python/langgraph/persistence
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from stewards.fact_queries import Page

MAX_AWAITING = 500
"""So many proposals that wait for a decision are followed, the newest."""


def readings(known: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Both together; nothing more means that a new page begins."""
    return {**known, **more} if more else {}


class State(TypedDict, total=False):
    """The state of one run.

    ``since`` is the watermark at which the cycle began and ``page`` the page in hand
    (:func:`page_of`); ``readings`` counts the claims of each source that has been read, ``drafts``
    are the keys of the drafts still to be submitted, made at the head ``base``, in the round
    ``rounds``. ``aside`` counts what the page sets aside once it is answered for, ``tally`` what
    came of the cycle so far. ``awaiting`` are the proposals that wait for a decision, over many
    cycles, ``decided`` what became of those that did. ``unclassified`` counts by source what no
    rule had fitted.
    """

    project: str
    since: int
    page: dict[str, int] | None
    readings: Annotated[dict[str, int], readings]
    drafts: list[str]
    base: int
    rounds: int
    aside: dict[str, int]
    tally: dict[str, Any]
    awaiting: list[str]
    decided: dict[str, str]
    unclassified: dict[str, int]


class Reading(TypedDict):
    """What one branch of the fan-out is told: a source, and the page to read it from."""

    project: str
    source: str
    page: dict[str, int]


def begun(project: str, since: int, page: Page | None) -> State:
    """The state in which a cycle begins, whatever the one before left. What waits for a decision is
    not among it: that stays."""
    return {
        "project": project,
        "since": since,
        "page": None if page is None else written(page),
        "readings": {},
        "drafts": [],
        "base": 0,
        "rounds": 0,
        "aside": {},
        "tally": {},
        "decided": {},
        "unclassified": {},
    }


def written(page: Page) -> dict[str, int]:
    """A page as a state holds it."""
    return {"after": page.after, "until": page.until, "facts": page.facts}


def page_of(state: Mapping[str, Any]) -> Page | None:
    """The page in hand."""
    page = state.get("page")
    return None if page is None else Page(state["project"], **page)
