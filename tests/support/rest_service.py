"""A small job service with an HTTP API, whose jobs are real processes: what `recipes/examples/rest.yaml` is for.

    POST   /api/v1/jobs             {"tag": ..., "script": ...}: runs it, answers with the job
    GET    /api/v1/jobs?page=N      the jobs, two on a page: {"jobs": [...], "next_page": 2 or null}
    GET    /api/v1/jobs?tag=TAG     the same, of one tag
    GET    /api/v1/jobs/ID/output   what a job has printed
    GET    /api/v1/events           server-sent events: {"id": ..., "state": ...} when a job has changed
    DELETE /api/v1/jobs/ID          ends a job, and all that has its tag in the environment

A bearer token is needed. `fail` plays faults: an HTTP status without any work, or `drop`: the work is done, and the
connection closed without an answer.
"""

import json
import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAGE = 2
GRACE = 3
"""Seconds between TERM and KILL."""


class Service:
    """The service, while the context lasts.

    Args:
        folder: Where scripts and outputs of its jobs are.
        token: The token that it wants.

    Attributes:
        url: Where its API is.
        requests: Methods and paths of the requests so far.
    """

    def __init__(self, folder, token):
        self.folder, self.token = folder, token
        self.jobs, self.requests, self.closed = {}, [], threading.Event()
        self._faults, self._lock = [], threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        for number in self.jobs:
            self.end(number, signal.SIGKILL)

    def fail(self, method, *faults):
        """Let the next requests of a method go wrong: by an HTTP status, or by `drop`."""
        self._faults += [(method, fault) for fault in faults]

    def fault(self, method):
        with self._lock:
            found = next((one for one in self._faults if one[0] == method), None)
            if found:
                self._faults.remove(found)
            return found[1] if found else None

    def start(self, tag, script):
        with self._lock:
            number = f"j-{len(self.jobs) + 1}"
            path = self.folder / number
            path.write_text(script)
            path.chmod(0o700)
            with (self.folder / f"{number}.out").open("wb") as output:
                process = subprocess.Popen(
                    [path], stdout=output, stderr=output, start_new_session=True, env={**os.environ, "JOB_TAG": tag}
                )
            self.jobs[number] = {"process": process, "tag": tag, "ended": False}
        return self.shown(number)

    def shown(self, number):
        job = self.jobs[number]
        code = job["process"].poll()
        state = "active" if code is None else "stopped" if job["ended"] else "done"
        return {
            "id": number,
            "tag": job["tag"],
            "state": state,
            "exit_code": code if code is None or code >= 0 else 128 - code,
        }

    def states(self):
        return {number: self.shown(number)["state"] for number in list(self.jobs)}

    def end(self, number, how=signal.SIGTERM):
        job = self.jobs[number]
        job["ended"] = job["ended"] or job["process"].poll() is None
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"JOB_TAG={job['tag']}\0".encode() in path.read_bytes():
                    os.kill(int(path.parent.name), how)


class _Handler(BaseHTTPRequestHandler):
    service: Service

    def _respond(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _serve(self):
        service, address = self.service, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service.requests.append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") != f"Bearer {service.token}":
            return self._respond(401, {"message": "the token is not valid"})
        fault = service.fault(self.command)
        if isinstance(fault, int):
            return self._respond(fault, {"message": "not now"})
        if address.path == "/api/v1/events":
            return self._follow()
        answer = self._work(self.command, address.path.removeprefix("/api/v1"), parse_qs(address.query), body)
        if fault == "drop":
            self.close_connection = True
            return self.connection.close()
        return self._respond(*answer)

    def _follow(self):
        """Say when a job has changed, for as long as somebody listens."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        states, turn = self.service.states(), 0
        with suppress(OSError):
            while not self.service.closed.wait(0.05):
                before, states, turn = states, self.service.states(), turn + 1
                changed = [job for job in states.items() if job not in before.items()]
                for number, state in changed:
                    self.wfile.write(f"data: {json.dumps({'id': number, 'state': state})}\n\n".encode())
                if turn % 10 == 0:
                    self.wfile.write(b": still here\n\n")

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names are the server's

    def _work(self, method, path, query, body):
        service = self.service
        if (method, path) == ("POST", "/jobs"):
            job = json.loads(body)
            return 201, service.start(job["tag"], job["script"])
        if (method, path) == ("GET", "/jobs"):
            tag = query.get("tag", [None])[0]
            jobs = [job for job in map(service.shown, list(service.jobs)) if tag in {None, job["tag"]}]
            page = int(query.get("page", ["1"])[0])
            more = len(jobs) > page * PAGE
            return 200, {"jobs": jobs[(page - 1) * PAGE : page * PAGE], "next_page": page + 1 if more else None}
        found = re.fullmatch(r"/jobs/(j-\d+)(/output)?", path)
        if not found or found[1] not in service.jobs:
            return 404, {"message": "there is no such job"}
        if method == "DELETE":
            service.end(found[1])
            threading.Timer(GRACE, service.end, (found[1], signal.SIGKILL)).start()
            return 202, service.shown(found[1])
        return 200, (service.folder / f"{found[1]}.out").read_bytes() if found[2] else service.shown(found[1])

    def log_message(self, *_):
        """Nobody reads it."""
