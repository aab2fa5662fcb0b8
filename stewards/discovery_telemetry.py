"""Machines as telemetry shows them: what the resources of a day's facts say they run on.

Invariant: one question, whose answer grows with the distinct machines and services of a day and is
cut off beyond a limit; only names leave the facts. What senders that aren't trusted say is no
sighting, and of a restricted project nothing is, for everybody may read of assets. Somebody's clock
makes nothing newer than its receipt, and what was taken in from files of last year is last year's.

A workload of Kubernetes names itself, with its kind, cluster and namespace. A container or host
alone is a hint (:mod:`runtime.asset_sightings`): a laptop may have that name.
Source: https://opentelemetry.io/docs/specs/semconv/resource/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ontology.ids import Ids
from ontology.workload_names import CLUSTER, NAMESPACE, name_key
from runtime.asset_sightings import MAX_NAME, Place, Sighting
from runtime.assets import Locators
from stewards.fact_queries import first_of
from stewards.names import is_named

WINDOW: Final = timedelta(days=1)
FRESH: Final = timedelta(minutes=15)
"""What sent telemetry so lately is running; what did earlier was there."""
MOST_ROWS: Final = 5_000
TELEMETRY: Final = Place("telemetry", "")

# Those that last: single runs of a job come and go.
_KINDS: Final = ("deployment", "statefulset", "daemonset")
_COLUMNS: Final = (
    *("project", "service", "environment", "workload", "cluster", "namespace"),
    *("pod_container", "container", "container_id", "host"),
)


def machines() -> str:
    """Columns: those of ``_COLUMNS``, ``last`` (milliseconds since 1970) and ``batch``, the newest
    first. One row for each service on each machine that facts of the last day name."""
    workload = ", ".join(
        f"attributes['{name_key(kind)}'] != '', concat('{kind}/', {first_of(name_key(kind))})"
        for kind in _KINDS
    )
    values = {
        "workload": f"multiIf({workload}, '')",
        "cluster": first_of(CLUSTER),
        "namespace": first_of(NAMESPACE),
        "pod_container": first_of("k8s.container.name"),
        "container": first_of("container.name"),
        "container_id": first_of("container.id"),
        "host": first_of("host.name"),
    }
    shown = ", ".join(f"{values[name]} AS {name}" if name in values else name for name in _COLUMNS)
    seconds = int(WINDOW.total_seconds())
    return f"""
SELECT {shown}, max(toUnixTimestamp64Milli(least(time, received))) AS last,
       argMax(batch, seq) AS batch
FROM events
WHERE received >= now64() - toIntervalSecond({seconds}) AND time >= now64()
      - toIntervalSecond({seconds}) AND service != ''
  AND (mapContains(attributes, 'host.name') OR mapContains(attributes, 'container.name')
       OR mapContains(attributes, 'container.id') OR mapContainsKeyLike(attributes, 'k8s.%'))
GROUP BY {", ".join(_COLUMNS)}
ORDER BY last DESC, {", ".join(_COLUMNS)} LIMIT {MOST_ROWS}"""


def sightings(rows: Iterable[Sequence[Any]], ids: Ids, now: datetime) -> Iterator[Sighting]:
    """What the rows of :func:`machines` show, those with a name too long for one left out."""
    for row in rows:
        *texts, last, batch = row
        named = dict(zip(_COLUMNS, map(str, texts), strict=True))
        if all(len(text) <= MAX_NAME for text in named.values()) and is_named(named["service"]):
            found = _sighting(
                named, datetime.fromtimestamp(last / 1_000, UTC), str(batch), ids, now
            )
            if found is not None:
                yield found


def _sighting(
    named: dict[str, str], at: datetime, batch: str, ids: Ids, now: datetime
) -> Sighting | None:
    is_fresh = at >= now - FRESH
    project, service = named["project"], ids.service(named["project"], named["service"])
    if named["workload"] and named["namespace"]:
        name = named["workload"].partition("/")[2]
        return Sighting(
            "telemetry",
            "kubernetes",
            Locators(
                container=named["pod_container"],
                cluster=named["cluster"],
                namespace=named["namespace"],
                workload=named["workload"],
            ),
            at,
            "running" if is_fresh else None,
            (name,),
            named["environment"],
            (project,),
            (service,),
            (batch,),
        )
    contained = named["container"] or named["container_id"]
    called = contained or named["host"]
    if not called:
        return None
    return Sighting(
        "telemetry",
        "lxc",
        Locators(node=named["host"] if contained else "", container=called),
        at,
        "running" if is_fresh and contained else None,
        (named["container_id"],) if named["container_id"] not in ("", called) else (),
        named["environment"],
        (project,),
        (service,),
        (batch,),
        hint=True,
    )
