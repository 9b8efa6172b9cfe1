"""`generic-worker try`: runs a trial, shows its progress, prints what it has found."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from generic_worker.cli.trial.steps import run
from generic_worker.cli.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from generic_worker.cli.trial.verdicts import Verdict
    from generic_worker.language.recipe import Recipe

_STYLES = {"holds": "green", "fails": "bold red", "warns": "yellow", "not known": "yellow", "not tried": "dim"}
_TIMES = {
    "submit": "to submit a job",
    "first_seen": "until its state was first seen",
    "end_noticed": "from a job's end until it was noticed, at most",
}


def try_recipe(recipe: Recipe, variables: Mapping[str, Any], *, as_json: bool, **options: Any) -> int:  # noqa: ANN401
    """Try a recipe on the infrastructure that it is for.

    Args:
        recipe: The recipe.
        variables: The values of all its variables.
        as_json: Whether the report is JSON.
        options: `env`, `waiting` and `timeout`, as `Trial` has them.

    Returns:
        An exit code: 0 when the recipe holds, 1 when it does not or nobody knows, 128 + N after the signal N.
    """
    console = Console(stderr=True, highlight=False)
    with console.status(f"Trying {recipe.name} with real jobs. Ctrl-C ends them.") as status:
        trial = Trial(
            recipe,
            variables,
            tell=lambda verdict: console.print(_line(verdict), soft_wrap=True),
            note=lambda text: console.print(Text(f"     note  {text}."), soft_wrap=True),
            **options,
        )
        number = asyncio.run(_interruptible(trial, lambda: status.update("Ending the jobs that are left.")))
    data = report(trial)
    if as_json:
        sys.stdout.write(f"{json.dumps(data, indent=2)}\n")
    else:
        _print(data)
    return 128 + number if number else 0 if data["holds"] else 1


async def _interruptible(trial: Trial, ending: Callable[[], None]) -> int:
    """Run a trial; a signal ends it, and its jobs. Returns the signal's number, or 0."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    async def work() -> None:
        try:
            async with trial:
                try:
                    await run(trial)
                finally:
                    ending()
        except asyncio.CancelledError:
            if not received:
                raise

    task = asyncio.create_task(work())

    def stop(number: int) -> None:
        if not received:  # the jobs are being ended: another signal would leave them
            received.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return received[0] if received else 0


def report(trial: Trial) -> dict[str, Any]:
    """All that a trial has found, as data that can be shared with the recipe."""
    doubts = trial.left or any(verdict.outcome in {"fails", "not known"} for verdict in trial.verdicts)
    return {
        "recipe": trial.recipe.name,
        "holds": bool(trial.verdicts) and not doubts,
        "verdicts": [
            {"step": v.step, "outcome": v.outcome, "found": v.found, "key": v.key, "evidence": list(v.evidence)}
            for v in trial.verdicts
        ],
        "seconds": {name: round(seconds, 1) for name, seconds in trial.timings.items()},
        "left": trial.left,
        "ends_by_itself": trial.long,
        "notes": trial.notes,
    }


def _line(verdict: Verdict) -> Text:
    return Text.assemble((f"{verdict.outcome:>9}", _STYLES[verdict.outcome]), f"  {verdict.step}: {verdict.found}")


def _print(data: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in (data["recipe"], "verdict", "found"):
        table.add_column(title, overflow="fold")
    for verdict in data["verdicts"]:
        outcome = Text(verdict["outcome"], _STYLES[verdict["outcome"]])
        table.add_row(Text(verdict["step"]), outcome, Text(verdict["found"]))
    console.print(table)
    for name, seconds in data["seconds"].items():
        console.print(f"{seconds:6.1f} s {_TIMES[name]}")
    for verdict in data["verdicts"]:
        if verdict["key"]:
            console.print(Text(f"\n{verdict['step']}: look at {verdict['key']}", "bold"))
            console.print(Text("\n".join([verdict["found"], *verdict["evidence"]])), soft_wrap=True)
    for job in data["left"]:
        console.print(
            Text(
                f"\nNot seen to end: {job}. When it runs, it ends by itself after {data['ends_by_itself']} s.",
                "bold red",
            )
        )
