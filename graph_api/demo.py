"""The demonstration: a platform, a shop of real processes, the graph that its telemetry becomes.

Invariant: nothing shown is prepared. Every line printed comes from a server started here, which
knows of the shop only what the shop's own clients, of OpenTelemetry, PostHog and Sentry, sent it.
Whatever was started is stopped before the demonstration returns, however it ends.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from graph_api import demo_report as report
from graph_api.cli_errors import CommandError
from graph_api.cli_output import working
from graph_api.cli_session import folder_token, running_server
from graph_api.client import Client
from graph_api.client_connection import Json
from graph_api.demo_page import show_page
from runtime.errors import ProcessError
from runtime.process_exec import Running, capture, spawn

if TYPE_CHECKING:
    from rich.console import Console

PROJECT = "shop"
ORDERS = 12
START_SECONDS = 120.0
SETTLE_SECONDS = 120.0
QUIET_SECONDS = 3.0
"""No new fact for so long means that the shop's last ones are in: its clients send four times a
second."""
STOP_SECONDS = 25.0

_ENDING = (signal.SIGINT, signal.SIGTERM)
_SECRET = re.compile(r"\bfo[ti]_[A-Za-z0-9_-]+")


class DemoError(CommandError):
    """The demonstration could not go on; the message says why and where to look."""


def run_demo(console: Console, keep: Path | None = None) -> int:
    """Run the demonstration, print it on ``console`` and give the exit code, 0.

    With ``keep`` the data folder, the shop's folder and the bundle stay there; otherwise they are
    removed at the end. Raises :class:`CommandError` when a step fails.
    """
    examples = find_examples()
    if isinstance(console.file, io.TextIOWrapper):
        # A terminal without the characters of a tree must not end the demonstration.
        console.file.reconfigure(errors="backslashreplace")
    with ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        folder = _own_folder(keep, stack)
        report.heading(console, "The platform and the shop start")
        client = stack.enter_context(_platform(folder / "data", folder / "platform.log"))
        report.line(console, f"The platform is up at {client.url}, its data in {folder / 'data'}")
        created = client.create_project(PROJECT, label="Example shop", restricted=False)
        environment = {
            str(name): str(value)
            for part in ("environment", "posthog", "sentry")
            for name, value in dict(created[part]).items()
        }
        report.environment(console, PROJECT, environment)
        stack.enter_context(_shop(examples, folder / "shop", folder / "shop.log", environment))
        report.line(console, (folder / "shop.log").read_text(encoding="utf-8").strip())

        report.heading(console, f"Customers place {ORDERS} orders")
        _traffic(examples, folder / "shop", folder / "shop.log")
        before = _settle(client)
        report.settled(console, before, client.proposals(state=None, project=PROJECT, limit=100))

        report.show_graph(console, client, PROJECT)
        report.show_questions(console, client)
        report.show_proof(console, client, PROJECT, folder)

        report.heading(console, "The same traffic again")
        _traffic(examples, folder / "shop", folder / "shop.log")
        after = _settle(client)
        _nothing_new(before, after)
        report.again(console, before, after)
        show_page(console, client, PROJECT, str(created["browser_key"]), examples, folder)
        _look_further(console, folder if keep is not None else None)
    return 0


def find_examples() -> Path:
    """The checkout's ``examples`` folder; raises :class:`DemoError` when something is missing."""
    examples = Path(__file__).resolve().parent.parent / "examples"
    if not (examples / "shop" / "__main__.py").is_file():
        raise DemoError(
            "the demonstration needs examples/shop, which is in the source checkout and not in the "
            "installed package. In a checkout, run: make demo"
        )
    if not Path(sys.executable).with_name("opentelemetry-instrument").exists():
        raise DemoError(
            "the shop's own packages aren't installed. In the checkout, run: make demo "
            "(or install the extra `demo`)"
        )
    return examples


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that it leaves no process behind either."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _own_folder(keep: Path | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fractalops-demo-")))
    folder = keep.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DemoError(f"{keep} isn't an empty folder: name a new one, the demonstration fills it")
    # The platform's first output names the operator's token.
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


@contextmanager
def _platform(data: Path, log: Path) -> Iterator[Client]:
    """A server of its own on a free port, ready; a client that speaks as its operator."""
    own = {name: None for name in os.environ if name.startswith("FRACTALOPS_")}
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "graph_api.cli",
        "up",
        "--data",
        data,
        "--port",
        "0",
        "--grpc-port",
        "off",
    ]
    with _stopped(spawn(command, env=own, log=log)) as process:
        with working("Starting the platform"):
            _wait(lambda: running_server(data) is not None, process, log, "The platform")
        with Client(running_server(data) or "", folder_token(data), found=str(data)) as client:
            with working("Waiting until the platform is ready"):
                _wait(lambda: _is_ready(client), process, log, "The platform")
            yield client


@contextmanager
def _shop(
    examples: Path, folder: Path, log: Path, environment: Mapping[str, str]
) -> Iterator[Running]:
    """The shop, open, with the environment that creating the project printed."""
    settings: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith(("OTEL_", "POSTHOG_", "SENTRY_"))
    }
    settings.update(
        {
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=demo",
            "SENTRY_ENVIRONMENT": "demo",
            # Milliseconds. The usual 5 s would only make the demonstration slower.
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            **environment,
            # What is shown is in the traces; measurements would only add to the numbers of facts.
            "OTEL_METRICS_EXPORTER": "none",
        }
    )
    # Each process of the shop has its own name.
    settings["OTEL_SERVICE_NAME"] = None
    command: list[str | Path] = [sys.executable, "-m", "shop", "serve", folder]
    with _stopped(spawn(command, cwd=examples, env=settings, log=log)) as process:
        with working("Opening the shop"):
            _wait((folder / "shop.ready").exists, process, log, "The shop")
        yield process


@contextmanager
def _stopped(process: Running) -> Iterator[Running]:
    try:
        yield process
    finally:
        # A second Ctrl-C must not leave half of the processes behind; this takes seconds at most.
        before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
        process.stop(STOP_SECONDS)
        for number, handler in before.items():
            signal.signal(number, handler)


def _traffic(examples: Path, folder: Path, log: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "shop",
        "traffic",
        folder,
        "--orders",
        str(ORDERS),
    ]
    try:
        with working(f"{ORDERS} customers buy"):
            capture(command, timeout=180, cwd=examples).checked()
    except ProcessError as error:
        said = _SECRET.sub("(secret)", log.read_text(encoding="utf-8", errors="replace")[-4000:])
        raise DemoError(
            f"the shop didn't serve its customers: {error}\nThe shop said:\n{said}"
        ) from error


def _is_ready(client: Client) -> bool:
    try:
        client.send("GET", "/readyz")
    except CommandError:
        return False
    return True


def _wait(done: Callable[[], bool], process: Running, log: Path, what: str) -> None:
    """Wait until ``done``; raises with the end of the log when the process ends or takes too
    long."""
    deadline = time.monotonic() + START_SECONDS
    while not done():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            why = f"ended with {ended}" if ended is not None else "didn't start in time"
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            raise DemoError(f"{what} {why}. It said:\n{_SECRET.sub('(secret)', said[-2000:])}")
        time.sleep(0.1)


def _settle(client: Client) -> Json:
    """Wait until everything sent is a fact and the steward has nothing more to propose.

    Gives the server's status then. Raises :class:`DemoError` when a proposal isn't applied.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    seen, since = -1, time.monotonic()
    with working("Waiting until what the shop sent is facts and the steward has read them"):
        while True:
            status = client.status()
            events = int(status["facts"]["events"])
            if events != seen or int(status["inbox"]["pending"]):
                seen, since = events, time.monotonic()
            elif events and time.monotonic() - since >= QUIET_SECONDS:
                if not _steward_proposes(client):
                    break
                since = time.monotonic()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"the platform didn't settle within {SETTLE_SECONDS:.0f} s: "
                    f"{events} facts, {status['inbox']['pending']} batches pending"
                )
            time.sleep(0.2)
    return _all_applied(client)


def _steward_proposes(client: Client) -> bool:
    """Let the project's stewards run once; whether that proposed something."""
    proposed = False
    for steward in client.stewards():
        if steward["project"] == PROJECT:
            ran = client.run_steward(str(steward["name"]))
            proposed |= int(ran["proposals"]) > int(steward["proposals"])
    return proposed


def _all_applied(client: Client) -> Json:
    for proposal in client.proposals(state=None, project=PROJECT, limit=100)["items"]:
        if proposal["state"] not in ("applied", "proven"):
            raise DemoError(
                f"proposal {proposal['id']} is {proposal['state']}, not applied: "
                f"{proposal['rationale']}"
            )
    return client.status()


def _nothing_new(before: Json, after: Json) -> None:
    if after["facts"]["events"] <= before["facts"]["events"]:
        raise DemoError("the second round of traffic left no facts")
    if after["state_digest"] != before["state_digest"] or after["proposals"] != before["proposals"]:
        raise DemoError(
            f"the same traffic changed the graph: head {before['head']} became {after['head']}"
        )


def _look_further(console: Console, kept: Path | None) -> None:
    command = _own_command()
    report.heading(console, "Look further")
    if kept is None:
        report.commands(
            console,
            [
                ("keep what was made, then look around in it", 'make demo ARGS="--keep kept"'),
                ("start a platform of your own", "make up"),
                ("send your own service's telemetry to it", f"{command} projects create SLUG"),
            ],
        )
        return
    data = f"--data {_quoted(kept / 'data')}"
    question = "'SELECT ?name { ?service a fo:Service ; rdfs:label ?name }'"
    bundle = _quoted(kept / report.BUNDLE)
    report.commands(
        console,
        [
            ("start the same platform again", f"{command} up {data}"),
            ("then, in another terminal, ask it", f"{command} query {data} {question}"),
            ("see what was proposed, and by whom", f"{command} proposals list {data}"),
            ("see the proof log", f"{command} proofs log {data}"),
            ("check the bundle, without a server", f"{command} proofs verify {bundle} {data}"),
        ],
    )


def _own_command() -> str:
    """How the person calls this program: by name when PATH finds it, else by its place."""
    program = Path(sys.argv[0])
    if program.name != "fractalops" or shutil.which("fractalops") == str(program.absolute()):
        return "fractalops"
    return _quoted(Path(os.path.relpath(program)))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
