"""The validator against pySHACL and against itself, over random shapes, graphs and changes.

Invariant: a disagreement fails, and the failure shows the smallest case that has it. The fixed
seeds run always; ``-m long`` runs as many cases as ``FRACTALOPS_ORACLE_COUNT`` says, and prints
what it saw.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from random import Random
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shapes.validator
from tests.shapes.oracle.oracle_cases import Case, recursive
from tests.shapes.oracle.oracle_check import Disagreement, Tally, check_changes
from tests.shapes.oracle.oracle_graphs import nested_case, raw_case, store_case
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
    run(store_case, range(80), tally)
    # The cases are worth something: changes bring violations, and pySHACL's errors are met.
    assert tally.results > 400
    assert tally.incremental > 100


def test_fixed_seeds_that_no_store_keeps_as_they_are() -> None:
    tally = Tally()
    run(raw_case, range(150), tally)
    assert tally.results > 200


def test_fixed_seeds_of_changes_felt_from_afar() -> None:
    tally = Tally()
    run(nested_case, range(80), tally, against_pyshacl=False)
    assert tally.incremental > 500


def test_a_change_too_large_to_follow_is_validated_whole() -> None:
    tally = Tally()
    with patch.object(shapes.validator, "MOST", 2):
        run(nested_case, range(1000, 1040), tally, against_pyshacl=False)
    assert tally.incremental > 100


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_cases_of_hypothesis(source: Random) -> None:
    case = store_case(source, changes=2)
    tally = Tally()
    check_changes(case, tally)
    assert not tally.disagreements, str(tally.disagreements[0])


@pytest.mark.long
def test_many_cases(capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the changes are of one store after another, the others are those felt from afar."""
    tally = Tally()
    seed = 1_000_000
    while tally.cases < COUNT:
        run(store_case, range(seed, seed + 10), tally)
        run(raw_case, range(seed, seed + 10), tally)
        run(nested_case, range(seed, seed + 10), tally, against_pyshacl=False)
        seed += 10
    with capsys.disabled():
        sys.stdout.write(f"\n{tally.summary()}\n")
    assert tally.cases >= COUNT
