"""`${expression}`: a text with expressions in it, and what becomes of it with values.

An expression is Jinja's, sandboxed, and never a statement. A value is rendered once and never read as an expression
itself. Nothing here builds shell text: in the shell form values travel as environment variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, KeysView, ValuesView
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.exceptions import TemplateError
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from generic_worker.errors import GenericWorkerError, VariableError
from generic_worker.language.filters import FILTERS
from generic_worker.syntax.source import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ExpressionError(GenericWorkerError):
    """An expression cannot be read; its text says which and why."""


class _NullUsedError(Exception):
    """An expression needs the value of a name that has none."""


class _Null(StrictUndefined):
    """A name without a value: usable with `default` and in conditions, otherwise it makes its expression null."""

    def _fail_with_undefined_error(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ANN401
        if self._undefined_obj is missing:
            raise _NullUsedError
        super()._fail_with_undefined_error(*args, **kwargs)

    __iter__ = __str__ = __len__ = __contains__ = __eq__ = __ne__ = _fail_with_undefined_error
    __lt__ = __le__ = __gt__ = __ge__ = __call__ = __getitem__ = __int__ = __float__ = _fail_with_undefined_error
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = __pos__ = _fail_with_undefined_error
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _fail_with_undefined_error
    __hash__ = StrictUndefined.__hash__  # type: ignore[assignment]

    def __bool__(self) -> bool:  # type: ignore[override]
        if self._undefined_obj is not missing:
            self._fail_with_undefined_error()
        return False


def _settled(value: Any) -> Any:  # noqa: ANN401
    """A result without what is lazy, and a list without what is null."""
    if isinstance(value, (list, tuple, set, Iterator, KeysView, ValuesView)):
        return [item for item in value if item is not None and not isinstance(item, Undefined)]
    return value


_LONGEST = 60
"""Characters of an expression that a message shows."""
_LONGEST_EXPRESSION = 5000
"""Characters of an expression that is tried to be read."""
_LARGEST, _LARGEST_POWER = 1_000_000, 64
"""Characters or items that a repeated text or list may have; and an exponent."""

_NESTED_RE = re.compile(r"\{\s*(.*?)\s*\}?")
_SHELL_DEFAULT_RE = re.compile(r"(\w+):?-(.*)")
_NO_FILTER_RE = re.compile(r"No filter named '([^']*)'")


class _Bounded(SandboxedEnvironment):
    """Works out nothing before there are values, and no value that would not fit into memory."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        """Work out a product, a power or a format, if it stays small."""
        if operator == "%" and isinstance(left, str):
            raise TypeError("there is no format with %. Join texts with ~")
        factors = (left, right) if isinstance(right, (int, float)) else (right, left)
        if operator == "*" and isinstance(factors[0], (str, list, tuple)) and len(factors[0]) * factors[1] > _LARGEST:
            raise OverflowError(f"it has more than {_LARGEST} characters or items")
        if operator == "**" and (abs(left) > _LARGEST or abs(right) > _LARGEST_POWER):
            raise OverflowError("the number is too large")
        return super().call_binop(context, operator, left, right)


_JINJA = _Bounded(undefined=_Null, autoescape=False, optimized=False)
_JINJA.globals.clear()  # Jinja's own `namespace`, `range` and `dict`: a variable may be called so
_JINJA.filters.update(FILTERS)


@dataclass(frozen=True, slots=True)
class _Expression:
    source: str
    names: frozenset[str]
    function: Callable[..., Any]

    def value(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """The expression's value; None if it needs a name that has no value.

        Raises:
            VariableError: The values do not suit the expression.
        """
        if self.source in self.names:  # just a name: by far the most frequent
            return values.get(self.source)
        try:
            result = _settled(self.function({name: v for name in self.names if (v := values.get(name)) is not None}))
        except _NullUsedError:
            return None
        except VariableError as error:
            raise VariableError(f"${{{self.source}}}: {error}") from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise VariableError(f"${{{self.source}}} cannot be worked out: {error}") from error
        if not isinstance(result, Undefined):
            return result
        if result._undefined_obj is missing:  # noqa: SLF001 - Jinja has no other way to tell
            return None
        raise VariableError(f"${{{self.source}}} cannot be worked out: {result._undefined_message}")  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Template:
    """A text with expressions in it.

    Attributes:
        parts: Literal text and expressions, in order.
        names: The names that its expressions use.
    """

    parts: tuple[str | _Expression, ...]
    names: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether it is one expression and nothing else, so that its value keeps its type."""
        return len(self.parts) == 1 and isinstance(self.parts[0], _Expression)

    def value(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """A whole expression's value as it is, else text; None if any expression in it is null."""
        found = self._evaluated(values)
        if found is None or self.whole:
            return None if found is None else found[0]
        for part, value in zip(self.parts, found, strict=True):
            if isinstance(part, _Expression) and isinstance(value, list):
                raise VariableError(f"${{{part.source}}} is a list inside text: write ${{{part.source} | join(',')}}.")
        return "".join(as_text(value, part) for part, value in zip(self.parts, found, strict=True))

    def text(self, values: Mapping[str, Any]) -> str:
        """Text for standard input or a file, with nothing where an expression is null."""
        return "".join(
            part if isinstance(part, str) else "" if (value := part.value(values)) is None else as_text(value, part)
            for part in self.parts
        )

    def words(self, values: Mapping[str, Any]) -> list[str] | None:
        """The words of an argument vector that this word stands for; None when an expression in it is null.

        A list makes one word per item, each with the text around it.
        """
        found = self._evaluated(values)
        if found is None:
            return None
        lists = [index for index, value in enumerate(found) if isinstance(value, list)]
        if not lists:
            return ["".join(as_text(value, part) for part, value in zip(self.parts, found, strict=True))]
        if len(lists) > 1:
            raise VariableError(f"{self}: two lists in one word: join one of them, as in ${{x | join(',')}}.")
        words = []
        for item in found[lists[0]]:
            filled = [*found[: lists[0]], item, *found[lists[0] + 1 :]]
            words.append("".join(as_text(value, part) for part, value in zip(self.parts, filled, strict=True)))
        return words

    def __str__(self) -> str:
        return "".join(part if isinstance(part, str) else f"${{{part.source}}}" for part in self.parts)

    def _evaluated(self, values: Mapping[str, Any]) -> list[Any] | None:
        found = [part if isinstance(part, str) else part.value(values) for part in self.parts]
        return None if any(value is None for value in found) else found


@lru_cache(maxsize=4096)
def compile_text(text: str) -> Template:
    """Read a text with expressions.

    Raises:
        ExpressionError: An expression is not closed, or is not Jinja's.
    """
    parts: list[str | _Expression] = []
    literal, position = "", 0
    while (start := text.find("${", position)) >= 0:
        literal += text[position:start]
        if literal.endswith("$"):  # $${ is how to write ${ itself
            literal, position = literal + "{", start + 2
            continue
        expression, position = _first_expression(text, start)
        parts += [literal, expression] if literal else [expression]
        literal = ""
    literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    names = frozenset[str]().union(*(part.names for part in parts if isinstance(part, _Expression)))
    return Template(tuple(parts), names)


def _first_expression(text: str, start: int) -> tuple[_Expression, int]:
    """The expression whose `${` stands at `start`, and where it ends: at the first brace that leaves it complete."""
    failure: TemplateSyntaxError | None = None
    first = end = text.find("}", start)
    while 0 <= end < start + _LONGEST_EXPRESSION:
        source = text[start + 2 : end].strip()
        try:
            function = _JINJA.compile_expression(source, undefined_to_none=False)
            return _Expression(source, _names_in(source), function), end + 1
        except TemplateSyntaxError as error:
            failure = failure or error
        except (RecursionError, MemoryError, SyntaxError):
            raise ExpressionError(f"'${{{source[:_LONGEST]}...}}' is nested too deeply.") from None
        end = text.find("}", end + 1)
    source = text[start + 2 : first] if first >= 0 else text[start:]
    if source.lstrip().startswith("{") and text[first : first + 2] == "}}":
        source += "}"
    shown = source if len(source) <= _LONGEST else f"{source[:_LONGEST]}..."
    if failure is None:
        raise ExpressionError(f"{shown!r} has no closing brace. Write $${{ for a literal ${{.")
    raise ExpressionError(f"'${{{shown}}}' is not an expression: {_reason(source.strip(), failure.message or '')}")


def _reason(source: str, found: str) -> str:
    """Why Jinja does not take a text for an expression, and what to write instead."""
    if not source:
        return "it is empty."
    if nested := _NESTED_RE.fullmatch(source):
        return f"one pair of braces is enough. Write ${{{nested[1]}}}."
    if default := _SHELL_DEFAULT_RE.fullmatch(source):
        return f"that is the shell's way. Write ${{{default[1]} | default({default[2]!r})}}."
    if unknown := _NO_FILTER_RE.match(found):
        suggestion = closest(unknown[1], _JINJA.filters)
        return f"there is no filter {unknown[1]!r}." + (f" Did you mean {suggestion!r}?" if suggestion else "")
    return "it goes on where it should end." if found == "chunk after expression" else f"{found.rstrip('.')}."


def _names_in(source: str) -> frozenset[str]:
    expression = Parser(_JINJA, source, state="variable").parse_expression()
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store", lineno=1), expression, lineno=1)]
    tree = nodes.Template(body, lineno=1)
    tree.set_environment(_JINJA)
    return frozenset(meta.find_undeclared_variables(tree))


def as_text(value: object, part: object) -> str:
    """A value as part of a text.

    Args:
        value: Text, a number, true or false.
        part: The expression that it is the value of, or a name.

    Raises:
        VariableError: It is a list or a mapping, or nothing that can be written.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    source = part.source if isinstance(part, _Expression) else part
    shape = "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else type(value).__name__
    raise VariableError(
        f"${{{source}}} is a {shape} where text is needed: write ${{{source} | json}}, or use a part of it."
    )
