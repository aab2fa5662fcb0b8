"""The shapes that ship with this floor.

Invariant: the files are read as package resources, so that an installed wheel serves the same bytes
as a checkout.
"""

from __future__ import annotations

from importlib.resources import files


def shapes_turtle() -> dict[str, bytes]:
    """The shapes, by topic ("services", "lineage", ...): what graph/shapes holds at genesis."""
    found = {
        entry.name.removesuffix(".ttl"): entry.read_bytes()
        for entry in files("shapes").iterdir()
        if entry.name.endswith(".ttl")
    }
    return dict(sorted(found.items()))
