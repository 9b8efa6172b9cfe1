"""recipes/running-in-production.md explains messages that the program really prints."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "recipes" / "running-in-production.md").read_text()
MESSAGES = re.findall(r"^### `(.+)`$", GUIDE, re.MULTILINE)


def test_there_are_messages_to_look_for():
    assert len(MESSAGES) >= 10


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_is_one_of_ours(message):
    texts = (path.read_text() for path in (ROOT / "generic_worker").rglob("*.py"))
    joined = re.compile(r'"\s*\n\s*f?"')  # a literal that goes on in the next line

    assert any(message in joined.sub("", text) for text in texts)
