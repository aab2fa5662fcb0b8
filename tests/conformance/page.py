"""Writes the findings as a page, ``docs/conformance.md``, and as a table for the terminal.

Invariant: the page is a function of outcomes and reasons alone, so that two runs on two machines
write the same bytes; and it names every test that is no plain pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance.cases import Finding, Outcome
from tests.conformance.reasons import Reasons

SUITES = {
    "shacl-core": "SHACL Core",
    "shacl-sparql": "SHACL-SPARQL",
    "sparql10": "SPARQL 1.0 query",
    "sparql11": "SPARQL 1.1 query, results, update, federation, entailment",
    "sparql11-protocol": "SPARQL 1.1 Protocol",
    "sparql11-graph-store": "SPARQL 1.1 Graph Store HTTP Protocol",
    "sparql11-service-description": "SPARQL 1.1 Service Description",
    "sparql12": "SPARQL 1.2",
    "rdf-canon": "RDF Dataset Canonicalization (RDFC-1.0)",
}
"""The suites in their order, and what they are called on the page."""

INTRODUCTION = Path(__file__).with_name("introduction.md")


def page(findings: Sequence[Finding], reasons: Reasons) -> str:
    """The page in Markdown."""
    introduction = INTRODUCTION.read_text(encoding="utf-8")
    parts = [introduction, "## All suites\n", _counts("suite", _by(findings, _suite_title))]
    for suite, title in SUITES.items():
        own = [finding for finding in findings if finding.case.suite == suite]
        if not own:
            continue
        parts.append(f"## {title}\n")
        groups = _by(own, lambda finding: finding.case.group)
        if len(groups) > 1:
            parts.append(_counts("group", groups))
        told = [finding for finding in own if finding.outcome is not Outcome.PASSED]
        parts.append(_reasons(told, reasons) if told else "Every test is passed.\n")
    return "\n".join(parts)


def _suite_title(finding: Finding) -> str:
    return SUITES[finding.case.suite]


def _by(findings: Iterable[Finding], key: Callable[[Finding], str]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(key(finding), []).append(finding)
    return found


def _counts(what: str, groups: dict[str, list[Finding]]) -> str:
    """A Markdown table of how many tests had which outcome."""
    shown = [
        outcome
        for outcome in Outcome
        if outcome is not Outcome.UNTESTED
        or any(finding.outcome is outcome for own in groups.values() for finding in own)
    ]
    rows = [[what, "tests", *shown], ["---", *["---:"] * (len(shown) + 1)]]
    total: Counter[str] = Counter()
    for name, own in groups.items():
        counted = Counter(finding.outcome for finding in own)
        total.update(counted)
        rows.append([name, str(len(own)), *(str(counted[outcome]) for outcome in shown)])
    if len(groups) > 1:
        rows.append(
            ["**all**", str(sum(total.values())), *(str(total[outcome]) for outcome in shown)]
        )
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _reasons(findings: Sequence[Finding], reasons: Reasons) -> str:
    """A Markdown table of the tests that are no plain pass; those of one reason share a row."""
    rows: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        why = reasons.why(finding) or "**No reason is written down yet.**"
        rows.setdefault((finding.outcome.value, why), []).append(finding)
    lines = ["| outcome | why | tests |", "|---|---|---|"]
    for (outcome, why), own in rows.items():
        named = "; ".join(
            f"{group}: {', '.join(f'`{_short(finding.case.iri)}`' for finding in members)}"
            for group, members in _by(own, lambda finding: finding.case.group).items()
        )
        lines.append(f"| {outcome} | {_cell(why)} | {len(own)}. {named} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _short(iri: str) -> str:
    return iri.rpartition("#" if "#" in iri else "/")[2]


def show(findings: Sequence[Finding], console: Console) -> None:
    """The counts of each suite, on the terminal."""
    table = Table("suite", *("tests", *(outcome.value for outcome in Outcome)), title="Conformance")
    for column in table.columns[1:]:
        column.justify = "right"
    for title, own in _by(findings, _suite_title).items():
        counted = Counter(finding.outcome for finding in own)
        table.add_row(title, str(len(own)), *(str(counted[outcome]) for outcome in Outcome))
    console.print(table)
