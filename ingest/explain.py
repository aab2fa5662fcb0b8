"""Says for a payload which rule chose the class of each event, and why none before it did.

Invariant: nothing is kept, and the answer is the classifier's own: the rules are told over in the
order in which it tries them, up to the one that won, each condition with what the event has.
The rules are graph data: https://w3id.org/fractalops/ns#ClassificationRule
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from ingest.classify import Classifier, Rule, is_named, subject_name
from ingest.decoders import Decoder
from ingest.errors import BodyError, PayloadError, PayloadUndecodable
from ingest.events import Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.otlp import JSON, PROTOBUF
from ingest.sentry_envelope import ENVELOPE

MAX_ITEMS: Final = 100
"""How many items of a payload are explained."""
CONTENT_TYPES: Final = (PROTOBUF, JSON, ENVELOPE)
"""What a payload is taken for, in this order, where nobody says what it is."""


@dataclass(frozen=True)
class Condition:
    """One condition of a rule: what it asks, whether that is so, and what the event has."""

    asks: str
    met: bool
    found: str


@dataclass(frozen=True)
class Trial:
    """A rule that was tried; it won if all of its conditions are met."""

    rule: str
    priority: int
    conditions: tuple[Condition, ...]

    @property
    def won(self) -> bool:
        return all(condition.met for condition in self.conditions)


@dataclass(frozen=True)
class Explanation:
    """An event as it is classified, the rules in the order they were tried, up to the one that won,
    and the name that its template gave (empty where no rule fits)."""

    event: Event
    trials: tuple[Trial, ...]
    name: str


def explain(event: Event, classifier: Classifier) -> Explanation:
    """Why an event has the class it gets."""
    classified = classifier.classify(event)
    trials = []
    for rule in classifier.rules_for(event.source):
        trials.append(Trial(rule.iri, rule.priority, tuple(_conditions(rule, classified))))
        if trials[-1].won:
            return Explanation(classified, tuple(trials), subject_name(rule, classified))
    return Explanation(classified, tuple(trials), "")


def explain_payload(
    payload: bytes, batch: EvidenceBatch, decoders: Mapping[str, Decoder], classifier: Classifier
) -> tuple[str, tuple[Explanation | Skipped, ...]]:
    """The source, and each of the first items of a payload explained.

    An empty ``source`` or ``content_type`` of the batch is found out: the reading that gives the
    most events is taken. Raises :class:`PayloadUndecodable` where nothing can be read.
    """
    sources = [batch.source] if batch.source else list(decoders)
    unknown = [source for source in sources if source not in decoders]
    if unknown:
        raise PayloadUndecodable(f"nothing here decodes {unknown[0]}: {', '.join(decoders)}")
    types = [batch.content_type] if batch.content_type else CONTENT_TYPES
    best: tuple[int, str, list[Event | Skipped]] = (-1, "", [])
    refused: PayloadError | BodyError | None = None
    for source in sources:
        for content_type in types:
            read = replace(batch, source=source, content_type=content_type)
            try:
                items = list(islice(decoders[source](payload, read), MAX_ITEMS))
            except (PayloadError, BodyError) as error:
                refused = refused or error
                continue
            events = sum(isinstance(item, Event) for item in items)
            if events > best[0]:
                best = (events, source, items)
    count, source, items = best
    if count < 0 or (not count and not batch.source):
        if refused is not None and batch.source:
            raise refused
        raise PayloadUndecodable(
            f"no event could be read here as any of {', '.join(sources)}; say which source it is"
        )
    return source, tuple(
        item if isinstance(item, Skipped) else explain(item, classifier) for item in items
    )


def _conditions(rule: Rule, event: Event) -> Iterator[Condition]:
    if rule.kinds:
        yield Condition(_one_of("kind", sorted(rule.kinds)), event.kind in rule.kinds, event.kind)
    if rule.names:
        named = any(is_named(wanted, event.name) for wanted in rule.names)
        yield Condition(_one_of("name", rule.names), named, event.name)
    attributes = event.attributes
    for keys in rule.present:
        found = next((f"{key}={attributes[key]}" for key in keys if attributes.get(key)), "")
        yield Condition(f"has {' or '.join(keys)}", bool(found), found)
    for keys, values in rule.equal:
        met = any(attributes.get(key) in values for key in keys)
        has = ", ".join(f"{key}={attributes[key]}" for key in keys if key in attributes)
        yield Condition(_one_of(" or ".join(keys), sorted(values)), met, has)


def _one_of(what: str, values: list[str] | tuple[str, ...]) -> str:
    return f"{what} is {' or '.join(values)}"
