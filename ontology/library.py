"""The Turtle that ships with this floor.

Invariant: the files are read as package resources, so that an installed wheel serves the same bytes
as a checkout.
"""

from __future__ import annotations

from importlib.resources import files

# Rules are governed apart from the vocabulary: they live in the graph graph/rules.
_RULES = ("rules",)
_ONTOLOGY = ("assets", "core", "governance", "lineage", "telemetry")


def ontology_turtle() -> dict[str, bytes]:
    """The vocabulary, by name ("core", "lineage", ...): what graph/ontology holds at genesis."""
    return {name: _read(name) for name in _ONTOLOGY}


def rules_turtle() -> dict[str, bytes]:
    """The classification rules, by name: what graph/rules holds at genesis."""
    return {name: _read(name) for name in _RULES}


def _read(name: str) -> bytes:
    return files("ontology").joinpath(f"{name}.ttl").read_bytes()
