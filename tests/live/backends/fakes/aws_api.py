"""A fake of AWS for the real AWS CLI: ECS, Batch, CloudWatch Logs, and what they need of EC2 and STS.

    python aws_api.py PORT

Shapes and texts follow the public API references. A container is a local process. A task definition, a cluster or a job
definition that is called `nope` does not exist.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
import uuid
from typing import Any, ClassVar

from cloud import Request, Response, Run, Service, serve

ACCOUNT = "arn:aws:{}:us-east-1:123456789012"
LONGEST_OVERRIDES = 8192
MANY = 100


def _what_runs(override: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that a request gives a container."""
    env = {entry["name"]: entry["value"] for entry in override.get("environment", [])}
    return override.get("command") or ["true"], env


class Task(Run):
    """A task of ECS with one container."""

    def __init__(self, body: dict[str, Any], settings: dict[str, Any]) -> None:
        override = body["overrides"]["containerOverrides"][0]
        super().__init__(*_what_runs(override), settings)
        self.body, self.name = body, override["name"]
        self.id = f"{ACCOUNT.format('ecs')}:task/{body.get('cluster', 'default')}/{uuid.uuid4().hex}"

    def show(self) -> dict[str, Any]:
        one: dict[str, Any] = {"name": self.name, "taskArn": self.id}
        word = "RUNNING" if self.container else "PROVISIONING"
        if self.stopped:
            word = "DEACTIVATING"
        shown = {"taskArn": self.id, "startedBy": self.body.get("startedBy"), "overrides": self.body["overrides"]}
        if self.ended:
            word = "STOPPED"
            if self.failure:
                shown |= {"stopCode": "TaskFailedToStart", "stoppedReason": self.failure}
            elif self.stopped:
                shown |= {"stopCode": "UserInitiated", "stoppedReason": self.stopped}
            else:
                shown |= {"stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited"}
            if self.code is not None and not self._settings["no_exit_code"]:
                one["exitCode"] = self.code
        definition = f"{ACCOUNT.format('ecs')}:task-definition/{self.body['taskDefinition']}"
        return {**shown, "taskDefinitionArn": definition, "lastStatus": word, "containers": [one]}


class BatchJob(Run):
    """A job of AWS Batch."""

    def __init__(self, body: dict[str, Any], settings: dict[str, Any]) -> None:
        super().__init__(*_what_runs(body["containerOverrides"]), settings)
        self.body, self.id = body, str(uuid.uuid4())

    def show(self) -> dict[str, Any]:
        word, reason = "RUNNING" if self.container else "RUNNABLE", None
        if self.ended:
            good = self.code == 0 and not self.stopped
            word = "SUCCEEDED" if good else "FAILED"
            reason = self.stopped or self.failure or "Essential container in task exited"
        container: dict[str, Any] = {"environment": self.body["containerOverrides"].get("environment", [])}
        if self.container:
            container["logStreamName"] = f"definition/default/{self.id}"
        if self.code is not None:
            container["exitCode"] = self.code
        about = {"jobId": self.id, "jobName": self.body["jobName"], "status": word}
        return {**about, "statusReason": reason, "container": container}


class Aws(Service):
    """What is asked is `<service>.<action>`, such as `ecs.RunTask`, `batch.submitjob` or `sts.AssumeRole`."""

    SETTINGS: ClassVar[dict[str, Any]] = {
        "pending": 0.5, "grace": 5.0, "no_exit_code": False, "access_key": "", "tasks": [],
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Task] = {}
        self.tokens: dict[str, str] = {}
        self.jobs: dict[str, BatchJob] = {}
        self.definitions: dict[str, Any] = {}

    def name(self, request: Request) -> str:
        if target := request.headers.get("x-amz-target"):
            service, _, action = target.partition(".")
            return f"{'logs' if service.startswith('Logs') else 'ecs'}.{action}"
        if request.path.startswith("/v1/"):
            return f"batch.{request.path.removeprefix('/v1/')}"
        action = urllib.parse.parse_qs(request.raw.decode()).get("Action", [""])[0]
        return f"{'sts' if action == 'AssumeRole' else 'ec2'}.{action}"

    def error(self, status: int, code: str, message: str) -> Response:
        return Response(status, {"__type": code, "message": message}, {"x-amzn-errortype": code})

    def state(self) -> dict[str, Any]:
        runs = {run.id: {**run.show(), "body": run.body} for run in (*self.tasks.values(), *self.jobs.values())}
        return {"runs": runs, "definitions": self.definitions}

    def clear(self) -> None:
        for run in (*self.tasks.values(), *self.jobs.values()):
            run.stop("cleared")
        for kept in (self.tasks, self.tokens, self.jobs, self.definitions):
            kept.clear()

    def answer(self, request: Request) -> Response:
        service, _, action = request.name.partition(".")
        key = self.settings["access_key"]
        if key and service != "sts" and f"Credential={key}/" not in request.headers.get("authorization", ""):
            said = "The security token included in the request is invalid."
            return self.error(400, "UnrecognizedClientException", said)
        if service in {"ec2", "sts"}:
            return self._query(action, dict(urllib.parse.parse_qsl(request.raw.decode())))
        handle = getattr(self, f"_{service}_{action.lower()}", None)
        if handle is None:
            return self.error(400, "UnknownOperationException", f"{request.name} is not played here.")
        found = handle(request.body or {})
        return found if isinstance(found, Response) else Response(body=found)

    def _query(self, action: str, given: dict[str, str]) -> Response:
        """EC2 and STS, which answer in XML."""
        if action == "AssumeRole":
            inner = (
                f"<AssumeRoleResult><Credentials><AccessKeyId>ASSUMED{given['RoleArn'][-4:]}</AccessKeyId>"
                "<SecretAccessKey>a-secret-of-the-role</SecretAccessKey><SessionToken>a-token</SessionToken>"
                "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>"
            )
            return Response(200, f"<AssumeRoleResponse>{inner}</AssumeRoleResponse>", {"content-type": "text/xml"})
        items = "".join(f"<item><subnetId>subnet-{name}</subnetId></item>" for name in "ab")
        xml = f"<DescribeSubnetsResponse><subnetSet>{items}</subnetSet></DescribeSubnetsResponse>"
        return Response(200, xml, {"content-type": "text/xml"})

    # ECS

    def _ecs_runtask(self, body: dict[str, Any]) -> Any:
        if body.get("cluster", "default") == "nope":
            return self.error(400, "ClusterNotFoundException", "Cluster not found.")
        definition = body["taskDefinition"]
        if definition == "nope" or (definition.startswith("generic-worker-") and definition not in self.definitions):
            return self.error(400, "ClientException", "TaskDefinition not found.")
        if len(json.dumps(body["overrides"])) > LONGEST_OVERRIDES:
            said = f"Container Overrides length must be at most {LONGEST_OVERRIDES}"
            return self.error(400, "InvalidParameterException", said)
        token = body["clientToken"]
        if token in self.tokens:
            task = self.tasks[self.tokens[token]]
            if task.body != body:
                said = "The provided clientToken is already in use with a different RunTask request."
                return self.error(400, "ConflictException", said)
        else:
            task = Task(body, self.settings)
            self.tasks[task.id] = task
            self.tokens[token] = task.id
        return {"tasks": [task.show()], "failures": []}

    def _ecs_listtasks(self, body: dict[str, Any]) -> Any:
        if body.get("cluster") == "nope":
            return self.error(400, "ClusterNotFoundException", "Cluster not found.")
        key = body.get("startedBy")
        alive = [task for task in self.tasks.values() if not task.ended and not task.stopped]
        return {"taskArns": [task.id for task in alive if key in {None, task.body.get("startedBy")}]}

    def _ecs_describetasks(self, body: dict[str, Any]) -> Any:
        if body.get("cluster") == "nope":
            return self.error(400, "ClusterNotFoundException", "Cluster not found.")
        if len(body["tasks"]) > MANY:
            return self.error(400, "InvalidParameterException", "Tasks cannot be more than 100.")
        planted = {task["taskArn"]: task for task in self.settings["tasks"]}
        known = planted | {name: task.show() for name, task in self.tasks.items()}
        missing = [{"arn": name, "reason": "MISSING"} for name in body["tasks"] if name not in known]
        failing = [task["failure"] for name, task in planted.items() if "failure" in task and name in body["tasks"]]
        shown = [known[name] for name in body["tasks"] if name in known and "failure" not in known[name]]
        return {"tasks": shown, "failures": missing + failing}

    def _ecs_stoptask(self, body: dict[str, Any]) -> Any:
        if (task := self.tasks.get(body["task"])) is None:
            return self.error(400, "InvalidParameterException", "The referenced task was not found.")
        task.stop(body["reason"])
        return {"task": task.show()}

    def _ecs_registertaskdefinition(self, body: dict[str, Any]) -> Any:
        revision = self.definitions.get(body["family"], {}).get("revision", 0) + 1
        self.definitions[body["family"]] = {**body, "revision": revision}
        return self._ecs_describetaskdefinition({"taskDefinition": body["family"]})

    def _ecs_describetaskdefinition(self, body: dict[str, Any]) -> Any:
        family = body["taskDefinition"]
        if family not in self.definitions:
            return self.error(400, "ClientException", "Unable to describe task definition.")
        arn = f"{ACCOUNT.format('ecs')}:task-definition/{family}:{self.definitions[family]['revision']}"
        return {"taskDefinition": {**self.definitions[family], "taskDefinitionArn": arn}}

    # Batch

    def _batch_submitjob(self, body: dict[str, Any]) -> Any:
        if body["jobDefinition"] == "nope":
            return self.error(400, "ClientException", "Job definition nope does not exist")
        job = BatchJob(body, self.settings)
        self.jobs[job.id] = job
        return {"jobId": job.id, "jobName": body["jobName"], "jobArn": f"{ACCOUNT.format('batch')}:job/{job.id}"}

    def _batch_listjobs(self, body: dict[str, Any]) -> Any:
        names = [value for one in body.get("filters", []) for value in one["values"]]
        shown = [job.show() for job in self.jobs.values()]
        kept = [job for job in shown if (job["jobName"] in names if names else job["status"] == "RUNNING")]
        return {"jobSummaryList": [{key: job[key] for key in ("jobId", "jobName", "status")} for job in kept]}

    def _batch_describejobs(self, body: dict[str, Any]) -> Any:
        return {"jobs": [self.jobs[name].show() for name in body["jobs"] if name in self.jobs]}

    def _batch_terminatejob(self, body: dict[str, Any]) -> Any:
        if body["jobId"] in self.jobs:
            self.jobs[body["jobId"]].stop(body["reason"])
        return {}

    # CloudWatch Logs

    def _logs_getlogevents(self, body: dict[str, Any]) -> Any:
        stream = body["logStreamName"].rsplit("/", 1)[-1]
        run = next((run for name, run in {**self.tasks, **self.jobs}.items() if name.endswith(stream)), None)
        if run is None or run.container is None:
            return self.error(400, "ResourceNotFoundException", "The specified log stream does not exist.")
        lines = run.container.lines[-body.get("limit", 10_000) :]
        return {"events": [{"timestamp": 1, "message": line, "ingestionTime": 1} for _, line in lines]}


if __name__ == "__main__":
    serve(Aws(), int(sys.argv[1]))
