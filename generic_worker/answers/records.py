"""A command's output in, records out. Pure: it runs nothing and knows nothing of jobs.

What cannot be read is an error or makes the answer partial. It never looks like an empty answer: the banner
of a dead controller must not read as "there are no jobs".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from io import StringIO
from itertools import islice
from signal import Signals
from typing import TYPE_CHECKING, Any

from jsonpath_ng import Child, Fields, JSONPath, Root
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext.filter import OPERATOR_MAP
from jsonpath_ng.ext.parser import parse as parse_jsonpath

from generic_worker.answers.fields import LONGEST, text_of
from generic_worker.answers.json_documents import Members, documents, refuse_too_many
from generic_worker.errors import OutputError
from generic_worker.language.operations import JsonField
from generic_worker.language.patterns import matches, search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generic_worker.language.operations import Output
    from generic_worker.language.patterns import Match

Record = dict[str, str]


class _Kept(dict[str, str]):
    """A record in the place of what it was made of."""


_LONGEST = 120
"""Characters of an output that a message quotes."""


_EVERYTHING: Any = parse_jsonpath("$.*")
"""A path with `*` at its end, which is one of the `Fields` for jsonpath-ng 1.8, and something of its own later."""

OPERATOR_MAP["=~"] = lambda value, pattern: isinstance(value, str) and search(pattern, value) is not None
"""A pattern in a path has a time limit, as all have."""

_LIST_RE = re.compile(r"\$((?:\.[a-zA-Z_]\w*)*)\[\*\]", re.ASCII)
"""A path to the members of a list, such as `$.jobs[*]`."""

_DOCUMENT = r"""^[^\S\n]*(?:\{|\[\s*[\[{"\]])"""
"""How a document begins, and no word in brackets such as `[node1]`."""

_KILLED = frozenset(128 + n for n in (Signals.SIGHUP, Signals.SIGINT, Signals.SIGKILL, Signals.SIGTERM))
"""How a shell reports that a signal has ended a program."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command printed and how it ended, whoever ran it.

    Attributes:
        exit_code: Its exit code; negative, the number of the signal that ended it.
        cut: Whether it was stopped after its time limit, or printed more than is kept.
        unreachable: Whether the transport in front of it failed: nobody knows what happened behind it.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    cut: bool = False
    unreachable: bool = False

    @property
    def killed(self) -> bool:
        """Whether a signal ended the command, or a program in the recipe's own shell script."""
        return self.exit_code < 0 or self.exit_code in _KILLED

    def shows(self, pattern: str | None) -> Match | None:
        """The first match of a pattern in what was printed on either stream."""
        if pattern is None:
            return None
        return search(pattern, self.stdout) or search(pattern, self.stderr)

    def without(self, pattern: str | None) -> Printed:
        """The same without the lines in which a pattern matches."""
        kept = [
            "".join(line for line in _lines(text) if not search(pattern or "(?!)", line))
            for text in (self.stdout, self.stderr)
        ]
        return replace(self, stdout=kept[0], stderr=kept[1])


@dataclass(frozen=True, slots=True)
class Records:
    """What was read.

    Attributes:
        records: One mapping of field name to text per record; a field that was not found is missing.
        complete: Whether all of the output was understood. If not, a job that is not in it may still exist.
        unread: Lines that were passed over, such as a login node's banner. A job that they name may exist.
    """

    records: list[Record]
    complete: bool = True
    unread: str = ""


def _lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends, one after the other: to split millions in one call holds up all threads."""
    return StringIO(text, newline="\n")


def read(output: Output, stdout: str, stderr: str = "") -> Records:
    """Read the records in a command's output.

    Raises:
        OutputError: There is output, and nothing in it can be read.
    """
    text = stderr if output.from_ == "stderr" else stdout
    if not text.strip() or not output.reads:
        return Records([])
    if output.regex:
        return _read_regex(output.regex, text)
    if output.columns:
        return _read_columns(output.columns, output.separator, text)
    return _read_json(output, text)


def _read_regex(pattern: str, text: str) -> Records:
    records, unread, end = [], [], 0
    for match in matches(pattern, text):
        if not match[0]:
            continue
        records.append({name: text_of(value.strip()) for name, value in match.groupdict().items() if value is not None})
        refuse_too_many(records)
        if match.start() > end:
            unread.append(_whole_lines(text[end : match.start()], first=not end))
        end = match.end()
    if not records:
        raise OutputError(f"the pattern {pattern!r} matches nothing in {_excerpt(text)}")
    unread.append(_whole_lines(text[end:], first=not end, last=True))
    return Records(records, unread="".join(unread))


def _whole_lines(gap: str, *, first: bool, last: bool = False) -> str:
    """The lines between two matches of which neither match has a part."""
    start = 0 if first else gap.find("\n") + 1 or len(gap)
    return gap[start:] if last else gap[start : gap.rfind("\n") + 1]


def _read_columns(columns: list[str], separator: str | None, text: str) -> Records:
    records, unread, cut_off = [], StringIO(), False
    for line in _lines(text):
        values = line.split(separator, len(columns) - 1)
        if len(values) == len(columns):
            records.append({name: text_of(value.strip()) for name, value in zip(columns, values, strict=True)})
            refuse_too_many(records)
        elif line.strip():  # a greeting, or a part of somebody else's text that has a line break
            unread.write(line)
            cut_off = not line.endswith("\n")
    if not records:
        shown = "white space" if separator is None else repr(separator)
        raise OutputError(f"no line has {len(columns)} columns separated by {shown}: {_excerpt(text)}")
    return Records(records, not cut_off, unread.getvalue())


def _read_json(output: Output, text: str) -> Records:
    path = compile_jsonpath(output.json_path or "$")
    fields = [(name, _alternatives(spec)) for name, spec in (output.fields or {}).items()]
    records: list[Record] = []
    greeting = _greeting(text)
    at = _LIST_RE.fullmatch(output.json_path or "$")
    members = Members(tuple(at[1].split(".")[1:]), lambda value: _Kept(_record(fields, value))) if at else None
    try:
        for document in documents(text[len(greeting) :], members):
            found = path.find(document)
            if not found and not _is_empty_list(path, document):
                raise OutputError(f"{output.json_path} finds nothing in {_excerpt(text)}")
            records += [_record(fields, match.value) for match in found]
            refuse_too_many(records)
    except (ValueError, RecursionError, re.error) as error:
        if records:  # one document per line, and the last one is cut off
            return Records(records, complete=False)
        raise OutputError(f"not JSON ({error}): {_excerpt(text)}") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise OutputError(f"{output.json_path} does not suit {_excerpt(text)}: {error}") from error
    return Records(records, unread=greeting)


def _greeting(text: str) -> str:
    """The lines before the first that a JSON document begins with; none where no line does."""
    match = search(_DOCUMENT, text)
    return text[: match.start()] if match else ""


def _is_empty_list(path: JSONPath, document: object) -> bool:
    """Whether a path that finds nothing, such as `$.jobs[*]`, looked into a list that is there."""
    if not isinstance(path, Child) or (isinstance(path.right, Fields) and path.right != _EVERYTHING.right):
        return False
    parents = path.left.find(document)
    return bool(parents) and all(isinstance(parent.value, list) or parent.value == {} for parent in parents)


def _record(fields: list[tuple[str, list[JsonField]]], value: object) -> Record:
    """The record that a value is about, unless it is one already."""
    if isinstance(value, _Kept):
        return value
    record = {}
    for name, alternatives in fields:
        text = next((text for field in alternatives if (text := _field(field, value)) is not None), None)
        if text is not None:
            record[name] = text_of(text)
    return record


def _field(field: JsonField, value: object) -> str | None:
    text = next((text for item in _found(field.path, value) if (text := _as_text(item)) is not None), None)
    if text is not None and field.regex:
        match = search(field.regex, text)
        text = None if match is None else match[1] if match.re.groups else match[0]
    return field.default if text is None else text


def _found(path: str, value: object) -> Iterator[object]:
    names = _plain_names(path)
    if names is None:
        yield from (match.value for match in compile_jsonpath(path).find(value))
        return
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return
        value = value[name]
    yield value


@lru_cache(maxsize=1024)
def _plain_names(path: str) -> tuple[str, ...] | None:
    """The names of a path such as `status.phase`: looking them up is 20 times faster than searching."""
    names: tuple[str, ...] = ()
    step = compile_jsonpath(path)
    while isinstance(step, Child) and isinstance(step.right, Fields):
        names, step = (*step.right.fields, *names), step.left
    if isinstance(step, Fields):
        names = (*step.fields, *names)
    elif not isinstance(step, Root):
        return None
    return names if names and path.removeprefix("$.") == ".".join(names) and "*" not in names else None


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):  # piece by piece, however large it is
        return "".join(islice(json.JSONEncoder().iterencode(value), LONGEST))
    return json.dumps(value)


def _alternatives(spec: str | JsonField | list[str | JsonField]) -> list[JsonField]:
    alternatives = spec if isinstance(spec, list) else [spec]
    return [
        one if isinstance(one, JsonField) else JsonField(path=one, default=None, regex=None) for one in alternatives
    ]


def _excerpt(text: str) -> str:
    first = text.lstrip()[: 2 * _LONGEST].splitlines()[0]
    return repr(first if len(first) <= _LONGEST else f"{first[:_LONGEST]}...")


def _parse(path: str) -> JSONPath:
    try:
        return parse_jsonpath(path)
    except JSONPathError:
        if "&&" not in path:
            raise
        return parse_jsonpath(path.replace("&&", "&"))  # so jsonpath-ng 1.8 has it, the last for Python 3.10


@lru_cache(maxsize=1024)
def compile_jsonpath(path: str) -> JSONPath:
    """Compile a JSONPath, filters included.

    Raises:
        OutputError: It is not one; the text says why.
    """
    try:
        return _parse(path)
    except (JSONPathError, re.error, RecursionError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OutputError(f"{path!r} is not a JSONPath: {reason}") from error
