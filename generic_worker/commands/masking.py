"""Which values are secret, why, and how they are kept from being seen: masked in texts, refused in argument vectors.

What counts as a secret is decided here and nowhere else. A value is one

- in `env`, and in every other mapping that a deployment gives, when its name says so (`API_KEY`, `dbPassword`), or when
  it looks like one: an address with a password in it, a JSON web token;
- in a credentials block, unless the name of its field says that it is none (`region_name`): a block is there to hold
  secrets;
- as a variable, when its schema says so (`format: password`).

Labels are none: they are made to be seen. What has fewer than eight characters is not masked, because it is a part of
too many words.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from generic_worker.errors import GenericWorkerError, VariableError
from generic_worker.language.expressions import compile_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from generic_worker.job import JobStatus
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
_SECRET_URL_RE = re.compile(r"://[^/@\s]*:([^/@\s]+)@")
_TOKEN_RE = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
"""A JSON web token."""
_PART_RES = (
    _SECRET_URL_RE,
    re.compile(r"(?i)(?:^|[\s;&?])[\w.-]*(?:key|password|pwd|secret|sig|token)=([^;&\s]+)"),
    re.compile(r"(?i)^(?:basic|bearer|token)\s+(\S+)$"),
    re.compile(r"^[^:\s/]+:(?!//)(\S+)$"),
)
"""What is secret by itself in a value that is: the password of an address, or of `user:password`; a header's token."""
_SHORTEST_SECRET = 8
"""Characters. What is shorter keeps nothing safe, and is in too many words."""
_ASSIGNED_RE = re.compile(r"([\w.-]+)=([^\s'\"]+)")
_SHOWN = "********"
_WORD = 200
"""Characters, at most, of what an infrastructure says of thousands of jobs in the same words again and again."""


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
    return {value: name for name, value in _secrets(values) if len(value) >= _SHORTEST_SECRET}


def _secrets(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, _Password):
            yield name, str(value)
        if isinstance(value, dict) and name != "labels":
            strict = isinstance(value, _Credentials)
            for path, text in texts_in(name, value):
                field = path.rsplit(".", 1)[-1]
                if is_secret_field(field) if strict else is_secret_name(field) or _looks_secret(text):
                    yield path, text


def _looks_secret(text: str) -> bool:
    return ("://" in text and _SECRET_URL_RE.search(text) is not None) or (
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


def mask(text: str, *values: Mapping[str, Any]) -> str:
    """A text without the secrets of jobs, fit for logs, states, events and error messages.

    A text is masked whole, and cut after: of a secret that was cut in two nothing is found. What a program has cut
    itself is masked where half of a secret is left, or where it is the text's beginning or end.

    Args:
        text: The text.
        values: The values of each job that may be spoken of.
    """
    known = [some.secret if isinstance(some, JobValues) else frozenset(secrets(some)) for some in values]
    hidden = _hidden_word if len(text) <= _WORD else _hidden
    return hidden(text, known[0] if len(known) == 1 else frozenset[str]().union(*known))


def mask_named(text: str, values: Mapping[str, Any]) -> str:
    """A text about values that were given, without those that are secret by their names: also in `NAME=value`."""
    given = {name: value if isinstance(value, dict) else {name: value} for name, value in values.items()}

    def shown(found: re.Match[str]) -> str:
        return f"{found[1]}={_SHOWN if is_secret_name(found[1]) else _ASSIGNED_RE.sub(shown, found[2])}"

    return _ASSIGNED_RE.sub(shown, mask(text, given))


def hiding(*values: Mapping[str, Any]) -> Callable[[str], str]:
    """What masks the secrets of jobs in texts; see `mask`."""
    return lambda text: mask(text, *values)


@contextmanager
def masked_errors(values: Mapping[str, Any]) -> Iterator[None]:
    """No error tells a secret: those of expressions quote what they cannot work out."""
    try:
        yield
    except GenericWorkerError as error:
        raise type(error)(mask(str(error), values)) from None


def masked_status(status: JobStatus, values: Mapping[str, Any]) -> JobStatus:
    """A status in whose words there are no secrets of its job."""
    if max(len(status.word), len(status.reason)) < _SHORTEST_SECRET:
        return status
    return replace(status, word=mask(status.word, values), reason=mask(status.reason, values))


def _hidden(text: str, secret: frozenset[str]) -> str:
    forms = _all_forms(secret)
    for form in forms:
        text = text.replace(form, _SHOWN)
    for form in forms:
        text = _without_parts(text, form)
    return text


_hidden_word = lru_cache(maxsize=4096)(_hidden)


@lru_cache(maxsize=256)
def _all_forms(values: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted({form for value in values for form in _forms(value)}, key=len, reverse=True))


def _without_parts(text: str, form: str) -> str:
    """A text without what has been cut off a secret: its first half or more, or what an ellipsis stands beside."""
    text = "...".join(_without_ends(piece, form) for piece in text.split("..."))
    half = form[: max(_SHORTEST_SECRET, (len(form) + 1) // 2)]
    before, *rest = text.split(half)
    return before + "".join(_SHOWN + piece[_shared(piece, form[len(half) :]) :] for piece in rest)


def _without_ends(text: str, form: str) -> str:
    """A text that does not begin with the end of a secret, nor ends with its beginning, nor is most of its middle."""
    if len(text) < _SHORTEST_SECRET:
        return text
    if text in form and 2 * len(text) >= len(form):
        return _SHOWN
    begin = form.find(text[:_SHORTEST_SECRET])
    if begin > 0 and text.startswith(form[begin:]):
        text = _SHOWN + text[len(form) - begin :]
    end = form.find(text[-_SHORTEST_SECRET:]) + _SHORTEST_SECRET
    if end >= _SHORTEST_SECRET and text.endswith(form[:end]):
        text = text[: len(text) - end] + _SHOWN
    return text


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with together."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


@lru_cache(maxsize=1024)
def _forms(value: str) -> tuple[str, ...]:
    """What a program may print of a secret: itself, quoted or encoded in some way, a line of it, the password in it."""
    parts = {value, *(line.strip() for line in value.splitlines()), *_parts(value)}
    return tuple(form for part in parts if len(part) >= _SHORTEST_SECRET for form in _written(part))


def _parts(value: str) -> Iterator[str]:
    """What is secret by itself in a secret value: in headers, in an address, beside a user's name."""
    for pattern in _PART_RES:
        yield from pattern.findall(value)
    if value.lstrip().startswith(("{", "[")):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return
        for _, text in texts_in("", found):
            yield text
            yield from (part for pattern in _PART_RES for part in pattern.findall(text))


def _written(part: str) -> Iterator[str]:
    yield from (part, json.dumps(part)[1:-1], repr(part)[1:-1], quote(part, safe=""))
    yield shlex.quote(part).removeprefix("'").removesuffix("'")
    data = part.encode(errors="surrogateescape")
    for offset in range(3):  # base64 of the secret with something before it: `user:password`
        whole = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        inside = whole[(0, 2, 3)[offset] : len(whole) - (0 if (offset + len(data)) % 3 == 0 else 1)]
        if len(inside) >= _SHORTEST_SECRET:
            yield from {inside, inside.replace("+", "-").replace("/", "_")}


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
