"""``GET /catalog``: what there is, page by page, for catalogs that pull.

Invariant: all pages of one reading are of one head, which the cursor names; a page holds nothing
that the caller could not read by SPARQL at that head. With ``since`` come the entities that changed
after that head alone, or all of them where that can't be told: ``complete`` says which. With
``unrestricted`` it is what everybody in the organisation may read, whoever asks.
Specification: https://www.w3.org/TR/vocab-dcat-3/, https://www.rfc-editor.org/rfc/rfc8288
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from graph_api import catalog_dcat, negotiate
from graph_api.catalog_journal import CatalogJournal
from graph_api.catalog_page import KINDS
from graph_api.endpoint import (
    Authenticates,
    Endpoint,
    bad_parameter,
    head_parameter,
    pairs,
    single,
)
from graph_api.query_answer import Answer, send_answer
from graph_api.query_service import QueryService, Reader, Reading

PATH = "/catalog"
RDF_TYPES = ("text/turtle", "application/ld+json", "application/n-triples")
TYPES = ("application/json", *RDF_TYPES)

USUAL_LIMIT = 1_000
MOST_LIMIT = 5_000
"""Entities on a page."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins, and of which reading it is one."""

    kinds: tuple[str, ...]
    at: int | None = None
    since: int | None = None
    after: tuple[str, str] | None = None
    unrestricted: bool = False

    def cursor(self) -> str:
        members = [self.kinds, self.at, self.since, self.after, self.unrestricted]
        text = json.dumps(members, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()

    @staticmethod
    def of(cursor: str) -> _Place:
        """Reads a cursor. Raises :class:`graph_api.problems.Problem`."""
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            kinds, at, since, (kind, iri), unrestricted = json.loads(text)
            if not set(kinds) <= set(KINDS) or kind not in kinds or not isinstance(iri, str):
                raise ValueError("it names no kind of this catalog")
            if not _is_head(at) or not (since is None or _is_head(since)):
                raise ValueError("it names no head")
        except (ValueError, TypeError, binascii.Error, RecursionError) as error:
            raise bad_parameter(
                "cursor", "it was not made here; take it from 'next', or begin without one"
            ) from error
        return _Place(tuple(kinds), at, since, (kind, iri), bool(unrestricted))


@dataclass(frozen=True, slots=True)
class _Anybody:
    """A caller who reads no restricted graph, whatever they may read."""

    principal: str
    hidden_graphs: frozenset[str]


class CatalogEndpoint(Endpoint):
    """Pages of the catalog as JSON or as RDF; ``restricted`` gives the graphs that are."""

    def __init__(
        self,
        service: QueryService,
        authenticator: Authenticates,
        journal: CatalogJournal,
        restricted: Callable[[], frozenset[str]],
    ) -> None:
        super().__init__(service, authenticator)
        self._journal = journal
        self._restricted = restricted

    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        parameters = pairs(scope["query_string"], what="the query string")
        media_type = negotiate.required(headers.get("accept"), TYPES)
        place = _place(parameters, media_type)
        limit = head_parameter(parameters, "limit")
        limit = USUAL_LIMIT if limit is None else limit
        if not 1 <= limit <= MOST_LIMIT:
            raise bad_parameter("limit", f"a page has 1 to {MOST_LIMIT} entities")
        if place.unrestricted:
            caller = _Anybody(caller.principal, caller.hidden_graphs | self._restricted())
        if place.at is None and place.since is not None:
            place = replace(place, at=await self._head(caller, receive))
        only = gone = None
        if place.since is not None and place.at is not None:
            touched = await asyncio.to_thread(
                self._journal.touched, place.since, place.at, caller.hidden_graphs
            )
            if touched is not None:
                only, gone = touched.iris, touched.gone
        reading = Reading(
            "catalog",
            _wanted(place, limit, only, gone),
            graph_type=media_type,
            at=place.at,
        )
        answer = await self.service.read(caller, reading, receive, headers.get("if-none-match"))
        if answer.body is None:
            await send_answer(answer, scope, send)
            return
        body, links = await asyncio.to_thread(
            self._page, answer, place, limit, media_type, only is None
        )
        whole = Answer(answer.head, answer.etag, media_type, body, size=len(body))
        await send_answer(whole, scope, send, links)

    async def _head(self, caller: Reader, receive: Receive) -> int:
        """The head to read at: the newest, and no older than the caller's own last commit."""
        wanted = _wanted(_Place(()), 0, None, None)
        return (await self.service.read(caller, Reading("catalog", wanted), receive)).head

    def _page(
        self, answer: Answer, place: _Place, limit: int, media_type: str, complete: bool
    ) -> tuple[bytes, dict[str, str]]:
        page: dict[str, Any] = json.loads(answer.read())
        items = page["items"]
        self._journal.add_proofs(items, answer.head)
        for item in items:
            del item["graph"]
        following = None
        if page["next"] is not None:
            kind, iri = page["next"]
            cursor = replace(place, at=answer.head, after=(kind, iri)).cursor()
            following = f"{PATH}?limit={limit}&cursor={cursor}"
        links = {} if following is None else {"Link": f'<{following}>; rel="next"'}
        if media_type != "application/json":
            return catalog_dcat.render(items, self.service.ids, answer.head, media_type), links
        document = {
            "head": answer.head,
            "base": self.service.ids.base,
            "since": place.since,
            "complete": complete,
            "items": items,
            "gone": page["gone"],
            "next": following,
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), links


def _place(parameters: list[tuple[str, str]], media_type: str) -> _Place:
    """Where the page begins that these parameters ask for."""
    offered = tuple(KINDS) if media_type == "application/json" else catalog_dcat.KINDS
    cursor = single(parameters, "cursor")
    if cursor is not None:
        if any(name in ("kind", "since", "at", "unrestricted") for name, _ in parameters):
            raise bad_parameter(
                "cursor", "it stands for kind, since, at and unrestricted, which go without it"
            )
        place = _Place.of(cursor)
        if not set(place.kinds) <= set(offered):
            raise bad_parameter("cursor", "it is of pages in another format")
        return place
    kinds = tuple(dict.fromkeys(value for name, value in parameters if name == "kind"))
    for kind in kinds:
        if kind not in offered:
            raise bad_parameter("kind", f"{kind[:40]!r} is none of {', '.join(offered)}")
    since, at = head_parameter(parameters, "since"), head_parameter(parameters, "at")
    unrestricted = single(parameters, "unrestricted")
    if unrestricted not in (None, "true", "false"):
        raise bad_parameter("unrestricted", f"{unrestricted[:40]!r} is neither true nor false")
    return _Place(kinds or offered, at, since, unrestricted=unrestricted == "true")


def _wanted(
    place: _Place, limit: int, only: tuple[str, ...] | None, gone: tuple[str, ...] | None
) -> str:
    """The page, as :func:`graph_api.catalog_page.page` is told of it."""
    return json.dumps(
        {
            "kinds": place.kinds,
            "limit": limit,
            "after": place.after,
            "only": only,
            # They come once, with the first page.
            "gone": gone if gone is not None and place.after is None else (),
        }
    )


def _is_head(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**60


def build_routes(
    service: QueryService,
    authenticator: Authenticates,
    journal: CatalogJournal,
    restricted: Callable[[], frozenset[str]],
) -> list[BaseRoute]:
    """The route of the catalog; ``restricted`` gives the graphs that are."""
    return [Route(PATH, CatalogEndpoint(service, authenticator, journal, restricted))]
