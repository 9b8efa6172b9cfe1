"""What counts as a secret, and how it is masked."""

from __future__ import annotations

import base64
import json
import signal

import pytest
from sample_recipe import recipe, values

from generic_worker.commands.masking import mask, mask_named, masked_status
from generic_worker.commands.secret_values import secrets
from generic_worker.job import JobState, JobStatus


def test_secrets_are_masked_in_every_form_in_which_programs_print_them() -> None:
    subject = recipe("  run: [launch]\n")
    secret = "first 'line' \\ é\nsecond line\r\nab\n"
    address = "postgres://me:pass-word-1@host/db"
    given = values(subject, env={"TOKEN": secret, "DSN": address, "SHORT_KEY": "abc"})
    told = [
        secret,
        json.dumps(secret),
        repr(secret),
        "it says: second line.",
        address,
        "no password: pass-word-1",
        "abc",
    ]

    assert [mask(text, given) for text in told] == [
        "********",
        '"********"',
        '"********"',
        "it says: ********.",
        "********",
        "no password: ********",
        "abc",
    ]


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("PREFECT_API_AUTH_STRING", "admin:s3cret-pass", "s3cret-pass"),
        (
            "PREFECT_CLIENT_CUSTOM_HEADERS",
            '{"X-Gate": "s3cret-gate", "Authorization": "Bearer s3cret-bearer"}',
            "s3cret-gate",
        ),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"Authorization": "Bearer s3cret-bearer"}', "s3cret-bearer"),
        ("DSN", "host=db user=me password=s3cret-pass", "s3cret-pass"),
        ("DSN", "postgres://me:s3cret:pass@db", "s3cret:pass"),
        ("STORAGE_CONNECTION", "AccountName=me;AccountKey=s3cret/pass==;Suffix=x", "s3cret/pass=="),
        (
            "TICKET",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.c2lnbmVk",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.c2lnbmVk",
        ),
    ],
)
def test_what_is_secret_in_a_value_is_masked_by_itself(name: str, value: str, secret: str) -> None:
    given = values(recipe("  run: [launch]\n"), env={name: value})

    assert mask(f"refused: {secret}.", given) == "refused: ********."


@pytest.mark.parametrize("before", ["", "a", "me:", "user:", "a longer user: "])
def test_base64_of_a_secret_is_masked_wherever_it_begins(before: str) -> None:
    secret = "s3cret-p\u00e4ss?>~~"
    given = values(recipe("  run: [launch]\n"), env={"PASSWORD": secret})
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(f"{before}{secret}:".encode()).decode()
        shown = mask(f"Authorization: Basic {encoded}", given)

        assert "********" in shown
        assert not any(encoded[at : at + 8] in shown for at in range(len(before) * 4 // 3 + 1, len(encoded) - 10))


def test_a_secret_that_was_cut_in_two_is_masked() -> None:
    secret = "the-0123456789-secret-abcdefghijklmnopq-ends"
    given = values(recipe("  run: [launch]\n"), env={"API_KEY": secret})

    assert [mask(text, given) for text in (secret[4:] + " is bad", f"bad: {secret[:9]}", secret[2:-2])] == [
        "******** is bad",
        "bad: ********",
        "********",
    ]
    assert mask(f"key {secret[:40]}... is bad, {secret[:23]}~ too", given) == "key ********... is bad, ********~ too"
    assert mask("found '****** the-0123456...', why", given) == "found '****** ********...', why"
    assert mask("the-0123 is a job of the-0", given) == "the-0123 is a job of the-0"


def test_a_status_is_masked_in_the_infrastructures_own_words() -> None:
    given = values(recipe("  run: [launch]\n"), env={"API_KEY": "s3cret-key"})
    status = JobStatus(JobState.FAILED, "Error(s3cret-key)", "cannot start: s3cret-key", 1)

    assert masked_status(status, given) == JobStatus(JobState.FAILED, "Error(********)", "cannot start: ********", 1)


def test_a_status_is_no_longer_than_anybody_reads_and_is_cut_after_it_was_masked() -> None:
    given = values(recipe("  run: [launch]\n"), env={"API_KEY": "s3cret-key"})
    status = JobStatus(JobState.FAILED, "Error", 4090 * "x" + "s3cret-key" + 100 * "y", 1)

    assert masked_status(status, given).reason == 4090 * "x" + "******..."


def test_what_is_said_of_a_value_shows_no_secret_in_it() -> None:
    said = "['--env=DB_PASSWORD=hunter2x', '--name=x'] is too long"

    assert mask_named(said, {"options": ["--env=DB_PASSWORD=hunter2x"]}) == (
        "['--env=DB_PASSWORD=********', '--name=x'] is too long"
    )
    said = "A=1,B=2,TOKEN=x=y z PASSWORD= TOKEN='z' ==KEY=-"
    assert mask_named(said, {}) == "A=1,B=2,TOKEN=******** z PASSWORD= TOKEN='z' ==KEY=********"
    assert mask_named("'hunter2x' is not a number", {"api_token": "hunter2x"}) == "'********' is not a number"


@pytest.mark.parametrize(
    "piece", [":", "a", "a=", "eyJ-", "aaaaaaaa.", "key", " key=", "://a:", "token ", "...", "Aa", "{", "\\", "'", " "]
)
def test_a_text_is_looked_through_once_however_long_it_is(piece: str) -> None:
    def late(*_: object) -> None:
        raise AssertionError("It takes more than its length")

    text = f"://{200_000 // len(piece) * piece}"
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)  # seconds, and minutes where each character is looked at from each other
    try:
        assert secrets({"env": {"PLAIN": text, "A_KEY": text}}) == {text: "env.A_KEY"}
        assert mask(f"it says {text}", {"env": {"A_KEY": text}}) == "it says ********"
        assert mask_named(f"{text} is too long", {}).endswith("long")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
