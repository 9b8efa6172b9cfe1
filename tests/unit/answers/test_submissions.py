"""What output says about a submission. Real output is in the captures; these are the rules, one by one."""

from __future__ import annotations

import pytest

from generic_worker.answers.records import Printed
from generic_worker.answers.submissions import find_answer, namesakes, submit_answer
from generic_worker.library.loading import load

BASE = """
recipe: 1
name: rules
submit:
  run: [submit]
  output: {regex: '^(?P<id>\\d+)(?:;(?P<cluster>\\S+))?$'}
  refused: bad partition|limit
  transient: timed out|try again|limit
  trouble: not sure
find:
  run: [find]
  output: {columns: [id, key], separator: '|'}
  absent: no such key
status:
  run: [list]
  output: {columns: [key, state]}
cancel: {run: [cancel]}
states: {running: [R], succeeded: [CD]}
"""
RECIPE = load(BASE).recipe
NAMED = load(
    BASE.replace("{regex: '^(?P<id>\\d+)(?:;(?P<cluster>\\S+))?$'}", "{id: '${job_key}'}")
    .replace("{columns: [id, key], separator: '|'}", "{columns: [key, word], separator: '|', id: '${job_key}'}")
    .replace("absent: no such key", "empty: no jobs")
).recipe


def test_the_key_may_be_the_id_which_nothing_has_to_print() -> None:
    find, submit = NAMED.find, NAMED.submit
    assert find

    assert submit_answer(submit, Printed("created"), "pf-1").fields == {"id": "pf-1"}
    assert submit_answer(submit, Printed("", "no", 1), "pf-1").outcome == "ambiguous"
    assert submit_answer(submit, Printed("", "", 0, cut=True), "pf-1").outcome == "transient"
    assert find_answer(find, ["pf-1"], Printed("pf-1|R\npf-2|R\n")) == (
        {"pf-1": {"id": "pf-1", "key": "pf-1", "word": "R"}},
        "",
    )
    assert find_answer(find, ["pf-1"], Printed("", "no jobs", 1)) == ({}, "")
    assert find_answer(find, ["pf-1"], Printed("", "no", 1)) == ({}, "exit code 1")


def test_a_find_whose_exit_code_says_all_finds_the_job_where_that_is_0() -> None:
    recipe = load(
        BASE.replace("run: [find]\n  output: {columns: [id, key], separator: '|'}",
                     "run: [has, '${job_key}']\n  output: {id: '${job_key}'}\n  empty: no jobs")
    ).recipe  # fmt: skip
    find = recipe.find
    assert find

    assert find_answer(find, ["pf-1"], Printed()) == ({"pf-1": {"id": "pf-1"}}, "")
    assert find_answer(find, ["pf-1"], Printed("", "no such key", 1)) == ({}, "")
    assert find_answer(find, ["pf-1"], Printed("", "no jobs", 1)) == ({}, "")
    assert find_answer(find, ["pf-1"], Printed("", "no jobs")) == ({}, "")
    assert find_answer(find, ["pf-1"], Printed("", "boom", 1)) == ({}, "exit code 1")
    assert find_answer(find, ["pf-1"], Printed(cut=True))[0] == {}


@pytest.mark.parametrize(
    ("printed", "outcome"),
    [
        (Printed("4711\n"), "submitted"),
        (Printed("Welcome!\n12\n4711\n"), "submitted"),
        (Printed("", "bad partition", 1), "refused"),
        (Printed("4711\n", "bad partition", 1), "refused"),
        (Printed("", "bad partition"), "refused"),
        (Printed("", "bad partition", -15, cut=True), "transient"),
        (Printed("", "bad partition", 137), "transient"),
        (Printed("", "bad partition", 255, unreachable=True), "transient"),
        (Printed("", "over your limit", 1), "transient"),
        (Printed("", "nobody has listed this", 1), "ambiguous"),
        (Printed("4711\n", "", 1), "ambiguous"),
        (Printed("", "request timed out", 1), "transient"),
        (Printed("", "please try again"), "transient"),
        (Printed(""), "transient"),
        (Printed("Welcome!\n"), "transient"),
        (Printed("4711\n", "not sure"), "transient"),
        (Printed("4711\n", "", 0, cut=True), "transient"),
        (Printed("", "timed out", -15, cut=True), "transient"),
        (Printed("", "", -9), "transient"),
        (Printed("", "", 137), "transient"),
        (Printed("", "broken pipe", 255, unreachable=True), "transient"),
    ],
)
def test_a_submission_has_one_of_four_outcomes(printed: Printed, outcome: str) -> None:
    assert submit_answer(RECIPE.submit, printed).outcome == outcome


@pytest.mark.parametrize(
    ("printed", "nothing_done"),
    [
        (Printed("", "bad partition", 1), True),
        (Printed("", "over your limit", 1), True),
        (Printed("", "try again", 1), False),
        (Printed("", "nobody has listed this", 1), False),
        (Printed("", "bad partition", 137), False),
        (Printed("4711\n", "bad partition"), False),
    ],
)
def test_only_the_commands_own_words_prove_that_nothing_was_done(printed: Printed, *, nothing_done: bool) -> None:
    assert submit_answer(RECIPE.submit, printed).nothing_done is nothing_done


def test_the_last_record_with_an_id_is_the_job() -> None:
    assert submit_answer(RECIPE.submit, Printed("12\n4711;cobalt\n")).fields == {"id": "4711", "cluster": "cobalt"}


@pytest.mark.parametrize(
    ("printed", "found", "sure"),
    [
        (Printed("5|pf-1\n6|other\n"), {"pf-1": "5"}, True),
        (Printed(""), {}, True),
        (Printed("5|pf-1\n", "boom", 1), {"pf-1": "5"}, False),
        (Printed("", "no such key", 1), {}, True),
        (Printed("", "no such key", 1, unreachable=True), {}, False),
        (Printed("5|other\npf-1 is odd\n"), {}, False),
        (Printed("pf-1 is odd\n5|other\n"), {}, False),
        (Printed("|pf-1\n"), {}, False),
        (Printed("Welcome\n"), {}, False),
    ],
)
def test_a_key_is_found_or_proven_to_have_no_job_or_neither(
    printed: Printed, found: dict[str, str], *, sure: bool
) -> None:
    assert RECIPE.find

    records, trouble = find_answer(RECIPE.find, ["pf-1"], printed)

    assert {key: record["id"] for key, record in records.items()} == found
    assert (not trouble) is sure


NAMES = load(BASE.replace("[id, key]", "[id, key, name]")).recipe


def test_a_job_with_our_jobs_name_and_no_key_of_ours_may_be_it() -> None:
    find = NAMES.find
    assert find

    why = "job 6 has this job's name and no key of ours: the site may clear or rewrite the field for it"
    names = {"pf-1": "daily, at six", "pf-2": "hourly"}

    assert namesakes(find, names, Printed("5|pf-9|hourly\n6|(null)|daily, at six\n7||other\n")) == {"pf-1": why}
    assert namesakes(find, names, Printed("6|project=7|daily, at six\n")) == {"pf-1": why}
    assert namesakes(find, names, Printed("6|pf-9|daily, at six\n7|(null)|at six\n")) == {}
    assert namesakes(find, names, Printed("")) == {}
    assert RECIPE.find
    assert namesakes(RECIPE.find, names, Printed("6|(null)\n")) == {}
