"""The line in which flow runs wait to be submitted."""

import asyncio
from uuid import uuid4

import pytest

from generic_worker.worker import submission_line
from generic_worker.worker.submission_line import SubmissionLine


async def stand(line, inside, leave):
    async with line.place(uuid4()):
        inside.append(len(inside))
        await leave.wait()


async def settled(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(condition)


def test_no_more_make_calls_than_the_client_keeps_connections():
    async def check():
        line, inside, leave = SubmissionLine(), [], asyncio.Event()
        tasks = [asyncio.create_task(stand(line, inside, leave)) for _ in range(40)]
        await settled(lambda: len(inside) >= 6)
        await asyncio.sleep(0)
        first = len(inside)
        leave.set()
        await asyncio.gather(*tasks)
        return first, len(inside)

    assert asyncio.run(check()) == (6, 40)


def test_who_stays_for_long_gives_the_place_away_and_gives_it_once(monkeypatch):
    monkeypatch.setattr(submission_line, "_PLACES", 1)
    monkeypatch.setattr(submission_line, "_LONGEST", 0.05)

    async def check():
        line, inside, leave = SubmissionLine(), [], asyncio.Event()
        tasks = [asyncio.create_task(stand(line, inside, leave)) for _ in range(3)]
        await settled(lambda: len(inside) == 3)  # the first two stay, and the third has come in all the same
        leave.set()
        await asyncio.gather(*tasks)
        monkeypatch.setattr(submission_line, "_LONGEST", 60)
        later, stay = [], asyncio.Event()
        tasks = [asyncio.create_task(stand(line, later, stay)) for _ in range(3)]
        await settled(lambda: later)
        for _ in range(10):
            await asyncio.sleep(0)
        alone = len(later)
        stay.set()
        await asyncio.gather(*tasks)
        return alone

    assert asyncio.run(check()) == 1


def test_a_failure_inside_and_a_cancellation_in_the_line_leave_the_places_as_they_were(monkeypatch):
    monkeypatch.setattr(submission_line, "_PLACES", 1)

    async def fail(line):
        async with line.place(uuid4()):
            raise ValueError("inside")

    async def check():
        line, inside, leave = SubmissionLine(), [], asyncio.Event()
        with pytest.raises(ValueError, match="inside"):
            await fail(line)
        holder = asyncio.create_task(stand(line, inside, leave))
        await settled(lambda: inside)
        waiting = asyncio.create_task(stand(line, inside, leave))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        leave.set()
        await holder
        await asyncio.wait_for(stand(line, inside, leave), 10)
        return len(inside)

    assert asyncio.run(check()) == 2


def test_the_line_is_full_while_many_wait(monkeypatch):
    monkeypatch.setattr(submission_line, "_FULL", 3)

    async def check():
        line, inside, leave = SubmissionLine(), [], asyncio.Event()
        tasks = [asyncio.create_task(stand(line, inside, leave)) for _ in range(9)]
        await settled(lambda: len(inside) == 6)
        full = line.is_full
        tasks.pop().cancel()  # a run that does not wait any more
        await settled(lambda: not line.is_full)
        leave.set()
        await asyncio.gather(*tasks)
        return full, line.is_full

    assert asyncio.run(check()) == (True, False)


def test_who_leaves_makes_place_for_one_more_and_once(monkeypatch):
    monkeypatch.setattr(submission_line, "_PLACES", 1)

    async def check():
        line, inside, leave, first = SubmissionLine(), [], asyncio.Event(), uuid4()
        async with line.place(first):
            tasks = [asyncio.create_task(stand(line, inside, leave)) for _ in range(3)]
            line.leave(first)
            line.leave(first)
            line.leave(uuid4())
            await settled(lambda: inside)
            for _ in range(10):
                await asyncio.sleep(0)
            alone = len(inside)
        for _ in range(10):
            await asyncio.sleep(0)
        still = len(inside)
        leave.set()
        await asyncio.gather(*tasks)
        return alone, still

    assert asyncio.run(check()) == (1, 1)
