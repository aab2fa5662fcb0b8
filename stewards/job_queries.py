"""The questions about jobs and the lineage of their runs, as SQL, and the rows that answer them.

Invariant: each answer grows with the distinct jobs, datasets and columns in a page, not with the
number of runs. What one run says may arrive in different batches, in any order, so derivations are
asked of whole runs: those that the page touches, as far as they have arrived. Whichever batch comes
last thus completes them.
Source: https://openlineage.io/docs/spec/run-cycle (events of a run are cumulative)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stewards.fact_queries import Page, of, within
from stewards.fact_rows import Ask, rows

SOURCE = "openlineage.event"
# Of a run that never ends only the newest part is looked at.
MAX_RUN_ROWS = 20_000
# Each output may come from each input: of a run with more pairs only its column lineage counts.
MAX_PAIRS = 2_500

_JOB = "attributes['job.namespace'] AS job_namespace, attributes['job.name'] AS job_name"
_DATASET = "attributes['dataset.namespace'] AS namespace, attributes['dataset.name'] AS asset"
_SOURCE_OF = (
    "attributes['source.namespace'] AS from_namespace, attributes['source.name'] AS from_asset"
)
_FIRST = "min(seq) AS first_seq, argMin(batch, seq) AS first_batch"


@dataclass(frozen=True)
class JobRow:
    """A job and the one that it is a part of, whose name is empty where none was named."""

    job_namespace: str
    job_name: str
    parent_namespace: str
    parent_name: str
    first_seq: int
    first_batch: str


@dataclass(frozen=True)
class AssetRow:
    """A dataset or topic, and the job that reads (``input``) or writes it (``output``); with the
    way ``dataset`` it was described without a job. ``aliases`` is a JSON list of pairs."""

    way: str
    job_namespace: str
    job_name: str
    namespace: str
    asset: str
    aliases: str
    first_seq: int
    first_batch: str


@dataclass(frozen=True)
class DerivationRow:
    """A dataset that is made from another one. With the relation ``wide`` it is a run that has too
    many inputs and outputs to say so, and the names are empty."""

    relation: str
    namespace: str
    asset: str
    from_namespace: str
    from_asset: str
    output_seq: int
    output_batch: str
    input_seq: int
    input_batch: str
    end_seq: int
    end_batch: str


@dataclass(frozen=True)
class ColumnRow:
    """A column that is made from another one: ``direct`` where values come from there, ``indirect``
    where that one only decides which records there are. ``transformations`` are OpenLineage's
    names, parted by blanks; ``masking`` is ``true`` where values are hidden."""

    namespace: str
    asset: str
    column: str
    from_namespace: str
    from_asset: str
    from_column: str
    influence: str
    transformations: str
    masking: str
    first_seq: int
    first_batch: str


@dataclass(frozen=True)
class LineageRows:
    """The answers to all questions for one page."""

    jobs: Sequence[JobRow] = ()
    assets: Sequence[AssetRow] = ()
    derivations: Sequence[DerivationRow] = ()
    columns: Sequence[ColumnRow] = ()


def read(page: Page, ask: Ask) -> LineageRows:
    """Ask every question about this page. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    found = rows(JobRow, ask(jobs(page)))
    described = rows(AssetRow, ask(assets(page)))
    if not found and not described:
        # A page without lineage costs no more than that.
        return LineageRows()
    return LineageRows(
        found,
        described,
        rows(DerivationRow, ask(derivations(page))),
        rows(ColumnRow, ask(columns(page))),
    )


def jobs(page: Page) -> str:
    """Columns of :class:`JobRow`."""
    names = "job_namespace, job_name, parent_namespace, parent_name"
    return f"""
SELECT {_JOB}, attributes['parent.job.namespace'] AS parent_namespace,
       attributes['parent.job.name'] AS parent_name, {_FIRST}
FROM {page.relation} WHERE {within(page, SOURCE)} AND kind IN ('run', 'job')
GROUP BY {names} ORDER BY {names}"""


def assets(page: Page) -> str:
    """Columns of :class:`AssetRow`."""
    names = "way, job_namespace, job_name, namespace, asset, aliases"
    return f"""
SELECT kind AS way, {_JOB}, {_DATASET}, attributes['dataset.aliases'] AS aliases, {_FIRST}
FROM {page.relation} WHERE {within(page, SOURCE)} AND kind IN ('input', 'output', 'dataset')
GROUP BY {names} ORDER BY {names}"""


def derivations(page: Page) -> str:
    """Columns of :class:`DerivationRow`.

    Column lineage says what an output is made from. An output of which a run says none is made from
    all inputs of the run, once the run is complete, or is of a job that streams and never is, or of
    one that was described without a run.
    """
    names = "namespace, asset, from_namespace, from_asset"
    moment = "(greatest(output_seq, input_seq, end_seq), output_seq, input_seq, end_seq)"
    evidence = "output_seq, output_batch, input_seq, input_batch, end_seq, end_batch"
    earliest = ", ".join(
        f"seen.{place} AS {name}" for place, name in enumerate(evidence.split(", "), 1)
    )
    return f"""
WITH parts AS (
  SELECT kind, seq, batch, attributes['lineage.scope'] AS scope, {_DATASET}, {_SOURCE_OF},
         attributes['lineage.influence'] = 'direct' AS direct,
         kind = 'job' OR attributes['run.state'] = 'COMPLETE'
           OR attributes['job.processing'] = 'STREAMING' AS ended
  FROM events WHERE {of(page.project, SOURCE)} AND seq <= {page.until:d}
    AND attributes['lineage.scope'] IN (
      SELECT attributes['lineage.scope'] FROM events WHERE {within(page, SOURCE)})
  ORDER BY seq DESC, event_id LIMIT {MAX_RUN_ROWS:d} BY scope
),
sides AS (
  SELECT scope, kind, namespace, asset, {_FIRST} FROM parts WHERE kind IN ('input', 'output')
  GROUP BY scope, kind, namespace, asset
),
mapped AS (SELECT DISTINCT scope, namespace, asset FROM parts WHERE kind = 'column'),
ends AS (SELECT scope, {_FIRST} FROM parts WHERE ended AND kind IN ('run', 'job') GROUP BY scope),
outputs AS (
  SELECT * FROM sides WHERE kind = 'output' AND (scope, namespace, asset) NOT IN mapped
),
sizes AS (
  SELECT scope, countIf(kind = 'input') * countIf(kind = 'output') AS pairs FROM sides
  GROUP BY scope
),
wide AS (SELECT scope FROM sizes WHERE pairs > {MAX_PAIRS:d}),
links AS (
  SELECT 'derived' AS relation, outputs.namespace AS namespace, outputs.asset AS asset,
         inputs.namespace AS from_namespace, inputs.asset AS from_asset,
         outputs.first_seq AS output_seq, outputs.first_batch AS output_batch,
         inputs.first_seq AS input_seq, inputs.first_batch AS input_batch,
         ends.first_seq AS end_seq, ends.first_batch AS end_batch
  FROM outputs
  INNER JOIN (SELECT * FROM sides WHERE kind = 'input' AND scope NOT IN wide) AS inputs
    ON inputs.scope = outputs.scope
  INNER JOIN ends ON ends.scope = outputs.scope
  UNION ALL
  SELECT 'derived', namespace, asset, from_namespace, from_asset, seq, batch, seq, batch, seq, batch
  FROM parts WHERE kind = 'column' AND direct
  UNION ALL
  SELECT 'wide', '', '', '', '', outputs.first_seq, outputs.first_batch, outputs.first_seq,
         outputs.first_batch, ends.first_seq, ends.first_batch
  FROM outputs INNER JOIN ends ON ends.scope = outputs.scope WHERE outputs.scope IN wide
)
SELECT relation, {names}, {earliest} FROM (
  SELECT relation, {names}, argMin(({evidence}), {moment}) AS seen FROM links
  WHERE relation = 'wide' OR (namespace, asset) != (from_namespace, from_asset)
  GROUP BY relation, {names}
)
ORDER BY relation, {names}"""


def columns(page: Page) -> str:
    """Columns of :class:`ColumnRow`."""
    names = "namespace, asset, column, from_namespace, from_asset, from_column"
    names += ", influence, transformations, masking"
    return f"""
SELECT {_DATASET}, attributes['column.name'] AS column, {_SOURCE_OF},
       attributes['source.column'] AS from_column,
       attributes['lineage.influence'] AS influence,
       attributes['lineage.transformations'] AS transformations,
       attributes['lineage.masking'] AS masking, {_FIRST}
FROM {page.relation} WHERE {within(page, SOURCE)} AND kind = 'column'
GROUP BY {names} ORDER BY {names}"""
