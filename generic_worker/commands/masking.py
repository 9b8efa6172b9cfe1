"""Which values are secret, why, and how they are kept from being seen: masked in texts, refused in argument vectors.

What counts as a secret is decided here and nowhere else. A value is one

- in `env`, and in every other mapping that a deployment gives, when its name says so (`API_KEY`, `dbPassword`), or when
  it is an address with a password in it;
- in a credentials block, unless the name of its field says that it is none (`region_name`): a block is there to hold
  secrets;
- as a variable, when its schema says so (`format: password`).

Labels are none: they are made to be seen. What has fewer than eight characters is not masked, because it is a part of
too many words.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError
from generic_worker.language.expressions import compile_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from generic_worker.language.recipe import Recipe

_SECRET_WORDS = frozenset({
    "auth", "connection", "cookie", "credential", "credentials", "dsn", "headers", "key", "keys", "pass", "passphrase",
    "passwd", "password", "pat", "private", "pwd", "secret", "secrets", "signature", "token", "tokens",
})  # fmt: skip
_SECRET_END_RE = re.compile(r".*(apikey|accesskey|credentials?|passphrase|passw(or)?d|secret|secretkey|token)")
_HARMLESS_WORDS = frozenset({
    "account", "arn", "bucket", "cluster", "database", "domain", "email", "endpoint", "host", "hostname", "id",
    "location", "name", "namespace", "organization", "path", "port", "profile", "project", "region", "role", "tenant",
    "type", "uri", "url", "user", "username", "version", "zone",
})  # fmt: skip
_SECRET_URL_RE = re.compile(r"://[^/@\s]*:([^/@\s]+)@")
_SHORTEST_SECRET = 8
"""Characters. What is shorter keeps nothing safe, and is in too many words."""


class _Credentials(dict[str, Any]):
    """A block's values: they are secret, but for those whose names say that they are not."""


class _Password(str):
    """The value of a variable whose schema says that it is a password."""

    __slots__ = ()


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
    return {value: name for name, value in _secrets(values) if len(value) >= _SHORTEST_SECRET}


def _secrets(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, _Password):
            yield name, str(value)
        if isinstance(value, dict) and name != "labels":
            strict = isinstance(value, _Credentials)
            for path, text in texts_in(name, value):
                field = path.rsplit(".", 1)[-1]
                if is_secret_field(field) if strict else is_secret_name(field) or _SECRET_URL_RE.search(text):
                    yield path, text


def is_secret_name(name: str) -> bool:
    """Whether a name is that of a secret, as `API_KEY` or `dbPassword` are."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return any(word in _SECRET_WORDS or _SECRET_END_RE.fullmatch(word) for word in words)


def is_secret_field(name: str) -> bool:
    """Whether a field of a credentials block is a secret: all are, but for those whose names say that they are not."""
    return is_secret_name(name) or _HARMLESS_WORDS.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def mask(text: str, values: Mapping[str, Any]) -> str:
    """A text without the secrets of a job, fit for logs and error messages."""
    for form in sorted({form for value in secrets(values) for form in _forms(value)}, key=len, reverse=True):
        text = text.replace(form, "********")
    return text


def _forms(value: str) -> Iterator[str]:
    """What a program may print of a secret: itself, quoted in some way, a line of it, the password in an address."""
    parts = [value, *(line.strip() for line in value.splitlines()), *_SECRET_URL_RE.findall(value)]
    for part in parts:
        if len(part) >= _SHORTEST_SECRET:
            yield from (
                part,
                json.dumps(part)[1:-1],
                repr(part)[1:-1],
                shlex.quote(part).removeprefix("'").removesuffix("'"),
            )


def refuse_secrets(verb: str, words: Iterable[str], values: Mapping[str, Any]) -> None:
    """Refuse a command line on which an expression that names something secret has put it.

    What stands there for another reason is no leak: the recipe's own text, or a value from elsewhere that is the same.

    Args:
        verb: The operation's name, for the message.
        words: The words of the command line, as the recipe has them.
        values: The values that they are rendered with.

    Raises:
        VariableError: It would hold one; the text names it, and does not show it.
    """
    for expression in (part for text in words for part in compile_text(text).parts if not isinstance(part, str)):
        named = secrets({name: values[name] for name in expression.names if name in values})
        shown = [text for _, text in texts_in("", expression.value(values))] if named else []
        for value, name in named.items():
            if any(form in text for form in _forms(value) for text in shown):
                raise VariableError(
                    f"{verb}: its command line would hold the value of {name}, for every user of the host to see. Pass "
                    "it through stdin, files or the recipe's env."
                )
