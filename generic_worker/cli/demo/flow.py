"""The flow of `generic-worker demo`."""

import time

from prefect import flow


@flow(name="demo")
def wait(seconds: float) -> str:
    """Wait for some seconds, as a flow that works for so long would."""
    time.sleep(seconds)
    return f"waited for {seconds:g} s"
