"""What ``docs/proofs.md`` says is so: its commands run, its tables are complete."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proofs.bundle import Delta, make_bundle
from proofs.checkpoint import Checkpoint, SignerKey, sign_checkpoint
from proofs.merkle import inclusion_proof, leaf_hash, nodes_of, root_from_hashes
from proofs.predicate import KINDS, Proof
from proofs.statement import (
    PREDICATE_TYPE,
    build,
    delta_digests,
    delta_subjects,
    envelope,
    statement,
)
from proofs.verdict import Status

LOG = SignerKey("log.example/shop", bytes(range(32)))
INDEX = 4
DELTA = Delta(
    '<urn:a> <urn:name> "caf\u00e9" <urn:graph> .\n<urn:b> <urn:p> <urn:c> <urn:graph> .\n',
    "<urn:old> <urn:p> <urn:c> <urn:graph> .\n",
)


def proof(index: int) -> Proof:
    return Proof(
        kind="applied",
        index=index,
        previous="0" * 64,
        time="2026-11-22T19:45:00Z",
        proposal=None,
        project=None,
        principal=None,
        delta=delta_digests(DELTA.added, DELTA.removed),
        state_before="a" * 64,
        state_after="b" * 64,
    )


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs/proofs.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle and the log's key, as a stranger would have them."""
    subjects = delta_subjects(DELTA.added, DELTA.removed)
    leaves = [
        envelope(build(statement(subjects, proof(index).to_dict())), LOG) for index in range(7)
    ]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    bundle = make_bundle(
        log_key=LOG.verifier,
        index=INDEX,
        leaf=leaves[INDEX],
        checkpoint=sign_checkpoint(Checkpoint(LOG.name, 7, root_from_hashes(hashes)), LOG),
        inclusion=inclusion_proof(INDEX, 7, nodes_of(hashes.__getitem__)),
        delta=DELTA,
    )
    (tmp_path / "bundle.json").write_bytes(bundle)
    (tmp_path / "log.pub").write_text(f"{LOG.verifier}\n")
    return tmp_path


def block(page: str, language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return str(found)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def shell(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    missing = [tool for tool in ("sh", "jq", "openssl", "base64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on this machine")
    return run(["sh", "-ec", block(page, "sh")], folder)


def test_the_shell_commands_verify_a_bundle(page: str, folder: Path) -> None:
    done = shell(page, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert "additions match\nremovals match\n" in done.stdout


@pytest.mark.parametrize("part", ["envelope", "checkpoint", "delta"])
def test_the_shell_commands_notice_a_change(page: str, folder: Path, part: str) -> None:
    path = folder / "bundle.json"
    document = json.loads(path.read_bytes())
    if part == "envelope":
        document["envelope"] = document["envelope"].replace("ZXlKZmRIbHdaU0k2", "ZXlKZmRIbHdaU0k3")
        assert document != json.loads(path.read_bytes())
    elif part == "checkpoint":
        document["checkpoint"] = document["checkpoint"].replace("\n7\n", "\n8\n")
    else:
        document["delta"]["additions"] = document["delta"]["additions"].replace("urn:b", "urn:x")
    path.write_text(json.dumps(document, ensure_ascii=False))
    done = shell(page, folder)
    assert done.returncode != 0 or "additions match" not in done.stdout


def test_the_python_program_follows_the_path(page: str, folder: Path) -> None:
    program = [sys.executable, "-Wignore", "-c", block(page, "python")]
    assert run(program, folder).stdout == "the entry is in the log\n"
    path = folder / "bundle.json"
    document = json.loads(path.read_bytes())
    document["index"] = INDEX - 1
    path.write_text(json.dumps(document))
    assert "the entry is not in the log" in run(program, folder).stderr


def test_every_member_and_kind_is_described(page: str) -> None:
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    described = set(re.findall(r"`([A-Za-z_]+)`", rows))
    assert set(proof(0).to_dict()) <= described
    members = json.loads(
        make_bundle(
            log_key=LOG.verifier, index=0, leaf=b"x", checkpoint="x", inclusion=[], delta=None
        )
    )
    assert set(members) <= described
    assert {str(status) for status in Status} <= described
    for kind in KINDS:
        assert f"`{kind}`" in page
    assert PREDICATE_TYPE in page
