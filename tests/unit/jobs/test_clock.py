"""The clock of jobs is the event loop's, and that of the tests can be moved."""

import asyncio
import time

from generic_worker.commands.runner import Command, CommandRunner
from generic_worker.jobs import clock


def test_a_worker_goes_by_the_clock_that_its_event_loop_sleeps_by():
    async def scenario():
        return time.monotonic(), clock.now(), asyncio.get_running_loop().time(), time.monotonic()

    times = asyncio.run(scenario())

    assert list(times) == sorted(times)


def test_what_a_test_sleeps_passes_for_everybody_and_programs_take_no_time(simulated):
    async def other(woken):
        for _ in range(3):
            await asyncio.sleep(1200)
            woken.append(clock.now())

    async def scenario():
        begin, woken = clock.now(), []
        others = asyncio.create_task(other(woken))
        await asyncio.sleep(3000)
        assert [round(moment - begin) for moment in woken] == [1200, 2400]
        result = await CommandRunner().run(Command(("sh", "-c", "sleep 0.3; echo done")))
        assert result.stdout == "done\n"
        assert await asyncio.to_thread(lambda: "done") == "done"
        assert round(clock.now() - begin) == 3000
        await others
        return round(clock.now() - begin)

    assert simulated(scenario()) == 3600


def test_who_waits_for_less_than_the_clock_can_tell_does_not_wait_for_ever(simulated):
    async def scenario():
        end = clock.now() + 0.1 + 0.2
        while (left := end - clock.now()) > 0:  # noqa: ASYNC110 - as the watcher waits
            await asyncio.sleep(left)

    simulated(scenario())
