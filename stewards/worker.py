"""The worker: executes the jobs of one platform, on Temporal.

Invariant: whatever is away, Temporal or the platform, is waited for, with one line in the log when
it goes and one when it is back; a wake-up is taken as heard only once Temporal has it. Whatever
this process was doing when it ended is gone on with by the next one: nothing that can't be lost is
kept here.

The platform is asked for what is wanted by a long poll: schedules become Temporal's schedules, runs
that were asked for become workflows of their names, so that beginning one twice is harmless, and a
project that has something to look at wakes the workflow of its sweeps.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TypeVar

from temporalio.client import Client, TLSConfig
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError
from temporalio.worker import Worker as TemporalWorker

from stewards.deployment import deployment, make_current
from stewards.errors import StewardError
from stewards.open_runs import OpenRuns
from stewards.orders import JOBS_QUEUE
from stewards.performer import Performer
from stewards.platform_client import PlatformClient, WantedJobs
from stewards.temporal_schedules import TemporalSchedules
from stewards.workflows import JobWorkflow

LOGGER = logging.getLogger(__name__)

WAIT = 25.0
"""Seconds that the platform may take to say that nothing changed."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 15.0
SWEEPS_AT_ONCE = 8
JOBS_AT_ONCE = 4
"""An audit and a backfill may take hours, and are mostly the platform's work."""
GRACE = 20.0
"""Seconds that activities have to come to a place from which they can be gone on with."""

T = TypeVar("T")


@dataclass(frozen=True)
class TemporalPlace:
    """Where Temporal answers, and as whom it is asked."""

    address: str
    namespace: str
    queue: str
    api_key: str | None = field(default=None, repr=False)
    tls: bool = False


class Worker:
    """Executes jobs until it is stopped.

    ``platform`` says what is wanted, ``name`` tells it from the others of a namespace; ``told``
    hears what is wanted before it is acted upon, in a thread. ``build`` is this version's
    (:func:`stewards.deployment.build_id`). ``ready`` is called once jobs are executed;
    ``ending`` is set when they won't be any more.
    """

    def __init__(
        self,
        place: TemporalPlace,
        platform: PlatformClient,
        name: str,
        performer: Performer,
        *,
        build: str,
        told: Callable[[WantedJobs], None],
        ready: Callable[[], None] = lambda: None,
        ending: threading.Event | None = None,
    ) -> None:
        self._place = place
        self._platform = platform
        self._name = name
        self._performer = performer
        self._build = build
        self._told = told
        self._ready = ready
        self._ending = ending or threading.Event()
        self._queue = f"{place.queue}.{name}"
        self._said = ""
        self._unknown: set[str] = set()

    def run(self) -> None:
        """Execute jobs until the process is told to end, by SIGTERM or SIGINT."""
        asyncio.run(self._until_told())

    async def _until_told(self) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            stop.set()
            # Whoever waits for the platform's patience needn't any more.
            self._ending.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        await self.serve(stop)

    async def serve(self, stop: asyncio.Event) -> None:
        """Execute jobs until ``stop`` is set."""
        client = await self._connected(stop)
        while client is not None and not stop.is_set():
            workers = self._workers(client)
            tasks = [asyncio.create_task(worker.run()) for worker in workers]
            tending = asyncio.create_task(self._tend(client, stop))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([*tasks, tending, stopped], return_when=asyncio.FIRST_COMPLETED)
            tending.cancel()
            stopped.cancel()
            await self._shut_down(workers)
            for task in (*tasks, tending):
                if task.done() and not task.cancelled() and task.exception() is not None:
                    LOGGER.error("the worker met a fault", exc_info=task.exception())
                task.cancel()
            await _pause(stop, FIRST_WAIT)

    async def _shut_down(self, workers: list[TemporalWorker]) -> None:
        """Let what is at work come to a place from which it can be gone on with, within bounds."""
        ending = asyncio.gather(
            *(worker.shutdown() for worker in workers if worker.is_running), return_exceptions=True
        )
        try:
            await asyncio.wait_for(ending, GRACE + LONGEST_WAIT)
        except TimeoutError:
            LOGGER.warning("not everything ended in time; another worker goes on with it")

    def _workers(self, client: Client) -> list[TemporalWorker]:
        versions = deployment(self._name, self._build)
        grace = timedelta(seconds=GRACE)
        return [
            TemporalWorker(
                client,
                task_queue=self._queue,
                workflows=[JobWorkflow],
                activities=[self._performer.perform, self._performer.note],
                activity_executor=ThreadPoolExecutor(SWEEPS_AT_ONCE, "sweep"),
                workflow_task_executor=ThreadPoolExecutor(SWEEPS_AT_ONCE, "workflow"),
                max_concurrent_activities=SWEEPS_AT_ONCE,
                max_concurrent_workflow_tasks=SWEEPS_AT_ONCE,
                # What a worker that died had in memory is soon another one's, who replays it.
                sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
                deployment_config=versions,
                graceful_shutdown_timeout=grace,
            ),
            TemporalWorker(
                client,
                task_queue=self._queue + JOBS_QUEUE,
                activities=[self._performer.perform],
                activity_executor=ThreadPoolExecutor(JOBS_AT_ONCE, "job"),
                max_concurrent_activities=JOBS_AT_ONCE,
                deployment_config=versions,
                graceful_shutdown_timeout=grace,
            ),
        ]

    # --- what is wanted

    async def _tend(self, client: Client, stop: asyncio.Event) -> None:
        """See that Temporal has what the platform wants, again and again."""
        schedules = TemporalSchedules(client, self._name, self._queue)
        runs = OpenRuns(client, self._platform, self._name, self._queue)
        token: str | None = None
        wait, current = FIRST_WAIT, False
        # Beside the rest: to make hundreds of schedules takes its time, and nobody waits for them.
        keeping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keeping.set_result(None)
        while not stop.is_set():
            try:
                if not current:
                    await make_current(client, self._name, self._build)
                    current = True
                    self._ready()
                wanted = await _in_thread(partial(self._wanted, token))
                await client.service_client.check_health()
                # Who waits for an answer comes first.
                await runs.wake(wanted)
                await runs.begin(wanted.runs)
                if keeping.done():
                    kept, keeping = keeping, asyncio.ensure_future(schedules.keep(wanted.schedules))
                    kept.result()
            except (StewardError, RPCError) as error:
                self._say(f"jobs wait: {_who(error)}: {error}")
                await _pause(stop, wait)
                wait = min(wait * 2, LONGEST_WAIT)
                continue
            self._say("")
            token, wait = wanted.token, FIRST_WAIT
            for unknown in set(wanted.unknown) - self._unknown:
                LOGGER.warning("not executed by this version: %s", unknown)
            self._unknown = set(wanted.unknown)

    def _wanted(self, after: str | None) -> WantedJobs:
        wanted = self._platform.wanted(after, WAIT if after else 0)
        self._told(wanted)
        return wanted

    async def _connected(self, stop: asyncio.Event) -> Client | None:
        wait, runtime = FIRST_WAIT, _runtime()
        place = self._place
        while not stop.is_set():
            try:
                client = await Client.connect(
                    place.address,
                    namespace=place.namespace,
                    api_key=place.api_key,
                    # A key is for nobody to read on its way.
                    tls=TLSConfig() if place.tls or place.api_key else False,
                    runtime=runtime,
                )
            except (RuntimeError, RPCError) as error:
                self._say(f"jobs wait: Temporal at {place.address}: {error}")
                await _pause(stop, wait)
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                self._say("")
                return client
        return None

    def _say(self, trouble: str) -> None:
        """One line when something begins to be away, one when it is back."""
        who = trouble.partition(": ")[2].partition(":")[0]
        if trouble and who != self._said:
            LOGGER.warning("%s", trouble[:500])
        elif self._said and not trouble:
            LOGGER.warning("jobs go on: %s is back", self._said)
        self._said = who


def _who(error: StewardError | RPCError) -> str:
    return "Temporal" if isinstance(error, RPCError) else "the platform"


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _in_thread(call: Callable[[], T]) -> T:
    """What the call gives, in a thread that holds up nobody's end: a long poll isn't waited for."""
    loop = asyncio.get_running_loop()
    given: asyncio.Future[T] = loop.create_future()

    def give(value: T) -> None:
        if not given.done():
            given.set_result(value)

    def refuse(error: Exception) -> None:
        if not given.done():
            given.set_exception(error)

    def run() -> None:
        # The loop may be closed by now.
        with suppress(RuntimeError):
            try:
                value = call()
            except Exception as error:  # noqa: BLE001 (raised again where it is waited for)
                loop.call_soon_threadsafe(refuse, error)
            else:
                loop.call_soon_threadsafe(give, value)

    threading.Thread(target=run, name="platform", daemon=True).start()
    return await given


def _runtime() -> Runtime:
    """Temporal's own log goes where ours does; that a server is away is said once, by us."""
    filter_ = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    forwarding = LogForwardingConfig(LOGGER, append_target_to_name=False)
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter_, forwarding)))
