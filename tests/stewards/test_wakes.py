"""Wake-ups: what one who asks again with a token is told."""

from __future__ import annotations

from stewards.wakes import News, Wakes


def test_a_stranger_is_told_everything_and_then_what_is_new() -> None:
    wakes = Wakes("a1")
    wakes.wake({"shop"})
    first = wakes.after(None)
    assert first == News("a1.1", None, wanted=True)
    assert not wakes.after(first.token).any
    wakes.wake({"shop", "bank"})
    wakes.wake({"bank"})
    assert wakes.after(first.token) == News("a1.3", frozenset({"shop", "bank"}), wanted=False)
    assert wakes.after("a1.2") == News("a1.3", frozenset({"bank"}), wanted=False)


def test_a_token_of_another_process_is_a_strangers() -> None:
    wakes = Wakes("b2")
    for token in ("a1.7", "b2.x", "b2.²", "b2", "", "."):
        assert wakes.after(token).projects is None


def test_a_change_of_what_is_wanted_wakes_no_project() -> None:
    wakes = Wakes("c3")
    token = wakes.after(None).token
    wakes.change()
    assert wakes.after(token) == News("c3.1", frozenset(), wanted=True)


def test_what_concerns_everybody_is_told_at_once() -> None:
    wakes = Wakes("c4")
    token = wakes.after(None).token
    wakes.wake({"shop"}, changed=True)
    assert wakes.after(token) == News("c4.1", frozenset({"shop"}), wanted=True)


def test_listeners_hear_of_everything() -> None:
    wakes = Wakes("d4")
    heard: list[int] = []

    def listener() -> None:
        heard.append(len(heard))

    wakes.listen(listener)
    wakes.wake({"shop"})
    wakes.change()
    assert heard == [0, 1]
