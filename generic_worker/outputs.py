"""A command's output in, records out. Pure: it runs nothing and knows nothing of jobs.

What cannot be read is an error or makes the answer partial. It never looks like an empty answer: an operator's banner
on a dead controller must not read as "there are no jobs".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jsonpath_ng import Child, Index, JSONPath, Slice
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext import parse as parse_jsonpath
from jsonpath_ng.ext.filter import Filter
from jsonpath_ng.jsonpath import Wildcard

from generic_worker.errors import OutputError
from generic_worker.recipe import JsonField

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generic_worker.recipe import Output

Record = dict[str, str]


@dataclass(frozen=True, slots=True)
class Records:
    """What was read.

    Attributes:
        records: One mapping of field name to text per record; a field that was not found is missing.
        complete: Whether all of the output was understood. If not, a job that is not in it may still exist.
    """

    records: list[Record]
    complete: bool = True


def read(output: Output, stdout: str, stderr: str = "") -> Records:
    """Read the records in a command's output.

    Raises:
        OutputError: There is output, and nothing in it can be read.
    """
    text = stderr if output.from_ == "stderr" else stdout
    if not text.strip():
        return Records([])
    if output.regex:
        return _read_regex(output.regex, text)
    if output.columns:
        return _read_columns(output.columns, output.separator, text)
    return _read_json(output, text)


def _read_regex(pattern: str, text: str) -> Records:
    records = [
        {name: value.strip() for name, value in match.groupdict().items() if value is not None}
        for match in re.compile(pattern, re.MULTILINE).finditer(text)
    ]
    if not records:
        raise OutputError(f"the pattern {pattern!r} matches nothing in {_excerpt(text)}")
    return Records(records)


def _read_columns(columns: list[str], separator: str | None, text: str) -> Records:
    records, complete = [], True
    for line in text.splitlines():
        if not line.strip():
            continue
        values = line.split(separator, len(columns) - 1)
        if len(values) == len(columns):
            records.append({name: value.strip() for name, value in zip(columns, values, strict=True)})
        else:
            complete = False
    if not records:
        shown = "white space" if separator is None else repr(separator)
        raise OutputError(f"no line has {len(columns)} columns separated by {shown}: {_excerpt(text)}")
    return Records(records, complete)


def _read_json(output: Output, text: str) -> Records:
    path = compile_jsonpath(output.json_path or "$")
    fields = [(name, _alternatives(spec)) for name, spec in (output.fields or {}).items()]
    records = []
    try:
        for document in _documents(text):
            found = path.find(document)
            if not found and not _empty_on_purpose(path, document):
                raise OutputError(f"{output.json_path} finds nothing in {_excerpt(text)}")
            records += [_record(fields, match.value) for match in found]
    except (ValueError, RecursionError, re.error) as error:
        raise OutputError(f"not JSON ({error}): {_excerpt(text)}") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise OutputError(f"{output.json_path} does not suit {_excerpt(text)}: {error}") from error
    return Records(records)


def _documents(text: str) -> Iterator[Any]:
    """Every JSON document in a text: one as a rule, or one per line."""
    decoder = json.JSONDecoder()
    position, end = 0, len(text)
    while position < end:
        while position < end and text[position].isspace():
            position += 1
        if position < end:
            document, position = decoder.raw_decode(text, position)
            yield document


def _empty_on_purpose(path: JSONPath, document: object) -> bool:
    """Whether a path that finds nothing looked into a list that is there, and empty or filtered to nothing."""
    if not (isinstance(path, Child) and isinstance(path.right, (Wildcard, Slice, Index, Filter))):
        return False
    parents = path.left.find(document)
    return bool(parents) and all(isinstance(parent.value, list) for parent in parents)


def _record(fields: list[tuple[str, list[JsonField]]], value: object) -> Record:
    found = ((name, next((t for a in alternatives if (t := _field(a, value)) is not None), None)) for name, alternatives in fields)
    return {name: text for name, text in found if text is not None}


def _field(field: JsonField, value: object) -> str | None:
    texts = (_as_text(match.value) for match in compile_jsonpath(field.path).find(value))
    text = next((t for t in texts if t is not None), None)
    if text is not None and field.regex:
        match = re.search(field.regex, text, re.MULTILINE)
        text = None if match is None else match[1] if match.re.groups else match[0]
    return field.default if text is None else text


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _alternatives(spec: str | list[str] | JsonField) -> list[JsonField]:
    if isinstance(spec, JsonField):
        return [spec]
    return [JsonField(path=path) for path in ([spec] if isinstance(spec, str) else spec)]


def _excerpt(text: str) -> str:
    first = text.strip().splitlines()[0]
    return repr(first if len(first) <= 120 else f"{first[:120]}...")


@lru_cache(maxsize=1024)
def compile_jsonpath(path: str) -> JSONPath:
    """Compile a JSONPath, filters included.

    Raises:
        OutputError: It is not one; the text says why.
    """
    try:
        return parse_jsonpath(path)
    except (JSONPathError, re.error, RecursionError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(f"{path!r} is not a JSONPath: {reason}") from error
