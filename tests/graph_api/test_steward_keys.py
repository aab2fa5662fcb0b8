"""The key that is enrolled next, where its file can and can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_api.problems import Problem
from graph_api.steward_keys import next_key
from proofs.governance import Governance, SigningKey
from runtime.steward_keys import StewardKeys

BASE = "http://fractalops.localhost"


def test_the_next_key_is_one_that_nobody_names(tmp_path: Path) -> None:
    keys = StewardKeys(tmp_path / "keys", BASE)
    first = next_key(keys, "steward-shop", Governance())
    assert next_key(keys, "steward-shop", Governance()) == first
    named = Governance(keys=(SigningKey("urn:key", "urn:steward", first, retired=True),))
    assert next_key(keys, "steward-shop", named) != first


def test_a_folder_that_takes_no_key_is_told(tmp_path: Path) -> None:
    place = tmp_path / "keys"
    place.write_text("no folder")
    with pytest.raises(Problem) as told:
        next_key(StewardKeys(place, BASE), "steward-shop", Governance())
    assert (told.value.status, told.value.kind) == (507, "disk-full")
