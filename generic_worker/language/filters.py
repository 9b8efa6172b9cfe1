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


def _entries(
    value: Mapping[str, Any] | Sequence[Any], escape: str = "", called: str = "value", named: str = "name"
) -> list[dict[str, Any]]:
    """`${env | entries}`: a mapping as `[{name: ..., value: ...}]`, a list as `[{name: ...}]`, as many APIs want it.

    `escape='$'` doubles that character in the values, for those that would expand it; `called='secureValue'` says how
    they call the value, and `named='key'` how the name.
    """
    if isinstance(value, dict):
        doubled = {key: item.replace(escape, 2 * escape) if escape else item for key, item in value.items()}
        return [{named: key, called: item} for key, item in doubled.items()]
    return [{named: item} for item in value]


def _without(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """`${env | without('PREFECT_API_KEY')}`: a mapping without some of its names."""
    return {name: item for name, item in value.items() if name not in names}


FILTERS = {
    "words": _words,
    "pairs": _pairs,
    "entries": _entries,
    "without": _without,
    "json": json.dumps,
    "tojson": json.dumps,
    "env_file": env_file,
    "env_decoder": env_decoder,
}
"""Filter name to function."""
