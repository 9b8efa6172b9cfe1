"""A fake of Google Cloud for the real gcloud: the Cloud Run Admin API v1, Cloud Logging, and OAuth 2 for accounts.

    python cloud_run_api.py PORT

gcloud reaches it as its proxy, so that hosts need not exist. Shapes follow the public API reference. A container is a
local process. An image called `nope` does not exist: its job never gets ready.
"""

from __future__ import annotations

import copy
import secrets
import signal
import sys
import threading
import urllib.parse
from typing import Any, ClassVar

from cloud import Request, Response, Run, Service, now, serve

NAMESPACES = "/apis/run.googleapis.com/v1/namespaces/"
STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    """One of the conditions of an object's status."""
    said = {"reason": reason, "message": message}
    about = {"type": kind, "status": status, "lastTransitionTime": now()}
    return about | {key: value for key, value in said.items() if value}


class Execution:
    """One execution of a job, with one task."""

    def __init__(self, name: str, job: dict[str, Any], settings: dict[str, Any]) -> None:
        self.name, self.job = name, job["metadata"]["name"]
        self.spec = copy.deepcopy(job["spec"]["template"]["spec"])
        self.template = self.spec["template"]["spec"]
        (container,) = self.template["containers"]
        env = {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}
        argv = [*container.get("command", []), *container.get("args", [])]
        self.timed_out = False
        self.run = Run(argv, env, settings)
        limit = threading.Timer(settings["pending"] + float(self.template["timeoutSeconds"]), self._time_out)
        limit.daemon = True
        limit.start()

    def _time_out(self) -> None:
        if not self.run.ended:
            self.timed_out = True
            self.run.stop("time")

    def _end(self) -> tuple[str, str]:
        """Why it did not complete, and in which words; empty when it did."""
        if self.timed_out:
            return "NonZeroExitCode", "The configured timeout was reached."
        if self.run.stopped:
            return "Cancelled", "Execution cancelled."
        if self.run.failure:
            return "ContainerFailed", f"Application failed to start: {self.run.failure}"
        return ("NonZeroExitCode", "The container exited with an error.") if self.run.code else ("", "")

    def conditions(self) -> list[dict[str, str]]:
        started = condition("Started", "True" if self.run.container else "Unknown")
        if not self.run.ended:
            ending = ("Cancelling", "Cancelling the execution.") if self.run.stopped else ("", "")
            return [condition("Completed", "Unknown", *ending), started]
        reason, words = self._end()
        if not reason:
            return [condition("Completed", "True", "", "Execution completed successfully."), started]
        task = f"Task {self.name}-task0 failed with message: " if reason == "NonZeroExitCode" else ""
        return [condition("Completed", "False", reason, task + words), started]

    def show(self) -> dict[str, Any]:
        labels = {"run.googleapis.com/job": self.job, "cloud.googleapis.com/location": "europe-west1"}
        about = {"name": self.name, "namespace": "p", "labels": labels, "creationTimestamp": now()}
        status = {"conditions": self.conditions(), "observedGeneration": 1}
        return {"kind": "Execution", "apiVersion": "run.googleapis.com/v1", "metadata": about, "spec": self.spec,
                "status": status}  # fmt: skip

    def task(self) -> dict[str, Any]:
        labels = {"run.googleapis.com/execution": self.name, "run.googleapis.com/job": self.job}
        status: dict[str, Any] = {"conditions": self.conditions()}
        if self.run.ended:
            reason, words = self._end()
            result: dict[str, Any] = {"status": {"code": 13, "message": words} if reason else {}}
            code = self.run.container.code if self.run.container and not self.timed_out else None
            if code is not None:
                result["termSignal" if code < 0 else "exitCode"] = abs(code)
            status["lastAttemptResult"] = result
        about = {"name": f"{self.name}-task0", "namespace": "p", "labels": labels}
        return {"kind": "Task", "apiVersion": "run.googleapis.com/v1", "metadata": about, "spec": self.template,
                "status": status}  # fmt: skip


class CloudRun(Service):
    """What is asked is `<method> <kind>/<name>[:<verb>]`, such as `POST jobs/pf-1:run`, or `POST /v2/entries:list`."""

    SETTINGS: ClassVar[dict[str, Any]] = {"pending": 0.5, "grace": 5.0, "email": "", "knows_tokens": True}

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.executions: dict[str, Execution] = {}
        self.tokens: dict[str, str] = {}

    def name(self, request: Request) -> str:
        path = request.path.removeprefix(NAMESPACES)
        return f"{request.method} {path.partition('/')[2] if path != request.path else path}"

    def error(self, status: int, code: str, message: str) -> Response:
        return Response(status, {"error": {"code": status, "message": message, "status": code or STATUS[status]}})

    def state(self) -> dict[str, Any]:
        executions = {name: one.show() for name, one in self.executions.items()}
        return {"jobs": self.jobs, "executions": executions}

    def clear(self) -> None:
        for execution in self.executions.values():
            execution.run.stop("cleared")
        self.jobs.clear()
        self.executions.clear()

    def answer(self, request: Request) -> Response:
        if request.path == "/token":
            return self._token(request)
        if self.settings["email"] and request.headers.get("authorization") != f"Bearer {self.settings['email']}":
            return self.error(401, "", "Request had invalid authentication credentials.")
        if request.path == "/v2/entries:list":
            return self._entries(request.body)
        kind, _, rest = request.name.partition(" ")[2].partition("/")
        name, _, verb = rest.partition(":")
        handle = getattr(self, f"_{kind}", None)
        return handle(request, name, verb) if handle else self.error(404, "", "Requested entity was not found.")

    def _token(self, request: Request) -> Response:
        """Take any signed assertion, and remember in the token whose it is."""
        given = dict(urllib.parse.parse_qsl(request.raw.decode()))
        if "assertion" not in given:
            return Response(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        return Response(
            body={"access_token": self.settings["email"] or "any", "expires_in": 3599, "token_type": "Bearer"}
        )

    def _jobs(self, request: Request, name: str, verb: str) -> Response:  # noqa: PLR0911 - one for each method
        if request.method == "GET" and not name:
            return self._page([*self.jobs.values()], request, "JobList")
        if request.method == "POST" and not name:
            name = request.body["metadata"]["name"]
            if name in self.jobs:
                return self.error(409, "", f"Resource 'namespaces/p/jobs/{name}' already exists.")
            return Response(body=self._put(name, request.body))
        if (job := self.jobs.get(name)) is None:
            return self.error(404, "", f"Resource '{name}' of kind 'JOB' in region 'europe-west1' does not exist.")
        if verb == "run":
            execution = f"{name}-{secrets.token_hex(3)[:5]}"
            self.executions[execution] = Execution(execution, job, self.settings)
            return Response(body=self.executions[execution].show())
        if request.method == "DELETE":
            for one in [one for one in self.executions.values() if one.job == name]:
                one.run.stop("deleted")
                del self.executions[one.name]
            del self.jobs[name]
            return Response(body={"kind": "Status", "status": "Success", "details": {"name": name, "kind": "Job"}})
        return Response(body=self._put(name, request.body) if request.method == "PUT" else job)

    def _put(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        job = copy.deepcopy(body)
        job["metadata"] |= {"generation": 1, "namespace": "p", "uid": name, "creationTimestamp": now()}
        image = job["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]["image"]
        ready = condition("Ready", "False", "ContainerMissing", f"Image '{image}' not found.")
        job["status"] = {"observedGeneration": 1, "conditions": [ready]}
        if image != "nope":
            job["status"]["conditions"] = [condition("Ready", "True")]
            token = job["spec"].get("startExecutionToken") if self.settings["knows_tokens"] else None
            if token:
                execution = f"{name}-{token}"
                if execution not in self.executions:
                    self.executions[execution] = Execution(execution, job, self.settings)
                job["status"]["latestCreatedExecution"] = {"name": execution, "creationTimestamp": now()}
        self.jobs[name] = job
        return job

    def _executions(self, request: Request, name: str, verb: str) -> Response:
        if not name:
            return self._page([one.show() for one in self.executions.values()], request, "ExecutionList")
        if (execution := self.executions.get(name)) is None:
            return self.error(
                404, "", f"Resource '{name}' of kind 'EXECUTION' in region 'europe-west1' does not exist."
            )
        if verb == "cancel":
            if execution.run.ended:
                said = "Execution is already completed and cannot be cancelled."
                return self.error(400, "FAILED_PRECONDITION", said)
            execution.run.stop("cancelled")
        return Response(body=execution.show())

    def _tasks(self, request: Request, *_: str) -> Response:
        return self._page([one.task() for one in self.executions.values()], request, "TaskList")

    def _page(self, items: list[dict[str, Any]], request: Request, kind: str) -> Response:
        """A page of those items that a label selector leaves."""
        for part in filter(None, request.query.get("labelSelector", "").split(",")):
            key, value = (word.strip() for word in part.split("="))
            items = [item for item in items if item["metadata"].get("labels", {}).get(key) == value]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 100))
        more = {"continue": str(start + limit)} if start + limit < len(items) else {}
        page = items[start : start + limit]
        return Response(body={"kind": kind, "apiVersion": "run.googleapis.com/v1", "metadata": more, "items": page})

    def _entries(self, body: dict[str, Any]) -> Response:
        """Cloud Logging's entries of one execution, the last ones first."""
        run = next((one.run for name, one in self.executions.items() if f'"{name}"' in body["filter"]), None)
        lines = run.container.lines if run and run.container else []
        entries = [
            {"insertId": str(index), "timestamp": time, "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
             **({"jsonPayload": {"message": line}} if line.startswith("json ") else {"textPayload": line})}
            for index, (time, line) in enumerate(lines)
        ]  # fmt: skip
        return Response(body={"entries": entries[::-1][: body.get("pageSize", 50)]})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(CloudRun(), int(sys.argv[1]))
