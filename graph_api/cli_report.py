"""Prints validation reports: what is wrong, what led to it, and what would make it pass.

Invariant: a table is cut, and says by how much; JSON, CSV and Turtle hold every result that the
report has. How many nodes do not conform to which shape comes first, whatever is cut.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from graph_api.cli_output import (
    Output,
    column,
    say,
    show,
    show_csv,
    show_facts,
    show_json,
    show_rows,
    show_table,
    visible,
)
from graph_api.cli_terms import short_iri, short_term

FEW = 10
"""Results that a table shows together, and of each shape where there are more."""
MOST_SHAPES = 20
"""Shapes of which a table shows results."""
WIDE = 140
"""Columns that a terminal needs to show a report as a table."""

REPORT_COLUMNS = tuple(
    column(name)
    for name in ("severity", "focus", "path", "value", "message", "shape", "cause", "advice")
)

_IRI = re.compile(r"<([^<>\"\s]+)>")
_CAUSE = re.compile(r"(?P<change>[AD]) (?P<triple>.*) <(?P<graph>[^<>]*)> \.", re.DOTALL)
_CHANGES = {"A": "added", "D": "removed"}
_TITLES = ("focus", "path", "value", "shape", "severity", "message", "because", "to pass")

Report = Mapping[str, Any]


class Tense(StrEnum):
    """Whether a report is about what would be, or about what is."""

    WOULD = "would"
    DOES = "does"


def show_report(report: Report, output: Output, tense: Tense = Tense.WOULD) -> None:
    """Print a validation report: a table with the counts first, JSON, or CSV of its results."""
    results = _results(report)
    if output is not Output.TABLE:
        show_rows(results, REPORT_COLUMNS, output, whole=report)
        return
    _show_counts(report, results, tense)
    if len(results) <= FEW:
        _show_results(results, with_shape=True)
        cut = 0
    else:
        cut = _show_by_shape(results)
    if cut:
        say(f"{cut:,} more {_plural(cut, 'result')}; see them with --output json")
    omitted = int(report.get("omitted") or 0)
    if omitted:
        say(f"{omitted:,} more {_plural(omitted, 'result')}: counted, and not in the report")


def show_reports(reports: Sequence[tuple[str, Report]], output: Output) -> None:
    """Print the reports on several files as JSON or CSV, each with its file's name."""
    if output is Output.JSON:
        show_json([{"file": name, **report} for name, report in reports])
        return
    headings = ["file", *(item.name for item in REPORT_COLUMNS)]
    show_csv(
        headings,
        (
            [name, *(item.cell(result) for item in REPORT_COLUMNS)]
            for name, report in reports
            for result in _results(report)
        ),
    )


def show_verdict(report: Report, extra: Iterable[str] = ()) -> None:
    """Print whether it conforms, and other members of the answer."""
    facts: dict[str, object] = {"conforms": bool(report.get("conforms"))}
    facts |= {name: report[name] for name in extra if report.get(name) is not None}
    show_facts(facts, Output.TABLE, whole=report)


def short_text(text: str) -> str:
    """A text with the IRIs in it shortened where a common prefix fits."""
    return _IRI.sub(lambda match: short_iri(match[1]), text)


def short_cause(row: str) -> str:
    """A row of an RDF Patch in words: what was added or removed, and in which graph."""
    match = _CAUSE.fullmatch(row)
    if match is None:
        return short_text(row)
    graph = match["graph"].rpartition("/graph/")[2]
    triple = short_text(match["triple"]).replace(" rdf:type ", " a ", 1)
    return f"{_CHANGES[match['change']]} {triple} in {graph}"


def _results(report: Report) -> list[Mapping[str, Any]]:
    found = report.get("results") or []
    return [result for result in found if isinstance(result, Mapping)]


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else noun + "s"


# --- the counts


def _show_counts(report: Report, results: Sequence[Mapping[str, Any]], tense: Tense) -> None:
    counts = report.get("nodes")
    if not isinstance(counts, Mapping) or not counts:
        return
    rows = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    lines = [_count(int(number), str(shape), results, tense) for shape, number in rows]
    kept = len(lines) if len(lines) <= MOST_SHAPES else MOST_SHAPES - 1
    if len(lines) == 1 and (len(results) > FEW or report.get("omitted")):
        lines[0] += f"; here are {min(FEW, len(results))} results"
    for line in lines[:kept]:
        show(visible(line))
    if len(lines) > kept:
        show(f"and nodes of {len(lines) - kept} other shapes")


def _count(number: int, shape: str, results: Sequence[Mapping[str, Any]], tense: Tense) -> str:
    nodes, name = f"{number:,} {_plural(number, 'node')}", short_term(shape)
    severities = {str(result.get("severity")) for result in results}
    if "Violation" in severities:
        verb = "do" if number > 1 else "does"
        return f"{nodes} {'would' if tense is Tense.WOULD else verb} not conform to {name}"
    verb = "would pass" if tense is Tense.WOULD else ("pass" if number > 1 else "passes")
    return f"{nodes} {verb} {name} with a {'warning' if 'Warning' in severities else 'remark'}"


# --- the results


def _show_by_shape(results: Sequence[Mapping[str, Any]]) -> int:
    """Shows examples of each shape that spoke; how many results were left out."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        key = str(result.get("severity")), str(result.get("shape"))
        groups.setdefault(key, []).append(result)
    order = sorted(groups, key=lambda key: (key[0] != "Violation", -len(groups[key]), key))
    shown = 0
    for severity, shape in order[:MOST_SHAPES]:
        found = groups[severity, shape]
        number = f"{len(found):,} {_plural(len(found), 'result')}"
        heading = f"{short_term(shape)} ({severity.lower()}): {number}"
        show("\n" + visible(heading))
        _show_results(found[:FEW], with_shape=False)
        shown += len(found[:FEW])
    return len(results) - shown


def _show_results(results: Sequence[Mapping[str, Any]], *, with_shape: bool) -> None:
    rows = [_row(result) for result in results]
    if not with_shape:
        rows = [{**row, "shape": "", "severity": ""} for row in rows]
    elif all(row["severity"] == "violation" for row in rows):
        rows = [{**row, "severity": ""} for row in rows]
    titles = [title for title in _TITLES if any(row[title] for row in rows)]
    if not rows:
        return
    if not sys.stdout.isatty() or shutil.get_terminal_size().columns >= WIDE:
        show_table(titles, ([row[title] for title in titles] for row in rows))
        return
    for row in rows:
        show("")
        facts: dict[str, object] = {title: row[title] for title in titles if row[title]}
        show_facts(facts, Output.TABLE, whole=None)


def _row(result: Mapping[str, Any]) -> dict[str, str]:
    def text(name: str) -> str:
        value = result.get(name)
        return "" if value is None else str(value)

    return {
        "focus": short_text(text("focus")),
        "path": short_text(text("path")),
        "value": short_text(text("value")),
        "shape": short_term(text("shape")),
        "severity": text("severity").lower(),
        "message": short_text(text("message")),
        "because": short_cause(text("cause")) if text("cause") else "",
        "to pass": short_text(text("advice")),
    }
