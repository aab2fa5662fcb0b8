"""QuickXplain finds contradictions of any shape, within its budget."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import assume, given
from hypothesis import strategies as st

from ontology.narrowing import narrow

conflict_sets = st.lists(
    st.frozensets(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=3
)


@given(conflict_sets, st.permutations(range(31)))
def test_what_is_found_is_a_minimal_contradiction(
    conflicts: list[frozenset[int]], members: list[int]
) -> None:
    def contradictory(chosen: Sequence[int]) -> bool:
        return any(conflict <= set(chosen) for conflict in conflicts)

    found = narrow(members, contradictory, budget=10_000)
    assert found.minimal
    assert contradictory(found.members)
    for left_out in found.members:
        assert not contradictory([m for m in found.members if m != left_out])


@given(conflict_sets, st.integers(0, 12))
def test_a_spent_budget_still_gives_a_contradiction(
    conflicts: list[frozenset[int]], budget: int
) -> None:
    asked = 0

    def contradictory(chosen: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return any(conflict <= set(chosen) for conflict in conflicts)

    found = narrow(range(31), contradictory, budget)
    assert asked <= budget
    assert any(conflict <= set(found.members) for conflict in conflicts)


@given(st.integers(1, 200), st.data())
def test_one_culprit_is_found_in_logarithmic_time(size: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, size - 1))
    asked = 0

    def contradictory(chosen: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return culprit in chosen

    assert narrow(range(size), contradictory, budget=1000).members == (culprit,)
    assert asked <= 2 * size.bit_length() + 2


def test_nothing_is_no_contradiction() -> None:
    members: list[int] = []
    assert narrow(members, lambda chosen: True, budget=5).members == ()


@given(conflict_sets)
def test_a_member_in_no_contradiction_is_never_named(conflicts: list[frozenset[int]]) -> None:
    involved = frozenset().union(*conflicts)
    assume(len(involved) < 31)
    found = narrow(range(31), lambda c: any(x <= set(c) for x in conflicts), budget=10_000)
    assert set(found.members) <= involved
