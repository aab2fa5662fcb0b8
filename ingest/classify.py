"""Gives every event its ontology class, the rule that chose it and the thing it is about.

Invariant: what the redaction rules take out is gone before anything else is looked at, so that no
name is made of it. The answer depends on the event and the rules alone. Of the rules that fit, the
highest priority wins, of equals the IRI that comes first; what no rule fits keeps an empty class.
Names are bounded and hold nothing that differs from one request to the next (ids in paths, literals
in statements), because each one becomes a node of the graph.
The rules are graph data: https://w3id.org/fractalops/ns#ClassificationRule
"""

from __future__ import annotations

import logging
import re
from collections import Counter as TallyCounter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prometheus_client import Counter
from pyoxigraph import Quad

from ingest.events import UNKNOWN_SERVICE, Event
from ingest.names import derived, low_cardinality
from ingest.redaction import Redactor
from ingest.redaction_rules import shipped_rules
from ingest.rule_quads import described
from ontology.dataset_names import DataName, of_openlineage
from ontology.ids import Ids
from ontology.vocab import Fo
from ontology.workload_names import CLUSTER, NAMESPACE, Workload, name_key

MAX_NAME = 200
MAX_IRI = 2_000
# Answers kept at a time; when there are more kinds of events, the memory starts anew.
_REMEMBERED = 4096

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OWN_NAME = frozenset({"span.name", "event.name"})
# Names an event whose name is made of nothing but what differs from one to the next.
_NAMELESS = "-"

RULES_LEFT_OUT = Counter(
    "fractalops_classification_rules_left_out_total", "Rules in the graph that can't be used."
)

# Class, rule and subject; empty where no rule fits.
_Answer = tuple[str, str, str] | tuple[()]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One classification rule. Of ``keys`` in a condition any may be present or match.

    ``present`` holds alternatives of attribute keys, of which each group needs one; ``equal`` pairs
    of alternative keys and the values one of them must have. ``kinds`` empty means any kind,
    ``names`` empty any name; a name that ends with an asterisk is a beginning.
    ``subject_kind`` is a key of :data:`SUBJECTS`; ``operation_kind`` is empty but for operations.
    What only a ``fallback`` fits is still unknown.
    """

    iri: str
    priority: int
    source: str
    event_class: str
    subject_kind: str
    operation_kind: str
    kinds: frozenset[str]
    names: tuple[str, ...]
    present: tuple[tuple[str, ...], ...]
    equal: tuple[tuple[tuple[str, ...], frozenset[str]], ...]
    name_template: str
    fallback: bool = False


def _operation(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.operation(event.project, event.service or UNKNOWN_SERVICE, rule.operation_kind, name)


def _product_event_type(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.product_event_type(event.project, name)


def _log_event_type(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.log_event_type(event.project, event.service or UNKNOWN_SERVICE, name)


def _metric(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.metric(event.project, event.service or UNKNOWN_SERVICE, name)


def _page(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.page(event.project, name)


def _error_issue(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.error_issue(event.project, name)


def _job(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    attributes = event.attributes
    return _short(
        ids.job(
            event.project, attributes.get("job.namespace", ""), attributes.get("job.name") or name
        )
    )


def _data_asset(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    asset = _asset_of(event)
    return _short(asset.iri(ids, event.project)) if asset else ""


def _column(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    asset, column = _asset_of(event), event.attributes.get("column.name", "")
    return _short(asset.column(ids, event.project, column)) if asset and column else ""


def _workload(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    kind = event.name.removeprefix("k8s.")
    cluster, namespace, own = (
        _said_of_entity(event, key) for key in (CLUSTER, NAMESPACE, name_key(kind))
    )
    if not own:
        return ""
    return _short(Workload(cluster, namespace, f"{kind}/{own}").iri(ids, event.project))


def _said_of_entity(event: Event, key: str) -> str:
    attributes = event.attributes
    return attributes.get(f"id.{key}") or attributes.get(f"description.{key}", "")


def _entity_type(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    return ids.entity_type(event.project, name)


def _short(iri: str) -> str:
    """An identity is never cut: one that is too long for a node of the graph has none."""
    return iri if len(iri) < MAX_IRI else ""


def _asset_of(event: Event) -> DataName | None:
    attributes = event.attributes
    return of_openlineage(
        attributes.get("dataset.namespace", ""), attributes.get("dataset.name", "")
    )


def _runtime_asset(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    asset_id = event.attributes.get("asset.id", "")
    return _short(ids.runtime_asset(asset_id)) if asset_id else ""


def _integration_endpoint(ids: Ids, event: Event, rule: Rule, name: str) -> str:
    endpoint_id = event.attributes.get("endpoint.id", "")
    return _short(ids.integration_endpoint(endpoint_id)) if endpoint_id else ""


OPERATION = "operation"
SUBJECTS: Mapping[str, Callable[[Ids, Event, Rule, str], str]] = {
    OPERATION: _operation,
    "product-event-type": _product_event_type,
    "log-event-type": _log_event_type,
    "metric": _metric,
    "page": _page,
    "error-issue": _error_issue,
    "job": _job,
    "data-asset": _data_asset,
    "column": _column,
    "workload": _workload,
    "entity-type": _entity_type,
    "runtime-asset": _runtime_asset,
    "integration-endpoint": _integration_endpoint,
}
"""How the IRI of an event's subject is minted, by the kind of subject that its rule states."""


def rules_from_quads(quads: Iterable[Quad]) -> tuple[Rule, ...]:
    """The usable rules among the quads of the rules graph, in the order they are tried.

    A rule that lacks what it needs is left out, logged and counted: it must not stop the others.
    """
    rules = []
    for iri, values in described(quads, Fo.ClassificationRule).items():
        try:
            rules.append(_rule(iri, values))
        except ValueError as error:
            RULES_LEFT_OUT.inc()
            log.error("classification rule %s is not used: %s", iri, error)
    return tuple(sorted(rules, key=lambda rule: (-rule.priority, rule.iri)))


class Classifier:
    """Applies rules; safe to use from any thread. Without ``redactor`` the shipped rules redact.

    Events that agree in everything that was looked at for an answer get the same one, which is
    remembered: steady traffic asks the same few questions again and again. ``version`` names the
    rules, so that it is known which events were classified by others.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        ids: Ids,
        version: str = "",
        redactor: Redactor | None = None,
    ) -> None:
        self.version = version
        self._ids = ids
        self._redactor = redactor or Redactor(shipped_rules())
        self._rules = tuple(sorted(rules, key=lambda rule: (-rule.priority, rule.iri)))
        self._by_kind: dict[tuple[str, str], tuple[tuple[Rule, _Namer], ...]] = {}
        self._known: dict[object, _Step] = {}
        self._answers = 0

    def __reduce__(self) -> tuple[type[Classifier], tuple[object, ...]]:
        """Another process makes it anew, of the rules."""
        return type(self), (self._rules, self._ids, self.version, self._redactor)

    def redacted_document(self, value: str) -> str:
        """As :meth:`ingest.redaction.Redactor.document`."""
        return self._redactor.document(value)

    def redacted(self) -> TallyCounter[tuple[str, str]]:
        """As :meth:`ingest.redaction.Redactor.taken`."""
        return self._redactor.taken()

    def classify(self, event: Event) -> Event:
        """The event, redacted, with class, rule and subject; those are empty where no rule fits."""
        event = self._redactor.redact(event)
        value_of = event.attributes.get
        step = self._known.get((event.project, event.source, event.kind, event.name, event.service))
        while step is not None and step.answer is None:
            step = step.then.get(value_of(step.key))
        answer = self._learned(event) if step is None else step.answer
        return event.classified(*answer) if answer else event

    def _learned(self, event: Event) -> _Answer:
        """The answer, remembered with the attributes that were looked at for it, in their order.

        Which one is looked at next follows from what those before it held, so that the questions
        of events that begin alike are the same ones.
        """
        looked_at = _LookedAt(event.attributes)
        answer = self._answer(event.with_attributes(looked_at))
        if self._answers >= _REMEMBERED:
            self._known.clear()
            self._answers = 0
        then = self._known
        place: object = _first_of(event)
        for key in looked_at.order:
            then = then.setdefault(place, _Step(key, {}, None)).then
            place = event.attributes.get(key)
        then[place] = _Step("", {}, answer)
        self._answers += 1
        return answer

    def _answer(self, event: Event) -> _Answer:
        for rule, name_of in self._candidates(event.source, event.kind):
            if _is_named(rule, event.name) and _fits(rule, event.attributes):
                name = _subject_name(name_of, event)
                subject = SUBJECTS[rule.subject_kind](self._ids, event, rule, name)
                return rule.event_class, rule.iri, subject
        return ()

    def rules_for(self, source: str) -> tuple[Rule, ...]:
        """The rules for events of a source, in the order they are tried."""
        return tuple(rule for rule in self._rules if rule.source == source)

    def _candidates(self, source: str, kind: str) -> tuple[tuple[Rule, _Namer], ...]:
        found = self._by_kind.get((source, kind))
        if found is None:
            found = self._by_kind[source, kind] = tuple(
                (rule, _name_of(rule.name_template))
                for rule in self._rules
                if rule.source == source and (not rule.kinds or kind in rule.kinds)
            )
        return found


_Namer = Callable[[Event], str]


class _Step(NamedTuple):
    """An answer; or the attribute to look at next, and what follows by what it holds (``None``
    where it isn't there)."""

    key: str
    then: dict[object, _Step]
    answer: _Answer | None


def _first_of(event: Event) -> tuple[str, ...]:
    """What every answer depends on."""
    return event.project, event.source, event.kind, event.name, event.service


class _LookedAt(Mapping[str, str]):
    """Attributes, and which of them were looked at, each once in order."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = attributes
        self.order: dict[str, None] = {}

    def __getitem__(self, key: str) -> str:
        self.order[key] = None
        return self._attributes[key]

    def __iter__(self) -> Iterator[str]:
        # Whoever looks at all of them depends on those that aren't there as well.
        raise TypeError("rules look at attributes by their keys")

    def __len__(self) -> int:
        return len(self._attributes)


def _is_named(rule: Rule, name: str) -> bool:
    return not rule.names or any(is_named(wanted, name) for wanted in rule.names)


def is_named(wanted: str, name: str) -> bool:
    """Whether a name is the one a rule wants, or begins as it wants."""
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _fits(rule: Rule, attributes: Mapping[str, str]) -> bool:
    return all(any(attributes.get(key) for key in keys) for keys in rule.present) and all(
        any(attributes.get(key) in values for key in keys) for keys, values in rule.equal
    )


def _name_of(template: str) -> _Namer:
    """A function that fills the template in; what is missing leaves no gap behind."""
    parts = _PLACEHOLDER.split(template)
    # Odd parts are placeholders, each with its alternatives.
    pieces = [
        tuple(key.strip() for key in part.split("|")) if index % 2 else part
        for index, part in enumerate(parts)
    ]

    def name(event: Event) -> str:
        filled = (piece if isinstance(piece, str) else _value(event, piece) for piece in pieces)
        return " ".join("".join(filled).split())

    return name


def subject_name(rule: Rule, event: Event) -> str:
    """What the rule calls the subject of an event that it fits."""
    return _subject_name(_name_of(rule.name_template), event)


def _subject_name(name_of: _Namer, event: Event) -> str:
    name = name_of(event) or low_cardinality(event.name) or event.kind or _NAMELESS
    return name[:MAX_NAME]


def _value(event: Event, keys: tuple[str, ...]) -> str:
    for key in keys:
        value = event.name if key in _OWN_NAME else event.attributes.get(key, "")
        if value:
            return low_cardinality(value, key)
    for key in keys:
        value = derived(key, event.attributes)
        if value:
            return low_cardinality(value, key)
    return ""


def _rule(iri: str, values: Mapping[str, list[str]]) -> Rule:
    template = _single(values, Fo.nameTemplate, "fo:nameTemplate")
    if "{" in _PLACEHOLDER.sub("", template) or "}" in _PLACEHOLDER.sub("", template):
        raise ValueError("fo:nameTemplate has a brace without its partner")
    operation_kind, subject_kind = "", OPERATION
    if Fo.subjectKind in values:
        subject_kind = _single(values, Fo.subjectKind, "fo:subjectKind")
        if subject_kind not in SUBJECTS or Fo.operationKind in values:
            raise ValueError("it needs either fo:operationKind or a known fo:subjectKind")
    else:
        operation_kind = _single(values, Fo.operationKind, "fo:operationKind")
    return Rule(
        iri=iri,
        priority=int(_single(values, Fo.priority, "fo:priority")),
        source=_single(values, Fo.source, "fo:source"),
        event_class=_single(values, Fo.classifiesAs, "fo:classifiesAs"),
        subject_kind=subject_kind,
        operation_kind=operation_kind,
        kinds=frozenset(values.get(Fo.whenKind, ())),
        names=tuple(sorted(values.get(Fo.whenName, ()))),
        present=tuple(_alternatives(text) for text in sorted(values.get(Fo.whenAttribute, ()))),
        equal=tuple(_equals(text) for text in sorted(values.get(Fo.whenAttributeEquals, ()))),
        name_template=template,
        fallback=values.get(Fo.isFallback) == ["true"],
    )


def _single(values: Mapping[str, list[str]], predicate: str, name: str) -> str:
    found = values.get(predicate, [])
    if len(found) != 1 or not found[0]:
        raise ValueError(f"it needs exactly one {name}")
    return found[0]


def _alternatives(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split("|") if key.strip())
    if not keys:
        raise ValueError("fo:whenAttribute names no attribute")
    return keys


def _equals(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    keys, separator, values = text.partition("=")
    if not separator:
        raise ValueError(f"fo:whenAttributeEquals needs key=value, not {text!r}")
    return _alternatives(keys), frozenset(value.strip() for value in values.split("|"))
