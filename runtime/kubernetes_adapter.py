"""A workload of a Kubernetes cluster as a machine: a command runs in a pod that is ready.

Invariant: a command starts only in a pod of the workload, and is one with it: when the pod or its
container ended meanwhile, the outcome is unknown unless the command was seen to end by itself. A
program whose name begins with ``kubernetes:`` is no program there but an operation on the workload,
so that these are permitted, decided and recorded as every command is.
https://kubernetes.io/docs/concepts/workloads/
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event

from runtime.assets import Locators
from runtime.commands import RUN_LENGTH, Command, Outcome, Sink, Stream
from runtime.counted_output import CountedOutput
from runtime.errors import AdapterError, CommandRefused, MachineError, MachineUnreachable
from runtime.execution import LEFT_BEHIND, Clock
from runtime.far_script import end_words, run_words
from runtime.kubernetes_api import ClusterApi
from runtime.kubernetes_cluster import KubernetesCluster
from runtime.kubernetes_exec import Ended, Limits, execute
from runtime.kubernetes_operations import OPERATION, operate
from runtime.kubernetes_place import Place, place_of
from runtime.kubernetes_workload import Pod, Workload
from runtime.machines import Reach

KIND = "kubernetes"
_END_SECONDS = 30.0
_SIGNALLED = 128
_KILLED = 137
_PODS_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class KubernetesWorkload:
    """One workload. The official client, which is large, is imported when it is asked first."""

    cluster: KubernetesCluster
    place: Place
    variables: frozenset[str]
    clock: Clock

    def check(self, run: str) -> None:
        with self._opened() as (_, workload):
            workload.ready_pod()

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        _check(command, self.variables)
        started, output = self.clock(), CountedOutput(command, sink)
        if cancel.is_set():
            return self._outcome(started, output, cancelled=True)
        with self._opened() as (api, workload):
            if command.argv[0].startswith(OPERATION):
                done = operate(api, workload, command, output, started)
                return self._outcome(started, output, code=done.code, unknown=done.unknown)
            pod = workload.ready_pod()
            try:
                with Limits(
                    command.seconds, cancel, lambda: self._ended(api, pod, command.run)
                ) as at:
                    ended = _executed(api, pod, command, output, at)
            except MachineError:
                raise
            except BaseException:
                # What the sink raised.
                self._ended(api, pod, command.run)
                raise
            told = self._told(api, workload, pod, command, ended, at)
            return self._outcome(
                started,
                output,
                code=told.code,
                unknown=told.lost,
                timed_out=at.timed_out and told.code in (None, _KILLED),
                cancelled=at.cancelled and told.code in (None, _KILLED),
            )

    def end(self, run: str) -> bool:
        try:
            with self._opened() as (api, workload):
                pods = [pod for pod in workload.pods() if pod.container_id]
                # All of them are asked, also after one that could not be.
                ended = [self._ended(api, pod, run) for pod in pods[:_PODS_AT_MOST]]
                return all(ended) and len(pods) <= _PODS_AT_MOST
        except MachineError:
            return False

    @contextmanager
    def _opened(self) -> Iterator[tuple[ClusterApi, Workload]]:
        with ClusterApi(self.cluster) as api:
            yield api, Workload(api, self.place)

    def _ended(self, api: ClusterApi, pod: Pod, run: str) -> bool:
        """End what the run left in the pod's container; ``False`` when that isn't certain."""
        asked = Command(f"end-{run}"[:RUN_LENGTH], ("sh",), output_bytes=0)
        with Limits(_END_SECONDS, Event(), lambda: False) as at:
            try:
                ended = execute(
                    api,
                    pod,
                    end_words(run),
                    stdin=b"",
                    output=CountedOutput(asked, lambda *_: None),
                    given_up=at.given_up,
                )
            except MachineError:
                return False
        return ended.code == 0

    def _told(
        self,
        api: ClusterApi,
        workload: Workload,
        pod: Pod,
        command: Command,
        ended: Ended,
        at: Limits,
    ) -> Ended:
        """What is known of the end, after a look at the pod where what was said is ambiguous."""
        if at.timed_out or at.cancelled:
            # Once more where its end wasn't heard: it may have begun after it was to end.
            sure = ended.code is not None or (at.ended and self._ended(api, pod, command.run))
            if not sure:
                return Ended(lost=f"the command could not be ended in {pod} and may still run")
            return Ended(ended.code)
        if ended.code is not None and ended.code <= _SIGNALLED:
            return ended
        try:
            now = workload.again(pod)
        except MachineError as error:
            return Ended(lost=f"{pod} may have ended while the command ran: {error}")
        if now.ending or (now.uid, now.container_id) != (pod.uid, pod.container_id):
            return Ended(lost=f"{pod} ended while the command ran")
        if ended.code == _KILLED and not self._ended(api, pod, command.run):
            return Ended(lost=LEFT_BEHIND)
        return ended

    def _outcome(
        self,
        started: datetime,
        output: CountedOutput,
        *,
        code: int | None = None,
        unknown: str = "",
        timed_out: bool = False,
        cancelled: bool = False,
    ) -> Outcome:
        return Outcome(
            exit_code=code,
            signal=None,
            started=started,
            ended=self.clock(),
            stdout=output.output(Stream.STDOUT),
            stderr=output.output(Stream.STDERR),
            timed_out=timed_out,
            cancelled=cancelled,
            unknown=unknown or None,
        )


def _executed(
    api: ClusterApi, pod: Pod, command: Command, output: CountedOutput, at: Limits
) -> Ended:
    """Run the command by the script, or by itself in a container that has no shell."""
    scripted = run_words(command.run, command.argv, command.environment, command.seconds)
    ended = Ended()
    for words in (scripted, list(command.argv)):
        ended = execute(api, pod, words, stdin=command.stdin, output=output, given_up=at.given_up)
        if not ended.absent or command.environment or at.timed_out or at.cancelled:
            break
    if ended.refused:
        raise MachineUnreachable(f"{pod} started nothing: {ended.refused}")
    return ended


def _check(command: Command, variables: frozenset[str]) -> None:
    refused = sorted(set(command.environment) - variables)
    if refused:
        raise CommandRefused(
            f"a command may not set {', '.join(refused)};"
            f" it may set {', '.join(sorted(variables)) or 'nothing'}"
        )


def opened(locators: Locators, reach: Reach) -> KubernetesWorkload:
    """The workload in ``namespace`` of ``cluster``, one of ``reach.clusters``, and the only one
    where it is left out. Raises :class:`AdapterError`."""
    if locators.node or locators.vmid:
        raise AdapterError("a workload has cluster, namespace, workload and container; no node")
    clusters = reach.clusters
    named = locators.cluster or (next(iter(clusters)) if len(clusters) == 1 else "")
    cluster = clusters.get(named)
    if cluster is None:
        raise AdapterError(
            f"no cluster {named!r} is configured; name it in the file of machines"
            if named
            else "the locator cluster is left out, and not just one is in the file of machines"
        )
    return KubernetesWorkload(cluster, place_of(locators), reach.variables, reach.clock)
