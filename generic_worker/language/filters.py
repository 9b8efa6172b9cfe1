"""The filters that expressions have beside Jinja's own."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError
from generic_worker.language.environment import env_decoder, env_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _words(value: str) -> list[str]:
    """`${command | words}`: a command line's words, split as a shell would."""
    try:
        return shlex.split(value)
    except ValueError as error:
        raise VariableError(f"the text cannot be split into words: {error}.") from error  # it may hold a secret


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


FILTERS = {
    "words": _words,
    "pairs": _pairs,
    "entries": _entries,
    "json": json.dumps,
    "tojson": json.dumps,
    "env_file": env_file,
    "env_decoder": env_decoder,
}
"""Filter name to function."""
