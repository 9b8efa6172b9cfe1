"""A driver with real commands: shell scripts that play a scheduler in a directory of their own."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from generic_worker.answers.conclusions import status_answer
from generic_worker.commands.runner import CommandRunner
from generic_worker.errors import SubmitError
from generic_worker.job import Job, JobState, JobStatus
from generic_worker.jobs import driver as module
from generic_worker.jobs.driver import Driver
from generic_worker.language import patterns
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from pathlib import Path

    from generic_worker.jobs.status_report import StatusReport

RECIPE = """
recipe: 1
name: test
variables: {place: {type: string}}
submit: {run: 'cd "$place"; . ./submit', output: {regex: '^(?P<id>\\d+)$'}}
status: {run: ['true'], output: {columns: [id, state]}}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD], failed: [F]}
"""
FIND = """
find:
  run: cd "$place"; echo >>looked; . ./find
  output: {columns: [id, key], separator: '|'}
"""


def driver_of(text: str, **policy: float) -> Driver:
    recipe = load(text).recipe
    recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)})
    return Driver(recipe, CommandRunner(4))


def a_job(place: Path, number: int = 1, **values: Any) -> Job:
    key = f"pf-{number}"
    return Job(key, {"place": str(place), "job_key": key, **values}, "test", id=str(number))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_private_files_are_private_and_go_with_the_job(tmp_path: Path) -> None:
    text = RECIPE + "files: {manifest: {key: '${job_key}'}}\n"
    driver = driver_of(text)
    job = a_job(tmp_path, job_dir=str(tmp_path / "jobs" / "pf-1"), file_manifest=str(tmp_path / "jobs/pf-1/manifest"))
    (tmp_path / "submit").write_text("echo 1")
    asyncio.run(driver.submit(job))
    manifest = tmp_path / "jobs" / "pf-1" / "manifest"

    assert manifest.read_text() == '{"key": "pf-1"}'
    assert (manifest.stat().st_mode & 0o777, manifest.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert asyncio.run(driver.cleanup(job)) == ""
    assert not manifest.parent.exists()


STATUS = """
recipe: 1
name: test
variables: {place: {type: string}, cluster: {type: string}}
submit: {run: [echo, '1'], output: {regex: '(?P<id>.+)'}}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD], failed: [F]}
status:
"""
FIRST = """
  - run: |
      cd "$place"; echo first $job_ids >>asked
      . ./first
    output: {columns: [id, state, key], separator: '|'}
    absent: never heard of (?P<id>\\d+)
"""
SECOND = """
  - run: [sh, '${place}/second.sh', '${place}', "${job_ids | join(',')}", '${cluster}']
    output: {columns: [id, state, key], separator: '|'}
"""


def ask(place: Path, text: str, jobs: list[Job], first: str = "", second: str = "", **policy: float) -> StatusReport:
    (place / "first").write_text(first)
    (place / "second.sh").write_text(f'cd "$1"; echo "second $2 $3" >>asked\n{second}')
    return asyncio.run(driver_of(text, **policy).status(jobs))


def states(report: StatusReport) -> dict[str, str]:
    return {job.id: status.state.value for job, status in report.statuses.items()}


def test_one_command_answers_for_many_and_the_next_is_asked_only_about_the_rest(tmp_path: Path) -> None:
    jobs = [a_job(tmp_path, number) for number in range(1, 5)]
    report = ask(tmp_path, STATUS + FIRST + SECOND, jobs, "echo '1|R|pf-1'; echo '2|CD|pf-2'", "echo '3|F|pf-3'")

    assert states(report) == {"1": "running", "2": "succeeded", "3": "failed", "4": "absent"}
    assert lines(tmp_path / "asked") == ["first 1 2 3 4", "second 3,4 "]
    assert report.trouble == ""
    assert report.seconds > 0


def test_a_failing_source_leaves_what_only_it_could_have_proven_open(tmp_path: Path) -> None:
    jobs = [a_job(tmp_path, number) for number in range(1, 4)]
    report = ask(tmp_path, STATUS + FIRST + SECOND, jobs, "echo '1|R|pf-1'; echo down >&2; exit 1", "echo '2|CD|pf-2'")

    assert states(report) == {"1": "running", "2": "succeeded", "3": "unknown"}
    assert report.trouble.startswith("test: status: exit code 1: `")
    assert report.trouble.endswith("\n    down")


def test_a_failing_last_source_does_too_unless_it_is_optional(tmp_path: Path) -> None:
    jobs = [a_job(tmp_path, number) for number in (1, 2)]
    text = STATUS + FIRST + SECOND

    assert states(ask(tmp_path, text, jobs, "echo '1|R|pf-1'", "exit 1")) == {"1": "running", "2": "unknown"}

    report = ask(tmp_path, text + "    optional: true\n", jobs, "echo '1|R|pf-1'", "exit 1")

    assert states(report) == {"1": "running", "2": "absent"}
    assert report.trouble == ""


def test_a_history_does_not_keep_a_job_alive_that_the_scheduler_does_not_know(tmp_path: Path) -> None:
    jobs = [a_job(tmp_path, number) for number in (1, 2)]
    text = STATUS + FIRST + SECOND + "    history: true\n"

    assert states(ask(tmp_path, text, jobs, "", "echo '1|R|pf-1'; echo '2|F|pf-2'")) == {"1": "absent", "2": "failed"}
    assert states(ask(tmp_path, text, jobs, "exit 1", "echo '1|R|pf-1'; exit 1")) == {"1": "unknown", "2": "unknown"}


def test_an_optional_source_that_fails_proves_nothing_by_itself(tmp_path: Path) -> None:
    report = ask(tmp_path, STATUS + FIRST + "    optional: true\n", [a_job(tmp_path)], "exit 1")

    assert states(report) == {"1": "unknown"}


def test_absence_needs_the_proof_of_every_source(tmp_path: Path) -> None:
    text = STATUS + FIRST + SECOND
    jobs = [a_job(tmp_path, number) for number in (1, 2)]
    first = "echo never heard of 1 >&2; exit 1"

    assert states(ask(tmp_path, text, jobs, first)) == {"1": "absent", "2": "unknown"}
    assert states(ask(tmp_path, text, jobs, first, "exit 1")) == {"1": "unknown", "2": "unknown"}


def test_a_job_whose_id_was_given_to_another_is_not_asked_about_any_further(tmp_path: Path) -> None:
    report = ask(tmp_path, STATUS + FIRST + SECOND, [a_job(tmp_path)], "echo '1|R|theirs'", "echo '1|CD|'")

    assert states(report) == {"1": "unknown"}
    assert [status.foreign for status in report.statuses.values()] == [True]
    assert lines(tmp_path / "asked") == ["first 1"]


def test_many_jobs_are_asked_about_in_batches(tmp_path: Path) -> None:
    jobs = [a_job(tmp_path, number) for number in range(1, 6)]
    ask(tmp_path, STATUS + FIRST, jobs, batch=2)

    assert sorted(lines(tmp_path / "asked")) == ["first 1 2", "first 3 4", "first 5"]


def test_what_is_said_of_thousands_of_jobs_is_put_together_beside_the_event_loop(tmp_path: Path) -> None:
    first = """awk 'BEGIN { for (n = 1; n <= 2000; n++) print n "|R|pf-" n }'"""
    jobs = [a_job(tmp_path, number) for number in range(1, 2501)]
    report = ask(tmp_path, STATUS + FIRST, jobs, first=first, batch=5000)

    assert list(states(report).values()) == ["running"] * 2000 + ["absent"] * 500


def test_jobs_share_a_command_that_would_be_the_same(tmp_path: Path) -> None:
    jobs = [a_job(tmp_path, number, cluster="ab"[number % 2]) for number in range(1, 5)]
    ask(tmp_path, STATUS + SECOND, jobs, second='for id in $(echo $2 | tr , " "); do echo "$id|R|pf-$id"; done')

    assert sorted(lines(tmp_path / "asked")) == ["second 1,3 b", "second 2,4 a"]
    driver = driver_of(STATUS + SECOND)
    assert len({driver.status_group(job) for job in jobs}) == 2


def test_two_of_our_jobs_with_one_id_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    old, new, again = a_job(tmp_path, 1), a_job(tmp_path, 2), a_job(tmp_path, 2)
    old.id = "2"
    report = ask(tmp_path, STATUS + FIRST, [old, new, again], "echo '2|CD|pf-2'")

    assert report.statuses[old].foreign
    assert report.statuses[new] == report.statuses[again] == JobStatus(JobState.SUCCEEDED, "CD")
    assert sorted(lines(tmp_path / "asked")) == ["first 2", "first 2 2"]


def test_a_command_that_hangs_or_cannot_start_says_nothing(tmp_path: Path) -> None:
    hangs = (STATUS + FIRST).replace("absent:", "timeout: 3\n    absent:")
    report = ask(tmp_path, hangs, [a_job(tmp_path, 1), a_job(tmp_path, 2)], "echo '1|R|pf-1'; echo '2|R|pf-'; sleep 99")

    assert states(report) == {"1": "running", "2": "unknown"}
    assert "was stopped after its time limit of 3 s" in report.trouble

    report = ask(
        tmp_path, STATUS + "  - {run: [no-such-program-here], output: {columns: [id, state]}}\n", [a_job(tmp_path)]
    )

    assert states(report) == {"1": "unknown"}
    assert report.trouble.startswith("test: status: cannot start 'no-such-program-here'")


def test_an_unreachable_far_side_says_nothing_whatever_is_printed(tmp_path: Path) -> None:
    via = "via: {run: [sh, -c, '\"$@\"; exit 255', sh], unreachable: [255]}\n"
    report = ask(tmp_path, via + STATUS + FIRST, [a_job(tmp_path)], "echo '1|CD|pf-1'; echo never heard of 1")

    assert states(report) == {"1": "unknown"}


def test_answers_are_read_in_a_thread_of_their_own(tmp_path: Path, monkeypatch) -> None:
    readers = []

    def reading(*arguments: Any) -> Any:
        readers.append(threading.current_thread())
        return status_answer(*arguments)

    monkeypatch.setattr(module, "status_answer", reading)

    assert states(ask(tmp_path, STATUS + FIRST, [a_job(tmp_path)], "echo '1|R|pf-1'")) == {"1": "running"}
    assert [reader is threading.current_thread() for reader in readers] == [False]


def test_status_commands_leave_room_for_others(tmp_path: Path, until) -> None:
    text = STATUS + FIRST.replace("job_ids", "job_id") + "policy: {commands: 2}\n"
    (tmp_path / "first").write_text("until [ -e gate ]; do sleep 0.02; done")

    async def scenario() -> None:
        driver = Driver(load(text).recipe, CommandRunner(2))
        asking = asyncio.create_task(driver.status([a_job(tmp_path, number) for number in range(4)]))
        await asyncio.to_thread(until, lambda: lines(tmp_path / "asked"), 60)
        assert await driver.cancel(a_job(tmp_path), 0) == (False, "")
        assert len(lines(tmp_path / "asked")) == 1
        (tmp_path / "gate").touch()
        await asking

    asyncio.run(scenario())
    assert len(lines(tmp_path / "asked")) == 4


def test_find_looks_for_many_keys_and_says_whether_its_answer_is_full(tmp_path: Path) -> None:
    text = RECIPE + FIND
    jobs = [a_job(tmp_path, number) for number in (1, 2, 3)]
    (tmp_path / "find").write_text("echo '41|pf-1'; echo '43|pf-3'")
    found, trouble = asyncio.run(driver_of(text).find(jobs))

    assert ({job.key: job.id for job in found}, trouble) == ({"pf-1": "41", "pf-3": "43"}, {})
    assert len(lines(tmp_path / "looked")) == 1

    (tmp_path / "find").write_text("echo '41|pf-1'; exit 3")
    found, trouble = asyncio.run(driver_of(text).find(jobs))

    assert [job.key for job in found] == ["pf-1"]
    assert set(trouble) == set(jobs) - found
    assert all(text.startswith("test: find: exit code 3: `") for text in trouble.values())
    assert asyncio.run(driver_of(RECIPE).find(jobs)) == (set(), dict.fromkeys(jobs, "the recipe has no find"))
    assert asyncio.run(driver_of(text).find([])) == (set(), {})


VERBS = """
explain: {run: [sh, -c, 'echo reason=OOM; exit "$0"', '${place}'], output: {regex: 'reason=(?P<reason>\\S+)'}}
logs: {run: [sh, -c, 'echo "last words"; exit "$0"', '${place}']}
cleanup: {run: [sh, -c, 'echo "no room" >&2; exit "$0"', '${place}']}
"""


def test_the_end_of_a_job_is_explained_logged_and_cleaned_up_as_far_as_that_works() -> None:
    driver = driver_of(
        RECIPE.replace(
            "cancel: {run: ['true']}", "cancel: {run: [sh, -c, 'echo gone >&2; exit \"$0\"', '${place}'], absent: gone}"
        )
        + VERBS
    )
    failed = JobStatus(JobState.FAILED, "F")

    def job(code: int) -> Job:
        return Job("pf-1", {"place": str(code)}, "test", id="1")

    async def scenario() -> None:
        assert await driver.explain(job(0), failed) == JobStatus(JobState.FAILED, "F", "OOM")
        assert await driver.explain(job(1), failed) == failed
        assert await driver.explain(job(0), JobStatus(JobState.SUCCEEDED)) == JobStatus(JobState.SUCCEEDED)
        assert (await driver.logs(job(0)), await driver.logs(job(1))) == ("last words", "")
        assert await driver.cleanup(job(0)) == ""
        assert (await driver.cleanup(job(1))).endswith("\n    no room")
        assert await driver.cancel(job(0), 0) == (False, "")
        gone, said = await driver.cancel(job(1), 0)
        assert gone
        assert said.endswith("\n    gone")

    asyncio.run(scenario())


def test_secrets_are_not_in_what_is_said(tmp_path: Path) -> None:
    job = a_job(tmp_path, env={"API_TOKEN": "very-secret-value"})
    (tmp_path / "submit").write_text("echo very-secret-value >&2; exit 1")
    with pytest.raises(SubmitError) as error:
        asyncio.run(driver_of(RECIPE).submit(job))

    assert "very-secret-value" not in str(error.value)
    assert os.linesep + "    ********" in str(error.value)


def test_secrets_are_not_in_the_infrastructures_words(tmp_path: Path) -> None:
    text = RECIPE.replace("[id, state]", "[id, state, reason], separator: '|'").replace(
        "run: ['true'], output: {col", "run: 'cd \"$place\"; . ./status', output: {col"
    )
    jobs = [a_job(tmp_path, number, env={"API_TOKEN": f"very-secret-value-{number}"}) for number in (1, 2)]
    script = "echo '1|F|no very-secret-value-1'; echo '2|?|very-secret-value-2'; echo very-secret-value-2 >&2; exit 1"
    (tmp_path / "status").write_text(script)
    report = asyncio.run(driver_of(text).status(jobs))

    assert report.statuses[jobs[0]].reason == "no ********"
    assert "very-secret" not in report.trouble + "".join(report.remarks)


SLOW = "(?:a|aa)+$"


def test_a_pattern_that_takes_too_long_says_nothing_and_stops_nobody(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(patterns, "_SECONDS", 0.3)
    text = RECIPE.replace("run: ['true'], output: {columns: [id, state]}", f"run: ['echo', '1 R {'a' * 80}!'], {{}}")
    jobs, slowest = [a_job(tmp_path)], 0.0

    async def scenario(where: str) -> StatusReport:
        nonlocal slowest
        driver = driver_of(text.replace("{}", where))
        asking = asyncio.create_task(driver.status(jobs))
        while not asking.done():
            since = asyncio.get_running_loop().time()
            await asyncio.sleep(0.001)
            slowest = max(slowest, asyncio.get_running_loop().time() - since)
        return await asking

    for where, place in (
        (f"output: {{columns: [id, state]}}, trouble: '{SLOW}'", "trouble"),
        (f"output: {{regex: '(?P<id>.)(?P<state>.)\\s{SLOW}'}}", "output.regex"),
    ):
        report = asyncio.run(scenario(where))

        assert states(report) == {"1": "unknown"}
        assert f"test: status: {place}: the pattern '" in report.trouble


SHARED = """
explain: {run: [sh, '${place}/shared', explained, '${job_ids}'], output: {columns: [id, reason], separator: '|'}}
cleanup: {run: [sh, '${place}/shared', cleaned, '${job_ids}']}
"""
SCRIPT = """
cd "${0%/*}"
echo "$*" >>ran
until [ -e go ]; do sleep 0.01; done
shift
for id; do case $id in
  3) echo "no such job: 3" >&2; code=1 ;;
  *) echo "$id|because of $id" ;;
esac; done
exit "${code:-0}"
"""


def test_jobs_that_end_while_a_command_runs_share_the_next_and_are_alone_where_it_fails(tmp_path: Path) -> None:
    driver, failed = driver_of(RECIPE + SHARED), JobStatus(JobState.FAILED, "F")
    (tmp_path / "shared").write_text(SCRIPT)

    async def shared(verb: str, first: list[Job], then: list[Job]) -> list[Any]:
        for name in ("ran", "go"):
            (tmp_path / name).unlink(missing_ok=True)
        call = driver.cleanup if verb == "cleaned" else lambda job: driver.explain(job, failed)
        tasks = [asyncio.create_task(call(job)) for job in first]
        while not lines(tmp_path / "ran"):  # noqa: ASYNC110 - a script writes it
            await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(call(job)) for job in then]
        await asyncio.sleep(0)
        (tmp_path / "go").touch()
        return await asyncio.gather(*tasks)

    async def scenario() -> None:
        one, two, three, four = (a_job(tmp_path, number) for number in range(1, 5))
        told = await shared("explained", [one], [two, four])

        assert [status.reason for status in told] == ["because of 1", "because of 2", "because of 4"]
        assert lines(tmp_path / "ran") == ["explained 1", "explained 2 4"]

        told = await shared("explained", [one, two], [three, four])

        assert [status.reason for status in told] == ["because of 1", "because of 2", "", "because of 4"]
        assert lines(tmp_path / "ran")[:2] == ["explained 1 2", "explained 3 4"]
        assert sorted(lines(tmp_path / "ran")[2:]) == ["explained 3", "explained 4"]

        *others, trouble = await shared("cleaned", [one], [two, four, three])

        assert others == ["", "", ""]
        assert re.search(r" 3` exited 1 after \S+ s\n    no such job: 3$", trouble)
        assert lines(tmp_path / "ran")[:2] == ["cleaned 1", "cleaned 2 4 3"]
        assert sorted(lines(tmp_path / "ran")[2:]) == ["cleaned 2", "cleaned 3", "cleaned 4"]

    asyncio.run(asyncio.wait_for(scenario(), 60))
