"""JSON that is read in steps is what the library makes of it in one, and never holds up the event loop."""

from __future__ import annotations

import json

import pytest

from generic_worker.answers import json_documents
from generic_worker.answers.json_documents import Members, documents
from generic_worker.errors import OutputError

GOOD = [
    "{}", "[]", "[ ]", "{ }", "1", '"x"', "null", "[1, 2,3 ]", '{"a": {"b": {"c": {"d": [1, {"e": 2}]}}}}',
    '[{"a": []}, [], [[[]]], "]", "}", ",", "\\"", "\\u00e9\\ud83d\\ude80"]',
    ' \n{"a" :1 , "b": [true, false, null, -1.5e3]}\t',
    '{"a": 1, "a": 2}', '{"items": [{"id": 1, "x": {"y": [{}]}}, {"id": 2}], "errors": []}', "[NaN, Infinity]",
]  # fmt: skip
BAD = [
    "{", "[", "[1,]", "[1 2]", '{"a"}', '{"a": }', '{"a": 1,}', "{a: 1}", '["x]', "[,1]", '{"a": 1 "b": 2}', "[1", "]",
    '{"a": [1, {"b": }]}', "nonsense", '{"a": 1]', "[1}", "{1: 2}",
]  # fmt: skip


@pytest.fixture(params=[0, 10**9], ids=["in steps", "in one"])
def _size(request, monkeypatch):
    monkeypatch.setattr(json_documents, "_SMALL", request.param)
    monkeypatch.setattr(json_documents, "_RECORD", request.param)


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("text", GOOD)
def test_a_document_is_what_the_library_makes_of_it(text):
    assert repr(list(documents(text))) == repr([json.loads(text)])
    assert repr(list(documents(f"{text}\n{text}"))) == repr([json.loads(text)] * 2)


@pytest.mark.usefixtures("_size")
@pytest.mark.parametrize("text", BAD)
def test_what_the_library_refuses_is_refused(text):
    with pytest.raises(ValueError, match=r"\d"):
        list(documents(text))


@pytest.mark.usefixtures("_size")
def test_documents_before_one_that_is_cut_off_are_read():
    read = []
    with pytest.raises(ValueError, match="char"):
        read.extend(documents('{"a": 1}\n{"a": '))

    found = documents('{"a": 1}\n{"a": ')

    assert (read, next(found)) == ([{"a": 1}], {"a": 1})


@pytest.mark.parametrize(
    ("names", "text", "kept"),
    [
        ((), "[1, [2], {}]", ["1", "[2]", "{}"]),
        ((), '{"a": [1]}', {"a": [1]}),
        (
            ("a", "b"),
            '{"b": [0], "a": {"b": [1, {"b": [2]}], "c": [3]}}',
            {"b": [0], "a": {"b": ["1", "{'b': [2]}"], "c": [3]}},
        ),
        (("a",), '{"a": [1], "b": {"a": [2]}, "a": [3]}', {"a": ["3"], "b": {"a": [2]}}),
        (("a",), '{"a": {"a": [1]}}', {"a": {"a": [1]}}),
        (("a",), '[{"a": [1]}]', [{"a": [1]}]),
        (("a",), '{"a": []}', {"a": []}),
    ],
)
def test_of_the_members_of_one_list_only_what_is_wanted_is_kept(names, text, kept, monkeypatch):
    monkeypatch.setattr(json_documents, "_SMALL", 0)
    monkeypatch.setattr(json_documents, "_RECORD", 0)

    assert list(documents(f"{text}\n{text}", Members(names, str))) == [kept] * 2


@pytest.mark.usefixtures("_size")
def test_what_is_nested_too_deeply_is_an_error():
    with pytest.raises(RecursionError):
        list(documents("[" * 100_000))


RECORDS = '{"id": "4711", "x": [{}]},' * 9_999
DEEP = '{"a": {"b": [[{"c": [[{"d": [' + RECORDS + "[]]}]]}]]}}"


@pytest.mark.parametrize("text", [DEEP, f"[{DEEP}, {DEEP}]", f'["{"x" * 200_000}", {DEEP}]'])
def test_no_large_list_or_mapping_is_read_in_one_call(text, monkeypatch):
    read = json_documents._decode

    def decode(text, position=0):
        value, end = read(text, position)
        assert len(text) - position <= 100_000 or not isinstance(value, (list, dict))
        return value, end

    monkeypatch.setattr(json_documents, "_decode", decode)

    assert list(documents(text)) == [json.loads(text)]


@pytest.mark.parametrize(
    "text",
    ["[" + "1," * 100_000 + "1]", '{"jobs": [' + "{}," * 100_000 + "{}]}", json.dumps(dict.fromkeys(range(100_001)))],
)
def test_more_than_an_answer_may_have_is_refused_before_it_is_read(text):
    with pytest.raises(OutputError) as error:
        list(documents(text))

    assert str(error.value) == "it has more than 100000 records. Let the command list less."


@pytest.mark.parametrize("many", ["{},", "[[]],", '{"a": [{"b": []}]},'])
def test_many_small_lists_and_mappings_in_a_few_are_refused_too(many):
    with pytest.raises(OutputError) as error:
        list(documents(f"[[[[{many * 600_000}0]]]]"))

    assert str(error.value) == "it has more than 500000 lists and mappings. Let the command list less."
