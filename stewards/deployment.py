"""What a worker is known by at Temporal: its version, and which version new work goes to.

Invariant: two workers have the same build id only if their workflows are the same code, so a
history is never gone on with by code that nobody knows of. The worker that was started last is the
current one: work goes to it, and it takes over what is under way.
Source: https://docs.temporal.io/production-deployment/worker-deployments/worker-versioning
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from importlib.resources import files

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

LOGGER = logging.getLogger(__name__)

_SOURCES = ("workflows.py", "orders.py")
_NOT_YET = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})
_LOOK = 0.1
_LONGEST_LOOK = 5.0


def build_id(version: str) -> str:
    """The version of the distribution, and the digest of the workflows' code."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update(files("stewards").joinpath(name).read_bytes())
    return f"{version}-{digest.hexdigest()[:12]}"


def deployment(platform: str, build: str) -> WorkerDeploymentConfig:
    """The deployment of a platform's workers, in this version."""
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(platform, build), use_worker_versioning=True
    )


async def make_current(client: Client, platform: str, build: str) -> None:
    """Let new work go to this version; returns once it does.

    The server knows it from the first time that a worker asks for work on. Raises
    :class:`temporalio.service.RPCError` where the server can't do that.
    """
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=platform,
        build_id=build,
        identity=client.identity,
        ignore_missing_task_queues=True,
    )
    wait = _LOOK
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
        except RPCError as error:
            if error.status not in _NOT_YET:
                raise
        else:
            LOGGER.info("work goes to version %s", build)
            return
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_LOOK)
