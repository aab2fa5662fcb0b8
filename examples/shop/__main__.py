"""Start the shop, or send customers to it.

    python -m shop serve FOLDER            until SIGTERM or Ctrl-C; FOLDER holds data and logs
    python -m shop traffic FOLDER --orders 20

Run it from ``examples``. Where the telemetry goes is said by the usual environment variables of
each client alone: OTEL_*, POSTHOG_HOST, POSTHOG_PROJECT_API_KEY, SENTRY_DSN, SENTRY_ENVIRONMENT.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import IO

from shop.schema import migrate
from shop.serving import announce
from shop.traffic import TrafficError, drive

EXAMPLES = Path(__file__).resolve().parent.parent
WEB = ("catalogue", "orders", "storefront")
SERVICES = (*WEB, "fulfilment")
# On a network each service is reached by a name of its own. One machine has these two for itself;
# nobody calls both services of one name.
HOSTS = {"catalogue": "localhost", "orders": "127.0.0.1", "storefront": "127.0.0.1"}
VERSION = "1.4.0"
# As in any grown system, some teams have moved to the stable names of the semantic conventions
# (http.request.method, db.query.text) and others still emit the old ones (http.method,
# db.statement).
STABLE_NAMES = frozenset({"catalogue", "fulfilment"})
START_SECONDS = 60.0
STOP_SECONDS = 15.0


class ShopError(Exception):
    """The shop could not start, or one of its processes ended on its own."""


def environment(service: str, urls: dict[str, str]) -> dict[str, str]:
    """The environment of one process: what the caller set, with the service's own name."""
    no_proxy = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost")))
    own = {
        # The processes speak to each other directly, whatever proxy the machine uses.
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "OTEL_SERVICE_NAME": service,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(EXAMPLES), os.environ.get("PYTHONPATH")))),
        **{f"{name.upper()}_URL": url for name, url in urls.items()},
    }
    resource = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    said = [part for part in resource.split(",") if part.startswith("service.version=")]
    if not said:
        said = [f"service.version={VERSION}"]
        own["OTEL_RESOURCE_ATTRIBUTES"] = ",".join(filter(None, (resource, *said)))
    own["SENTRY_RELEASE"] = f"{service}@{said[-1].partition('=')[2]}"
    if os.environ.get("POSTHOG_HOST"):
        # What is told of the product is no work of the product.
        own["OTEL_PYTHON_REQUESTS_EXCLUDED_URLS"] = os.environ["POSTHOG_HOST"]
    if service in STABLE_NAMES:
        own["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http,database"
    return {**os.environ, **own}


def start(
    service: str, folder: Path, urls: dict[str, str], listener: socket.socket | None, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start one process in ``folder`` under the OpenTelemetry launcher."""
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    if not launcher.exists():
        raise ShopError(
            f"{launcher.name} isn't beside {sys.executable}: install the project's `demo` extra"
        )
    settings = environment(service, urls)
    if listener is not None:
        settings["LISTEN_FD"] = str(listener.fileno())
    return subprocess.Popen(
        [str(launcher), sys.executable, "-m", f"shop.{service}"],
        cwd=folder,
        env=settings,
        pass_fds=[] if listener is None else [listener.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )


def wait_ready(service: str, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process announced itself."""
    deadline = time.monotonic() + START_SECONDS
    while not (folder / f"{service}.ready").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ShopError(f"{service} didn't start. {end_of_log(service, folder)}")
        time.sleep(0.05)


def end_of_log(service: str, folder: Path) -> str:
    """What the process wrote last."""
    log = (folder / f"{service}.log").read_text(encoding="utf-8", errors="replace")
    return f"Its log ends with:\n{log[-2000:]}"


def listening_socket() -> socket.socket:
    """A socket that listens on a free port of this machine."""
    return socket.create_server(("127.0.0.1", 0))


def stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """End every process politely, customers' side first, so that each sends its last spans."""
    for process in reversed(processes.values()):
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in reversed(processes.values()):
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the shop like Ctrl-C does."""
    raise KeyboardInterrupt


def serve(folder: Path) -> int:
    """Run the shop in ``folder`` until it is told to stop."""
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.ready"):
        left_over.unlink()
    if not (folder / "catalogue.db").exists():
        migrate(folder)
    signal.signal(signal.SIGTERM, leave)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        # Bound here, so that every address is known before the first process starts.
        listeners = {name: stack.enter_context(listening_socket()) for name in WEB}
        urls = {
            name: f"http://{HOSTS[name]}:{listener.getsockname()[1]}"
            for name, listener in listeners.items()
        }
        try:
            for service in SERVICES:
                log = stack.enter_context((folder / f"{service}.log").open("ab"))
                processes[service] = start(service, folder, urls, listeners.get(service), log)
            for service, process in processes.items():
                wait_ready(service, folder, process)
            announce("shop", urls["storefront"], folder)
            print(f"The shop is open: {urls['storefront']}", flush=True)
            while True:
                for service, process in processes.items():
                    if process.poll() is not None:
                        raise ShopError(
                            f"{service} ended on its own. {end_of_log(service, folder)}"
                        )
                time.sleep(0.2)
        except KeyboardInterrupt:
            return 0
        except ShopError as error:
            # Said before the others are stopped: whoever waits for an answer fails meanwhile.
            print(f"shop: {error}", file=sys.stderr, flush=True)
            return 1
        finally:
            # The processes are being stopped already; a second signal must not leave some behind.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            stop(processes)
            (folder / "shop.ready").unlink(missing_ok=True)


def traffic(folder: Path, orders: int) -> int:
    """Send customers to the shop that runs in ``folder``."""
    address = folder / "shop.ready"
    if not address.exists():
        raise ShopError(f"no shop runs in {folder}: start it with `python -m shop serve {folder}`")
    sent = drive(address.read_text(encoding="utf-8"), orders)
    print(f"{orders} orders placed and dispatched, {sent} requests", flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shop", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="run the four processes until told to stop")
    serving.add_argument("folder", type=Path)
    driving = commands.add_parser("traffic", help="place orders and follow them")
    driving.add_argument("folder", type=Path)
    driving.add_argument("--orders", type=int, default=20)
    arguments = parser.parse_args()
    try:
        if arguments.command == "serve":
            return serve(arguments.folder)
        return traffic(arguments.folder, arguments.orders)
    except (ShopError, TrafficError) as error:
        print(f"shop: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
