"""Regular expressions of shapes: XPath's meaning, in time linear in the text."""

from __future__ import annotations

import pytest

from shapes.pattern import matcher

MATCHES = [
    ("^a+$", "", "aaa", True),
    ("^a+$", "", "aaa\n", False),
    ("b", "", "abc", True),
    ("^B$", "i", "b", True),
    ("^b$", "m", "a\nb\nc", True),
    ("^b$", "", "a\nb\nc", False),
    ("a.c", "", "a\nc", False),
    ("a.c", "s", "a\nc", True),
    ("a b # c", "x", "ab#c", True),
    ("[a b]c", "x", " c", True),
    ("a.c", "q", "a.c", True),
    ("a.c", "q", "abc", False),
    (r"^\d+$", "", "1٣", True),
    (r"^\D$", "", "x", True),
    (r"^[\d-]+$", "", "1-2", True),
    (r"^\w+$", "", "naïve", True),
    (r"^\w+$", "", "a-b", False),
    (r"^\W$", "", "-", True),
    (r"^[\w.]+$", "", "a.b", True),
    (r"^\i\c*$", "", "_a-1.é", True),
    (r"^\i", "", "1", False),
    (r"^\s$", "", "\t", True),
    (r"^\S+$", "", "a b", False),
    (r"^\p{Lu}$", "", "É", True),
    (r"\$\[\\", "", "$[\\", True),
]


@pytest.mark.parametrize(("pattern", "flags", "text", "matches"), MATCHES)
def test_it_matches_as_xpath_has_it(pattern: str, flags: str, text: str, matches: bool) -> None:
    assert matcher(pattern, flags)(text) is matches


REFUSED = [
    ("(", "", "missing"),
    ("(?=a)b", "", "invalid perl operator"),
    (r"(a)\1", "", "back reference"),
    ("[a-z-[aeiou]]", "", "class subtraction"),
    ("a", "g", 'the flag "g" is unknown'),
    ("a{2000}", "", "repetition"),
    (r"[\S]", "", "between brackets"),
]


@pytest.mark.parametrize(("pattern", "flags", "said"), REFUSED)
def test_what_cannot_be_used_is_refused_with_the_reason(
    pattern: str, flags: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        matcher(pattern, flags)


def test_what_makes_others_backtrack_for_ever_ends() -> None:
    # 2 to the power of 5,000 steps for an engine that backtracks.
    assert not matcher("^(a+)+$")("a" * 5_000 + "b")
    assert not matcher("(x+x+)+y")("x" * 5_000)
