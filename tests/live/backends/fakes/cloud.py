"""What the fakes of cloud APIs have in common: a server that plays faults, and local processes for containers.

Every request has a name, such as `PUT /subscriptions/...` or `ecs.RunTask`. Beside its API a fake answers these:

    POST   /_/faults    plays a list of faults, each as in `Fault`
    POST   /_/settings  changes some of the settings
    GET    /_/requests  what was asked: [{name, body, status}]
    GET    /_/state     what there is
    DELETE /_           forgets everything, faults and settings too
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Request:
    """One request, read."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


@dataclass(frozen=True)
class Response:
    """One answer. A body that is not text becomes JSON.

    Attributes:
        news: In place of a body: asked ten times a second for what is to be sent now, until the client is gone.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    news: Callable[[], str] | None = None

    @property
    def content(self) -> bytes:
        if self.body is None:
            return b""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass
class Fault:
    """What goes wrong with requests.

    Attributes:
        on: Pattern in the names of the requests that it is for.
        times: How often.
        skip: How many such requests go well before.
        after: Whether the request is carried out, and only its answer is lost.
        status, body: The answer. A body that is a list is what the service makes of [code, message].
        drop: Whether the connection is closed without an answer.
        delay: Seconds before anything happens.
    """

    on: str
    times: int = 1
    skip: int = 0
    after: bool = False
    status: int = 0
    body: Any = None
    drop: bool = False
    delay: float = 0

    def strikes(self, name: str) -> bool:
        """Whether it is this request's turn to go wrong."""
        if self.times < 1 or not re.search(self.on, name):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Container:
    """A local process in the place of a container: what it has started ends with it, wherever that is.

    Its output is kept, line by line, with the time of each.
    """

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.lines: list[tuple[str, str]] = []
        self.started = now()
        self.ended = ""
        self._mark = f"FAKE_CONTAINER={uuid.uuid4().hex}"
        outside = {"PATH": os.environ["PATH"], "HOME": "/tmp", "FAKE_CONTAINER": self._mark.partition("=")[2]}
        self._process = subprocess.Popen(
            argv,
            env=outside | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/tmp",
        )
        self._read_to_end, self._over = threading.Event(), threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._sweep, daemon=True).start()

    def _sweep(self) -> None:
        """Kill what is left when the first process has ended, as a container's does. Its output is known then."""
        self._process.wait()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
        self._read_to_end.wait(10)  # somebody else may still hold its output
        self._over.set()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append((now(), line.decode(errors="replace").rstrip("\n")))
        self._process.wait()
        self.ended = now()
        self._read_to_end.set()

    @property
    def code(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it.

        None while it runs, and until its output has been read: whoever hears of its end may ask for that at once.
        """
        return self._process.poll() if self._over.is_set() else None

    def end(self, grace: float) -> None:
        """Send SIGTERM, and SIGKILL after the grace time. Returns at once."""
        threading.Thread(target=self._end, args=(grace,), daemon=True).start()

    def _end(self, grace: float) -> None:
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Run:
    """A container that waits, runs, and may be told to stop: as tasks, jobs and executions do."""

    def __init__(self, command: list[str], env: dict[str, str], settings: dict[str, Any]) -> None:
        self._command, self._env, self._settings = command, env, settings
        self.container: Container | None = None
        self.failure = ""
        self.stopped = ""
        timer = threading.Timer(settings["pending"], self._start)
        timer.daemon = True
        timer.start()

    def _start(self) -> None:
        if not self.stopped:
            try:
                self.container = Container(self._command, self._env)
            except OSError as error:
                self.failure = f"CannotStartContainerError: {error}"
        if self.stopped and self.container:  # in this moment
            self.container.end(self._settings.get("grace", 0))

    def stop(self, reason: str) -> None:
        """End it, unless it has ended."""
        if not self.ended and not self.stopped:
            self.stopped = reason
            if self.container:
                self.container.end(self._settings["grace"])

    @property
    def ended(self) -> bool:
        if self.container is None:
            return bool(self.failure or self.stopped)
        return self.container.code is not None

    @property
    def code(self) -> int | None:
        """Its exit code as clouds show it; None when it never ran, or runs."""
        code = self.container.code if self.container else None
        return 128 - code if code is not None and code < 0 else code


def now() -> str:
    """The time, as cloud APIs write it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Service:
    """One API. A subclass answers its requests, one at a time: `lock` is held."""

    SETTINGS: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.settings: dict[str, Any] = dict(self.SETTINGS)
        self.requests: list[dict[str, Any]] = []
        self.faults: list[Fault] = []

    def name(self, request: Request) -> str:
        """What a request is called, for faults and for the list of requests."""
        return f"{request.method} {request.path}"

    def answer(self, request: Request) -> Response:
        """Carry a request out."""
        raise NotImplementedError

    def error(self, status: int, code: str, message: str) -> Response:
        """How this API says that something went wrong."""
        raise NotImplementedError

    def state(self) -> Any:
        """What there is, for tests."""
        raise NotImplementedError

    def clear(self) -> None:
        """Forget everything, and end what runs."""
        raise NotImplementedError

    def control(self, request: Request) -> Response:
        """Answer a test rather than a client."""
        if request.method == "DELETE":
            self.clear()
            self.settings = dict(self.SETTINGS)
            self.requests, self.faults = [], []
        elif request.path == "/_/faults":
            self.faults += [Fault(**fault) for fault in request.body]
        elif request.path == "/_/settings":
            self.settings |= request.body
        else:
            return Response(body=self.requests if request.path == "/_/requests" else self.state())
        return Response(body={})

    def play(self, request: Request) -> Response | None:
        """Carry a request out, unless a fault keeps it from that; None closes the connection."""
        seen = {"name": request.name, "body": request.raw.decode(errors="replace"), "status": 0}
        with self.lock:
            self.requests.append(seen)
            fault = next((fault for fault in self.faults if fault.strikes(request.name)), None)
        if fault is not None:
            response = self._go_wrong(fault, request)
        else:
            with self.lock:
                response = self.answer(request)
        seen["status"] = response.status if response else 0
        return response

    def _go_wrong(self, fault: Fault, request: Request) -> Response | None:
        time.sleep(fault.delay)
        with self.lock:
            done = self.answer(request) if fault.after or not (fault.status or fault.drop) else None
        if fault.drop:
            return None
        if not fault.status:
            return done
        return (
            self.error(fault.status, *fault.body)
            if isinstance(fault.body, list)
            else Response(fault.status, fault.body)
        )


def _tell(handler: BaseHTTPRequestHandler, service: Service, news: Callable[[], str]) -> None:
    """Send news in chunks until the client has gone: it says nothing else."""
    while not select.select([handler.connection], [], [], 0.1)[0]:
        with service.lock:
            piece = news().encode()
        if piece:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def serve(service: Service, port: int, certificate: str = "") -> None:
    """Answer on loopback until the process is ended. With a certificate (a PEM file with its key) over https."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _do(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            path = urllib.parse.unquote(url.path)
            query = dict(urllib.parse.parse_qsl(url.query))
            headers = {name.lower(): value for name, value in self.headers.items()}
            raw = self.rfile.read(int(headers.get("content-length", 0)))
            request = Request("", self.command, path, query, headers, raw)
            if path.startswith("/_"):
                with service.lock:
                    self._send(service.control(request))
                return
            response = service.play(replace(request, name=service.name(request)))
            if response is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self._send(response)

        def _send(self, response: Response) -> None:
            self.send_response(response.status)
            length = {"transfer-encoding": "chunked"} if response.news else {"content-length": len(response.content)}
            headers = {"content-type": "application/json; charset=utf-8", **response.headers, **length}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if response.news:
                self.close_connection = True
                _tell(self, service, response.news)
            elif self.command != "HEAD":
                self.wfile.write(response.content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _do  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
