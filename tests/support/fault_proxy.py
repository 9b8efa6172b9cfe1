"""A proxy in front of the Prefect API that fails on demand, and counts what is asked.

    with FaultProxy(port_of_the_server) as proxy:
        worker.env["PREFECT_API_URL"] = proxy.url
        proxy.add(Fault(status=503, method="POST", path=r"/set_state$", times=1))
        proxy.cut_off()     # no connection lives, and none is made, until proxy.mend()

It knows HTTP/1.1 as far as Prefect's client and server speak it, and passes web sockets through.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from dataclasses import dataclass, field

from typing_extensions import Self

HTML = b"<html><body>Sign in to the network</body></html>"


@dataclass
class Fault:
    """What goes wrong with the requests that it matches.

    Attributes:
        method: The method; any when empty.
        path: A regular expression that is searched for in the path.
        times: How often it happens; None for always.
        delay: Seconds before anything else happens.
        done: Whether the server gets the request all the same: what it answered is lost.
        status: The status code that is answered with. Otherwise the answer is the server's, as far as `cut` lets it.
        headers: Headers of that answer.
        body: Body of that answer, such as `HTML` with status 200.
        drop: Whether the connection is closed instead of an answer.
        cut: Whether half of the server's answer is passed on before the connection is closed.
    """

    method: str = ""
    path: str = ""
    times: int | None = None
    delay: float = 0.0
    done: bool = False
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b"{}"
    drop: bool = False
    cut: bool = False

    def matches(self, method: str, path: str) -> bool:
        """Whether it is to happen to a request."""
        return self.times != 0 and self.method in {"", method} and bool(re.search(self.path, path))


@dataclass(frozen=True)
class Call:
    """A request that came in: when (seconds since the epoch), and what was answered; 0 for nothing."""

    time: float
    method: str
    path: str
    status: int


class FaultProxy:
    """Listens on a port of its own, in a thread of its own, for as long as its context lasts."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.calls: list[Call] = []
        self._faults: list[Fault] = []
        self._is_cut_off = False
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    @property
    def url(self) -> str:
        """The address of the API through this proxy."""
        return f"http://127.0.0.1:{self.port}/api"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def add(self, fault: Fault) -> Fault:
        """Let something go wrong from now on, before what was added earlier."""
        self._faults.insert(0, fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Let it go wrong no longer."""
        self._faults.remove(fault)

    def cut_off(self) -> None:
        """Let nothing through: every connection breaks, and new ones are closed at once."""
        self._is_cut_off = True
        self._loop.call_soon_threadsafe(self._break_all)

    def break_all(self) -> None:
        """Break every connection once, such as the web sockets that requests' faults do not touch."""
        self._loop.call_soon_threadsafe(self._break_all)

    def mend(self) -> None:
        """Let everything through again."""
        self._is_cut_off = False
        self._faults.clear()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        self._break_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _break_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task of ours: asyncio's own complains of each that is cancelled in the end."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, and its own to the server."""
        self._open.add(writer)
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while not self._is_cut_off:
                request = await _read_message(reader)
                server = server or await asyncio.open_connection("127.0.0.1", self.upstream, limit=2**20)
                if b"upgrade: websocket" in request.head.lower() and not self._fault(request):
                    await self._tunnel(request, reader, writer, server)
                    return
                if not await self._answer(request, writer, server):
                    return
        except (OSError, EOFError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            for one in [writer, *([server[1]] if server else [])]:
                one.transport.abort() if self._is_cut_off else one.close()

    async def _answer(self, request: _Message, writer: asyncio.StreamWriter, server) -> bool:
        """Answer a request; returns whether the connection lives on."""
        method, path = request.first_line.split(" ")[:2]
        fault = self._fault(request) or Fault()
        if fault.times:
            fault.times -= 1
        note = self.calls.append
        await asyncio.sleep(fault.delay)
        answer = None
        if fault.done or not (fault.status or fault.drop):
            server[1].write(request.head + request.body)
            answer = await _read_message(server[0], is_head=method == "HEAD")
        if fault.drop or self._is_cut_off:
            note(Call(time.time(), method, path, 0))
            return False
        if fault.status:
            lines = {"content-type": "application/json", "content-length": len(fault.body), **fault.headers}
            text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            answer = _Message(f"HTTP/1.1 {fault.status} Fault\r\n{text}\r\n".encode(), fault.body)
        note(Call(time.time(), method, path, int(answer.first_line.split(" ")[1])))
        body = answer.body[: len(answer.body) // 2] if fault.cut else answer.body
        writer.write(answer.head + body)
        await writer.drain()
        return not fault.cut

    def _fault(self, request: _Message) -> Fault | None:
        method, path = request.first_line.split(" ")[:2]
        return next((fault for fault in self._faults if fault.matches(method, path)), None)

    async def _tunnel(self, request: _Message, reader, writer, server) -> None:
        """Pass on whatever both sides say, as after the opening of a web socket."""
        self.calls.append(Call(time.time(), "WS", request.first_line.split(" ")[1], 101))
        self._open.add(server[1])
        server[1].write(request.head)
        both = [asyncio.ensure_future(_pump(reader, server[1])), asyncio.ensure_future(_pump(server[0], writer))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in both:
                pump.cancel()
            self._open.discard(server[1])


@dataclass
class _Message:
    """A request or an answer, as it came."""

    head: bytes
    body: bytes

    @property
    def first_line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()


async def _read_message(reader: asyncio.StreamReader, *, is_head: bool = False) -> _Message:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while True:
            size = await reader.readuntil(b"\r\n")
            body += size + await reader.readexactly(int(size, 16) + 2)
            if int(size, 16) == 0:
                break
    elif not is_head:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return _Message(head, body)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
