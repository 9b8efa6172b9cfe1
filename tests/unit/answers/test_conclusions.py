"""What output says about jobs. Real output is in the captures; these are the rules, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from generic_worker.answers.conclusions import explain_answer, gone, state_of, status_answer
from generic_worker.answers.records import Printed
from generic_worker.job import ABSENT, JobState, JobStatus
from generic_worker.library.loading import load

if TYPE_CHECKING:
    from generic_worker.language.recipe import Recipe

BASE = """
recipe: 1
name: rules
submit:
  run: [submit]
  output: {regex: '^(?P<id>\\d+)$'}
status:
  run: [list]
  output: {columns: [id, state, key, exit_code, signal], separator: '|'}
  trouble: controller is down
explain:
  run: [explain, '${job_id}']
  output: {regex: 'reason=(?P<reason>\\S+) code=(?P<exit_code>\\S*) signal=(?P<signal>\\S*)'}
cancel: {run: [cancel]}
states:
  pending: [PD, 'PD*']
  running: [R]
  succeeded: [CD]
  failed: [F, 'F*']
  cancelled: [CA]
  finished: [Z]
  elsewhere: [MOVED]
"""
RECIPE = load(BASE).recipe
ONE = load(BASE.replace("run: [list]", "run: [show, '${job_id}']\n  absent: no such job")).recipe
JOBS = {"1": "pf-1", "2": "pf-2"}


def states(
    stdout: str = "",
    stderr: str = "",
    code: int = 0,
    *,
    recipe: Recipe = RECIPE,
    jobs: dict[str, str] = JOBS,
    cut: bool = False,
) -> dict[str, str]:
    answer = status_answer(recipe, recipe.statuses[0], jobs, Printed(stdout, stderr, code, cut))
    return {job_id: answer.statuses[job_id].state.value if job_id in answer.statuses else "silent" for job_id in jobs}


def test_what_a_full_answer_does_not_name_is_absent() -> None:
    assert states("1|R|pf-1||\n3|R|other||\n") == {"1": "running", "2": "absent"}
    assert states("") == {"1": "absent", "2": "absent"}
    assert states("", "warning: your password will expire") == {"1": "absent", "2": "absent"}


@pytest.mark.parametrize(
    "printed",
    [
        Printed("1|R|pf-1||\n", "boom", 1),
        Printed("1|R|pf-1||\n", "the controller is down"),
        Printed("1|R|pf-1||\nthe controller is down\n"),
        Printed("1|R|pf-1||\n3|R|||\n2|F|p", "", -15, cut=True),
        Printed("1|R|pf-1||\n2|F|pf-2||", "", 0, cut=True),
        Printed("1|R|pf-1||\n2|F"),
    ],
)
def test_a_partial_answer_counts_and_proves_nothing_else(printed: Printed) -> None:
    answer = status_answer(RECIPE, RECIPE.statuses[0], JOBS, printed)

    assert answer.trouble
    assert {job_id: status.state for job_id, status in answer.statuses.items()} == {"1": JobState.RUNNING}


@pytest.mark.parametrize(
    "printed",
    [
        Printed("Welcome to cobalt"),
        Printed("a|b|c|d|e\n"),
        Printed("", "connection refused", 255, unreachable=True),
        Printed("1|CD|pf-1||\n", "", 255, unreachable=True),
        Printed("", "", -9, cut=True),
        Printed("{}", "no such job", 255, unreachable=True),
        Printed("", "no such job", 1),
    ],
)
def test_nonsense_and_silence_say_nothing_about_any_job(printed: Printed) -> None:
    answer = status_answer(RECIPE, RECIPE.statuses[0], JOBS, printed)

    assert answer.trouble
    assert answer.statuses == {}


def test_words_without_columns_of_their_own_are_no_list_of_jobs() -> None:
    loose = load(BASE.replace("[id, state, key, exit_code, signal], separator: '|'", "[id, state]")).recipe

    assert states("Welcome to cobalt\n", recipe=loose) == {"1": "silent", "2": "silent"}
    assert states("Welcome to cobalt\n1 R\n", recipe=loose) == {"1": "running", "2": "absent"}


def test_a_line_that_cannot_be_read_keeps_the_job_that_it_names_from_being_absent() -> None:
    recipe = load(
        BASE.replace(
            "columns: [id, state, key, exit_code, signal], separator: '|'", "regex: '^(?P<id>\\d+)=(?P<state>\\w+)$'"
        )
    ).recipe

    assert states("3=R\n2=", recipe=recipe) == {"1": "absent", "2": "silent"}
    assert states("3=R\n12=\n2-1=", recipe=recipe) == {"1": "absent", "2": "absent"}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("1|PDx|||", JobStatus(JobState.PENDING, "PDx")),
        ("1|F||3|0", JobStatus(JobState.FAILED, "F", exit_code=3)),
        ("1|F||0|9", JobStatus(JobState.FAILED, "F", signal=9)),
        ("1|FT||0|0", JobStatus(JobState.FAILED, "FT")),
        ("1|CA||0|SIGTERM", JobStatus(JobState.CANCELLED, "CA", signal=15)),
        ("1|CD||0|", JobStatus(JobState.SUCCEEDED, "CD", exit_code=0)),
        ("1|Z||0|0", JobStatus(JobState.SUCCEEDED, "Z", exit_code=0)),
        ("1|Z||0|kill", JobStatus(JobState.FAILED, "Z", signal=9)),
        ("1|Z||2|", JobStatus(JobState.FAILED, "Z", exit_code=2)),
        ("1|Z||?|", JobStatus(JobState.FINISHED, "Z")),
        ("1|Z|||", JobStatus(JobState.FINISHED, "Z")),
        ("1|ODD|||", JobStatus(JobState.UNKNOWN, "ODD")),
        ("1||||", JobStatus(JobState.UNKNOWN)),
    ],
)
def test_a_record_becomes_a_status(line: str, status: JobStatus) -> None:
    answer = status_answer(RECIPE, RECIPE.statuses[0], {"1": "pf-1"}, Printed(line))

    assert answer.statuses == {"1": status}
    assert bool(answer.remarks) is (status.state is JobState.UNKNOWN)


def test_a_job_that_is_elsewhere_is_unknown_and_nobody_is_warned() -> None:
    answer = status_answer(RECIPE, RECIPE.statuses[0], {"1": "pf-1"}, Printed("1|MOVED|pf-1||\n"))

    assert answer.statuses == {"1": JobStatus(JobState.UNKNOWN, "MOVED")}
    assert answer.remarks == []


HISTORY = load(BASE.replace("run: [list]", "run: [accounts]\n  history: true")).recipe


def test_of_several_records_of_a_job_one_that_has_not_ended_counts() -> None:
    assert states("1|F|pf-1|3|\n1|R|pf-1||\n") == {"1": "running", "2": "absent"}
    assert states("1|R|pf-1||\n1|F|pf-1|3|\n") == {"1": "running", "2": "absent"}
    assert states("1|ODD|pf-1||\n1|F|pf-1|3|\n2|F|pf-2|3|\n2|CD|pf-2|0|\n") == {"1": "unknown", "2": "succeeded"}


def test_of_a_history_only_ends_count() -> None:
    assert states("1|R|pf-1||\n2|CD|pf-2||\n", recipe=HISTORY) == {"1": "absent", "2": "succeeded"}
    assert states("1|PD|||\n", recipe=HISTORY) == {"1": "absent", "2": "absent"}
    assert states("1|ODD|||\n2|MOVED|||\n", recipe=HISTORY) == {"1": "unknown", "2": "unknown"}
    assert states("1|R|other||\n", recipe=HISTORY) == {"1": "unknown", "2": "absent"}


def test_a_history_that_is_not_complete_proves_nothing_about_what_it_calls_alive() -> None:
    assert states("1|R|pf-1||\n2|CD|pf-2||\n", "boom", 1, recipe=HISTORY) == {"1": "silent", "2": "succeeded"}


def test_exact_words_come_before_patterns() -> None:
    assert state_of({"failed": ["*"], "running": ["R"]}, "R") == "running"
    assert state_of({"failed": ["R*"]}, "r") is None


def test_another_jobs_key_makes_an_id_unknown_and_says_so() -> None:
    answer = status_answer(RECIPE, RECIPE.statuses[0], JOBS, Printed("1|CD|theirs|0|\n2|R|||\n"))

    assert answer.statuses["1"].foreign
    assert answer.statuses["1"].state is JobState.UNKNOWN
    assert answer.statuses["2"].state is JobState.RUNNING
    assert answer.remarks == [
        "job 1 carries the key 'theirs', not 'pf-1': its id was given to another job, or the site rewrites that field."
    ]


def test_the_record_with_our_key_wins_over_another_with_our_id() -> None:
    for stdout in ("1|R|theirs||\n1|CD|pf-1||\n", "1|CD|pf-1||\n1|R|theirs||\n"):
        assert states(stdout, jobs={"1": "pf-1"}) == {"1": "succeeded"}


def test_a_job_is_known_by_its_key_where_its_id_is_written_in_another_way() -> None:
    assert states("1.cobalt.example.org|R|pf-1||\n") == {"1": "running", "2": "absent"}


def test_others_in_a_list_without_ids_are_not_taken_for_the_only_job_asked_about() -> None:
    keys = load(BASE.replace("[id, state, key, exit_code, signal]", "[state, key]")).recipe

    assert states("R|theirs\n", recipe=keys, jobs={"1": "pf-1"}) == {"1": "absent"}
    assert states("R|theirs\nR|pf-1\n", recipe=keys, jobs={"1": "pf-1"}) == {"1": "running"}


def test_a_command_for_one_job_needs_no_id_in_its_answer_but_an_answer_about_another_proves_nothing() -> None:
    one = BASE.replace("run: [list]", "run: [show, '${job_id}']")
    word = load(one.replace("[id, state, key, exit_code, signal], separator: '|'", "[state]")).recipe

    assert states("R\n", recipe=word, jobs={"1": "pf-1"}) == {"1": "running"}
    assert states("", recipe=word, jobs={"1": "pf-1"}) == {"1": "absent"}
    assert states("7|R|||\n", recipe=ONE, jobs={"1": "pf-1"}) == {"1": "silent"}


def test_absence_is_proven_by_a_failed_commands_own_words_for_one_job_or_by_id_for_many() -> None:
    many = load(BASE.replace("run: [list]", "run: [list]\n  absent: 'no such job (?P<id>\\d+)'")).recipe

    assert states("", "no such job", 1, recipe=ONE, jobs={"1": "pf-1"}) == {"1": "absent"}
    assert states("2|R|pf-2||\n", "no such job 1\nno such job 9", 1, recipe=many) == {"1": "absent", "2": "running"}
    assert states("", "no such job 1", 1, recipe=many) == {"1": "absent", "2": "silent"}
    assert states("1|R|pf-1||\n", "no such job 1", 1, recipe=many) == {"1": "running", "2": "silent"}
    assert states("", "no such job", -9, recipe=ONE, jobs={"1": "pf-1"}, cut=True) == {"1": "silent"}


NAMED = load(
    BASE.replace("{regex: '^(?P<id>\\d+)$'}", "{id: '${job_key}'}")
    .replace("[id, state, key, exit_code, signal], separator: '|'", "[key, state]")
    .replace("trouble: controller is down", "trouble: controller is down\n  empty: ^no jobs")
).recipe


def test_a_tool_may_say_in_words_that_there_are_no_jobs_whatever_its_exit_code_is() -> None:
    gone, silent = {"pf-1": "absent"}, {"pf-1": "silent"}
    jobs = {"pf-1": "pf-1"}

    assert states("", "no jobs", 1, recipe=NAMED, jobs=jobs) == gone
    assert states("no jobs, sorry", recipe=NAMED, jobs=jobs) == gone
    assert states("pf-2 R\n", "no jobs", 1, recipe=NAMED, jobs=jobs) == silent
    assert states("", "no jobs: the controller is down", 1, recipe=NAMED, jobs=jobs) == silent
    assert states("", "no jobs", -9, recipe=NAMED, jobs=jobs) == silent
    assert states("", "no jobs", 137, recipe=NAMED, jobs=jobs) == silent
    assert states("", "no jobs", 1, recipe=NAMED, jobs=jobs, cut=True) == silent
    assert states("no jobs but pf-1, which cannot be read", recipe=NAMED, jobs=jobs) == silent
    assert states("", "connection refused", 1, recipe=NAMED, jobs=jobs) == silent
    assert states("pf-1 R\npf-3 R\n", recipe=NAMED, jobs=jobs) == {"pf-1": "running"}


@pytest.mark.parametrize(
    ("printed", "status"),
    [
        (Printed("reason=OutOfMemory code=137 signal=9"), JobStatus(JobState.FAILED, "F", "OutOfMemory", 137, 9)),
        (Printed("reason=None code= signal=0"), JobStatus(JobState.FAILED, "F", "old", 1)),
        (Printed("reason=TimeLimit code=0 signal=0"), JobStatus(JobState.FAILED, "F", "TimeLimit")),
        (Printed("reason=x code=2 signal=", "", 1), JobStatus(JobState.FAILED, "F", "old", 1)),
        (Printed("nonsense"), JobStatus(JobState.FAILED, "F", "old", 1)),
    ],
)
def test_an_explanation_completes_a_status_and_leaves_its_state(printed: Printed, status: JobStatus) -> None:
    assert RECIPE.explain
    assert explain_answer(RECIPE.explain, JobStatus(JobState.FAILED, "F", "old", 1), printed) == status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("reason=x code=0 signal=", JobStatus(JobState.SUCCEEDED, "Z", "x", 0)),
        ("reason=x code=3 signal=", JobStatus(JobState.FAILED, "Z", "x", 3)),
        ("reason=x code= signal=9", JobStatus(JobState.FAILED, "Z", "x", signal=9)),
        ("reason=x code= signal=", JobStatus(JobState.FINISHED, "Z", "x")),
    ],
)
def test_an_explanation_may_tell_how_a_job_ended_of_which_nobody_knew_that(text: str, status: JobStatus) -> None:
    assert RECIPE.explain
    assert explain_answer(RECIPE.explain, JobStatus(JobState.FINISHED, "Z"), Printed(text)) == status


def test_gone_is_what_a_failed_command_says() -> None:
    assert gone("unknown job", Printed("", "unknown job 5", 1))
    assert not gone("unknown job", Printed("", "unknown job 5", 0))
    assert not gone("unknown job", Printed("", "unknown job 5", 255, unreachable=True))
    assert not gone(None, Printed("", "unknown job 5", 1))


def test_absent_is_one_value() -> None:
    assert status_answer(RECIPE, RECIPE.statuses[0], {"1": ""}, Printed()).statuses == {"1": ABSENT}


@pytest.mark.parametrize(
    ("line", "mentioned"),
    [
        ("no word of 17.srv", True),
        ("[17.srv]", True),
        ("x17.srv", False),
        ("17.srv-2", False),
        ("srv 17", False),
        ("17", False),
    ],
)
def test_a_job_that_a_line_of_no_meaning_names_is_not_absent(line: str, mentioned: bool) -> None:
    said = states(f"1|R|pf-1||\n{line}\n", jobs={"1": "", "17.srv": ""})

    assert said == {"1": "running", "17.srv": "silent" if mentioned else "absent"}


def test_of_many_oddities_a_thousand_are_told_once_each() -> None:
    jobs = {str(number): f"pf-{number}" for number in range(3000)}
    listing = "".join(f"{number}|R|other||\n" for number in jobs)
    answer = status_answer(RECIPE, RECIPE.statuses[0], jobs, Printed(listing))

    assert len(answer.remarks) == len(set(answer.remarks)) == 1001
