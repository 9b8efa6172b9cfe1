"""A fake of Azure for the real az: Entra ID's tokens, and Azure Resource Manager with Container Instances.

    python azure_api.py PORT CERTIFICATE

Error bodies follow the public documentation of the REST API. Images with a meaning: `no-access` is refused at once,
`no-provision` fails to be provisioned, `no-pull` is never there.
"""

from __future__ import annotations

import copy
import re
import sys
import threading
import time
from typing import Any, ClassVar

from cloud import Container, Request, Response, Service, now, serve

PORT = int(sys.argv[1])
HERE = f"https://localhost:{PORT}"
SUBSCRIPTION, TENANT = "5f3c2a10-7d44-4a5e-9b1d-0c6e1f2a3b4c", "9e8d7c6b-5a49-4838-a726-150413020100"
GROUP = "tests"
PATH_RE = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourcegroups/(?P<group>[^/]+)"
    r"(?P<groups>/providers/microsoft\.containerinstance/containergroups(?:/(?P<name>[^/]+)(?P<rest>/.*)?)?)?",
    re.IGNORECASE,
)


class ContainerGroup:
    """A group with one container that counts: its first."""

    def __init__(self, name: str, body: dict[str, Any], settings: dict[str, Any]) -> None:
        self.name, self.body, self._settings = name, body, settings
        self.born = time.monotonic()
        self.container: Container | None = None
        self.stopped = False
        self.provisioning = "Creating"
        self.failure: str = ""
        self.ran: list[dict[str, Any]] = []
        timer = threading.Timer(settings["pending"], self.start)
        timer.daemon = True
        timer.start()

    @property
    def _first(self) -> dict[str, Any]:
        return self.body["properties"]["containers"][0]["properties"]

    def start(self) -> None:
        """Start what its first container runs."""
        image = self._first["image"]
        if self.stopped:
            return
        if image == "no-provision":
            self.provisioning = "Failed"
            return
        self.provisioning = "Succeeded"
        if image == "no-pull":
            return
        secret = {e["name"]: e.get("secureValue") or e.get("value") or "" for e in self._first["environmentVariables"]}
        try:
            self.container = Container(self._first["command"], secret)
        except OSError as error:
            self.failure = str(error)
        if self.stopped and self.container:  # in this moment
            self.container.end(self._settings["grace"])

    def stop(self) -> None:
        """End its containers. The group stays."""
        if not self.ended:
            self.stopped = True
            if self.container:
                self.container.end(self._settings["grace"])

    @property
    def ended(self) -> bool:
        return bool(self.failure) or (self.container is not None and self.container.code is not None)

    def _current(self) -> dict[str, Any]:
        """The first container's state."""
        if self.failure:
            return {"state": "Terminated", "exitCode": 127, "detailStatus": self.failure}
        if self.container is None:
            return {"state": "Waiting", "detailStatus": "ImagePullBackOff" if self._first["image"] == "no-pull" else ""}
        code = self.container.code
        times = {"startTime": self.container.started}
        if code is None:
            return {"state": "Running", "detailStatus": "", **times}
        detail = "Error" if code else "Completed"
        shown = 128 - code if code < 0 else code
        return {"state": "Terminated", "exitCode": shown, "detailStatus": detail, "finishTime": now(), **times}

    def _word(self) -> str:
        if self.stopped and (self.container is None or self.ended):
            return "Stopped"
        if self.ended and not self._settings["sidecar"]:  # otherwise another container goes on
            return "Failed" if self._current()["exitCode"] else "Succeeded"
        return "Running" if self.container else "Pending"

    def _events(self) -> list[dict[str, Any]]:
        first = {"count": 1, "firstTimestamp": now(), "lastTimestamp": now()}
        if self._first["image"] == "no-pull":
            message = 'Failed to pull image "no-pull": rpc error: code = NotFound'
            return [{**first, "name": "Failed", "message": message, "type": "Warning"}]
        if self.container is None:
            return []
        return [{**first, "name": "Started", "message": "Started container", "type": "Normal"}]

    def show(self, *, view: bool = True) -> dict[str, Any]:
        """The group as the API has it; lists have no instance view, nor has a group that was just made."""
        properties = copy.deepcopy(self.body["properties"])
        seen = view and self.provisioning != "Failed" and time.monotonic() - self.born > self._settings["unseen"]
        for container in properties["containers"]:
            for entry in container["properties"].get("environmentVariables", []):
                entry.pop("secureValue", None)
            if seen:
                states = {"restartCount": 0, "currentState": self._current(), "events": self._events()}
                container["properties"]["instanceView"] = states
        properties |= {"provisioningState": self.provisioning, "sku": "Standard", "initContainers": []}
        if seen:
            properties["instanceView"] = {"events": [], "state": self._word()}
        kind = "Microsoft.ContainerInstance/containerGroups"
        return {
            "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/{kind}/{self.name}",
            "location": self.body.get("location") or "westeurope",
            "name": self.name,
            "type": kind,
            "tags": self.body.get("tags") or {},
            "properties": properties,
        }


class Azure(Service):
    """Entra ID and Resource Manager in one."""

    SETTINGS: ClassVar[dict[str, Any]] = {
        "pending": 0.5,
        "unseen": 0.3,
        "grace": 5.0,
        "secret": "right",
        "sidecar": False,
    }

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, ContainerGroup] = {}

    def error(self, status: int, code: str, message: str) -> Response:
        return Response(status, {"error": {"code": code, "message": message}})

    def state(self) -> dict[str, Any]:
        return {
            name: {"body": group.body, "lines": [line for _, line in group.container.lines] if group.container else []}
            for name, group in self.groups.items()
        }

    def clear(self) -> None:
        for group in self.groups.values():
            group.stop()
        self.groups.clear()

    def answer(self, request: Request) -> Response:
        path = re.sub("/+", "/", request.path)
        if (response := self._sign_in(path.lower(), request)) is not None:
            return response
        match = PATH_RE.fullmatch(path)
        if match is None:
            return self.error(404, "NotFound", path)
        if (subscription := match["subscription"]) != SUBSCRIPTION:
            said = f"The subscription '{subscription}' could not be found."
            return self.error(404, "SubscriptionNotFound", said)
        if match["group"].lower() != GROUP:
            return self.error(404, "ResourceGroupNotFound", f"Resource group '{match['group']}' could not be found.")
        if match["name"]:
            return self._one(request, match["name"], match["rest"] or "")
        where = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
        groups = {"value": [group.show(view=False) for group in self.groups.values()]}
        return Response(body=groups if match["groups"] else {"id": where, "name": GROUP, "location": "westeurope"})

    def _sign_in(self, path: str, request: Request) -> Response | None:
        if path.endswith("/.well-known/openid-configuration"):
            tenant = f"{HERE}/{TENANT}"
            at = {
                "token_endpoint": f"{tenant}/oauth2/v2.0/token",
                "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
                "issuer": f"{tenant}/v2.0",
            }
            return Response(body=at)
        if path.endswith("/oauth2/v2.0/token"):
            if f"client_secret={self.settings['secret']}" not in request.raw.decode().split("&"):
                said = (
                    "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the secret value."
                )
                return Response(401, {"error": "invalid_client", "error_description": said, "error_codes": [7000215]})
            return Response(body={"token_type": "Bearer", "expires_in": 3599, "access_token": "a.fake.token"})
        if path == "/metadata/endpoints":
            sign_in = {"loginEndpoint": f"{HERE}/", "audiences": [f"{HERE}/"], "tenant": "common"}
            names = ("graph", "graphAudience", "microsoftGraphResourceId", "batch", "gallery", "media", "portal")
            suffixes = {"acrLoginServer": "registry.test", "storage": "storage.test", "keyVaultDns": "vault.test"}
            body = {"name": "fake", "resourceManager": f"{HERE}/", "authentication": sign_in, "suffixes": suffixes}
            return Response(body=body | dict.fromkeys(names, f"{HERE}/"))
        if path == "/subscriptions":
            one = {"subscriptionId": SUBSCRIPTION, "tenantId": TENANT, "displayName": "fake", "state": "Enabled"}
            return Response(body={"value": [{"id": f"/subscriptions/{SUBSCRIPTION}", **one}]})
        return None

    def _one(self, request: Request, name: str, rest: str) -> Response:
        group = self.groups.get(name)
        if request.method == "PUT":
            return self._put(name, request.body)
        if request.method == "DELETE":
            return self._delete(name)
        if group is None:
            what = f"The Resource 'Microsoft.ContainerInstance/containerGroups/{name}' under resource group '{GROUP}'"
            more = "was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            return self.error(404, "ResourceNotFound", f"{what} {more}")
        if rest == "/stop":
            group.stop()
            return Response(204)
        if rest.endswith("/logs"):
            lines = [f"{line}\n" for _, line in group.container.lines] if group.container else None
            return Response(body={"content": "".join(lines) if lines is not None else None})
        return Response(body=group.show())

    def _delete(self, name: str) -> Response:
        if (group := self.groups.pop(name, None)) is None:
            return Response(204)
        group.stop()
        return Response(body=group.show())

    def _put(self, name: str, body: dict[str, Any]) -> Response:
        image = body["properties"]["containers"][0]["properties"]["image"]
        if (known := self.groups.get(name)) is not None:
            if known.provisioning != "Creating":
                known.ran.append(body)  # a real one would start its containers again
                return Response(body=known.show())
            said = f"The container group '{name}' is still transitioning, please retry later."
            return self.error(409, "ContainerGroupTransitioning", said)
        if image == "no-access":
            said = f"The image '{image}' in container group '{name}' is not accessible."
            return self.error(400, "InaccessibleImage", f"{said} Please check the image and registry credential.")
        self.groups[name] = ContainerGroup(name, body, self.settings)
        return Response(201, self.groups[name].show(view=False))


if __name__ == "__main__":
    serve(Azure(), PORT, sys.argv[2])
