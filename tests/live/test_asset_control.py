"""Two real containers, registered by proposal: checked, run on and asked through their executor, by
role and by id; each step's proof verifies without the server.

What is permitted is what the topology says, what changes waits for somebody else and runs once, a
container that dies mid-run leaves an outcome that is unknown, and so does a server that is killed.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from proofs.checkpoint import VerifierKey
from proofs.verify import Status, verify_bundle
from runtime.commands import MARK
from tests.live.conftest import COMMAND, Server, own_environment, serving, wait_until
from tests.live.containers import Container, container, why_not

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

SECRET = "fot_" + "s" * 43
PERMITS = """
      - {argv: [hostname], effect: reads}
      - {argv: [echo, ...], effect: reads}
      - {argv: [cat, "*"], effect: reads}
      - {argv: [sleep, "*"], effect: reads}
      - {argv: ["false"], effect: reads}
      - {argv: [sh, "-c", "*"], effect: reads}
      - {argv: [mkdir, "*"], effect: changes}
      - {methods: [GET, HEAD], path: /health, effect: reads}
      - {methods: [GET], path: /moved, effect: reads}
      - {methods: [GET], path: /cut, effect: reads}
      - {methods: [POST], path: "/jobs/*", effect: changes}
"""


class Executor(BaseHTTPRequestHandler):
    """What an executor URL leads to."""

    asked: list[tuple[str, str, bytes]]

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, b""))
        path = self.path.removeprefix("/internal")
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest?token=x")
            self.end_headers()
            return
        body = b"well\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body) + 10 * (path == "/cut")))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.command, self.path, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Ended:
    code: int
    out: bytes
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Lab:
    """A server on which the two containers are registered; ``second`` is another operator's
    token, ``asked`` what the executor was asked."""

    server: Server
    second: str
    analyst: str
    boxes: Sequence[Container]
    asked: list[tuple[str, str, bytes]]
    folder: Path
    registered: str = ""
    """The proposal by which the containers became assets."""

    def arguments(self, *arguments: str | Path) -> list[str]:
        first, *others = map(str, arguments)
        verb, *others = others
        return [*COMMAND, first, verb, "--data", str(self.server.data), *others]

    def command(self, *arguments: str | Path, token: str = "") -> Ended:
        """``fractalops`` to its end, as the operator or as the holder of a token."""
        settings = {"FRACTALOPS_TOKEN": token} if token else {}
        done = subprocess.run(
            self.arguments(*arguments),
            env=own_environment(COLUMNS="400", **settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    def run(self, *arguments: str, token: str = "") -> Ended:
        return self.command("runtime-assets", "run", *arguments, token=token)

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.get("/runs", limit=1000)["items"]
        return found

    def refused(self, place: str, **asked: Any) -> dict[str, Any]:
        """The problem that a request below ``/runtime-assets`` is answered with."""
        with self.server.client() as client:
            answer = client.post(f"/runtime-assets/{place}", json=asked)
        assert answer.is_client_error, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def decide(self, identifier: str, outcome: str = "approve") -> None:
        with self.server.client(self.second) as client:
            answer = client.post(
                f"/proposals/{identifier}/decisions", json={"outcome": outcome, "reason": "seen"}
            )
        assert answer.status_code == 200, answer.text

    def ended(self, identifier: str) -> dict[str, Any]:
        """A run once it has ended."""

        def over() -> bool:
            return bool(self.server.get(f"/runs/{identifier}")["result"])

        wait_until(over, f"the end of run {identifier}", 60)
        return self.server.get(f"/runs/{identifier}")

    def verify(self, *runs: dict[str, Any]) -> None:
        """Every entry of these runs has a proof that holds without the server, by the log's public
        key alone."""
        key = VerifierKey.parse((self.server.data / "keys" / "log.pub").read_text().strip())
        entries = sorted({step["proof"] for run in runs for step in run["transitions"]})
        assert entries
        with self.server.client() as client:
            bundles = [client.get(f"/proofs/bundle/{entry}").content for entry in entries]
        for bundle in bundles:
            verdict = verify_bundle(bundle, key)
            assert verdict.status is Status.UNANCHORED, verdict
            assert verdict.facts["proposal"] in {run["id"] for run in runs}

    def verify_by_command(self, run: dict[str, Any]) -> None:
        """As :meth:`verify`, by the commands that say so, of the entry with the outcome."""
        bundle = self.folder / f"{run['id']}.json"
        made = self.command("proofs", "bundle", str(run["proof"]), "--to", bundle)
        assert made.code == 0, made.err
        public = self.server.data / "keys" / "log.pub"
        verified = self.command("proofs", "verify", bundle, "--key", public)
        assert verified.code == 0, verified.err
        assert run["id"].encode() in verified.out


def topology(port: int, containers: Sequence[Container]) -> str:
    assets = "".join(
        f"""
  - id: {role}-box
    kind: lxc
    roles: [{role}_runtime, runtime]
    environment: production
    locators: {{container: {one.name}}}
    urls: {{executor: "http://127.0.0.1:{port}/"}}
    permits:{PERMITS}"""
        for role, one in zip(("shop", "bank"), containers, strict=True)
    )
    return f"""topology: lab
owner: organisation/organisation
assets:{assets}
  - id: elsewhere
    kind: lxc
    project: vault
    environment: production
    locators: {{container: lxc-none}}
    permits:{PERMITS}
endpoints:
  - id: artifacts
    urls: {{internal: "http://127.0.0.1:{port}/internal/"}}
    readiness: /health
  - id: unready
    urls: {{internal: "http://127.0.0.1:{port}/internal/"}}
    readiness: /moved
"""


@contextmanager
def executor() -> Iterator[tuple[int, list[tuple[str, str, bytes]]]]:
    asked: list[tuple[str, str, bytes]] = []
    handler = type("Handler", (Executor,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("control")
    place = folder / "lxc"
    place.mkdir()
    machines = folder / "machines.yaml"
    machines.write_text(f"local:\n  lxc_path: {place}\n")
    with (
        container(place, "control-1") as first,
        container(place, "control-2") as second,
        executor() as (port, asked),
        serving(folder) as maker,
    ):
        server = maker(
            None,
            *("--time-lock", "1s", "--steward-seconds", "3600"),
            settings={"FRACTALOPS_MACHINES": str(machines)},
        ).start()
        server.post("/projects", {"slug": "vault", "restricted": True})
        token = server.token_of("second", "operator")
        analyst = server.token_of("analyst", "analyst")

        def works() -> bool:
            with server.client(token) as client, server.client(analyst) as reader:
                return client.get("/status").is_success and reader.get("/status").is_success

        wait_until(works, "the second operator's beginning")
        made = Lab(server, token, analyst, (first, second), asked, folder)
        file = folder / "topology.yaml"
        file.write_text(topology(port, (first, second)))
        proposed = made.command("infra", "apply", file, "--output", "json")
        assert proposed.code == 0, proposed.err
        proposal = json.loads(proposed.out)
        assert proposal["state"] == "awaiting decision"
        made.decide(proposal["id"])
        yield replace(made, registered=proposal["id"])
        server.end()


def test_commands_reach_the_container_that_is_meant(lab: Lab) -> None:
    by_role = lab.run("--role", "shop_runtime", "--", "hostname")
    assert (by_role.code, by_role.out) == (0, b"control-1\n"), by_role.err
    by_id = lab.run("--asset-id", "bank-box", "--", "hostname")
    assert (by_id.code, by_id.out) == (0, b"control-2\n"), by_id.err
    failing = lab.run("--role", "bank_runtime", "--", "false")
    assert failing.code == 1
    for run in lab.runs()[:3]:
        assert run["state"] == "executed"
        assert run["effect"] == "reads"
    lab.verify(*lab.runs()[:3], lab.server.get(f"/proposals/{lab.registered}"))
    lab.verify_by_command(lab.runs()[0])
    digest = sha256(b"control-2\n").hexdigest()
    assert lab.runs()[1]["result"]["stdout"]["digest"] == f"sha256:{digest}"


def test_arguments_arrive_as_they_are(lab: Lab) -> None:
    hostile = ["a b", "it's", '"', "a\nb", "-x", "--", "", "$HOME", "`id`", "*", "\\", "é"]
    ended = lab.run("--role", "shop_runtime", "--", "echo", *hostile)
    assert ended.out == (" ".join(hostile) + "\n").encode()
    problem = lab.refused("shop-box/runs", argv=["echo", "a\0b"])
    assert problem["type"].endswith("/command-refused")


def test_a_run_shows_as_json(lab: Lab) -> None:
    ended = lab.run("--role", "shop_runtime", "--output", "json", "--", "echo", "one")
    assert (ended.code, ended.json["stdout"], ended.json["outcome"]) == (0, "one\n", "succeeded")


def test_what_is_meant_must_be_one(lab: Lab) -> None:
    ambiguous = lab.run("--role", "runtime", "--", "hostname")
    assert ambiguous.code == 1
    assert "bank-box, shop-box" in ambiguous.err
    for place, said in (("nothing/runs", {}), ("runs", {"role": "nothing"})):
        problem = lab.refused(place, argv=["hostname"], **said)
        assert problem["type"].endswith("/unknown-asset")
        assert "there are " in problem["detail"]
    problem = lab.refused("runs", argv=["hostname"], role="runtime")
    assert problem["candidates"] == ["bank-box", "shop-box"]
    problem = lab.refused("artifacts/runs", argv=["hostname"])
    assert problem["type"].endswith("/not-controlled")
    assert "nothing to control it with" in problem["detail"]


def test_what_is_not_permitted_names_what_is(lab: Lab) -> None:
    before = lab.server.head
    refused = lab.run("--role", "shop_runtime", "--", "rm", "-rf", "/")
    assert refused.code == 1
    assert '["hostname"] (reads)' in refused.err
    problem = lab.refused("shop-box/runs", argv=["cat", "--help"])
    assert '["cat","*"] (reads)' in problem["permitted"]
    stranger = lab.run("--role", "shop_runtime", "--", "hostname", token=lab.analyst)
    assert stranger.code == 1
    assert "no control grant" in stranger.err
    assert SECRET not in str(lab.refused("shop-box/runs", argv=["echo", SECRET]))
    assert lab.server.head == before


def test_what_changes_waits_for_somebody_else_and_runs_once(lab: Lab) -> None:
    asked = lab.run("--role", "shop_runtime", "--key", "make", "--", "mkdir", "/made")
    assert asked.code == 75
    assert "waits for approval" in asked.err
    run = lab.runs()[0]
    assert run["state"] == "awaiting decision"
    again = lab.run(
        *("--role", "shop_runtime", "--key", "make", "--output", "json", "--", "mkdir", "/made")
    )
    assert again.json["id"] == run["id"]
    own = lab.command("proposals", "approve", run["id"], "--reason", "mine")
    assert own.code == 1
    lab.decide(run["id"])
    ended = lab.ended(run["id"])
    # A second mkdir of the same folder would fail.
    assert (ended["outcome"], ended["result"]["exit_code"]) == ("succeeded", 0)
    lab.verify(ended)
    followed = lab.command("runtime-assets", "output", run["id"])
    assert followed.code == 0
    after = lab.run("--role", "shop_runtime", "--key", "make", "--", "mkdir", "/made")
    assert after.code == 0
    assert [step["state"] for step in ended["transitions"]].count("executing") == 1


def test_an_interpreter_needs_a_person_though_it_reads(lab: Lab) -> None:
    process = subprocess.Popen(
        lab.arguments(
            *("runtime-assets", "run", "--role", "bank_runtime", "--wait"),
            *("--", "sh", "-c", "echo out; echo err >&2; exit 7"),
        ),
        env=own_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def waiting() -> bool:
        newest = lab.runs()[0]
        return bool(
            newest["action"].get("argv", [""])[0] == "sh" and newest["state"] == "awaiting decision"
        )

    wait_until(waiting, "the order to wait", 60)
    run = lab.runs()[0]
    assert "interpreter" in run["person"]
    lab.decide(run["id"])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (7, b"out\n")
    assert err.endswith(b"err\n")


def test_what_was_not_approved_is_not_run(lab: Lab) -> None:
    asked = lab.run("--asset-id", "shop-box", "--output", "json", "--", "mkdir", "/never")
    lab.decide(asked.json["id"], "reject")
    followed = lab.command("runtime-assets", "output", asked.json["id"])
    assert followed.code == 77
    looked = lab.run("--asset-id", "shop-box", "--", "cat", "/never")
    assert looked.code == 1
    assert "No such file" in looked.err


def test_requests_go_to_the_executor_alone(lab: Lab) -> None:
    found = lab.command(
        *("runtime-assets", "request", "--role", "shop_runtime"),
        *("--method", "GET", "--path", "/health"),
    )
    assert (found.code, found.out) == (0, b"well\n"), found.err
    lab.verify(lab.runs()[0])
    moved = lab.command("runtime-assets", "request", "--asset-id", "bank-box", "--path", "/moved")
    assert moved.code == 22
    assert "redirects to http://169.254.169.254/latest," in moved.err
    assert "token" not in moved.err
    cut = lab.command("runtime-assets", "request", "--asset-id", "bank-box", "--path", "/cut")
    assert (cut.code, lab.runs()[0]["outcome"]) == (74, "unknown")
    before = len(lab.asked)
    for path in ("/other", "/health/../other", "/health?x=1", "//health", "/%2e%2e/health"):
        problem = lab.refused("bank-box/requests", method="GET", path=path)
        assert problem["type"].endswith(("/not-permitted", "/request-refused")), path
    problem = lab.refused("elsewhere/requests", method="GET", path="/health")
    assert "has no executor URL" in problem["detail"]
    assert len(lab.asked) == before


def test_a_request_that_changes_waits_and_is_sent_once(lab: Lab) -> None:
    asked = lab.command(
        *("runtime-assets", "request", "--role", "shop_runtime", "--method", "POST"),
        *("--path", "/jobs/1", "--body", '{"n": 1}', "--output", "json"),
    )
    assert asked.code == 75
    run = asked.json
    assert run["action"]["body_sha256"] == sha256(b'{"n": 1}').hexdigest()
    assert not [each for each in lab.asked if each[0] == "POST"]
    lab.decide(run["id"])
    ended = lab.ended(run["id"])
    assert (ended["outcome"], ended["result"]["status"]) == ("succeeded", 204)
    assert [each for each in lab.asked if each[0] == "POST"] == [("POST", "/jobs/1", b'{"n": 1}')]
    lab.verify(ended)


def test_checks_find_what_is_so(lab: Lab) -> None:
    running = lab.command("runtime-assets", "check", "--role", "shop_runtime", "--output", "json")
    assert (running.code, running.json["state"]) == (0, "running")
    assert running.json["executor"]["reached"] is True
    missing = lab.command("runtime-assets", "check", "--asset-id", "elsewhere", "--output", "json")
    assert (missing.code, missing.json["state"]) == (1, "unknown")
    assert "no container lxc-none" in missing.json["reason"]
    refused = lab.run("--asset-id", "elsewhere", "--", "hostname")
    assert refused.code == 69
    assert "nothing was started" in refused.err
    ready = lab.command("endpoints", "check", "--all", "--output", "json")
    assert ready.code == 1
    assert {item["about"]: item["state"] for item in ready.json} == {
        "artifacts": "ready",
        "unready": "not-ready",
    }

    def is_stated() -> bool:
        status = lab.server.get("/runtime-assets/shop-box")["status"]
        return bool(status and status["state"] == "running")

    wait_until(is_stated, "the status to be stated", 60)


def test_output_is_kept_redacted_and_its_digest_is_of_what_it_was(lab: Lab) -> None:
    said = "password=geheim0815 of jo@example.org"
    run = lab.run("--role", "shop_runtime", "--output", "json", "--", "echo", said).json
    assert run["stdout"] == f"{said}\n"
    digest = sha256(run["stdout"].encode()).hexdigest()
    assert run["result"]["stdout"]["digest"] == f"sha256:{digest}"
    assert len(run["evidence"]) == 1
    shown = lab.server.get(f"/evidence/{run['evidence'][0]}")
    assert shown["source"] == "fractalops.run"

    def is_fact() -> bool:
        return bool(
            lab.server.facts(
                "SELECT class, subject, attributes['run.principal'], status FROM events"
                f" WHERE source = 'fractalops.run' AND event_id = 'run-{run['id']}'"
            )
        )

    wait_until(is_fact, "the run to be a fact", 60)
    ((kind, subject, principal, status),) = lab.server.facts(
        "SELECT class, subject, attributes['run.principal'], status FROM events"
        f" WHERE source = 'fractalops.run' AND event_id = 'run-{run['id']}'"
    )
    assert kind.endswith("#RuntimeAsset")
    assert subject == run["asset"]
    assert (principal, status) == (run["author"], "ok")


def test_a_gigabyte_is_bounded_and_a_time_limit_ends(lab: Lab) -> None:
    ended = lab.run(
        *("--role", "shop_runtime", "--timeout", "2", "--output-limit", "1000"),
        *("--", "cat", "/dev/zero"),
    )
    assert (ended.code, ended.out) == (124, bytes(1000))
    assert "stdout was cut: 1000 of " in ended.err


def test_one_that_is_cancelled_says_so(lab: Lab) -> None:
    process = subprocess.Popen(
        lab.arguments(
            *("runtime-assets", "run", "--role", "shop_runtime", "--", "sleep", "500"),
        ),
        env=own_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def under_way() -> bool:
        newest = lab.runs()[0]
        return bool(newest["action"].get("argv") == ["sleep", "500"] and left_of(newest["id"]))

    wait_until(under_way, "the run to be under way", 60)
    run = lab.runs()[0]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"was cancelled" in err
    assert lab.ended(run["id"])["outcome"] == "cancelled"
    assert left_of(run["id"]) == []


def test_the_asset_is_busy_with_four(lab: Lab) -> None:
    with lab.server.client() as client:
        running = []
        for number in range(4):
            answer = client.post(
                "/runtime-assets/shop-box/runs", json={"argv": ["sleep", f"6{number}0"]}
            )
            assert answer.status_code == 202, answer.text
            running.append(answer.json()["id"])
        refused = client.post("/runtime-assets/shop-box/runs", json={"argv": ["hostname"]})
        assert refused.status_code == 429
        assert refused.json()["type"].endswith("/control-busy")
        for identifier in running:
            assert client.post(f"/runs/{identifier}/cancel").status_code == 202
    for identifier in running:
        assert lab.ended(identifier)["outcome"] == "cancelled"


def test_output_comes_as_it_is_written_to_who_may_see_it(lab: Lab) -> None:
    with lab.server.client() as client:
        run = client.post(
            "/runtime-assets/runs", json={"role": "shop_runtime", "argv": ["echo", "hello"]}
        ).json()
        with client.stream("GET", f"/runs/{run['id']}/output") as answer:
            lines = [json.loads(line) for line in answer.iter_lines()]
    heard = b"".join(base64.b64decode(line["data"]) for line in lines if "stream" in line)
    assert heard == b"hello\n"
    assert lines[-1]["run"]["outcome"] == "succeeded"
    with lab.server.client(lab.analyst) as client:
        assert client.get(f"/runs/{run['id']}").is_success
        assert client.get(f"/runs/{run['id']}/output").status_code == 403
        assert client.post(f"/runs/{run['id']}/cancel").status_code == 403


def test_runs_of_a_restricted_project_are_hidden_as_it_is(lab: Lab) -> None:
    with lab.server.client() as client:
        run = client.post("/runtime-assets/elsewhere/runs", json={"argv": ["hostname"]}).json()
    assert run["project"] == "vault"
    assert lab.ended(run["id"])["outcome"] == "not-started"
    with lab.server.client(lab.analyst) as client:
        assert client.get(f"/runs/{run['id']}").status_code == 404
        told = client.get("/runs", params={"limit": 1000}).json()["items"]
        assert told
        assert run["id"] not in {item["id"] for item in told}
        facts = client.post(
            "/facts",
            content=f"SELECT count() FROM events WHERE event_id = 'run-{run['id']}'",
            headers={"Content-Type": "application/sql"},
        )
        assert facts.json()["rows"] == [[0]] or facts.json()["rows"] == [["0"]]


def test_a_token_that_ends_ends_its_streams(lab: Lab) -> None:
    made = lab.server.post("/tokens", {"name": "second", "role": "operator"})
    with lab.server.client(made["token"]) as client, lab.server.client() as operator:
        run = client.post("/runtime-assets/bank-box/runs", json={"argv": ["sleep", "700"]}).json()
        with client.stream("GET", f"/runs/{run['id']}/output") as answer:
            assert operator.delete(f"/tokens/{made['id']}").status_code == 204
            assert operator.post(f"/runs/{run['id']}/cancel").status_code == 202
            lines = [json.loads(line) for line in answer.iter_lines()]
    assert lines[-1]["problem"]["type"].endswith("/token-unknown")
    assert lab.ended(run["id"])["outcome"] == "cancelled"


def test_a_container_that_dies_leaves_the_outcome_unknown(lab: Lab) -> None:
    with lab.server.client() as client:
        run = client.post(
            "/runtime-assets/runs", json={"role": "bank_runtime", "argv": ["sleep", "900"]}
        ).json()
    wait_until(lambda: bool(left_of(run["id"])), "the run to be under way", 60)
    lab.boxes[1].lxc("stop", "-k")
    ended = lab.ended(run["id"])
    assert ended["outcome"] == "unknown"
    assert ended["result"]["exit_code"] is None
    lab.verify(ended)
    followed = lab.command("runtime-assets", "output", run["id"])
    assert followed.code == 74
    assert "It is not tried again by itself" in followed.err
    stopped = lab.command("runtime-assets", "check", "--role", "bank_runtime", "--output", "json")
    assert (stopped.code, stopped.json["state"]) == (1, "stopped")
    lab.boxes[1].lxc("start")


def test_a_server_that_is_killed_leaves_the_outcome_unknown_and_runs_nothing_again(
    lab: Lab,
) -> None:
    with lab.server.client() as client:
        run = client.post(
            "/runtime-assets/runs", json={"role": "shop_runtime", "argv": ["sleep", "800"]}
        ).json()
    wait_until(lambda: bool(left_of(run["id"])), "the run to be under way", 60)
    lab.server.kill()
    lab.server.start()
    ended = lab.ended(run["id"])
    assert (ended["outcome"], ended["state"]) == ("unknown", "executed")
    assert (
        "the server ended while it was under way; what was left of it is ended"
        in (ended["result"]["reason"])
    )
    assert left_of(run["id"]) == []
    assert [step["state"] for step in ended["transitions"]].count("executing") == 1
    lab.verify(ended)
    (earlier,) = [each for each in lab.runs() if "geheim" in json.dumps(each["action"])]
    kept = lab.command("runtime-assets", "output", earlier["id"])
    assert (kept.code, kept.out) == (0, b"password=[redacted] of [redacted]\n")
    assert "redacted" in kept.err


def test_who_is_granted_control_has_it(lab: Lab) -> None:
    granted = lab.command(
        *("runtime-assets", "grant", "--role", "shop_runtime", "--to", "analyst"),
        *("--auto-approve", "--output", "json"),
    )
    assert granted.code == 0, granted.err
    assert granted.json["state"] == "awaiting decision"
    lab.decide(granted.json["id"])
    made = lab.run("--role", "shop_runtime", "--", "mkdir", "/by-analyst", token=lab.analyst)
    assert made.code == 0, made.err
    elsewhere = lab.run("--role", "bank_runtime", "--", "hostname", token=lab.analyst)
    assert "no control grant" in elsewhere.err
    assert lab.runs()[0]["author"].endswith("/analyst")
    lab.verify(lab.runs()[0])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("runtime-assets run --role b", b"bank_runtime"),
        ("runtime-assets check --asset-id s", b"shop-box"),
    ],
)
def test_the_shell_completes_ids_and_roles(lab: Lab, words: str, found: bytes) -> None:
    asked = own_environment(
        _FRACTALOPS_COMPLETE="complete_bash",
        COMP_WORDS=f"fractalops {words}",
        COMP_CWORD="4",
        FRACTALOPS_DATA=str(lab.server.data),
    )
    done = subprocess.run([*COMMAND], env=asked, capture_output=True, timeout=60, check=False)
    assert done.stdout.split() == [found], done.stderr


def test_everything_is_as_the_log_says(lab: Lab) -> None:
    """After all that was done above."""
    audit = lab.server.post("/proofs/audit")
    assert audit["ok"], audit
    lab.verify(*lab.runs())


def left_of(run: str) -> list[str]:
    """The processes of a run, in whichever container."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={run}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(entry.name)
        except OSError:
            continue
    return [each for each in found if each != str(os.getpid())]
