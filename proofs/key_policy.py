"""What may be said of signing keys in the governance graph, whoever approves it.

Invariant: a key is stated whole, by the IRI that follows from it and its holder, and is then at
most retired; proofs rest on what is stated of it. No holder of a key changes keys, its own or not.
"""

from __future__ import annotations

from pyoxigraph import Literal, NamedNode

from ontology.ids import Ids
from ontology.terms import Delta, graph_of
from ontology.vocab import Fo, Rdf
from proofs.errors import Forbidden
from proofs.governance import OPERATOR, Governance, read_key

_OF_KEYS = frozenset({Fo.keyHolder, Fo.publicKey, Fo.retired})


def signing_key_iri(ids: Ids, holder: str, text: str) -> str:
    """The IRI of the key in this text as one of this holder's (an IRI); empty where it is none."""
    key, slug = read_key(text), holder.rpartition("/")[2]
    if key is None or not slug or holder != ids.principal(slug):
        return ""
    return ids.signing_key(slug, key.key_id.hex())


def refuse_key_change(
    ids: Ids, governance: Governance, principal: str, delta: Delta, own: str
) -> None:
    """Refuses what no proposal may do to keys. ``own`` is the gate's own principal, which asks for
    keys where an older version made none. Raises :class:`Forbidden`.
    """
    known = {key.iri for key in governance.keys}
    new: dict[str, dict[str, set[str]]] = {}
    for quad in delta.quads:
        subject, predicate, value = quad.subject, quad.predicate.value, quad.object
        assert isinstance(subject, NamedNode)
        assert isinstance(value, NamedNode | Literal)
        of_keys = predicate in _OF_KEYS or (predicate, value.value) == (Rdf.type, Fo.SigningKey)
        if graph_of(quad) != ids.graph("governance") or not (of_keys or subject.value in known):
            continue
        if not governance.has_role(principal, OPERATOR) and principal != own:
            raise Forbidden(
                f"signing keys are enrolled and retired by operators, not by <{principal}>: ask one"
                " for 'fractalops stewards rotate-key'"
            )
        if quad in delta.removals or (subject.value in known and predicate != Fo.retired):
            raise Forbidden(
                f"what is stated of {subject} stays, for proofs rest on it: retire the key with"
                " fo:retired true, and enrol another"
            )
        new.setdefault(subject.value, {}).setdefault(predicate, set()).add(value.value)
    for iri, about in new.items():
        holders, keys = about.get(Fo.keyHolder, set()), about.get(Fo.publicKey, set())
        stated = {signing_key_iri(ids, holder, key) for holder in holders for key in keys}
        if iri not in known and stated != {iri}:
            raise Forbidden(
                f"<{iri}> is not the IRI of a signing key with this fo:publicKey and this"
                " fo:keyHolder: 'fractalops stewards rotate-key' states one as it must be"
            )
