"""Prefect's job configuration and variables, made from a recipe.

What a job may know of its worker is decided here: the settings that a flow run needs to reach the API, and no others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from prefect.settings import Settings, get_current_settings
from prefect.utilities.collections import get_from_dict
from prefect.utilities.templating import apply_values
from prefect.workers.base import BaseJobConfiguration, BaseVariables
from pydantic import Field, PrivateAttr, field_validator

from generic_worker.commands.rendering import job_values
from generic_worker.errors import GenericWorkerError, VariableError
from generic_worker.job import CLEANED, Job
from generic_worker.library.loading import is_name, load
from generic_worker.library.template import checked_variables, placeholder
from generic_worker.worker.flow_runs import job_key, patiently
from generic_worker.worker.footprint import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse
    from typing_extensions import Self

    from generic_worker.job import JobReference
    from generic_worker.language.recipe import Recipe

_PLACEHOLDER_RE = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")
"""Prefect's placeholders."""

FLOW_RUN_SETTINGS = frozenset({
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_ENABLE_HTTP2",
    "PREFECT_API_KEY",
    "PREFECT_API_REQUEST_TIMEOUT",
    "PREFECT_API_SSL_CERT_FILE",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
    "PREFECT_API_URL",
    "PREFECT_CLIENT_CUSTOM_HEADERS",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES",
    "PREFECT_LOGGING_LEVEL",
})  # fmt: skip
"""The worker's settings that its jobs get. A worker has others that are not theirs, such as a database's password."""


def _with_environment_apart(
    base_job_template: dict[str, Any], values: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A template and values of which Prefect makes the same, but for what a deployment has in `env`.

    Where the owner has set variables, Prefect would make that a part of the template, in which `{{ $NAME }}` is a
    variable of the worker's environment. The owner's keep that meaning; what a deployment gives is only ever a value.
    """
    configuration, variables = base_job_template["job_configuration"], base_job_template["variables"]
    properties = variables.get("properties", {})
    fixed, default = configuration.get("env"), properties.get("env", {}).get("default")
    owners = (fixed if isinstance(fixed, dict) else {}) | (default or {})
    if not owners:
        return base_job_template, values
    dotted = {name.removeprefix("env."): value for name, value in values.items() if name.startswith("env.")}
    given = values.get("env")
    rest = {name: value for name, value in values.items() if name != "env" and not name.startswith("env.")}
    defaults = {name: schema["default"] for name, schema in properties.items() if schema.get("default") is not None}
    env = apply_values(owners, defaults | rest) | dotted | (given if isinstance(given, dict) else {})
    if "env" in properties:
        properties = {**properties, "env": {k: v for k, v in properties["env"].items() if k != "default"}}
    template = {
        **base_job_template,
        "job_configuration": {**configuration, "env": placeholder("env")},
        "variables": {**variables, "properties": properties},
    }
    return template, {**rest, "env": env}


def _refuse_other_than_names(base_job_template: dict[str, Any], values: dict[str, Any]) -> None:
    """Refuse what a deployment has put where a recipe is named, before anything reads it: a path would be opened."""
    written = base_job_template["job_configuration"]["recipe"]
    named = written.get("extends") if isinstance(written, dict) else written
    if isinstance(named, str) and "{{" in named:
        properties = base_job_template["variables"].get("properties", {})
        defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
        if not is_name(apply_values(named, defaults | values)):
            raise VariableError("recipe: a deployment can choose a recipe by its name only.")


def _filled(text: str, values: dict[str, Any]) -> str:
    """A text with the values that its placeholders name. It is read once: what is filled in is no placeholder."""

    def value(found: re.Match[str]) -> str:
        return str(get_from_dict(values, found[1], ""))

    return _PLACEHOLDER_RE.sub(value, text)


NO_RECIPE = "the base job template has no recipe. Make one with: generic-worker template RECIPE"


def pool_variables(base_job_template: Mapping[str, Any]) -> dict[str, Any]:
    """The values of recipe variables that a pool's template gives by itself: hard-coded ones, and the form's defaults.

    A credentials block is left out: it is a reference until a flow run is prepared.
    """
    properties = base_job_template.get("variables", {}).get("properties", {})
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    written = base_job_template["job_configuration"].get("variables") or {}
    values = apply_values(written, defaults, remove_notset=True)
    return {name: value for name, value in values.items() if not (isinstance(value, dict) and "$ref" in value)}


class GenericWorkerVariables(BaseVariables):
    """The variables that every pool of this worker has, whatever its recipe."""


class GenericWorkerJobConfiguration(BaseJobConfiguration):
    """What the worker needs to run one flow run: a recipe, and values for its variables."""

    recipe: dict[str, Any] | str = Field(
        default="process",
        title="Recipe",
        description="The recipe, as `generic-worker template` writes it here; or the name of one that a worker finds.",
    )
    variables: dict[str, Any] = Field(
        default_factory=dict,
        title="Variables",
        description="Values of the recipe's variables.",
        json_schema_extra={"template": {}},
    )

    _environment: ClassVar[tuple[Settings | None, dict[str, str]]] = None, {}
    """The settings that are in force, and what jobs get of them: picking that from them all takes 12 ms."""

    _recipe: Recipe = PrivateAttr()
    _work_pool_name: str | None = PrivateAttr(default=None)
    _void: list[str] = PrivateAttr(default_factory=list)
    _open: frozenset[str] = PrivateAttr(default=frozenset())

    @field_validator("recipe")
    @classmethod
    def _not_empty(cls, value: dict[str, Any] | str) -> dict[str, Any] | str:
        if not value:
            raise ValueError(NO_RECIPE)
        return value

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401
        """Load the recipe and fill in the variables.

        Raises:
            RecipeError: The recipe is wrong.
            VariableError: A variable has a value that its schema does not allow.
        """
        super().model_post_init(context)
        self._recipe = load(self.recipe).recipe
        self.variables = checked_variables(self._recipe, self.variables)

    @classmethod
    async def from_template_and_values(
        cls, base_job_template: dict[str, Any], values: dict[str, Any], client: PrefectClient | None = None
    ) -> Self:
        """Make the configuration from a pool's template and a deployment's job variables.

        Raises:
            VariableError: A deployment chose a recipe by something other than a name. A recipe is code, and belongs to
                the pool's owner. Or the template has none: the default is for pools that were made without a template.
        """
        if not base_job_template["job_configuration"].get("recipe"):
            raise VariableError(f"recipe: {NO_RECIPE}.")
        _refuse_other_than_names(base_job_template, values)
        template, given = _with_environment_apart(base_job_template, values)
        configuration: Self = await super().from_template_and_values(template, given, client=client)
        form = base_job_template["variables"].get("properties", {})
        configuration._void = [name for name in values if name in configuration.variables and name not in form]
        configuration._open = frozenset(form)
        return configuration

    @classmethod
    async def resolve_for_flow_run(cls, flow_run: FlowRun, **context: Any) -> Self:  # noqa: ANN401 - Prefect's
        """Make the configuration of a flow run. A passing failure of the API is waited out, and does not crash the run.

        Raises:
            GenericWorkerError: The recipe or a variable is wrong.
            ObjectNotFound: The flow run's deployment is gone.
        """
        resolve = super().resolve_for_flow_run
        # a copy for each try: Prefect takes the run's own environment out of what it is given
        return await patiently(lambda: resolve(flow_run.model_copy(deep=True), **context))

    @property
    def loaded_recipe(self) -> Recipe:
        """The recipe as a model."""
        return self._recipe

    @property
    def void(self) -> list[str]:
        """The variables that were given a value although the work pool has fixed them."""
        return list(self._void)

    @property
    def open_variables(self) -> frozenset[str]:
        """The variables to which a deployment may give values: the pool has not fixed them."""
        return self._open

    @property
    def flow_run(self) -> FlowRun | None:
        """The flow run that the configuration was prepared for."""
        flow_run: FlowRun | None = self._related_objects.get("flow-run")
        return flow_run

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        """The settings that a flow run needs, of those that are set for the worker."""
        settings = get_current_settings()
        known, environment = cls._environment
        if known is not settings:
            everything = super()._base_environment()
            environment = {name: value for name, value in everything.items() if name in FLOW_RUN_SETTINGS}
            GenericWorkerJobConfiguration._environment = settings, environment
        return dict(environment)

    def prepare_for_flow_run(  # noqa: PLR0913, PLR0917 - the signature is Prefect's
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Fill in what depends on the flow run. It may be called again for the same run, to cancel or adopt it."""
        name, self.name = self.name, None  # Prefect would put variables of the worker's own environment into it
        try:
            super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        except TypeError as error:  # which Prefect would take for an outdated signature
            raise GenericWorkerError(f"the job configuration cannot be prepared: {error}") from error
        if name:
            about = {"flow": flow.model_dump(mode="json") if flow else {}, "flow_run": flow_run.model_dump(mode="json")}
            self.name = _filled(name, {"ctx": about}) or self.name
        self._work_pool_name = work_pool.name if work_pool else None

    def release(self) -> None:
        """Drop what only the submission needed: Prefect keeps the configuration for an event when the job has ended."""
        self.recipe, self.variables, self.env, self.labels = self._recipe.name, {}, {}, {}
        self._related_objects = names_of(self._related_objects)

    def job(self, flow_run: FlowRun, reference: JobReference | None = None) -> Job:
        """The job of a flow run.

        Args:
            flow_run: The flow run, as the worker was handed it.
            reference: What the run's pid says of its job; without, it is one that was not submitted yet.

        Raises:
            VariableError: The pid is not one that this worker writes for that run, whoever may have written it.
        """
        if reference:
            self._check_claim(flow_run, reference)
        flow, deployment = self._related_objects.get("flow"), self._related_objects.get("deployment")
        key = reference.key if reference else job_key(flow_run)
        values = job_values(
            self._recipe,
            self.variables,
            {
                "job_key": key,
                "job_name": (self.name or flow_run.name or key).replace("\n", " ").strip() or key,
                "command": self.command or self._base_flow_run_command(),
                "env": dict(self.env),
                "labels": dict(self.labels),
                "flow_run_id": str(flow_run.id),
                "flow_run_name": flow_run.name,
                "flow_name": flow.name if flow else None,
                "deployment_name": deployment.name if deployment else None,
                "work_pool_name": self._work_pool_name,
            },
        )
        job = Job(key, values, self._recipe.name)
        if reference:
            job.scope, job.id, job.fields = reference.scope, reference.id, reference.fields
            job.claimed = bool(job.id)
        return job

    def _check_claim(self, flow_run: FlowRun, reference: JobReference) -> None:
        output = self._recipe.submit.output
        claimed = {"id": reference.id, **reference.fields}
        wrong = [n for n, value in claimed.items() if value and n != CLEANED and not output.can_yield(n, value)]
        if wrong or reference.recipe != self._recipe.name or not reference.is_of(flow_run.id):
            raise VariableError(
                f"the pid {flow_run.infrastructure_pid!r:.300} is not one that was written for this flow run by the "
                f"recipe {self._recipe.name}. Its job is left alone."
            )
