"""A command that stays, with real programs: what it prints is heard at once, and a flood has to wait."""

from __future__ import annotations

import asyncio
import time

import pytest

from generic_worker.commands.runner import Command, CommandRunner
from generic_worker.errors import CommandNotFound


def sh(script: str, **more: float) -> Command:
    return Command(("/bin/sh", "-c", script), **more)


async def listened(command: Command, seconds: float = 60, stream: str = "stdout") -> tuple[object, list[bytes]]:
    heard: list[bytes] = []
    return await asyncio.wait_for(CommandRunner(1).listen(command, heard.append, stream), seconds), heard


def test_a_line_is_heard_while_the_command_stays_and_the_only_slot_is_free(tmp_path):
    async def scenario():
        runner, heard = CommandRunner(1), asyncio.Queue()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(
            runner.listen(
                sh(f"echo $$ >{tmp_path}/pid; echo first; sleep 600"),
                lambda piece: loop.call_soon_threadsafe(heard.put_nowait, piece),
            )
        )

        assert await asyncio.wait_for(heard.get(), 60) == b"first\n"
        assert (await runner.run(sh("echo free"))).stdout == "free\n"

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gone = f"tries=0; while kill -0 $(cat {tmp_path}/pid); do [ $((tries += 1)) -lt 500 ] || exit; sleep 0.1; done"

        assert (await runner.run(sh(f"{gone}; echo gone"))).stdout == "gone\n"

    asyncio.run(scenario())


def test_a_flood_has_to_wait_and_costs_little():
    used = time.process_time()
    result, heard = asyncio.run(listened(sh("exec yes 0123456789012345678901234567890123456789", timeout=2)))
    used = time.process_time() - used

    assert result.timed_out
    assert 3 <= len(heard) <= 60
    assert max(map(len, heard)) <= 65536
    assert used < 1


def test_how_it_ended_is_said_with_its_last_words():
    result, heard = asyncio.run(listened(sh("echo one; echo forbidden >&2; exit 3")))

    assert (result.exit_code, result.stdout, result.stderr, heard) == (3, "one\n", "forbidden\n", [b"one\n"])


def test_the_other_stream_is_heard_where_that_is_wished():
    result, heard = asyncio.run(listened(sh("echo one; echo two >&2"), stream="stderr"))

    assert (result.stdout, result.stderr, heard) == ("one\n", "two\n", [b"two\n"])


def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(CommandNotFound):
        asyncio.run(listened(Command(("no-such-program",))))
