import asyncio
import tracemalloc
from copy import deepcopy
from datetime import datetime, timezone
from uuid import uuid4

from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Scheduled

from generic_worker.library.loading import load
from generic_worker.library.template import base_job_template
from generic_worker.worker.configuration import GenericWorkerJobConfiguration
from generic_worker.worker.footprint import SharedTemplate
from generic_worker.worker.worker import GenericWorker

NOW = datetime.now(timezone.utc)
POOL = WorkPool(
    name="hpc", type="generic", base_job_template=base_job_template(load("slurm")), default_queue_id=uuid4()
)


def resolved():
    """The configuration of a flow run, with all that Prefect puts into it."""
    state, known = Scheduled(), {"created": NOW, "updated": NOW}
    schema = {"type": "object", "properties": {f"p{number}": {"type": "number"} for number in range(5)}}
    configuration = asyncio.run(
        GenericWorkerJobConfiguration.from_template_and_values(
            POOL.base_job_template, {"partition": "long", "env": {"A": "b"}}, client=object()
        )
    )
    configuration.prepare_for_flow_run(
        FlowRun(id=uuid4(), flow_id=uuid4(), name="brave-hare", state=state, state_id=state.id, tags=["nightly"]),
        DeploymentResponse(
            id=uuid4(), name="d", flow_id=uuid4(), parameter_openapi_schema=schema, tags=["prod"], **known
        ),
        Flow(id=uuid4(), name="f", **known),
        POOL,
        "w",
        uuid4(),
    )
    return configuration


def test_what_only_the_submission_needed_is_dropped_and_an_event_says_the_same():
    configuration = resolved()
    before = configuration._related_resources()
    configuration.release()

    assert configuration._related_resources() == before
    assert (configuration.recipe, configuration.variables, configuration.env) == ("slurm", {}, {})
    assert configuration.loaded_recipe == load("slurm").recipe


def test_a_released_configuration_holds_less_than_eight_kilobytes():
    resolved().release()
    tracemalloc.start()
    kept = [resolved() for _ in range(20)]
    for configuration in kept:
        configuration.release()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held / len(kept) < 8000


def test_the_pools_template_is_one_for_all_flow_runs():
    worker = GenericWorker(work_pool_name="hpc")
    worker._work_pool = POOL.model_copy()
    pools = [deepcopy(worker.work_pool) for _ in range(2)]

    assert pools[0].base_job_template is pools[1].base_job_template
    assert pools[0].model_dump(mode="json") == POOL.model_dump(mode="json")
    assert isinstance(pools[0].base_job_template, SharedTemplate)
