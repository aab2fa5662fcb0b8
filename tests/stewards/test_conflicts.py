"""What sources disagree on is stated, claim by claim, and taken back when they agree again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import Literal, NamedNode, Quad

from ingest.classify import Classifier
from ingest.events import Event
from ingest.evidence import EvidenceBatch
from ingest.openlineage import events_of
from ontology.dataset_names import of_openlineage
from ontology.ids import Ids
from ontology.vocab import Fo
from stewards import conflict_watch, job_queries
from stewards.conflict_drafts import Statements, drafts, quads_of
from stewards.conflict_queries import AccessRow, StatementRow
from stewards.conflict_watch import LASTING, TOO_MANY
from stewards.conflicts import MAX_CLAIMS, MAX_COLUMNS, NOT_SEEN, Conflict, conflicts
from stewards.draft import Limits
from stewards.fact_queries import SOURCE as SPANS
from tests.stewards.conftest import digest, sql

if TYPE_CHECKING:
    from tests.stewards.conftest import Clock, Hire, PlayedGate, Traffic

IDS = Ids()
RUNS = job_queries.SOURCE
PLACE = "postgres://db.shop"
STORE = IDS.data_store("postgresql", "db.shop", "shop")
MINUTE = timedelta(minutes=1)


def iri(table: str) -> str:
    found = of_openlineage(PLACE, f"shop.public.{table}")
    assert found is not None
    return found.iri(IDS, "shop")


def told(table: str = "orders", job: str = "load", **more: Any) -> StatementRow:
    """What a job last said of a table."""
    values: dict[str, Any] = dict.fromkeys(
        ("types", "types_batch", "owners", "owners_batch", "aliases", "read_batch", "write_batch"),
        "",
    )
    values |= {"job_namespace": "etl" if job else "", "last": "2026-11-22 12:00:00", **more}
    for name in ("types", "owners", "aliases"):
        values[name] = json.dumps(values[name]) if values[name] else ""
    return StatementRow(PLACE, f"shop.public.{table}", job_name=job, last_batch="b0", **values)


def typed(kind: str, job: str, batch: str = "b1", column: str = "price") -> StatementRow:
    return told(job=job, types=[[column, kind]], types_batch=batch)


def access(source: str, way: str, table: str = "orders", program: str = "load") -> AccessRow:
    party = (
        IDS.job("shop", "etl", program)
        if source == RUNS
        else IDS.operation("shop", program, "database", f"{way} {table}")
    )
    return AccessRow(program, source, party, iri(table), table, STORE, way)


def found(
    accesses: list[AccessRow] | None = None, statements: list[StatementRow] | None = None
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Kind and claims of each conflict."""
    all_of_them, _ = conflicts(accesses or [], statements or [], {}, IDS, "shop")
    return [(c.kind, [(claim.teller, claim.says) for claim in c.claims]) for c in all_of_them]


SPAN_READS, SPAN_WRITES = access(SPANS, "reads"), access(SPANS, "writes")
RUN_READS, RUN_WRITES = access(RUNS, "reads"), access(RUNS, "writes")


@pytest.mark.parametrize(
    ("accesses", "expected"),
    [
        ([RUN_READS, SPAN_READS], []),
        ([RUN_READS, SPAN_WRITES], [("access", ["reads", "writes"])]),
        ([RUN_WRITES, SPAN_READS], [("access", ["writes", "reads"])]),
        # Once a source says the other way too, they agree on one.
        ([RUN_READS, RUN_WRITES, SPAN_WRITES], []),
        ([RUN_READS, SPAN_READS, SPAN_WRITES], []),
        # A source that is silent contradicts nobody.
        ([RUN_READS], []),
        ([SPAN_WRITES], []),
        ([RUN_READS, access(SPANS, "writes", program="other")], []),
        # Seen at the store, and never at what the job names there.
        ([RUN_READS, access(SPANS, "reads", "stock")], [("access", ["reads", NOT_SEEN])]),
        (
            [
                RUN_READS,
                access(RUNS, "writes", "report"),
                SPAN_WRITES,
                access(SPANS, "reads", "report"),
            ],
            [("direction", ["reads orders", "writes report", "reads report", "writes orders"])],
        ),
    ],
)
def test_what_a_program_is_said_to_do_and_seen_to_do(
    accesses: list[AccessRow], expected: list[tuple[str, list[str]]]
) -> None:
    for order in permutations(accesses):
        assert [(kind, [says for _, says in told_]) for kind, told_ in found([*order])] == expected


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ("numeric", "text", False),
        ("numeric(10,2)", "DECIMAL", True),
        ("VARCHAR(80)", "string", True),
        ("character varying", "nvarchar(10)", True),
        ("double precision", "float8", True),
        ("int", "bigint", False),
        ("array<int>", "list", True),
        ("timestamp with  time zone", "timestamptz", True),
        ("geography", "GEOGRAPHY", True),
        ("(((", "x", False),
    ],
)
def test_a_type_is_one_by_whatever_name(one: str, other: str, agree: bool) -> None:
    expected = [("type", [("load", f"price is {one}"), ("report", f"price is {other}")])]
    assert found(None, [typed(one, "load"), typed(other, "report")]) == ([] if agree else expected)


def test_a_column_that_only_one_names_is_no_conflict() -> None:
    assert found(None, [typed("text", "load"), typed("int", "report", column="id")]) == []


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (["team:data"], ["team:data"], True),
        (["team:data"], ["team:data", "team:shop"], True),
        (["team:data"], ["team:shop"], False),
        (["team:data"], [], True),
    ],
)
def test_owners_of_whom_none_is_the_same(one: list[str], other: list[str], agree: bool) -> None:
    rows = [told(owners=one, owners_batch="b1"), told(job="", owners=other, owners_batch="b2")]
    expected = [
        ("owner", [("a description without a job", "team:shop"), ("load", "team:data")]),
    ]
    assert found(None, rows) == ([] if agree else expected)


def test_one_data_asset_or_two() -> None:
    alias = [["s3://lake", "sales"]]
    apart = StatementRow(
        *("s3://lake", "sales", "etl", "copy"), *("", "", "", "", ""), *("2", "b2", "", "b2")
    )
    linked = told(aliases=alias, last="1")
    assert found(None, [linked]) == []
    claims = [("copy", "two data assets"), ("load", "one data asset")]
    assert found(None, [linked, apart]) == [("name", claims)]
    # Who came to say that they are one speaks of two no longer.
    assert found(None, [linked, apart, told(job="copy", aliases=alias, last="3")]) == []


def test_of_very_many_claims_each_thing_that_is_said_is_kept() -> None:
    rows = [typed("int", f"job {n:03}") for n in range(100)] + [typed("text", "the odd one")]
    [(_, claims)] = found(None, rows)
    assert len(claims) == MAX_CLAIMS
    assert ("the odd one", "price is text") in claims
    wide = [
        told(job=job, types=[[f"c{n}", kind] for n in range(50)])
        for job, kind in (("a", "int"), ("b", "text"))
    ]
    assert len(found(None, wide)) == MAX_COLUMNS


@given(
    st.lists(
        st.builds(
            StatementRow,
            st.sampled_from([PLACE, "s3://lake", "inmemory://x", "", "x"]),
            st.sampled_from(["shop.public.a", "b", " ", "\u200b"]),
            st.sampled_from(["etl", ""]),
            st.sampled_from(["load", "copy", "", "x" * 300]),
            st.sampled_from(['[["a", "int"]]', '[["a", "text"]]', "[[1]]", "{", "[1, [2]]", ""]),
            st.just("b1"),
            st.sampled_from(['["team:a"]', '["team:b"]', "7", "[", ""]),
            st.just("b2"),
            st.sampled_from([f'[["{PLACE}", "shop.public.a"]]', '[["x"]]', "nonsense", ""]),
            st.sampled_from(["1", "2", "3"]),
            *(st.sampled_from(["b3", ""]) for _ in range(3)),
        ),
        max_size=8,
        unique_by=lambda row: (row.namespace, row.asset, row.job_namespace, row.job_name),
    ),
    st.randoms(use_true_random=False),
)
def test_any_rows_in_any_order_say_the_same(rows: list[StatementRow], chance: Any) -> None:
    shuffled = [*rows]
    chance.shuffle(shuffled)
    one, _ = conflicts([], rows, {}, IDS, "shop")
    other, _ = conflicts([], shuffled, {}, IDS, "shop")
    assert one == other
    assert all(len({claim.says for claim in conflict.claims}) > 1 for conflict in one)
    assert len({conflict.iri for conflict in one}) == len(one)


# --- what is proposed of them


def disagreement(*rows: StatementRow) -> list[Conflict]:
    return [*conflicts([], rows, {}, IDS, "shop")[0]]


def held(of_them: list[Conflict]) -> dict[str, Statements]:
    return {c.iri: Statements(quads_of(c, IDS, "shop")) for c in of_them}


def test_only_the_claim_that_changed_changes() -> None:
    before = disagreement(typed("int", "load"), typed("text", "report"))
    after = disagreement(typed("int", "load", "b9"), typed("date", "report", "b8"))
    [draft] = drafts(after, held(before), (), (), IDS, "shop", Limits())
    assert draft.evidence == ("b8",)
    assert draft.rationale.startswith("Sources disagree otherwise (1): type: load")
    changed = {str(quad) for quad in draft.quads} | set(draft.removals.splitlines())
    assert "is int" not in "".join(text for text in changed if str(Fo.claims) in text)
    # A claim that stands keeps the batch that showed it first.
    assert drafts(before, held(before), (), (), IDS, "shop", Limits()) == ()
    later = disagreement(typed("int", "load", "b7"), typed("text", "report", "b7"))
    assert drafts(later, held(before), (), (), IDS, "shop", Limits()) == ()


def test_what_people_decided_stands() -> None:
    some = disagreement(typed("int", "load"), typed("text", "report"))
    quads = frozenset().union(*quads_of(some[0], IDS, "shop").values())
    assert drafts(some, {}, quads, (), IDS, "shop", Limits()) == ()
    [draft] = drafts([], held(some), (), (), IDS, "shop", Limits())
    assert (draft.quads, len(draft.removals.splitlines())) == ((), len(quads))
    assert drafts([], held(some), (), quads, IDS, "shop", Limits()) == ()


def test_proposals_stay_within_the_limits() -> None:
    rows = [
        told(f"t{n}", job, types=[["c", kind]], types_batch=f"{job}{n}")
        for n in range(20)
        for job, kind in (("a", "int"), ("b", "text"))
    ]
    made = drafts(disagreement(*rows), {}, (), (), IDS, "shop", Limits(evidence=6))
    assert [len(draft.evidence) for draft in made] == [6] * 6 + [4]
    assert sum(len(draft.quads) for draft in made) == len({q for d in made for q in d.quads})


# --- the whole way, against facts and the shapes


class Runs:
    """Runs of jobs, reported to the project that the traffic is of."""

    def __init__(self, traffic: Traffic, classifier: Classifier) -> None:
        self._traffic, self._classifier = traffic, classifier
        self._minute = 0

    def report(self, job: str, trusted: bool = True, **members: list[dict[str, Any]]) -> str:
        """A run of this job that is complete; the batch that tells of it."""
        self._traffic.seq += 1
        self._minute += 1
        number = self._traffic.seq
        batch = EvidenceBatch(
            number,
            digest(number),
            self._traffic.project,
            RUNS,
            "application/json",
            1,
            1_795_840_000 * 10**9,
            None,
            trusted=trusted,
        )
        body = {
            "eventType": "COMPLETE",
            "eventTime": f"2026-11-22T12:{self._minute:02}:00Z",
            "run": {"runId": f"0197a000-0000-7000-8000-{number:012d}"},
            "job": {"namespace": "etl", "name": job},
            **members,
        }
        self._traffic.warehouse.insert(
            [
                self._classifier.classify(item)._replace(trusted=trusted)
                for item in events_of(json.dumps(body).encode(), batch)
                if isinstance(item, Event)
            ]
        )
        return batch.digest


def table(name: str, kind: str = "", owner: str = "") -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if kind:
        facets["schema"] = {"fields": [{"name": "price", "type": kind}]}
    if owner:
        facets["ownership"] = {"owners": [{"name": owner}]}
    return {"namespace": PLACE, "name": f"shop.public.{name}", "facets": facets}


@pytest.fixture
def runs(traffic: Traffic, classifier: Classifier) -> Runs:
    return Runs(traffic, classifier)


Stated = Callable[[], list[tuple[str, ...]]]


@pytest.fixture
def stated(gate: PlayedGate, ids: Ids, project: str) -> Stated:
    def ask() -> list[tuple[str, ...]]:
        """Kind, claim and batch of every claim that the project's graph states."""
        rows = gate.select(
            f"SELECT ?kind ?says ?batch {{ GRAPH <{ids.lineage_graph(project)}> {{"
            f" ?conflict <{Fo.conflictKind}> ?kind ; <{Fo.hasClaim}> ?claim ."
            f" ?claim <{Fo.claims}> ?says ; <{Fo.shownBy}> ?batch }} }}"
        )
        return [
            (kind.strip('"'), says.strip('"'), batch.rsplit("/", 1)[1].strip("0>"))
            for kind, says, batch in rows
        ]

    return ask


def queries(traffic: Traffic, statement: str, service: str = "load") -> None:
    """Spans of a service that carries out a statement."""
    span = str(traffic.seq)
    traffic.send(traffic.span(f"trace {span}", span, "", service, "client", sql(statement)))


def test_a_conflict_is_stated_and_taken_back(
    gate: PlayedGate, runs: Runs, traffic: Traffic, hire: Hire, stated: Stated, clock: Clock
) -> None:
    steward = hire()
    queries(traffic, "SELECT price FROM orders")
    runs.report("load", inputs=[table("orders", "numeric", "team:data")])
    steward.run_once()
    assert stated() == []

    # A second job gives the column another type, and the table another owner.
    runs.report("report", inputs=[table("orders", "text", "team:shop")])
    steward.run_once()
    assert stated() == [
        ("owner", "team:data", "2"),
        ("owner", "team:shop", "3"),
        ("type", "price is numeric", "2"),
        ("type", "price is text", "3"),
    ]
    made = gate.made()[-1]
    assert (made["state"], len(made["evidence"])) == ("applied", 2)
    assert made["rationale"].startswith("Sources disagree (2): ")
    # Steady traffic proposes nothing more.
    before = len(gate.made())
    runs.report("report", inputs=[table("orders", "text", "team:shop")])
    steward.run_once()
    assert len(gate.made()) == before

    # What a source says last is what it says.
    runs.report("report", inputs=[table("orders", "NUMERIC(10,2)", "team:data")])
    steward.run_once()
    assert stated() == []
    assert gate.made()[-1]["rationale"].startswith("Sources agree again (2): ")


def test_what_spans_show_and_runs_say(
    gate: PlayedGate, runs: Runs, traffic: Traffic, hire: Hire, stated: Stated, clock: Clock
) -> None:
    steward = hire()
    queries(traffic, "INSERT INTO orders (price) VALUES (?)")
    runs.report("load", inputs=[table("orders")])
    steward.run_once()
    assert stated() == [("access", "reads", "2"), ("access", "writes", "1")]
    runs.report("load", inputs=[table("orders")], outputs=[table("orders")])
    steward.run_once()
    assert stated() == []


def test_that_something_is_not_seen_is_told_when_it_lasts(
    gate: PlayedGate, runs: Runs, traffic: Traffic, hire: Hire, stated: Stated, clock: Clock
) -> None:
    steward = hire()
    queries(traffic, "SELECT 1 FROM stock")
    runs.report("load", inputs=[table("orders")])
    steward.run_once()
    assert stated() == []
    clock.pass_by(LASTING)
    queries(traffic, "SELECT 1 FROM stock")
    steward.run_once()
    assert [says for _, says, _ in stated()] == [NOT_SEEN, "reads"]
    queries(traffic, "SELECT 1 FROM orders")
    steward.run_once()
    assert stated() == []


def test_what_only_a_page_s_key_sends_disputes_nothing(
    gate: PlayedGate, runs: Runs, traffic: Traffic, hire: Hire, stated: Stated
) -> None:
    runs.report("load", inputs=[table("orders", "numeric")])
    runs.report("anybody", trusted=False, inputs=[table("orders", "text")])
    hire().run_once()
    assert stated() == []


def test_a_rejected_conflict_is_not_proposed_again(
    gate: PlayedGate, runs: Runs, traffic: Traffic, hire: Hire, stated: Stated
) -> None:
    runs.report("load", inputs=[table("orders", "numeric")])
    runs.report("report", inputs=[table("orders", "text")])
    steward = hire()
    steward.run_once()
    assert len(stated()) == 2
    gate.decide(gate.made()[-1]["id"], "reverted")
    before = len(gate.made())
    runs.report("report", inputs=[table("orders", "text")])
    steward.run_once()
    assert (stated(), len(gate.made())) == ([], before)


def test_no_more_are_stated_than_there_may_be(
    gate: PlayedGate,
    runs: Runs,
    traffic: Traffic,
    hire: Hire,
    stated: Stated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conflict_watch, "MAX_CONFLICTS", 3)
    for job, kind in (("load", "int"), ("report", "text")):
        runs.report(job, inputs=[table(f"t{n}", kind) for n in range(5)])
    steward = hire()
    outcome = steward.run_once()
    assert dict(outcome.set_aside)[TOO_MANY] == 2
    there = stated()
    assert len(there) == 6
    runs.report("load", inputs=[table("a", "int")])
    steward.run_once()
    assert stated() == there


def test_a_project_without_a_job_costs_nothing(
    gate: PlayedGate, traffic: Traffic, hire: Hire
) -> None:
    queries(traffic, "SELECT 1 FROM stock")
    steward = hire()
    steward.run_once()
    queries(traffic, "SELECT 1 FROM stock")
    gate.requests.clear()
    steward.run_once()
    # What is known already, and nothing else.
    assert gate.requests.count("POST /sparql") == 1


def test_steady_traffic_of_services_is_not_compared_again(
    gate: PlayedGate, runs: Runs, traffic: Traffic, hire: Hire
) -> None:
    runs.report("load", inputs=[table("orders")])
    queries(traffic, "SELECT 1 FROM orders")
    steward = hire()
    steward.run_once()
    queries(traffic, "SELECT 1 FROM orders")
    gate.requests.clear()
    steward.run_once()
    assert gate.requests.count("POST /sparql") == 1


def test_what_somebody_else_stated_is_left_alone(
    gate: PlayedGate, runs: Runs, hire: Hire, ids: Ids, project: str
) -> None:
    graph = NamedNode(ids.lineage_graph(project))
    own = Quad(
        NamedNode("http://example.org/conflict"),
        NamedNode("http://www.w3.org/2000/01/rdf-schema#label"),
        Literal("ours"),
        graph,
    )
    kind = NamedNode("http://www.w3.org/1999/02/22-rdf-syntax-ns#type")
    gate.add([own, Quad(own.subject, kind, NamedNode(Fo.Conflict), graph)])
    runs.report("load", inputs=[table("orders", "int")])
    hire().run_once()
    assert "http://example.org/conflict" in gate.lineage(project)
