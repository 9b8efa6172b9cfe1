"""Submitting with real commands: shell scripts that play a scheduler, and how its answers are taken.

Whatever a command says, there is one job, or none, or words that say that nobody knows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from generic_worker.errors import CommandNotFound, SubmitError
from generic_worker.job import Job
from generic_worker.jobs.driver import Driver
from generic_worker.jobs.submission import Caller
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from generic_worker.commands.runner import CommandRunner

    T = TypeVar("T")

SUBMIT = """
recipe: 1
name: test
variables: {place: {type: string}}
submit:
  run: |
    cd "$place"
    echo "$job_key" >>submitted
    . ./submit
  output: {regex: '^(?P<id>\\d+)(?:;(?P<cluster>\\S+))?$'}
  refused: bad partition|not now
  transient: try again|not now
  timeout: LIMIT
status: {run: ['true'], output: {columns: [id, state]}}
cancel: {run: ['true']}
states: {running: [R], succeeded: [CD], failed: [F]}
"""
FIND = """
find:
  run: |
    cd "$place"
    echo "$job_key" >>looked
    . ./find
  output: {columns: [id, key], separator: '|'}
"""
ABSENT = "true"


@dataclass
class Site:
    """A scheduler that is two scripts, and what was done with it."""

    place: Path
    runner: CommandRunner
    simulated: Callable[[Coroutine[Any, Any, T]], T]
    told: list[str] = field(default_factory=list)

    def submit(
        self,
        text: str,
        script: str,
        find: str = ABSENT,
        *,
        stop: bool = False,
        stop_after: int = 0,
        permits: Iterator[tuple[str, str]] | None = None,
        holds: Iterator[bool] | None = None,
        **policy: float,
    ) -> Job:
        """Submit a job whose submit and find commands are scripts; cancel it once find was called so often."""
        (self.place / "submit").write_text(script)
        (self.place / "find").write_text(find)
        hangs = "sleep" in script  # only then is there anything to wait for: a command's time is real, as it is itself
        recipe = load(text.replace("LIMIT", "1" if hangs else "60")).recipe
        recipe = recipe.model_copy(update={"policy": recipe.policy.model_copy(update=policy)})
        values = {"place": str(self.place), "job_key": "pf-1", "job_name": "daily", "job_dir": str(self.place / "job")}
        job = Job("pf-1", values, "test")

        async def scenario() -> None:
            caller = Caller(tell=self.told.append)
            if stop:
                caller.stop.set()
            if permits is not None:
                caller.permit = self._next_of(permits)
            if holds is not None:
                caller.holds = lambda: next(holds)
            submitting = asyncio.create_task(Driver(recipe, self.runner).submit(job, caller))
            while stop_after and not submitting.done():
                await asyncio.sleep(0.1)
                if self.looked >= stop_after:
                    caller.stop.set()
            await submitting

        self.simulated(scenario())
        return job

    @staticmethod
    def _next_of(permits: Iterator[tuple[str, str]]) -> Callable[[], Coroutine[Any, Any, tuple[str, str]]]:
        async def permit() -> tuple[str, str]:
            return next(permits)

        return permit

    def _lines(self, name: str) -> int:
        path = self.place / name
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def submitted(self) -> int:
        """How often the submit command was run."""
        return self._lines("submitted")

    @property
    def looked(self) -> int:
        """How often the find command was run."""
        return self._lines("looked")


@pytest.fixture
def site(tmp_path: Path, timeless: CommandRunner, simulated: Any) -> Site:
    return Site(tmp_path, timeless, simulated)


def test_a_submitted_job_has_its_id_and_what_else_was_said(site: Site) -> None:
    job = site.submit(SUBMIT, "echo Welcome to cobalt; echo '4711;cobalt'")

    assert (job.id, job.fields) == ("4711", {"cluster": "cobalt"})
    assert job.born >= 1000
    assert site.submitted == 1


def test_the_id_may_be_on_stderr(site: Site) -> None:
    text = SUBMIT.replace("output: {regex: '^", "output: {from: stderr, regex: '^", 1)

    assert site.submit(text, "echo 12; echo 'warning: /bin/sh' >&2; echo 4711 >&2").id == "4711"


# What follows a submission that failed.


@pytest.mark.parametrize("text", [SUBMIT, SUBMIT + FIND])
def test_a_submission_that_was_refused_for_certain_is_neither_looked_up_nor_tried_again(site: Site, text: str) -> None:
    with pytest.raises(SubmitError, match=r"(?s)^test: submit: `.*` exited 1 after 0.0 s\n    bad partition$") as error:
        site.submit(text, "echo bad partition >&2; exit 1")

    assert not error.value.ambiguous
    assert (site.submitted, site.looked) == (1, 0)


@pytest.mark.parametrize("text", [SUBMIT, SUBMIT + FIND])
def test_one_that_was_refused_for_certain_for_a_passing_reason_is_tried_again_at_once(site: Site, text: str) -> None:
    job = site.submit(text, '[ "$(wc -l <submitted)" = 3 ] && echo 4711 || { echo not now >&2; exit 1; }')

    assert job.id == "4711"
    assert (site.submitted, site.looked) == (3, 0)


UNANSWERED = [
    "true",
    "echo Welcome",
    "sleep 9",
    "kill -9 $$",
    "exit 137",
    "echo 7; sleep 9",
    "echo bad partition; sleep 9",
]
FAILED = ["exit 1", "exit 52", "exit 255", "echo an unlisted text >&2; exit 3", "echo 4711; exit 1"]
PASSING = ["echo try again >&2; exit 1", "echo try again"]


@pytest.mark.parametrize("script", [*UNANSWERED, *FAILED, *PASSING])
def test_any_other_without_find_may_exist_and_is_not_tried_again(site: Site, script: str) -> None:
    with pytest.raises(SubmitError, match=r"^test: submit: no job id. The job may exist: look for pf-1.\n") as error:
        site.submit(SUBMIT, script)

    assert error.value.ambiguous
    assert site.submitted == 1


@pytest.mark.parametrize("script", [*UNANSWERED, *FAILED, *PASSING])
def test_any_other_is_looked_up_and_taken_over_if_there_is_a_job(site: Site, script: str) -> None:
    job = site.submit(SUBMIT + FIND, script, "echo '4711|pf-1'")

    assert job.id == "4711"
    assert (site.submitted, site.looked) == (1, 1)


@pytest.mark.parametrize("script", [*UNANSWERED, *PASSING])
def test_one_that_was_not_answered_or_failed_for_a_passing_reason_is_tried_again_when_there_is_no_job(
    site: Site, script: str
) -> None:
    job = site.submit(SUBMIT + FIND, f'[ "$(wc -l <submitted)" = 1 ] || {{ echo 4712; exit; }}\n{script}')

    assert job.id == "4712"
    assert (site.submitted, site.looked) == (2, 2)


@pytest.mark.parametrize("script", FAILED)
def test_one_that_failed_otherwise_was_refused_when_there_is_no_job(site: Site, script: str) -> None:
    with pytest.raises(SubmitError, match=r"(?s)^test: submit: `.*` exited \d+ after 0.0 s") as error:
        site.submit(SUBMIT + FIND, script)

    assert not error.value.ambiguous
    assert (site.submitted, site.looked) == (1, 2)


def test_a_job_that_becomes_visible_late_is_not_submitted_again(site: Site) -> None:
    job = site.submit(SUBMIT + FIND, "true", '[ "$(wc -l <looked)" = 1 ] || echo "4711|pf-1"')

    assert job.id == "4711"
    assert (site.submitted, site.looked) == (1, 2)


def test_trying_again_has_an_end(site: Site) -> None:
    with pytest.raises(SubmitError, match=r"\nIt is not tried again.$") as error:
        site.submit(SUBMIT, "echo not now; exit 1", retry_for=20)

    assert not error.value.ambiguous
    assert site.submitted == 4


@pytest.mark.parametrize("text", [SUBMIT, SUBMIT + FIND])
def test_nothing_is_tried_again_for_a_run_that_is_being_cancelled(site: Site, text: str) -> None:
    with pytest.raises(SubmitError, match=r"\nIt is not tried again.$"):
        site.submit(text, "echo not now >&2; exit 1", stop=True)

    assert site.submitted == 1


def test_a_program_that_is_not_there_submits_nothing(site: Site) -> None:
    head, tail = SUBMIT.index("  run: |"), SUBMIT.index("  output:")
    with pytest.raises(CommandNotFound):
        site.submit(f"{SUBMIT[:head]}  run: [no-such-program-here]\n{SUBMIT[tail:]}", "")


# A find that does not answer.


def test_a_lookup_that_fails_is_repeated_until_it_answers(site: Site) -> None:
    find = (
        'case $(wc -l <looked) in 1) exit 1;; 2) echo "Welcome";; 3) sleep 0; kill -9 $$;; *) echo "4711|pf-1";; esac'
    )
    job = site.submit(SUBMIT + FIND, "exit 1", find)

    assert job.id == "4711"
    assert (site.submitted, site.looked) == (1, 4)


def test_while_nobody_can_say_the_log_says_so_again_and_again_with_growing_pauses(site: Site) -> None:
    find = '[ "$(wc -l <looked)" = 40 ] && echo "4711|pf-1" || { echo no history here >&2; exit 1; }'
    job = site.submit(SUBMIT + FIND, "exit 1", find)

    assert job.id == "4711"
    assert site.looked == 40
    assert 6 <= len(site.told) <= 10  # in some three hours, in which it was asked every five minutes
    for text in site.told:
        assert text.startswith("Nobody can say whether the last submission made a job: test: find: exit code 1: `")
        assert text.endswith(
            " s\n    no history here\nIt is asked again until there is an answer, or the flow run is cancelled."
        )


def test_a_job_of_the_same_name_without_a_key_may_be_it_and_nothing_is_submitted_again(site: Site) -> None:
    names = SUBMIT + FIND.replace("[id, key]", "[id, key, name]")
    with pytest.raises(SubmitError, match=r"job 7 has this job's name and no key of ours") as caught:
        site.submit(names, "echo 'try again' >&2; exit 1", "echo '7|(null)|daily'", stop_after=3)

    assert caught.value.ambiguous
    assert site.submitted == 1
    assert "the flow run was cancelled. The job may exist: look for pf-1." in str(caught.value)


def test_a_cancellation_ends_the_waiting_for_a_find_that_does_not_answer(site: Site) -> None:
    message = (
        r"(?s)^test: submit: the flow run was cancelled. The job may exist: look for pf-1.\nNobody can say .*down$"
    )
    with pytest.raises(SubmitError, match=message) as error:
        site.submit(SUBMIT + FIND, "exit 1", "echo down >&2; exit 1", stop_after=5)

    assert error.value.ambiguous
    assert (site.submitted, site.looked) == (1, 6)


def test_a_job_is_looked_up_twice_also_for_a_run_that_is_cancelled_by_then(site: Site) -> None:
    find = '[ "$(wc -l <looked)" = 1 ] && exit 1; echo "4711|pf-1"'

    assert site.submit(SUBMIT + FIND, "exit 1", find, stop=True).id == "4711"


def test_who_wants_a_bound_for_the_waiting_sets_one(site: Site) -> None:
    message = (
        r"(?s)^test: submit: no answer for 60 s, as policy.find_for says. The job may exist: look for pf-1.\n.*down$"
    )
    with pytest.raises(SubmitError, match=message) as error:
        site.submit(SUBMIT + FIND, "exit 1", "echo down >&2; exit 1", find_for=60)

    assert error.value.ambiguous
    assert (site.submitted, site.looked) == (1, 4)  # after 0, 5, 15 and 35 seconds, and more


# Whether a job is still wanted.


def test_each_try_asks_whether_the_job_is_still_wanted(site: Site) -> None:
    permits = iter([("go", ""), ("go", ""), ("stop", "nobody wants it")])
    with pytest.raises(SubmitError, match=r"^nobody wants it$") as error:
        site.submit(SUBMIT, "echo not now; exit 1", permits=permits)

    assert site.submitted == 2
    assert not error.value.ambiguous


def test_a_job_whose_flow_has_begun_is_looked_for_until_it_is_found_and_not_submitted_again(site: Site) -> None:
    permits = iter([("go", ""), ("begun", ""), ("begun", "")])
    find = "[ $(wc -l <looked) -lt 5 ] || echo '41|pf-1'"

    assert site.submit(SUBMIT + FIND, "echo try again; exit 1", find, permits=permits).id == "41"
    assert site.submitted == 1


def test_a_job_whose_flow_has_begun_may_exist_when_it_cannot_be_looked_for(site: Site) -> None:
    permits = iter([("go", ""), ("begun", "the flow run has begun.")])
    with pytest.raises(SubmitError, match="The job may exist") as error:
        site.submit(SUBMIT, "echo not now; exit 1", permits=permits)

    assert error.value.ambiguous


# What a refused submission leaves.

MADE = """
files: {note: '${job_key}'}
cleanup: {run: 'rm "$place/made"'}
"""


def test_a_refused_submission_leaves_nothing_of_what_was_prepared(site: Site) -> None:
    (site.place / "made").touch()
    with pytest.raises(SubmitError):
        site.submit(SUBMIT + MADE, "[ -e job/note ] || exit; echo bad partition; exit 1")

    assert not (site.place / "made").exists()
    assert not (site.place / "job").exists()


def test_what_may_belong_to_a_job_is_left_when_it_may_exist(site: Site) -> None:
    (site.place / "made").touch()
    with pytest.raises(SubmitError, match="The job may exist"):
        site.submit(SUBMIT + MADE, "exit 1")

    assert (site.place / "made").exists()
    assert (site.place / "job" / "note").exists()


def test_a_clean_up_that_is_about_a_jobs_id_is_not_run_where_there_is_no_job(site: Site) -> None:
    (site.place / "made").touch()
    with pytest.raises(SubmitError):
        site.submit(SUBMIT + MADE.replace("$place/made", "$place/made$job_id"), "echo bad partition; exit 1")

    assert (site.place / "made").exists()


def test_a_submission_whose_turn_has_come_too_late_is_asked_about_again_before_it_is_made(site: Site) -> None:
    permits, holds = [("go", "")] * 3 + [("stop", "too many")], [False, False, True]
    job = site.submit(SUBMIT, "echo 4711", permits=iter(permits), holds=iter(holds))

    assert (job.id, site.submitted) == ("4711", 1)


def test_a_submission_that_is_not_permitted_when_it_is_asked_about_again_is_not_made(site: Site) -> None:
    with pytest.raises(SubmitError, match="nobody wants it"):
        site.submit(
            SUBMIT,
            "echo 4711",
            permits=iter([("go", ""), ("stop", "nobody wants it")]),
            holds=iter([False]),
        )

    assert site.submitted == 0
