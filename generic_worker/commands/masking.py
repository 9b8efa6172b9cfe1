"""How secrets are kept from being seen: masked in texts, refused in argument vectors. `secret_values` says which."""

from __future__ import annotations

import base64
import json
import re
import shlex
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from generic_worker.commands.secret_values import (
    SECRET_URL_RE,
    SHORTEST_SECRET,
    JobValues,
    is_secret_name,
    own_secrets,
    secrets,
    texts_in,
)
from generic_worker.errors import GenericWorkerError, VariableError
from generic_worker.language.expressions import compile_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from generic_worker.job import JobStatus

_PART_RES = (
    SECRET_URL_RE,
    re.compile(r"(?i)(?:^|[\s;&?])[\w.-]*(?:key|password|pwd|secret|sig|token)=([^;&\s]+)"),
    re.compile(r"(?i)^(?:basic|bearer|token)\s+(\S+)$"),
    re.compile(r"^[^:\s/]+:(?!//)(\S+)$"),
)
"""What is secret by itself in a value that is: the password of an address, or of `user:password`; a header's token."""
_WORD_RE = re.compile(r"[^\s'\"]+")
_ASSIGNED_RE = re.compile(r"(?<![\w.-])([\w.-]+)=(?=.)", re.DOTALL)
_SHOWN = "********"
_LONGEST = 4096
"""Characters of what an infrastructure says that are shown: as many as a container's last words have in Kubernetes."""
_WORD = 200
"""Characters, at most, of what an infrastructure says of thousands of jobs in the same words again and again."""


def mask(text: str, *values: Mapping[str, Any]) -> str:
    """A text without the secrets of jobs and the worker's own, fit for logs, states, events and error messages.

    A text is masked whole, and cut after: of a secret that was cut in two nothing is found. What a program has cut
    itself is masked where half of a secret is left, or where it is the text's beginning or end.

    Args:
        text: The text.
        values: The values of each job that may be spoken of.
    """
    return _masked(text, _known(values))


def _masked(text: str, secret: frozenset[str]) -> str:
    hidden = _hidden_word if len(text) <= _WORD else _hidden
    return hidden(text, secret)


def _known(values: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The secrets of jobs and the worker's own. Most jobs have the same ones."""
    found = {some.secret if isinstance(some, JobValues) else frozenset(secrets(some)) for some in values}
    return _together(own_secrets(), frozenset(found))


@lru_cache(maxsize=256)
def _together(own: frozenset[str], others: frozenset[frozenset[str]]) -> frozenset[str]:
    return own.union(*others)


def mask_named(text: str, values: Mapping[str, Any]) -> str:
    """A text about values that were given, without those that are secret by their names: also in `NAME=value`."""
    given = {name: value if isinstance(value, dict) else {name: value} for name, value in values.items()}

    def shown(found: re.Match[str]) -> str:
        secret = next((one for one in _ASSIGNED_RE.finditer(found[0]) if is_secret_name(one[1])), None)
        return found[0] if secret is None else f"{found[0][: secret.end()]}{_SHOWN}"

    return _WORD_RE.sub(shown, mask(text, given))


def hiding(*values: Mapping[str, Any]) -> Callable[[str], str]:
    """What masks the secrets of jobs in texts; see `mask`. They are looked for when the first text is masked."""
    known = cache(lambda: _known(values))
    return lambda text: _masked(text, known())


@contextmanager
def masked_errors(values: Mapping[str, Any]) -> Iterator[None]:
    """No error tells a secret: those of expressions quote what they cannot work out."""
    try:
        yield
    except GenericWorkerError as error:
        raise type(error)(mask(str(error), values)) from None


def masked_status(status: JobStatus, values: Mapping[str, Any]) -> JobStatus:
    """A status in whose words there are no secrets of its job."""
    if max(len(status.word), len(status.reason)) < SHORTEST_SECRET:
        return status
    hide = hiding(values)
    return replace(status, word=shortened(hide, status.word), reason=shortened(hide, status.reason))


def shortened(hide: Callable[[str], str], text: str) -> str:
    """A text without its secrets, and no longer than anybody reads. It is masked first and cut after."""
    text = hide(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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
    half = form[: max(SHORTEST_SECRET, (len(form) + 1) // 2)]
    before, *rest = text.split(half)
    return before + "".join(_SHOWN + piece[_shared(piece, form[len(half) :]) :] for piece in rest)


def _without_ends(text: str, form: str) -> str:
    """A text that does not begin with the end of a secret, nor ends with its beginning, nor is most of its middle."""
    if len(text) < SHORTEST_SECRET:
        return text
    if text in form and 2 * len(text) >= len(form):
        return _SHOWN
    begin = form.find(text[:SHORTEST_SECRET])
    if begin > 0 and text.startswith(form[begin:]):
        text = _SHOWN + text[len(form) - begin :]
    end = form.find(text[-SHORTEST_SECRET:]) + SHORTEST_SECRET
    if end >= SHORTEST_SECRET and text.endswith(form[:end]):
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
    return tuple(form for part in parts if len(part) >= SHORTEST_SECRET for form in _written(part))


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
        if len(inside) >= SHORTEST_SECRET:
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
