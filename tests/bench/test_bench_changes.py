"""What the gate is measured with: changes that are effective, of the size they say, repeatable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ontology.ids import Ids
from ontology.store import GraphStore
from shapes.validator import Validator

GRAPH = 16_000


@pytest.fixture(scope="module")
def changes() -> Iterator[ModuleType]:
    """The benchmarks are a program, whose modules find each other in its folder."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import bench_changes

        yield bench_changes
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def store(changes: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    import bench_stores

    return bench_stores.build(Ids(), GRAPH, tmp_path_factory.mktemp("graphs")).open()


@pytest.mark.parametrize("kind", ["new", "update"])
@pytest.mark.parametrize("size", [20, 333, 1_500])
def test_a_change_has_its_size_and_nothing_without_effect(
    changes: ModuleType, store: GraphStore, kind: str, size: int
) -> None:
    organisation = changes.Organisation.of_about(Ids(), GRAPH)
    for number in range(3):
        one = changes.change(organisation, kind, size, number)
        assert len(one.delta) == size
        assert store.effective(one.delta) == one.delta
        assert bool(one.delta.removals) == (kind == "update")
        assert changes.change(organisation, kind, size, number) == one
        assert changes.change(organisation, kind, size, number + 10) != one


@pytest.mark.parametrize("kind", ["new", "update"])
def test_a_broken_change_breaks_a_node_that_an_update_does_not_mention(
    changes: ModuleType, store: GraphStore, kind: str
) -> None:
    organisation = changes.Organisation.of_about(Ids(), GRAPH)
    validator = Validator(store)
    assert validator.validate(changes.change(organisation, kind, 20, 0).delta).conforms
    broken = changes.change(organisation, kind, 20, 0, sound=False).delta
    found = {result.focus for result in validator.validate(broken).results}
    mentioned = {str(quad.subject) for quad in broken.quads}
    assert found
    assert (kind == "update") == bool(found - mentioned)
