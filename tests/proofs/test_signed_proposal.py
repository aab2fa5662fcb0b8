"""What a submitter signs: one spelling, bound to one change, and no byte of it can change."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import SignerKey
from proofs.errors import FormatError, InvalidSignature, MalformedStatement
from proofs.signed_proposal import (
    PREDICATE_TYPE,
    ProposalStatement,
    differences,
    open_proposal,
    proposal_statement,
    sign_proposal,
    signing_key_of,
)
from proofs.statement import EvidenceDigest, canonical_json, envelope, sign_payload

STEWARD = SignerKey("fractalops.localhost/steward-shop", bytes(range(32)))
OTHER = SignerKey("fractalops.localhost/steward-bank", bytes(range(1, 33)))
GRAPH = "http://fractalops.localhost/graph/lineage/shop"
LINES = [f'<urn:s:{n}> <urn:name> "caf\u00e9 {n}" <{GRAPH}> .\n'.encode() for n in range(4)]
GOLDEN = "f3030e3c881326b2f6b5f3f8049e27136e452c385d2656ca677d8f595651a43a"
ASKED: dict[str, Any] = {
    "log": "fractalops.localhost/acme/0a1b2c3d+01234567",
    "project": "shop",
    "principal": "http://fractalops.localhost/id/principal/steward-shop",
    "base": 41,
    "rationale": "seen in traces",
    "hold": "",
    "evidence": ["sha256:" + "0a" * 32],
    "additions": LINES[:2],
    "removals": LINES[2:],
}


def stated(**changes: Any) -> ProposalStatement:
    return proposal_statement(**{**ASKED, **changes})


SIGNED = sign_proposal(stated(), STEWARD)


def test_the_statement_as_it_is_signed() -> None:
    document = json.loads(base64.b64decode(json.loads(SIGNED)["payload"]))
    digest = hashlib.sha256(b"".join(LINES[:2])).hexdigest()
    removed = hashlib.sha256(b"".join(LINES[2:])).hexdigest()
    part = b"".join([*(b"A " + line for line in LINES[:2]), *(b"D " + line for line in LINES[2:])])
    assert document == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": GRAPH, "digest": {"sha256": hashlib.sha256(part).hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "log": ASKED["log"],
            "project": "shop",
            "principal": ASKED["principal"],
            "base": 41,
            "rationale_sha256": hashlib.sha256(b"seen in traces").hexdigest(),
            "hold_sha256": None,
            "evidence": ASKED["evidence"],
            "delta": {
                "additions": {"sha256": digest, "count": 2},
                "removals": {"sha256": removed, "count": 2},
            },
        },
    }
    assert signing_key_of(SIGNED) == STEWARD.verifier.label


def test_what_was_signed_reads_back() -> None:
    many = stated(evidence=[f"sha256:{n:064x}" for n in range(65)])
    assert isinstance(many.evidence, EvidenceDigest)
    for made in (stated(), stated(project=None), stated(hold="only browsers show it"), many):
        assert open_proposal(sign_proposal(made, STEWARD), STEWARD.verifier) == made


def test_the_same_is_signed_alike_in_whatever_order_it_comes() -> None:
    turned = stated(additions=LINES[1::-1], evidence=ASKED["evidence"] * 2)
    assert sign_proposal(turned, STEWARD) == SIGNED


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"log": "elsewhere+01234567"}, "the log"),
        ({"project": "bank"}, "the project"),
        ({"project": None}, "the project"),
        ({"principal": "http://fractalops.localhost/id/principal/olga"}, "the principal"),
        ({"base": 42}, "the head it was drafted on"),
        ({"rationale": "seen in traces."}, "the rationale"),
        ({"hold": "look"}, "the reason to hold it"),
        ({"evidence": []}, "the evidence"),
        ({"additions": LINES[:1]}, "the change"),
        ({"removals": []}, "the change"),
        ({"additions": LINES[2:], "removals": LINES[:2]}, "the change"),
    ],
)
def test_each_part_binds(changes: dict[str, Any], part: str) -> None:
    assert differences(stated(), stated()) == []
    assert differences(stated(), stated(**changes)) == [part]
    assert sign_proposal(stated(**changes), STEWARD) != SIGNED


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(InvalidSignature, match="not signed with"):
        open_proposal(SIGNED, OTHER.verifier)
    # The same label, and another key behind it.
    pretended = json.loads(sign_proposal(stated(), OTHER))
    pretended["signatures"][0]["keyid"] = STEWARD.verifier.label
    with pytest.raises(InvalidSignature, match="does not fit"):
        open_proposal(canonical_json(pretended), STEWARD.verifier)


def test_it_is_signed_once_and_by_nobody_else() -> None:
    payload = stated().payload()
    twice = envelope(payload, STEWARD, [sign_payload(payload, OTHER)])
    with pytest.raises(MalformedStatement, match="2 signatures"):
        signing_key_of(twice)
    with pytest.raises(InvalidSignature):
        open_proposal(twice, STEWARD.verifier)


def test_blank_nodes_are_not_signed() -> None:
    with pytest.raises(MalformedStatement):
        stated(additions=[f"_:b <urn:p> <urn:o> <{GRAPH}> .\n".encode()])


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda d: d.update(predicateType="https://w3id.org/fractalops/proof/v1"),
        lambda d: d.update(subject=[]),
        lambda d: d.update(more=1),
        lambda d: d["predicate"].update(more=1),
        lambda d: d["predicate"].pop("base"),
        lambda d: d["predicate"].update(base=-1),
        lambda d: d["predicate"].update(base=None),
        lambda d: d["predicate"].update(rationale_sha256="0"),
        lambda d: d["predicate"].update(evidence=["secret"]),
        lambda d: d["predicate"]["delta"].pop("removals"),
    ],
)
def test_a_signed_statement_of_another_form_is_refused(
    change: Callable[[dict[str, Any]], None],
) -> None:
    document = json.loads(stated().payload())
    change(document)
    with pytest.raises(MalformedStatement):
        open_proposal(envelope(canonical_json(document), STEWARD), STEWARD.verifier)


def test_every_flipped_byte_fails() -> None:
    for at in range(len(SIGNED)):
        changed = SIGNED[:at] + bytes([SIGNED[at] ^ 1]) + SIGNED[at + 1 :]
        with pytest.raises((FormatError, InvalidSignature)):
            open_proposal(changed, STEWARD.verifier)


@given(data=st.data())
def test_any_other_change_fails_too(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SIGNED) - 1))
    end = data.draw(st.integers(at, min(len(SIGNED), at + 40)))
    changed = SIGNED[:at] + data.draw(st.binary(max_size=40)) + SIGNED[end:]
    if changed != SIGNED:
        with pytest.raises((FormatError, InvalidSignature)):
            open_proposal(changed, STEWARD.verifier)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    with pytest.raises((FormatError, InvalidSignature)):
        open_proposal(data, STEWARD.verifier)


def test_it_is_golden() -> None:
    """What stewards elsewhere sign must fit tomorrow's gate."""
    assert hashlib.sha256(SIGNED).hexdigest() == GOLDEN
    assert replace(stated(), base=0).payload() != stated().payload()
