"""Content negotiation, by the tables of RFC 9110."""

from __future__ import annotations

import pytest

from graph_api.negotiate import best, required
from graph_api.problems import Problem

OFFERED = ("text/turtle", "application/n-triples", "application/ld+json")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "text/turtle"),
        ("", "text/turtle"),
        ("*/*", "text/turtle"),
        ("  */* ; q=0.1", "text/turtle"),
        ("application/ld+json", "application/ld+json"),
        ("APPLICATION/LD+JSON", "application/ld+json"),
        ("application/ld+json, text/turtle", "text/turtle"),
        ("application/ld+json, text/turtle;q=0.9", "application/ld+json"),
        ("text/turtle;q=0.3, application/n-triples;q=0.8", "application/n-triples"),
        ("application/*", "application/n-triples"),
        ("application/*;q=0.9, text/turtle;q=0.8", "application/n-triples"),
        # The most specific range counts, also when it weighs less.
        ("*/*, text/turtle;q=0", "application/n-triples"),
        ("text/*;q=0.5, text/turtle;q=0.1, application/ld+json;q=0.2", "application/ld+json"),
        ("text/turtle;charset=utf-8", "text/turtle"),
        ("text/turtle;q=0", None),
        ("image/png", None),
        ("text/turtle;q=nonsense", None),
        ("text/turtle;q=nan", None),
        ("text/turtle;q=-1", None),
        ("text/turtle;q=7", None),
        (",,;;,", "text/turtle"),
        (", ,", "text/turtle"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "text/turtle"),
    ],
)
def test_the_best_of_what_is_offered(accept: str | None, expected: str | None) -> None:
    assert best(accept, OFFERED) == expected


def test_nothing_fitting_is_a_problem_that_lists_what_there_is() -> None:
    with pytest.raises(Problem) as refusal:
        required("image/png", OFFERED)
    assert refusal.value.status == 406
    assert refusal.value.extra["offered"] == list(OFFERED)
