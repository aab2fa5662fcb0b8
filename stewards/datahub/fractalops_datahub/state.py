"""The head of the last run, so that the next one asks only for what came after it.

Invariant: a head is kept with the digest of the recipe that read up to it: another recipe reads
everything. It is committed with the entities of the same run, or not at all.
"""

from __future__ import annotations

from datahub.ingestion.api.common import PipelineContext
from datahub.ingestion.api.ingestion_job_checkpointing_provider_base import JobId
from datahub.ingestion.source.state.checkpoint import Checkpoint, CheckpointStateBase
from datahub.ingestion.source.state.entity_removal_state import GenericCheckpointState
from datahub.ingestion.source.state.stale_entity_removal_handler import (
    StaleEntityRemovalHandler,
    StatefulStaleMetadataRemovalConfig,
)
from datahub.ingestion.source.state.stateful_ingestion_base import StateProviderWrapper
from datahub.ingestion.source.state.use_case_handler import StatefulIngestionUsecaseHandlerBase

from fractalops_datahub.names import PLATFORM


class HeadState(CheckpointStateBase):
    """What is kept: the head, and the digest of the recipe."""

    head: int = -1
    recipe: str = ""


class Heads(StatefulIngestionUsecaseHandlerBase[HeadState]):
    """The last head and the new one, and the entities of the last run."""

    def __init__(
        self,
        provider: StateProviderWrapper,
        config: StatefulStaleMetadataRemovalConfig | None,
        context: PipelineContext,
        recipe: str,
    ) -> None:
        self._provider = provider
        self._config = config
        self._context = context
        self._recipe = recipe
        provider.register_stateful_ingestion_usecase_handler(self)

    @property
    def job_id(self) -> JobId:
        return JobId(f"{PLATFORM}_head")

    def is_checkpointing_enabled(self) -> bool:
        config = self._config
        return bool(
            self._provider.is_stateful_ingestion_configured()
            # Without it nobody remembers the entities that didn't change.
            and config
            and config.remove_stale_metadata
            and not config.ignore_new_state
            and not config.ignore_old_state
        )

    def create_checkpoint(self) -> Checkpoint[HeadState] | None:
        if not self.is_checkpointing_enabled() or self._context.pipeline_name is None:
            return None
        return Checkpoint(
            job_name=self.job_id,
            pipeline_name=self._context.pipeline_name,
            run_id=self._context.run_id,
            state=HeadState(),
        )

    def last(self) -> int | None:
        """The head of the last run of this very recipe."""
        if not self.is_checkpointing_enabled():
            return None
        checkpoint = self._provider.get_last_checkpoint(self.job_id, HeadState)
        if checkpoint is None or checkpoint.state.recipe != self._recipe:
            return None
        return checkpoint.state.head if checkpoint.state.head >= 0 else None

    def keep(self, head: int) -> None:
        """Keeps the head of this run, whose entities have all been given."""
        checkpoint = self._provider.get_current_checkpoint(self.job_id)
        if checkpoint is not None:
            checkpoint.state.head = head
            checkpoint.state.recipe = self._recipe

    def carry_over(self, but: set[str]) -> None:
        """The entities of the last run are entities of this one, except these."""
        job = StaleEntityRemovalHandler.compute_job_id(PLATFORM)
        last = self._provider.get_last_checkpoint(job, GenericCheckpointState)
        current = self._provider.get_current_checkpoint(job)
        if last is None or current is None:
            return
        for urn in last.state.urns:
            if urn not in but:
                current.state.add_checkpoint_urn(type="", urn=urn)
