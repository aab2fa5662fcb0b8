"""Entries: in-toto statements in DSSE envelopes, deterministic to the byte and strictly read."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import SignerKey
from proofs.errors import InvalidSignature, LeafTooLarge, MalformedStatement, ProofError
from proofs.statement import (
    MAX_LEAF,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    DecisionRecord,
    DeltaDigest,
    EnvelopeSignature,
    EvidenceDigest,
    Proof,
    ReportDigest,
    build,
    canonical_json,
    commit_evidence,
    delta_digests,
    delta_subjects,
    envelope,
    load_canonical_json,
    open_envelope,
    pae,
    parse_envelope,
    parse_quad,
    sign_payload,
    statement,
)

LOG = SignerKey("log.example/shop", bytes(range(32)))
SUBMITTER = SignerKey("people.example/ada", bytes(range(1, 33)))

SHOP = "http://fractalops.localhost/graph/lineage/shop"
BILLING = "http://fractalops.localhost/graph/lineage/billing"


def quad(name: str, graph: str = SHOP) -> bytes:
    return f'<urn:{name}> <urn:p> "caf\u00e9" <{graph}> .\n'.encode()


ADDED = [quad("b"), quad("a"), quad("a", BILLING)]
REMOVED = [quad("c")]


def proof(**changes: Any) -> Proof:
    value = Proof(
        kind="applied",
        index=7,
        previous="a" * 64,
        time="2026-11-22T19:45:00.123456Z",
        proposal="http://fractalops.localhost/id/proposal/1",
        project="shop",
        principal="http://fractalops.localhost/id/principal/shop-steward",
        delta=delta_digests(ADDED, REMOVED),
        state_before="b" * 64,
        state_after="c" * 64,
        reverts=None,
        transitions=("submitted", "valid", "approved", "applied"),
        decisions=(
            DecisionRecord(
                by="http://fractalops.localhost/id/principal/ada",
                outcome="approve",
                at="2026-11-22T19:44:00Z",
                reason_sha256="d" * 64,
                single_person=False,
                policy="within grant",
            ),
        ),
        report=ReportDigest("e" * 64, True),
        shapes="f" * 64,
        ontology="0" * 64,
        rules=None,
        evidence=("sha256:" + "1" * 64,),
    )
    return replace(value, **changes)


def payload(**changes: Any) -> bytes:
    return build(statement(delta_subjects(ADDED, REMOVED), proof(**changes).to_dict()))


class TestEnvelope:
    def test_the_published_encoding_of_dsse(self) -> None:
        # The example of the DSSE protocol specification.
        assert pae("http://example.com/HelloWorld", b"hello world") == (
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        )

    def test_an_entry_opens_with_the_logs_key(self) -> None:
        leaf = envelope(payload(), LOG)
        opened = open_envelope(leaf, [LOG.verifier])
        assert opened.payload == payload()
        assert opened.statement["_type"] == STATEMENT_TYPE
        assert opened.statement["predicateType"] == PREDICATE_TYPE
        assert Proof.from_dict(opened.statement["predicate"]) == proof()
        assert opened.verified == (LOG.verifier.label,)
        assert opened.unknown == ()

    def test_the_leaf_is_plain_dsse(self) -> None:
        document = json.loads(envelope(payload(), LOG))
        assert set(document) == {"payload", "payloadType", "signatures"}
        assert document["payloadType"] == PAYLOAD_TYPE
        assert base64.b64decode(document["payload"]) == payload()
        [signature] = document["signatures"]
        assert signature["keyid"] == LOG.verifier.label
        message = b"DSSEv1 %d %b %d %b" % (
            len(PAYLOAD_TYPE),
            PAYLOAD_TYPE.encode(),
            len(payload()),
            payload(),
        )
        assert LOG.verifier.verify_raw(message, base64.b64decode(signature["sig"]))

    def test_the_same_statement_is_the_same_leaf(self) -> None:
        assert envelope(payload(), LOG) == envelope(payload(), LOG)
        shuffled = dict(reversed(json.loads(payload()).items()))
        assert build(shuffled) == payload()

    def test_a_submitters_own_signature_is_kept(self) -> None:
        leaf = envelope(payload(), LOG, [sign_payload(payload(), SUBMITTER)])
        both = open_envelope(leaf, [LOG.verifier, SUBMITTER.verifier])
        assert both.verified == (LOG.verifier.label, SUBMITTER.verifier.label)
        one = open_envelope(leaf, [LOG.verifier])
        assert one.verified == (LOG.verifier.label,)
        assert one.unknown == (SUBMITTER.verifier.label,)

    def test_a_remote_signer_sees_the_encoding(self) -> None:
        seen: list[bytes] = []

        def remote(message: bytes) -> list[EnvelopeSignature]:
            seen.append(message)
            return [EnvelopeSignature(LOG.verifier.label, LOG.sign_raw(message))]

        assert envelope(payload(), remote) == envelope(payload(), LOG)
        assert seen == [pae(PAYLOAD_TYPE, payload())]

    def test_an_envelope_without_signatures_is_refused(self) -> None:
        with pytest.raises(MalformedStatement, match="at least one signature"):
            envelope(payload(), lambda message: [])

    def test_a_strangers_signature_is_not_enough(self) -> None:
        with pytest.raises(InvalidSignature, match="none of the keys"):
            open_envelope(envelope(payload(), SUBMITTER), [LOG.verifier])

    def test_a_known_key_that_fails_refuses_the_entry(self) -> None:
        other = sign_payload(payload(index=8), SUBMITTER)
        leaf = envelope(payload(), LOG, [other])
        with pytest.raises(InvalidSignature, match=r"people\.example/ada"):
            open_envelope(leaf, [LOG.verifier, SUBMITTER.verifier])

    def test_every_flipped_byte_of_a_leaf_is_refused(self) -> None:
        leaf = envelope(payload(), LOG)
        for at in range(len(leaf)):
            changed = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1 :]
            with pytest.raises(ProofError):
                open_envelope(changed, [LOG.verifier])

    @pytest.mark.parametrize(
        "leaf",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\xff",
            b'{"payload":"","payloadType":"text/plain","signatures":[]}',
            b'{"payload":"AAAA","payloadType":"application/vnd.in-toto+json","signatures":[]}',
            b'{"payload":"AAA","payloadType":"application/vnd.in-toto+json",'
            b'"signatures":[{"keyid":"k","sig":"AAAA"}]}',
            b'{"payload":"AAAA","payloadType":"application/vnd.in-toto+json",'
            b'"signatures":[{"keyid":1,"sig":"AAAA"}]}',
            b'{"payload":"AAAA","payloadType":"application/vnd.in-toto+json",'
            b'"signatures":[{"keyid":"k","sig":"AAAA","x":1}]}',
            b'{"payload":"AAAA","payloadType":"application/vnd.in-toto+json",'
            b'"signatures":[{"keyid":"k","sig":null}]}',
            b"[" * 100_000,
        ],
        ids=lambda leaf: repr(leaf[:60]),
    )
    def test_malformed_envelopes_are_refused(self, leaf: bytes) -> None:
        with pytest.raises((MalformedStatement, LeafTooLarge)):
            parse_envelope(leaf)

    def test_json_that_is_not_canonical_is_refused_with_its_place(self) -> None:
        leaf = envelope(payload(), LOG)
        with pytest.raises(MalformedStatement, match="at byte 1"):
            parse_envelope(leaf[:1] + b" " + leaf[1:])
        with pytest.raises(MalformedStatement, match=f"at byte {len(leaf)}"):
            parse_envelope(leaf + b"\n")

    def test_a_leaf_stays_below_64_kib(self) -> None:
        room = MAX_LEAF - len(envelope(payload(project="x"), LOG))
        # Four characters of base64 stand for three of text.
        fits = "x" * (1 + room // 4 * 3)
        assert len(envelope(payload(project=fits), LOG)) <= MAX_LEAF
        with pytest.raises(LeafTooLarge, match="65535"):
            envelope(payload(project=fits + "xxxx"), LOG)
        with pytest.raises(LeafTooLarge):
            parse_envelope(b"x" * (MAX_LEAF + 1))


class TestStatement:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type"),
            ({"predicateType": "https://slsa.dev/provenance/v1"}, "predicateType"),
            ({"subject": []}, "at least one subject"),
            ({"subject": [{"name": "g"}]}, "a subject"),
            ({"subject": [{"name": "g", "digest": {"sha1": "0" * 40}}]}, "digest"),
            ({"subject": [{"name": "g", "digest": {"sha256": "0" * 63}}]}, "sha256"),
            ({"subject": [{"name": "", "digest": {"sha256": "0" * 64}}]}, "name"),
            ({"subject": "g"}, "subject"),
            ({"predicate": []}, "predicate"),
            ({"more": 1}, "members"),
        ],
    )
    def test_malformed_statements_are_not_built(self, change: dict[str, Any], message: str) -> None:
        value = statement(delta_subjects(ADDED, REMOVED), proof().to_dict())
        with pytest.raises(MalformedStatement, match=message):
            build({**value, **change})

    def test_every_member_is_checked(self) -> None:
        good = proof().to_dict()
        for name in good:
            wrongs: list[Any] = [object, -1.5, "no digest and no time", {"x": 1}, [[]]]
            for wrong in wrongs:
                text = isinstance(wrong, str)
                if text and name in {"kind", "proposal", "project", "principal", "reverts"}:
                    continue
                with pytest.raises(MalformedStatement):
                    Proof.from_dict({**good, name: wrong})
            with pytest.raises(MalformedStatement, match=name):
                Proof.from_dict({key: value for key, value in good.items() if key != name})

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(MalformedStatement, match="kind"):
            Proof.from_dict({**proof().to_dict(), "kind": "invented"})

    def test_optional_members_may_be_null(self) -> None:
        bare = proof(
            previous=None,
            proposal=None,
            project=None,
            principal=None,
            report=None,
            shapes=None,
            ontology=None,
            decisions=(),
            evidence=(),
            transitions=(),
        )
        assert Proof.from_dict(json.loads(canonical_json(bare.to_dict()))) == bare

    def test_a_boolean_is_no_number(self) -> None:
        with pytest.raises(MalformedStatement, match="index"):
            Proof.from_dict({**proof().to_dict(), "index": True})

    def test_numbers_beyond_json_are_refused(self) -> None:
        with pytest.raises(MalformedStatement, match="canonical"):
            canonical_json({"index": 2**60})
        for text in (b"1.5", b"NaN", b"1e3", b"-Infinity", b"1" * 5000, b'"\\ud800"'):
            with pytest.raises(MalformedStatement):
                load_canonical_json(text, "the number")


class TestEvidence:
    def test_a_short_list_stands_in_full_and_sorted(self) -> None:
        items = [f"sha256:{number:064x}" for number in range(64)]
        assert commit_evidence([*reversed(items), items[0]]) == tuple(items)

    def test_a_long_list_stands_as_its_digest(self) -> None:
        items = [f"sha256:{number:064x}" for number in range(65)]
        expected = hashlib.sha256("\n".join(items).encode()).hexdigest()
        found = commit_evidence(list(reversed(items)))
        assert found == EvidenceDigest(expected, 65)
        assert Proof.from_dict(proof(evidence=found).to_dict()).evidence == found

    @pytest.mark.parametrize("item", ["", "sha256:", "1" * 64, "sha256:" + "G" * 64, "md5:1"])
    def test_other_commitments_are_refused(self, item: str) -> None:
        with pytest.raises(MalformedStatement):
            commit_evidence([item])
        with pytest.raises(MalformedStatement):
            Proof.from_dict({**proof().to_dict(), "evidence": [item]})

    def test_a_long_list_in_full_is_refused(self) -> None:
        items = [f"sha256:{number:064x}" for number in range(65)]
        with pytest.raises(MalformedStatement, match="at most 64"):
            Proof.from_dict({**proof().to_dict(), "evidence": items})


class TestDelta:
    def test_each_graph_is_a_subject_with_its_patch(self) -> None:
        shop = b"A " + quad("a") + b"A " + quad("b") + b"D " + quad("c")
        billing = b"A " + quad("a", BILLING)
        assert delta_subjects(ADDED, REMOVED) == [
            {"name": BILLING, "digest": {"sha256": hashlib.sha256(billing).hexdigest()}},
            {"name": SHOP, "digest": {"sha256": hashlib.sha256(shop).hexdigest()}},
        ]

    def test_both_halves_have_the_digest_of_their_canonical_form(self) -> None:
        found = delta_digests(ADDED, REMOVED)
        expected = hashlib.sha256(b"".join(sorted(ADDED))).hexdigest()
        assert found.additions == DeltaDigest(expected, 3)
        assert found.removals == DeltaDigest(hashlib.sha256(quad("c")).hexdigest(), 1)
        assert delta_digests([], []).additions == DeltaDigest(hashlib.sha256().hexdigest(), 0)
        assert delta_subjects([], []) == []

    @given(st.permutations(ADDED))
    def test_order_and_repetition_do_not_matter(self, lines: list[bytes]) -> None:
        assert delta_digests([*lines, lines[0]], REMOVED) == delta_digests(ADDED, REMOVED)
        assert delta_subjects([*lines, lines[0]], REMOVED) == delta_subjects(ADDED, REMOVED)

    def test_adding_is_not_removing(self) -> None:
        assert delta_subjects([quad("a")], []) != delta_subjects([], [quad("a")])

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("<s:s> <p:p> <o:o> <g:g> .\n", "<o:o>"),
            ('<s:s> <p:p> "a <b> c" <g:g> .\n', '"a <b> c"'),
            ('<s:s> <p:p> "say \\"x\\" \\\\" <g:g> .\n', '"say \\"x\\" \\\\"'),
            ('<s:s> <p:p> "x"@en-gb <g:g> .\n', '"x"@en-gb'),
            ('<s:s> <p:p> "1"^^<urn:int> <g:g> .\n', '"1"^^<urn:int>'),
            ('<s:s> <p:p> "" <g:g> .\n', '""'),
            ('<s:s> <p:p> "> <fake:g> .\\n" <g:g> .\n', '"> <fake:g> .\\n"'),
        ],
    )
    def test_lines_are_taken_apart(self, text: str, value: str) -> None:
        expected = (b"<s:s>", b"<p:p>", value.encode(), "g:g")
        assert parse_quad(text.encode()) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n",
            "<s:s> <p:p> <o:o> <g:g> .",
            "<s:s> <p:p> <o:o> .\n",
            "<s:s> <p:p> <o:o>  <g:g> .\n",
            "<s:s> <p:p> <o:o> <g:g>.\n",
            "_:b <p:p> <o:o> <g:g> .\n",
            "<s:s> <p:p> _:b <g:g> .\n",
            '<s:s> <p:p> "open <g:g> .\n',
            '<s:s> <p:p> "two\nlines" <g:g> .\n',
            '<s:s> <p:p> "x"^^"y" <g:g> .\n',
            "<s:s> <p:p> <o:o> <g:g> .\n<s:s> <p:p> <o:o> <g:g> .\n",
            "<s:s> <p:p> <o:o> <> .\n",
            "# comment\n",
        ],
        ids=repr,
    )
    def test_what_is_no_canonical_line_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedStatement, match="delta line"):
            delta_digests([text.encode()], [])
        with pytest.raises(MalformedStatement, match="delta line"):
            delta_subjects([], [text.encode()])

    def test_bytes_that_are_no_text_are_refused(self) -> None:
        with pytest.raises(MalformedStatement, match="UTF-8"):
            parse_quad(b"<s:s> <p:p> <o:o> <g:\xff> .\n")
