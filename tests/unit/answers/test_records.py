from __future__ import annotations

import json
from typing import Any

import pytest

from generic_worker.answers import json_documents
from generic_worker.answers.records import Printed, compile_jsonpath, read
from generic_worker.errors import OutputError
from generic_worker.language.operations import Output


def output(**spec: Any) -> Output:
    return Output.model_validate(spec)


BARS = output(columns=["id", "state", "reason"], separator="|")
SPACES = output(columns=["id", "state", "reason"])
REGEX = output(regex=r"^(?P<id>\d+): (?P<state>\w+)(?: \((?P<reason>.*)\))?$")
JOBS = output(json="$.jobs[*]", fields={"id": "id", "state": ["status.phase", "state"]})
MIXED = output(
    json="$", fields={"state": [{"path": "of", "regex": "end|over"}, "phase", {"path": "x", "default": "?"}]}
)


@pytest.mark.parametrize(
    ("spec", "text", "records"),
    [
        (MIXED,
         '{"of": "has ended", "phase": "R"} {"of": "runs", "phase": "R"} {"of": {"over": 1}} {}',
         [{"state": "end"}, {"state": "R"}, {"state": "over"}, {"state": "?"}]),
        (BARS, "1|R|\r\n", [{"id": "1", "state": "R", "reason": ""}]),
        (BARS, "2| PD |a|b \n", [{"id": "2", "state": "PD", "reason": "a|b"}]),
        (BARS, "1|R|half\x0bline\u2028\n", [{"id": "1", "state": "R", "reason": "half\x0bline"}]),
        (SPACES, "  1   R  waits for two\n", [{"id": "1", "state": "R", "reason": "waits for two"}]),
        (REGEX, "1: R\n2: PD (x)\n", [{"id": "1", "state": "R"}, {"id": "2", "state": "PD", "reason": "x"}]),
        (JOBS, '{"jobs": [{"id": 7, "status": {"phase": "R"}}]}', [{"id": "7", "state": "R"}]),
        (JOBS, '{"jobs": [{"id": "7", "state": "PD"}]}', [{"id": "7", "state": "PD"}]),
        (JOBS, '{"jobs": [{"id": true, "state": null}]}', [{"id": "true"}]),
        (JOBS, '{"jobs": []}', []),
        (output(json="$", fields={"id": "a.b"}), '{"a": {"b": 1}}\n{"a": {"b": 2}}\n', [{"id": "1"}, {"id": "2"}]),
        (output(json="$[?(@.mine)]", fields={"id": "id"}), '[{"id": 1}, {"id": 2, "mine": 1}]', [{"id": "2"}]),
        (output(json="$[?(@.mine)]", fields={"id": "id"}), '[{"id": 1}]', []),
        (output(json="$.jobs.*", fields={"id": "id"}), '{"jobs": {}}', []),
    ],
)  # fmt: skip
def test_records_are_read(spec: Output, text: str, records: list[dict[str, str]]) -> None:
    found = read(spec, text)

    assert found.records == records
    assert found.complete


@pytest.mark.parametrize("spec", [BARS, SPACES, REGEX, JOBS])
@pytest.mark.parametrize("text", ["", "  \n\n\t"])
def test_nothing_printed_is_no_record_and_no_error(spec: Output, text: str) -> None:
    found = read(spec, text)

    assert (found.records, found.complete, found.unread) == ([], True, "")


@pytest.mark.parametrize(
    ("spec", "text", "message"),
    [
        (BARS, "Welcome\nto cobalt", "no line has 3 columns separated by '|': 'Welcome'"),
        (SPACES, "Welcome!", "no line has 3 columns separated by white space: 'Welcome!'"),
        (output(regex="^(?P<id>\\d*)$"), "Welcome", "the pattern '^(?P<id>\\\\d*)$' matches nothing in 'Welcome'"),
        (output(regex="(?P<id>\\d*)"), "Welcome", "the pattern '(?P<id>\\\\d*)' matches nothing in 'Welcome'"),
        (JOBS, "x" * 200, f"not JSON (Expecting value: line 1 column 1 (char 0)): '{'x' * 120}...'"),
        (JOBS, '{"jobs": null}', "$.jobs[*] finds nothing in '{\"jobs\": null}'"),
        (JOBS, '{"errors": []}', "$.jobs[*] finds nothing in '{\"errors\": []}'"),
    ],
)
def test_output_of_another_shape_is_an_error_and_never_an_empty_answer(spec: Output, text: str, message: str) -> None:
    with pytest.raises(OutputError) as error:
        read(spec, text)

    assert str(error.value) == message


@pytest.mark.parametrize(
    ("spec", "record"), [(BARS, "1|R|\n"), (REGEX, "1: R\n"), (MIXED, "{}\n"), (JOBS, '{"jobs": [{}, {}]}')]
)
def test_an_answer_has_no_more_records_than_are_kept(
    spec: Output, record: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_documents, "MOST", 4)

    assert read(spec, 2 * record).records
    with pytest.raises(OutputError, match=r"^it has more than 4 records. Let the command list less.$"):
        read(spec, 5 * record)


@pytest.mark.parametrize(
    "garbage", ["\x00\ufffd\x1b[2J", "[" * 100_000, '{"jobs": [{"id": ' + "9" * 5000, "{}" * 3, "|||", "-"]
)
@pytest.mark.parametrize("spec", [BARS, SPACES, REGEX, JOBS])
def test_garbage_never_raises_anything_else(spec: Output, garbage: str) -> None:
    try:
        found = read(spec, garbage)
    except OutputError:
        return

    assert found.records


def test_a_line_that_is_cut_off_makes_the_answer_partial() -> None:
    assert read(BARS, "1|R|\n2|R").complete is False
    assert read(BARS, "1|R|\n2|R\n").complete is True  # somebody else's text has a line break


def test_a_part_of_somebody_elses_text_that_has_a_line_break_is_passed_over_and_kept() -> None:
    found = read(BARS, "1|R|x\n5|PD\nsecond line\n2|R|\n")

    assert [record["id"] for record in found.records] == ["1", "2"]
    assert (found.complete, found.unread) == (True, "5|PD\nsecond line\n")


@pytest.mark.parametrize("greeting", ["Welcome to cobalt\n", "[node1] 3 users {here}\n[1] 4711\n", "| node1 |\n"])
def test_a_greeting_before_a_document_is_passed_over_and_kept(greeting: str) -> None:
    found = read(JOBS, f'{greeting}{{"jobs": [\n  {{"id": 7, "state": "R"}}\n]}}')

    assert (found.records, found.complete, found.unread) == ([{"id": "7", "state": "R"}], True, greeting)
    assert read(JOBS, f'{greeting}{{"jobs": []}}').records == []


def test_a_message_after_an_empty_document_is_an_error() -> None:
    with pytest.raises(OutputError):
        read(JOBS, '{"jobs": []}\ncontroller unreachable\n')


def test_a_document_that_is_cut_off_makes_the_answer_partial() -> None:
    found = read(output(json="$", fields={"id": "id"}), '{"id": 1}\n{"id": 2')

    assert (found.records, found.complete) == ([{"id": "1"}], False)


def test_a_banner_before_the_records_is_passed_over_and_kept() -> None:
    found = read(BARS, "Welcome to cobalt\n1|R|\n")

    assert found.records == [{"id": "1", "state": "R", "reason": ""}]
    assert (found.complete, found.unread.strip()) == (True, "Welcome to cobalt")


def test_lines_without_any_part_of_a_match_are_kept() -> None:
    spec = output(regex=r"job (?P<id>\d+)\n +is (?P<state>\w+)")
    found = read(spec, "Hello\nthis: job 1\n is R, long\nodd 2\njob 3\n is R\nodd 4\n")

    assert [record["id"] for record in found.records] == ["1", "3"]
    assert found.unread.split("\n") == ["Hello", "odd 2", "odd 4", ""]


def test_stderr_is_read_where_the_recipe_says_so() -> None:
    spec = output(**{"regex": r"^job (?P<id>\d+) at", "from": "stderr"})

    assert read(spec, "job 1 at", "warning: sh\njob 2 at Mon").records == [{"id": "2"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"path": "a", "regex": "^x-(.*)"}, "1"),
        ({"path": "a", "regex": "x-."}, "x-1"),
        ({"path": "a", "regex": "y", "default": "none"}, "none"),
        ({"path": "b.c", "default": 0}, "0"),
        ({"path": "$.a"}, "x-1"),
        ({"path": "d[*].e"}, "5"),
        ({"path": "d"}, '[{"e": 5}]'),
        ({"path": "b"}, None),
        ({"path": "a.b"}, None),
    ],
)
def test_a_json_field_has_a_path_a_pattern_and_a_default(field: dict[str, str], value: str | None) -> None:
    found = read(output(json="$", fields={"id": field}), json.dumps({"a": "x-1", "b": None, "d": [{"e": 5}]}))

    assert found.records == [{} if value is None else {"id": value}]


def test_a_path_that_is_none_says_why() -> None:
    with pytest.raises(OutputError, match=r"^'\$\.\.\.' is not a JSONPath: "):
        compile_jsonpath("$...")


@pytest.mark.parametrize(
    ("code", "killed"), [(0, False), (1, False), (255, False), (-9, True), (137, True), (143, True)]
)
def test_a_shell_reports_a_signal_as_an_exit_code(code: int, *, killed: bool) -> None:
    assert Printed(exit_code=code).killed is killed


def test_a_pattern_is_looked_for_on_both_streams() -> None:
    printed = Printed("one\ntwo", "three\nfour")

    assert printed.shows("^two$")
    assert printed.shows("^four$")
    assert not printed.shows("two\nthree")
    assert not printed.shows(None)


@pytest.mark.parametrize(
    ("text", "records"),
    [
        (
            '{"jobs": [{"id": 7, "state": "R"}, {"id": 8}], "more": [{"id": 9}]}',
            [{"id": "7", "state": "R"}, {"id": "8"}],
        ),
        ('{"jobs": []}', []),
    ],
)
def test_records_that_are_made_while_their_list_is_read_are_the_same(text, records, monkeypatch):
    monkeypatch.setattr(json_documents, "_SMALL", 0)
    monkeypatch.setattr(json_documents, "_RECORD", 0)

    assert read(JOBS, text).records == records
    with pytest.raises(OutputError, match=r"^not JSON "):
        read(JOBS, text[:-1])
    with pytest.raises(OutputError, match=r"^\$\.jobs\[\*\] finds nothing in "):
        read(JOBS, text.replace("jobs", "other"))
