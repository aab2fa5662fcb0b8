"""Places are asked together, and one that doesn't answer takes no other with it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Barrier

import pytest

from ontology.ids import Ids
from runtime.asset_graph import AssetGraph
from runtime.asset_sightings import Look, Place, Sighting
from runtime.assets import Locators, RuntimeAsset
from runtime.errors import MachineUnreachable
from runtime.machines import Reach
from runtime.urls import ExecutorUrl
from stewards.discovery_places import AT_ONCE, container_places, look_at, unreachable

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
BOX = Sighting("lxc", "lxc", Locators(container="box"), AT, "running", ("box",))


def test_a_place_that_does_not_answer_is_told_with_its_own_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away() -> Iterable[Sighting]:
        yield BOX
        raise MachineUnreachable("the host said:\n no route " + "x" * 400)

    def broken() -> Iterable[Sighting]:
        raise KeyError("metadata")

    places = {
        Place("lxc", ""): lambda: [BOX],
        Place("lxc", "far"): away,
        Place("kubernetes", "main"): broken,
    }
    with caplog.at_level(logging.ERROR):
        found = look_at(places)
    assert found.sightings == (BOX,)
    assert found.places == {Place("lxc", "")}
    assert found.silent[Place("lxc", "far")].startswith("the host said: no route xxx")
    assert len(found.silent[Place("lxc", "far")]) == 300
    assert found.silent[Place("kubernetes", "main")] == (
        "a fault, which the log describes: KeyError"
    )
    assert "looking at" in caplog.text
    assert look_at({}) == Look()


def test_several_are_asked_at_a_time() -> None:
    together = Barrier(AT_ONCE)

    def waits() -> Iterable[Sighting]:
        together.wait(60)
        return [BOX]

    found = look_at({Place("lxc", f"host-{number}"): waits for number in range(AT_ONCE)})
    assert len(found.sightings) == AT_ONCE


def test_this_machine_is_looked_at_where_it_has_lxc() -> None:
    def places(has: bool) -> set[Place]:
        reach = Reach(lambda: AT)
        return set(container_places(reach, lambda: AT, lambda: "look", has_lxc=lambda: has))

    assert places(True) == {Place("lxc", "")}
    assert places(False) == set()


def test_executor_urls_are_tried() -> None:
    owner = Ids().organisation("acme")
    graph = AssetGraph(
        RuntimeAsset(name, "lxc", owner, Locators(container=name), executor=executor)
        for name, executor in (
            ("a", ExecutorUrl.parse("http://a.internal/")),
            ("b", ExecutorUrl.parse("http://b.internal/")),
            ("c", None),
        )
    )
    found = unreachable(graph, lambda url: "it timed out" if "b.internal" in url.address else "")
    assert found == {"b": "it timed out"}
    assert unreachable(AssetGraph(), lambda url: "never") == {}
