"""Patterns find what they find in `re`, within a time limit."""

import time

import pytest

from generic_worker.language import patterns
from generic_worker.language.patterns import SlowPatternError, fullmatch, groups, matches, search, time_limit

SLOW, LONG = "(?:a|aa)+$", "a" * 80 + "!"


def test_a_pattern_is_searched_for_line_by_line():
    text = "1|R\n2|CD\n"

    assert search(r"^2\|(\w+)$", text)[1] == "CD"
    assert [match["id"] for match in matches(r"^(?P<id>\d)\|", text)] == ["1", "2"]
    assert search(r"^2", text, by_line=False) is None
    assert search("^3", text) is fullmatch("1", text) is None
    assert groups("(?P<id>a)(?P<key>b)") == {"id": 1, "key": 2}


@pytest.mark.parametrize("look", [search, fullmatch, lambda pattern, text: list(matches(pattern, text))])
def test_a_pattern_that_takes_too_long_is_an_error_that_shows_it(monkeypatch, look):
    monkeypatch.setattr(patterns, "_SECONDS", 0.1)
    with pytest.raises(SlowPatternError) as error:
        look(SLOW, LONG)

    assert str(error.value) == (
        f"the pattern {SLOW!r} takes too long for what was printed. Write it without repetitions in repetitions."
    )


def test_all_patterns_in_a_context_have_one_time_limit():
    with time_limit(0.05), time_limit(100):
        for _ in range(2):
            with pytest.raises(SlowPatternError):
                search(SLOW, LONG)
        with pytest.raises(SlowPatternError):
            search("a", "a")
        with pytest.raises(SlowPatternError):
            list(matches("a", "a"))
    assert search("a", "a")


def test_what_is_done_between_matches_is_not_counted():
    with time_limit(0.05):
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        assert len(list(matches("a", "aaa"))) == 3
