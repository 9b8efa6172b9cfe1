"""Records `generic-worker try` and `generic-worker jobs --watch` as pictures that move, for README.md.

    pip install pyte==0.8.2 && python tests/scripts/record.py

It writes try.svg and jobs.svg in .github/images. Both are real runs on this host: a trial of the recipe `process`; and
a Prefect server, a worker and three flow runs, of which nothing is left behind. What a terminal would show is drawn,
at the times at which it showed it.
"""

import asyncio
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
from html import escape
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pyte

from generic_worker.cli.demo import demo

HERE = Path(__file__).parents[2] / ".github" / "images"
COLUMNS, ROWS = 100, 28
WIDTH, HEIGHT = 8.4, 18
"""Of a character, in pixels."""
PAUSE = 0.25
"""Seconds between two pictures, at least."""
HOLD = 6.0
"""Seconds for which the last one stands, before it all begins again."""
NO_BREAK = "\u00a0"
SPINNER = "\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"
"""What a line begins with that only turns."""
COLOURS = {"green": "#7ec699", "red": "#f08d8d", "brown": "#e6c07b", "yellow": "#e6c07b", "blue": "#8ab4f8"}


def record(words, seconds):
    """Run a command on a terminal, for so long at most. Returns the screens that it showed, each with its time."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream, screens, looked, begin = pyte.ByteStream(screen), [], 0.0, time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, {**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    while (now := time.monotonic() - begin) < seconds:
        if select.select([terminal], [], [], PAUSE)[0]:
            try:
                stream.feed(os.read(terminal, 65536))
            except OSError:  # it has ended
                break
        if now - looked > PAUSE:
            looked = now
            if not screens or screens[-1][1] != drawn(screen):
                screens.append((now, drawn(screen)))
    os.kill(pid, signal.SIGINT)
    os.waitpid(pid, 0)
    if not screens or screens[-1][1] != drawn(screen):
        screens.append((now, drawn(screen)))
    return [(at, lines) for at, lines in screens if lines]


def drawn(screen):
    """The lines of a screen as SVG text."""
    lines = []
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        text = "".join(cell.data for cell in cells).rstrip()
        if not text or text[0] in SPINNER:
            continue
        spans, column = [], 0
        for (colour, bold), run in groupby(cells[: len(text)], key=lambda cell: (cell.fg, cell.bold)):
            piece = "".join(cell.data for cell in run)
            fill = f' fill="{COLOURS[colour]}"' if colour in COLOURS else ""
            weight = ' font-weight="bold"' if bold else ""
            place = f'x="{20 + column * WIDTH:.1f}" textLength="{len(piece) * WIDTH:.1f}"'
            shown = piece.replace(" ", NO_BREAK)
            if piece.strip():
                spans.append(f"<tspan {place}{fill}{weight}>{escape(shown)}</tspan>")
            column += len(piece)
        lines.append(f'<text y="{60 + row * HEIGHT}">{"".join(spans)}</text>')
    return "".join(lines)


def picture(command, screens):
    """An SVG picture in which the screens follow each other, again and again. Where nothing moves it shows the last."""
    whole, frames = screens[-1][0] + HOLD, []
    for number, (at, lines) in enumerate(screens):
        last = number == len(screens) - 1
        until = whole if last else screens[number + 1][0]
        begin = 0.0 if number == 0 else at / whole
        steps = [(0.0, 0), (begin, 1), (until / whole, 0)] if begin else [(0.0, 1), (until / whole, 0)]
        steps = steps[:-1] if last else steps
        values, times = (";".join(f"{step[place]:g}" for step in steps) for place in (1, 0))
        frames.append(
            f'<g opacity="{int(last)}"><animate attributeName="opacity" calcMode="discrete" values="{values}" '
            f'keyTimes="{times}" dur="{whole:.1f}s" repeatCount="indefinite"/>{lines}</g>'
        )
    lowest = max(int(row) for _, lines in screens for row in re.findall(r'<text y="(\d+)"', lines))
    width, height = COLUMNS * WIDTH + 40, lowest + HEIGHT + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-size="14" '
        f'font-family="ui-monospace, Menlo, Consolas, monospace" fill="#d7dae0">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#1e2127"/>\n'
        f'<text x="20" y="32" fill="#8a919e">$ {escape(command)}</text>\n' + "\n".join(frames) + "\n</svg>\n"
    )


def program(*words):
    return [sys.executable, "-m", "generic_worker.cli", *words]


async def prepared(home, services):
    """A server, a worker, and three flow runs: one that is short, one that is long, and one that dies."""
    port = demo._free_port()
    environment = demo._environment(home, port)
    os.environ.update(environment)
    server = await demo._start(
        services, home / "server.log", "server", "start", "--host", "127.0.0.1", "--port", str(port)
    )
    await demo._until_up(server, f"http://127.0.0.1:{port}/api/health", home / "server.log")
    runs = import_module("generic_worker.cli.demo.runs")  # it reads the settings
    (home / "flows").mkdir()
    shutil.copy(Path(demo.__file__).with_name("flow.py"), home / "flows")
    rows = [
        runs.Row("nightly-report", "Completed", {"seconds": 25}),
        runs.Row("train-model", "Completed", {"seconds": 300}),
        runs.Row("import-orders", "Crashed", {"seconds": 0}, {"command": "sh -c 'sleep 12; exit 3'"}),
    ]
    given = {name: environment[name] for name in demo._FOR_FLOW_RUNS}
    await runs.prepare(home / "flows", given, rows)
    await demo._start(services, home / "worker.log", "worker", "start", "--type", "generic", "--pool", runs.POOL)
    await asyncio.sleep(8)


def main():
    screens = record(program("try", "process"), 120)
    (HERE / "try.svg").write_text(picture("generic-worker try process", screens))
    home, services = Path(tempfile.mkdtemp()) / "generic-worker-record", []
    home.mkdir(mode=0o700)
    try:
        asyncio.run(prepared(home, services))
        screens = record(program("jobs", "--pool", "demo", "--watch"), 55)
    finally:
        demo._end_everything(home, services)
        home.parent.rmdir()
    (HERE / "jobs.svg").write_text(picture("generic-worker jobs --pool demo --watch", screens))


if __name__ == "__main__":
    main()
