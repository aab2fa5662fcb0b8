"""The question that a steward asks of product events, as SQL, and its rows.

Invariant: the answer grows with the distinct event types, pages and features in a page of facts,
not with the number of events: identifiers are taken out of paths before they are grouped. A name is
judged afterwards, by :mod:`stewards.product_names`.
Source: https://posthog.com/docs/data/events
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.events import PRODUCT_SOURCE
from stewards.fact_queries import Page, first_of, text, within
from stewards.fact_rows import Ask, rows

# What `urllib.parse.urlsplit` calls the path.
_PATH = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*)"
# As :data:`ingest.names._IDENTIFIER`, which has the last word.
_NUMBER_OR_UUID = "^(?:[0-9]+|(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}))$"
_HASH = "^(?i:[a-f]*[0-9][0-9a-f]*)$"
_TOKEN = r"^[\w-]{20,}$"

FEATURE = (
    f"if(name = '$feature_flag_called', {first_of('$feature_flag', 'feature')},"
    f" {first_of('feature')})"
)
"""What an event calls its feature."""


def _place() -> str:
    """The page that an event says it arose on, named as the classifier names a page view's."""
    url = first_of("$current_url")
    path = f"extract({url}, {text(_PATH)})"
    said = (
        f"multiIf({first_of('$pathname')} != '', {first_of('$pathname')},"
        f" {first_of('$screen_name')} != '', {first_of('$screen_name')},"
        f" {url} = '', '', {path} = '', '/', {path})"
    )
    is_identifier = (
        f"match(part, {text(_NUMBER_OR_UUID)})"
        f" OR (length(part) >= 12 AND match(part, {text(_HASH)}))"
        f" OR (match(part, {text(_TOKEN)}) AND length(replaceRegexpAll(part, '[^0-9]', '')) >= 4)"
    )
    return (
        f"arrayStringConcat(arrayMap(part -> if({is_identifier}, '{{id}}', part),"
        f" splitByChar('/', {said})), '/')"
    )


PLACE = _place()
"""Where an event arose: a path with ``{id}`` for identifiers, or the name of a screen."""


@dataclass(frozen=True)
class ProductRow:
    """Product events of a page of facts that agree in everything that matters here.

    ``subject`` is the page or the event type that classification minted; ``feature`` and ``place``
    are what the events say of themselves, empty where they don't.
    """

    subject: str
    event_class: str
    feature: str
    place: str
    service: str
    release: str
    environment: str
    first_seq: int
    first_batch: str
    events: int


def events(page: Page) -> str:
    """Columns of :class:`ProductRow`."""
    names = "subject, class, feature, place, service, release, environment"
    return f"""
SELECT subject, class, {FEATURE} AS feature, {PLACE} AS place, service, release, environment,
       min(seq) AS first_seq, argMin(batch, seq) AS first_batch, count() AS events
FROM {page.relation} WHERE {within(page, PRODUCT_SOURCE)} AND subject != ''
GROUP BY {names} ORDER BY {names}"""


def read(page: Page, ask: Ask) -> Sequence[ProductRow]:
    """Ask it. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    return rows(ProductRow, ask(events(page)))
