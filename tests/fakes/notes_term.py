"""Writes into a file `told` each time that it is told to end, and does not."""

import signal
import time
from pathlib import Path


def note(*_):
    with Path("told").open("a") as file:
        file.write("TERM\n")


signal.signal(signal.SIGTERM, note)
Path("ready").touch()
while True:
    time.sleep(0.1)
