"""``fractalops query``: SPARQL over the running server's graph.

Invariant: the text that reaches the server has as many lines as the text that was typed, so a line
number in an error message is the user's own. SPARQL 1.1: https://www.w3.org/TR/sparql11-query/
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_api.cli_errors import CommandError, Refused
from graph_api.cli_output import Output, show_json, show_line, show_stream, show_table, working
from graph_api.cli_session import DataOption, OutputOption, connect, output_format
from graph_api.cli_terms import short_iri
from ontology.vocab import PREFIXES

if TYPE_CHECKING:
    from runtime.http_open_answer import OpenAnswer

FORMATS = {
    "json": "application/sparql-results+json",
    "xml": "application/sparql-results+xml",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "turtle": "text/turtle",
    "ntriples": "application/n-triples",
    "nquads": "application/n-quads",
    "trig": "application/trig",
    "jsonld": "application/ld+json",
    "rdfxml": "application/rdf+xml",
}
_RESULTS_JSON = FORMATS["json"]
_ACCEPT = {
    Output.TABLE: f"{_RESULTS_JSON}, text/turtle;q=0.9",
    Output.JSON: f"{_RESULTS_JSON}, application/ld+json;q=0.9",
    Output.CSV: f"text/csv, {_RESULTS_JSON};q=0.5, text/turtle;q=0.4",
}

_XSD = PREFIXES["xsd"]
_BARE = {_XSD + name for name in ("string", "integer", "decimal", "double", "boolean", "dateTime")}
# What may stand before the query form: white space, comments, BASE and PREFIX declarations.
_PROLOGUE = re.compile(
    r"(?:\s+|\#[^\n\r]*|BASE\s*<[^>]*>|PREFIX\s+(?P<name>[^\s:#<>]*):\s*<[^>]*>)", re.IGNORECASE
)


def register(app: typer.Typer) -> None:
    app.command("query")(query)


def query(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="The query; - or nothing reads stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="Read the query from here.")
    ] = None,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="HEAD", min=0, help="Ask the graph as it was at this head."),
    ] = None,
    at_time: Annotated[
        str | None,
        typer.Option(
            "--at-time",
            metavar="TIME",
            help="Ask the graph as it was at this moment, such as 2026-11-07T12:00Z (UTC where no"
            " zone is said).",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Give up after this long."),
    ] = None,
    no_entailment: Annotated[
        bool,
        typer.Option("--no-entailment", help="Ask what was stated alone, not what follows."),
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Print the server's answer as it is, in one of: "
            f"{', '.join(FORMATS)}, or any media type.",
        ),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Ask the graph with SPARQL.

    SELECT prints rows, ASK true or false, CONSTRUCT and DESCRIBE Turtle. These prefixes need no
    declaration: fo, rdf, rdfs, owl, xsd, skos, prov, dcat, dcterms, org, sh.

    \b
    Example:
        fractalops query 'SELECT ?name { ?s a fo:Service ; rdfs:label ?name }'
        fractalops query -f question.rq --at 12 --output csv
        fractalops query -f docs/questions/q28-what-ran.rq --at-time 2026-11-07T12:00Z
    """
    shown = output_format(context, output)
    moment = None if at_time is None else _moment(at_time)
    if at is not None and moment is not None:
        raise typer.BadParameter("give a head with --at or a moment with --at-time, not both")
    accept = _media_type(format_) if format_ is not None else _ACCEPT[shown]
    asked = read_text(text, file).removeprefix("\ufeff")
    question = with_prefixes(asked)
    with (
        _own_columns(len(question) - len(asked)),
        connect(context, data) as client,
        ExitStack() as open_answer,
    ):
        if moment is not None:
            at = client.head_at(moment)
        with working("Asking"):
            answer = open_answer.enter_context(
                client.stream(
                    "POST",
                    "/sparql",
                    parameters={
                        "at": at,
                        "timeout": timeout,
                        "entailment": "off" if no_entailment else None,
                    },
                    content=question.encode(),
                    headers={"Content-Type": "application/sparql-query", "Accept": accept},
                    # The server keeps the limit; this only notices that it is gone.
                    timeout=120.0 if timeout is None else timeout + 30.0,
                )
            )
            tabular = format_ is None and _kind(answer) == _RESULTS_JSON
            whole = answer.read() if tabular else None
        if whole is not None:
            _show_results(whole.text, shown)
        else:
            show_stream(answer.chunks(), whole_lines=format_ is None)


def _moment(text: str) -> str:
    """RFC 3339 of what was typed; raises for what is no moment."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no moment: write it as 2026-11-07T12:00Z") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def read_text(text: str | None, file: Path | None) -> str:
    """The query from the argument, the file or stdin; raises for both, or for a terminal."""
    if text is not None and text != "-" and file is not None:
        raise typer.BadParameter("give the query as an argument or as a file, not both")
    if file is not None and str(file) != "-":
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CommandError(f"{file} is not UTF-8: {error.reason}") from error
    if text is not None and text != "-":
        return text
    if text is None and file is None and sys.stdin.isatty():
        raise typer.BadParameter("give a query as an argument, with -f FILE, or on stdin")
    return sys.stdin.read()


def with_prefixes(text: str) -> str:
    """The query with the common prefixes it uses and doesn't declare, put on its first line."""
    declared = _declared(text)
    used = [
        name
        for name in PREFIXES
        if name not in declared and re.search(rf"(?<![\w.-]){name}:", text) is not None
    ]
    return "".join(f"PREFIX {name}: <{PREFIXES[name]}> " for name in used) + text


@contextmanager
def _own_columns(added: int) -> Iterator[None]:
    """Count columns of the first line from where the user's own text begins."""
    try:
        yield
    except Refused as refusal:
        column = refusal.body.get("column")
        if refusal.body.get("line") == 1 and isinstance(column, int) and column > added:
            said = f"line 1, column {column}"
            detail = refusal.detail.replace(said, f"line 1, column {column - added}")
            raise Refused(
                refusal.status, refusal.kind, refusal.title, detail, refusal.body
            ) from refusal
        raise


def _declared(text: str) -> set[str]:
    names: set[str] = set()
    place = 0
    while (match := _PROLOGUE.match(text, place)) is not None:
        if match["name"] is not None:
            names.add(match["name"])
        place = match.end()
    return names


def term_text(term: Mapping[str, Any] | None) -> str:
    """A term of the SPARQL results JSON format, as a person reads it."""
    if term is None:
        return ""
    value = str(term.get("value", ""))
    if term.get("type") == "uri":
        return short_iri(value)
    if term.get("type") == "bnode":
        return f"_:{value}"
    if term.get("xml:lang"):
        return f"{value}@{term['xml:lang']}"
    datatype = term.get("datatype")
    if datatype is None or datatype in _BARE:
        return value
    return f'"{value}"^^{short_iri(str(datatype))}'


def _media_type(name: str) -> str:
    if "/" in name:
        return name
    try:
        return FORMATS[name.lower()]
    except KeyError:
        raise typer.BadParameter(
            f"--format must be one of {', '.join(FORMATS)} or a media type, not {name!r}"
        ) from None


def _kind(answer: OpenAnswer) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _show_results(body: str, output: Output) -> None:
    try:
        results = json.loads(body)
        if "boolean" in results:
            truth = "true" if results["boolean"] else "false"
            if output is not Output.JSON:
                show_line(truth)
                return
        names = [str(name) for name in results["head"].get("vars", [])]
        rows = results.get("results", {}).get("bindings", [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"the server's results cannot be read: {error}") from error
    if output is Output.JSON:
        show_json(results)
    else:
        show_table(names, ([term_text(row.get(name)) for name in names] for row in rows))
