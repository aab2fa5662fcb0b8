"""What a push remembers is plain JSON and comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewards.datahub_state import DeadLetter, PushState, Reading, Told, without
from stewards.errors import PushNeedsPerson

TEXT = st.text(max_size=8)
HEAD = st.integers(0, 2**40)
STATES = st.builds(
    PushState,
    head=st.none() | HEAD,
    recipe=TEXT,
    mark=HEAD,
    told=st.dictionaries(
        TEXT,
        st.builds(Told, TEXT, HEAD, st.lists(TEXT, max_size=3).map(tuple), st.booleans()),
        max_size=4,
    ),
    stale=st.sets(TEXT, max_size=3),
    dead=st.lists(st.builds(DeadLetter, TEXT, TEXT, HEAD, TEXT, HEAD, HEAD), max_size=3).map(
        lambda letters: {it.urn: it for it in letters}
    ),
    reading=st.none() | st.builds(Reading, HEAD, TEXT, st.none() | HEAD, st.none() | TEXT),
)


@given(STATES, STATES)
def test_a_document_holds_each_datahub_s_part(one: PushState, other: PushState) -> None:
    document = one.within(without(None, "http://one"), "http://one")
    document = other.within(without(document, "http://other"), "http://other")
    read: dict[str, Any] = json.loads(json.dumps(document))
    assert PushState.of(read, "http://one") == one
    assert PushState.of(read, "http://other") == other
    assert PushState.of(read, "http://third") == PushState()
    assert [it["target"] for it in read["dead"]] == (
        ["http://one"] * len(one.dead) + ["http://other"] * len(other.dead)
    )
    again = PushState().within(without(read, "http://one"), "http://one")
    assert PushState.of(again, "http://one") == PushState()
    assert PushState.of(again, "http://other") == other


def test_a_urn_is_alive_as_long_as_one_entity_stands_behind_it() -> None:
    state = PushState(told={"a": Told("", 1, ("x", "y")), "b": Told("", 1, ("y",))})
    state.dead = {
        "x": DeadLetter("x", "a", 422, "", 1, 1),
        "y": DeadLetter("y", "b", 422, "", 1, 1),
    }
    state.forget("a")
    assert state.stale == {"x", "y"}
    assert state.alive(state.stale) == {"y"}
    assert list(state.dead) == ["y"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": 2, "dead": [], "targets": {}},
        {"version": 1, "dead": [], "targets": []},
        {"version": 1, "dead": [], "targets": {"http://gms": {"head": 1}}},
        {"version": 1, "dead": [], "targets": {"http://gms": "x"}},
        {"version": 1, "dead": [{"target": "http://gms"}], "targets": {}},
        {
            "version": 1,
            "dead": [],
            "targets": {
                "http://gms": {"head": 1, "recipe": "", "mark": 0, "told": "abc", "stale": []}
            },
        },
    ],
)
def test_what_is_no_state_is_not_taken_for_an_empty_one(document: dict[str, Any]) -> None:
    with pytest.raises(PushNeedsPerson, match="can't be read"):
        PushState.of(document, "http://gms")
    assert PushState.of(None, "http://gms") == PushState()
