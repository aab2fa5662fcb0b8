"""Offline verification of a proof bundle: no server, no graph, no network.

Invariant: the verdict rests on the bundle's bytes and on the keys the caller brings, on nothing
else. A bundle has one spelling (canonical JSON that carries its own digest), so every changed byte
shows, also in parts that no signature covers; the checks then name the place.

Specifications: RFC 6962, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature,
https://github.com/secure-systems-lab/dsse; the bundle is described in ``docs/proofs.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from proofs.bundle import (
    BUNDLE_MEDIA_TYPE,
    BUNDLE_VERSION,
    Bundle,
    Consistency,
    Delta,
    body_digest,
    load_document,
    make_bundle,
    parts,
    read_bundle,
)
from proofs.checkpoint import Checkpoint, VerifierKey, cosigners, parse_note
from proofs.delta import order_subjects
from proofs.errors import MalformedStatement, ProofError
from proofs.log_keys import LogKeys
from proofs.merkle import leaf_hash, verify_consistency, verify_inclusion
from proofs.statement import (
    Envelope,
    Proof,
    delta_digests,
    delta_subjects,
    parse_quad,
)
from proofs.verdict import Check, Status, Verdict
from proofs.verify_signature import check_submitter

__all__ = [
    "BUNDLE_MEDIA_TYPE",
    "BUNDLE_VERSION",
    "Bundle",
    "Check",
    "Consistency",
    "Delta",
    "Status",
    "Verdict",
    "make_bundle",
    "read_bundle",
    "verify_bundle",
    "verify_triple_in_delta",
]


def verify_bundle(
    data: bytes,
    log_key: VerifierKey | None,
    witness_keys: Sequence[VerifierKey] = (),
    trusted_checkpoint: str | None = None,
    triple: str | None = None,
    former_keys: Sequence[VerifierKey] = (),
) -> Verdict:
    """Judge a bundle; it never raises for anything the bundle holds.

    ``log_key`` is the log's key as the caller knows it; without one the bundle's own is used and
    the verdict is never better than UNANCHORED. ``trusted_checkpoint`` is a signed note that the
    caller kept from an earlier visit or got from somebody else; ``former_keys`` are other keys that
    the caller knows of the same log, from before or after it was handed on. ``triple`` is a triple
    or quad in N-Triples or N-Quads syntax that the delta must add.
    """
    given = (*([log_key] if log_key else []), *former_keys)
    return _Verification(given, witness_keys, trusted_checkpoint, triple).run(data)


def verify_triple_in_delta(delta: Delta, triple: str) -> list[str]:
    """The graphs in which the delta adds ``triple``, sorted; with a graph given, only that one.

    The terms must be written canonically, as the bundle writes them.
    """
    wanted = triple.strip().removesuffix(".").rstrip().encode()
    graphs = set()
    for line in delta.added:
        subject, predicate, value, graph = parse_quad(line)
        plain = b" ".join((subject, predicate, value))
        if wanted in (plain, plain + b" <" + graph.encode() + b">"):
            graphs.add(graph)
    return sorted(graphs)


class _Verification:
    """One run: it collects checks, and never stops at the first failure that others can follow."""

    def __init__(
        self,
        given_keys: Sequence[VerifierKey],
        witness_keys: Sequence[VerifierKey],
        trusted_checkpoint: str | None,
        triple: str | None,
    ) -> None:
        self._given_keys = given_keys
        self._witness_keys = witness_keys
        self._trusted = trusted_checkpoint
        self._triple = triple
        self._checks: list[Check] = []
        self._facts: dict[str, Any] = {}
        self._diverged = False

    def run(self, data: bytes) -> Verdict:
        bundle = self._read(data)
        if bundle is None:
            return self._verdict(witnessed=False)
        keys = self._log_keys(bundle)
        head = self._checkpoint(bundle.checkpoint, keys, "checkpoint")
        opened = self._entry(bundle, keys)
        if opened is not None:
            self._statement(bundle, opened)
            self._author(bundle, opened, head, keys)
        if head is not None:
            self._inclusion(bundle, head)
            self._succession(bundle, head, keys)
        witnessed = self._anchors(bundle, keys, head)
        return self._verdict(witnessed=witnessed)

    def _verdict(self, *, witnessed: bool) -> Verdict:
        failed = [check for check in self._checks if check.ok is False]
        if any(check.name != "consistency" for check in failed):
            status = Status.INVALID
        elif failed:
            status = Status.DIVERGED if self._diverged else Status.INVALID
        elif witnessed and self._given_keys:
            status = Status.WITNESSED
        else:
            status = Status.UNANCHORED
        return Verdict(status, tuple(self._checks), self._facts)

    def _note(self, name: str, ok: bool | None, detail: str) -> None:
        self._checks.append(Check(name, ok, detail))

    def _read(self, data: bytes) -> Bundle | None:
        try:
            document = load_document(data)
            self._note("format", True, "canonical JSON with the members of a bundle")
            stated = document.pop("digest")
            whole = stated == body_digest(document)
            self._note(
                "digest",
                whole,
                "the bundle's bytes are those that were exported"
                if whole
                else "the bundle's bytes are not those that were exported; get it again",
            )
            return parts({**document, "digest": stated})
        except (ProofError, ValueError) as error:
            self._note("format", False, str(error))
            return None

    def _log_keys(self, bundle: Bundle) -> LogKeys:
        """The keys of the log as the bundle tells them; those that were given say whether it is
        the log that the caller means."""
        self._facts["log_key"] = str(bundle.log_key)
        keys = LogKeys(bundle.log_key)
        if bundle.succession:
            try:
                steps = [(item.index, item.leaf) for item in bundle.succession]
                keys = LogKeys.read(bundle.log_key, steps)
            except (ProofError, ValueError) as error:
                self._note("succession", False, str(error))
        self._facts["log_keys"] = [
            {"since": item.since, "key": str(item.key)} for item in keys.held
        ]
        if not self._given_keys:
            self._facts["key_source"] = "bundle"
            self._note(
                "log key",
                None,
                "NOT CHECKED: the log's key was taken from the bundle itself, so anybody could "
                "have made this bundle; give the key you know",
            )
            return keys
        self._facts["key_source"] = "given"
        told = [item.key for item in keys.held]
        known = next((key for key in reversed(told) if key in self._given_keys), None)
        if known is None:
            given = self._given_keys[0]
            self._note(
                "log key",
                False,
                f"the bundle is of log {bundle.log_key.label}, not of {given.label}",
            )
            # What else is wrong is found by the key that the caller knows.
            return LogKeys(given)
        handed = "" if known == keys.current else f", which {known.label} was handed on to"
        self._note("log key", True, f"the bundle is of log {bundle.log_key.label}{handed}")
        return keys

    def _checkpoint(self, note: str, keys: LogKeys, name: str) -> Checkpoint | None:
        try:
            head = keys.open_checkpoint(note)
        except ProofError as error:
            self._note(name, False, str(error))
            return None
        self._note(name, True, f"{head.size} entries, root {head.root.hex()}, signed by the log")
        return head

    def _trusted_checkpoint(self, note: str, keys: LogKeys) -> Checkpoint | None:
        """A checkpoint that may be newer than the bundle, and signed with a key that it is too old
        to know."""
        name = "trusted checkpoint"
        for key in self._given_keys:
            if key.name == keys.name and key.label not in keys.labels:
                try:
                    if parse_note(note).verified([key]):
                        return self._checkpoint(note, LogKeys(key), name)
                except ProofError as error:
                    self._note(name, False, str(error))
                    return None
        return self._checkpoint(note, keys, name)

    def _entry(self, bundle: Bundle, keys: LogKeys) -> Envelope | None:
        try:
            opened = keys.open_entry(bundle.leaf, bundle.index)
        except ProofError as error:
            self._note("entry signature", False, str(error))
            return None
        others = f"; also signed by {', '.join(opened.unknown)}" if opened.unknown else ""
        self._note("entry signature", True, f"signed by {opened.verified[0]}{others}")
        self._facts["also_signed_by"] = list(opened.unknown)
        return opened

    def _succession(self, bundle: Bundle, head: Checkpoint, keys: LogKeys) -> None:
        """The entries that handed the log on are in it."""
        for item in bundle.succession:
            try:
                hashed = leaf_hash(item.leaf)
                verify_inclusion(hashed, item.index, head.size, item.inclusion, head.root)
            except ProofError as error:
                self._note("succession", False, f"entry {item.index}: {error}")
                return
        if bundle.succession:
            steps = [f"{item.key.label} from entry {item.since}" for item in keys.held]
            self._note("succession", True, ", then ".join(steps))

    def _statement(self, bundle: Bundle, opened: Envelope) -> None:
        proof = Proof.from_dict(opened.statement["predicate"])
        self._facts.update(_facts(proof, opened.statement["subject"]))
        same = proof.index == bundle.index
        self._note(
            "index",
            same,
            f"the entry says it is entry {proof.index}, the bundle says {bundle.index}",
        )
        if bundle.index % 2 and bundle.inclusion:
            # The left neighbour is the first hash on the way to the root.
            linked = proof.previous == bundle.inclusion[0].hex()
            self._note(
                "previous",
                linked,
                "the entry names the leaf before it"
                if linked
                else "the entry names another leaf before it than the log has there",
            )
        changed = proof.state_before != proof.state_after
        expected = proof.applies and proof.delta.additions.count + proof.delta.removals.count > 0
        self._note(
            "graph state",
            changed == expected,
            f"the entry is of kind {proof.kind} and the graph's state after it is "
            + ("another one" if changed else "the same"),
        )
        self._order(bundle, proof, opened.statement["subject"])
        if bundle.delta is None:
            self._note("delta", None, "not in this bundle: it was withheld from its reader")
        else:
            self._delta(bundle.delta, proof, opened.statement["subject"])
        if self._triple is not None:
            self._contains(bundle.delta, proof, self._triple)

    def _order(self, bundle: Bundle, proof: Proof, subjects: list[dict[str, Any]]) -> None:
        """What is to be carried out, and what came of it, are the documents that are signed."""
        found = bundle.order
        if proof.order is None:
            if found is not None:
                self._note("order", False, "the entry is about no order, and the bundle has one")
            return
        if subjects != order_subjects(proof.order, proof.result):
            self._note("order", False, "order and outcome are not the subjects of the entry")
        if found is None:
            self._note("order", None, "not in this bundle: it was withheld from its reader")
            return
        for name, text, digest in (
            ("order", found.order, proof.order),
            ("result", found.result, proof.result),
        ):
            if text is None and digest is None:
                continue
            same = text is not None and _sha256(text) == digest
            detail = "is the one" if same else "is not the one"
            self._note(name, same, f"the document of the {name} {detail} that the entry commits to")
            if same:
                self._facts[f"{name}_document"] = text

    def _author(
        self, bundle: Bundle, opened: Envelope, head: Checkpoint | None, keys: LogKeys
    ) -> None:
        proof = Proof.from_dict(opened.statement["predicate"])
        found = check_submitter(bundle, proof, head, keys)
        self._checks.extend(found.checks)
        if found.key is not None:
            self._facts["author_key"] = str(found.key)

    def _delta(self, delta: Delta, proof: Proof, subjects: list[dict[str, Any]]) -> None:
        try:
            for name, lines in (("additions", delta.added), ("removals", delta.removed)):
                if sorted(set(lines)) != lines:
                    raise MalformedStatement(f"the {name} are not sorted lines, each there once")
            found = delta_digests(delta.added, delta.removed)
            graphs = delta_subjects(delta.added, delta.removed)
        except ProofError as error:
            self._note("delta", False, str(error))
            return
        for name in ("additions", "removals"):
            if getattr(found, name) != getattr(proof.delta, name):
                self._note("delta", False, f"the {name} are not those that the entry commits to")
                return
        if graphs and graphs != subjects:
            self._note("delta", False, "the graphs changed are not the subjects of the entry")
            return
        self._note(
            "delta",
            True,
            f"{found.additions.count} quads to add and {found.removals.count} to remove, as the "
            f"entry commits to; {'applied' if proof.applies else 'asked for, not applied'}",
        )

    def _contains(self, delta: Delta | None, proof: Proof, triple: str) -> None:
        if not proof.applies:
            self._note(
                "triple",
                False,
                f"the entry is of kind {proof.kind}: what its proposal asked for is not in the "
                "graph by this entry",
            )
            return
        if delta is None:
            self._note("triple", False, "the delta was withheld, so no triple can be shown in it")
            return
        try:
            graphs = verify_triple_in_delta(delta, triple)
        except ProofError as error:
            self._note("triple", False, str(error))
            return
        self._facts["triple_graphs"] = graphs
        self._note(
            "triple",
            bool(graphs),
            f"added in {', '.join(graphs)}" if graphs else f"this entry does not add {triple}",
        )

    def _inclusion(self, bundle: Bundle, head: Checkpoint) -> None:
        hashed = leaf_hash(bundle.leaf)
        self._facts.update(
            leaf_hash=hashed.hex(), origin=head.origin, size=head.size, root=head.root.hex()
        )
        try:
            verify_inclusion(hashed, bundle.index, head.size, bundle.inclusion, head.root)
        except ProofError as error:
            self._note("inclusion", False, str(error))
        else:
            self._note("inclusion", True, f"entry {bundle.index} of {head.size} in the log")

    def _anchors(self, bundle: Bundle, keys: LogKeys, head: Checkpoint | None) -> bool:
        """Compare every checkpoint there is with the bundle's own; whether one is witnessed."""
        notes = [("checkpoint", bundle.checkpoint, head)]
        if bundle.consistency is not None:
            name = "second checkpoint"
            other = self._checkpoint(bundle.consistency.checkpoint, keys, name)
            if head is not None and other is not None:
                self._link(head, other, bundle.consistency.proof, name)
            notes.append((name, bundle.consistency.checkpoint, other))
        if self._trusted is not None:
            name = "trusted checkpoint"
            trusted = self._trusted_checkpoint(self._trusted, keys)
            if trusted is not None and self._compare_trusted(trusted, notes):
                notes.append((name, self._trusted, trusted))
        found: dict[str, int] = {}
        for name, note, checkpoint in notes:
            if checkpoint is not None and checkpoint.size > bundle.index:
                self._witnesses(note, name, found)
        self._facts["witnesses"] = [
            {"name": name, "time": _iso(time)} for name, time in sorted(found.items())
        ]
        if found:
            self._note("witness", True, f"cosigned by {', '.join(sorted(found))}")
        else:
            self._note("witness", None, "no configured witness has cosigned the checkpoint")
        return bool(found)

    def _link(self, head: Checkpoint, other: Checkpoint, proof: Sequence[bytes], name: str) -> None:
        old, new = sorted((head, other), key=lambda item: item.size)
        try:
            verify_consistency(old.size, new.size, proof, old.root, new.root)
        except ProofError as error:
            self._diverge(f"{name}: {error}")
        else:
            self._note("consistency", True, f"{old.size} entries are a prefix of {new.size}")

    def _compare_trusted(
        self, trusted: Checkpoint, notes: Sequence[tuple[str, str, Checkpoint | None]]
    ) -> bool:
        for _, _, checkpoint in notes:
            if checkpoint is not None and checkpoint.size == trusted.size:
                if checkpoint.root == trusted.root:
                    self._note(
                        "consistency", True, f"the trusted checkpoint of {trusted.size} agrees"
                    )
                    return True
                self._diverge(
                    f"two roots are signed for {trusted.size} entries: {checkpoint.root.hex()} "
                    f"here and {trusted.root.hex()} in the trusted checkpoint"
                )
                return False
        self._note(
            "consistency",
            None,
            f"NOT CHECKED against the trusted checkpoint of {trusted.size} entries: the bundle "
            "has no proof to that size; ask the log for one",
        )
        return False

    def _diverge(self, detail: str) -> None:
        self._diverged = True
        self._note(
            "consistency",
            False,
            f"{detail}; two views of one log: keep both checkpoints and show them to others",
        )

    def _witnesses(self, note: str, name: str, found: dict[str, int]) -> None:
        try:
            for witness, time in cosigners(parse_note(note), self._witness_keys):
                found[witness.label] = max(time, found.get(witness.label, 0))
        except ProofError as error:
            self._note("witness", False, f"{name}: {error}")


def _facts(proof: Proof, subjects: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        **proof.to_dict(),
        "graphs": [item["name"] for item in subjects],
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _iso(time: int) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"second {time}"
