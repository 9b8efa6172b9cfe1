"""What single fields mean."""

import pytest

from generic_worker.answers.fields import number_of, reason_of, signal_of, text_of


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-9", -9), ("", None), (None, None), ("undefined", None)])
def test_a_number_is_one_or_none(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("SIGTERM", 15), ("kill", 9), ("0", None), ("?", None)])
def test_a_signal_is_a_number_or_a_name(text, number):
    assert signal_of(text) == number


@pytest.mark.parametrize(("text", "reason"), [("Priority", "Priority"), ("None", ""), ("(null)", ""), ("N/A", "")])
def test_a_word_for_no_reason_is_none(text, reason):
    assert reason_of({"reason": text}) == reason
    assert reason_of({}) == ""


@pytest.mark.parametrize(
    ("found", "text"), [(" é\u2028x\n", " é\u2028x\n"), ("a\0b \ud83d", "a\ufffdb \ufffd"), ("x" * 10**6, "x" * 65_536)]
)
def test_a_text_is_one_that_can_be_kept(found, text):
    assert text_of(found) == text
