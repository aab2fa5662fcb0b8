"""One push: a reading of the catalog, said in DataHub's terms and delivered.

Invariant: a reading is remembered before anything of it is sent, an entity once all of it was
taken or refused, and the head once everything else is done. An entity that is what it was is
not sent again. A URN is removed only where no entity of the graph stands behind it. Lineage that
was told and is gone is told to be gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.metadata.schema_classes import MetadataChangeProposalClass
from pydantic import ValidationError

from fractalops_datahub.catalog import Catalog, CatalogError, Page
from fractalops_datahub.config import FractalOpsConfig
from fractalops_datahub.kept import Kept
from fractalops_datahub.names import NAMESPACE
from fractalops_datahub.speaker import LARGE, SMALL, Speaker, recipe
from stewards.datahub_delivery import Delivery, Parcel, Refusal
from stewards.datahub_push import Life, Pushed, Source, Stopped, Target
from stewards.datahub_session import Session, no_lineage, raw
from stewards.datahub_state import (
    MOST_DEAD,
    DeadLetter,
    Document,
    PushState,
    Reading,
    Told,
    without,
)
from stewards.errors import PushLater, PushNeedsPerson

SAVED_EVERY = 10.0
"""Seconds of work that a killed push does again at most, beside the page in hand."""
MOST_LOST, FEW = 0.75, 20
"""This part of the catalog isn't taken for gone at once, unless it is that few entities."""
PAGE, LONGEST_PAGE = 500, 45.0
"""Entities of a page, and the seconds that it may take."""

_PASSING = frozenset({408, 429})
_LINEAGE = frozenset({"upstreamLineage", "dataJobInputOutput"})


@dataclass(frozen=True, slots=True)
class _Sending:
    """An entity that is on its way: the URNs that it speaks of, those that are its own, and whether
    it says lineage of these."""

    iri: str
    digest: str
    said: frozenset[str]
    own: frozenset[str]
    lineage: bool


class Push:
    """Runs one push; see :func:`stewards.datahub_push.push`."""

    def __init__(
        self,
        source: Source,
        target: Target,
        load: Callable[[], Document | None],
        save: Callable[[Document], None],
        life: Life,
    ) -> None:
        self._config = _config(source)
        self._recipe = recipe(self._config)
        self._target = target
        document = load()
        self._state = PushState.of(document, target.url)
        self._others = without(document, target.url)
        self._save = save
        self._life = life
        self._session = Session(
            target.url,
            target.token,
            target.timeout,
            secrets=(target.token or "", source.token),
            alive=self._beat,
            wait=lambda seconds: life.rest(seconds, self._details()),
            random=life.random,
        )
        self._delivery = Delivery(
            self._session.emit, self._session.probe, self._accepted, self._refused
        )
        self._sending: list[_Sending] = []
        self._head = -1
        self._emitted: set[str] = set()
        self._removed: set[str] = set()
        self._saved = life.monotonic()

    def run(self, *, again: bool, whole: bool) -> Pushed:
        """Pushes to the end, or as far as it is let."""
        started = self._life.monotonic()
        finished = True
        with self._catalog() as catalog:
            try:
                self._beat()
                self._resume(catalog, whole)
                self._begin(catalog, again, whole)
            except Stopped:
                finished = False
            except CatalogError as error:
                raise _unreadable(error) from error
            finally:
                self._session.close()
        return Pushed(
            -1 if self._state.head is None else self._state.head,
            len(self._emitted),
            len(self._removed),
            len(self._state.dead),
            self._life.monotonic() - started,
            finished,
        )

    # --- which reading

    def _resume(self, catalog: Catalog, whole: bool) -> None:
        """Ends the reading that another push began."""
        reading = self._state.reading
        if reading is None or whole or reading.recipe != self._recipe:
            return
        try:
            if reading.next is None:
                first = catalog.first(LARGE, since=reading.since, at=reading.head)
            else:
                first = Page(reading.head, reading.since is None, [], [], reading.next)
            self._read(catalog, reading, first)
        except CatalogError as error:
            # That head isn't there any more: the platform was put back to an earlier day.
            if error.status not in (400, 404, 410):
                raise
            self._state.reading = None
            self._state.head = None

    def _begin(self, catalog: Catalog, again: bool, whole: bool) -> None:
        """Reads what there is that DataHub wasn't told."""
        state = self._state
        again = again and bool(state.dead)
        # A reading by another recipe that came to no end may have told anything.
        other = state.recipe != self._recipe or state.reading is not None
        since = None if other or again or whole else state.head
        first = catalog.first(LARGE, since=since)
        if since is not None and first.head == since and not first.complete:
            return
        if again or whole:
            self._renew(everything=whole)
        if first.complete:
            state.mark += 1
        reading = Reading(
            first.head, self._recipe, None if first.complete else since, confirmed=whole
        )
        state.reading = reading
        self._read(catalog, reading, first)

    def _renew(self, *, everything: bool) -> None:
        """What DataHub refused is new to it, or everything is."""
        state = self._state
        for letter in list(state.dead.values()):
            if not letter.iri:
                state.stale.add(letter.urn)
        for iri in list(state.told) if everything else {it.iri for it in state.dead.values()}:
            if iri in state.told:
                state.told[iri] = replace(state.told[iri], digest="")

    # --- reading

    def _read(self, catalog: Catalog, reading: Reading, first: Page) -> None:
        self._head = reading.head
        with self._keeping():
            for iri in first.gone:
                self._state.forget(iri)
            if reading.since is None or first.items or first.next:
                self._tell(catalog, reading, first)
            if reading.since is None:
                self._miss(reading)
            self._remove()
            self._state.head, self._state.recipe = reading.head, reading.recipe
            self._state.reading = None

    def _tell(self, catalog: Catalog, reading: Reading, first: Page) -> None:
        self._keep()
        few = catalog.all(SMALL, at=reading.head)
        kept = Kept(None if self._config.overwrite else self._session.graph)
        speaker = Speaker(self._config, few, kept)
        if reading.since is None:
            self._say(NAMESPACE, "", speaker.glossary)
            for item in speaker.small():
                self._say(item["id"], speaker.basis(item), partial(speaker.say, item))
        for page in catalog.pages(first):
            for item in page.items:
                if speaker.wants(item):
                    self._say(item["id"], speaker.basis(item), partial(speaker.alone, item))
                elif reading.since is not None:
                    self._state.forget(item["id"])
            self._flush()
            if page.next is not None:
                self._state.reading = replace(reading, next=page.next)
                if self._life.monotonic() - self._saved >= SAVED_EVERY:
                    self._keep()
            self._beat()

    def _say(self, iri: str, basis: str, says: Callable[[], Iterable[MetadataWorkUnit]]) -> None:
        """Sends what there is to say of an entity, unless what it follows from is what it was."""
        digest = hashlib.sha256(f"{self._recipe} {basis}".encode()).hexdigest()[:16]
        told = self._state.told.get(iri)
        if told is not None and told.digest == digest:
            self._state.told[iri] = replace(told, mark=self._state.mark)
            return
        try:
            said = self._session.ask(lambda: list(says()))
        except Refusal as refusal:
            self._refused(Parcel(iri, iri, ()), refusal)
            return
        self._state.dead.pop(iri, None)
        if not said:
            self._state.forget(iri)
            return
        proposals: dict[str, list[MetadataChangeProposalClass]] = {}
        own: set[str] = set()
        for unit in said:
            proposals.setdefault(unit.get_urn(), []).append(raw(unit))
            if unit.is_primary_source:
                own.add(unit.get_urn())
        lineage = any(it.aspectName in _LINEAGE for urn in own for it in proposals[urn])
        removable = []
        for urn in sorted(own):
            if told is not None and told.lineage and not lineage:
                proposals[urn] += no_lineage(urn)
            status = self._session.status(urn, removed=False)
            proposals[urn] += status
            removable += [urn] if status else []
        size = sum(map(len, proposals.values()))
        if self._delivery.full(size):
            self._flush()
        for urn, of_one in proposals.items():
            self._delivery.add(Parcel(urn, iri, tuple(of_one)))
        self._sending.append(
            _Sending(iri, digest, frozenset(proposals), frozenset(removable), lineage)
        )

    def _flush(self) -> None:
        self._delivery.flush()
        for sent in self._sending:
            before = self._state.told.get(sent.iri)
            known = set() if before is None else set(before.urns)
            # What is still spoken of, though another source brings it now, isn't ours to remove.
            self._state.stale.update(known - sent.said)
            # What DataHub never took isn't there.
            own = sent.own - (self._state.dead.keys() - known)
            # Where DataHub refused what took it back, it is to be taken back yet.
            refused = not self._state.dead.keys().isdisjoint(sent.own)
            lineage = sent.lineage or (refused and before is not None and before.lineage)
            self._state.told[sent.iri] = Told(
                sent.digest, self._state.mark, tuple(sorted(own)), lineage
            )
        self._sending = []

    # --- what is gone

    def _miss(self, reading: Reading) -> None:
        """What a reading of everything didn't see is gone."""
        told = self._state.told
        lost = [iri for iri, it in told.items() if it.mark != self._state.mark]
        if len(lost) > max(FEW, MOST_LOST * len(told)) and not reading.confirmed:
            self._state.reading = None
            raise PushNeedsPerson(
                f"{len(lost)} of {len(told)} entities that DataHub was told of are not in the"
                " catalog any more: see that the token may still read what it read, and that the"
                " projects are the right ones; if they are gone indeed, push everything (--whole)"
            )
        for iri in lost:
            self._state.forget(iri)

    def _remove(self) -> None:
        state = self._state
        state.stale -= state.alive(state.stale)
        for urn in sorted(state.stale):
            proposals = self._session.status(urn, removed=True)
            if self._delivery.full(len(proposals)):
                self._flush()
            self._delivery.add(Parcel(urn, "", tuple(proposals)))
        if state.stale:
            self._flush()
            state.stale = set()

    # --- what became of it

    def _accepted(self, parcel: Parcel) -> None:
        (self._emitted if parcel.iri else self._removed).add(parcel.urn)
        self._state.dead.pop(parcel.urn, None)

    def _refused(self, parcel: Parcel, refusal: Refusal) -> None:
        dead = self._state.dead
        before = dead.pop(parcel.urn, None)
        if len(dead) >= MOST_DEAD:
            raise PushNeedsPerson(
                f"DataHub at {self._target.url} refuses more than {MOST_DEAD} entities, the last"
                f" one with {refusal.status}: {refusal.error}"
            )
        dead[parcel.urn] = DeadLetter(
            parcel.urn,
            parcel.iri,
            refusal.status,
            refusal.error,
            self._head,
            1 if before is None else before.attempts + 1,
        )

    def _beat(self) -> None:
        self._life.beat(self._details())

    def _details(self) -> dict[str, int]:
        return {"head": self._head, "emitted": len(self._emitted), "removed": len(self._removed)}

    # --- what is remembered

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        """Whatever ends this, what was done is remembered."""
        try:
            yield
        finally:
            self._keep()

    def _keep(self) -> None:
        self._save(self._state.within(self._others, self._target.url))
        self._saved = self._life.monotonic()

    def _catalog(self) -> Catalog:
        return Catalog(
            self._config.server,
            self._config.token.get_secret_value(),
            page_size=min(self._config.page_size, PAGE),
            # Nobody hears that the push lives meanwhile; the next push goes on from there.
            timeout=min(self._config.timeout, LONGEST_PAGE),
            restricted=self._config.restricted,
            retries=1,
        )


def _config(source: Source) -> FractalOpsConfig:
    given = {**source.options, "server": source.url, "token": source.token}
    try:
        return FractalOpsConfig.model_validate(given)
    except ValidationError as error:
        # Without the values, for one of them is the token.
        said = "; ".join(
            f"{'.'.join(map(str, it['loc']))}: {it['msg']}"
            for it in error.errors(include_input=False, include_url=False)
        )
        raise PushNeedsPerson(f"the options of the push can't be used: {said}") from None


def _unreadable(error: CatalogError) -> PushLater | PushNeedsPerson:
    passing = error.status is None or error.status in _PASSING or error.status >= 500
    return (PushLater if passing else PushNeedsPerson)(str(error))
