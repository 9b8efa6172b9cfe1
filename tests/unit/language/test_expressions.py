from __future__ import annotations

import pytest
from language_values import VALUES

from generic_worker.errors import VariableError
from generic_worker.language.expressions import ExpressionError, compile_text
from generic_worker.language.structures import names_in, render_words


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", ["plain"]),
        ("", [""]),
        ("${one}", ["1 one"]),
        ("--x=${one}", ["--x=1 one"]),
        ("${one}${number}", ["1 one4"]),
        ("${number}", ["4"]),
        ("${half}", ["0.5"]),
        ("${yes}", ["true"]),
        ("${few}", ["a", "b c"]),
        ("--x=${few}!", ["--x=a!", "--x=b c!"]),
        ("${nothing}", []),
        ("--x=${nothing}", []),
        ("${few | join(',')}", ["a,b c"]),
        ("${labels | pairs}", ["team=x", "cost=y=1"]),
        ("${labels | pairs(':')}", ["team:x", "cost:y=1"]),
        ("${'a \"b c\"' | words}", ["a", "b c"]),
        ("${labels | json}", ['{"team": "x", "cost": "y=1"}']),
        ("${labels | tojson}", ['{"team": "x", "cost": "y=1"}']),
        ("${(labels | tojson) + '<'}", ['{"team": "x", "cost": "y=1"}<']),
        ("${labels.team}", ["x"]),
        ("${few | map('upper')}", ["A", "B C"]),
        ("${labels.keys()}", ["team", "cost"]),
        ("${few[0]}", ["a"]),
        ("${number + 1}", ["5"]),
        ("${'big' if number > 3 else 'small'}", ["big"]),
        ("${{'a': one}['a']}", ["1 one"]),
        ("${one | default('}')}", ["1 one"]),
        ("$${one}", ["${one}"]),
        ("a$b $ {one}", ["a$b $ {one}"]),
        ("${tricky}", ["${one} {{ one }} $${one}"]),
    ],
)
def test_a_word_becomes_words(word: str, expected: list[str]) -> None:
    assert render_words([word], VALUES) == expected


@pytest.mark.parametrize(
    "word",
    [
        "${absent}",
        "--x=${absent}",
        "${absent}${one}",
        "${absent | upper}",
        "${absent ~ 'x'}",
        "${absent + 'x'}",
        "${'x' + absent}",
        "${absent > 3}",
        "${absent[0]}",
        "${-absent}",
        "${absent.field}",
        "${absent == 'x'}",
        "${one if absent}",
        "${absent or absent}",
        "${[absent]}",
        "${absent | join(',')}",
        "${aws.token}",
        "${missing}",
    ],
)
def test_a_word_with_a_null_is_dropped(word: str) -> None:
    assert render_words([word, "next"], VALUES) == ["next"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("${absent | default('d')}", ["d"]),
        ("${absent or 'd'}", ["d"]),
        ("${'set' if absent else 'unset'}", ["unset"]),
        ("${[absent, one] | select | join('/')}", ["1 one"]),
        ("${[absent, one]}", ["1 one"]),
        ("${'x' if absent is defined else 'y'}", ["y"]),
    ],
)
def test_a_null_can_be_replaced(word: str, expected: list[str]) -> None:
    assert render_words([word], VALUES) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${labels}", "${labels} is a mapping where text is needed: write ${labels | json}, or use a part of it."),
        ("${few}-${few}", "${few}-${few}: two lists in one word: join one of them, as in ${x | join(',')}."),
        ("${number.x}", "${number.x} cannot be worked out: 'int object' has no attribute 'x'"),
        ("${aws.tokn}", "${aws.tokn} cannot be worked out: 'dict object' has no attribute 'tokn'"),
        ("${one + 1}", '${one + 1} cannot be worked out: can only concatenate str (not "int") to str'),
        ("${number / 0}", "${number / 0} cannot be worked out: division by zero"),
        ("${number | words}", "${number | words} cannot be worked out: 'int' object has no attribute 'read'"),
        ('${"it\'s" | words}', '${"it\'s" | words}: the text cannot be split into words: No closing quotation.'),
        (
            "${one.__class__}",
            "${one.__class__} cannot be worked out: access to attribute '__class__' of 'str' object is unsafe.",
        ),
    ],
)
def test_a_value_that_does_not_suit_is_refused(word: str, message: str) -> None:
    with pytest.raises(VariableError) as caught:
        render_words([word], VALUES)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a ${one", "'${one' has no closing brace. Write $${ for a literal ${."),
        ("${one | join(", "'${one | join(' has no closing brace. Write $${ for a literal ${."),
        ("${}", "'${}' is not an expression: it is empty."),
        ("${one two}", "'${one two}' is not an expression: it goes on where it should end."),
        ("${one | joim}", "'${one | joim}' is not an expression: there is no filter 'joim'. Did you mean 'join'?"),
        ("${one | zzz}", "'${one | zzz}' is not an expression: there is no filter 'zzz'."),
        ("${{one}}", "'${{one}}' is not an expression: one pair of braces is enough. Write ${one}."),
        (
            "${one:-two}",
            "'${one:-two}' is not an expression: that is the shell's way. Write ${one | default('two')}.",
        ),
        ("${% if one %}", "'${% if one %}' is not an expression: unexpected '%'."),
        ("${" + 80 * "x" + " y}", "'${" + 60 * "x" + "...}' is not an expression: it goes on where it should end."),
    ],
)
def test_what_is_no_expression_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_text(text)

    assert str(caught.value) == message


def test_jinja_names_are_names_like_others() -> None:
    assert names_in("${range} ${dict} ${namespace}") == {"range", "dict", "namespace"}
    assert render_words(["${range}"], {"range": "1-4"}) == ["1-4"]


def test_a_template_shows_itself_as_it_was_written() -> None:
    assert str(compile_text("a ${ one | upper } b")) == "a ${one | upper} b"


@pytest.mark.parametrize(
    "source", ["'x' * 10**10", "10**10 * 'x'", "9**9**9", "'%10000000000d' % 1", "[1] * 10**9", "x * 10**9"]
)
def test_nothing_is_worked_out_that_does_not_fit_into_memory(source: str) -> None:
    template = compile_text(f"${{ {source} }}")  # without values nothing is worked out at all

    with pytest.raises(VariableError, match="cannot be worked out"):
        template.value({"x": "abc"})


def test_small_products_and_powers_are_worked_out() -> None:
    assert compile_text("${ 'ab' * 3 }").value({}) == "ababab"
    assert compile_text("${ 2**10 % 1000 * cpus }").value({"cpus": 2}) == 48


@pytest.mark.parametrize("text", ["${" + "(" * 2000 + "1" + ")" * 2000 + "}", "${" + "-" * 4000 + "1}"])
def test_an_expression_that_is_nested_too_deeply_says_so(text: str) -> None:
    with pytest.raises(ExpressionError, match="is nested too deeply|has no closing brace"):
        compile_text(text)


def test_an_expression_without_an_end_is_not_sought_for_ever() -> None:
    with pytest.raises(ExpressionError, match="is not an expression"):
        compile_text("${ (" + "}" * 100_000)
