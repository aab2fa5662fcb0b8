"""A log that is handed to another key: everything verifies on, offline, by any of its keys."""

from __future__ import annotations

import json

import pytest

from proofs.bundle import body_digest
from proofs.chain import Chain
from proofs.checkpoint import SignerKey, VerifierKey, parse_note
from proofs.errors import (
    InvalidSignature,
    LogForked,
    MalformedKey,
    MalformedStatement,
    ProofError,
    SignerFailed,
)
from proofs.log_keys import LogKeys, last_key
from proofs.publish import refuse_fork
from proofs.statement import canonical_json, envelope, parse_envelope
from proofs.verify import Status, verify_bundle
from tests.proofs.conftest import Gate

REASON = "once a year"


class Elsewhere:
    """A signer that is away when it is told to be."""

    def __init__(self, key: SignerKey) -> None:
        self.key = key
        self.signs = 0
        self.away_after = -1

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def verifier(self) -> VerifierKey:
        return self.key.verifier

    def sign_raw(self, message: bytes) -> bytes:
        if self.signs == self.away_after:
            raise SignerFailed("nothing was changed: it is away")
        self.signs += 1
        return self.key.sign_raw(message)


def other_key(gate: Gate) -> SignerKey:
    return SignerKey.generate(gate.key.name)


def rotate(gate: Gate) -> SignerKey:
    """Hands the log to a new key, by which the folder is opened from then on."""
    key = other_key(gate)
    gate.ledger.rotate(key, REASON)
    gate.key = key
    return key


@pytest.fixture
def lived(gate: Gate) -> tuple[Gate, list[SignerKey], list[bytes]]:
    """A log after two rotations; its keys, and a bundle that was exported under each."""
    keys, bundles = [gate.key], []
    for name in ("first", "second"):
        gate.propose(gate.service(name))
        bundles.append(gate.explainer().bundle(gate.ledger.head))
        keys.append(rotate(gate))
    gate.propose(gate.service("third"))
    bundles.append(gate.explainer().bundle(gate.ledger.head))
    return gate, keys, bundles


Lived = tuple[Gate, list[SignerKey], list[bytes]]


def test_after_two_rotations_every_entry_verifies_by_any_key(lived: Lived) -> None:
    gate, keys, _ = lived
    for index in range(gate.ledger.head + 1):
        bundle = gate.explainer().bundle(index)
        for key in keys:
            verdict = verify_bundle(bundle, key.verifier)
            assert verdict.status is Status.UNANCHORED, verdict.reasons
            since = [item["since"] for item in verdict.facts["log_keys"]]
            assert since == [0, *gate.keys.rotations]
        stranger = verify_bundle(bundle, other_key(gate).verifier)
        assert stranger.status is Status.INVALID


def test_bundles_from_before_verify_by_their_key(lived: Lived) -> None:
    _, keys, bundles = lived
    first, second, third = (key.verifier for key in keys)
    for bundle in bundles:
        assert verify_bundle(bundle, third, former_keys=[first, second]).status is Status.UNANCHORED
    # The newest key alone doesn't vouch for what was exported before it was.
    assert verify_bundle(bundles[0], third).status is Status.INVALID
    assert verify_bundle(bundles[0], first).status is Status.UNANCHORED


def test_checkpoints_from_before_and_after_are_compared(lived: Lived) -> None:
    gate, keys, bundles = lived
    newest = gate.journal.checkpoint(gate.ledger.head + 1)
    oldest = gate.journal.checkpoint(1)
    bundle = gate.explainer().bundle(1, since=1)
    verdict = verify_bundle(bundle, keys[0].verifier, trusted_checkpoint=oldest)
    assert verdict.status is Status.UNANCHORED
    assert any("the trusted checkpoint of 1 agrees" in check.detail for check in verdict.checks)
    # A bundle from before, a checkpoint from after: the log has a proof, the bundle has none.
    known = [key.verifier for key in keys[1:]]
    verdict = verify_bundle(bundles[0], keys[0].verifier, (), newest, former_keys=known)
    assert verdict.status is Status.UNANCHORED
    assert any("ask the log for one" in check.detail for check in verdict.checks)


def test_the_entry_is_signed_by_both_keys_and_so_is_its_checkpoint(lived: Lived) -> None:
    gate, keys, _ = lived
    for index, before, after in zip(gate.keys.rotations, keys, keys[1:], strict=False):
        both = [before.verifier, after.verifier]
        assert parse_note(gate.journal.checkpoint(index + 1)).verified(both) == both
        assert parse_note(gate.journal.checkpoint(index + 2)).verified(both) == [after.verifier]
        assert parse_note(gate.journal.checkpoint(index)).verified(both) == [before.verifier]


def test_the_folder_is_opened_audited_and_published_on(lived: Lived) -> None:
    gate, keys, _ = lived
    log = gate.publish()
    gate.reopen()
    assert gate.keys.labels == tuple(key.verifier.label for key in keys)
    assert last_key(gate.journal.rotations()) == gate.key.verifier
    gate.propose(gate.service("fourth"))
    assert gate.publish() == log
    gate.sound()
    refuse_fork(gate.journal, [log], gate.keys)
    with pytest.raises(InvalidSignature, match="by its entries"):
        Chain(
            gate.journal,
            keys[1],
            LogKeys.read(keys[1].verifier, gate.journal.rotations()),
            pytest.fail,
        )


def test_an_older_journal_does_not_know_the_key(gate: Gate) -> None:
    older = LogKeys(gate.key.verifier)
    rotate(gate)
    gate.propose(gate.service("later"))
    with pytest.raises(LogForked, match="from before the log was handed to another key"):
        refuse_fork(gate.journal, [gate.publish()], older)


def test_a_list_of_rotations_that_was_changed_is_found(lived: Lived) -> None:
    gate, _, _ = lived
    with gate.journal._connection() as connection:
        connection.execute("INSERT INTO meta VALUES ('rotation/0', '1')")
    with pytest.raises(MalformedStatement, match="hands nothing on"):
        gate.reopen()


@pytest.mark.parametrize("away_after", [0, 1])
def test_a_signer_that_fails_leaves_everything_as_it_was(gate: Gate, away_after: int) -> None:
    head, state = gate.ledger.head, gate.ledger.state_digest
    signer = Elsewhere(gate.key)
    gate.ledger._chain._signer = signer
    signer.away_after = away_after
    with pytest.raises(SignerFailed, match="it is away"):
        gate.propose(gate.service("web"))
    assert (gate.ledger.head, gate.ledger.state_digest, gate.journal.head()) == (head, state, head)
    assert gate.ledger.stopped is None
    signer.away_after = -1
    gate.propose(gate.service("web"))
    gate.sound()


@pytest.mark.parametrize("away_after", [0, 1])
def test_a_successor_that_fails_changes_no_key(gate: Gate, away_after: int) -> None:
    successor = Elsewhere(other_key(gate))
    successor.away_after = away_after
    head = gate.ledger.head
    with pytest.raises(SignerFailed):
        gate.ledger.rotate(successor, REASON)
    assert gate.journal.rotations() == []
    assert gate.ledger.head == head
    gate.propose(gate.service("web"))
    gate.reopen()
    gate.sound()


def test_which_keys_may_not_follow(lived: Lived) -> None:
    gate, keys, _ = lived
    for key, said in (
        (keys[0], "has been the log's before"),
        (gate.key, "has been the log's before"),
        (SignerKey.generate("another.example/log"), "is not one of log"),
        (SignerKey.generate(gate.key.name, 4), "is not one of log"),
    ):
        with pytest.raises(MalformedKey, match=said):
            gate.ledger.rotate(key, REASON)


def test_a_rotation_that_one_key_alone_signed_is_none(gate: Gate) -> None:
    first = gate.key
    second = rotate(gate)
    (index, leaf) = gate.journal.rotations()[0]
    payload = _payload(leaf)
    for signer in (first, second):
        with pytest.raises(InvalidSignature):
            LogKeys.read(second.verifier, [(index, envelope(payload, signer))])
    with pytest.raises(MalformedStatement, match="another one"):
        LogKeys.read(second.verifier, [(index + 1, leaf)])


def _payload(leaf: bytes) -> bytes:
    return parse_envelope(leaf)[0]


def test_a_bundle_whose_succession_was_changed(lived: Lived) -> None:
    gate, keys, _ = lived
    whole = json.loads(gate.explainer().bundle(gate.ledger.head))
    del whole["digest"]

    def verdict(**changed: object) -> Status:
        body = {**whole, **changed}
        data = canonical_json({**body, "digest": body_digest(body)})
        return verify_bundle(data, keys[0].verifier).status

    assert verdict() is Status.UNANCHORED
    first, second = whole["succession"]
    assert verdict(succession=[first]) is Status.INVALID
    assert verdict(succession=[second]) is Status.INVALID
    assert verdict(succession=[second, first]) is Status.INVALID
    assert verdict(succession=[]) is Status.INVALID
    assert verdict(succession=[first, second, second]) is Status.INVALID
    assert verdict(succession=[first, {**second, "index": second["index"] + 1}]) is Status.INVALID
    assert verdict(succession=[first, {**second, "inclusion": []}]) is Status.INVALID
    assert verdict(log={"key": str(keys[1].verifier)}) is Status.INVALID


def test_only_the_key_that_held_signs(lived: Lived) -> None:
    gate, keys, _ = lived
    head = gate.ledger.head
    payload = _payload(gate.journal.leaf(head))
    for key in keys[:-1]:
        with pytest.raises(ProofError):
            gate.keys.open_entry(envelope(payload, key), head)
