"""What a push remembers is plain JSON and comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stewards.datahub_state import DeadLetter, PushState, Reading, Told, dead_letters
from stewards.errors import NotConfigured

TEXT = st.text(max_size=8)
HEAD = st.integers(0, 2**40)
STATES = st.builds(
    PushState,
    head=st.none() | HEAD,
    recipe=TEXT,
    mark=HEAD,
    told=st.dictionaries(
        TEXT, st.builds(Told, TEXT, HEAD, st.lists(TEXT, max_size=3).map(tuple)), max_size=4
    ),
    stale=st.sets(TEXT, max_size=3),
    dead=st.lists(st.builds(DeadLetter, TEXT, TEXT, HEAD, TEXT, HEAD, HEAD), max_size=3).map(
        lambda letters: {it.urn: it for it in letters}
    ),
    reading=st.none() | st.builds(Reading, HEAD, TEXT, st.none() | HEAD, st.none() | TEXT),
)


@given(STATES, STATES)
def test_a_document_holds_each_datahub_s_part(one: PushState, other: PushState) -> None:
    document = one.within({}, "http://one")
    document = other.within(document["targets"], "http://other")
    read: dict[str, Any] = json.loads(json.dumps(document))
    assert PushState.of(read, "http://one") == one
    assert PushState.of(read, "http://other") == other
    assert PushState.of(read, "http://third") == PushState()
    assert dead_letters(read) == {
        "http://one": list(one.dead.values()),
        "http://other": list(other.dead.values()),
    }


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
        {"version": 2, "targets": {}},
        {"version": 1, "targets": []},
        {"version": 1, "targets": {"http://gms": {"head": 1}}},
        {"version": 1, "targets": {"http://gms": "x"}},
    ],
)
def test_what_is_no_state_is_not_taken_for_an_empty_one(document: dict[str, Any]) -> None:
    with pytest.raises(NotConfigured, match="can't be read"):
        PushState.of(document, "http://gms")
    with pytest.raises(NotConfigured, match="can't be read"):
        dead_letters(document)
    assert PushState.of(None, "http://gms") == PushState()
    assert dead_letters(None) == {}
