"""Independent implementations, in Go, verify what we publish, and we verify what they sign.

``golang.org/x/mod/sumdb/note`` and ``tlog`` are the reference for signed notes and tiles;
``filippo.io/torchwood`` implements the C2SP path layout, entry bundles and witness cosignatures.
Both are pinned by hash. Without a Go toolchain, or where its module proxy can't be reached, the
published vectors in ``tests/proofs`` stand alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proofs.checkpoint import (
    COSIGNATURE_V1,
    Checkpoint,
    SignerKey,
    VerifierKey,
    add_cosignature,
    cosign,
    cosigners,
    open_checkpoint,
    parse_note,
    sign_checkpoint,
)
from proofs.errors import InvalidSignature
from proofs.merkle import consistency_proof, inclusion_proof, leaf_hash, root_from_hashes
from proofs.tiles import TileReader, TileWriter

pytestmark = pytest.mark.live

GO_MOD = """\
module conformance

go 1.24.0

require (
	filippo.io/torchwood v0.8.0
	golang.org/x/mod v0.29.0
)

require (
	golang.org/x/crypto v0.44.0 // indirect
	golang.org/x/sync v0.18.0 // indirect
)
"""

GO_SUM = """\
filippo.io/torchwood v0.8.0 h1:vZsUJRwcy/TE+qR6mBNzWOcQc2rYnP1rtLUzyzO8E/U=
filippo.io/torchwood v0.8.0/go.mod h1:bV91zf15ZZ3E4h5nCSfAAiuDe/8aT54s/R5gXBLKhVk=
golang.org/x/crypto v0.44.0 h1:A97SsFvM3AIwEEmTBiaxPPTYpDC47w720rdiiUvgoAU=
golang.org/x/crypto v0.44.0/go.mod h1:013i+Nw79BMiQiMsOPcVCB5ZIJbYkerPrGnOa00tvmc=
golang.org/x/mod v0.29.0 h1:HV8lRxZC4l2cr3Zq1LvtOsi/ThTgWnUk/y64QSs8GwA=
golang.org/x/mod v0.29.0/go.mod h1:NyhrlYXJ2H4eJiRy/WDBO6HMqZQ6q9nk4JzS3NuCK+w=
golang.org/x/sync v0.18.0 h1:kr88TuHDroi+UVf+0hZnirlk8o8T+4MrK6mr60WkH/I=
golang.org/x/sync v0.18.0/go.mod h1:9KTHXmSnoGruLpwFjVSX0lNNA75CykiMECbovNTZqGI=
"""

# Reads a request from standard input and prints what it found, or fails with a reason.
MAIN_GO = r"""
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type request struct {
	Folder      string
	LogKey      string
	WitnessKey  string
	Records     map[int64][]tlog.Hash
	OldSize     int64
	OldRoot     tlog.Hash
	Consistency []tlog.Hash
}

type answer struct {
	Origin      string
	Size        int64
	Signatures  []string
	CosignedAt  int64
	Entries     int64
	EntriesHash string
	LogKey      string
	WitnessKey  string
	Note        string
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var r request
	check(json.NewDecoder(os.Stdin).Decode(&r))
	var a answer
	verify(r, &a)
	sign(&a)
	check(json.NewEncoder(os.Stdout).Encode(a))
}

func verify(r request, a *answer) {
	logVerifier, err := note.NewVerifier(r.LogKey)
	check(err)
	witness, err := torchwood.NewCosignatureVerifier(r.WitnessKey)
	check(err)
	raw, err := os.ReadFile(r.Folder + "/checkpoint")
	check(err)
	opened, err := note.Open(raw, note.VerifierList(logVerifier, witness))
	check(err)
	for _, s := range opened.Sigs {
		a.Signatures = append(a.Signatures, s.Name)
		if s.Name == witness.Name() {
			a.CosignedAt, err = torchwood.CosignatureTimestamp(s)
			check(err)
		}
	}
	head, err := torchwood.ParseCheckpoint(opened.Text)
	check(err)
	a.Origin, a.Size = head.Origin, head.N

	files, err := torchwood.NewTileFS(os.DirFS(r.Folder))
	check(err)
	hashes := torchwood.TileHashReaderWithContext(context.Background(), head.Tree, files)
	root, err := tlog.TreeHash(head.N, hashes)
	check(err)
	if root != head.Hash {
		check(fmt.Errorf("the tiles lead to %v, the checkpoint says %v", root, head.Hash))
	}

	client, err := torchwood.NewClient(files)
	check(err)
	sum := sha256.New()
	for _, entry := range client.AllEntries(context.Background(), head.Tree, 0) {
		a.Entries++
		sum.Write(entry)
	}
	check(client.Err())
	a.EntriesHash = hex.EncodeToString(sum.Sum(nil))

	for n, proof := range r.Records {
		entry, own, err := client.Entry(context.Background(), head.Tree, n)
		check(err)
		if !slices.Equal(own, proof) {
			check(fmt.Errorf("entry %d: another proof than ours", n))
		}
		check(tlog.CheckRecord(proof, head.N, head.Hash, n, tlog.RecordHash(entry)))
	}
	own, err := tlog.ProveTree(head.N, r.OldSize, hashes)
	check(err)
	if !slices.Equal(own, r.Consistency) {
		check(fmt.Errorf("another consistency proof than ours"))
	}
	check(tlog.CheckTree(r.Consistency, head.N, head.Hash, r.OldSize, r.OldRoot))
}

func sign(a *answer) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "go.example/log")
	check(err)
	signer, err := note.NewSigner(skey)
	check(err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	cosigner, err := torchwood.NewCosignatureSigner("go.example/witness", private)
	check(err)
	text := torchwood.Checkpoint{
		Origin: "go.example/log",
		Tree:   tlog.Tree{N: 7, Hash: tlog.RecordHash([]byte("root"))},
	}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signer, cosigner)
	check(err)
	a.LogKey, a.WitnessKey, a.Note = vkey, cosigner.Verifier().String(), string(signed)
}
"""

LOG = SignerKey("log.example/shop", bytes(range(32)))
WITNESS = SignerKey("witness.example/w1", bytes(range(2, 34)), COSIGNATURE_V1)
COSIGNED_AT = 1679315147


def entry(index: int) -> bytes:
    return f"entry {index}".encode() * (index % 3 + 1)


def root_of(size: int) -> bytes:
    return root_from_hashes(leaf_hash(entry(index)) for index in range(size))


@pytest.fixture(scope="session")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no Go toolchain on this machine")
    folder = tmp_path_factory.mktemp("go")
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "go.sum").write_text(GO_SUM)
    (folder / "main.go").write_text(MAIN_GO)
    environ = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [go, *arguments],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    fetched = run("mod", "download")
    if fetched.returncode:
        pytest.skip(f"the pinned Go modules can't be had here: {fetched.stderr.strip()[-300:]}")
    built = run("build", "-trimpath", "-o", "verifier", ".")
    assert built.returncode == 0, built.stderr
    return folder / "verifier"


@dataclass(frozen=True)
class Published:
    """A folder of tiles with a cosigned checkpoint, and the proofs we make from it."""

    folder: Path
    size: int
    old: int

    def request(self) -> dict[str, Any]:
        node = TileReader(self.folder).nodes(self.size)
        edges = {0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, self.size // 2, self.size - 1}
        return {
            "Folder": str(self.folder),
            "LogKey": str(LOG.verifier),
            "WitnessKey": str(WITNESS.verifier),
            "Records": {
                str(index): encoded(inclusion_proof(index, self.size, node))
                for index in edges
                if index < self.size
            },
            "OldSize": self.old,
            "OldRoot": encoded([root_of(self.old)])[0],
            "Consistency": encoded(consistency_proof(self.old, self.size, node)),
        }


def encoded(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(item).decode() for item in hashes]


def publish(folder: Path, old: int, size: int) -> Published:
    writer = TileWriter(folder)
    for grown in (old, size):
        root = root_of(grown)
        note = sign_checkpoint(Checkpoint(LOG.name, grown, root), LOG)
        line = cosign(note, WITNESS, COSIGNED_AT)
        note = add_cosignature(note, line, [WITNESS.verifier])
        writer.grow(grown, entry, root, note.encode())
    return Published(folder, size, old)


def ask(verifier: Path, request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [verifier],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("old", "size"),
    [(1, 1), (1, 2), (255, 256), (256, 257), (3, 300), (512, 700), (65_536, 70_000)],
)
def test_go_reads_our_log(verifier: Path, tmp_path: Path, old: int, size: int) -> None:
    published = publish(tmp_path / "log", old, size)
    done = ask(verifier, published.request())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["Origin"] == LOG.name
    assert found["Size"] == found["Entries"] == size
    assert found["Signatures"] == [LOG.name, WITNESS.name]
    assert found["CosignedAt"] == COSIGNED_AT
    content = b"".join(entry(index) for index in range(size))
    assert found["EntriesHash"] == hashlib.sha256(content).hexdigest()


def test_we_read_what_go_signs(verifier: Path, tmp_path: Path) -> None:
    published = publish(tmp_path / "log", 1, 3)
    found = json.loads(ask(verifier, published.request()).stdout)
    log_key = VerifierKey.parse(found["LogKey"])
    witness = VerifierKey.parse(found["WitnessKey"])
    head = open_checkpoint(found["Note"], log_key)
    assert head == Checkpoint("go.example/log", 7, leaf_hash(b"root"))
    [(cosigner, time)] = cosigners(parse_note(found["Note"]), [witness])
    assert cosigner == witness
    assert time > COSIGNED_AT
    with pytest.raises(InvalidSignature):
        open_checkpoint(found["Note"].replace("\n7\n", "\n8\n"), log_key)


@pytest.mark.parametrize(
    "name",
    ["checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"],
)
def test_go_refuses_what_was_changed(verifier: Path, tmp_path: Path, name: str) -> None:
    published = publish(tmp_path / "log", 3, 300)
    request = published.request()
    path = published.folder / name
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    assert ask(verifier, request).returncode == 1


def test_go_refuses_a_proof_of_another_history(verifier: Path, tmp_path: Path) -> None:
    published = publish(tmp_path / "log", 3, 300)
    request = published.request()
    request["OldRoot"] = encoded([root_of(4)])[0]
    done = ask(verifier, request)
    assert done.returncode == 1
    assert "tree proof" in done.stderr or "invalid" in done.stderr
