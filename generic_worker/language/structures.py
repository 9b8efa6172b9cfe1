"""Expressions in argument vectors, structures and documents: values in, words, JSON and text out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from generic_worker.language.expressions import compile_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from generic_worker.syntax.source import Path

    Word = str | list[str]


def render_words(words: Sequence[Word], values: Mapping[str, Any]) -> list[str]:
    """Render an argument vector: words in which an expression is null are dropped, lists are spread.

    A group (a nested list) is dropped whole when an expression in it is null or an empty list.

    Raises:
        VariableError: The values do not suit an expression.
    """
    result: list[str] = []
    for word in words:
        if isinstance(word, str):
            result += compile_text(word).words(values) or []
        else:
            group = [compile_text(item).words(values) for item in word]
            result += [one for item in group for one in item or []] if all(group) else []
    return result


def render_structure(structure: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Render the texts in a structure. What is null is left out of its mapping or list; a list in a list is spread.

    Raises:
        VariableError: The values do not suit an expression.
    """
    if isinstance(structure, str):
        return compile_text(structure).value(values)
    if isinstance(structure, dict):
        rendered = {key: render_structure(item, values) for key, item in structure.items()}
        return {key: item for key, item in rendered.items() if item is not None or structure[key] is None}
    if isinstance(structure, list):
        items: list[Any] = []
        for item in structure:
            value = render_structure(item, values)
            if isinstance(item, str) and isinstance(value, list):
                items += value
            elif value is not None or item is None:
                items.append(value)
        return items
    return structure


def render_document(structure: Any, values: Mapping[str, Any]) -> str:  # noqa: ANN401
    """Render standard input or a file: text as text, a structure as JSON.

    Raises:
        VariableError: The values do not suit an expression.
    """
    if structure is None:
        return ""
    if isinstance(structure, str):
        template = compile_text(structure)
        value = template.value(values) if template.whole else template.text(values)
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return json.dumps(render_structure(structure, values))


def names_in(structure: Any) -> frozenset[str]:  # noqa: ANN401
    """The names that the expressions in a text or structure use."""
    return frozenset[str]().union(*(compile_text(text).names for _, text in texts((), structure)))


def texts(path: Path, structure: Any) -> Iterator[tuple[Path, str]]:  # noqa: ANN401
    """Every text in a structure that stands at a path, keys left out: they are never expressions."""
    if isinstance(structure, str):
        yield path, structure
    elif isinstance(structure, dict):
        for key, value in structure.items():
            yield from texts((*path, key), value)
    elif isinstance(structure, list):
        for index, value in enumerate(structure):
            yield from texts((*path, index), value)
