"""The filters that expressions have beside Jinja's own."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from generic_worker.errors import VariableError
from generic_worker.language.environment import env_decoder, env_file
from generic_worker.language.guardian import term_to_all

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


def _together(value: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`${labels | together({'key': job_key})}`: a mapping with the entries of another, which come first."""
    return {**value, **other}


_LONGEST_NAME = 63
"""Characters of a label's value, or of a name, that Kubernetes and DNS allow."""


def _slug(value: str, longest: int = _LONGEST_NAME) -> str:
    """`${flow_run_name | slug(40)}`: a text as a name of lower case letters, digits and dashes, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "-", value.lower())
    return re.sub(r"^[^a-z]+", "", plain)[:longest].strip("-")


def _k8s_labels(value: Mapping[str, Any]) -> dict[str, str]:
    """`${labels | k8s_labels}`: labels as Kubernetes takes them. What is not allowed becomes a dash, or is left out."""
    named = ((_label_name(name), item) for name, item in value.items())
    return {name: _label_text(str(item)) for name, item in named if name}


def _label_name(name: str) -> str:
    """A label's name, with its prefix; empty where nothing of it is allowed."""
    prefix, _, text = name.rpartition("/")
    domain = re.sub(r"[^a-z0-9.]+", "-", prefix.lower())[:253]
    parts = filter(None, (part.strip("-") for part in domain.split(".")))
    domain, text = ".".join(parts), _label_text(text)
    return f"{domain}/{text}" if domain and text else text


def _label_text(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text)[:_LONGEST_NAME].strip("-_.")


FILTERS = {
    "words": _words,
    "pairs": _pairs,
    "entries": _entries,
    "without": _without,
    "together": _together,
    "slug": _slug,
    "k8s_labels": _k8s_labels,
    "term_to_all": term_to_all,
    "json": json.dumps,
    "tojson": json.dumps,
    "env_file": env_file,
    "env_decoder": env_decoder,
}
"""Filter name to function."""
