"""Prefect events about jobs, for automations: `prefect.generic-worker.job.<state>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.events import RelatedResource, emit_event

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from generic_worker.job import Job, JobStatus


def emit_job_event(job: Job, status: JobStatus, flow_run: FlowRun, related: list[RelatedResource]) -> None:
    """Tell Prefect's event stream of a job's new state.

    Args:
        job: The job; its key makes the event's resource id.
        status: Its new status: the state is in the event's name, the infrastructure's own words in its payload.
        flow_run: Its flow run, the first of the related resources.
        related: The work pool and the worker.
    """
    run = {
        "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
        "prefect.resource.role": "flow-run",
        "prefect.resource.name": flow_run.name,
    }
    emit_event(
        event=f"prefect.generic-worker.job.{status.state.value}",
        resource={
            "prefect.resource.id": f"prefect.generic-worker.job.{job.key}",
            "prefect.resource.name": f"{job.recipe} job {job.id}",
            "prefect.generic-worker.recipe": job.recipe,
            "prefect.generic-worker.job-id": job.id,
        },
        related=[RelatedResource.model_validate(run), *related],
        payload={
            "word": status.word,
            "reason": status.reason,
            "exit_code": status.exit_code,
            "signal": status.signal,
        },
    )
