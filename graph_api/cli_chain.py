"""Where a triple comes from, drawn as a tree or listed as rows.

Invariant: what a server says is shown as text and never taken as markup or control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from graph_api.cli_output import cell_text, column, visible
from graph_api.cli_terms import short_iri, short_principal, short_term

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

CHAIN_COLUMNS = tuple(
    column(name)
    for name in (
        "graph",
        "proof",
        "proposal",
        "author",
        "decisions",
        "rules",
        "evidence",
        "premise",
    )
)


def chain(found: Mapping[str, Any], triple: str) -> Tree:
    """The chain of a triple as a tree: triple, proposal, decision, rule, evidence, payload.

    What is inferred has the steps to it instead, and such a chain for each premise."""
    from rich.tree import Tree

    root = Tree(_line(triple, "bold"), guide_style="dim")
    _draw_places(root, found)
    inferred = found.get("inferred")
    if inferred:
        told = f"in {inferred.get('graph')}: inferred by {inferred.get('rule')}"
        _draw_derivation(root.add(_line(told)), inferred)
    return root


def _signature(signature: object) -> str:
    if not isinstance(signature, Mapping):
        return "none"
    return f"with {short_iri(str(signature.get('key')))}, sha256:{signature.get('sha256')}"


def _draw_derivation(branch: Tree, inferred: Mapping[str, Any]) -> None:
    for step in inferred.get("steps") or []:
        premises = " and ".join(_triple(premise) for premise in step.get("premises") or [])
        conclusion = _triple(step.get("conclusion") or {})
        branch.add(_line(f"{conclusion} by {step.get('rule')} from {premises}"))
    for premise in inferred.get("premises") or []:
        _draw_places(branch.add(_line(_triple(premise.get("triple") or {}))), premise)
    if inferred.get("omitted"):
        branch.add(_line(f"and {inferred['omitted']} more premises"))


def _draw_places(root: Tree, found: Mapping[str, Any]) -> None:
    for place in found.get("graphs") or []:
        in_graph = root.add(_line(f"in {place.get('graph')}"))
        proposal = place.get("proposal") or {}
        branch = in_graph.add(
            _line(
                f"proposal {proposal.get('id')} by {_who(proposal.get('author'))}: "
                f"{proposal.get('state')}"
            )
        )
        branch.add(_line(f"author's own signature: {_signature(proposal.get('signature'))}"))
        if proposal.get("rationale"):
            branch.add(_line(f"rationale: {proposal['rationale']}"))
        branch.add(_line(f"proof: log entry {place.get('proof')}"))
        for decision in place.get("decisions") or proposal.get("decisions") or []:
            alone = ", single person" if decision.get("single_person") else ""
            why = decision.get("reason") or decision.get("policy")
            reason = f": {why}" if why else ""
            branch.add(
                _line(
                    f"decision: {decision.get('outcome')} by {_who(decision.get('by'))} "
                    f"at {decision.get('at')}{alone}{reason}"
                )
            )
        for name in ("shapes", "ontology"):
            if place.get(name):
                branch.add(_line(f"{name}: {cell_text(place[name])}"))
        for rule in place.get("rules") or []:
            branch.add(_line(f"rule: {_rule(rule)}"))
        for batch in place.get("evidence") or []:
            if not isinstance(batch, Mapping):
                branch.add(_line(f"evidence: {cell_text(batch)}"))
                continue
            told = [
                f"{name.replace('_', ' ')} {batch[name]}"
                for name in ("source", "project", "received_at")
                if batch.get(name)
            ]
            known = f" ({', '.join(told)})" if told else ""
            leaf = branch.add(_line(f"evidence: {batch.get('digest')}{known}"))
            if batch.get("payload_sha256"):
                leaf.add(_line(f"raw payload: sha256:{str(batch['payload_sha256'])[-64:]}"))
            elif batch.get("erased"):
                leaf.add(_line(f"raw payload: {erased(batch['erased'])}"))


def erased(told: Mapping[str, Any]) -> str:
    """How a payload went, in words."""
    if told.get("entry") is None:
        return "not kept; the commitment stays valid"
    why = f": {told['reason']}" if told.get("reason") else ""
    return (
        f"erased on {told.get('at')}, by {_who(told.get('by'))}, log entry {told['entry']}{why};"
        " the commitment stays valid"
    )


def _line(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(visible(text), style=style)


def _who(principal: object) -> str:
    return short_principal(cell_text(principal))


def _rule(rule: object) -> str:
    if not isinstance(rule, Mapping):
        return cell_text(rule)
    told = f"{short_iri(str(rule.get('rule')))} makes it {short_iri(str(rule.get('class')))}"
    return f"{told} ({rule['events']} events)" if "events" in rule else told


def chain_rows(found: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """A row for each graph that states the triple, or a premise of it where it is inferred."""
    yield from _place_rows(found, "")
    for premise in (found.get("inferred") or {}).get("premises") or []:
        yield from _place_rows(premise, _triple(premise.get("triple") or {}))


def _place_rows(found: Mapping[str, Any], premise: str) -> Iterable[Mapping[str, Any]]:
    for place in found.get("graphs") or []:
        proposal = place.get("proposal") or {}
        yield {
            "graph": place.get("graph"),
            "proof": place.get("proof"),
            "proposal": proposal.get("id"),
            "author": proposal.get("author"),
            "decisions": place.get("decisions") or proposal.get("decisions"),
            "rules": [_rule(rule) for rule in place.get("rules") or []],
            "evidence": [
                batch.get("digest") if isinstance(batch, Mapping) else batch
                for batch in place.get("evidence") or []
            ],
            "premise": premise,
        }


def _triple(terms: Mapping[str, Any]) -> str:
    """A triple in N-Triples form, its IRIs shortened."""
    return " ".join(short_term(str(terms.get(name))) for name in ("s", "p", "o"))
