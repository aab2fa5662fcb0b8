"""Pages, event types, features and error issues, as claims.

Invariant: a thing is introduced in one way, whichever question showed it, so that two sources that
see it claim the same quads. All of them belong to one project.
"""

from __future__ import annotations

from urllib.parse import unquote

from pyoxigraph import NamedNode

from ontology.ids import Ids
from ontology.vocab import Fo
from stewards.claim_set import DATA, ClaimSet
from stewards.evidence import Evidence
from stewards.names import MAX_NAME, shown
from stewards.product_names import feature_name, place_name

MAX_IRI = 2048
FOREIGN_SUBJECT = "product events and errors whose IRI isn't one of this project"


class ProductThings:
    """Introduces things of one project in a set of claims.

    Each method gives the thing's IRI, or an empty text where the project has no such thing.
    """

    def __init__(self, quads: ClaimSet, ids: Ids, project: str) -> None:
        self._quads = quads
        self._ids = ids
        self._project = project

    def of_event(self, subject: str, event_class: str, evidence: Evidence) -> str:
        """The page or the event type that classification minted as an event's subject."""
        if event_class == Fo.Page:
            path = self._key(subject, "page")
            return self._page(subject, path, evidence) if path else ""
        name = self._key(subject, "product-event-type")
        if not name or event_class != Fo.ProductEventType:
            return ""
        return self._thing(subject, Fo.ProductEventType, name, name, evidence)

    def place(self, said: str, evidence: Evidence) -> str:
        """The page that an event says it arose on."""
        path = place_name(said)
        return self._page(self._ids.page(self._project, path), path, evidence) if path else ""

    def feature(self, said: str, evidence: Evidence) -> str:
        """The feature that somebody named."""
        name = feature_name(said)
        if not name:
            return ""
        return self._thing(self._ids.feature(self._project, name), Fo.Feature, name, name, evidence)

    def issue(
        self, subject: str, name: str, culprit: str, exception: str, evidence: Evidence
    ) -> str:
        """The error issue that classification minted."""
        key = self._key(subject, "error-issue")
        if not key:
            return ""
        # The key tells issues apart, so the label may be short.
        label = shown(": ".join(filter(None, (name, culprit))))[:MAX_NAME]
        self._thing(subject, Fo.ErrorIssue, label or key, key, evidence)
        for predicate, value in ((Fo.errorType, exception), (Fo.culprit, culprit)):
            if len(value) <= MAX_NAME:
                self._quads.text(subject, predicate, value, evidence, DATA)
        return subject

    def _page(self, page: str, path: str, evidence: Evidence) -> str:
        found = self._thing(page, Fo.Page, path, path, evidence)
        if found and path.startswith("/") and not set(path) & {"?", "#"}:
            self._quads.text(page, Fo.path, path, evidence, DATA)
        return found

    def _thing(self, iri: str, kind: str, label: str, key: str, evidence: Evidence) -> str:
        if not shown(label) or len(iri) > MAX_IRI:
            return ""
        self._quads.thing(iri, kind, label, evidence, DATA, key)
        self._quads.node(iri, Fo.inProject, self._ids.project(self._project), evidence, DATA)
        return iri

    def _key(self, subject: str, kind: str) -> str:
        """The key in an IRI of this kind and project; empty for another one's."""
        prefix = self._ids.instance(kind, self._project) + "/"
        if not subject.startswith(prefix) or len(subject) > MAX_IRI:
            return ""
        try:
            NamedNode(subject)
        except ValueError:
            return ""
        return unquote(subject.removeprefix(prefix))
