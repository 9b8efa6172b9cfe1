"""Which jobs one command answers for."""

from generic_worker.job import Job
from generic_worker.jobs.grouping import grouped, rendering


def job(number, key=None, **values):
    return Job(key or f"pf-{number}", values, "test", id=str(number), fields={"cluster": "a"})


def ids(groups):
    return [[one.id for one in group] for group in groups]


def test_a_command_that_names_all_jobs_is_run_once_for_as_many_as_it_may_name():
    jobs = [job(number) for number in range(5)]

    assert ids(grouped(jobs, frozenset({"job_ids"}), 2)) == [["0", "1"], ["2", "3"], ["4"]]
    assert ids(grouped(jobs, frozenset(), 2)) == [["0", "1", "2", "3", "4"]], "it names none"
    assert ids(grouped([], frozenset({"job_ids"}), 2)) == []


def test_a_command_that_names_one_job_is_run_for_each():
    assert ids(grouped([job(1), job(2)], frozenset({"job_id"}), 500)) == [["1"], ["2"]]


def test_jobs_with_the_same_values_share_a_command_that_names_them():
    jobs = [job(number, queue="ab"[number % 2], other=number) for number in range(4)]

    assert ids(grouped(jobs, frozenset({"job_ids", "queue"}), 500)) == [["0", "2"], ["1", "3"]]


def test_two_jobs_with_one_id_are_never_asked_about_together():
    old, new, again = job(7, "pf-old"), job(7, "pf-new"), job(7, "pf-new")
    groups = grouped([old, new, again], frozenset({"job_ids"}), 500)

    assert [[one.key for one in group] for group in groups] == [["pf-old"], ["pf-new", "pf-new"]]


def test_what_makes_a_command_different_is_what_it_names_of_a_job_and_of_its_submission():
    one = job(1, queue="a")

    assert rendering(one, frozenset({"job_ids"})) == ""
    assert rendering(one, frozenset({"queue", "job_cluster", "job_id"})) == repr(["a", "1", "a"])
