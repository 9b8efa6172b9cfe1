"""What counts as a secret."""

from __future__ import annotations

import pytest
from sample_recipe import recipe, values

from generic_worker.commands.secret_values import is_secret_field, is_secret_name, secrets

SECRETIVE = """\
variables:
  aws: {block: aws-credentials}
  pin: {type: string, format: password}
  settings: {type: object}
"""


@pytest.mark.parametrize(
    "name",
    [
        *(
            "API_KEY",
            "PASSWORD",
            "DB_PASSWORD",
            "dbPassword",
            "APIKEY",
            "GH_TOKEN",
            "AUTHTOKEN",
            "AWS_SECRET_ACCESS_KEY",
        ),
        *("GITHUB_JWT", "sessionJwt", "API_BEARER", "SLACK_WEBHOOK_URL", "HMAC_SHA256", "PROXY_AUTHORIZATION"),
        *("PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS", "AZURE_CONNECTION_STRING", "GITHUB_PAT", "dsn"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PATH", "MONKEY", "TOKENIZERS_PARALLELISM", "PREFECT_API_URL", "AUTHOR", "OMP_NUM_THREADS"]
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("value", True), ("connection_string", True), ("aws_access_key_id", True), ("sas", True)),
        *(("region_name", False), ("endpoint_url", False), ("project", False), ("username", False)),
    ],
)
def test_a_blocks_field_is_secret_unless_its_name_says_otherwise(name: str, expected: object) -> None:
    assert is_secret_field(name) is expected


def test_secrets_are_told_by_name() -> None:
    subject = recipe("  run: [launch]\n  env: {A: '${aws}', B: '${pin}', C: '${settings}'}\n", SECRETIVE)
    variables = {
        "aws": {
            "region_name": "eu-west-1",
            "value": "block-value",
            "nested": {"api": "nested-value"},
            "short": "1234567",
        },
        "pin": "pin-12345",
        "settings": {"token": "settings-token", "colour": "ultramarine"},
    }
    env = {"API_KEY": "env-key-1", "URL": "https://me:in-the-address@host/", "PLAIN": "plain-value", "TOKEN": "short"}

    assert secrets(values(subject, variables, env=env, labels={"token": "label-is-none"})) == {
        "block-value": "aws.value",
        "nested-value": "aws.nested.api",
        "pin-12345": "pin",
        "settings-token": "settings.token",
        "env-key-1": "env.API_KEY",
        "https://me:in-the-address@host/": "env.URL",
    }


def test_a_path_is_no_secret_where_the_name_says_that_it_is_one() -> None:
    env = {"TLS_KEY_FILE": "/etc/tls/app.key", "SSH_AUTH_SOCK": "/tmp/agent.1", "API_KEY": "/looks/like/a/path"}

    assert secrets({"env": env}) == {"/looks/like/a/path": "env.API_KEY"}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://me:pass:word@host", True),
        ("https://host:80/a@b", False),
        ("is eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln.", True),
        ("session-eyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln", True),
        ("before.eyJhbGciOiJ9.eyJzdWIiOiJ9.", True),
        ("meyJhbGciOiJ9.eyJzdWIiOiJ9.c2ln", False),
        ("eyJhbGciOiJ9.eyJzdWIiOiJ9", False),
    ],
)
def test_what_looks_like_a_secret_is_one(text: str, secret: object) -> None:
    assert bool(secrets({"env": {"PLAIN": text}})) is secret
