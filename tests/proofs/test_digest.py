"""The graph state digest is a function of the set of quads, whatever the path to it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.digest import LANES, STATE_SIZE, GraphState
from proofs.errors import FormatError


def quad(number: int) -> bytes:
    return f"<urn:s:{number}> <urn:p> <urn:o> <urn:g> .\n".encode()


numbers = st.lists(st.integers(0, 10_000), unique=True, max_size=40)


def state_of(lines: list[bytes]) -> GraphState:
    state = GraphState.empty()
    state.add(lines)
    return state


def test_the_empty_graph_is_all_zeroes() -> None:
    assert GraphState.empty().to_bytes() == bytes(STATE_SIZE)
    assert GraphState.empty().digest() == hashlib.sha256(bytes(STATE_SIZE)).hexdigest()


def test_the_lanes_are_sums_of_the_expanded_lines() -> None:
    lines = [quad(number) for number in range(700)]
    lanes = [0] * LANES
    for line in lines:
        expanded = hashlib.shake_128(line).digest(STATE_SIZE)
        for lane in range(LANES):
            lanes[lane] += int.from_bytes(expanded[2 * lane : 2 * lane + 2], "little")
    expected = b"".join((value % 65536).to_bytes(2, "little") for value in lanes)
    assert state_of(lines).to_bytes() == expected


def test_a_known_digest_stays() -> None:
    # Recorded once: a change here means that every stored state digest changes its meaning.
    assert state_of([quad(1), quad(2)]).digest() == (
        "3e6b829317273a86a64038c803ea05995a6ca0e5040b9158dd6938de34696285"
    )


@given(st.data(), numbers)
def test_order_does_not_matter(data: st.DataObject, chosen: list[int]) -> None:
    lines = [quad(number) for number in chosen]
    assert state_of(data.draw(st.permutations(lines))) == state_of(lines)


@given(numbers, numbers)
def test_removing_undoes_adding(first: list[int], second: list[int]) -> None:
    state = state_of([quad(number) for number in first])
    before = state.to_bytes()
    more = [quad(number) for number in second]
    state.add(more)
    state.remove(more)
    assert state.to_bytes() == before


@given(numbers, numbers)
def test_the_path_does_not_matter(first: list[int], second: list[int]) -> None:
    grown = state_of([quad(number) for number in first])
    grown.add(quad(number) for number in sorted(set(second) - set(first)))
    grown.remove(quad(number) for number in sorted(set(first) - set(second)))
    assert grown == state_of([quad(number) for number in sorted(set(second))])


@given(numbers)
def test_stored_and_loaded_it_is_the_same(chosen: list[int]) -> None:
    state = state_of([quad(number) for number in chosen])
    loaded = GraphState.from_bytes(state.to_bytes())
    assert loaded == state
    assert loaded.digest() == state.digest()
    loaded.add([quad(-1)])
    assert loaded != state


@given(numbers.filter(bool))
def test_one_quad_more_or_less_changes_the_digest(chosen: list[int]) -> None:
    lines = [quad(number) for number in chosen]
    digests = {state_of(lines).digest(), state_of(lines[1:]).digest()}
    digests.add(state_of([*lines, quad(20_000)]).digest())
    assert len(digests) == 3


def test_a_copy_is_independent() -> None:
    state = state_of([quad(1)])
    copy = state.copy()
    copy.add([quad(2)])
    assert state == state_of([quad(1)])
    assert copy == state_of([quad(1), quad(2)])


def test_batches_are_summed_across_their_borders() -> None:
    lines = [quad(number) for number in range(1500)]
    one_by_one = GraphState.empty()
    for line in lines:
        one_by_one.add([line])
    assert one_by_one == state_of(lines)


@pytest.mark.parametrize("line", [b"", b"<urn:s> <urn:p> <urn:o> <urn:g> .", b"no quad\n"])
def test_what_is_no_line_is_refused(line: bytes) -> None:
    state = state_of([quad(1)])
    with pytest.raises(FormatError, match="canonical"):
        state.add([*(quad(number) for number in range(2, 1000)), line])
    assert state == state_of([quad(1)])


@pytest.mark.parametrize("size", [0, STATE_SIZE - 1, STATE_SIZE + 1])
def test_a_state_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=str(size)):
        GraphState.from_bytes(bytes(size))


def test_the_serialised_form_is_little_endian_everywhere() -> None:
    lanes = np.arange(LANES, dtype=np.uint16)
    assert GraphState(lanes).to_bytes()[:6] == b"\x00\x00\x01\x00\x02\x00"
