"""Gives a machine that was found an asset id: a name that people chose for it, and no locator.

Invariant: the id follows from what was found and from the ids that are taken, and from nothing
else; the shapes accept it (``fos:locator-is-no-id``, which a test holds this to). Of a machine that
nobody named there is none: what it is for, a person has to say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator
from typing import Final

from runtime.asset_matching import Found, place_of
from runtime.assets import Locators

_ASSET_ID: Final = re.compile(r"([A-Za-z]|[0-9][0-9._-]*[A-Za-z])[A-Za-z0-9._-]{0,127}")
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST: Final = 100
_LETTERS: Final = "bcdfghjklmnpqrstvwxz"
"""A suffix has no digits, which could be a vmid, and makes no word."""
_SUFFIX: Final = 5
_LEAST_VMID: Final = 100


def asset_id(found: Found, taken: Container[str]) -> str:
    """The id of a new asset; empty where nothing that it is called can be one. An id that is taken
    gets a suffix that follows from where the machine was found."""
    for name in _names(found):
        if fits(name, found.locators):
            if name not in taken:
                return name
            suffixed = f"{name}-{_suffix(found)}"
            if suffixed not in taken and fits(suffixed, found.locators):
                return suffixed
    return ""


def fits(name: str, locators: Locators) -> bool:
    """Whether this name may be the id of an asset with these locators."""
    if not _ASSET_ID.fullmatch(name):
        return False
    if _is_where(name, locators):
        return False
    vmid = locators.vmid
    if vmid and (
        name == str(vmid)
        or (vmid >= _LEAST_VMID and re.search(rf"(?<![0-9]){vmid}(?![0-9])", name))
    ):
        return False
    return not (locators.workload and _is_place(name, locators.namespace, locators.workload))


def _is_where(name: str, locators: Locators) -> bool:
    where = (locators.namespace, locators.node, locators.cluster)
    return name.lower() in {item.lower() for item in where}


def _is_place(name: str, namespace: str, workload: str) -> bool:
    kind, _, called = workload.partition("/")
    ends = (f"{namespace}{mark}{rest}" for mark in "-." for rest in (called, kind + mark + called))
    return name.endswith(tuple(ends)) or name.startswith(f"{called}.{namespace}")


def _names(found: Found) -> Iterator[str]:
    """What it may be called, the best first: as people call it, and where that is also what its
    node or namespace is called, with its kind."""
    called = [name for name in map(_clean, found.names) if any(map(str.isalpha, name))]
    yield from called
    kind = found.locators.workload.partition("/")[0] or "container"
    yield from (f"{name}-{kind}" for name in called if _is_where(name, found.locators))


def _clean(name: str) -> str:
    return _STRANGE.sub("-", name).strip("-._")[:_LONGEST].rstrip("-._")


def _suffix(found: Found) -> str:
    place = "\n".join((found.kind, *place_of(found.kind, found.locators)))
    value = int.from_bytes(hashlib.sha256(place.encode()).digest()[:8])
    letters = []
    for _ in range(_SUFFIX):
        value, place_in = divmod(value, len(_LETTERS))
        letters.append(_LETTERS[place_in])
    return "".join(letters)
