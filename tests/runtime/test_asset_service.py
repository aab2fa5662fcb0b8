"""The control of assets over a real gate and a machine that plays: what is begun once, what becomes
of it whatever happens, and what is recorded of it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from ontology.ids import Ids
from proofs.errors import BadSubmission, Forbidden, WritingStopped
from proofs.genesis import steward_slug
from proofs.orders import Result
from proofs.proposal import ProposalView
from runtime.asset_checks import AssetChecks, Checked, Probed
from runtime.asset_graph import AssetGraph
from runtime.asset_service import RuntimeAssetControlService, Selection
from runtime.assets import IntegrationEndpoint, Locators, RuntimeAsset
from runtime.commands import Command, Outcome, Output, Sink, Stream
from runtime.control_request import ControlRequest, Reply
from runtime.control_runs import Run
from runtime.errors import (
    AdapterError,
    CommandRefused,
    ControlBusy,
    ControlClosed,
    ControlError,
    MachineStopped,
    MachineUnreachable,
    NotControlled,
    NotPermitted,
    RequestRefused,
    UnknownAsset,
    UnknownRun,
)
from runtime.permitted_actions import PermittedCommand, PermittedRequest
from runtime.run_record import RunRecord
from runtime.run_slots import RunSlots
from runtime.urls import ExecutorUrl
from tests.proofs.conftest import BASE, Gate, controlled, controlled_folder, founded, gate, signer

if TYPE_CHECKING:
    from runtime.machines import Machine

__all__ = ["controlled", "controlled_folder", "founded", "gate", "signer"]

IDS = Ids(BASE)
SHOP, BILLING = (IDS.principal(steward_slug(slug)) for slug in ("shop", "billing"))
WEB = Selection(asset_id="web-1")
PERMITS = (
    PermittedCommand(("uptime",), "reads"),
    PermittedCommand(("echo", "..."), "reads"),
    PermittedCommand(("wait",), "reads"),
    PermittedCommand(("sh", "-c", "*"), "reads"),
    PermittedCommand(("reboot",), "changes"),
    PermittedRequest(("GET",), "/health", "reads"),
    PermittedRequest(("POST",), "/jobs/*", "changes"),
)
SECONDS = 20.0


def now() -> datetime:
    return datetime.now(UTC)


def output(data: bytes) -> Output:
    return Output(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), len(data))


@dataclass
class Played:
    """A machine whose commands do what the test says: ``uptime`` ends at once, ``wait`` when it is
    let go or cancelled."""

    ran: list[Command] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    started: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)
    error: Exception | None = None

    def check(self, run: str) -> None:
        if self.error is not None:
            raise self.error

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        if self.error is not None:
            raise self.error
        self.ran.append(command)
        began = now()
        said = " ".join(command.argv[1:]).encode()
        sink(Stream.STDOUT, said)
        self.started.set()
        if command.argv[0] == "wait":
            while not self.go.wait(0.01):
                if cancel.is_set():
                    return Outcome(
                        *(None, 9, began, now(), output(said), output(b"")), cancelled=True
                    )
        code = 3 if said == b"fail" else 0
        unknown = "the machine went away" if said == b"lost" else None
        return Outcome(code, None, began, now(), output(said), output(b""), unknown=unknown)

    def end(self, run: str) -> bool:
        self.ended.append(run)
        return True


@dataclass
class World:
    """A service over a gate, and what it was seen to do."""

    gate: Gate
    folder: Path
    machine: Played = field(default_factory=Played)
    kept: list[RunRecord] = field(default_factory=list)
    observed: list[tuple[str, str]] = field(default_factory=list)
    sent: list[ControlRequest] = field(default_factory=list)
    full: bool = False
    gone: bool = False
    unreached: bool = False

    def __post_init__(self) -> None:
        self.assets = AssetGraph([self.asset()], [IntegrationEndpoint("nexus", "", "/ready")])
        self.service = self.opened()

    def asset(self, **said: Any) -> RuntimeAsset:
        values: dict[str, Any] = {
            "asset_id": "web-1",
            "kind": "lxc",
            "owner": IDS.organisation("acme"),
            "locators": Locators(container="c-web-1"),
            "roles": ("web",),
            "permits": PERMITS,
            "executor": ExecutorUrl.parse("http://web.internal:2280/"),
            "iri": IDS.runtime_asset("web-1"),
        }
        return RuntimeAsset(**(values | said))

    def opened(self) -> RuntimeAssetControlService:
        checks = AssetChecks(
            self._machine,
            lambda url, method, path, headers: Probed(200),
            lambda endpoint: {},
            self._keep,
            lambda asset, state, **said: self.observed.append((asset.asset_id, state)),
            clock=now,
            new_id=lambda: f"check-{len(self.kept)}",
        )
        service = RuntimeAssetControlService(
            self.gate.ledger,
            self.gate.index.orders,
            lambda: self.assets,
            self._machine,
            self._send,
            self._keep,
            checks,
            may=self._may,
            clock=now,
            slots=RunSlots(2, 3),
            spool=self.folder,
        )
        self.gate.ledger.on_commit(service.committed)
        service.start()
        return service

    def restart(self) -> None:
        """Another service over the same journal, to which the former one said nothing."""
        self.service = self.opened()

    def ask(self, *argv: str, by: str = SHOP, **said: Any) -> Run:
        return self.service.run(by, WEB, argv, **said)

    def ended(self, run: Run) -> Run:
        """The run once its end is recorded."""
        done = Event()
        with self.service.live.watched(run.id, done.set):
            for _ in range(200):
                found = self.service.find(run.id)
                if found.view.state not in ("approved", "executing"):
                    return found
                done.wait(SECONDS / 200)
                done.clear()
        raise AssertionError(f"run {run.id} did not end")

    def approve(self, run: Run, by: str = "") -> None:
        self.gate.ledger.approve(by or self.gate.operator, run.id, "it is due")

    def _machine(self, asset: RuntimeAsset) -> Machine:
        if self.unreached:
            raise AdapterError("no host is configured")
        return self.machine

    def _send(
        self, executor: ExecutorUrl, request: ControlRequest, sink: Sink, cancel: Event
    ) -> Reply:
        self.sent.append(request)
        sink(Stream.STDOUT, b"well")
        return Reply("succeeded", now(), now(), 200, "text/plain", "", output(b"well"))

    def _keep(self, record: RunRecord) -> str:
        if self.full:
            raise OSError("no space left on device")
        self.kept.append(record)
        return f"sha256:{len(self.kept):064x}"

    def _may(self, principal: str, asset: RuntimeAsset) -> None:
        if principal == "nobody":
            raise Forbidden("it may not")


@pytest.fixture
def world(controlled: Gate, tmp_path: Path) -> Iterator[World]:
    made = World(controlled, tmp_path)
    yield made
    made.machine.go.set()
    made.service.close()


def states(run: Run) -> list[str]:
    return [step.state for step in run.view.transitions]


def test_what_reads_goes_at_once_and_is_recorded(world: World) -> None:
    head = world.gate.ledger.head
    done = world.ended(world.ask("echo", "a b", rationale="a look"))
    assert states(done) == ["submitted", "valid", "approved", "executing", "executed"]
    assert world.gate.ledger.head == head + 2
    assert done.result["outcome"] == "succeeded"
    assert done.result["stdout"]["digest"] == output(b"a b").digest
    (kept,) = world.kept
    assert done.evidence == (f"sha256:{1:064x}",)
    assert (kept.stdout, kept.outcome, kept.entry) == (b"a b", "succeeded", head + 1)
    assert (kept.principal, kept.run) == (SHOP, done.id)
    (ran,) = world.machine.ran
    assert (ran.run, ran.argv) == (done.id, ("echo", "a b"))
    world.gate.sound()


@pytest.mark.parametrize(
    ("said", "outcome", "code"), [("fail", "failed", 3), ("lost", "unknown", 0)]
)
def test_an_end_is_recorded_as_it_was(world: World, said: str, outcome: str, code: int) -> None:
    done = world.ended(world.ask("echo", said))
    assert (done.result["outcome"], done.result["exit_code"]) == (outcome, code)
    assert len(world.machine.ran) == 1


def test_what_changes_waits_and_runs_once(world: World) -> None:
    waiting = world.ask("reboot")
    assert waiting.view.state == "awaiting decision"
    assert world.ask("reboot").id == waiting.id
    assert world.machine.ran == []
    world.approve(waiting)
    done = world.ended(waiting)
    assert (done.result["outcome"], len(world.machine.ran)) == ("succeeded", 1)
    assert world.ask("reboot").id != waiting.id


def test_a_grant_has_it_go_at_once_and_an_interpreter_never_does(world: World) -> None:
    assert world.ended(world.ask("reboot", by=BILLING)).result["outcome"] == "succeeded"
    asked = world.ask("sh", "-c", "true", by=BILLING)
    assert asked.view.state == "awaiting decision"
    assert "interpreter" in asked.order.person


REFUSALS: list[tuple[Callable[[World], object], type[Exception], str]] = [
    (lambda w: w.ask("rm", "-rf"), NotPermitted, r'\["uptime"\] \(reads\)'),
    (lambda w: w.ask("echo", "a\0b"), CommandRefused, "NUL"),
    (lambda w: w.ask("echo", "\ud800"), CommandRefused, "surrogate"),
    (lambda w: w.ask("echo", "x" * 30_000), CommandRefused, "longer than"),
    (lambda w: w.ask("uptime", seconds=1e6), CommandRefused, "time limit"),
    (lambda w: w.ask("uptime", output_bytes=1 << 40), CommandRefused, "output limit"),
    (lambda w: w.ask("echo", "fot_" + "s" * 43), BadSubmission, "secret"),
    (lambda w: w.ask("uptime", by=IDS.principal("nobody")), Forbidden, "no control grant"),
    (lambda w: w.service.run(SHOP, Selection("web"), ["uptime"]), UnknownAsset, "web-1"),
    (lambda w: w.service.run(SHOP, Selection(role="db"), ["uptime"]), UnknownAsset, "web"),
    (lambda w: w.service.run(SHOP, Selection("nexus"), ["uptime"]), NotControlled, "called"),
    (lambda w: w.service.request(SHOP, WEB, ControlRequest("GET", "/x")), NotPermitted, "/health"),
    (lambda w: ControlRequest("GET", "/a/../b"), RequestRefused, "dot segments"),
    (lambda w: ControlRequest("GET", "//evil"), RequestRefused, "empty"),
    (lambda w: ControlRequest("GET", "/%2e%2e/x"), RequestRefused, "dot segments"),
    (lambda w: ControlRequest("GET", "http://evil/"), RequestRefused, "begins with /"),
    (lambda w: ControlRequest("TRACE", "/health"), RequestRefused, "none of"),
    (lambda w: ControlRequest("POST", "/x", b"x" * 17_000), RequestRefused, "at most"),
    (lambda w: w.service.find("nothing"), UnknownRun, "no run"),
    (lambda w: w.service.check("nobody", WEB), Forbidden, "may not"),
]


@pytest.mark.parametrize(("ask", "error", "said"), REFUSALS)
def test_refusals_start_nothing_and_record_nothing(
    world: World, ask: Callable[[World], object], error: type[Exception], said: str
) -> None:
    head = world.gate.ledger.head
    with pytest.raises(error, match=said):
        ask(world)
    assert world.gate.ledger.head == head
    assert (world.machine.ran, world.sent, world.kept) == ([], [], [])
    assert world.ended(world.ask("uptime")).result["outcome"] == "succeeded"


def test_a_machine_that_runs_nothing_is_no_failure_of_the_command(world: World) -> None:
    world.machine.error = MachineStopped("it is stopped")
    done = world.ended(world.ask("uptime"))
    assert (done.result["outcome"], done.result["reason"]) == ("not-started", "it is stopped")


def test_what_nobody_expected_leaves_the_outcome_unknown(world: World) -> None:
    world.machine.error = RuntimeError("a secret of the inside")
    done = world.ended(world.ask("uptime"))
    assert done.result["outcome"] == "unknown"
    assert "RuntimeError" in done.result["reason"]
    assert "secret" not in done.result["reason"]


def test_output_that_cannot_be_kept_does_not_change_the_outcome(world: World) -> None:
    world.full = True
    done = world.ended(world.ask("echo", "x"))
    assert (done.result["outcome"], done.evidence) == ("succeeded", ())
    assert done.result["not_kept"] == "no space left on device"


def test_an_asset_has_so_many_places(world: World) -> None:
    running = [world.ask("wait"), world.ask("wait")]
    with pytest.raises(ControlBusy, match="2 runs are under way on web-1"):
        world.ask("uptime")
    world.machine.go.set()
    for run in running:
        world.ended(run)
    assert world.ended(world.ask("uptime")).result["outcome"] == "succeeded"


def test_what_is_approved_while_the_asset_is_busy_has_its_turn_later(world: World) -> None:
    running = [world.ask("wait"), world.ask("wait")]
    waiting = world.ask("reboot")
    world.approve(waiting)
    assert world.service.find(waiting.id).view.state == "approved"
    world.machine.go.set()
    assert world.ended(waiting).result["outcome"] == "succeeded"
    for run in running:
        world.ended(run)


def test_one_key_is_one_run(world: World) -> None:
    first = world.ended(world.ask("uptime", key="k"))
    assert world.ask("uptime", key="k").id == first.id
    assert world.ask("uptime", key="other").id != first.id
    with pytest.raises(ControlError, match="another order"):
        world.ask("echo", key="k")
    assert world.ask("uptime", key="k", by=BILLING).id != first.id


def test_many_that_ask_with_one_key_at_once_get_one_run(world: World) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(world.ask("uptime", key="k").id))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert len(world.machine.ran) == 1


class TestCancelling:
    def test_one_that_runs_is_ended(self, world: World) -> None:
        run = world.ask("wait")
        assert world.machine.started.wait(SECONDS)
        world.service.cancel(world.gate.operator, run.id)
        world.service.cancel(SHOP, run.id)
        result = world.ended(run).result
        assert (result["outcome"], result["cancelled_by"]) == ("cancelled", world.gate.operator)

    def test_one_that_waits_is_withdrawn_by_its_author_and_rejected_by_others(
        self, world: World
    ) -> None:
        operator = world.gate.operator
        for by, state, outcome in (
            (SHOP, "withdrawn", "withdraw"),
            (operator, "rejected", "reject"),
        ):
            view = world.service.cancel(by, world.ask("reboot").id).view
            assert view.state == state
            assert [(each.by, each.outcome) for each in view.decisions] == [(by, outcome)]
        assert world.machine.ran == []

    def test_one_that_was_approved_is_not_begun(self, world: World) -> None:
        running = [world.ask("wait"), world.ask("wait")]
        run = world.ask("reboot")
        world.approve(run)
        view = world.service.cancel(SHOP, run.id).view
        assert (view.state, view.decisions[-1].by) == ("superseded", SHOP)
        world.machine.go.set()
        for each in running:
            world.ended(each)
        assert [command.argv for command in world.machine.ran] == [("wait",), ("wait",)]

    def test_one_that_has_ended_stays_as_it_ended(self, world: World) -> None:
        run = world.ended(world.ask("uptime"))
        assert world.service.cancel(SHOP, run.id) == run


class TestWhatHasChangedSince:
    @pytest.mark.parametrize("what", ["gone", "permits", "effect", "place", "unreached", "another"])
    def test_it_is_not_begun(self, world: World, what: str) -> None:
        # It waits for a person whatever it does.
        run = world.ask("sh", "-c", "id") if what == "effect" else world.ask("reboot")
        changed: dict[str, dict[str, Any]] = {
            "permits": {"permits": PERMITS[:1]},
            "effect": {"permits": (PermittedCommand(("sh", "-c", "*"), "changes"),)},
            "place": {"locators": Locators(container="c-web-2")},
            "another": {"iri": IDS.runtime_asset("other")},
        }
        said = changed.get(what, {})
        world.unreached = what == "unreached"
        world.assets = AssetGraph([] if what == "gone" else [world.asset(**said)])
        world.approve(run)
        done = world.ended(run)
        assert done.view.state == "superseded"
        assert "can't be carried out any more" in done.view.decisions[-1].reason
        assert world.machine.ran == []

    def test_a_request_goes_to_the_address_that_was_approved(self, world: World) -> None:
        run = world.service.request(SHOP, WEB, ControlRequest("POST", "/jobs/7"))
        assert run.order.target == "http://web.internal:2280/"
        elsewhere = ExecutorUrl.parse("http://other.internal:2280/")
        world.assets = AssetGraph([world.asset(executor=elsewhere)])
        world.approve(run)
        assert "leads elsewhere" in world.ended(run).view.decisions[-1].reason
        assert world.sent == []


class TestRestarting:
    def test_what_was_under_way_is_unknown_and_never_run_again(self, world: World) -> None:
        """The order is begun and durable, and then there is no process any more."""
        head = world.gate.ledger.head
        run = world.ask("wait")
        assert world.machine.started.wait(SECONDS)
        left = world.service
        ran = len(world.machine.ran)
        with forgotten(left):
            world.restart()
            done = world.ended(run)
            assert (done.result["outcome"], done.view.state) == ("unknown", "executed")
            assert "what was left of it is ended" in done.result["reason"]
            assert world.machine.ended == [run.id]
            assert len(world.machine.ran) == ran
            assert world.gate.ledger.head == head + 2
            assert world.kept[-1].outcome == "unknown"

    def test_what_was_approved_meanwhile_is_run(self, world: World) -> None:
        run = world.ask("reboot")
        world.service.close()
        world.approve(run)
        world.restart()
        assert world.ended(run).result["outcome"] == "succeeded"
        assert len(world.machine.ran) == 1

    def test_at_the_end_what_runs_is_cancelled_and_recorded(self, world: World) -> None:
        run = world.ask("wait")
        assert world.machine.started.wait(SECONDS)
        world.service.close()
        result = world.service.find(run.id).result
        assert (result["outcome"], result["cancelled_by"]) == (
            "cancelled",
            "the server, which ended",
        )
        with pytest.raises(ControlClosed):
            world.ask("uptime")


class TestAGateThatFails:
    def test_an_end_is_recorded_once_it_can_be(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish, failures = world.gate.ledger.finish, [WritingStopped("the disk is full")]

        def failing(identifier: str, result: Result) -> ProposalView:
            if failures:
                raise failures.pop()
            return finish(identifier, result)

        monkeypatch.setattr(world.gate.ledger, "finish", failing)
        done = world.ended(world.ask("echo", "once"))
        assert done.result["outcome"] == "succeeded"
        assert len(world.machine.ran) == 1

    def test_what_was_begun_without_our_hearing_is_not_started(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = world.gate.ledger.order

        def deaf(*arguments: Any, **named: Any) -> ProposalView:
            order(*arguments, **named)
            raise WritingStopped("the graph can't be written to")

        with monkeypatch.context() as patched:
            patched.setattr(world.gate.ledger, "order", deaf)
            with pytest.raises(WritingStopped):
                world.ask("uptime")
        ((_, run),) = world.service.runs(limit=1)
        done = world.ended(run)
        assert done.result["outcome"] == "not-started"
        assert world.machine.ran == []


def test_requests_are_sent_once_and_changes_wait(world: World) -> None:
    done = world.ended(world.service.request(SHOP, WEB, ControlRequest("GET", "/health")))
    assert (done.result["outcome"], done.result["status"]) == ("succeeded", 200)
    assert world.kept[-1].stdout == b"well"
    body = b'{"n": "\xc3\xa9"}'
    asked = ControlRequest("POST", "/jobs/7", body, "application/json")
    waiting = world.service.request(SHOP, WEB, asked)
    assert waiting.view.state == "awaiting decision"
    assert waiting.order.action["body_sha256"] == hashlib.sha256(body).hexdigest()
    world.approve(waiting)
    world.ended(waiting)
    assert world.sent[1:] == [asked]


@pytest.mark.parametrize(
    ("error", "state"),
    [(None, "running"), (MachineStopped("x"), "stopped"), (MachineUnreachable("x"), "unreachable")],
)
def test_a_look_is_a_record_and_told(world: World, error: Exception | None, state: str) -> None:
    head = world.gate.ledger.head
    world.machine.error = error
    found: Checked = world.service.check(SHOP, WEB)
    assert (found.state, world.observed) == (state, [("web-1", state)])
    assert world.kept[-1].kind == "check"
    assert found.executor is not None
    assert found.executor["reached"] is True
    assert world.gate.ledger.head == head


def test_runs_are_listed_newest_first_and_by_their_author(world: World) -> None:
    first, second = (world.ended(world.ask("uptime", by=by)) for by in (SHOP, BILLING))
    assert [run.id for _, run in world.service.runs()][:2] == [second.id, first.id]
    assert [run.id for _, run in world.service.runs(principal=SHOP)] == [first.id]
    ((number, _),) = world.service.runs(limit=1)
    assert [run.id for _, run in world.service.runs(before=number)] == [first.id]
    assert world.service.runs(asset=IDS.runtime_asset("other")) == []


@contextmanager
def forgotten(service: RuntimeAssetControlService) -> Iterator[None]:
    """A service whose process is gone as far as anybody can tell: it hears and says nothing."""
    service._carrier._ends._orders = _Gone()  # type: ignore[assignment]
    try:
        yield
    finally:
        service.close()


class _Gone:
    """The journal of a process that is no more."""

    def finish(self, identifier: str, result: Result) -> ProposalView:
        raise WritingStopped("there is no process")
