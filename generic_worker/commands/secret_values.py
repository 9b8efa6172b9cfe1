"""Which values are secret, and why. That is decided here and nowhere else.

A value is one

- in `env`, and in every other mapping that a deployment gives, when its name says so (`API_KEY`, `dbPassword`), or when
  it looks like one: an address with a password in it, a JSON web token;
- in a credentials block, unless the name of its field says that it is none (`region_name`): a block is there to hold
  secrets;
- as a variable, when its schema says so (`format: password`).

Labels are none: they are made to be seen. What has fewer than eight characters is not masked, because it is a part of
too many words.
"""

from __future__ import annotations

import os
import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from generic_worker.language.recipe import Recipe

_SECRET_WORDS = frozenset({
    "auth", "authorization", "bearer", "connection", "cookie", "credential", "credentials", "dsn", "headers", "hmac",
    "jwt", "key", "keys", "pass", "passphrase", "passwd", "password", "pat", "private", "psk", "pwd", "secret",
    "secrets", "signature", "token", "tokens", "webhook", "webhooks",
})  # fmt: skip
_SECRET_END_RE = re.compile(r".*(apikey|accesskey|credentials?|jwt|passphrase|passw(or)?d|secret|secretkey|token)")
_HARMLESS_WORDS = frozenset({
    "account", "arn", "bucket", "cluster", "database", "domain", "email", "endpoint", "host", "hostname", "id",
    "location", "name", "namespace", "organization", "path", "port", "profile", "project", "region", "role", "tenant",
    "type", "uri", "url", "user", "username", "version", "zone",
})  # fmt: skip
SECRET_URL_RE = re.compile(r"://[^:/@\s]*:([^/@\s]+)@")
"""A password in an address. A user's name has no colon there, so each character is looked at once."""
_TOKEN_RE = re.compile(r"(?<![\w-])(?=[\w-]+\.[\w-]{8,}\.)(?:[\w-]*-)?eyJ[\w-]{8,}\.")
"""A JSON web token, looked for once from where each word begins."""
SHORTEST_SECRET = 8
"""Characters. What is shorter keeps nothing safe, and is in too many words."""


class _Credentials(dict[str, Any]):
    """A block's values: they are secret, but for those whose names say that they are not."""


class _Password(str):
    """The value of a variable whose schema says that it is a password."""

    __slots__ = ()


class JobValues(dict[str, Any]):
    """The values of a job, and which of them are secret: that is looked for once, and asked with each of its states."""

    @cached_property
    def secret(self) -> frozenset[str]:
        """The values that must not be shown."""
        return frozenset(secrets(self))


def texts_in(path: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Every text in a value, with where it is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from texts_in(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(path, item)


def marked(recipe: Recipe, name: str, value: Any) -> Any:  # noqa: ANN401
    """A value with a type that says that it is secret, if it is."""
    if name in recipe.blocks and isinstance(value, dict):
        return _Credentials(value)
    return _Password(value) if name in recipe.passwords and isinstance(value, str) else value


def secrets(values: Mapping[str, Any]) -> dict[str, str]:
    """The values that must not be shown, to the name that each has: of `env`, of credentials, and passwords."""
    return {value: name for name, value in _secrets(values) if len(value) >= SHORTEST_SECRET}


def _secrets(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, _Password):
            yield name, str(value)
        if isinstance(value, dict) and name != "labels":
            strict = isinstance(value, _Credentials)
            for path, text in texts_in(name, value):
                field = path.rsplit(".", 1)[-1]
                if is_secret_field(field) if strict else _is_secret(field, text):
                    yield path, text


def _is_secret(name: str, text: str) -> bool:
    if is_secret_name(name):  # but for KEY_FILE=/etc/app.key, AUTH_SOCK=/tmp/agent
        return not (text.startswith("/") and name.lower().endswith(("dir", "file", "path", "sock", "socket")))
    return ("://" in text and SECRET_URL_RE.search(text) is not None) or (
        "eyJ" in text and _TOKEN_RE.search(text) is not None
    )


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a name is that of a secret, as `API_KEY` or `dbPassword` are."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return any(word in _SECRET_WORDS or _SECRET_END_RE.fullmatch(word) for word in words)


def is_secret_field(name: str) -> bool:
    """Whether a field of a credentials block is a secret: all are, but for those whose names say that they are not."""
    return is_secret_name(name) or _HARMLESS_WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower()))


@lru_cache(maxsize=1)
def own_secrets() -> frozenset[str]:
    """The worker's own: what a deployment makes a command read may be anything that the worker may read."""
    return frozenset(secrets({"env": dict(os.environ)}))
