"""A fake of the Kubernetes API for the real kubectl: Jobs, their pods as local processes, secrets and events.

    python kubernetes_api.py PORT CERTIFICATE

A manifest is held to the published schema of Kubernetes, and refused as a real API server refuses it. What was set as
`pods`, `jobs` or `events` is listed beside what runs, as it is.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import kubernetes_validate
from cloud import Request, Response, Run, Service, serve

SCHEMA = "1.33"
GROUPS = {"v1": "/api/v1", "batch/v1": "/apis/batch/v1", "authorization.k8s.io/v1": "/apis/authorization.k8s.io/v1"}
KINDS = {
    "v1": {"pods": "Pod", "secrets": "Secret", "events": "Event"},
    "batch/v1": {"jobs": "Job"},
    "authorization.k8s.io/v1": {"selfsubjectaccessreviews": "SelfSubjectAccessReview"},
}
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "AlreadyExists",
    422: "Invalid",
}
PATH_RE = re.compile(
    r"/apis?/(?:[a-z0-9.]+/)?v1/namespaces/(?P<space>[^/]+)/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>\w+))?$"
)


def moment(seconds: float = 0) -> str:
    """The time in so many seconds, as Kubernetes writes it."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Pod(Run):
    """The pod of a Job, whose first container runs."""

    def __init__(self, job: dict[str, Any], settings: dict[str, Any], environment: dict[str, str]) -> None:
        template = job["spec"]["template"]
        flow = template["spec"]["containers"][0]
        given = {entry["name"]: entry.get("value", "") for entry in flow.get("env", [])}
        env = environment | {name: _expanded(value, environment | given) for name, value in given.items()}
        args = [_expanded(word, env) for word in flow.get("command", []) + flow["args"]]
        self.image, self.spec, self.job = flow["image"], template["spec"], job
        self.deleted, self.condition, self.made, self.finished = "", None, moment(), ""
        self.name = f"{job['metadata']['name'][:57]}-{uuid.uuid4().hex[:5]}"
        labels = {**template["metadata"]["labels"], "job-name": job["metadata"]["name"]}
        self.metadata = {"name": self.name, "namespace": job["metadata"]["namespace"], "labels": labels}
        self.metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.made}
        super().__init__(args, env, settings)

    def _start(self) -> None:
        if self.image not in {"no-pull", "unschedulable"}:
            super()._start()

    def end(self, why: str, condition: dict[str, Any] | None = None) -> None:
        """Delete it: it has its grace period to end."""
        grace = self.spec["terminationGracePeriodSeconds"]
        self._settings = {**self._settings, "grace": grace}
        self.deleted = self.deleted or moment(grace)
        self.condition = self.condition or condition
        self.stop(why)

    @property
    def gone(self) -> bool:
        return bool(self.deleted) and self.ended

    def show(self) -> dict[str, Any]:
        phase, state, conditions = "Running", {"running": {"startedAt": self.made}}, []
        if self.ended:
            code = self.code or 0
            self.finished = self.finished or moment()
            ended = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": self.finished}
            phase, state = "Failed" if code else "Succeeded", {"terminated": ended}
        elif self.image == "unschedulable":
            said = "0/1 nodes are available: 1 Insufficient cpu."
            conditions.append({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said})
            phase, state = "Pending", {}
        elif self.image == "no-pull":
            why = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "no-pull"'}
            phase, state = "Pending", {"waiting": why}
        elif not self.container:
            phase, state = "Pending", {"waiting": {"reason": "ContainerCreating"}}
        statuses = [{"name": "flow", "state": state}] if state else []
        if self._settings["sidecar"]:
            statuses.insert(0, {"name": "a-sidecar", "state": {"running": {"startedAt": self.made}}})
            phase = "Running" if self.ended else phase
        if self.condition:
            conditions.append(self.condition)
        metadata = self.metadata | ({"deletionTimestamp": self.deleted} if self.deleted else {})
        status = {"phase": phase, "conditions": conditions, "containerStatuses": statuses}
        return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": self.spec, "status": status}


def _expanded(text: str, env: dict[str, str]) -> str:
    """What Kubernetes makes of `$(NAME)` and `$$` in arguments and values."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda m: "$" if m[1] is None else env.get(m[1], m[0]), text)


class Kubernetes(Service):
    """What is asked is `<method> <kind>`, such as `POST jobs` or `GET pods`."""

    SETTINGS: ClassVar[dict[str, Any]] = {
        "pending": 0.5, "sidecar": False, "allowed": True, "token": "", "pods": [], "jobs": [], "events": [],
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, Any]] = {}
        self.pods: list[Pod] = []

    def name(self, request: Request) -> str:
        found = PATH_RE.match(request.path)
        kind = found["sub"] or found["kind"] if found else request.path.rpartition("/")[2]
        return f"{request.method} {kind}"

    def error(self, status: int, code: str, message: str) -> Response:
        about = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
        return Response(status, {**about, "message": message, "reason": code, "code": status})

    def state(self) -> dict[str, Any]:
        pods = {pod.name: pod.show() for pod in self.pods if not pod.gone}
        return {"jobs": self.jobs, "secrets": self.secrets, "pods": pods}

    def clear(self) -> None:
        for pod in self.pods:
            pod.stopped = pod.stopped or "cleared"
            if pod.container and not pod.ended:  # also one that was told before, and has time to end
                pod.container.end(0)
        self.jobs, self.secrets, self.pods = {}, {}, []

    def answer(self, request: Request) -> Response:
        token = self.settings["token"]
        if token and request.headers.get("authorization") != f"Bearer {token}":
            return self.error(401, "Unauthorized", "Unauthorized")
        if (found := self._discovered().get(request.path)) is not None:
            return Response(body=found)
        return self._asked(request)

    def _asked(self, request: Request) -> Response:
        if request.path.endswith("/selfsubjectaccessreviews"):
            about = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}}
            return Response(201, {**about, "status": {"allowed": self.settings["allowed"]}})
        match = PATH_RE.match(request.path)
        handle = getattr(self, f"_{request.method.lower()}", None) if match else None
        if match is None or handle is None:
            return self.error(404, "NotFound", "the server could not find the requested resource")
        if match["space"] == "nope" and request.method == "POST":
            return self.error(404, "NotFound", 'namespaces "nope" not found')
        return handle(match, request)

    def _discovered(self) -> dict[str, Any]:
        """What kubectl asks to know which kinds there are, and that the server validates what it is given: by path."""
        named = [(group, group.split("/")[0]) for group in GROUPS if "/" in group]
        versions = [(name, {"groupVersion": group, "version": "v1"}) for group, name in named]
        groups = [{"name": name, "versions": [one], "preferredVersion": one} for name, one in versions]
        found: dict[str, Any] = {
            "/version": {"major": "1", "minor": SCHEMA.partition(".")[2], "gitVersion": f"v{SCHEMA}.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
            "/openapi/v3": {"paths": {at[1:]: {"serverRelativeURL": f"/openapi/v3{at}"} for at in GROUPS.values()}},
        }
        verbs = ["create", "delete", "get", "list", "patch", "watch"]
        for group, root in GROUPS.items():
            kinds = [
                {"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": verbs}
                for name, kind in KINDS[group].items()
            ]
            about = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group}
            found[root] = {**about, "resources": kinds}
            found[f"/openapi/v3{root}"] = {"openapi": "3.0.0", "paths": dict(self._validating(group, root))}
        return found

    def _validating(self, group: str, root: str) -> Any:
        group_name, _, version = group.rpartition("/")
        for name, kind in KINDS[group].items():
            about = {"group": group_name, "version": version, "kind": kind}
            validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
            action = {"parameters": [validation], "x-kubernetes-group-version-kind": about}
            yield f"{root}/namespaces/{{namespace}}/{name}", {"post": action}
            yield f"{root}/namespaces/{{namespace}}/{name}/{{name}}", {"patch": action}

    def _get(self, match: re.Match[str], request: Request) -> Response:
        if match["sub"] == "log":
            pod = next(pod for pod in self.pods if pod.name == match["name"])
            lines = pod.container.lines[-int(request.query.get("tailLines", 10_000)) :] if pod.container else []
            text = "".join(f"{line}\n" for _, line in lines)
            return Response(200, text, {"content-type": "text/plain"})
        items = self._items(match["kind"])
        if match["name"]:
            found = next((item for item in items if item["metadata"]["name"] == match["name"]), None)
            return Response(body=found) if found else self._unknown(match)
        if request.query.get("watch"):
            return self._watched(match["kind"], request)
        items = self._selected(items, request)
        group = next(group for group, kinds in KINDS.items() if match["kind"] in kinds)
        kind = f"{KINDS[group][match['kind']]}List"
        return Response(body={"kind": kind, "apiVersion": group, "metadata": {}, "items": items})

    def _selected(self, items: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
        for condition in request.query.get("labelSelector", "").split(","):
            name, _, value = condition.partition("=")
            kept = [item for item in items if not name or name in item["metadata"].get("labels", {})]
            items = [item for item in kept if not value or item["metadata"]["labels"][name] == value]
        return items

    def _watched(self, kind: str, request: Request) -> Response:
        """Tell what changes from now on."""
        known: dict[str, dict[str, Any]] = {}

        def news() -> str:
            found = {item["metadata"]["name"]: item for item in self._selected(self._items(kind), request)}
            told = [
                {"type": "MODIFIED" if name in known else "ADDED", "object": item}
                for name, item in found.items()
                if known.get(name) != item
            ]
            told += [{"type": "DELETED", "object": item} for name, item in known.items() if name not in found]
            known.clear()
            known.update(found)
            return "".join(f"{json.dumps(one)}\n" for one in told)

        news()
        return Response(news=news)

    def _items(self, kind: str) -> list[dict[str, Any]]:
        if kind == "pods":
            return [pod.show() for pod in self.pods if not pod.gone] + self.settings["pods"]
        if kind == "jobs":
            return [self._job(job) for job in self.jobs.values()] + self.settings["jobs"]
        return list(self.secrets.values()) if kind == "secrets" else self.settings["events"]

    def _job(self, job: dict[str, Any]) -> dict[str, Any]:
        pod = next((pod for pod in self.pods if pod.job is job), None)
        conditions: list[dict[str, str]] = []
        if pod is not None and pod.ended:
            failed = pod.deleted or pod.code
            about = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
            about = about if failed else ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
            conditions.append({"type": about[0], "status": "True", "reason": about[1], "message": about[2]})
        return {**job, "status": {"conditions": conditions} if conditions else {"active": 1}}

    def _post(self, match: re.Match[str], request: Request) -> Response:
        body = request.body
        if match["sub"] == "eviction":
            pod = next(pod for pod in self.pods if pod.name == match["name"])
            about = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
            pod.end("evicted", about | {"message": "Eviction API: evicting"})
            return Response(201, {"kind": "Status", "apiVersion": "v1", "status": "Success"})
        name, known = body["metadata"]["name"], {"jobs": self.jobs, "secrets": self.secrets}[match["kind"]]
        try:
            kubernetes_validate.validate(body, SCHEMA, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            said = f'{body["kind"]} in version "v1" cannot be handled as a {body["kind"]}: strict decoding error: '
            return self.error(400, "BadRequest", f"{said}{place}: {error.message}")
        if name in known:
            kind = "jobs.batch" if match["kind"] == "jobs" else match["kind"]
            return self.error(409, "AlreadyExists", f'{kind} "{name}" already exists')
        body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": moment(), "namespace": match["space"]}
        known[name] = body
        if match["kind"] == "jobs":
            self.pods.append(Pod(body, self.settings, self._environment(body)))
        return Response(201, body)

    def _environment(self, job: dict[str, Any]) -> dict[str, str]:
        """What secrets give the container."""
        sources = job["spec"]["template"]["spec"]["containers"][0].get("envFrom", [])
        names = [source["secretRef"]["name"] for source in sources if "secretRef" in source]
        return {k: v for name in names if name in self.secrets for k, v in self.secrets[name]["stringData"].items()}

    def _patch(self, match: re.Match[str], request: Request) -> Response:
        if match["name"] not in self.secrets:
            return self._unknown(match)
        self.secrets[match["name"]]["metadata"] |= request.body["metadata"]
        return Response(body=self.secrets[match["name"]])

    def _delete(self, match: re.Match[str], _: Request) -> Response:
        known = {"jobs": self.jobs, "secrets": self.secrets}[match["kind"]]
        if match["name"] not in known:
            return self._unknown(match)
        job = known.pop(match["name"])
        for pod in self.pods:
            if pod.job is job:
                pod.end("deleted")
        return Response(body={"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _unknown(self, match: re.Match[str]) -> Response:
        kind = "jobs.batch" if match["kind"] == "jobs" else match["kind"]
        return self.error(404, "NotFound", f'{kind} "{match["name"]}" not found')


if __name__ == "__main__":
    serve(Kubernetes(), int(sys.argv[1]), sys.argv[2])
