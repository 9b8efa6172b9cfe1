"""The filters that expressions have beside Jinja's own."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST_LINE = 15_000
"""Characters of a value in an environment file: podman and docker read lines of at most 64 KiB."""


def _words(value: str) -> list[str]:
    """`${command | words}`: a command line's words, split as a shell would."""
    try:
        return shlex.split(value)
    except ValueError as error:
        raise VariableError(f"the text cannot be split into words: {error}.") from error  # it may hold a secret


def _names(value: Mapping[str, Any]) -> list[str]:
    """`${env | names}`: a mapping's keys."""
    return list(value)


def _pairs(value: Mapping[str, Any], separator: str = "=") -> list[str]:
    """`${labels | pairs}`: a mapping's entries as `key=value`."""
    return [f"{key}{separator}{item}" for key, item in value.items()]


def _entries(value: Mapping[str, Any] | Sequence[Any], escape: str = "", called: str = "value") -> list[dict[str, Any]]:
    """`${env | entries}`: a mapping as `[{name: ..., value: ...}]`, a list as `[{name: ...}]`, as many APIs want it.

    `escape='$'` doubles that character in the values, for those that would expand it; `called='secureValue'` says how
    they call the value.
    """
    if isinstance(value, dict):
        doubled = {key: item.replace(escape, 2 * escape) if escape else item for key, item in value.items()}
        return [{"name": key, called: item} for key, item in doubled.items()]
    return [{"name": item} for item in value]


def _env_file(value: Mapping[str, Any]) -> str:
    """`${env | env_file}`: a mapping as lines `NAME=value`, as `docker run --env-file` reads them."""
    beside = _not_in_env_file(value)
    return "".join(f"{name}={item}\n" for name, item in value.items() if name not in beside and item is not None)


def _not_in_env_file(value: Mapping[str, Any]) -> dict[str, Any]:
    """`${env | not_in_env_file}`: what `env_file` leaves out, because no line can hold it."""
    return {
        name: item for name, item in value.items() if re.search(r"[\r\n]", str(item)) or len(str(item)) > _LONGEST_LINE
    }


FILTERS = {
    "words": _words,
    "names": _names,
    "pairs": _pairs,
    "entries": _entries,
    "json": json.dumps,
    "tojson": json.dumps,
    "env_file": _env_file,
    "not_in_env_file": _not_in_env_file,
}
"""Filter name to function."""
