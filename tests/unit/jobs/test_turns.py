"""Work about many jobs lets others have a turn in between."""

from __future__ import annotations

import asyncio
import math

import pytest

from generic_worker.jobs import turns
from generic_worker.jobs.turns import Turn


@pytest.mark.parametrize(("seconds", "seen"), [(-1.0, [1, 2, 3, 4]), (math.inf, [])])
def test_others_have_a_turn_when_work_has_lasted_for_long(seconds, seen, monkeypatch):
    monkeypatch.setattr(turns, "_SECONDS", seconds)
    steps, found = 0, []

    async def other():
        while steps < 5:
            found.append(steps)
            await asyncio.sleep(0)

    async def scenario():
        nonlocal steps
        task, turn = asyncio.create_task(other()), Turn()
        for _ in range(5):
            await turn.end_in_time()
            steps += 1
        await task

    asyncio.run(scenario())

    assert [step for step in found if step] == seen
