"""The data folder: one server at a time, no strangers, no newer ones, nothing half written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.data_folder import FORMAT, DataFolder, write_whole
from runtime.errors import FolderError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def founded(folder: DataFolder) -> DataFolder:
    folder.open().close()
    folder.journal.touch()
    folder.write_format("http://e")
    return folder


def test_a_new_folder_is_made_and_locked(folder: DataFolder) -> None:
    lock = folder.open()
    assert folder.root.is_dir()
    with pytest.raises(FolderError, match=f"another server is using {folder.root}"):
        folder.open()
    lock.close()
    folder.open().close()


def test_another_process_is_kept_out_and_told_of_this_one(
    folder: DataFolder, checkout: Path
) -> None:
    lock = folder.open()
    folder.announce("http://127.0.0.1:8080")
    code = (
        "import sys; from pathlib import Path; from runtime.data_folder import DataFolder;"
        "DataFolder(Path(sys.argv[1])).open()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder.root)],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert f"another server (process {os.getpid()}) is using" in done.stderr
    lock.close()


def test_a_lock_ends_with_its_process(folder: DataFolder, checkout: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from runtime.data_folder import DataFolder;"
        "DataFolder(Path(sys.argv[1])).open(); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder.root)], cwd=checkout, timeout=60, check=False
    )
    assert done.returncode == 9
    folder.open().close()


def test_a_folder_of_somebody_else_is_not_touched(folder: DataFolder) -> None:
    folder.root.mkdir()
    (folder.root / "thesis.txt").write_text("precious")
    with pytest.raises(FolderError, match=r"holds other files \(thesis.txt\)"):
        folder.open()


@pytest.mark.parametrize(
    "left", [["lock"], ["scratch"], ["keys"], ["log"], ["lock", "scratch", "keys", "log"]]
)
def test_what_a_first_start_leaves_when_it_is_cut_off_is_no_stranger(
    folder: DataFolder, left: list[str]
) -> None:
    for name in left:
        (folder.root / name).mkdir(parents=True) if name != "lock" else folder.open().close()
    folder.open().close()


def test_a_start_that_ended_between_journal_and_format_goes_on(folder: DataFolder) -> None:
    folder.open().close()
    folder.journal.touch()
    (folder.root / "anything").touch()
    folder.open().close()


def test_a_founded_folder_opens_again(founded: DataFolder) -> None:
    assert json.loads(founded.format.read_text()) == {"format": FORMAT, "base": "http://e"}
    founded.write_format("http://other")
    assert json.loads(founded.format.read_text())["base"] == "http://e"
    founded.open().close()


def test_a_folder_without_its_journal_begins_no_second_history(founded: DataFolder) -> None:
    founded.journal.unlink()
    with pytest.raises(FolderError, match="is missing, and it is the truth"):
        founded.open()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps({"format": FORMAT + 1}), "made by a newer version"),
        (json.dumps({"format": "x"}), "made by a newer version"),
        ("{}", "cannot be read"),
        ("[]", "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_a_format_that_is_not_ours(founded: DataFolder, text: str, said: str) -> None:
    founded.format.write_text(text)
    with pytest.raises(FolderError, match=said):
        founded.open()
    # The lock was given back.
    founded.format.unlink()
    founded.open().close()


def test_a_restore_that_was_cut_off_must_be_finished(founded: DataFolder) -> None:
    (founded.root / "restoring").touch()
    with pytest.raises(FolderError, match="run the same 'fractalops restore' again"):
        founded.open()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="cannot be used"):
        DataFolder(tmp_path / "file" / "data").open()


def test_where_the_server_answers(folder: DataFolder) -> None:
    folder.open().close()
    folder.announce("http://127.0.0.1:1234")
    told = json.loads(folder.server.read_text())
    assert told == {"url": "http://127.0.0.1:1234", "pid": os.getpid()}
    folder.retire()
    folder.retire()
    assert not folder.server.exists()


# --- whole files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_has_its_mode_whatever_the_mask_and_the_past(tmp_path: Path) -> None:
    secret = tmp_path / "keys" / "log.key"
    write_whole(secret, "one", 0o600)
    assert (secret.read_text(), mode(secret), mode(secret.parent)) == ("one", 0o600, 0o700)
    secret.chmod(0o644)
    write_whole(secret, "two", 0o600)
    assert (secret.read_text(), mode(secret)) == ("two", 0o600)
    assert list(secret.parent.iterdir()) == [secret]


def test_what_a_cut_off_write_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    target = tmp_path / "operator.token"
    leftover = tmp_path / ".operator.token.new"
    leftover.write_text("half")
    leftover.chmod(0o666)
    write_whole(target, "whole", 0o600)
    assert (target.read_text(), mode(target)) == ("whole", 0o600)
    assert not leftover.exists()


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "server.json"
    write_whole(target, "old", 0o644)

    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        write_whole(target, "new", 0o644)
    assert target.read_text() == "old"


def test_every_place_is_below_the_root(folder: DataFolder) -> None:
    places = [
        *(folder.journal, folder.index, folder.graph, folder.snapshots, folder.scratch),
        *(folder.log, folder.inbox, folder.facts, folder.stewards, folder.access),
        *(folder.log_key, folder.log_verifier, folder.operator_token, folder.server),
    ]
    assert len(set(places)) == len(places)
    assert all(folder.root in place.parents for place in places)
