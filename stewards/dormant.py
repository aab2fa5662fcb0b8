"""Which things are to be marked as dormant, and which marks are to be lifted.

Invariant: :func:`changes` is a pure function. A thing is dormant when no fact shows it in the last
``days`` days; what never was shown by telemetry has no mark, for only what the steward itself
brought into the graph is looked at. That it did is told by its own applied proposals, which don't
expire as facts do: what it brought and no fact shows any more is dormant as well, since the day
after which none can have shown it.

What people say stands. A mark that somebody else made is left alone; one that was turned down isn't
made again until the thing was seen and lost once more; one whose lifting was turned down stays.
What several projects share has no mark: a steward sees the facts of its own project alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from pyoxigraph import Literal, NamedNode, Quad

from ontology.terms import to_nquads
from ontology.vocab import Fo, Xsd
from stewards.draft import Draft, counted

SHARED = frozenset(
    {
        Fo.Release,
        Fo.DeploymentEnvironment,
        Fo.Workload,
        Fo.DataStore,
        Fo.Dataset,
        Fo.Topic,
        Fo.Column,
    }
)
"""Classes of things that more than one project may know."""

KINDS = SHARED | {
    Fo.Service,
    Fo.HttpRoute,
    Fo.HttpCall,
    Fo.RpcMethod,
    Fo.RpcCall,
    Fo.DatabaseOperation,
    Fo.MessageOperation,
    Fo.PublishOperation,
    Fo.ConsumeOperation,
    Fo.InternalOperation,
    Fo.Job,
    Fo.Page,
    Fo.ProductEventType,
    Fo.Feature,
    Fo.ErrorIssue,
}
"""Classes whose members are marked. A dependency is as dormant as its ends."""

Mark = tuple[str, date]
"""A thing, and the day since which it is dormant."""


@dataclass(frozen=True)
class Known:
    """What the graph and the gate say, at one moment.

    ``kinds`` gives the class of each thing that this steward brought into the graph, or that has a
    mark; ``marked`` are those with a mark, ``own`` the marks that it made itself; ``shared`` are
    things that another project knows too. ``turned_down`` has for a thing the newest mark that
    people didn't want (or haven't decided on), ``kept`` the marks that they want to stay.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()
    own: frozenset[Mark] = frozenset()
    shared: frozenset[str] = frozenset()
    turned_down: Mapping[str, date] = field(default_factory=dict)
    kept: frozenset[Mark] = frozenset()

    def candidates(self) -> frozenset[str]:
        """The things that get a mark unless they are seen."""
        return frozenset(self.kinds) - self.marked - self.shared


@dataclass(frozen=True)
class Changes:
    """The marks to make and to lift."""

    made: tuple[Mark, ...] = ()
    lifted: tuple[Mark, ...] = ()


def changes(known: Known, seen: Mapping[str, int], today: date, days: int) -> Changes:
    """What is to change; ``seen`` says how many days ago each thing was last seen, and holds
    nothing of what no fact shows."""
    made = []
    for thing in sorted(known.candidates()):
        age = seen.get(thing)
        if age is not None and age <= days:
            continue
        since = today - timedelta(days=days + 1 if age is None else age)
        refused = known.turned_down.get(thing)
        if refused is None or (age is not None and since > refused):
            made.append((thing, since))
    lifted = sorted(
        mark
        for mark in known.own - known.kept
        if mark[0] in known.shared or is_awake(mark, seen.get(mark[0]), today, days)
    )
    return Changes(tuple(made), tuple(lifted))


def is_awake(mark: Mark, age: int | None, today: date, days: int) -> bool:
    """Whether a thing was seen so many days ago that its mark is no longer true."""
    return age is not None and age <= days and today - timedelta(days=age) > mark[1]


def stated(mark: Mark, graph: str) -> Quad:
    """The mark as the graph holds it."""
    thing, since = mark
    moment = Literal(f"{since}T00:00:00Z", datatype=NamedNode(Xsd.dateTime))
    return Quad(NamedNode(thing), NamedNode(Fo.dormantSince), moment, NamedNode(graph))


def read(quads: Iterable[Quad]) -> frozenset[Mark]:
    """The marks among these quads; those that don't begin with a day aren't ours."""
    found = set()
    for quad in quads:
        if quad.predicate.value == Fo.dormantSince and isinstance(quad.subject, NamedNode):
            day = day_of(quad.object.value) if isinstance(quad.object, Literal) else None
            if day is not None:
                found.add((quad.subject.value, day))
    return frozenset(found)


def day_of(moment: str) -> date | None:
    """The day on which a moment as the graph writes it lies."""
    try:
        return date.fromisoformat(moment[:10])
    except ValueError:
        return None


def marking(
    made: Sequence[Mark],
    kinds: Mapping[str, str],
    seen: Collection[str],
    graph: str,
    days: int,
    more: int = 0,
) -> Draft:
    """The proposal that makes these marks; ``more`` are left for the next one."""
    last = [since for thing, since in made if thing in seen]
    said = f"Not seen in the last {_days(days)}: {', '.join(counted(kinds[t] for t, _ in made))}."
    if last:
        first, latest = min(last), max(last)
        when = f"on {first}" if first == latest else f"between {first} and {latest}"
        said += f" The facts last showed {'them' if len(last) > 1 else 'it'} {when}."
    gone = len(made) - len(last)
    if gone:
        said += f" Of {gone:,} no facts are left."
    if more:
        said += f" {more:,} more follow in a day."
    # That nothing was seen is what no batch shows.
    return Draft(tuple(stated(mark, graph) for mark in made), said, ())


def lifting(
    lifted: Sequence[Mark],
    kinds: Mapping[str, str],
    graph: str,
    evidence: Sequence[str] = (),
    shared: Collection[str] = (),
    untrusted: int = 0,
) -> Draft:
    """The proposal that lifts these marks; ``evidence`` are the batches of trusted senders that
    showed the things again, ``untrusted`` counts those that only others showed."""
    again = counted(kinds.get(thing, "") for thing, _ in lifted if thing not in shared)
    known = counted(kinds.get(thing, "") for thing, _ in lifted if thing in shared)
    said = [f"Seen again: {', '.join(again)}."] if again else []
    said += [f"Known to other projects too: {', '.join(known)}."] if known else []
    said += [f"Only keys that stand in pages showed {untrusted:,} of them."] if untrusted else []
    removals = to_nquads(stated(mark, graph) for mark in lifted).decode()
    return Draft((), f"No longer dormant. {' '.join(said)}", tuple(evidence), removals)


def _days(days: int) -> str:
    return "day" if days == 1 else f"{days} days"
