"""Takes personal data and secrets out of events, by rules, before they are classified and kept.

Invariant: the answer depends on the event and the rules alone, and doing it again changes nothing
but what a replacement brings in. Every text of an event that a sender chose is looked at: the keys
and values of attributes, and the columns in :data:`TEXTS`. Memory is bounded, and time follows the
length of the texts. What is percent-encoded is read decoded too, and where that is what gives
something away, it is kept decoded.
The rules: :mod:`ingest.redaction_rules`. Most events hold nothing, which one search for all rules
at once, over all texts of the event that were not seen before, finds out. It is no RE2 set: a set
that runs out of memory says that nothing matches, an expression goes on more slowly.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from ingest.attributes import MAX_VALUE, text
from ingest.events import Event
from ingest.redaction_checks import CHECKS
from ingest.redaction_rules import RedactionRule, any_of, compiled

TEXTS: Final = ("event_id", "name", "service", "release", "environment", "session")
"""The columns of an event that hold what a sender wrote."""

# Answers kept at a time; when there are more, the memory starts anew.
_REMEMBERED = 8192
_REMEMBERED_SHAPES = 1024
_REMEMBERED_CLEAN = 32_768
_LONGEST_REMEMBERED = 256
# After what a check refused, the search goes on inside it, but for what is longer than any number.
_LONGEST_NUMBER = 64


@dataclass(frozen=True)
class _Compiled:
    rule: RedactionRule
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class _OfKey:
    """What is done with the attributes of one key: ``renamed`` is the key as it may be kept,
    ``whole`` the rule that takes the value whatever it is, ``own`` the rules for such keys only."""

    key: str
    renamed: str
    key_rules: tuple[RedactionRule, ...]
    whole: RedactionRule | None
    own: frozenset[RedactionRule]


_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
# Ids that machines make: two of them must stay two, also where one reads like a card's number.
_MACHINE_ID = re.compile(
    "(?:content-)?[0-9a-f]{32,64}(?:-[0-9a-f]{16})?"
    "|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?:-[A-Z]+(?:-[0-9]+)?)?"
)
_LINKS = re.compile("[0-9a-f]{32}-[0-9a-f]{16}(?: [0-9a-f]{32}-[0-9a-f]{16})*")
_UNSEEN = _OfKey("", "", (), None, frozenset())
_Found = tuple[str, tuple[RedactionRule, ...]]


class Redactor:
    """Applies rules, in the order given. Safe to use from any thread."""

    def __init__(self, rules: Sequence[RedactionRule]) -> None:
        self._rules = tuple(rules)
        self._whole = [_compile(rule) for rule in rules if not rule.value]
        self._parts = [_compile(rule) for rule in rules if rule.value]
        self._any = any_of([part.rule.value for part in self._parts])
        self._shapes: dict[tuple[str, tuple[str, ...]], tuple[_OfKey, ...]] = {}
        self._keys: dict[tuple[str, str], _OfKey | None] = {}
        self._clean: set[str] = set()
        self._counting = threading.Lock()
        self._taken: Counter[tuple[str, str]] = Counter()
        self._answers: dict[tuple[str, frozenset[RedactionRule]], _Found] = {}

    def __reduce__(self) -> tuple[type[Redactor], tuple[Sequence[RedactionRule]]]:
        """Another process makes it anew, of the rules."""
        return Redactor, (self._rules,)

    def redact(self, event: Event) -> Event:
        """The event without what the rules take out; the same one where that is nothing."""
        attributes = event.attributes
        of_keys = self._of_keys(event.kind, tuple(attributes))
        found = self._finds_something(event)
        if not of_keys and not found:
            return event
        if not found:
            # Only whole values go, and keys; no text of this event needs a closer look.
            return self._settled(event, {}, of_keys, attributes, [])
        fired: list[RedactionRule] = []
        columns: dict[str, Any] = {}
        for name in TEXTS:
            value = getattr(event, name)
            if name == "event_id" and _MACHINE_ID.fullmatch(value):
                continue
            kept, rules = self._text(value, frozenset())
            if kept != value:
                columns[name] = kept
                fired += rules
        special = {of_key.key: of_key for of_key in of_keys}
        values = {}
        for key, value in attributes.items():
            of_key = special.get(key)
            if of_key is None or of_key.whole is None:
                own = of_key.own if of_key else frozenset()
                values[key], rules = self._text(value, own)
                fired += rules
            else:
                values[key] = value
        return self._settled(event, columns, of_keys, values, fired)

    def _finds_something(self, event: Event) -> bool:
        """Whether some rule may find something in some text of an event, whatever its keys are."""
        clean = self._clean
        said = (event.name, event.service, event.release, event.environment, event.session)
        is_machines = _MACHINE_ID.fullmatch(event.event_id) is not None
        if is_machines and clean.issuperset(event.attributes.values()) and clean.issuperset(said):
            return False
        unknown = [text for text in (*said, *event.attributes.values()) if text not in clean]
        if not is_machines:
            unknown.append(event.event_id)
        texts = "\n".join(unknown)
        if self._any.search(_bytes(texts)) is not None or (
            _ENCODED.search(texts) and self._any.search(_bytes(unquote(texts))) is not None
        ):
            return True
        if len(clean) >= _REMEMBERED_CLEAN:
            clean.clear()
        clean.update(text for text in unknown if len(text) <= _LONGEST_REMEMBERED)
        return False

    def taken(self) -> Counter[tuple[str, str]]:
        """How often something was taken out since this was last asked, by project and rule."""
        with self._counting:
            taken, self._taken = self._taken, Counter()
        return taken

    def text(self, value: str) -> str:
        """A text that belongs to no attribute, without what the rules take out of any."""
        return self._text(value, frozenset())[0]

    def document(self, value: str) -> str:
        """A text of any length without what the rules take out of any; nothing else of it goes."""
        return self._searched(value, frozenset(), 0)[0]

    def _settled(
        self,
        event: Event,
        columns: dict[str, Any],
        of_keys: Iterable[_OfKey],
        values: Any,
        fired: list[RedactionRule],
    ) -> Event:
        """The event with these columns and values, and with what is done by key."""
        attributes = dict(values)
        for of_key in of_keys:
            key, whole = of_key.key, of_key.whole
            value = attributes[key]
            if whole is not None and value and value != whole.replacement:
                attributes[key] = whole.replacement
                fired.append(whole)
            if of_key.key_rules:
                fired += of_key.key_rules
                attributes[of_key.renamed] = attributes.pop(key)
        if not fired:
            return event
        with self._counting:
            for rule in fired:
                self._taken[event.project, rule.iri] += 1
        changed = event.with_attributes(attributes)
        return changed._replace(**columns) if columns else changed

    def _of_keys(self, kind: str, keys: tuple[str, ...]) -> tuple[_OfKey, ...]:
        """What is to be done by key, of those keys where it is something."""
        shape = kind, keys
        known = self._shapes.get(shape)
        if known is None:
            each = (self._of_key(kind, key) for key in keys)
            known = tuple(of_key for of_key in each if of_key is not None)
            if len(self._shapes) >= _REMEMBERED_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = known
        return known

    def _of_key(self, kind: str, key: str) -> _OfKey | None:
        asked = kind, key
        known = self._keys.get(asked, _UNSEEN)
        if known is not _UNSEEN:
            return known
        data = _bytes(key)

        def concerns(entry: _Compiled) -> bool:
            kinds = entry.rule.kinds
            return (not kinds or kind in kinds) and (
                entry.key is None or entry.key.fullmatch(data) is not None
            )

        whole = next((entry.rule for entry in self._whole if concerns(entry)), None)
        own = frozenset(
            entry.rule
            for entry in self._parts
            if (entry.key is not None or entry.rule.kinds) and concerns(entry)
        )
        renamed, key_rules = self._text(key, frozenset())
        of_key = None
        if whole is not None or own or renamed != key:
            of_key = _OfKey(key, renamed, key_rules, whole, own)
        if len(self._keys) >= _REMEMBERED:
            self._keys.clear()
        self._keys[asked] = of_key
        return of_key

    def _text(self, value: str, own: frozenset[RedactionRule]) -> _Found:
        if len(value) > _LONGEST_REMEMBERED:
            return self._searched(value, own)
        asked = value, own
        known = self._answers.get(asked)
        if known is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            known = self._answers[asked] = self._searched(value, own)
        return known

    def _searched(
        self, value: str, own: frozenset[RedactionRule], longest: int = MAX_VALUE
    ) -> _Found:
        if _ENCODED.search(value):
            kept, fired = self._replaced(unquote(value), own, longest)
            if fired:
                return kept, fired
        return self._replaced(value, own, longest)

    def _replaced(self, value: str, own: frozenset[RedactionRule], longest: int) -> _Found:
        if not value or _LINKS.fullmatch(value):
            return value, ()
        data = _bytes(value)
        if self._any.search(data) is None:
            return value, ()
        fired: list[RedactionRule] = []
        for part in self._parts:
            everywhere = part.key is None and not part.rule.kinds
            if everywhere or part.rule in own:
                data, count = _without(data, part)
                fired += [part.rule] * count
        if not fired:
            return value, ()
        kept = data.decode(errors="replace")
        return text(kept, longest) if longest else kept, tuple(fired)


def _compile(rule: RedactionRule) -> _Compiled:
    return _Compiled(
        rule,
        compiled(rule.key) if rule.key else None,
        compiled(rule.value) if rule.value else None,
    )


def _without(data: bytes, part: _Compiled) -> tuple[bytes, int]:
    """A text without what a rule finds in it, and how often it did."""
    check = CHECKS.get(part.rule.check)
    replacement = part.rule.replacement.encode()
    pieces: list[bytes] = []
    kept_to = place = 0
    while place <= len(data):
        match = part.value.search(data, place)
        if match is None:
            break
        spans = [match.span(number) for number in range(1, part.value.groups + 1)]
        start, end = next((span for span in spans if span[0] >= 0), match.span())
        found = data[start:end]
        if check is not None:
            size = check(found.decode(errors="replace"))
            # What follows the length in characters is in bytes the same for what checks accept.
            end_of_kept = start + len(found.decode(errors="replace")[:size].encode())
            if not size:
                place = start + 1 if len(found) <= _LONGEST_NUMBER else max(end, place + 1)
                continue
            end = end_of_kept
        if end <= start or found == replacement:
            place = max(end, place + 1)
            continue
        pieces += [data[kept_to:start], replacement]
        kept_to = place = end
    count = len(pieces) // 2
    return b"".join([*pieces, data[kept_to:]]), count


def _bytes(value: str) -> bytes:
    return value.encode(errors="replace")
