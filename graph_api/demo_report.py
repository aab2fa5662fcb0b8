"""What the demonstration prints: the graph found, four questions, one proof.

Invariant: each answer is shown with the question that gives it, and each comes over HTTP from the
running server; only the bundle is judged here, by its bytes and the log's public key alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from graph_api.cli_errors import CommandError
from graph_api.cli_output import visible
from graph_api.cli_query import term_text, with_prefixes
from graph_api.client import Client
from graph_api.client_connection import Json
from ontology.vocab import Fo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.tree import Tree

BUNDLE = "bundle.json"

# The project's ingest key, which is also the user of its DSN.
_KEY = re.compile(r"(?<=foi_)[A-Za-z0-9_-]+")

_NO_FOLD = 10_000
_RESULTS_JSON = "application/sparql-results+json"


class Question(NamedTuple):
    """A question in words and in SPARQL."""

    words: str
    sparql: str


ENTRIES = """\
SELECT ?service ?entry ?verb ?target ?of WHERE {
  ?s a fo:Service ; rdfs:label ?service ; fo:offers ?e .
  ?e rdfs:label ?entry .
  OPTIONAL {
    { ?e fo:invokes/fo:callsOperation ?t . ?o fo:offers ?t . BIND("calls" AS ?verb) }
    UNION { ?e fo:invokes?/fo:reads ?t . ?t fo:storedIn ?o . BIND("reads" AS ?verb) }
    UNION { ?e fo:invokes?/fo:writes ?t . ?t fo:storedIn ?o . BIND("writes" AS ?verb) }
    ?t rdfs:label ?target . ?o rdfs:label ?of .
  }
}
ORDER BY ?service ?entry ?verb ?target ?of"""

QUESTIONS = (
    Question(
        "What stops working when the catalogue is down?",
        """\
SELECT DISTINCT ?service WHERE {
  ?service_ fo:calls+ ?catalogue ; rdfs:label ?service .
  ?catalogue a fo:Service ; skos:notation "catalogue" .
}
ORDER BY ?service""",
    ),
    Question(
        "Who writes what, and where is it kept?",
        """\
SELECT DISTINCT ?service ?writes ?kept WHERE {
  ?s a fo:Service ; fo:offers|fo:performs ?operation ; rdfs:label ?service .
  ?operation fo:writes ?asset .
  ?asset rdfs:label ?writes .
  OPTIONAL { ?asset fo:storedIn/rdfs:label ?kept }
}
ORDER BY ?service ?writes""",
    ),
    Question(
        "Which data does POST /checkout change in the end, through calls and queue?",
        """\
SELECT DISTINCT ?service ?changes WHERE {
  ?checkout a fo:HttpRoute ; rdfs:label "POST /checkout" .
  ?checkout (fo:invokes|fo:callsOperation|(fo:writes/^fo:reads))* ?operation .
  ?operation a fo:DatabaseOperation ; fo:writes ?asset .
  ?s fo:performs ?operation ; rdfs:label ?service .
  ?asset rdfs:label ?changes .
}
ORDER BY ?service ?changes""",
    ),
    Question(
        "Which features were hit by errors in which release, through which operations, "
        "writing which tables?",
        """\
SELECT DISTINCT ?release ?feature ?issue ?operation ?writes WHERE {
  ?error a fo:ErrorIssue ; rdfs:label ?issue ; fo:affects ?hit , ?disturbed ;
    fo:seenInRelease/rdfs:label ?release .
  ?hit a fo:Feature ; rdfs:label ?feature .
  ?service fo:offers|fo:performs ?disturbed .
  ?disturbed rdfs:label ?operation .
  ?disturbed (fo:invokes|fo:callsOperation|(fo:writes/^fo:reads/fo:invokes))* ?writer .
  ?writer fo:writes ?table .
  ?table a fo:Dataset ; rdfs:label ?writes .
}
ORDER BY ?release ?feature ?issue ?operation ?writes""",
    ),
)

CALL = """\
SELECT ?caller ?callee WHERE {
  ?caller a fo:Service ; fo:calls ?callee ; skos:notation "orders" .
  ?callee skos:notation "catalogue" .
}"""


def heading(console: Console, text: str) -> None:
    """A part begins."""
    console.print()
    line(console, text, "bold")
    width = console.width if console.is_terminal else len(text)
    line(console, "─" * min(len(text), width), "dim")


def line(console: Console, text: str, style: str = "") -> None:
    """One line, never folded, so that it can be copied whole."""
    from rich.text import Text

    console.print(Text(visible(text), style=style), soft_wrap=True)


def environment(console: Console, project: str, settings: Mapping[str, str]) -> None:
    """What the shop's processes are given, without the key."""
    line(console, f"Project {project} is created; its processes get nothing but this environment:")
    for name, value in settings.items():
        line(console, f"  {name}={_KEY.sub('(secret)', value)}", "dim")


def settled(console: Console, status: Json, proposals: Json) -> None:
    """What became of the traffic."""
    events = status["facts"]["events"]
    unclassified = status["facts"]["unclassified"]
    line(
        console,
        f"{events} spans, product events and errors are facts, {unclassified} of them"
        " unclassified.",
    )
    for proposal in reversed(proposals["items"]):
        author = str(proposal["author"]).rpartition("/")[2]
        line(
            console,
            f"Proposal {proposal['id']} by {author}: {proposal['additions']} quads "
            f"added, {proposal['removals']} removed; {proposal['state']}, "
            f"proof {proposal['proof']}",
        )
    line(console, f"The graph is at head {status['head']} and holds {status['quads']} quads.")


def show_graph(console: Console, client: Client, project: str) -> None:
    """Who calls whom, and who reads and writes what, as a tree."""
    rows = select(client, ENTRIES)
    heading(console, "The graph found: who calls whom, who reads and writes what")
    if not rows:
        raise CommandError(f"the graph of project {project} holds no service with an operation")
    _whole(console, _tree(rows, project))


def _whole(console: Console, tree: Tree | Table) -> None:
    """A tree or a table, folded to the width of a terminal; in a file every line is whole."""
    if console.is_terminal:
        console.print(tree)
        return
    for parts in console.render_lines(tree, console.options.update(width=_NO_FOLD), pad=False):
        line(console, "".join(part.text for part in parts).rstrip())


def _tree(rows: Sequence[Mapping[str, str]], project: str) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    marks = {"calls": ("→ calls", "cyan"), "reads": ("← reads", "green")}
    marks["writes"] = ("→ writes", "yellow")
    root = Tree(Text(visible(project), style="bold"), guide_style="dim")
    services: dict[str, Tree] = {}
    entries: dict[tuple[str, str], Tree] = {}
    for row in rows:
        name, entry = row["service"], row["entry"]
        if name not in services:
            services[name] = root.add(Text(visible(name), style="bold"))
        if (name, entry) not in entries:
            entries[name, entry] = services[name].add(Text(visible(entry)))
        if row.get("verb"):
            mark, style = marks[row["verb"]]
            entries[name, entry].add(
                Text.assemble(
                    (f"{mark} ", style),
                    visible(row["target"]),
                    (f"  {visible(row['of'])}", "dim"),
                )
            )
    return root


def show_questions(console: Console, client: Client) -> None:
    """The questions of an analyst, each with its query and the answer."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for number, question in enumerate(QUESTIONS, 1):
        heading(console, f"Question {number}: {question.words}")
        for text in question.sparql.splitlines():
            line(console, f"  {text}", "dim")
        rows = select(client, question.sparql)
        if not rows:
            raise CommandError(f"the graph has no answer to: {question.words}")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in rows[0]:
            table.add_column(Text(visible(name)))
        for row in rows:
            table.add_row(*(Text(visible(value)) for value in row.values()))
        _whole(console, table)


def show_proof(console: Console, client: Client, project: str, folder: Path) -> None:
    """The proof chain of one triple, its bundle, and the verdict of the offline check."""
    from graph_api.cli_chain import chain

    rows = select(client, CALL, raw=True)
    if not rows:
        raise CommandError("the graph doesn't say that orders calls catalogue")
    subject, predicate, object_ = (
        f"<{iri}>" for iri in (rows[0]["caller"], Fo.calls, rows[0]["callee"])
    )
    triple = f"{subject} {predicate} {object_}"
    heading(console, "Why does the graph say that orders calls catalogue?")
    found = client.explain(subject, predicate, object_, None)
    _whole(console, chain(found, triple))
    index = int(found["graphs"][0]["proof"])
    bundle = folder / BUNDLE
    bundle.write_bytes(client.bundle(index))
    heading(console, f"The bundle of log entry {index}, checked offline")
    key = (folder / "data" / "keys" / "log.pub").read_text(encoding="utf-8").strip()
    line(console, f"Used: {bundle.name} ({bundle.stat().st_size} bytes) and the key {key}", "dim")
    _judge(console, bundle.read_bytes(), key, triple)


def _judge(console: Console, bundle: bytes, key: str, triple: str) -> None:
    from proofs.checkpoint import VerifierKey
    from proofs.verify import Status, verify_bundle

    log_key = VerifierKey.parse(key)
    verdict = verify_bundle(bundle, log_key, triple=triple)
    marks = {True: "✓", False: "✗", None: "·"}
    for check in verdict.checks:
        line(console, f"  {marks[check.ok]} {check.name}: {check.detail}")
    if verdict.status in (Status.INVALID, Status.DIVERGED):
        raise CommandError(f"{verdict.status}: {'; '.join(verdict.reasons)}")
    meaning = {
        Status.UNANCHORED: "all is well; no witness outside this log vouches for it",
        Status.WITNESSED: "all is well, and a witness vouches for it",
    }
    line(console, f"{verdict.status}: {meaning[verdict.status]}.", "bold green")
    # One letter of the triple's own statement, in the middle of the file.
    place = bundle.index(b"catalogue")
    forged = bundle[:place] + b"k" + bundle[place + 1 :]
    tampered = verify_bundle(forged, log_key, triple=triple)
    if tampered.status is not Status.INVALID:
        raise CommandError(f"a changed bundle was judged {tampered.status}, not INVALID")
    line(console, f"The same bundle with one letter changed: {tampered.status}.", "bold red")


def again(console: Console, before: Json, after: Json) -> None:
    """Steady traffic is facts, not knowledge."""
    more = after["facts"]["events"] - before["facts"]["events"]
    line(
        console,
        f"{more} more facts, and the stewards proposed nothing: the graph holds what is "
        f"true, not what happens. State digest before and after: {after['state_digest']}",
    )


def commands(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """What to type next."""
    for purpose, command in lines:
        line(console, f"  # {purpose}", "dim")
        line(console, f"  {command}")


def select(client: Client, query: str, *, raw: bool = False) -> list[dict[str, str]]:
    """The rows of a SELECT query by variable name; ``raw`` leaves IRIs whole.

    A variable without a value is the empty text.
    """
    answer = client.send(
        "POST",
        "/sparql",
        content=with_prefixes(query).encode(),
        headers={"Content-Type": "application/sparql-query", "Accept": _RESULTS_JSON},
    )
    results: dict[str, Any] = answer.json()
    return [
        {name: _value(row.get(name), raw=raw) for name in results["head"]["vars"]}
        for row in results["results"]["bindings"]
    ]


def _value(term: Mapping[str, Any] | None, *, raw: bool) -> str:
    if term is not None and (raw or term.get("type") == "literal"):
        return str(term["value"])
    return term_text(term)
