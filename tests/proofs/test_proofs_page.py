"""What ``docs/proofs.md`` says is so: its commands run, its tables are complete."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from proofs.bundle import Delta, Enrolment, OrderDocuments, SignedProposal, make_bundle
from proofs.checkpoint import Checkpoint, SignerKey, sign_checkpoint
from proofs.delta import order_subjects
from proofs.merkle import inclusion_proof, leaf_hash, nodes_of, root_from_hashes
from proofs.orders import Order, Result
from proofs.predicate import KINDS, DecisionRecord, Proof
from proofs.signed_proposal import PREDICATE_TYPE as PROPOSAL_TYPE
from proofs.signed_proposal import proposal_statement, sign_proposal
from proofs.statement import (
    PREDICATE_TYPE,
    build,
    delta_digests,
    delta_subjects,
    envelope,
    statement,
)
from proofs.verdict import Status
from proofs.verify import verify_bundle

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


HOLDER = "http://fractalops.localhost/id/principal/steward-shop"
KEY = "http://fractalops.localhost/id/signing-key/steward-shop"
NS = "https://w3id.org/fractalops/ns#"
GOVERNANCE = "http://fractalops.localhost/graph/governance"
AUTHOR = SignerKey("fractalops.localhost/steward-shop", bytes(range(1, 33)))
GOLDEN = Path(__file__).parent / "golden" / "signed.bundle.json"
GOLDEN_ORDER = GOLDEN.with_name("order.bundle.json")
ENROLMENT = Delta(
    f"<{KEY}/1> <{NS}keyHolder> <{HOLDER}> <{GOVERNANCE}> .\n"
    f'<{KEY}/1> <{NS}publicKey> "{AUTHOR.verifier}" <{GOVERNANCE}> .\n',
    "",
)


def signed_bundle() -> bytes:
    """A bundle of an entry whose author signed it; the second entry states the key."""
    signed = sign_proposal(
        proposal_statement(
            log=LOG.verifier.label,
            project="shop",
            principal=HOLDER,
            base=3,
            rationale="seen in traces",
            hold="",
            evidence=[],
            additions=DELTA.added,
            removals=DELTA.removed,
        ),
        AUTHOR,
    )
    stating = delta_digests(ENROLMENT.added, [])
    leaves = []
    for index in range(7):
        made = replace(
            proof(index), project="shop", principal=HOLDER, signature=sha256(signed).hexdigest()
        )
        subjects = delta_subjects(DELTA.added, DELTA.removed)
        if index == 1:
            made = replace(made, delta=stating, signature=None)
            subjects = delta_subjects(ENROLMENT.added, [])
        leaves.append(envelope(build(statement(subjects, made.to_dict())), LOG))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    node = nodes_of(hashes.__getitem__)
    return make_bundle(
        log_key=LOG.verifier,
        index=INDEX,
        leaf=leaves[INDEX],
        checkpoint=sign_checkpoint(Checkpoint(LOG.name, 7, root_from_hashes(hashes)), LOG),
        inclusion=inclusion_proof(INDEX, 7, node),
        delta=DELTA,
        signature=SignedProposal(
            signed,
            None,
            Enrolment(1, leaves[1], tuple(inclusion_proof(1, 7, node)), ENROLMENT.additions),
        ),
    )


ORDER = Order(
    asset="http://fractalops.localhost/id/runtime-asset/web-1",
    asset_id="web-1",
    roles=("web",),
    action={"kind": "run", "argv": ["python", "-V"], "seconds": 60},
    effect="reads",
    rule='["python","-V"]',
)
OUTCOME = Result({"outcome": "ended", "exit_code": 0, "stdout": {"bytes": 14}})


def order_bundle() -> bytes:
    """A bundle of the entry with the outcome of an order."""
    order, result = ORDER.to_bytes(), OUTCOME.to_bytes()
    digests = sha256(order).hexdigest(), sha256(result).hexdigest()
    leaves = []
    for index in range(7):
        made = replace(
            proof(index),
            kind="executed",
            delta=delta_digests([], []),
            state_after="a" * 64,
            decisions=(
                DecisionRecord(HOLDER, "approve", "2026-11-22T19:45:00Z", None, False, "it reads"),
            ),
            order=digests[0],
            result=digests[1],
        )
        leaves.append(envelope(build(statement(order_subjects(*digests), made.to_dict())), LOG))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return make_bundle(
        log_key=LOG.verifier,
        index=INDEX,
        leaf=leaves[INDEX],
        checkpoint=sign_checkpoint(Checkpoint(LOG.name, 7, root_from_hashes(hashes)), LOG),
        inclusion=inclusion_proof(INDEX, 7, nodes_of(hashes.__getitem__)),
        delta=Delta("", ""),
        order=OrderDocuments(order.decode(), result.decode()),
    )


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


def test_a_signed_bundle_is_golden() -> None:
    """What was exported once is verified for ever."""
    assert GOLDEN.read_bytes() == signed_bundle()
    verdict = verify_bundle(GOLDEN.read_bytes(), LOG.verifier)
    assert verdict.status is Status.UNANCHORED
    assert [check.ok for check in verdict.checks if check.name.startswith("author")] == [True] * 2


def test_the_shell_commands_verify_an_authors_signature(page: str, folder: Path) -> None:
    (folder / "bundle.json").write_bytes(signed_bundle())
    assert shell(page, folder).returncode == 0
    done = run(["sh", "-ec", block(page, "bash")], folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Signature Verified Successfully") == 2
    assert "the author signed this change\n" in done.stdout


def test_the_shell_commands_notice_another_author(page: str, folder: Path) -> None:
    document = json.loads(signed_bundle())
    enrolment = document["signature"]["enrolment"]
    enrolment["additions"] = enrolment["additions"].replace("steward-shop> <http", "olga> <http")
    (folder / "bundle.json").write_text(json.dumps(document))
    shell(page, folder)
    assert run(["sh", "-ec", block(page, "bash")], folder).returncode != 0


def test_a_bundle_of_an_order_is_golden() -> None:
    """What was exported once is verified for ever."""
    assert GOLDEN_ORDER.read_bytes() == order_bundle()
    verdict = verify_bundle(GOLDEN_ORDER.read_bytes(), LOG.verifier)
    assert verdict.status is Status.UNANCHORED
    assert {"order", "result"} <= {check.name for check in verdict.checks if check.ok}


def test_the_shell_commands_verify_an_order(page: str, folder: Path) -> None:
    (folder / "bundle.json").write_bytes(order_bundle())
    assert shell(page, folder).returncode == 0
    done = run(["sh", "-ec", block(page, "shell")], folder)
    assert done.returncode == 0, done.stderr
    assert "order matches\nresult matches\n" in done.stdout
    assert '"outcome":"approve"' in done.stdout


def test_the_shell_commands_notice_another_order(page: str, folder: Path) -> None:
    document = json.loads(order_bundle())
    document["order"]["order"] = document["order"]["order"].replace("-V", "-c")
    (folder / "bundle.json").write_text(json.dumps(document))
    shell(page, folder)
    assert "order matches" not in run(["sh", "-ec", block(page, "shell")], folder).stdout


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
    described = set(re.findall(r"`([A-Za-z_0-9]+)`", rows))
    some = "0" * 64
    assert set(replace(proof(0), signature=some, order=some, result=some).to_dict()) <= described
    assert set(ORDER.to_dict()) <= described
    signed = json.loads(base64.b64decode(json.loads(GOLDEN.read_bytes())["signature"]["envelope"]))
    assert set(json.loads(base64.b64decode(signed["payload"]))["predicate"]) <= described
    members = json.loads(
        make_bundle(
            log_key=LOG.verifier, index=0, leaf=b"x", checkpoint="x", inclusion=[], delta=None
        )
    )
    assert set(members) | set(json.loads(GOLDEN.read_bytes())) <= described
    assert set(json.loads(GOLDEN_ORDER.read_bytes())) <= described
    assert {str(status) for status in Status} <= described
    for kind in KINDS:
        assert f"`{kind}`" in page
    assert PREDICATE_TYPE in page
    assert PROPOSAL_TYPE in page
