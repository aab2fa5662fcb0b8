"""The offline verdict on a bundle: every changed byte shows, and each verdict is earned."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.checkpoint import (
    COSIGNATURE_V1,
    Checkpoint,
    SignerKey,
    add_cosignature,
    cosign,
    sign_checkpoint,
)
from proofs.errors import MalformedBundle
from proofs.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_of,
    root_from_hashes,
)
from proofs.statement import (
    Proof,
    build,
    canonical_json,
    delta_digests,
    delta_subjects,
    envelope,
    sign_payload,
    statement,
)
from proofs.verify import (
    Consistency,
    Delta,
    Status,
    Verdict,
    make_bundle,
    read_bundle,
    verify_bundle,
    verify_triple_in_delta,
)

LOG = SignerKey("log.example/shop", bytes(range(32)))
OTHER_LOG = SignerKey("log.example/shop", bytes(range(1, 33)))
WITNESS = SignerKey("witness.example/w1", bytes(range(2, 34)), COSIGNATURE_V1)
STRANGER = SignerKey("witness.example/w2", bytes(range(3, 35)), COSIGNATURE_V1)
SUBMITTER = SignerKey("people.example/ada", bytes(range(4, 36)))

GRAPH = "http://fractalops.localhost/graph/lineage/shop"
RESTRICTED = "http://fractalops.localhost/graph/lineage/billing"


def quad(index: int, graph: str = GRAPH) -> str:
    return f'<urn:service:{index}> <urn:name> "caf\u00e9 {index}" <{graph}> .\n'


@dataclass
class Log:
    """A log of ``size`` entries about one proposal each; it adds two quads and removes one."""

    size: int = 12
    signer: SignerKey = LOG
    forged: int | None = None
    kind: str = "applied"
    state_after: str = "c" * 64
    leaves: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        for index in range(self.size):
            self.leaves.append(self.leaf(index))
        self.hashes = [leaf_hash(leaf) for leaf in self.leaves]
        self.node = nodes_of(self.hashes.__getitem__)

    def delta(self, index: int) -> Delta:
        added = sorted([quad(index), quad(index, RESTRICTED)])
        return Delta("".join(added), quad(index - 1))

    def proof(self, index: int) -> Proof:
        delta = self.delta(index)
        return Proof(
            kind=self.kind,
            index=index,
            previous=leaf_hash(self.leaves[index - 1]).hex() if index else None,
            time="2026-11-22T19:45:00Z",
            proposal=f"urn:proposal:{index}",
            project="shop",
            principal="urn:forged" if index == self.forged else "urn:steward",
            delta=delta_digests(delta.added, delta.removed),
            state_before="b" * 64,
            state_after=self.state_after,
        )

    def leaf(self, index: int) -> bytes:
        delta = self.delta(index)
        subjects = delta_subjects(delta.added, delta.removed)
        payload = build(statement(subjects, self.proof(index).to_dict()))
        return envelope(payload, self.signer, [sign_payload(payload, SUBMITTER)])

    def checkpoint(
        self, size: int | None = None, *, witnesses: list[SignerKey] | None = None
    ) -> str:
        size = self.size if size is None else size
        head = Checkpoint(self.signer.name, size, root_from_hashes(self.hashes[:size]))
        note = sign_checkpoint(head, self.signer)
        for witness in witnesses or []:
            note = add_cosignature(note, cosign(note, witness, 1679315147), [witness.verifier])
        return note

    def between(self, old: int, new: int, note: str) -> Consistency:
        return Consistency(note, tuple(consistency_proof(old, new, self.node)))

    def bundle(self, index: int = 5, **changes: Any) -> bytes:
        size = changes.pop("size", self.size)
        parts: dict[str, Any] = {
            "log_key": self.signer.verifier,
            "index": index,
            "leaf": self.leaves[index],
            "checkpoint": self.checkpoint(size),
            "inclusion": inclusion_proof(index, size, self.node),
            "delta": self.delta(index),
        }
        return make_bundle(**{**parts, **changes})


SHARED: Log = Log()


@pytest.fixture(scope="module")
def log() -> Log:
    return SHARED


def verify(data: bytes, **options: Any) -> Verdict:
    options.setdefault("log_key", LOG.verifier)
    options.setdefault("witness_keys", [WITNESS.verifier])
    return verify_bundle(data, **options)


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.ok is False}


def redigested(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The bundle after a change by somebody who knows the format and repairs its digest."""
    document = json.loads(data)
    change(document)
    document.pop("digest", None)
    digest = hashlib.sha256(canonical_json(document)).hexdigest()
    return canonical_json({**document, "digest": digest})


class TestVerdicts:
    def test_witnessed(self, log: Log) -> None:
        verdict = verify(log.bundle(checkpoint=log.checkpoint(witnesses=[WITNESS])))
        assert verdict.status is Status.WITNESSED
        assert verdict.reasons == ()
        assert all(check.ok for check in verdict.checks)
        assert verdict.facts["witnesses"] == [
            {"name": WITNESS.verifier.label, "time": "2023-03-20T12:25:47Z"}
        ]

    def test_unanchored_without_a_witness(self, log: Log) -> None:
        verdict = verify(log.bundle())
        assert verdict.status is Status.UNANCHORED
        assert verdict.reasons == ("witness: no configured witness has cosigned the checkpoint",)

    def test_a_strangers_cosignature_does_not_count(self, log: Log) -> None:
        verdict = verify(log.bundle(checkpoint=log.checkpoint(witnesses=[STRANGER])))
        assert verdict.status is Status.UNANCHORED

    def test_a_configured_log_key_is_no_witness(self, log: Log) -> None:
        verdict = verify(log.bundle(), witness_keys=[LOG.verifier, WITNESS.verifier])
        assert verdict.status is Status.UNANCHORED

    def test_a_key_from_the_bundle_is_said_loudly_and_anchors_nothing(self, log: Log) -> None:
        data = log.bundle(checkpoint=log.checkpoint(witnesses=[WITNESS]))
        verdict = verify(data, log_key=None)
        assert verdict.status is Status.UNANCHORED
        assert verdict.facts["key_source"] == "bundle"
        assert any("NOT CHECKED" in reason for reason in verdict.reasons)

    def test_a_bundle_of_another_log_is_invalid(self) -> None:
        other = Log(signer=OTHER_LOG)
        assert verify(other.bundle(), log_key=None).status is Status.UNANCHORED
        verdict = verify(other.bundle())
        assert verdict.status is Status.INVALID
        assert {"log key", "checkpoint", "entry signature"} <= failed(verdict)

    @pytest.mark.parametrize("index", range(12))
    def test_every_entry_has_its_bundle(self, log: Log, index: int) -> None:
        for size in {index + 1, 12}:
            assert verify(log.bundle(index, size=size)).status is Status.UNANCHORED

    def test_the_facts_say_who_and_when(self, log: Log) -> None:
        facts = verify(log.bundle()).facts
        assert facts["kind"] == "applied"
        assert facts["proposal"] == "urn:proposal:5"
        assert facts["principal"] == "urn:steward"
        assert facts["index"] == 5
        assert facts["size"] == 12
        assert facts["origin"] == LOG.name
        assert facts["graphs"] == [RESTRICTED, GRAPH]
        assert facts["log_key"] == str(LOG.verifier)
        assert facts["leaf_hash"] == log.hashes[5].hex()
        assert facts["also_signed_by"] == [SUBMITTER.verifier.label]

    def test_bundles_are_deterministic(self, log: Log) -> None:
        assert log.bundle() == Log().bundle()


class TestTwoViews:
    def test_a_trusted_checkpoint_of_the_same_size_agrees(self, log: Log) -> None:
        verdict = verify(log.bundle(), trusted_checkpoint=log.checkpoint())
        assert verdict.status is Status.UNANCHORED
        assert "consistency" not in failed(verdict)

    def test_another_root_for_the_same_size_is_a_second_view(self, log: Log) -> None:
        forked = Log(forged=9)
        verdict = verify(log.bundle(), trusted_checkpoint=forked.checkpoint())
        assert verdict.status is Status.DIVERGED
        assert failed(verdict) == {"consistency"}
        assert "two roots" in verdict.reasons[0]

    def test_divergence_shows_even_when_a_witness_cosigned(self, log: Log) -> None:
        data = log.bundle(checkpoint=log.checkpoint(witnesses=[WITNESS]))
        verdict = verify(data, trusted_checkpoint=Log(forged=9).checkpoint())
        assert verdict.status is Status.DIVERGED

    def test_divergence_shows_without_a_given_key(self, log: Log) -> None:
        verdict = verify(log.bundle(), log_key=None, trusted_checkpoint=Log(forged=9).checkpoint())
        assert verdict.status is Status.DIVERGED

    @pytest.mark.parametrize("trusted", [1, 4, 8, 11])
    def test_an_older_trusted_checkpoint_is_linked_by_the_proof(
        self, log: Log, trusted: int
    ) -> None:
        note = log.checkpoint(trusted)
        data = log.bundle(consistency=log.between(trusted, 12, note))
        verdict = verify(data, trusted_checkpoint=note)
        assert verdict.status is Status.UNANCHORED
        assert [check.ok for check in verdict.checks if check.name == "consistency"] == [True, True]

    def test_a_younger_trusted_checkpoint_is_linked_by_the_proof(self, log: Log) -> None:
        note = log.checkpoint(12)
        data = log.bundle(size=7, consistency=log.between(7, 12, note))
        assert verify(data, trusted_checkpoint=note).status is Status.UNANCHORED

    @pytest.mark.parametrize("trusted", [4, 8, 11])
    def test_a_forked_older_checkpoint_diverges(self, log: Log, trusted: int) -> None:
        forked = Log(forged=3)
        note = forked.checkpoint(trusted)
        data = log.bundle(consistency=log.between(trusted, 12, note))
        verdict = verify(data, trusted_checkpoint=note)
        assert verdict.status is Status.DIVERGED
        assert failed(verdict) == {"consistency"}

    def test_a_bundles_own_second_checkpoint_can_diverge(self, log: Log) -> None:
        note = Log(forged=3).checkpoint(8, witnesses=[WITNESS])
        data = log.bundle(consistency=log.between(8, 12, note))
        assert verify(data).status is Status.DIVERGED

    def test_two_roots_of_one_size_in_the_bundle_diverge(self, log: Log) -> None:
        note = Log(forged=3).checkpoint(12)
        assert verify(log.bundle(consistency=Consistency(note, ()))).status is Status.DIVERGED

    def test_a_trusted_checkpoint_that_nothing_leads_to_is_said(self, log: Log) -> None:
        verdict = verify(log.bundle(), trusted_checkpoint=log.checkpoint(4))
        assert verdict.status is Status.UNANCHORED
        assert any("NOT CHECKED against the trusted" in reason for reason in verdict.reasons)

    def test_a_trusted_checkpoint_of_another_log_is_refused(self, log: Log) -> None:
        verdict = verify(log.bundle(), trusted_checkpoint=Log(signer=OTHER_LOG).checkpoint())
        assert verdict.status is Status.INVALID
        assert failed(verdict) == {"trusted checkpoint"}

    def test_a_trusted_checkpoint_that_is_no_note_is_refused(self, log: Log) -> None:
        verdict = verify(log.bundle(), trusted_checkpoint="nonsense")
        assert failed(verdict) == {"trusted checkpoint"}

    def test_a_witnessed_second_checkpoint_covers_the_entry(self, log: Log) -> None:
        for witnessed in (6, 8, 12):
            note = log.checkpoint(witnessed, witnesses=[WITNESS])
            data = log.bundle(5, consistency=log.between(witnessed, 12, note))
            assert verify(data).status is Status.WITNESSED
        note = log.checkpoint(12, witnesses=[WITNESS])
        data = log.bundle(5, size=8, consistency=log.between(8, 12, note))
        assert verify(data).status is Status.WITNESSED

    def test_a_witnessed_checkpoint_before_the_entry_does_not_cover_it(self, log: Log) -> None:
        note = log.checkpoint(5, witnesses=[WITNESS])
        data = log.bundle(5, consistency=log.between(5, 12, note))
        assert verify(data).status is Status.UNANCHORED

    def test_a_witnessed_trusted_checkpoint_counts_once_it_is_linked(self, log: Log) -> None:
        note = log.checkpoint(witnesses=[WITNESS])
        assert verify(log.bundle(), trusted_checkpoint=note).status is Status.WITNESSED
        older = log.checkpoint(8, witnesses=[WITNESS])
        assert verify(log.bundle(), trusted_checkpoint=older).status is Status.UNANCHORED


class TestTampering:
    def whole(self, log: Log) -> bytes:
        """A bundle with every part there is, also a cosignature of a witness nobody knows."""
        return log.bundle(
            checkpoint=log.checkpoint(witnesses=[WITNESS, STRANGER]),
            consistency=log.between(8, 12, log.checkpoint(8, witnesses=[STRANGER])),
        )

    def test_every_flipped_byte_is_invalid(self, log: Log) -> None:
        data = self.whole(log)
        assert verify(data).status is Status.WITNESSED
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            verdict = verify(changed)
            assert verdict.status is Status.INVALID, f"byte {at}: {verdict}"
            assert verdict.reasons

    @given(data=st.data())
    def test_any_other_change_is_invalid_too(self, data: st.DataObject) -> None:
        original = self.whole(SHARED)
        at = data.draw(st.integers(0, len(original) - 1))
        end = data.draw(st.integers(at, min(len(original), at + 40)))
        changed = original[:at] + data.draw(st.binary(max_size=40)) + original[end:]
        if changed != original:
            assert verify(changed).status is Status.INVALID

    @given(st.binary(max_size=300))
    def test_no_bytes_make_it_raise(self, data: bytes) -> None:
        assert verify(data).status is Status.INVALID

    @pytest.mark.parametrize(
        ("name", "change", "check"),
        [
            ("index", lambda d: d.update(index=4), "index"),
            ("size", lambda d: d.update(index=99), "inclusion"),
            ("key", lambda d: d["log"].update(key=str(OTHER_LOG.verifier)), "log key"),
            (
                "entry",
                lambda d: d.update(envelope=base64.b64encode(SHARED.leaves[4]).decode()),
                "inclusion",
            ),
            ("proof", lambda d: d["inclusion"].reverse(), "inclusion"),
            ("longer proof", lambda d: d["inclusion"].append(d["inclusion"][0]), "inclusion"),
            ("no proof", lambda d: d.update(inclusion=[]), "inclusion"),
            ("short hash", lambda d: d.update(inclusion=["AAAA"]), "inclusion"),
            ("addition", lambda d: d["delta"].update(additions=quad(6)), "delta"),
            ("removal", lambda d: d["delta"].update(removals=""), "delta"),
            ("order", lambda d: d["delta"].update(additions=swapped(d)), "delta"),
            (
                "repetition",
                lambda d: d["delta"].update(removals=d["delta"]["removals"] * 2),
                "delta",
            ),
            ("no quads", lambda d: d["delta"].update(additions="hello\n"), "delta"),
            (
                "checkpoint",
                lambda d: d.update(checkpoint=Log(signer=OTHER_LOG).checkpoint()),
                "checkpoint",
            ),
            ("not a note", lambda d: d.update(checkpoint="nonsense"), "checkpoint"),
            (
                "cosignature",
                lambda d: d.update(checkpoint=forged_cosignature(d["checkpoint"])),
                "witness",
            ),
            (
                "second checkpoint",
                lambda d: d["consistency"].update(checkpoint="nonsense"),
                "second checkpoint",
            ),
        ],
    )
    def test_a_change_with_a_repaired_digest_is_named(
        self, name: str, change: Callable[[dict[str, Any]], None], check: str
    ) -> None:
        verdict = verify(redigested(self.whole(SHARED), change))
        assert verdict.status is Status.INVALID, name
        assert check in failed(verdict)
        assert "digest" not in failed(verdict)

    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d.update(version=2),
            lambda d: d.update(mediaType="application/json"),
            lambda d: d.update(more=1),
            lambda d: d.pop("delta"),
            lambda d: d.update(delta=[]),
            lambda d: d.update(delta={"additions": 1, "removals": ""}),
            lambda d: d.update(index=-1),
            lambda d: d.update(index="5"),
            lambda d: d.update(index=True),
            lambda d: d.update(index=2**60),
            lambda d: d.update(inclusion=["*"]),
            lambda d: d.update(inclusion=None),
            lambda d: d.update(envelope="A"),
            lambda d: d.update(envelope=None),
            lambda d: d.update(log={"key": "nonsense"}),
            lambda d: d.update(log=None),
            lambda d: d.update(consistency={"checkpoint": ""}),
            lambda d: d.update(checkpoint=None),
        ],
    )
    def test_other_documents_are_invalid(self, change: Callable[[dict[str, Any]], None]) -> None:
        document = json.loads(self.whole(SHARED))
        change(document)
        data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        verdict = verify(data.encode())
        assert verdict.status is Status.INVALID
        assert "format" in failed(verdict)
        with pytest.raises(MalformedBundle):
            read_bundle(data.encode())

    @pytest.mark.parametrize(
        "spelling",
        [
            lambda data: json.dumps(json.loads(data), indent=2).encode(),
            lambda data: data + b"\n",
            lambda data: b"\xef\xbb\xbf" + data,
            lambda data: data.replace(b'"index":5', b'"index":5.0'),
            lambda data: data.replace(b'"index":5', b'"index":5,"index":5'),
            lambda data: data.replace("\u00e9".encode(), b"\\u00e9"),
            lambda data: b"[" * 200_000,
            lambda data: b"",
            lambda data: b"null",
        ],
    )
    def test_another_spelling_is_invalid(self, spelling: Callable[[bytes], bytes]) -> None:
        original = self.whole(SHARED)
        changed = spelling(original)
        assert changed != original
        verdict = verify(changed)
        assert failed(verdict) == {"format"}

    def test_a_previous_that_is_not_there_is_named(self) -> None:
        class Unlinked(Log):
            def proof(self, index: int) -> Proof:
                value = super().proof(index)
                return Proof(**{**vars(value), "previous": "a" * 64}) if index == 5 else value

        verdict = verify(Unlinked().bundle(5))
        assert verdict.status is Status.INVALID
        assert failed(verdict) == {"previous"}

    @pytest.mark.parametrize(
        ("kind", "state_after"), [("rejected", "c" * 64), ("applied", "b" * 64)]
    )
    def test_a_graph_state_that_does_not_fit_the_kind_is_named(
        self, kind: str, state_after: str
    ) -> None:
        verdict = verify(Log(kind=kind, state_after=state_after).bundle())
        assert verdict.status is Status.INVALID
        assert failed(verdict) == {"graph state"}

    def test_subjects_that_are_not_the_graphs_are_named(self, log: Log) -> None:
        class Mislabelled(Log):
            def leaf(self, index: int) -> bytes:
                subjects = delta_subjects([quad(99).encode()], [])
                payload = build(statement(subjects, self.proof(index).to_dict()))
                return envelope(payload, self.signer)

        verdict = verify(Mislabelled().bundle(5))
        assert failed(verdict) == {"delta"}
        assert "subjects" in verdict.reasons[0]

    def test_an_entry_that_the_log_did_not_sign_is_named(self) -> None:
        class Unsigned(Log):
            def leaf(self, index: int) -> bytes:
                subjects = delta_subjects([quad(1).encode()], [])
                payload = build(statement(subjects, self.proof(index).to_dict()))
                return envelope(payload, SUBMITTER)

        assert "entry signature" in failed(verify(Unsigned().bundle(5)))


class TestTriples:
    PLAIN = '<urn:service:5> <urn:name> "caf\u00e9 5"'

    def test_a_triple_is_found_in_each_graph(self, log: Log) -> None:
        verdict = verify(log.bundle(), triple=self.PLAIN + " .")
        assert verdict.status is Status.UNANCHORED
        assert verdict.facts["triple_graphs"] == [RESTRICTED, GRAPH]

    def test_a_quad_is_found_in_its_graph_only(self, log: Log) -> None:
        verdict = verify(log.bundle(), triple=f"{self.PLAIN} <{GRAPH}> .")
        assert verdict.facts["triple_graphs"] == [GRAPH]

    @pytest.mark.parametrize(
        "triple",
        [
            '<urn:service:4> <urn:name> "caf\u00e9 4"',
            '<urn:service:5> <urn:name> "caf"',
            "<urn:service:5>",
            "",
            "nonsense",
        ],
    )
    def test_a_triple_that_is_not_added_makes_the_claim_invalid(
        self, log: Log, triple: str
    ) -> None:
        verdict = verify(log.bundle(), triple=triple)
        assert verdict.status is Status.INVALID
        assert failed(verdict) == {"triple"}

    def test_a_removed_triple_is_not_an_added_one(self, log: Log) -> None:
        assert verify_triple_in_delta(log.delta(5), quad(4)) == []
        assert verify_triple_in_delta(log.delta(5), quad(5)) == [GRAPH]

    @pytest.mark.parametrize("kind", ["submitted", "rejected", "withdrawn", "invalid"])
    def test_a_delta_that_was_not_applied_shows_no_triple(self, kind: str) -> None:
        data = Log(kind=kind, state_after="b" * 64).bundle()
        verdict = verify(data)
        assert verdict.status is Status.UNANCHORED
        assert "asked for" in next(c.detail for c in verdict.checks if c.name == "delta")
        verdict = verify(data, triple=self.PLAIN)
        assert failed(verdict) == {"triple"}
        assert kind in verdict.reasons[0]

    def test_a_delta_that_is_no_quads_makes_the_claim_invalid(self, log: Log) -> None:
        data = log.bundle(delta=Delta("hello\n", ""))
        assert failed(verify(data, triple=self.PLAIN)) == {"delta", "triple"}

    def test_a_withheld_delta_is_said_and_shows_no_triple(self, log: Log) -> None:
        data = log.bundle(delta=None)
        verdict = verify(data)
        assert verdict.status is Status.UNANCHORED
        assert any("withheld" in reason for reason in verdict.reasons)
        assert failed(verify(data, triple=self.PLAIN)) == {"triple"}


def test_a_bundle_reads_back(log: Log) -> None:
    consistency = log.between(8, 12, log.checkpoint(8))
    bundle = read_bundle(log.bundle(consistency=consistency))
    assert bundle.log_key == LOG.verifier
    assert bundle.index == 5
    assert bundle.leaf == log.leaves[5]
    assert bundle.delta == log.delta(5)
    assert bundle.consistency == consistency


def test_verification_needs_no_server_graph_or_network(checkout: Path) -> None:
    """Everything it reaches inside the house is pure; the rest is cryptography and JSON."""
    seen: set[str] = set()
    outside: set[str] = set()
    waiting = ["proofs.verify"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        tree = ast.parse((checkout / (module.replace(".", "/") + ".py")).read_text())
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if not name.startswith("proofs."):
                    outside.add(name.partition(".")[0])
                elif name not in seen:
                    waiting.append(name)
    assert seen == {
        f"proofs.{name}"
        for name in (
            *("bundle", "checkpoint", "delta", "errors", "merkle", "note", "predicate"),
            *("log_keys", "signed_proposal", "statement", "verdict", "verify", "verify_signature"),
        )
    }
    assert outside <= {
        *("__future__", "ast", "base64", "binascii", "collections", "cryptography", "dataclasses"),
        *("datetime", "enum", "hashlib", "json", "re", "rfc8785", "typing"),
    }


def swapped(document: dict[str, Any]) -> str:
    return "".join(reversed(document["delta"]["additions"].splitlines(keepends=True)))


def forged_cosignature(note: str) -> str:
    """The time of the witness moved by one second."""
    line = cosign(note, WITNESS, 1679315147)
    return note.replace(line, cosign(note, WITNESS, 1679315148)[: len(line) - 20] + line[-20:])
