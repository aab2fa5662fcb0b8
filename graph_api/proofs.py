"""The proof log over HTTP: checkpoint and tiles as published, entries, chains, bundles, audit.

Invariant: tiles and checkpoint are served byte for byte from the published folder, so any client of
the C2SP ecosystem verifies them unchanged.
Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from pyoxigraph import NamedNode, Quad, RdfFormat, Triple, parse

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.proposal_json import problem_of, proposal_json
from ontology.entailment_derivation import Derivation
from ontology.errors import TermError
from ontology.ids import Ids
from ontology.store import INFERRED
from ontology.terms import canonical_quad
from proofs.audit import AuditReport
from proofs.bundle import BUNDLE_MEDIA_TYPE
from proofs.checkpoint import VerifierKey, add_cosignature
from proofs.errors import BadSubmission, JournalMissing, ProofError
from proofs.explain import Explainer, Statement
from proofs.governance import AUDITOR, OPERATOR, Governance
from proofs.index import Index
from proofs.journal import Journal
from proofs.merkle import leaf_hash
from proofs.predicate import EvidenceDigest
from proofs.publish import Published
from proofs.statement import parse_envelope
from proofs.submission import graph_iri
from proofs.tiles import CHECKPOINT_PATH, Tile, TileReader

Trace = Callable[[tuple[str, ...], tuple[str, ...]], dict[str, Any]]
"""``trace(evidence, subjects)``: the evidence batches and the rules that read them as something."""

MOST = 2**63 - 1
PathIndex = Annotated[int, PathParameter(ge=0, le=MOST)]
QueryIndex = Annotated[int, Query(ge=0, le=MOST)]
"""Log indices and sizes, as far as the journal can count."""

COSIGNABLE = 64
"""How many of the newest checkpoints a cosignature may be for."""
MAX_COSIGNATURE = 4096

MOST_STEPS = 50
"""Of a derivation that are told, and premises that are explained."""

FOREVER = "public, max-age=31536000, immutable"


def build_router(
    *,
    journal: Journal,
    index: Index,
    explainer: Explainer,
    authenticator: Authenticator,
    ids: Ids,
    governance: Callable[[], Governance],
    folder: Path,
    published: Callable[[], int],
    trace: Trace,
    audit: Callable[[], AuditReport],
    rebuild: Callable[[], AuditReport],
    compare: Callable[[], list[Published]],
    witnesses: tuple[VerifierKey, ...],
    cosigned: Callable[[int], None],
) -> APIRouter:
    """Routes below ``/proofs``."""
    router = APIRouter(prefix="/proofs", tags=["proofs"])
    anybody = Depends(authenticator.require())
    inspectors = Depends(authenticator.require(OPERATOR, AUDITOR))
    operators = Depends(authenticator.require(OPERATOR))
    reader = TileReader(folder)

    def visible(entry: int, caller: Caller) -> None:
        row = index.entry(entry)
        if row is None:
            raise problem_of(
                JournalMissing(f"there is no entry {entry}; the newest is {journal.head()}")
            )
        readable = governance().readable_projects(caller.hidden_graphs)
        if row.restricted and readable is not None and row.project not in readable:
            raise Problem(
                403,
                "restricted",
                "The entry concerns a restricted graph",
                f"entry {entry} can be read by operators, auditors and the project's own stewards",
            )

    @router.get("/checkpoint")
    def checkpoint(caller: Caller = anybody) -> Response:
        """The signed checkpoint, with the cosignatures it has."""
        try:
            note = (folder / CHECKPOINT_PATH).read_bytes()
        except FileNotFoundError as error:
            raise Problem(
                503,
                "not-published",
                "The log is not published yet",
                "Try again in a moment; if it stays so, see 'fractalops status'.",
                headers={"Retry-After": "1"},
            ) from error
        return Response(
            note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-cache"}
        )

    @router.get("/tile/{path:path}")
    def tile(path: str, caller: Caller = anybody) -> Response:
        """A tile or an entry bundle, as tlog-tiles names them."""
        try:
            wanted = Tile.parse(f"tile/{path}")
            if wanted.path.startswith("tile/entries") and caller.hidden_graphs:
                raise Problem(
                    403,
                    "restricted",
                    "Entries of restricted graphs are among these",
                    "Read single entries at /proofs/entries/N, or ask an auditor.",
                )
            data = reader.read(wanted)
        except ProofError as error:
            raise Problem(
                404, "no-such-tile", "The log has no such tile", f"tile/{path}: {error}"
            ) from error
        return Response(
            data,
            media_type="application/octet-stream",
            headers={"Cache-Control": FOREVER if wanted.full else "no-cache"},
        )

    @router.get("/log")
    def log(
        caller: Caller = anybody,
        limit: int = Query(50, ge=1, le=1000),
        before: QueryIndex | None = None,
    ) -> dict[str, Any]:
        """Entries, newest first."""
        rows = index.entries(limit, before, governance().readable_projects(caller.hidden_graphs))
        return {
            "size": index.head() + 1,
            "items": [
                {
                    "index": row.index,
                    "kind": row.kind,
                    "time": row.time,
                    "proposal": row.proposal,
                    "project": row.project,
                    "principal": row.principal,
                    "leaf_hash": row.leaf_hash,
                }
                for row in rows
            ],
            "next": rows[-1].index if len(rows) == limit and rows[-1].index else None,
        }

    @router.get("/entries/{entry}")
    def entry(entry: PathIndex, caller: Caller = anybody) -> dict[str, Any]:
        """One entry: its statement, and the signed envelope as it is hashed."""
        visible(entry, caller)
        leaf = _gate(journal.leaf, entry)
        payload, _ = parse_envelope(leaf)
        return {
            "index": entry,
            "leaf_hash": leaf_hash(leaf).hex(),
            "statement": json.loads(payload),
            "envelope": json.loads(leaf),
            "leaf": base64.b64encode(leaf).decode(),
        }

    @router.get("/explain")
    def explain(
        s: str, p: str, o: str, g: str | None = None, caller: Caller = anybody
    ) -> dict[str, Any]:
        """The chain behind a triple, for each graph that states it. Terms are in N-Triples form.

        Where it is inferred, ``inferred`` has the steps to it and the chain behind each premise."""
        quad = _triple(s, p, o)
        wanted = _gate(graph_iri, _unwrapped(g), ids) if g else None
        statements = _stated(quad, wanted, caller)
        answer: dict[str, Any] = {"triple": {"s": s, "p": p, "o": o}, "graphs": statements}
        if wanted in (None, ids.graph(INFERRED)):
            derivation = _gate(explainer.derivation, quad, governance().restricted)
            if derivation is not None:
                answer["inferred"] = _inferred(derivation, caller)
        if not statements and "inferred" not in answer:
            raise Problem(
                404,
                "not-stated",
                "The graph does not state this triple",
                "No graph you may read states it now, and it follows from none. Mind the exact"
                " form: IRIs in angle brackets, literals with their datatype or language, as a"
                " query shows them in N-Triples.",
            )
        return answer

    def _stated(quad: Quad, wanted: str | None, caller: Caller) -> list[dict[str, Any]]:
        statements = []
        for graph in [wanted] if wanted else _gate(explainer.graphs, quad):
            if not caller.may_read(graph):
                continue
            named = Quad(quad.subject, quad.predicate, quad.object, NamedNode(graph))
            found = _gate(explainer.explain, named)
            if found is not None:
                statements.append(_chain(found, named, published(), trace))
        return statements

    def _inferred(derivation: Derivation, caller: Caller) -> dict[str, Any]:
        premises = derivation.stated()
        return {
            "graph": ids.graph(INFERRED),
            "rule": derivation.rule,
            "steps": [
                {
                    "rule": step.rule,
                    "premises": [_terms(premise) for premise in step.premises],
                    "conclusion": _terms(step.conclusion),
                }
                for step in derivation.steps[:MOST_STEPS]
            ],
            "premises": [
                {
                    "triple": _terms(premise),
                    "graphs": _stated(
                        Quad(premise.subject, premise.predicate, premise.object), None, caller
                    ),
                }
                for premise in premises[:MOST_STEPS]
            ],
            "omitted": max(0, len(premises) - MOST_STEPS),
        }

    @router.get("/bundle/{entry}")
    def bundle(
        entry: PathIndex, since: QueryIndex | None = None, caller: Caller = anybody
    ) -> Response:
        """Everything needed to verify one entry offline.

        With ``since``, the size of a checkpoint you kept, it proves that the log only grew."""
        visible(entry, caller)
        return Response(
            _gate(explainer.bundle, entry, since),
            media_type=BUNDLE_MEDIA_TYPE,
            headers={"Content-Disposition": f'attachment; filename="entry-{entry}.bundle.json"'},
        )

    @router.post("/cosignatures")
    async def cosign(
        request: Request, size: QueryIndex | None = None, caller: Caller = operators
    ) -> dict[str, Any]:
        """Attaches a configured witness's cosignature line to the checkpoint it signs.

        Without ``size`` the newest ones are tried, since the log may have grown meanwhile."""
        line = (await request.body())[:MAX_COSIGNATURE].decode(errors="replace")
        newest = journal.head() + 1
        tried = [size] if size else range(newest, max(0, newest - COSIGNABLE), -1)
        refusal = "there is no checkpoint yet"
        for candidate in tried:
            try:
                note = add_cosignature(journal.checkpoint(candidate), line, witnesses)
            except ProofError as error:
                refusal = str(error)
                continue
            journal.cosign(candidate, note)
            cosigned(candidate)
            return {"size": candidate, "checkpoint": note}
        raise Problem(400, "cosignature-refused", "The cosignature is not taken", refusal)

    @router.post("/audit")
    def run_audit(caller: Caller = inspectors) -> dict[str, Any]:
        """Checks journal, tiles and graph against each other and every signature."""
        return _audit_json(audit())

    @router.post("/mirror")
    def run_mirror(caller: Caller = operators) -> dict[str, Any]:
        """Completes the published log and its mirrors, and compares each with the journal."""
        return {
            "folders": [
                {"folder": str(each.folder), "size": each.size, "problem": each.problem}
                for each in compare()
            ],
            "size": journal.head() + 1,
        }

    @router.post("/rebuild")
    def run_rebuild(caller: Caller = operators) -> dict[str, Any]:
        """Builds the graph anew from the journal, compares, and says what it found."""
        return _audit_json(rebuild())

    return router


def _gate(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ProofError as error:
        raise problem_of(error) from error


def _triple(s: str, p: str, o: str) -> Quad:
    text = f"{s} {p} {o} ."
    try:
        quads = list(parse(text, format=RdfFormat.N_TRIPLES))
        if len(quads) != 1:
            raise BadSubmission("that is more than one triple", "unparsable-rdf")
        return canonical_quad(quads[0])
    except (SyntaxError, TermError, BadSubmission) as error:
        raise Problem(
            400,
            "unparsable-rdf",
            "That is no triple",
            f"{error}. Give s, p and o in N-Triples form, IRIs in angle brackets.",
        ) from error


def _unwrapped(graph: str) -> str:
    """The name of a graph, which may stand in angle brackets as terms do."""
    return graph[1:-1] if graph.startswith("<") and graph.endswith(">") else graph


def _terms(triple: Triple) -> dict[str, str]:
    return {"s": str(triple.subject), "p": str(triple.predicate), "o": str(triple.object)}


def _chain(found: Statement, quad: Quad, published: int, trace: Trace) -> dict[str, Any]:
    proof = found.proof
    proposal = proposal_json(found.proposal, published)
    nodes = tuple(term.value for term in (quad.subject, quad.object) if isinstance(term, NamedNode))
    commitment = proof.evidence
    listed = found.proposal.evidence
    return {
        "graph": found.graph,
        "proof": found.index,
        "kind": proof.kind,
        "time": proof.time,
        "proposal": proposal,
        "decisions": proposal["decisions"],
        "shapes": proof.shapes,
        "ontology": proof.ontology,
        "rules_version": proof.rules,
        "report": proof.report
        and {"sha256": proof.report.sha256, "conforms": proof.report.conforms},
        "state_before": proof.state_before,
        "state_after": proof.state_after,
        "evidence_commitment": (
            {"sha256": commitment.sha256, "count": commitment.count}
            if isinstance(commitment, EvidenceDigest)
            else list(commitment)
        ),
        **trace(listed, nodes),
    }


def _audit_json(report: AuditReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "head": report.head,
        "state_digest": report.state_digest,
        "quads": report.quads,
        "checks": [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": check.detail
                if check.ok
                else "; ".join(check.findings)
                + (f"; and {check.count - len(check.findings)} more" if check.count > 20 else ""),
                "findings": check.findings,
            }
            for check in report.checks
        ],
    }
