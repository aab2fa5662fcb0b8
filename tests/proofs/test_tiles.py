"""The folder of tiles: paths of the specification, written once, rebuilt to the byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proofs.checkpoint import Checkpoint, SignerKey, sign_checkpoint
from proofs.errors import FolderAhead, FormatError, LeafTooLarge, TileConflict, TileMissing
from proofs.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_from_hashes,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from proofs.tile import partial_tiles, tiles_of
from proofs.tiles import (
    ENTRIES,
    Tile,
    TileReader,
    TileWriter,
    decode_bundle,
    encode_bundle,
    read_checkpoint,
    verify_folder,
)

LOG = SignerKey("log.example/shop", bytes(range(32)))


def entry(index: int) -> bytes:
    return f"entry {index}".encode()


def root_of(size: int, entry: Callable[[int], bytes] = entry) -> bytes:
    return root_from_hashes(leaf_hash(entry(index)) for index in range(size))


def checkpoint_of(size: int, entry: Callable[[int], bytes] = entry) -> bytes:
    head = Checkpoint(LOG.name, size, root_of(size, entry))
    return sign_checkpoint(head, LOG).encode()


def grow(writer: TileWriter, size: int, entry: Callable[[int], bytes] = entry) -> None:
    writer.grow(size, entry, root_of(size, entry), checkpoint_of(size, entry))


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 600 entries, for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("tiles") / "whole"
    grow(TileWriter(folder), 600)
    return folder


class TestPaths:
    @pytest.mark.parametrize(
        ("tile", "path"),
        [
            (Tile(0, 0), "tile/0/000"),
            (Tile(0, 999), "tile/0/999"),
            (Tile(0, 1000), "tile/0/x001/000"),
            (Tile(0, 1234067), "tile/0/x001/x234/067"),
            (Tile(0, 1234067, 8), "tile/0/x001/x234/067.p/8"),
            (Tile(1, 67, 255), "tile/1/067.p/255"),
            (Tile(63, 0, 1), "tile/63/000.p/1"),
            (Tile(ENTRIES, 1234067), "tile/entries/x001/x234/067"),
            (Tile(ENTRIES, 0, 112), "tile/entries/000.p/112"),
            (Tile(0, 123456789), "tile/0/x123/x456/789"),
            (Tile(0, 1234567890), "tile/0/x001/x234/x567/890"),
        ],
    )
    def test_a_tile_has_one_path(self, tile: Tile, path: str) -> None:
        assert tile.path == path
        assert Tile.parse(path) == tile

    @given(level=st.integers(ENTRIES, 63), index=st.integers(0, 2**60), width=st.integers(1, 256))
    def test_paths_round_trip(self, level: int, index: int, width: int) -> None:
        tile = Tile(level, index, width)
        assert Tile.parse(tile.path) == tile

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "tile/0",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/1000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/data/000",
            "tile/8/0/000",
            "tile/0/x000/000",
            "tile/0/x000/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/257",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/../0/000",
            "tile/0/000\n",
            "tile/0/\u0660\u0660\u0660",
            "tile/0/000.p/\u0661",
            "checkpoint",
        ],
    )
    def test_a_path_has_one_spelling(self, path: str) -> None:
        with pytest.raises(FormatError):
            Tile.parse(path)

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Tile(-2, 0),
            lambda: Tile(64, 0),
            lambda: Tile(0, -1),
            lambda: Tile(0, 0, 0),
            lambda: Tile(0, 0, 257),
        ],
    )
    def test_impossible_tiles_are_refused(self, make: Callable[[], Tile]) -> None:
        with pytest.raises(FormatError):
            make()

    def test_the_example_of_the_specification(self) -> None:
        tiles = list(tiles_of(70_000))
        assert sum(tile.level == 0 and tile.full for tile in tiles) == 273
        assert sum(tile.level == 1 and tile.full for tile in tiles) == 1
        assert partial_tiles(70_000) == [
            Tile(ENTRIES, 273, 112),
            Tile(0, 273, 112),
            Tile(1, 1, 17),
            Tile(2, 0, 1),
        ]
        assert set(tiles_of(256)) == {Tile(ENTRIES, 0), Tile(0, 0), Tile(1, 0, 1)}
        assert list(tiles_of(0)) == []


class TestBundles:
    @given(st.lists(st.binary(max_size=300), max_size=20))
    def test_bundles_round_trip(self, entries: list[bytes]) -> None:
        assert decode_bundle(encode_bundle(entries)) == entries

    def test_lengths_are_big_endian(self) -> None:
        assert encode_bundle([b"ab", b"c" * 258]) == b"\x00\x02ab\x01\x02" + b"c" * 258

    def test_the_largest_entry_fits_and_no_larger_one(self) -> None:
        assert decode_bundle(encode_bundle([b"x" * 65535])) == [b"x" * 65535]
        with pytest.raises(LeafTooLarge, match="65536"):
            encode_bundle([b"x" * 65536])

    @pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00"])
    def test_a_cut_bundle_is_refused(self, data: bytes) -> None:
        with pytest.raises(FormatError, match="cut short"):
            decode_bundle(data)


class TestWriter:
    @pytest.mark.parametrize(
        "history",
        [
            [0, 1, 2, 3],
            [255, 256, 257],
            [1, 300, 511, 512, 513, 600],
            [256, 256, 512],
        ],
    )
    @pytest.mark.parametrize("restarts", [False, True], ids=["one writer", "a writer each"])
    def test_grown_and_rebuilt_folders_are_the_same_bytes(
        self, tmp_path: Path, history: list[int], restarts: bool
    ) -> None:
        writer = TileWriter(tmp_path / "grown")
        for size in history:
            if restarts:
                writer = TileWriter(tmp_path / "grown")
            grow(writer, size)
        assert verify_folder(tmp_path / "grown", entry, size, checkpoint_of(size)) == []
        grow(TileWriter(tmp_path / "rebuilt"), history[-1])
        assert files(tmp_path / "grown") == files(tmp_path / "rebuilt")
        found = set(files(tmp_path / "grown"))
        assert found == {tile.path for tile in tiles_of(history[-1])} | {"checkpoint"}

    def test_a_third_level_is_grown_and_rebuilt_alike(self, tmp_path: Path) -> None:
        writer = TileWriter(tmp_path / "grown")
        for size in (65_535, 65_536, 65_800):
            grow(writer, size)
        grow(TileWriter(tmp_path / "rebuilt"), 65_800)
        assert files(tmp_path / "grown") == files(tmp_path / "rebuilt")
        assert (tmp_path / "grown/tile/2/000.p/1").is_file()

    def test_tiles_hold_what_the_specification_says(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 600)
        hashes = [leaf_hash(entry(index)) for index in range(600)]
        stored = files(tmp_path)
        assert stored["tile/0/000"] == b"".join(hashes[:256])
        assert stored["tile/0/002.p/88"] == b"".join(hashes[512:])
        assert stored["tile/1/000.p/2"] == b"".join(
            root_from_hashes(hashes[at : at + 256]) for at in (0, 256)
        )
        assert decode_bundle(stored["tile/entries/001"]) == [entry(n) for n in range(256, 512)]

    def test_growing_reads_each_entry_once(self, tmp_path: Path) -> None:
        asked: list[int] = []

        def counted(index: int) -> bytes:
            asked.append(index)
            return entry(index)

        writer = TileWriter(tmp_path)
        writer.grow(300, counted, root_of(300), checkpoint_of(300))
        TileWriter(tmp_path).grow(310, counted, root_of(310), checkpoint_of(310))
        assert asked == list(range(310))

    def test_a_cosigned_checkpoint_replaces_the_plain_one(self, tmp_path: Path) -> None:
        writer = TileWriter(tmp_path)
        grow(writer, 5)
        before = files(tmp_path)
        cosigned = checkpoint_of(5) + b"\xe2\x80\x94 witness AAAAAAAA\n"
        writer.grow(5, entry, root_of(5), cosigned)
        assert read_checkpoint(tmp_path) == cosigned
        assert {**files(tmp_path), "checkpoint": b""} == {**before, "checkpoint": b""}

    def test_the_checkpoint_is_written_after_everything_it_needs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        real_replace, real_fsync = os.replace, os.fsync

        def replace(source: str | Path, target: str | Path) -> None:
            order.append(Path(target).relative_to(tmp_path).as_posix())
            real_replace(source, target)

        def fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            order.append(f"fsync {path.relative_to(tmp_path).as_posix()}")
            real_fsync(descriptor)

        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(os, "fsync", fsync)
        grow(TileWriter(tmp_path), 300)
        renamed = [step for step in order if not step.startswith("fsync")]
        assert renamed[-1] == "checkpoint"
        assert len(renamed) == 6
        for step in renamed:
            folder, _, name = step.rpartition("/")
            at = order.index(step)
            assert order[at - 1] == f"fsync {folder + '/' if folder else ''}.writing-{name}"
            assert f"fsync {folder or '.'}" in order[at:]
            if step != "checkpoint":
                assert f"fsync {folder}" in order[: order.index("checkpoint")]
        assert order[-1] == "fsync ."

    def test_a_superseded_tile_is_removed_only_after_the_checkpoint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = TileWriter(tmp_path)
        grow(writer, 10)
        real = os.replace

        def dies(source: str | Path, target: str | Path) -> None:
            if Path(target).name == "checkpoint":
                raise OSError(28, "No space left on device")
            real(source, target)

        monkeypatch.setattr(os, "replace", dies)
        with pytest.raises(OSError, match="No space"):
            grow(writer, 20)
        monkeypatch.undo()
        assert read_checkpoint(tmp_path) == checkpoint_of(10)
        reader = TileReader(tmp_path)
        assert tree_root(10, reader.nodes(10)) == root_of(10)
        # The same writer goes on, and so would a new process.
        grow(writer, 20)
        assert verify_folder(tmp_path, entry, 20, checkpoint_of(20)) == []

    @pytest.mark.parametrize("deleted", ["checkpoint", "tile", "tile/0", "tile/0/000", "."])
    def test_what_was_deleted_is_rebuilt(self, tmp_path: Path, deleted: str) -> None:
        grow(TileWriter(tmp_path / "log"), 600)
        before = files(tmp_path / "log")
        target = tmp_path / "log" / deleted
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
        grow(TileWriter(tmp_path / "log"), 600)
        assert files(tmp_path / "log") == before

    def test_rebuilding_checks_the_history_that_the_old_checkpoint_signed(
        self, tmp_path: Path
    ) -> None:
        grow(TileWriter(tmp_path), 300)
        shutil.rmtree(tmp_path / "tile")

        def forked(index: int) -> bytes:
            return b"forged" if index == 7 else entry(index)

        with pytest.raises(TileConflict, match="for 300 entries"):
            grow(TileWriter(tmp_path), 400, forked)
        assert read_checkpoint(tmp_path) == checkpoint_of(300)

    def test_an_older_journal_is_refused(self, tmp_path: Path) -> None:
        writer = TileWriter(tmp_path)
        grow(writer, 300)
        before = files(tmp_path)
        for older in (writer, TileWriter(tmp_path)):
            with pytest.raises(FolderAhead, match="300 entries and the log only 299"):
                grow(older, 299)
        shutil.rmtree(tmp_path / "tile")
        with pytest.raises(FolderAhead):
            grow(TileWriter(tmp_path), 299)
        assert {"checkpoint": before["checkpoint"]} == files(tmp_path)

    @pytest.mark.parametrize("restarts", [False, True])
    def test_another_history_is_refused(self, tmp_path: Path, restarts: bool) -> None:
        writer = TileWriter(tmp_path)
        grow(writer, 300)

        def forked(index: int) -> bytes:
            return b"forged" if index == 7 else entry(index)

        if restarts:
            writer = TileWriter(tmp_path)
        with pytest.raises(TileConflict, match="root"):
            grow(writer, 310, forked)
        assert read_checkpoint(tmp_path) == checkpoint_of(300)

    def test_a_full_tile_is_never_rewritten(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 300)
        tampered = tmp_path / "tile/entries/000"
        data = bytearray(tampered.read_bytes())
        data[5] ^= 1
        tampered.write_bytes(data)
        (tmp_path / "checkpoint").unlink()
        with pytest.raises(TileConflict, match=r"entries/000 is written already.* at byte 5"):
            grow(TileWriter(tmp_path), 300)
        assert tampered.read_bytes() == bytes(data)

    @pytest.mark.parametrize(
        "name", ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1", "checkpoint"]
    )
    def test_a_changed_edge_is_noticed_when_the_log_grows(self, tmp_path: Path, name: str) -> None:
        grow(TileWriter(tmp_path), 300)
        path = tmp_path / name
        data = bytearray(path.read_bytes())
        data[30] ^= 1
        path.write_bytes(data)
        with pytest.raises(TileConflict):
            grow(TileWriter(tmp_path), 301)

    @pytest.mark.parametrize("name", ["tile/0/001.p/44", "tile/entries/001.p/44", "checkpoint"])
    def test_a_cut_file_is_noticed_when_the_log_grows(self, tmp_path: Path, name: str) -> None:
        grow(TileWriter(tmp_path), 300)
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(TileConflict, match="damaged"):
            grow(TileWriter(tmp_path), 301)

    def test_a_checkpoint_that_the_entries_do_not_lead_to_is_not_written(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(TileConflict, match="for 3 entries"):
            TileWriter(tmp_path).grow(3, entry, root_of(4), checkpoint_of(4))
        assert read_checkpoint(tmp_path) is None

    def test_leftovers_of_a_killed_run_are_cleared(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 20)
        (tmp_path / "tile/0/000.p/3").write_bytes(b"".join(leaf_hash(entry(n)) for n in range(3)))
        (tmp_path / "tile/0/000.p/.writing-21").write_bytes(b"half")
        (tmp_path / ".writing-checkpoint").write_bytes(b"half")
        grow(TileWriter(tmp_path), 21)
        assert verify_folder(tmp_path, entry, 21, checkpoint_of(21)) == []


class TestReader:
    def test_every_earlier_tree_can_be_read(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 600)
        reader = TileReader(tmp_path)
        for size in (1, 2, 255, 256, 257, 300, 512, 599, 600):
            node = reader.nodes(size)
            assert tree_root(size, node) == root_of(size)
            assert Frontier.of(size, node).root() == root_of(size)
            for tile in tiles_of(size):
                data = reader.read(tile)
                if tile.level == ENTRIES:
                    start = tile.index * 256
                    assert decode_bundle(data) == [entry(start + n) for n in range(tile.width)]
                else:
                    assert len(data) == 32 * tile.width

    def test_proofs_from_tiles_verify(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 600)
        node = TileReader(tmp_path).nodes(600)
        for index in (0, 1, 255, 256, 511, 512, 599):
            proof = inclusion_proof(index, 600, node)
            verify_inclusion(leaf_hash(entry(index)), index, 600, proof, root_of(600))
        for old in (1, 128, 256, 300, 512, 599, 600):
            proof = consistency_proof(old, 600, node)
            verify_consistency(old, 600, proof, root_of(old), root_of(600))

    def test_entries_are_read_back(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 600)
        reader = TileReader(tmp_path)
        for index in (0, 255, 256, 599):
            assert reader.entry(index, 600) == entry(index)

    @pytest.mark.parametrize("tile", [Tile(0, 3), Tile(0, 2, 89), Tile(0, 2), Tile(2, 0, 1)])
    def test_a_tile_beyond_the_log_is_missing(self, tmp_path: Path, tile: Tile) -> None:
        grow(TileWriter(tmp_path), 600)
        with pytest.raises(TileMissing):
            TileReader(tmp_path).read(tile)

    def test_an_entry_beyond_the_log_is_missing(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 600)
        reader = TileReader(tmp_path)
        for index, size in ((600, 600), (-1, 600), (599, 599)):
            with pytest.raises(TileMissing):
                reader.entry(index, size)
        with pytest.raises(TileMissing):
            reader.nodes(600)(4, 40)

    def test_a_cut_tile_is_reported(self, tmp_path: Path) -> None:
        grow(TileWriter(tmp_path), 600)
        (tmp_path / "tile/0/000").write_bytes(b"short")
        (tmp_path / "tile/entries/000").write_bytes(encode_bundle([b"only one"]))
        with pytest.raises(TileMissing, match="5 bytes"):
            TileReader(tmp_path).read(Tile(0, 0))
        with pytest.raises(TileMissing, match="only 1 entries"):
            TileReader(tmp_path).read(Tile(ENTRIES, 0))

    def test_a_reader_keeps_up_with_the_writer(self, tmp_path: Path) -> None:
        writer, reader = TileWriter(tmp_path), TileReader(tmp_path)
        for size in range(250, 262):
            grow(writer, size)
            assert tree_root(size, reader.nodes(size)) == root_of(size)
            assert tree_root(250, reader.nodes(250)) == root_of(250)


class TestVerifyFolder:
    @pytest.fixture
    def folder(self, whole: Path, tmp_path: Path) -> Path:
        shutil.copytree(whole, tmp_path / "log")
        return tmp_path / "log"

    def problems(self, folder: Path) -> list[tuple[str, str]]:
        found = verify_folder(folder, entry, 600, checkpoint_of(600))
        assert all(str(problem).startswith(problem.path) for problem in found)
        return [(problem.path, problem.detail) for problem in found]

    def test_a_whole_folder_has_no_problems(self, whole: Path) -> None:
        assert self.problems(whole) == []
        assert verify_folder(whole, entry, 600) == []

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_any_changed_byte_is_found_and_named(self, whole: Path, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(files(whole))))
        original = (whole / name).read_bytes()
        at = data.draw(st.integers(0, len(original) - 1))
        changed = bytearray(original)
        changed[at] ^= data.draw(st.integers(1, 255))
        (whole / name).write_bytes(changed)
        try:
            assert self.problems(whole) == [(name, f"differs from the log at byte {at}")]
        finally:
            (whole / name).write_bytes(original)

    def test_every_missing_file_is_named(self, folder: Path) -> None:
        for name, data in files(folder).items():
            (folder / name).unlink()
            assert self.problems(folder) == [(name, "is missing")]
            (folder / name).write_bytes(data)
        (folder / "checkpoint").unlink()
        assert [str(item) for item in verify_folder(folder, entry, 600)] == [
            "checkpoint: is missing"
        ]

    def test_cut_and_lengthened_files_are_named(self, folder: Path) -> None:
        path = folder / "tile/0/001"
        path.write_bytes(path.read_bytes()[:-1])
        [(name, detail)] = self.problems(folder)
        assert name == "tile/0/001"
        assert detail == "differs from the log at byte 8191 (8191 bytes, not 8192)"
        path.write_bytes(path.read_bytes() + b"".join([leaf_hash(entry(511))[-1:], b"more"]))
        [(_, detail)] = self.problems(folder)
        assert detail == "differs from the log at byte 8192 (8196 bytes, not 8192)"

    @pytest.mark.parametrize(
        "name",
        ["tile/0/003", "tile/0/002.p/9", "tile/9/000", "notes.txt", "tile/entries/000.p/3"],
    )
    def test_extra_files_are_named(self, folder: Path, name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"extra")
        assert self.problems(folder) == [(name, "does not belong to the log")]

    def test_a_link_is_no_file(self, folder: Path, tmp_path: Path) -> None:
        (folder / "tile/0/000").rename(tmp_path / "elsewhere")
        (folder / "tile/0/000").symlink_to(tmp_path / "elsewhere")
        assert self.problems(folder) == [("tile/0/000", "is a link, not a file")]

    def test_a_folder_in_place_of_a_file_is_named(self, folder: Path) -> None:
        (folder / "tile/0/000").unlink()
        (folder / "tile/0/000").mkdir()
        [(name, detail)] = self.problems(folder)
        assert name == "tile/0/000"
        assert "unreadable" in detail

    def test_a_folder_that_is_not_there_misses_everything(self, tmp_path: Path) -> None:
        found = verify_folder(tmp_path / "nowhere", entry, 1, checkpoint_of(1))
        assert [problem.path for problem in found] == [
            "tile/entries/000.p/1",
            "tile/0/000.p/1",
            "checkpoint",
        ]

    def test_another_entry_shows_in_bundle_and_tile(self, folder: Path) -> None:
        def forged(index: int) -> bytes:
            return b"forged 7" if index == 7 else entry(index)

        found = verify_folder(folder, forged, 600, checkpoint_of(600))
        assert [problem.path for problem in found] == [
            "tile/entries/000",
            "tile/0/000",
            "tile/1/000.p/2",
        ]


class GrowingFolder(RuleBasedStateMachine):
    """Whatever is grown, restarted, killed or deleted, the folder is that of its size."""

    def __init__(self) -> None:
        super().__init__()
        self._place = TemporaryDirectory()
        self.folder = Path(self._place.name) / "log"
        self.writer = TileWriter(self.folder)
        self.size = 0
        self.whole = False

    def teardown(self) -> None:
        self._place.cleanup()

    @rule(more=st.sampled_from([0, 1, 2, 100, 255, 256, 257, 600]))
    def grow(self, more: int) -> None:
        self.size += more
        grow(self.writer, self.size)
        self.whole = True

    @rule()
    def restart(self) -> None:
        self.writer = TileWriter(self.folder)

    @rule(more=st.sampled_from([1, 200, 300]), at=st.integers(1, 8))
    def die_while_growing(self, more: int, at: int) -> None:
        real, steps = os.replace, iter(range(1, at))
        died = False

        def dies(source: str | Path, target: str | Path) -> None:
            nonlocal died
            if next(steps, None) is None:
                died = True
                raise OSError(28, "No space left on device")
            real(source, target)

        # The journal holds the new entries in any case; only the folder may lag behind.
        self.size += more
        with pytest.MonkeyPatch.context() as patch, suppress(OSError):
            patch.setattr(os, "replace", dies)
            grow(self.writer, self.size)
        self.whole = not died

    @precondition(lambda self: self.whole and self.size)
    @rule(data=st.data())
    def delete_a_file(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(files(self.folder))))
        (self.folder / name).unlink()
        self.writer = TileWriter(self.folder)
        self.whole = False

    @precondition(lambda self: self.whole)
    @rule(less=st.integers(1, 300))
    def an_older_journal_is_refused(self, less: int) -> None:
        if less <= self.size:
            with pytest.raises(FolderAhead):
                grow(TileWriter(self.folder), self.size - less)

    @invariant()
    def it_is_the_folder_of_its_size(self) -> None:
        if self.whole:
            assert verify_folder(self.folder, entry, self.size, checkpoint_of(self.size)) == []


TestGrowingFolder = GrowingFolder.TestCase
TestGrowingFolder.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
