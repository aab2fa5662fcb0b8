"""Claims and drafts: what is proposed, in which parts, and what is left out."""

from __future__ import annotations

from pyoxigraph import Literal, NamedNode, Quad

from ontology.dataset_names import DataName, Store, dataset, topic
from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs, Skos
from stewards.claim_set import Claims
from stewards.claims import FOREIGN_SUBJECT, claims
from stewards.draft import Drafts, Held, Limits, drafts
from stewards.evidence import Evidence
from stewards.identities import TOO_MANY_OPERATIONS
from stewards.observe import Access, Call, Invocation, Observations, Operation

IDS = Ids()
PROJECT = "shop"
GRAPH = NamedNode(IDS.lineage_graph(PROJECT))
WEB, ORDERS = IDS.service(PROJECT, "web"), IDS.service(PROJECT, "orders")


def batch(seq: int) -> Evidence:
    return ((seq, f"sha256:{seq:064x}"),)


def operation(service: str, kind: str, name: str) -> str:
    return IDS.operation(PROJECT, service, kind, name)


CHECKOUT = operation("web", "http", "POST /checkout")
CALLING = operation("web", "http-call", "POST orders")
PLACE = operation("orders", "http", "POST /orders")
INSERT = operation("orders", "database", "INSERT orders")
DEPENDENCY = IDS.dependency(PROJECT, "web", "orders")
STORE = Store("postgresql", "db.shop", "shop")
DATASET = IDS.dataset("postgresql", "db.shop", "shop", "orders")

SEEN = Observations(
    services={"web": batch(1), "orders": batch(2)},
    environments={("web", "prod"): batch(1)},
    releases={("web", "1.0"): batch(1)},
    operations={
        Operation("web", CHECKOUT, "offers", Fo.HttpRoute): batch(1),
        Operation("web", CALLING, "performs", Fo.HttpCall): batch(1),
        Operation("orders", PLACE, "offers", Fo.HttpRoute): batch(2),
        Operation("orders", INSERT, "performs", Fo.DatabaseOperation): batch(2),
    },
    accesses={Access("orders", INSERT, "writes", DataName("dataset", STORE, "orders")): batch(2)},
    calls={Call("web", "orders", CALLING, PLACE): (*batch(1), *batch(2))},
    invocations={
        Invocation("web", CHECKOUT, CALLING): batch(1),
        Invocation("orders", PLACE, INSERT): batch(2),
    },
)


def quad(subject: str, predicate: str, value: str) -> Quad:
    term = NamedNode(value) if value.startswith("http") else Literal(value)
    return Quad(NamedNode(subject), NamedNode(predicate), term, GRAPH)


def proposed(drafted: Drafts) -> set[Quad]:
    return {quad for draft in drafted.drafts for quad in draft.quads}


def of(observed: Observations) -> Claims:
    return claims(observed, IDS, PROJECT)


def all_of_it() -> set[Quad]:
    return proposed(drafts(of(SEEN).claims, Held(), Limits()))


def test_everything_that_was_seen_is_said_once() -> None:
    quads = all_of_it()
    assert {
        quad(WEB, Rdf.type, Fo.Service),
        quad(WEB, Rdfs.label, "web"),
        quad(WEB, Skos.notation, "web"),
        quad(WEB, Fo.inProject, IDS.project(PROJECT)),
        quad(WEB, Fo.runsIn, IDS.environment("prod")),
        quad(WEB, Fo.hasRelease, IDS.release("web", "1.0")),
        quad(IDS.release("web", "1.0"), Fo.version, "1.0"),
        quad(WEB, Fo.offers, CHECKOUT),
        quad(WEB, Fo.performs, CALLING),
        quad(CHECKOUT, Rdf.type, Fo.HttpRoute),
        quad(CHECKOUT, Fo.httpMethod, "POST"),
        quad(CHECKOUT, Fo.route, "/checkout"),
        quad(CALLING, Fo.httpMethod, "POST"),
        quad(CHECKOUT, Fo.invokes, CALLING),
        quad(CALLING, Fo.callsOperation, PLACE),
        quad(WEB, Fo.calls, ORDERS),
        quad(DEPENDENCY, Fo.caller, WEB),
        quad(DEPENDENCY, Fo.callee, ORDERS),
        quad(DEPENDENCY, Fo.via, PLACE),
        quad(PLACE, Fo.invokes, INSERT),
        quad(INSERT, Fo.writes, DATASET),
        quad(DATASET, Rdfs.label, "orders"),
        quad(DATASET, Fo.storedIn, IDS.data_store("postgresql", "db.shop", "shop")),
    } <= quads
    assert quad(CALLING, Fo.route, "orders") not in quads
    assert {q.graph_name for q in quads} == {GRAPH}


def test_one_draft_with_reason_and_evidence() -> None:
    (draft,) = drafts(of(SEEN).claims, Held(), Limits()).drafts
    assert draft.rationale == (
        "First seen in 2 evidence batches: 1 data store, 1 deployment environment,"
        " 1 release, 2 services, 1 dataset, 4 operations, 1 dependency, 15 links."
    )
    assert draft.evidence == (batch(1)[0][1], batch(2)[0][1])
    assert draft.removals == ""
    assert draft.additions.splitlines() == sorted(draft.additions.splitlines())


def test_the_same_facts_in_another_order_give_the_same_bytes() -> None:
    turned = Observations(
        **{
            name: dict(reversed(list(getattr(SEEN, name).items())))
            for name in vars(SEEN)
            if name != "set_aside"
        }
    )
    assert drafts(of(turned).claims, Held(), Limits()) == drafts(of(SEEN).claims, Held(), Limits())


def test_what_the_graph_holds_is_not_proposed_again() -> None:
    quads = all_of_it()
    assert drafts(of(SEEN).claims, Held(quads=frozenset(quads)), Limits()) == Drafts()
    link = quad(WEB, Fo.calls, ORDERS)
    left = drafts(of(SEEN).claims, Held(quads=frozenset(quads - {link})), Limits())
    assert proposed(left) == {link}
    assert left.drafts[0].rationale == "First seen in 2 evidence batches: 1 link."


def test_what_people_wrote_stays() -> None:
    """A relabelled, reclassified thing gets neither its old label nor a second class."""
    held = Held(described=frozenset({(WEB, Rdfs.label), (CHECKOUT, Rdf.type)}))
    quads = proposed(drafts(of(SEEN).claims, held, Limits()))
    assert quad(WEB, Rdfs.label, "web") not in quads
    assert quad(CHECKOUT, Rdf.type, Fo.HttpRoute) not in quads
    assert quad(WEB, Rdf.type, Fo.Service) in quads
    assert quad(WEB, Fo.offers, CHECKOUT) in quads


def test_a_thing_that_is_withheld_takes_along_what_speaks_of_it() -> None:
    held = Held(withheld=frozenset({quad(ORDERS, Rdf.type, Fo.Service)}))
    quads = proposed(drafts(of(SEEN).claims, held, Limits()))
    about = {ORDERS, PLACE, INSERT, DEPENDENCY}
    assert quads
    for each in quads:
        assert isinstance(each.subject, NamedNode)
        assert each.subject.value not in about
        assert not (isinstance(each.object, NamedNode) and each.object.value in about)


def test_a_thing_is_never_described_in_part() -> None:
    held = Held(withheld=frozenset({quad(CHECKOUT, Fo.inProject, IDS.project(PROJECT))}))
    quads = proposed(drafts(of(SEEN).claims, held, Limits()))
    assert not [each for each in quads if str(each.subject) == f"<{CHECKOUT}>"]


def test_a_withheld_detail_of_a_dependency_leaves_the_rest_of_it() -> None:
    held = Held(withheld=frozenset({quad(DEPENDENCY, Fo.via, PLACE)}))
    assert all_of_it() - proposed(drafts(of(SEEN).claims, held, Limits())) == held.withheld


def test_large_drafts_are_cut_between_things_so_that_each_part_stands_on_the_ones_before() -> None:
    parts = drafts(of(SEEN).claims, Held(), Limits(quads=8)).drafts
    assert len(parts) > 5
    assert {q for part in parts for q in part.quads} == all_of_it()
    assert sum(len(part.quads) for part in parts) == len(all_of_it())
    introduced: set[str] = set()
    mentioned = {q.subject.value for q in all_of_it() if isinstance(q.subject, NamedNode)}
    for part in parts:
        assert len(part.quads) <= 8
        introduced |= {
            q.subject.value
            for q in part.quads
            if q.predicate.value == Rdf.type and isinstance(q.subject, NamedNode)
        }
        for q in part.quads:
            for term in (q.subject, q.object):
                if isinstance(term, NamedNode) and term.value in mentioned:
                    assert term.value in introduced, (q, "speaks of what comes later")


def test_evidence_is_never_left_out_so_drafts_are_cut_by_it_too() -> None:
    seen = Observations(services={f"s{n}": batch(n) for n in range(200)})
    parts = drafts(of(seen).claims, Held(), Limits(evidence=64)).drafts
    assert [len(part.evidence) for part in parts] == [64, 64, 64, 8]
    for part in parts:
        for q in part.quads:
            assert isinstance(q.subject, NamedNode)
            number = int(q.subject.value.rsplit("/s", 1)[1])
            assert batch(number)[0][1] in part.evidence


def test_names_with_ids_in_them_cannot_make_the_graph_grow_for_ever() -> None:
    many = {
        Operation("web", operation("web", "internal", f"job {n:04}"), "performs", "urn:c"): batch(n)
        for n in range(50)
    }
    seen = Observations(services={"web": batch(0)}, operations=many)
    drafted = drafts(of(seen).claims, Held(operations={WEB: 990}), Limits(operations=1_000))
    assert drafted.set_aside == {TOO_MANY_OPERATIONS: 40}
    kept = {q.object for q in proposed(drafted) if q.predicate.value == Fo.performs}
    assert kept == {NamedNode(operation("web", "internal", f"job {n:04}")) for n in range(10)}


def test_an_operation_of_somebody_else_is_set_aside() -> None:
    foreign = [
        "http://other.example/id/operation/shop/web/http/GET",
        IDS.operation("other", "web", "http", "GET"),
        IDS.instance("operation", PROJECT) + "/web/http/" + "x" * 5_000,
        IDS.instance("operation", PROJECT) + "/web/http/a b>",
    ]
    seen = Observations(
        services={"web": batch(1)},
        operations={Operation("web", iri, "offers", Fo.HttpRoute): batch(1) for iri in foreign},
        invocations={Invocation("web", foreign[0], foreign[1]): batch(1)},
    )
    found = of(seen)
    assert found.set_aside == {FOREIGN_SUBJECT: 4}
    assert {claim.about for claim in found.claims} == {WEB}


def test_an_operation_has_the_class_that_was_seen_first() -> None:
    seen = Observations(
        services={"web": batch(1)},
        operations={
            Operation("web", CHECKOUT, "offers", "urn:later"): batch(7),
            Operation("web", CHECKOUT, "offers", Fo.HttpRoute): batch(1),
        },
    )
    types = {
        str(claim.quad.object)
        for claim in of(seen).claims
        if claim.quad.predicate.value == Rdf.type and claim.about == CHECKOUT
    }
    assert types == {f"<{Fo.HttpRoute}>"}


def test_a_name_is_shown_as_one_line_and_kept_whole_in_the_key() -> None:
    odd = "wéb\n\u202eevil\x00  支払い"
    (draft,) = drafts(of(Observations(services={odd: batch(1)})).claims, Held(), Limits()).drafts
    assert quad(IDS.service(PROJECT, odd), Rdfs.label, "wéb evil 支払い") in set(draft.quads)
    assert len(draft.additions.splitlines()) == len(draft.quads)


def test_what_has_no_address_is_known_within_the_project_only() -> None:
    accesses = {
        Access("orders", INSERT, "reads", dataset(Store("sqlite", "", "a.db"), "t")): batch(2),
        Access("orders", PLACE, "writes", topic("celery", "", "", "q")): batch(2),
    }
    seen = Observations(services=SEEN.services, operations=SEEN.operations, accesses=accesses)
    quads = proposed(drafts(of(seen).claims, Held(), Limits()))
    own = "project:shop"
    assert quad(INSERT, Fo.reads, IDS.dataset("sqlite", own, "a.db", "t")) in quads
    assert quad(PLACE, Fo.writes, IDS.topic("celery", own, "q")) in quads
    assert not [each for each in quads if each.predicate.value == Fo.address]


def test_a_service_that_calls_itself_depends_on_nobody() -> None:
    seen = Observations(
        services=SEEN.services,
        operations=SEEN.operations,
        calls={Call("web", "web", CALLING, CHECKOUT): batch(1)},
    )
    quads = proposed(drafts(of(seen).claims, Held(), Limits()))
    assert quad(CALLING, Fo.callsOperation, CHECKOUT) in quads
    assert not [each for each in quads if each.predicate.value in (Fo.calls, Fo.caller)]
