"""Reads the catalog of the platform, page by page.

Invariant: no more than two pages are held, the one that is used and the one that is fetched
meanwhile; all are of one head. An answer that isn't the catalog's ends the reading, and the error
says what to do.
Source: docs/catalog.md of the platform
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

Item: TypeAlias = dict[str, Any]

RETRIES = 4


class CatalogError(Exception):
    """The catalog can't be read; the text says what to do.

    ``status`` is what the platform answered with, ``None`` where no answer came.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Page:
    """One page: entities, those that are gone since, and where the next one is."""

    head: int
    complete: bool
    items: list[Item]
    gone: list[str]
    next: str | None


class Catalog:
    """A client of ``GET /catalog``; use it as a context manager. Without ``restricted`` it reads
    what everybody may read, whatever the token may."""

    def __init__(
        self,
        server: str,
        token: str,
        *,
        page_size: int,
        timeout: float,
        restricted: bool = True,
        retries: int = RETRIES,
    ) -> None:
        self._server = server
        self._restricted = restricted
        self._page_size = page_size
        self._timeout = timeout
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.headers["Accept"] = "application/json"
        retry = Retry(
            retries,
            backoff_factor=0.5,
            status_forcelist=(429, 502, 503, 504),
            allowed_methods=("GET",),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def first(
        self, kinds: tuple[str, ...] = (), since: int | None = None, at: int | None = None
    ) -> Page:
        """The first page. Raises :class:`CatalogError`."""
        parameters: dict[str, Any] = {"limit": self._page_size}
        if kinds:
            parameters["kind"] = kinds
        if since is not None:
            parameters["since"] = since
        if at is not None:
            parameters["at"] = at
        if not self._restricted:
            parameters["unrestricted"] = "true"
        return self._get("/catalog", parameters)

    def pages(self, first: Page) -> Iterator[Page]:
        """This page and all that follow it. Raises :class:`CatalogError`."""
        with ThreadPoolExecutor(1, thread_name_prefix="catalog") as ahead:
            page = first
            while page.next is not None:
                following = ahead.submit(self._get, page.next, {})
                yield page
                page = following.result()
            yield page

    def all(self, kinds: tuple[str, ...], at: int) -> list[Item]:
        """All entities of a few kinds. Raises :class:`CatalogError`."""
        return [item for page in self.pages(self.first(kinds, at=at)) for item in page.items]

    def _get(self, path: str, parameters: Mapping[str, Any]) -> Page:
        if not path.startswith("/"):
            raise CatalogError(f"the next page is at {path[:80]!r}, which is not of this server")
        try:
            # A redirect could carry the token elsewhere.
            answer = self._session.get(
                self._server + path,
                params=parameters,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise CatalogError(
                f"{self._server} does not answer ({type(error).__name__}): check 'server', and that"
                " the platform runs"
            ) from error
        if answer.status_code != 200:
            raise CatalogError(
                f"{self._server} answered {answer.status_code}: {_reason(answer)}",
                answer.status_code,
            )
        try:
            document = answer.json()
            return Page(
                head=int(document["head"]),
                complete=bool(document["complete"]),
                items=list(document["items"]),
                gone=list(document["gone"]),
                next=document["next"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(
                f"{self._server} answered with something else than a catalog: check 'server'",
                answer.status_code,
            ) from error


def _reason(answer: requests.Response) -> str:
    """What a problem document says, or the little there is."""
    try:
        document = answer.json()
        return f"{document['title']}. {document['detail']}"[:500]
    except (ValueError, KeyError, TypeError):
        return "check 'server', and that the platform has a catalog"
