"""What may be asked of the catalog, and what its cursors say."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_api.catalog import _Place, _place
from graph_api.catalog_page import KINDS
from graph_api.problems import Problem

JSON, TURTLE = "application/json", "text/turtle"
HEADS = st.integers(0, 2**60 - 1)


def packed(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@given(HEADS, st.none() | HEADS, st.sampled_from(list(KINDS)), st.text(max_size=40), st.booleans())
def test_a_cursor_says_what_was_put_into_it(
    at: int, since: int, kind: str, iri: str, unrestricted: bool
) -> None:
    place = _Place((kind,), at, since, (kind, iri), unrestricted)
    assert _Place.of(place.cursor()) == place


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "!",
        "a",
        "AAAA",
        packed([]),
        packed(["dataset", 1, None, ["dataset", "x"], False]),
        packed([["dataset"], 1, None, ["dataset", "x"]]),
        packed([["dataset"], 1, None, ["topic", "x"], False]),
        packed([["secret"], 1, None, ["secret", "x"], False]),
        packed([["dataset"], "1", None, ["dataset", "x"], False]),
        packed([["dataset"], True, None, ["dataset", "x"], False]),
        packed([["dataset"], 1, -1, ["dataset", "x"], False]),
        packed([["dataset"], 1, None, ["dataset", 7], False]),
        packed([["dataset"], 1, None, None, False]),
        packed({"dataset": 1}),
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
    ],
    ids=range(16),
)
def test_a_cursor_of_somebody_else_s_making_is_refused(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        _place([("cursor", cursor)], JSON)
    assert (refused.value.status, refused.value.kind) == (400, "parameter-invalid")


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_any_text_is_a_cursor_or_is_refused(text: str) -> None:
    with contextlib.suppress(Problem):
        assert set(_Place.of(text).kinds) <= set(KINDS)


@pytest.mark.parametrize(
    ("parameters", "media_type"),
    [
        ([("kind", "secret")], JSON),
        ([("kind", "term")], TURTLE),
        ([("since", "x")], JSON),
        ([("since", "-1")], JSON),
        ([("at", "1"), ("at", "2")], JSON),
        ([("unrestricted", "perhaps")], JSON),
        ([("cursor", _Place(("term",), 1, None, ("term", "x")).cursor())], TURTLE),
        ([("cursor", _Place(("term",), 1, None, ("term", "x")).cursor()), ("at", "2")], JSON),
    ],
)
def test_what_can_t_be_meant_is_refused(parameters: list[tuple[str, str]], media_type: str) -> None:
    with pytest.raises(Problem) as refused:
        _place(parameters, media_type)
    assert refused.value.kind == "parameter-invalid"


def test_without_parameters_everything_is_meant_that_the_format_has_words_for() -> None:
    assert _place([], JSON) == _Place(tuple(KINDS))
    assert _place([], TURTLE).kinds == ("service", "dataset", "topic")
    chosen = _place([("kind", "topic"), ("kind", "dataset"), ("kind", "topic")], JSON)
    assert chosen.kinds == ("topic", "dataset")
