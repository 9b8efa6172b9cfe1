"""`generic-worker try` on a launcher that is wrong in one way at a time: that is found, and nothing else is said."""

import asyncio
import os
import re
from pathlib import Path

import pytest
import yaml

from generic_worker.cli.trial import cancelling, descendants, hearing, trial
from generic_worker.cli.trial.hearing import TOLD, told
from generic_worker.cli.trial.report import report
from generic_worker.cli.trial.steps import run
from generic_worker.cli.trial.trial import Trial
from generic_worker.library.loading import load

pytestmark = pytest.mark.timeout(900)  # eighteen trials, of which some wait for what never comes

FAKES = Path(__file__).parents[1] / "fakes"
SLOW = 1.0
CANCELLED = "A job that is cancelled while it runs"
IGNORES = "A job that ignores SIGTERM"
WAITS = "A job that is cancelled while it waits"
KILLED = "A job that is killed"
NO_JOBS = "When there are no jobs"
FIVE = "Five jobs in one status command"
NO_KEY = {"status": {"output": {"regex": r"^(?P<id>\d+) (?P<state>\w+) (?P<exit_code>\S+)"}}}
FOLLOW = {"run": ["launch", "follow"], "output": {"regex": r"^(?P<id>\d+) ended$"}}
GOOD = {
    "as it should be": ("", 0, {}),
    "with commands that take long": ("", SLOW, {}),
    "of a tool that runs one job at a time": ("serial", 0, {}),
    "of a tool that forgets a job when it ends": (
        "forgets",
        0,
        {"policy": {"absent": "ended"}, "states": {"finished": None}},
    ),
    "of a tool that fails when it has no jobs": ("silent", 0, {"status": {"empty": "^launch: no jobs$"}}),
    "of a tool that gives ids again, with a key": ("recycles", 0, {}),
    "of a tool that tells of ends": ("", 0, {"watch": FOLLOW}),
}
BROKEN = {  # those whose trials take longest come first
    "a word is missing": (
        "",
        0,
        {"states": {"finished": ["over"]}},
        {(step, "fails", "states") for step in ("A job that succeeds", "A job that exits 7", KILLED)},
    ),
    "the cancel command does nothing, slowly": (
        "deaf",
        SLOW,
        {},
        {(WAITS, "fails", "cancel"), (CANCELLED, "fails", "cancel"), (IGNORES, "fails", "cancel")},
    ),
    "the cancel command does nothing": (
        "deaf",
        0,
        {},
        {(WAITS, "fails", "cancel"), (CANCELLED, "fails", "cancel"), (IGNORES, "fails", "cancel")},
    ),
    "the cancel command ends the first process only": (
        "leader",
        0,
        {},
        {(CANCELLED, "fails", "cancel"), (IGNORES, "fails", "cancel")},
    ),
    "the cancel command only hides the job": (
        "hides",
        0,
        {},
        {(CANCELLED, "fails", "cancel"), (IGNORES, "fails", "cancel")},
    ),
    "killed jobs are read as succeeded": (
        "kind",
        0,
        {},
        {(step, "warns", "states") for step in (WAITS, CANCELLED, IGNORES, KILLED)},
    ),
    "values lose what is behind a line break": (
        "cut",
        0,
        {},
        {("Environment values with line breaks, quotes and unicode", "fails", "submit")},
    ),
    "the listing fails when there are no jobs": ("silent", 0, {}, {(NO_JOBS, "fails", "status")}),
    "jobs are forgotten when they end": (
        "forgets",
        0,
        {},
        {(step, "fails", "status") for step in ("A job that succeeds", "A job that exits 7", KILLED)},
    ),
    "find is off by one": ("neighbour", 0, {}, {("A job that is looked up by its key", "fails", "find")}),
    "ids come again": ("recycles", 0, NO_KEY, {("The id of a job that has ended", "fails", "status")}),
}
SILENT = "no line told of it. While watch stays, jobs are asked about every `policy.poll` seconds only"
NOTHING = "watch said:\n    nothing"
LINE = "it was known \\d+\\.\\d s after its line"
WATCHES = {
    "that tells of ends": (FOLLOW, "holds", LINE, ""),
    "that tells that something has ended": ({"run": ["launch", "follow"]}, "holds", LINE, ""),
    "that says nothing": ({"run": "sleep 600"}, "warns", SILENT, NOTHING),
    "that speaks of others": (
        {**FOLLOW, "run": "while sleep 1; do echo 99 ended; done"},
        "warns",
        SILENT,
        "watch said:(\n    99 ended)+",
    ),
    "that speaks late": (
        {**FOLLOW, "run": 'launch follow | while read -r line; do sleep 8; echo "$line"; done'},
        "warns",
        r"its line came [1-8]\.\d s after its end was known without it",
        "watch said:\n    1 ended",
    ),
    "that always speaks": (
        {**FOLLOW, "run": ["yes", "1 ended"]},
        "warns",
        r"something came \d+ times in \d+\.\d s that may be about a job of which nothing had changed: .*",
        "watch said:(\n    1 ended)+",
    ),
    "that nobody can read": (
        {**FOLLOW, "output": {"regex": "^job (?P<id>.*)"}},
        "warns",
        "output cannot read the line that told of it: so it is taken for one about any job",
        "watch said:\n    1 ended",
    ),
    "that ends at once": (
        {"run": "echo forbidden >&2; exit 1"},
        "warns",
        "the command does not stay, so states are asked for as often as without it",
        r"`/bin/sh -c 'echo forbidden >&2; exit 1'` exited 1 after \d+\.\d s\n    forbidden",
    ),
    "whose program is not there": (
        {"run": ["no-such-program"]},
        "warns",
        "the command does not stay, so states are asked for as often as without it",
        ".*no-such-program.*",
    ),
    "that suits no value": (
        {"run": ["sleep", "${worker_host | int(default='x') + 1}"]},
        "warns",
        "the command does not stay, so states are asked for as often as without it",
        r".* cannot be worked out: can only concatenate .*",
    ),
}


def recipe(place, fault, seconds, changes):
    env = {"LAUNCH_DIR": str(place), "LAUNCH_FAULT": fault, "LAUNCH_SECONDS": str(seconds)}
    data = {"recipe": 1, "name": "tried", "extends": str(FAKES / "launch.yaml"), "env": env, **changes}
    return load(f"{yaml.safe_dump(data)}\n").recipe


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Some recipes are tried at the same time, as trials mostly wait. All at once, their commands would be slow.

    A trial waits longer where commands are slow.
    """
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("trials")
    patch.setenv("PATH", f"{FAKES}:{os.environ['PATH']}")
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    patch.setattr(cancelling, "_PATIENCE", 8.0)  # as much shorter as the slow commands are quicker than real ones
    patch.setattr(descendants, "_PATIENCE", 3.0)
    patch.setattr(trial, "BRIEF", 4.0)

    async def tried(gate, number, fault, seconds, changes):
        async with gate, Trial(recipe(folder / str(number), fault, seconds, changes), {}) as one:
            await run(one)
        return report(one)

    async def all_of_them():
        gate, cases = asyncio.Semaphore(5), {name: case[:3] for name, case in (BROKEN | GOOD).items()}
        found = await asyncio.gather(*(tried(gate, number, *case) for number, case in enumerate(cases.values())))
        return dict(zip(cases, found, strict=True))

    with patch.context():
        yield asyncio.run(all_of_them())
    patch.undo()


def odd(found):
    return {
        (v["step"], v["outcome"], v["key"]) for v in found["verdicts"] if v["outcome"] not in {"holds", "not tried"}
    }


@pytest.mark.parametrize("name", GOOD)
def test_of_a_good_recipe_nothing_is_said(trials, name):
    assert odd(trials[name]) == set(), trials[name]
    assert trials[name]["holds"]


@pytest.mark.parametrize("name", BROKEN)
def test_of_a_broken_recipe_is_said_what_is_broken(trials, name):
    expected, found = BROKEN[name][3], odd(trials[name])
    ((outcome, key),) = {(outcome, key) for _, outcome, key in expected}

    assert {verdict for verdict in found if verdict[0] != FIVE} == expected, trials[name]
    assert found <= expected | {(FIVE, outcome, key)}  # whether its jobs still run when they are asked about is chance
    assert trials[name]["holds"] == (outcome == "warns")


def test_of_a_watch_is_said_what_was_heard(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{FAKES}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(hearing, "_LATE", 12.0)  # the line that comes late comes eight seconds after the end
    monkeypatch.setattr(hearing, "_RUNS", 9)  # some run at the same time, and are seen later than one alone

    async def heard(gate, number, watch):
        one = Trial(recipe(tmp_path / str(number), "", 0, {"watch": watch}), {})
        async with gate, one:
            await told(one, TOLD)
        return next(verdict for verdict in one.verdicts if verdict.step == TOLD)

    async def all_of_them():
        gate = asyncio.Semaphore(3)
        return await asyncio.gather(*(heard(gate, at, watch) for at, (watch, *_) in enumerate(WATCHES.values())))

    for (name, (_, outcome, found, evidence)), verdict in zip(WATCHES.items(), asyncio.run(all_of_them()), strict=True):
        key = "watch" if outcome == "warns" else ""
        assert (name, verdict.outcome, verdict.key) == (name, outcome, key), verdict
        assert re.fullmatch(found, verdict.found), (name, verdict)
        assert re.fullmatch(evidence, "".join(verdict.evidence), re.DOTALL), (name, verdict)
