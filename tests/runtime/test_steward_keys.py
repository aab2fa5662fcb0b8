"""The files that stewards' keys are kept in, and what a crash leaves of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.steward_keys import StewardKeys

BASE = "http://fractalops.localhost"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keys(folder: Path) -> StewardKeys:
    return StewardKeys(folder, BASE)


def test_a_key_is_made_once_for_its_owner_alone(folder: Path, keys: StewardKeys) -> None:
    assert keys.held("steward-shop") == []
    made = keys.unnamed("steward-shop", ())
    assert made.name == "fractalops.localhost/steward-shop"
    (path,) = folder.iterdir()
    assert path.name == f"steward-shop.{made.verifier.key_id.hex()}.key"
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert keys.unnamed("steward-shop", ()) == made
    assert StewardKeys(folder, BASE).held("steward-shop") == [made]
    path.chmod(0o644)
    StewardKeys(folder, BASE).held("steward-shop")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_graph_says_which_key_holds(keys: StewardKeys) -> None:
    first = keys.unnamed("steward-shop", ())
    named = {first.verifier.label}
    assert keys.active("steward-shop", ()) is None
    assert keys.active("steward-shop", named) == first
    second = keys.unnamed("steward-shop", named)
    assert second != first
    # Waiting to be named, it is no second time made and does not sign yet.
    assert keys.unnamed("steward-shop", named) == second
    assert keys.active("steward-shop", named) == first
    assert keys.active("steward-shop", {second.verifier.label}) == second
    assert keys.held("steward-shop-2") == keys.held("steward") == []


def test_a_key_that_is_put_back_is_found(folder: Path, keys: StewardKeys) -> None:
    made = keys.unnamed("steward-shop", ())
    (path,) = folder.iterdir()
    kept = path.rename(folder.parent / path.name)
    assert keys.held("steward-shop") == []
    kept.rename(path)
    assert keys.held("steward-shop") == [made]


def test_a_damaged_key_says_what_to_do(folder: Path, keys: StewardKeys) -> None:
    """And is in nobody's way."""
    keys.unnamed("steward-shop", ())
    (path,) = folder.iterdir()
    other = keys.unnamed("steward-bank", ())
    secret = path.read_text()
    path.write_text(secret[:-8])
    damaged = StewardKeys(folder, BASE)
    assert damaged.held("steward-shop") == []
    assert damaged.held("steward-bank") == [other]
    (told,) = damaged.unreadable
    assert "move it away and make another" in told
    assert secret.strip()[-20:-8] not in told
    path.rename(folder.parent / "moved away")
    assert damaged.unreadable == []


def test_killed_before_the_proposal_the_key_is_the_next_to_be_enrolled(folder: Path) -> None:
    """Between the file and the proposal nothing is half done."""
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from runtime.steward_keys import StewardKeys;"
        "made = StewardKeys(Path(sys.argv[1]), sys.argv[2]).unnamed('steward-shop', ());"
        "print(made.verifier, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), BASE],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    keys = StewardKeys(folder, BASE)
    assert str(keys.unnamed("steward-shop", ()).verifier) == done.stdout.strip()
    assert len(list(folder.iterdir())) == 1
