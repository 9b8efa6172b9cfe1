"""A Prefect API that does next to nothing, so that a burst shows what the worker can do: `stub_api.py FILE PORT`.

FILE has what a real server answered about a pool with one scheduled flow run (`recorded`). The stub has copies of that
run, accepts each state that is proposed for one, and counts the requests.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from copy import deepcopy
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

PAGE = 200
"""Flow runs in one answer at most, as the server has it."""


async def recorded(client, pool: str, number: int) -> dict:
    """What a real server says of a pool whose only flow run is scheduled; and how many copies there shall be."""
    http = client._client
    (scheduled,) = (await http.post(f"/work_pools/{pool}/get_scheduled_flow_runs", json={})).json()
    run = scheduled["flow_run"]
    answers = {
        path: (await http.get(path)).json()
        for path in (f"/work_pools/{pool}", f"/deployments/{run['deployment_id']}", f"/flows/{run['flow_id']}")
    }
    version = (await http.get("/admin/version")).json()
    return {"number": number, "scheduled": scheduled, "answers": {**answers, "/admin/version": version}}


class Stub:
    """The flow runs, and the answers about them."""

    def __init__(self, known: dict) -> None:
        self.known, self.requests, self.runs, self.histories = known, Counter(), {}, {}
        for _ in range(known["number"]):
            run = deepcopy(known["scheduled"]["flow_run"]) | {"id": str(uuid4())}
            self.runs[run["id"]] = run | {"name": f"run-{run['id']}"}
            self.histories[run["id"]] = [run["state"]]

    def routes(self) -> list:
        run = "/flow_runs/{id}"
        return [
            Route("/work_pools/{name}/get_scheduled_flow_runs", self.scheduled, methods=["POST"]),
            Route("/flow_runs/filter", self.filtered, methods=["POST"]),
            Route("/flow_runs/count", self.count, methods=["POST"]),
            Route("/{path:path}/filter", self.none, methods=["POST"]),
            Route(run, self.run),
            Route(run, self.change, methods=["PATCH"]),
            Route(f"{run}/set_state", self.set_state, methods=["POST"]),
            Route(f"{run}/{{what}}", self.other, methods=["POST", "PATCH"]),
            Route("/flow_run_states/", self.history),
            Route("/requests", self.counted),
            Route("/names", self.names),
            WebSocketRoute("/events/{way}", self.events),
            Route("/{path:path}", self.other, methods=["GET", "POST", "PATCH"]),
        ]

    async def scheduled(self, request):
        waiting = [run for run in self.runs.values() if run["state_type"] == "SCHEDULED"][:PAGE]
        return self._answer(request, [self.known["scheduled"] | {"flow_run": run} for run in waiting])

    async def filtered(self, request):
        """The flow runs that are asked for by their ids; a question by anything else finds none."""
        asked = await request.json()
        return self._answer(request, self._found(asked)[asked["offset"] :][: asked["limit"]])

    async def count(self, request):
        return self._answer(request, len(self._found(await request.json())))

    def _found(self, asked):
        wanted = asked["flow_runs"] or {}
        ids = (wanted.get("id") or {}).get("any_") or []
        but = ((wanted.get("state") or {}).get("type") or {}).get("not_any_") or []
        return [self.runs[one] for one in ids if one in self.runs and self.runs[one]["state_type"] not in but]

    async def none(self, request):
        return self._answer(request, [])

    async def run(self, request):
        return self._answer(request, self.runs[request.path_params["id"]])

    async def change(self, request):
        self.runs[request.path_params["id"]] |= await request.json()
        return self._answer(request)

    async def set_state(self, request):
        proposed, now = (await request.json())["state"], self.runs[request.path_params["id"]]["state"]
        if now["type"] == "SCHEDULED":
            proposed["state_details"] |= {"scheduled_time": now["state_details"]["scheduled_time"]}
        state = {"id": str(uuid4()), "timestamp": datetime.now(timezone.utc).isoformat(), **proposed}
        self.histories[request.path_params["id"]].append(state)
        self.runs[request.path_params["id"]] |= {
            "state": state,
            "state_id": state["id"],
            "state_type": state["type"],
            "state_name": state["name"],
        }
        return self._answer(request, {"state": state, "status": "ACCEPT", "details": {"type": "accept_details"}})

    async def history(self, request):
        return self._answer(request, self.histories[request.query_params["flow_run_id"]])

    async def other(self, request):
        """Documents that are known; what is told, such as a heartbeat, is taken and forgotten."""
        path = request.url.path.removeprefix("/api")
        if request.method == "GET" and path not in self.known["answers"]:
            return Response(status_code=404)
        return self._answer(request, self.known["answers"].get(path))

    async def counted(self, _request):
        return JSONResponse(self.requests)

    async def names(self, _request):
        return JSONResponse({run["id"]: run["name"] for run in self.runs.values()})

    async def events(self, socket):
        """Take events and forget them, or have none to tell."""
        spoken = "prefect" if "prefect" in socket.scope["subprotocols"] else None
        await socket.accept(subprotocol=spoken)
        if spoken:
            await socket.receive_text()
            await socket.send_json({"type": "auth_success"})
        async for _ in socket.iter_text():
            pass

    def _answer(self, request, found=None):
        own = request.path_params.get("id")
        path = request.url.path.removeprefix("/api")
        self.requests[f"{request.method} {path.replace(own, '...') if own else path}"] += 1
        return Response(status_code=204) if found is None else JSONResponse(found)


if __name__ == "__main__":
    stub = Stub(json.loads(Path(sys.argv[1]).read_text()))
    uvicorn.run(Starlette(routes=[Mount("/api", routes=stub.routes())]), port=int(sys.argv[2]), log_level="warning")
