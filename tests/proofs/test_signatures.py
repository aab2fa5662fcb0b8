"""A steward's own signature at the gate: taken with its proposal, kept, and refused where it is of
something else; and the keys, which people alone change."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import Literal, NamedNode, Quad

from ontology.terms import Delta, line, sha256, to_nquads
from ontology.vocab import Fo, Rdf
from proofs.bundle import read_bundle
from proofs.checkpoint import SignerKey
from proofs.errors import BadSubmission, Conflict, Forbidden, Invalid, SignatureRefused
from proofs.genesis import keys_delta, project_delta, steward_slug
from proofs.ledger import Ledger
from proofs.proposal import ProposalView
from proofs.signatures import Signature
from proofs.signed_proposal import open_proposal, proposal_statement, sign_proposal
from proofs.statement import canonical_json
from proofs.submission import Request, read_submission
from proofs.verdict import Status
from proofs.verify import verify_bundle

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

FIRST = SignerKey("fractalops.localhost/steward-shop", bytes(range(32)))
SECOND = SignerKey("fractalops.localhost/steward-shop", bytes(range(1, 33)))
BILLING = SignerKey("fractalops.localhost/steward-billing", bytes(range(2, 34)))
STRANGER = SignerKey("fractalops.localhost/steward-shop", bytes(range(3, 35)))


class Keys:
    """The gate of the tests, whose stewards have keys."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.second = gate.name("second", "operator")
        self.change(
            enrolled=[("steward-shop", FIRST), ("steward-billing", BILLING)],
        )

    @property
    def ledger(self) -> Ledger:
        return self.gate.ledger

    def key(self, signer: SignerKey, holder: str = "steward-shop") -> str:
        return self.gate.ids.signing_key(holder, signer.verifier.key_id.hex())

    def ask(
        self,
        enrolled: list[tuple[str, SignerKey]] | None = None,
        retired: list[str] | None = None,
        by: str | None = None,
    ) -> ProposalView:
        delta = keys_delta(
            self.gate.ids, [(name, key.verifier) for name, key in enrolled or []], retired or []
        )
        request = Request(delta.additions, delta.removals, rationale="keys")
        view = self.ledger.submit(by or self.gate.operator, request)
        assert view is not None
        return view

    def change(self, **asked: Any) -> ProposalView:
        view = self.ask(**asked)
        assert view.state == "awaiting decision"
        return self.ledger.approve(self.second, view.id, "so be it")

    def signed(self, turtle: str, signer: SignerKey = FIRST, **changes: Any) -> Request:
        """A request as a steward makes it: JSON, with its signature over what it says."""
        asked = self.gate.request(turtle)
        body: dict[str, Any] = {
            "project": "shop",
            "rationale": "seen",
            "additions": to_nquads(asked.additions).decode(),
            "evidence": ["sha256:" + "0a" * 32],
            "base": self.ledger.head,
        }
        said = {**body, "principal": self.gate.steward, "log": self.gate.key.verifier.label}
        said |= changes
        statement = proposal_statement(
            log=said["log"],
            project=said["project"],
            principal=said["principal"],
            base=said["base"],
            rationale=said["rationale"],
            hold="",
            evidence=said["evidence"],
            additions=said["additions"].encode().splitlines(keepends=True),
            removals=[],
        )
        body["signature"] = json.loads(sign_proposal(statement, signer))
        return read_submission(json.dumps(body).encode(), "application/json", self.gate.ids)

    def submit(self, request: Request, by: str | None = None) -> ProposalView:
        view = self.ledger.submit(by or self.gate.steward, request)
        assert view is not None
        return view

    def bundle(self, index: int) -> bytes:
        return self.gate.explainer().bundle(index)


@pytest.fixture
def keys(gate: Gate) -> Keys:
    return Keys(gate)


def test_a_signed_proposal_is_kept_shown_and_verified_offline(keys: Keys) -> None:
    gate = keys.gate
    request = keys.signed(gate.service("web"))
    view = keys.submit(request)
    assert view.state == "applied"
    assert (view.signed_with, view.signature) == (keys.key(FIRST), sha256(request.signature))
    assert gate.journal.blob(view.signature) == request.signature
    quads = {quad.triple for quad in gate.asserted("proposals")}
    signed_with = Quad(NamedNode(view.iri), NamedNode(Fo.signedWith), NamedNode(keys.key(FIRST)))
    assert signed_with.triple in quads

    assert view.proof is not None
    verdict = verify_bundle(keys.bundle(view.proof), gate.key.verifier)
    assert verdict.status is Status.UNANCHORED
    found = {check.name: check for check in verdict.checks}
    assert found["author's key"].ok
    assert "over exactly this change" in found["author's signature"].detail
    assert verdict.facts["author_key"] == str(FIRST.verifier)
    gate.sound()


def test_an_unsigned_proposal_is_as_good_as_before_and_leaves_what_it_left(keys: Keys) -> None:
    view = keys.gate.propose(keys.gate.service("web"))
    assert (view.state, view.signature, view.signed_with) == ("applied", "", "")
    assert view.proof is not None
    bundle = keys.bundle(view.proof)
    assert json.loads(bundle)["version"] == 1
    assert "signature" not in json.loads(bundle)
    names = {check.name for check in verify_bundle(bundle, keys.gate.key.verifier).checks}
    assert not names & {"author's key", "author's signature"}


def test_what_the_graph_held_already_is_told_in_the_bundle(keys: Keys) -> None:
    gate = keys.gate
    gate.propose(gate.service("web"))
    view = keys.submit(keys.signed(gate.service("web") + gate.service("app")))
    assert view.proof is not None
    data = keys.bundle(view.proof)
    signature = read_bundle(data).signature
    assert signature is not None
    assert signature.delta is not None
    assert len(signature.delta.added) > view.additions
    checks = {c.name: c for c in verify_bundle(data, gate.key.verifier).checks}
    assert checks["author's signature"].ok
    assert "and more" in checks["author's signature"].detail
    gate.sound()


def test_what_waits_keeps_its_signature_to_the_end(keys: Keys) -> None:
    """Every entry about it names the signature, that of the decision too."""
    gate = keys.gate
    request = keys.signed(gate.service("web"), hold="look")
    held = read_submission(
        json.dumps({**json.loads(request.source), "hold": "look"}).encode(),
        "application/json",
        gate.ids,
    )
    with pytest.raises(SignatureRefused, match="the reason to hold it"):
        keys.submit(held)
    gate.ledger._untrusted = lambda evidence: True
    waiting = keys.submit(request)
    assert waiting.state == "awaiting decision"
    # Asked again, for want of an answer: it stays one.
    assert keys.submit(request).id == waiting.id
    applied = keys.ledger.approve(keys.second, waiting.id, "fine")
    assert applied.signature == waiting.signature
    for index in (waiting.head, applied.head):
        data = keys.bundle(index)
        checks = {c.name: c.ok for c in verify_bundle(data, gate.key.verifier).checks}
        assert checks["author's signature"] is True
    gate.sound()


def test_what_the_shapes_refuse_is_recorded_with_its_signature(keys: Keys) -> None:
    with pytest.raises(Invalid) as refused:
        keys.submit(keys.signed(f"ex:x a <{Fo.Service}> ."))
    assert keys.ledger.proposal(refused.value.proposal).signed_with == keys.key(FIRST)
    keys.gate.sound()


def refused(keys: Keys, request: Request, because: str, by: str | None = None) -> None:
    """It is refused for this reason, and not even recorded."""
    head = keys.ledger.head
    with pytest.raises(SignatureRefused, match=because):
        keys.submit(request, by)
    with pytest.raises(SignatureRefused, match=because):
        keys.ledger.dry_run(by or keys.gate.steward, request)
    assert keys.ledger.head == head


@pytest.mark.parametrize(
    ("by", "changes", "because"),
    [
        (STRANGER, {}, "is no key that the graph names"),
        (BILLING, {}, "is a key of <.*steward-billing>"),
        (FIRST, {"log": "elsewhere+01234567"}, "the log differs"),
        (FIRST, {"project": "billing"}, "the project differs"),
        (FIRST, {"principal": "urn:somebody"}, "the principal differs"),
        (FIRST, {"base": 0}, "the head it was drafted on differs"),
        (FIRST, {"rationale": "forged"}, "the rationale differs"),
        (FIRST, {"evidence": []}, "the evidence differs"),
        (FIRST, {"additions": "<urn:a> <urn:b> <urn:c> <urn:g> .\n"}, "the change differs"),
    ],
)
def test_a_signature_of_something_else_is_refused(
    keys: Keys, by: SignerKey, changes: dict[str, Any], because: str
) -> None:
    refused(keys, keys.signed(keys.gate.service("web"), by, **changes), because)


def test_a_signature_is_no_one_elses(keys: Keys) -> None:
    request = keys.signed(keys.gate.service("web"))
    refused(keys, request, "is a key of <.*steward-shop>", by=keys.gate.operator)


@pytest.mark.parametrize(
    ("signature", "error"),
    [
        ({}, SignatureRefused),
        ({"payload": "AA==", "payloadType": "text/plain", "signatures": []}, SignatureRefused),
        ("text", BadSubmission),
        ([], BadSubmission),
    ],
)
def test_nonsense_is_no_signature(keys: Keys, signature: object, error: type[Exception]) -> None:
    document = json.loads(keys.signed(keys.gate.service("web")).source)
    body = json.dumps({**document, "signature": signature}).encode()
    with pytest.raises(error):
        keys.submit(read_submission(body, "application/json", keys.gate.ids))


def test_a_signed_proposal_names_its_head_and_its_nodes(keys: Keys) -> None:
    document = json.loads(keys.signed(keys.gate.service("web")).source)

    def changed(**changes: Any) -> Request:
        body = json.dumps({**document, **changes}).encode()
        return read_submission(body, "application/json", keys.gate.ids)

    refused(keys, changed(base=None), "names the head")
    graph = keys.gate.ids.lineage_graph("shop")
    refused(keys, changed(additions=f"_:b <urn:p> <urn:o> <{graph}> .\n"), "no blank nodes")


def test_a_signature_is_good_for_one_proposal(keys: Keys) -> None:
    """Whoever has the token and an old signature proposes nothing with it."""
    gate = keys.gate
    request = keys.signed(gate.service("web"))
    view = keys.submit(request)
    with pytest.raises(Conflict):
        keys.submit(request)
    keys.ledger.revert(gate.operator, view.id, "a mistake")
    with pytest.raises(Conflict):
        keys.submit(request)

    other = keys.signed(gate.service("app"))
    gate.ledger._untrusted = lambda evidence: True
    waiting = keys.submit(other)
    keys.ledger.reject(keys.second, waiting.id, "no")
    with pytest.raises(SignatureRefused, match="taken before"):
        keys.submit(other)
    assert keys.submit(keys.signed(gate.service("app"))).id != waiting.id


# --- the keys themselves


def test_a_retired_key_signs_nothing_new_and_what_it_signed_stays_proved(keys: Keys) -> None:
    gate = keys.gate
    before = keys.submit(keys.signed(gate.service("web")))
    assert before.proof is not None
    old = keys.bundle(before.proof)
    drafted = keys.signed(gate.service("late"))
    rotation = keys.change(enrolled=[("steward-shop", SECOND)], retired=[keys.key(FIRST)])

    refused(keys, drafted, f"is retired.*sign with {SECOND.verifier.label.replace('+', '.')}")
    after = keys.submit(keys.signed(gate.service("app"), SECOND))
    assert after.signed_with == keys.key(SECOND)
    assert after.proof is not None
    for data in (old, keys.bundle(before.proof), keys.bundle(after.proof)):
        assert verify_bundle(data, gate.key.verifier).status is Status.UNANCHORED

    explainer, governance = gate.explainer(), keys.ledger.governance
    first, second = (
        next(key for key in governance.keys if key.iri == keys.key(signer))
        for signer in (FIRST, SECOND)
    )
    assert (explainer.retired(first), explainer.enrolled(second)) == (rotation.proof,) * 2
    assert explainer.retired(second) is None
    gate.sound()


def test_a_key_that_ends_between_draft_and_commit_is_refused(keys: Keys) -> None:
    """The keys are looked at again under the lock, where the entry is written."""
    request = keys.signed(keys.gate.service("web"))
    checker = keys.ledger._checker
    check = checker.check

    def meanwhile(*given: Any) -> Any:
        found = check(*given)
        checker.check = check  # type: ignore[method-assign]
        keys.change(retired=[keys.key(FIRST)])
        return found

    checker.check = meanwhile  # type: ignore[assignment, method-assign]
    with pytest.raises(SignatureRefused, match="ask an operator for another key"):
        keys.submit(request)


def test_a_steward_may_have_a_key_at_each_place(keys: Keys) -> None:
    keys.change(enrolled=[("steward-shop", SECOND)])
    for number, signer in enumerate((FIRST, SECOND)):
        view = keys.submit(keys.signed(keys.gate.service(f"s{number}"), signer))
        assert view.signed_with == keys.key(signer)


def test_no_steward_changes_keys(keys: Keys) -> None:
    """Not its own, not another's; not with a grant on the governance graph either."""
    gate, ids = keys.gate, keys.gate.ids
    wishes: list[dict[str, Any]] = [
        {"enrolled": [("steward-shop", SECOND)]},
        {"retired": [keys.key(FIRST)]},
    ]
    for asked in wishes:
        with pytest.raises(Forbidden):
            keys.ask(by=gate.steward, **asked)
    grant, graph = NamedNode(ids.grant("shop", "more")), NamedNode(ids.graph("governance"))
    stated = {
        Quad(grant, NamedNode(Rdf.type), NamedNode(Fo.Grant), graph),
        Quad(grant, NamedNode(Fo.grantee), NamedNode(gate.steward), graph),
        Quad(grant, NamedNode(Fo.onProject), NamedNode(ids.project("shop")), graph),
        Quad(grant, NamedNode(Fo.onGraph), graph, graph),
    }
    given = keys.ledger.submit(gate.operator, Request(frozenset(stated), frozenset()))
    assert given is not None
    keys.ledger.approve(keys.second, given.id, "a mistake")
    with pytest.raises(Forbidden, match="enrolled and retired by operators"):
        keys.ask([("steward-shop", SECOND)], by=gate.steward)


def test_an_operator_alone_changes_no_keys(keys: Keys) -> None:
    view = keys.ask([("steward-shop", SECOND)])
    assert view.state == "awaiting decision"
    with pytest.raises(Forbidden, match="other than its author"):
        keys.ledger.approve(keys.gate.operator, view.id, "")
    refused(keys, keys.signed(keys.gate.service("web"), SECOND), "is no key that the graph names")


def test_a_project_is_founded_with_its_stewards_key(keys: Keys) -> None:
    gate = keys.gate
    name = steward_slug("new")
    signer = SignerKey("fractalops.localhost/steward-new", bytes(range(4, 36)))
    delta = project_delta(
        gate.ids, gate.ids.organisation("acme"), "new", "New", key=signer.verifier
    )
    view = keys.ledger.submit(gate.operator, Request(delta.additions, frozenset()))
    assert view is not None
    assert view.state == "applied"
    (key,) = keys.ledger.governance.keys_of(gate.ids.principal(name))
    assert (key.verifier, key.retired) == (signer.verifier, False)
    with pytest.raises(Forbidden, match="what is stated of"):
        keys.ledger.revert(gate.operator, view.id, "undo")


def test_a_founding_brings_no_key_of_another(keys: Keys) -> None:
    gate = keys.gate
    founding = project_delta(gate.ids, gate.ids.organisation("acme"), "new", "New")
    foreign = keys_delta(gate.ids, [("steward-shop", SECOND.verifier)])
    both = Request(founding.additions | foreign.additions, frozenset())
    view = keys.ledger.submit(gate.operator, both)
    assert view is not None
    assert view.state == "awaiting decision"


def test_what_is_stated_of_a_key_stays(keys: Keys) -> None:
    gate, graph = keys.gate, NamedNode(keys.gate.ids.graph("governance"))
    key = NamedNode(keys.key(FIRST))
    stated = {quad for quad in gate.asserted("governance") if quad.subject == key}
    for quad in sorted(stated, key=str):
        with pytest.raises(Forbidden, match="stays"):
            keys.ledger.submit(gate.operator, Request(frozenset(), frozenset({quad})))
    other = Quad(key, NamedNode(Fo.publicKey), Literal(str(SECOND.verifier)), graph)
    with pytest.raises(Forbidden, match="stays"):
        keys.ledger.submit(gate.operator, Request(frozenset({other}), frozenset()))
    keys.change(retired=[keys.key(FIRST)])
    retired = next(iter(gate.asserted("governance") - stated - before_of(keys)))
    with pytest.raises(Forbidden, match="stays"):
        keys.ledger.submit(gate.operator, Request(frozenset(), frozenset({retired})))


def before_of(keys: Keys) -> set[Quad]:
    """What the governance graph says but for who is retired."""
    return {q for q in keys.gate.asserted("governance") if q.predicate.value != Fo.retired}


@pytest.mark.parametrize("text", ["nonsense", str(BILLING.verifier), f"{FIRST.verifier}A"])
def test_a_key_is_stated_as_it_must_be(keys: Keys, text: str) -> None:
    """By an IRI that follows from the key and its holder, so that no two are one."""
    iri = NamedNode(keys.gate.ids.signing_key("steward-shop", "0a1b2c3d"))
    graph = NamedNode(keys.gate.ids.graph("governance"))
    stated = {
        Quad(iri, NamedNode(Rdf.type), NamedNode(Fo.SigningKey), graph),
        Quad(iri, NamedNode(Fo.keyHolder), NamedNode(keys.gate.steward), graph),
        Quad(iri, NamedNode(Fo.publicKey), Literal(text), graph),
    }
    with pytest.raises(Forbidden, match="is not the IRI of a signing key"):
        keys.ledger.submit(keys.gate.operator, Request(frozenset(stated), frozenset()))


# --- what somebody may do to a bundle, or to the journal


def test_a_key_stated_in_a_lineage_graph_is_nobodys(keys: Keys) -> None:
    """Offline too: only the governance graph says whose a key is."""
    gate = keys.gate
    iri = keys.key(SECOND)
    graph = NamedNode(gate.ids.lineage_graph("shop"))
    planted = Delta(
        frozenset(
            Quad(q.subject, q.predicate, q.object, graph)
            for q in keys_delta(gate.ids, [("steward-shop", SECOND.verifier)]).additions
        )
    )
    view = keys.ledger.submit(gate.steward, Request(planted.additions, frozenset(), project="shop"))
    assert view is not None
    assert all(key.iri != iri for key in keys.ledger.governance.keys)
    refused(keys, keys.signed(gate.service("web"), SECOND), "is no key that the graph names")


def redigested(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bundle after a change by somebody who knows the format and repairs its digest."""
    document = json.loads(data)
    change(document)
    document.pop("digest")
    return canonical_json({**document, "digest": sha256(canonical_json(document))})


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_every_changed_byte_of_a_signed_bundle_shows(keys: Keys) -> None:
    view = keys.submit(keys.signed(keys.gate.service("web")))
    assert view.proof is not None
    data, key = keys.bundle(view.proof), keys.gate.key.verifier
    for at in range(0, len(data), 3):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert verify_bundle(changed, key).status is Status.INVALID, at


def test_a_bundle_that_was_mended_is_caught(keys: Keys) -> None:
    """By somebody who repairs the digest, which proves nothing; the check is named."""
    gate = keys.gate
    gate.propose(gate.service("web"))
    first = keys.submit(keys.signed(gate.service("web") + gate.service("app")))
    other = keys.submit(keys.signed(gate.service("more")))
    plain = gate.propose(gate.service("plain"))
    assert first.proof
    assert other.proof
    assert plain.proof
    data, foreign = keys.bundle(first.proof), json.loads(keys.bundle(other.proof))
    own = read_bundle(data)
    assert own.signature is not None
    # As the log would have signed it, had it taken another's signature for this entry.
    forged = sign_proposal(open_proposal(own.signature.envelope, FIRST.verifier), STRANGER)
    cases: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("author's signature", lambda d: d["signature"].update(envelope=text(forged))),
        (
            "author's signature",
            lambda d: d["signature"].update(envelope=foreign["signature"]["envelope"]),
        ),
        ("author's signature", lambda d: d["signature"].update(delta=None)),
        ("author's signature", lambda d: d["signature"]["delta"].update(additions="")),
        ("author's key", lambda d: d["signature"]["enrolment"].update(additions="x\n")),
        ("author's key", lambda d: d["signature"]["enrolment"].update(index=1)),
        ("author's key", lambda d: d["signature"]["enrolment"].update(inclusion=[])),
        ("author's key", lambda d: d["signature"]["enrolment"].update(envelope=d["envelope"])),
    ]
    for name, change in cases:
        verdict = verify_bundle(redigested(data, change), gate.key.verifier)
        assert verdict.status is Status.INVALID
        assert name in {check.name for check in verdict.checks if check.ok is False}

    def lend(document: dict[str, Any]) -> None:
        document.update(signature=foreign["signature"], version=2)

    lent = verify_bundle(redigested(keys.bundle(plain.proof), lend), gate.key.verifier)
    assert lent.status is Status.INVALID
    assert "the entry names none" in str(lent.reasons)

    def strip(document: dict[str, Any]) -> None:
        document.pop("signature")
        document.update(version=1)

    stripped = verify_bundle(redigested(data, strip), gate.key.verifier)
    assert stripped.status is Status.UNANCHORED
    assert any("NOT CHECKED: the author signed it" in reason for reason in stripped.reasons)


def test_the_audit_finds_a_signature_that_is_gone(keys: Keys) -> None:
    view = keys.submit(keys.signed(keys.gate.service("web")))
    keys.gate.sound()
    with sqlite3.connect(keys.gate.folder / "journal.sqlite") as db:
        db.execute("DELETE FROM blobs WHERE digest = ?", (view.signature,))
    db.close()
    report = keys.gate.audit()
    assert not report.ok
    assert any(view.signature in text for check in report.checks for text in check.findings)


def test_the_audit_knows_when_a_key_was_retired(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that took what it must refuse is found out by its own log."""
    late = keys.signed(keys.gate.service("web"))
    keys.change(retired=[keys.key(FIRST)])
    with monkeypatch.context() as broken:
        good = Signature(keys.key(FIRST), sha256(late.signature))
        broken.setattr("proofs.ledger.check_signature", lambda *given: good)
        broken.setattr("proofs.ledger.check_key", lambda *given: None)
        keys.submit(late)
    findings = [text for check in keys.gate.audit().checks for text in check.findings]
    assert [text for text in findings if "which was retired" in text]


def test_what_waited_is_applied_after_its_key_ended(keys: Keys) -> None:
    keys.ledger._untrusted = lambda evidence: True
    waiting = keys.submit(keys.signed(keys.gate.service("web")))
    keys.change(retired=[keys.key(FIRST)])
    assert keys.ledger.approve(keys.second, waiting.id, "in time").state == "applied"
    keys.gate.sound()


def test_the_gate_asks_a_person_for_the_first_keys_once(keys: Keys) -> None:
    """What it asked for and was refused, it does not ask for again."""
    delta = keys_delta(keys.gate.ids, [("steward-shop", SECOND.verifier)])
    asked = keys.ledger.enrol(delta, "first keys")
    assert asked is not None
    assert (asked.state, asked.author) == ("awaiting decision", keys.gate.ids.principal("policy"))
    assert keys.ledger.enrol(delta, "first keys") is None
    keys.ledger.reject(keys.second, asked.id, "no")
    assert keys.ledger.enrol(delta, "first keys") is None
    other = keys_delta(keys.gate.ids, [("steward-shop", STRANGER.verifier)])
    assert keys.ledger.enrol(other, "others") is not None


def test_lines_are_those_of_the_graph(keys: Keys) -> None:
    """What a steward signs are the lines that the log hashes."""
    request = keys.signed(keys.gate.service("web"))
    assert b"".join(sorted(line(quad) for quad in request.additions)) == to_nquads(
        request.additions
    )
