"""The validator against pySHACL and against itself, over random shapes, graphs and changes.

Invariant: a disagreement fails, and the failure shows the smallest case that has it. The fixed
seeds run always; ``-m long`` runs as many cases as ``FRACTALOPS_ORACLE_COUNT`` says, and prints
what it saw.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.shapes.oracle.oracle_cases import Case, recursive
from tests.shapes.oracle.oracle_check import (
    Disagreement,
    Tally,
    always_whole,
    check_changes,
    check_joined,
    check_suspects,
    small_batches,
    small_numbers,
)
from tests.shapes.oracle.oracle_graphs import nested_case, raw_case, reshaped_case, store_case
from tests.shapes.oracle.oracle_plain import plain_case
from tests.shapes.oracle.oracle_shrink import shrink

Make = Callable[[Random], Case]

COUNT = int(os.environ.get("FRACTALOPS_ORACLE_COUNT", "20000"))


def run(make: Make, seeds: range, tally: Tally, against_pyshacl: bool = True) -> None:
    """Checks the cases of these seeds, and fails with the first disagreement, made small."""
    for seed in seeds:
        check_changes(make(Random(seed)), tally, against_pyshacl)
        if tally.disagreements:
            found = smallest(tally.disagreements[0], against_pyshacl)
            pytest.fail(f"{make.__name__}, seed {seed}: {found}", pytrace=False)


def smallest(found: Disagreement, against_pyshacl: bool) -> Disagreement:
    """The same kind of disagreement over the smallest part of its case."""

    def disagreement(case: Case) -> Disagreement | None:
        if recursive(case.shapes):
            return None
        tally = Tally()
        check_changes(case, tally, against_pyshacl)
        same = [item for item in tally.disagreements if item.kind == found.kind]
        return same[0] if same else None

    case = shrink(found.case, lambda candidate: disagreement(candidate) is not None)
    return disagreement(case) or found


def test_a_seed_gives_the_same_case() -> None:
    for make in (store_case, raw_case, nested_case):
        assert make(Random(7)) == make(Random(7)) != make(Random(8))


def test_fixed_seeds_in_a_store() -> None:
    tally = Tally()
    run(store_case, range(40), tally)
    # The cases are worth something: changes bring violations, and pySHACL's errors are met.
    assert tally.results > 200
    assert tally.incremental > 50


def test_fixed_seeds_that_no_store_keeps_as_they_are() -> None:
    tally = Tally()
    run(raw_case, range(60), tally)
    assert tally.results > 100


def test_fixed_seeds_of_changes_felt_from_afar() -> None:
    tally = Tally()
    run(nested_case, range(30), tally, against_pyshacl=False)
    assert tally.incremental > 150


def test_fixed_seeds_of_shapes_that_change() -> None:
    tally = Tally()
    run(reshaped_case, range(6000, 6050), tally, against_pyshacl=False)
    assert tally.incremental > 200


def test_a_change_too_large_to_follow_is_validated_whole() -> None:
    tally = Tally()
    with always_whole():
        run(nested_case, range(1000, 1010), tally, against_pyshacl=False)
    assert tally.incremental > 100


def test_reading_in_batches_changes_nothing() -> None:
    tally = Tally()
    with small_batches():
        run(nested_case, range(2000, 2012), tally, against_pyshacl=False)
        with always_whole():
            run(nested_case, range(2040, 2045), tally, against_pyshacl=False)
    assert tally.incremental > 100


@pytest.mark.parametrize(("suspects", "shares"), [(10_000, 1), (10_000, 3), (2, 2), (0, 3)])
def test_suspects_are_all_that_there_is_to_ask(suspects: int, shares: int, tmp_path: Path) -> None:
    tally = Tally()
    makes = (plain_case, plain_case, store_case, plain_case, nested_case)
    with small_numbers(suspects, shares):
        for seed in range(4000, 4030):
            case = makes[seed % len(makes)](Random(seed))
            check_suspects(case, tally, tmp_path / str(seed), Random(seed))
            assert not tally.disagreements, f"seed {seed}: {tally.disagreements[0]}"
    assert tally.incremental > 100


def test_a_store_on_disk_says_the_same(tmp_path: Path) -> None:
    tally = Tally()
    for seed in range(5000, 5008):
        check_changes(nested_case(Random(seed)), tally, False, tmp_path / str(seed))
        assert not tally.disagreements, f"seed {seed}: {tally.disagreements[0]}"
    assert tally.incremental > 30


def test_what_a_change_does_not_meet_it_does_not_turn() -> None:
    tally = Tally()
    for seed in range(3062, 3074):
        check_joined(nested_case(Random(seed), 8), tally)
        assert not tally.disagreements, f"seed {seed}: {tally.disagreements[0]}"
    assert tally.incremental > 50


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_cases_of_hypothesis(source: Random) -> None:
    case = store_case(source, changes=2)
    tally = Tally()
    check_changes(case, tally)
    assert not tally.disagreements, str(tally.disagreements[0])


@pytest.mark.long
def test_many_cases(capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the changes are of one store after another, the others are those felt from afar
    and of the shapes."""
    tally = Tally()
    seed = 1_000_000
    while tally.cases < COUNT:
        run(store_case, range(seed, seed + 10), tally)
        run(raw_case, range(seed, seed + 10), tally)
        run(nested_case, range(seed, seed + 4), tally, against_pyshacl=False)
        run(reshaped_case, range(seed, seed + 4), tally, against_pyshacl=False)
        seed += 10
    with capsys.disabled():
        sys.stdout.write(f"\n{tally.summary()}\n")
    assert tally.cases >= COUNT
