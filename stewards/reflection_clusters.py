"""What stayed unknown, as clusters of stored facts.

Invariant: the answer of the warehouse grows with the distinct names of what is unknown, up to
``MAX_NAMES``, and not with traffic. A cluster is all facts of one source and kind whose names are
the same once identifiers are taken out of them. Values in it were redacted before they were stored;
names that no rule could hold, or that disguise themselves, are counted and make no cluster. What is
proposed stays in the journal for good, so of values only those are told that all facts of a cluster
share and that are a short word or number; of any other its shape.

Unknown is what no rule fits, and what only a fallback does (``fo:isFallback``).
Source: https://clickhouse.com/docs/sql-reference/aggregate-functions/reference/grouparraysorted
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingest.classify import Rule
from ingest.names import low_cardinality
from proofs.secret_text import holds_secret
from stewards.errors import UnexpectedAnswer
from stewards.fact_queries import text
from stewards.fact_rows import Ask, rows
from stewards.names import shown

MIN_FACTS = 50
"""Fewer may be a slip; a rule is for good."""
MAX_NAMES = 500
MAX_NAME = 120
EXAMPLES = 3
SHOWN_VALUE = 64
BATCHES = 8
_SHORTEST_BEGINNING = 3
_ID = "{id}"
# A word of the program or a small number, such as "web", "1.4.2" or "true".
_TELLING_NOTHING = re.compile(r"[a-z][a-z0-9_.-]{0,31}|[0-9]{1,4}(?:\.[0-9]{1,4}){0,2}")
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
OURS = "fractalops."
"""What the platform adds to a fact begins with this: pseudonyms of persons are among it."""

UNFIT = "names of unknown events that no rule can hold"
SECRET = "names of unknown events that look like a secret"


@dataclass(frozen=True)
class Row:
    """Facts of one name; ``keys`` are the attributes that all of them have, ``least`` and ``most``
    the first and the last value of each in JSON, ``examples`` the first facts as batch number,
    event id and attributes in JSON."""

    source: str
    kind: str
    name: str
    facts: int
    trusted: int
    keys: list[str]
    batches: list[str]
    last: str
    least: str
    most: str
    examples: list[list[object]]


@dataclass(frozen=True)
class Example:
    """A stored fact; values are cut."""

    event_id: str
    name: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """Facts that are alike. ``when_name`` is what ``fo:whenName`` says of their names, ``last`` the
    receipt of the newest in ISO 8601 (UTC), ``shared`` the values by key that all of them have."""

    source: str
    kind: str
    name: str
    when_name: str
    facts: int
    trusted: int
    keys: tuple[str, ...]
    batches: tuple[str, ...]
    last: str
    shared: Mapping[str, str]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Clusters:
    """What most trusted senders sent first, and what was set aside, counted by reason."""

    clusters: tuple[Cluster, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)


def fallbacks(rules: Iterable[Rule]) -> frozenset[str]:
    """The rules that are there for what no other rule knows."""
    return frozenset(rule.iri for rule in rules if rule.fallback)


def question(project: str, general: Collection[str]) -> str:
    """Columns of :class:`Row`. ``general`` are the rules whose facts are unknown all the same."""
    unknown = "class = ''"
    if general:
        unknown = f"({unknown} OR rule IN ({', '.join(map(text, sorted(general)))}))"
    cut = f"mapApply((key, value) -> (key, leftUTF8(value, {SHOWN_VALUE:d})), attributes)"
    return f"""
SELECT source, kind, name, count() AS facts, countIf(trusted) AS from_trusted,
       arraySort(groupArrayIntersect(mapKeys(attributes))) AS keys,
       groupArraySorted({BATCHES:d})(DISTINCT batch) AS batches,
       formatDateTime(max(received), '%Y-%m-%dT%H:%i:%SZ') AS last,
       toJSONString(minMap({cut})) AS least, toJSONString(maxMap({cut})) AS most,
       groupArraySorted({EXAMPLES:d})((seq, event_id, toJSONString({cut}))) AS examples
FROM events WHERE project = {text(project)} AND {unknown}
GROUP BY source, kind, name
ORDER BY from_trusted DESC, facts DESC, source, kind, name LIMIT {MAX_NAMES:d}"""


def find(project: str, general: Collection[str], ask: Ask) -> Clusters:
    """Ask for it. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    return gathered(rows(Row, ask(question(project, general))))


def gathered(found: Sequence[Row]) -> Clusters:
    """The clusters of these rows that are large enough, the same whatever the order of the rows."""
    set_aside: Counter[str] = Counter()
    alike: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in found:
        name = low_cardinality(row.name)
        when_name = _when_name(row.name, name)
        if holds_secret(row.name):
            set_aside[SECRET] += row.facts
        elif not when_name:
            set_aside[UNFIT] += row.facts
        else:
            alike.setdefault((row.source, row.kind, name, when_name), []).append(row)
    made = (_cluster(key, group) for key, group in alike.items())
    large = [cluster for cluster in made if cluster.facts >= MIN_FACTS]
    order = sorted(large, key=lambda c: (-c.trusted, -c.facts, c.source, c.kind, c.when_name))
    return Clusters(tuple(order), dict(set_aside))


def _when_name(raw: str, name: str) -> str:
    """What a rule asks of the name: the name itself or, where identifiers differ, its beginning;
    empty where no rule can tell it."""
    if not is_plain(raw) or len(raw) > MAX_NAME:
        return ""
    if name == raw:
        return raw
    beginning = name.partition(_ID)[0]
    return f"{beginning}*" if len(beginning.strip()) >= _SHORTEST_BEGINNING else ""


_MARKUP = frozenset('<>{}[]`|\\*"')


def is_plain(value: str) -> bool:
    """Whether a text is one line without anything that could be taken for markup."""
    return bool(value) and shown(value) == value and not _MARKUP & set(value)


def _cluster(key: tuple[str, str, str, str], group: list[Row]) -> Cluster:
    source, kind, name, when_name = key
    group = sorted(group, key=lambda row: row.name)
    keys = set(group[0].keys).intersection(*(row.keys for row in group))
    examples = sorted(
        ((example, row.name) for row in group for example in row.examples),
        key=lambda item: (str(item[0][0]).zfill(20), str(item[0][1])),
    )
    return Cluster(
        source,
        kind,
        name,
        when_name,
        sum(row.facts for row in group),
        sum(row.trusted for row in group),
        tuple(sorted(keys)),
        tuple(sorted({batch for row in group for batch in row.batches})[:BATCHES]),
        max(row.last for row in group),
        _shared(group, keys),
        tuple(_example(example, row_name) for example, row_name in examples[:EXAMPLES]),
    )


def _shared(group: list[Row], keys: set[str]) -> dict[str, str]:
    bounds = [_object(bound) for row in group for bound in (row.least, row.most)]
    return {
        key: bounds[0][key]
        for key in sorted(keys)
        if len({bound.get(key) for bound in bounds}) == 1
        and _TELLING_NOTHING.fullmatch(bounds[0][key])
        and not key.startswith(OURS)
    }


def shape(value: str) -> str:
    """What a value is like, without telling it."""
    if value in ("true", "false"):
        return "true or false"
    if _NUMBER.fullmatch(value):
        return "a number"
    return "a structure" if value[:1] in ("{", "[") else "a text"


def _object(text_: str) -> dict[str, str]:
    try:
        read = json.loads(text_)
        return {str(key): str(value) for key, value in sorted(read.items())}
    except (AttributeError, ValueError) as error:
        raise UnexpectedAnswer(f"/facts gave attributes that can't be read: {error}") from error


def _example(told: Sequence[object], name: str) -> Example:
    try:
        _, event_id, attributes = told
        return Example(str(event_id), name, _object(str(attributes)))
    except ValueError as error:
        raise UnexpectedAnswer(f"/facts gave an example that can't be read: {error}") from error
