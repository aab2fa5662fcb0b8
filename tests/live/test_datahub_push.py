"""The push to DataHub: a real platform on one side, DataHub's protocol on the other; bad days."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import RdfFormat, parse

from ontology.vocab import FO, Fo, Rdfs
from stewards.datahub_push import Life, Pushed, Source, Target, push
from stewards.datahub_state import DeadLetter, PushState
from stewards.errors import PushLater, PushNeedsPerson
from tests.live import datahub_server
from tests.live.datahub_server import Gms, Mood, failed, serving_datahub
from tests.live.pushing import kept_in
from tests.live.test_datahub import ORDERS, TOTALS, URN, URNS, dataset_turtle, shop_turtle
from tests.seeded_secrets import PEER_PASSWORD

if TYPE_CHECKING:
    from tests.live.conftest import Server, Serving

pytestmark = pytest.mark.live

FLOW = "urn:li:dataFlow:(fractalops,shop.service.cart,PROD)"
DOMAIN = "urn:li:domain:fractalops.shop"


@dataclass
class Pusher:
    """Pushes one platform's catalog to one DataHub, without waiting in earnest."""

    server: Server
    gms: Gms
    place: Path
    waits: list[float] = field(default_factory=list)
    saves: int = 0
    beats: list[Mapping[str, Any]] = field(default_factory=list)
    beats_left: int = 1_000_000

    def push(self, **options: Any) -> Pushed:
        """Pushes once; ``options`` are those of the push, or of a recipe."""
        load, save = kept_in(self.place)

        def counted(document: Mapping[str, Any]) -> None:
            self.saves += 1
            save(document)

        def beat(details: Mapping[str, Any]) -> None:
            self.beats.append(details)
            self.beats_left -= 1

        own = {name: options.pop(name) for name in ("again", "whole") if name in options}
        url = options.pop("url", self.gms.url)
        life = Life(beat, lambda: self.beats_left <= 0, self.waits.append, random=Random(7))
        return push(
            Source(self.server.url, self.server.token, {"page_size": 3, **options}),
            Target(url, self.gms.token or None, timeout=1.0),
            load=load,
            save=counted,
            life=life,
            **own,
        )

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.place.read_text(encoding="utf-8"))
        return found

    @property
    def dead(self) -> list[DeadLetter]:
        return list(PushState.of(self.state, self.gms.url).dead.values())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serving_in: Serving) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("pushed")) as serve:
        made: Server = serve(None).start()
        made.post("/projects", {"slug": "shop"})
        made.propose("shop", shop_turtle(made))
        yield made
        made.end()


@pytest.fixture
def gms() -> Iterator[Gms]:
    with serving_datahub() as served:
        yield served
    assert served.invalid == []
    assert served.unknown == []


@pytest.fixture
def pusher(server: Server, gms: Gms, tmp_path: Path) -> Pusher:
    return Pusher(server, gms, tmp_path / "push.json")


def stated(server: Server, name: str) -> str:
    """States one more dataset; its URN."""
    iri = server.ids.dataset("postgresql", "db.shop", "shop", name)
    server.propose("shop", dataset_turtle(iri, name, "postgresql"))
    return URN % ("postgres", f"shop.public.{name}")


def retracted(server: Server, name: str) -> None:
    iri = server.ids.dataset("postgresql", "db.shop", "shop", name)
    lines = "".join(
        f"{quad.triple} <{server.ids.lineage_graph('shop')}> .\n"
        for quad in parse(dataset_turtle(iri, name, "postgresql"), RdfFormat.TURTLE)
    )
    answer = server.post("/proposals", {"project": "shop", "rationale": "gone", "removals": lines})
    assert answer["state"] == "applied", answer


def test_a_first_push_tells_everything_and_the_same_head_nothing(pusher: Pusher) -> None:
    gms = pusher.gms
    first = pusher.push()
    assert first.finished
    assert first.head == pusher.server.head
    assert {URNS[ORDERS], URNS[TOTALS], FLOW, DOMAIN} <= gms.urns
    assert first.emitted == len(gms.urns - {u for u in gms.urns if "structuredProperty" in u})
    assert gms.removed(URNS[ORDERS]) is False
    lineage = gms.aspects[URNS[TOTALS], "upstreamLineage"]
    assert [it["dataset"] for it in lineage["upstreams"]] == [URNS[ORDERS]]
    # What people edit is added to.
    assert (URNS[ORDERS], "structuredProperties") in gms.patched
    assert {name for _, name in gms.aspects} & {"ownership", "domains"} == set()
    assert not any(name.startswith("editable") for _, name in gms.aspects)
    assert pusher.server.token not in pusher.place.read_text(encoding="utf-8")
    assert pusher.beats[-1]["emitted"] == first.emitted

    saves = pusher.saves
    gms.forget()
    second = pusher.push()
    assert (second.head, second.emitted, second.removed, second.dead) == (first.head, 0, 0, 0)
    assert gms.requests == []
    assert pusher.saves == saves


def test_what_changed_is_told_and_what_is_gone_is_removed(pusher: Pusher, server: Server) -> None:
    gms = pusher.gms
    pusher.push()
    gms.forget()
    urn = stated(server, "changed")
    assert pusher.push().emitted >= 1
    told = {it for it in gms.urns if it.startswith(("urn:li:dataset", "urn:li:data"))}
    assert told == {urn}
    gms.forget()
    retracted(server, "changed")
    outcome = pusher.push()
    assert outcome.removed >= 1
    assert gms.removed(urn) is True
    assert {it["aspectName"] for it in gms.proposals if it["entityUrn"] == urn} == {"status"}
    # It comes back.
    gms.forget()
    stated(server, "changed")
    pusher.push()
    assert gms.removed(urn) is False
    gms.forget()
    retracted(server, "changed")
    pusher.push()
    assert gms.removed(urn) is True


def test_lineage_that_is_gone_is_taken_back(pusher: Pusher, server: Server) -> None:
    ids, gms, urn = server.ids, pusher.gms, stated(server, "derived")
    derived = ids.dataset("postgresql", "db.shop", "shop", "derived")
    job = ids.job("shop", "nightly", "fill")
    server.propose("shop", f'<{job}> a <{Fo.Job}> ; <{Rdfs.label}> "fill" .')
    lines = "".join(
        f"<{subject}> <{predicate}> <{value}> <{ids.lineage_graph('shop')}> .\n"
        for subject, predicate, value in (
            (derived, Fo.derivedFrom, ORDERS.iri(ids, "shop")),
            (job, Fo.writes, derived),
        )
    )
    change = {"project": "shop", "rationale": "lineage"}
    assert server.post("/proposals", {**change, "additions": lines})["state"] == "applied"
    pusher.push()
    assert [it["dataset"] for it in gms.aspects[urn, "upstreamLineage"]["upstreams"]] == [
        URNS[ORDERS]
    ]
    ((filling, written),) = [
        (of, value)
        for (of, name), value in gms.aspects.items()
        if name == "dataJobInputOutput" and value["outputDatasets"] == [urn]
    ]
    assert written["inputDatasets"] == []
    # What DataHub refuses at first is taken back once it takes it.
    gms.refused[urn] = (422, "not now")
    assert server.post("/proposals", {**change, "removals": lines})["state"] == "applied"
    assert pusher.push().dead == 1
    assert gms.aspects[filling, "dataJobInputOutput"]["outputDatasets"] == []
    gms.refused.clear()
    assert pusher.push(again=True).dead == 0
    assert gms.aspects[urn, "upstreamLineage"]["upstreams"] == []
    gms.forget()
    pusher.push(whole=True)
    assert not [
        it
        for it in gms.proposals
        if it["aspectName"] in ("upstreamLineage", "dataJobInputOutput")
        and it["entityUrn"] in (urn, filling)
    ]
    retracted(server, "derived")


def test_where_sources_disagree_the_dataset_says_so_until_they_agree(
    pusher: Pusher, server: Server
) -> None:
    ids, orders = server.ids, ORDERS.iri(server.ids, "shop")
    conflict = ids.conflict("shop", "access", orders, "a", "b")
    label = "access: load (openlineage.event): writes; cart (otel.span): reads"
    claims = {
        ids.source_claim(conflict, source, says): f'fo:claims "{says}" ; fo:source "{source}"'
        for source, says in (("openlineage.event", "writes"), ("otel.span", "reads"))
    }
    said = f"""
PREFIX fo: <{FO}>
<{conflict}> a fo:Conflict ; <{Rdfs.label}> "{label}" ; fo:conflictKind "access" ;
  fo:disputes <{orders}> ; fo:inProject <{ids.project("shop")}> ;
  fo:hasClaim {" , ".join(f"<{claim}>" for claim in claims)} .
""" + "".join(f"<{claim}> a fo:SourceClaim ; {says} .\n" for claim, says in claims.items())

    def told() -> dict[str, str]:
        pusher.push()
        properties = pusher.gms.aspects[URNS[ORDERS], "datasetProperties"]["customProperties"]
        return dict(properties)

    assert "conflicts" not in told()
    made = server.propose("shop", said)
    assert made["state"] == "applied", made
    assert told()["conflicts"] == label
    once, now = (
        f'<{conflict}> <{Rdfs.label}> "{text}" <{ids.lineage_graph("shop")}> .\n'
        for text in (label, f"{label} (two of them)")
    )
    worded = {"project": "shop", "rationale": "more of it", "removals": once, "additions": now}
    assert server.post("/proposals", worded)["state"] == "applied"
    assert told()["conflicts"] == f"{label} (two of them)"
    said = said.replace(label, f"{label} (two of them)")
    lines = "".join(
        f"{quad.triple} <{ids.lineage_graph('shop')}> .\n" for quad in parse(said, RdfFormat.TURTLE)
    )
    agreed = {"project": "shop", "rationale": "they agree", "removals": lines}
    assert server.post("/proposals", agreed)["state"] == "applied"
    assert "conflicts" not in told()


def test_what_everybody_refers_to_changes_and_only_that_is_told(
    pusher: Pusher, server: Server
) -> None:
    pusher.push()
    pusher.gms.forget()
    server.post("/projects", {"slug": "third"})
    outcome = pusher.push()
    told = {it for it in pusher.gms.urns if "structuredProperty" not in it}
    assert told == {"urn:li:domain:fractalops.third", "urn:li:corpuser:steward-third"}
    assert outcome.emitted == 2


@pytest.mark.parametrize(
    ("moods", "waits"),
    [
        ([datahub_server.BROKEN, datahub_server.BROKEN], 2),
        ([datahub_server.BUSY], 1),
        ([datahub_server.INSIDE], 1),
        ([datahub_server.PAGE], 1),
        ([datahub_server.CLOSED], 1),
        ([datahub_server.LOST], 1),
        ([datahub_server.HANGING], 1),
        ([Mood(503, "<html>\n<h1>later</h1>"), Mood(408), Mood(504)], 3),
    ],
    ids=["500", "429", "an error inside", "a page", "closed", "answer lost", "hanging", "proxy"],
)
def test_what_passes_is_waited_for(pusher: Pusher, moods: list[Mood], waits: int) -> None:
    pusher.gms.moods.extend(moods)
    outcome = pusher.push()
    assert outcome.finished
    assert outcome.dead == 0
    assert {URNS[ORDERS], FLOW, DOMAIN} <= pusher.gms.urns
    rests = [seconds for seconds in pusher.waits if seconds > 0]
    if moods == [datahub_server.BUSY]:
        # As long as it asked for, in parts.
        assert sum(rests) == 7.0
    else:
        assert len(rests) == waits
        assert all(0.5 <= seconds <= 4.0 for seconds in rests)


def test_a_datahub_in_trouble_is_pushed_to_later_and_nothing_is_lost(pusher: Pusher) -> None:
    gms = pusher.gms
    for mood in (Mood(503, failed(503, "starting")), datahub_server.BROKEN, datahub_server.CLOSED):
        gms.moods.extend([mood] * 200)
        with pytest.raises(PushLater, match="push later"):
            pusher.push()
        gms.moods.clear()
    assert pusher.state["targets"][gms.url]["head"] is None
    assert pusher.state["dead"] == []
    assert pusher.push().finished
    assert {URNS[ORDERS], FLOW, DOMAIN} <= gms.urns


def test_nobody_there_is_no_reason_to_call_somebody(pusher: Pusher) -> None:
    with pytest.raises(PushLater, match="no answer"):
        pusher.push(url="http://127.0.0.1:9")


def test_a_wrong_address_is_for_a_person(pusher: Pusher, server: Server) -> None:
    for url in (server.url, f"{pusher.gms.url}/nowhere"):
        with pytest.raises(PushNeedsPerson, match="address of DataHub's metadata service"):
            pusher.push(url=url)
    pusher.gms.unknown.clear()
    pusher.gms.config = {"status": "ok"}
    with pytest.raises(PushNeedsPerson, match="is something else"):
        pusher.push()
    for url in ("gms:8080", "http://me:secret@gms:8080", "http://"):
        with pytest.raises(PushNeedsPerson) as refused:
            pusher.push(url=url)
        assert "secret" not in str(refused.value)


def test_a_wrong_token_is_for_a_person(server: Server, gms: Gms, tmp_path: Path) -> None:
    gms.token = "dh-right"
    pusher = Pusher(server, gms, tmp_path / "push.json")
    assert pusher.push().finished
    stated(server, "unseen")
    load, save = kept_in(pusher.place)
    source = Source(server.url, server.token)
    with pytest.raises(PushNeedsPerson, match="refuses the token") as refused:
        push(source, Target(gms.url, "dh-wrong-token"), load=load, save=save)
    assert "dh-wrong-token" not in str(refused.value)
    with pytest.raises(PushNeedsPerson, match="401"):
        push(Source(server.url, "fot_wrong"), Target(gms.url, "dh-right"), load=load, save=save)
    assert pusher.push().emitted >= 1


def test_an_entity_that_is_refused_is_put_aside_and_its_neighbours_go_on(
    pusher: Pusher, server: Server
) -> None:
    gms, urn = pusher.gms, URNS[ORDERS]
    message = "<b>Invalid</b> aspect; Authorization: Bearer abc.def\n\tat com.linkedin..."
    gms.refused[urn] = (422, message)
    outcome = pusher.push()
    assert outcome.finished
    assert outcome.dead == 1
    assert urn not in gms.urns
    assert {URNS[TOTALS], FLOW, DOMAIN} <= gms.urns
    # Where the status of a job finds it.
    (letter,) = pusher.state["dead"]
    assert letter == {
        "target": gms.url,
        "urn": urn,
        "iri": ORDERS.iri(server.ids, "shop"),
        "status": 422,
        "error": "Invalid",
        "head": outcome.head,
        "attempts": 1,
    }

    # Not again at the same head, nor when something else changes; but when it changes itself.
    gms.forget()
    assert pusher.push().dead == 1
    assert gms.requests == []
    stated(server, "neighbour")
    pusher.push()
    assert urn not in gms.urns
    iri = ORDERS.iri(server.ids, "shop")
    server.propose("shop", f'<{iri}> <http://www.w3.org/2000/01/rdf-schema#comment> "new" .')
    assert pusher.push().dead == 1
    assert [letter.attempts for letter in pusher.dead] == [2]

    # And when somebody asks for it, then with nothing else.
    gms.refused.clear()
    gms.forget()
    outcome = pusher.push(again=True)
    assert outcome.dead == 0
    assert pusher.dead == []
    told = {it for it in gms.urns if it.startswith("urn:li:data")}
    assert told == {urn}


def test_an_entity_that_datahub_breaks_on_is_put_aside_too(pusher: Pusher) -> None:
    gms, urn = pusher.gms, URNS[TOTALS]
    gms.refused[urn] = (500, "java.lang.NullPointerException")
    outcome = pusher.push()
    assert outcome.dead == 1
    (letter,) = pusher.dead
    assert (letter.urn, letter.status) == (urn, 500)
    assert {URNS[ORDERS], FLOW, DOMAIN} <= gms.urns


def test_what_looks_like_a_secret_is_no_part_of_a_dead_letter(pusher: Pusher) -> None:
    pusher.gms.refused[URNS[ORDERS]] = (400, f"no such user: postgres://app:{PEER_PASSWORD}@db/x")
    pusher.push()
    (letter,) = pusher.dead
    assert letter.error == "left out, for it holds what looks like a secret"
    assert PEER_PASSWORD not in pusher.place.read_text(encoding="utf-8")


def test_a_datahub_that_refuses_our_definitions_is_for_a_person(pusher: Pusher) -> None:
    urn = "urn:li:structuredProperty:io.fractalops.evidence"
    pusher.gms.refused[urn] = (400, "Unknown entity structuredProperty")
    with pytest.raises(PushNeedsPerson, match=r"1\.0 or newer"):
        pusher.push()


def test_what_people_edited_stays_unless_it_is_asked_for(pusher: Pusher, server: Server) -> None:
    gms = pusher.gms
    pusher.push()
    term = next(urn for urn, name in gms.aspects if name == "glossaryTermInfo")
    ours = gms.aspects[term, "glossaryTermInfo"]["definition"]
    gms.aspects[term, "glossaryTermInfo"]["definition"] = "what we mean by it"
    gms.aspects[DOMAIN, "domainProperties"]["description"] = "the shop"
    pusher.push(whole=True)
    assert gms.aspects[term, "glossaryTermInfo"]["definition"] == "what we mean by it"
    assert gms.aspects[DOMAIN, "domainProperties"]["description"] == "the shop"
    pusher.push(overwrite=True)
    assert gms.aspects[term, "glossaryTermInfo"]["definition"] == ours
    assert gms.aspects[DOMAIN, "domainProperties"].get("description") is None
    assert (URNS[ORDERS], "domains") in gms.aspects


def test_of_another_source_s_datasets_nothing_is_replaced_and_none_removed(
    pusher: Pusher, server: Server
) -> None:
    pusher.push()
    pusher.gms.forget()
    pusher.push(stores=[{"system": "postgresql", "primary": False}])
    of_orders = [it for it in pusher.gms.proposals if it["entityUrn"] == URNS[ORDERS]]
    assert of_orders
    assert {it["changeType"] for it in of_orders} == {"PATCH"}
    assert pusher.gms.removed(URNS[ORDERS]) is None


def test_a_push_that_is_told_to_stop_stops_and_goes_on(pusher: Pusher) -> None:
    def written(count: int) -> None:
        pusher.beats_left = 0

    pusher.gms.written = written
    outcome = pusher.push()
    assert not outcome.finished
    assert outcome.head == -1
    assert pusher.gms.urns
    pusher.gms.written = lambda count: None
    pusher.beats_left = 1_000_000
    assert pusher.push().finished
    assert {URNS[ORDERS], URNS[TOTALS], FLOW, DOMAIN} <= pusher.gms.urns


def test_what_was_begun_by_other_options_is_undone(pusher: Pusher) -> None:
    gms = pusher.gms
    pusher.push()
    gms.forget()

    def written(count: int) -> None:
        if any(",DEV)" in urn for urn in gms.urns):
            pusher.beats_left = 0

    gms.written = written
    assert not pusher.push(env="DEV").finished
    begun = {urn for urn in gms.urns if urn.endswith(",DEV)")}
    assert begun
    gms.written = lambda count: None
    pusher.beats_left = 1_000_000
    assert pusher.push().finished
    assert {urn: gms.removed(urn) for urn in begun} == dict.fromkeys(begun, True)
    assert gms.removed(FLOW) is False


def test_a_catalog_that_shrank_to_little_is_not_believed_at_once(
    pusher: Pusher, server: Server
) -> None:
    for number in range(25):
        stated(server, f"many_{number}")
    pusher.push(glossary=False)
    pusher.gms.forget()
    none = {"projects": {"allow": ["nothing"]}, "glossary": False}
    with pytest.raises(PushNeedsPerson, match="are not in the catalog any more"):
        pusher.push(**none)
    assert pusher.gms.removed(URNS[ORDERS]) is None
    assert pusher.push(whole=True, **none).removed > 25
    assert pusher.gms.removed(URNS[ORDERS]) is True


def test_killed_in_the_middle_it_goes_on_without_loss(
    pusher: Pusher, server: Server, tmp_path: Path, checkout: Path
) -> None:
    urn = stated(server, "short_lived")
    gms = pusher.gms
    # The first batches are taken, among them what is gone before the next push.
    reached = threading.Event()

    def written(count: int) -> None:
        if urn in gms.urns and not reached.is_set():
            reached.set()
            gms.released.wait(60)

    gms.written = written
    paths = f"{checkout}:{checkout / 'stewards' / 'datahub'}"
    script = Path(__file__).with_name("pushing.py")
    process = subprocess.Popen(
        [sys.executable, script, server.url, server.token, gms.url, pusher.place],
        env={"PYTHONPATH": paths, "HOME": str(tmp_path), "PATH": ""},
        stderr=subprocess.PIPE,
    )
    try:
        assert reached.wait(60), process.communicate()
    finally:
        process.kill()
        process.communicate()
    gms.released.set()
    retracted(server, "short_lived")
    outcome = pusher.push(page_size=2)
    assert outcome.finished
    assert outcome.head == server.head
    assert gms.removed(urn) is True
    with serving_datahub() as other:
        straight = Pusher(server, other, tmp_path / "straight.json")
        straight.push(page_size=2)
        missing = other.aspects.keys() - gms.aspects.keys()
        assert not missing
        assert all(gms.aspects[key] == value for key, value in other.aspects.items())
        assert other.patched.keys() <= gms.patched.keys()


def test_without_the_client_it_says_what_to_install_and_nobody_imports_it_before() -> None:
    probe = """
import sys
import graph_api.app, graph_api.cli, stewards.datahub_push as it
assert not {"datahub", "fractalops_datahub"} & sys.modules.keys()
sys.modules["datahub"] = None
try:
    it.push(it.Source("http://h", "t"), it.Target("http://h"), load=lambda: None, save=print)
except it.PushNeedsPerson as error:
    assert "pip install" in str(error), error
else:
    raise SystemExit("it pushed")
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
