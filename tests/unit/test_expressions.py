import pytest

from generic_worker.expressions import compile_text, names_in, render_structure


def test_entries_are_what_many_apis_call_an_environment():
    rendered = render_structure({"env": "${env | entries}"}, {"env": {"A": "1", "B": "x=y\n"}})

    assert rendered == {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y\n"}]}


def test_entries_of_a_list_have_names_only():
    rendered = render_structure({"pullSecrets": "${secrets | entries}"}, {"secrets": ["one", "two"]})

    assert rendered == {"pullSecrets": [{"name": "one"}, {"name": "two"}]}


def test_entries_double_what_the_far_side_would_expand():
    rendered = render_structure("${env | entries(escape='$')}", {"env": {"A": "a$(B)$$"}})

    assert rendered == [{"name": "A", "value": "a$$(B)$$$$"}]


@pytest.mark.parametrize("name", ["namespace", "range", "dict"])
def test_a_variable_may_have_the_name_of_a_function_of_the_expression_language(name):
    assert names_in(f"${{{name}}}") == {name}
    assert compile_text(f"x-${{{name}}}").value({name: "mine"}) == "x-mine"
    assert compile_text(f"x-${{{name}}}").value({}) is None
