"""Which marks are made and lifted, as a function of what is known and what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontology.terms import from_nquads
from ontology.vocab import Fo
from stewards.dormant import Known, changes, day_of, lifting, marking, read, stated

TODAY = date(2026, 11, 22)
DAYS = 30
GRAPH = "http://example.org/graph"
THING = "http://example.org/orders"


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


BROUGHT = Known({THING: Fo.Service})
MARKED = Known({THING: Fo.Service}, frozenset({THING}), frozenset({(THING, ago(40))}))


@pytest.mark.parametrize(
    ("known", "seen", "made"),
    [
        pytest.param(BROUGHT, 0, None, id="seen today"),
        pytest.param(BROUGHT, 30, None, id="seen on the last day that counts"),
        pytest.param(BROUGHT, 31, 31, id="seen a day before"),
        pytest.param(BROUGHT, 800, 800, id="seen long ago"),
        pytest.param(BROUGHT, None, 31, id="no facts are left of it"),
        pytest.param(Known(), 800, None, id="nothing a steward brought"),
        pytest.param(MARKED, 800, None, id="marked already, with another day"),
        pytest.param(
            replace(BROUGHT, shared=frozenset({THING})), 800, None, id="another project knows it"
        ),
        pytest.param(
            replace(BROUGHT, turned_down={THING: ago(40)}), 40, None, id="that mark was turned down"
        ),
        pytest.param(
            replace(BROUGHT, turned_down={THING: ago(40)}), 50, None, id="and facts of it are lost"
        ),
        pytest.param(
            replace(BROUGHT, turned_down={THING: ago(40)}), None, None, id="and none are left"
        ),
        pytest.param(
            replace(BROUGHT, turned_down={THING: ago(400)}), 35, 35, id="seen since, and lost again"
        ),
    ],
)
def test_what_is_marked(known: Known, seen: int | None, made: int | None) -> None:
    found = changes(known, {} if seen is None else {THING: seen}, TODAY, DAYS)
    assert found.made == (() if made is None else ((THING, ago(made)),))
    assert not found.lifted


@pytest.mark.parametrize(
    ("known", "seen", "lifted"),
    [
        pytest.param(MARKED, 0, True, id="seen today"),
        pytest.param(MARKED, 30, True, id="seen on the last day that counts"),
        pytest.param(MARKED, 31, False, id="seen after the mark, and too long ago"),
        pytest.param(MARKED, None, False, id="not seen"),
        pytest.param(
            replace(MARKED, own=frozenset({(THING, ago(3))})), 3, False, id="seen on that very day"
        ),
        pytest.param(
            replace(MARKED, own=frozenset({(THING, ago(3))})), 2, True, id="seen a day later"
        ),
        pytest.param(replace(MARKED, own=frozenset()), 0, False, id="somebody else's mark"),
        pytest.param(
            replace(MARKED, kept=MARKED.own), 0, False, id="somebody wants the mark to stay"
        ),
        pytest.param(
            replace(MARKED, shared=frozenset({THING})), None, True, id="another project knows it"
        ),
    ],
)
def test_what_is_lifted(known: Known, seen: int | None, lifted: bool) -> None:
    found = changes(known, {} if seen is None else {THING: seen}, TODAY, DAYS)
    assert found.lifted == (tuple(known.own) if lifted else ())
    assert not found.made


THINGS = st.sampled_from([f"http://example.org/{number}" for number in range(6)])
SETS = st.frozensets(THINGS)
AGES = st.integers(0, 900)


@given(
    SETS,
    st.dictionaries(THINGS, AGES),
    SETS,
    SETS,
    st.dictionaries(THINGS, AGES),
    st.integers(1, 90),
)
def test_marks_follow_the_facts_and_are_then_at_rest(
    brought: frozenset[str],
    marks: dict[str, int],
    others: frozenset[str],
    shared: frozenset[str],
    seen: dict[str, int],
    days: int,
) -> None:
    own = frozenset((thing, ago(age)) for thing, age in marks.items() if thing not in others)
    known = Known(dict.fromkeys(brought | set(marks), Fo.Service), frozenset(marks), own, shared)
    found = changes(known, seen, TODAY, days)
    made, lifted = dict(found.made), dict(found.lifted)
    assert set(made) <= brought - set(marks) - shared
    assert set(found.lifted) <= own
    assert not [thing for thing in made if seen.get(thing, days + 1) <= days]
    # Nobody who was seen lately, and since the mark, sleeps on.
    after = {mark for mark in own | set(made.items()) if mark not in set(lifted.items())}
    assert not [
        thing for thing, since in after if seen.get(thing, 999) <= days and ago(seen[thing]) > since
    ]
    marked = (frozenset(marks) | frozenset(made)) - frozenset(lifted)
    then = replace(known, marked=marked, own=frozenset(after))
    again = changes(then, seen, TODAY, days)
    assert again.lifted == ()
    assert {thing for thing, _ in again.made} <= set(lifted)


def test_a_proposal_says_what_it_marks_and_why() -> None:
    kinds = {THING: Fo.Service, f"{THING}/place": Fo.HttpRoute, "urn:x:table": Fo.Dataset}
    made = [(THING, ago(40)), (f"{THING}/place", ago(50)), ("urn:x:table", ago(31))]
    draft = marking(made, kinds, {THING: 40, f"{THING}/place": 50}, GRAPH, DAYS, 7)
    assert draft.rationale == (
        "Not seen in the last 30 days: 1 service, 1 operation, 1 dataset. The facts last showed"
        " them between 2026-10-03 and 2026-10-13. Of 1 no facts are left. 7 more follow in a day."
    )
    assert (draft.evidence, draft.removals) == ((), "")
    assert read(draft.quads) == frozenset(made)
    one = marking(made[:1], kinds, {THING: 40}, GRAPH, 1)
    assert one.rationale == (
        "Not seen in the last day: 1 service. The facts last showed it on 2026-10-13."
    )


def test_a_proposal_says_what_it_lifts_and_why() -> None:
    kinds = {THING: Fo.Service, "urn:x:a": Fo.Page, "urn:x:table": Fo.Dataset}
    lifted = [(THING, ago(40)), ("urn:x:a", ago(41)), ("urn:x:table", ago(42))]
    draft = lifting(lifted, kinds, GRAPH, ("sha256:1",), {"urn:x:table"}, 1)
    assert draft.rationale == (
        "No longer dormant. Seen again: 1 service, 1 page. Known to other projects too: 1 dataset."
        " Only keys that stand in pages showed 1 of them."
    )
    assert (draft.quads, draft.evidence) == ((), ("sha256:1",))
    assert read(from_nquads(draft.removals.encode())) == frozenset(lifted)


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = (THING, ago(31))
    assert read([stated(mark, GRAPH)]) == {mark}
    assert day_of("2026-10-20T23:59:59.5+02:00") == date(2026, 10, 20)
    assert day_of("last week") is None
