"""Where sources disagree on a data asset.

Invariant: :func:`conflicts` is a pure function of the rows, the same in whatever order they come. A
conflict is what can't all be so; that a source is silent is none, but for a traced program that is
seen at a store and never at the data asset there that its job names. Nobody is put right.

A job and a service are one program where they have exactly the same name: nothing else that both
sources say tells it.
Source: https://openlineage.io/docs/spec/facets/dataset-facets/
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ontology.dataset_names import of_openlineage
from ontology.ids import Ids
from stewards.column_types import one_name
from stewards.conflict_queries import AccessRow, StatementRow
from stewards.fact_queries import SOURCE as SPAN_SOURCE
from stewards.job_queries import SOURCE as RUN_SOURCE
from stewards.names import MAX_NAME, shown

MAX_CLAIMS = 16
"""Claims of one conflict; what more sources say is no news."""
MAX_COLUMNS = 10
"""Columns of one data asset whose types are told apart."""
NOT_SEEN = "is not seen at it"

ACCESS, DIRECTION, TYPE, OWNER, NAME = "access", "direction", "type", "owner", "name"


@dataclass(frozen=True, order=True)
class Claim:
    """What one party says; ``party`` is the IRI of a job or an operation, empty where the source
    names none, ``batch`` the commitment of the batch that shows it, empty where none is left."""

    source: str
    party: str
    teller: str
    says: str
    batch: str


@dataclass(frozen=True, order=True)
class Conflict:
    """A disagreement; ``assets`` are the IRIs of what it is about."""

    iri: str
    kind: str
    label: str
    assets: tuple[str, ...]
    claims: tuple[Claim, ...]


def conflicts(
    accesses: Iterable[AccessRow],
    statements: Iterable[StatementRow],
    batches: Mapping[str, str],
    ids: Ids,
    project: str,
) -> tuple[tuple[Conflict, ...], frozenset[str]]:
    """Every conflict, by its IRI, and of those the ones that say that something was *not* seen:
    these are only worth telling when they last.

    ``batches`` gives for an operation the batch that showed it.
    """
    finder = _Finder(ids, project)
    said = tuple(sorted(statements, key=_key))
    finder.types(said)
    finder.owners(said)
    finder.names(said)
    finder.accesses(accesses, said, batches)
    return tuple(sorted(finder.found)), frozenset(finder.passing)


def _key(row: StatementRow) -> tuple[str, ...]:
    return row.namespace, row.asset, row.job_namespace, row.job_name, row.last


class _Finder:
    def __init__(self, ids: Ids, project: str) -> None:
        self._ids = ids
        self._project = project
        self.found: list[Conflict] = []
        self.passing: set[str] = set()

    # --- what descriptions say

    def types(self, rows: Sequence[StatementRow]) -> None:
        told: dict[tuple[str, str], list[tuple[str, Claim]]] = defaultdict(list)
        for row, asset in self._named(rows):
            for column, kind in _pairs(row.types):
                says = f"{shown(column)} is {shown(kind)}"
                claim = self._claim(row, says, row.types_batch)
                told[asset, column].append((one_name(kind), claim))
        columns: dict[str, int] = defaultdict(int)
        for (asset, column), claims in sorted(told.items()):
            if len({kind for kind, _ in claims}) > 1 and columns[asset] < MAX_COLUMNS:
                columns[asset] += 1
                self._add(TYPE, (asset,), [claim for _, claim in claims], column)

    def owners(self, rows: Sequence[StatementRow]) -> None:
        told: dict[str, list[tuple[frozenset[str], Claim]]] = defaultdict(list)
        for row, asset in self._named(rows):
            teams = frozenset(_texts(row.owners))
            if teams:
                says = ", ".join(shown(team) for team in sorted(teams)[:4])
                told[asset].append((teams, self._claim(row, says, row.owners_batch)))
        for asset, claims in sorted(told.items()):
            # Who names one owner more agrees as to the others.
            if not frozenset.intersection(*(teams for teams, _ in claims)):
                self._add(OWNER, (asset,), [claim for _, claim in claims])

    def names(self, rows: Sequence[StatementRow]) -> None:
        """One says that a name is another one of the data asset, another that it is its own."""
        own: dict[str, list[StatementRow]] = defaultdict(list)
        lasts: dict[tuple[str, str, str], str] = {}
        links: dict[tuple[str, str], list[StatementRow]] = defaultdict(list)
        for row, asset in self._named(rows):
            own[asset].append(row)
            for namespace, name in _pairs(row.aliases):
                alias = self._iri(namespace, name)
                if alias and alias != asset:
                    links[asset, alias].append(row)
                    key = (alias, row.job_namespace, row.job_name)
                    lasts[key] = max(row.last, lasts.get(key, ""))
        for (asset, alias), linking in sorted(links.items()):
            apart = [
                row
                for row in own.get(alias, ())
                if row.last > lasts.get((alias, row.job_namespace, row.job_name), "")
            ]
            if apart:
                claims = [self._claim(row, "one data asset", row.last_batch) for row in linking]
                claims += [self._claim(row, "two data assets", row.last_batch) for row in apart]
                self._add(NAME, (asset, alias), claims)

    # --- what programs do

    def accesses(
        self,
        rows: Iterable[AccessRow],
        said: Sequence[StatementRow],
        batches: Mapping[str, str],
    ) -> None:
        shows = dict(batches)
        for row, asset in self._named(said):
            job = self._job(row)
            for way, batch in (("reads", row.read_batch), ("writes", row.write_batch)):
                if batch:
                    shows[f"{job} {way} {asset}"] = batch
        programs: dict[str, list[AccessRow]] = defaultdict(list)
        for access in rows:
            programs[access.program].append(access)
        for _, of_program in sorted(programs.items()):
            self._program(sorted(of_program, key=str), shows)

    def _program(self, rows: Sequence[AccessRow], shows: Mapping[str, str]) -> None:
        by_asset: dict[str, list[AccessRow]] = defaultdict(list)
        for row in rows:
            by_asset[row.asset].append(row)
        traced = {row.store for row in rows if row.source == SPAN_SOURCE and row.store}
        against: dict[str, list[AccessRow]] = {}
        ways: set[str] = set()
        for asset, of_asset in sorted(by_asset.items()):
            told, seen = (
                {row.way for row in of_asset if row.source == source}
                for source in (RUN_SOURCE, SPAN_SOURCE)
            )
            if told and seen and not told & seen:
                against[asset] = of_asset
                ways |= told
            elif told and not seen and of_asset[0].store in traced:
                self._unseen(asset, of_asset, rows, shows)
        if len(ways) == 2:
            # What the one makes from the other, the other makes from the one.
            every = [row for of_asset in against.values() for row in of_asset]
            claims = [_access(row, shows, f"{row.way} {shown(row.asset_name)}") for row in every]
            self._add(DIRECTION, tuple(sorted(against)), claims, rows[0].program)
            return
        for asset, of_asset in against.items():
            claims = [_access(row, shows, row.way) for row in of_asset]
            self._add(ACCESS, (asset,), claims, rows[0].program)

    def _unseen(
        self,
        asset: str,
        told: Sequence[AccessRow],
        rows: Sequence[AccessRow],
        shows: Mapping[str, str],
    ) -> None:
        near = next(r for r in rows if r.source == SPAN_SOURCE and r.store == told[0].store)
        claims = [_access(row, shows, row.way) for row in told]
        claims.append(
            Claim(SPAN_SOURCE, near.party, near.program, NOT_SEEN, shows.get(near.party, ""))
        )
        self.passing.add(self._add(ACCESS, (asset,), claims, told[0].program))

    # --- parts

    def _named(self, rows: Sequence[StatementRow]) -> Iterator[tuple[StatementRow, str]]:
        for row in rows:
            asset = self._iri(row.namespace, row.asset)
            if asset and max(len(row.job_namespace), len(row.job_name)) <= MAX_NAME:
                yield row, asset

    def _iri(self, namespace: str, name: str) -> str:
        found = of_openlineage(namespace, name)
        return found.iri(self._ids, self._project) if found else ""

    def _job(self, row: StatementRow) -> str:
        if not row.job_name:
            return ""
        return self._ids.job(self._project, row.job_namespace, row.job_name)

    def _claim(self, row: StatementRow, says: str, batch: str) -> Claim:
        teller = shown(row.job_name) or "a description without a job"
        return Claim(RUN_SOURCE, self._job(row), teller, says, batch)

    def _add(
        self, kind: str, assets: tuple[str, ...], claims: Iterable[Claim], about: str = ""
    ) -> str:
        first: dict[tuple[str, str, str], Claim] = {}
        for claim in sorted(claims):
            first.setdefault((claim.source, claim.party, claim.says), claim)
        kept = _some_of_each(first.values())
        iri = self._ids.conflict(self._project, kind, *assets, about)
        told = "; ".join(f"{claim.teller} ({claim.source}): {claim.says}" for claim in kept[:4])
        more = f"; and {len(kept) - 4} more" if len(kept) > 4 else ""
        self.found.append(Conflict(iri, kind, f"{kind}: {told}{more}", assets, kept))
        return iri


def _some_of_each(claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """As many claims as are kept, so that each thing that is said is among them."""
    turns: dict[tuple[str, str], int] = defaultdict(int)
    ranked = []
    for claim in sorted(claims):
        turn = turns[claim.source, claim.says]
        turns[claim.source, claim.says] += 1
        ranked.append((turn, claim))
    return tuple(sorted(claim for _, claim in sorted(ranked)[:MAX_CLAIMS]))


def _access(row: AccessRow, shows: Mapping[str, str], says: str) -> Claim:
    batch = shows.get(
        row.party if row.source == SPAN_SOURCE else f"{row.party} {row.way} {row.asset}", ""
    )
    return Claim(row.source, row.party, shown(row.program), says, batch)


def _pairs(said: str) -> Iterator[tuple[str, str]]:
    for item in _list(said):
        if isinstance(item, list) and len(item) == 2:
            yield str(item[0]), str(item[1])


def _texts(said: str) -> list[str]:
    return [str(item) for item in _list(said)]


def _list(said: str) -> list[object]:
    try:
        found = json.loads(said) if said else []
    except ValueError:
        return []
    return found if isinstance(found, list) else []
