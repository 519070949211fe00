"""The closure target: an expression becomes generated Python source and that becomes a function over a scope.

This is the reference for what an expression means: the whole language, plain values (see `values`), exact decimals. The
kernel target is measured against it and falls back to it. It has no state, no clock and no I/O.

A scope maps each declared variable to its value: `event`, `participant`, `program`, `group` and `now` for rules. Event
numbers are Decimals, counters too; `now` is a `Timestamp`. An evaluation returns a value, or raises `CelError` (the
expression has none) or `CelLimit` (§11.5); nothing else. Closures never change what the scope holds, and may return
parts of it or shared constants, so callers must not change results either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from types import TracebackType
from typing import cast

from earnbook.rules import lower_closure_runtime
from earnbook.rules.lower_closure_body import ClosureSource
from earnbook.rules.lower_closure_source import write_closure
from earnbook.rules.parse import parse_expression
from earnbook.rules.syntax import Expression, Span
from earnbook.rules.values import EvaluationError, Value

RULE_VARIABLES = frozenset(("event", "participant", "program", "group", "now"))
"""The variables of §11.1."""

Evaluate = Callable[[Mapping[str, Value]], Value]


class Closure:
    """One lowered expression; callable with a scope. It is compiled when it is first used."""

    def __init__(self, expression: Expression, variables: frozenset[str]) -> None:
        self.expression = expression
        self.variables = variables

    def __call__(self, scope: Mapping[str, Value]) -> Value:
        """The value of the expression; the scope must hold every declared variable that the expression reads."""
        return self.evaluate(scope)

    @property
    def source(self) -> str:
        """The generated Python source; the same for the same expression."""
        return self._written.source

    @cached_property
    def evaluate(self) -> Evaluate:
        """The compiled function itself, for loops where a call more matters."""
        names: dict[str, object] = {**lower_closure_runtime.NAMES, **self._written.constants}
        exec(compile(self._written.source, self._file, "exec", dont_inherit=True), names)
        return cast(Evaluate, names["evaluate"])

    def locate(self, error: EvaluationError) -> Span | None:
        """Which part of the expression raised an error of this closure, or None when that is unknown."""
        found: Span | None = None
        step: TracebackType | None = error.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == self._file:
                # The innermost frame of the generated code is where the failing operation stands.
                found = self._span_at(step) or found
            step = step.tb_next
        return found

    @cached_property
    def _written(self) -> ClosureSource:
        return write_closure(self.expression, self.variables)

    @cached_property
    def _file(self) -> str:
        return f"<cel {hashlib.sha256(self.expression.text.encode(errors='replace')).hexdigest()[:16]}>"

    def _span_at(self, step: TracebackType) -> Span | None:
        positions = list(step.tb_frame.f_code.co_positions())
        line, _, column, column_end = positions[step.tb_lasti // 2]
        if line is None or column is None or column_end is None:
            return None
        return self._written.span_at(line, column, column_end)


def lower_closure(expression: Expression, variables: Iterable[str] = RULE_VARIABLES) -> Closure:
    """The closure of an expression; other names than `variables` are errors when they are evaluated."""
    return Closure(expression, frozenset(variables))


def lower_closures(expressions: Iterable[Expression], variables: Iterable[str] = RULE_VARIABLES) -> tuple[Closure, ...]:
    """The closures of several expressions over the same variables, in their order."""
    declared = frozenset(variables)
    return tuple(Closure(expression, declared) for expression in expressions)


def evaluate(text: str, **variables: Value) -> Value:
    """Parse, lower and evaluate in one call, without checks: for tests and single questions."""
    return _closure_of_text(text, frozenset(variables))(variables)


@lru_cache(maxsize=1024)
def _closure_of_text(text: str, variables: frozenset[str]) -> Closure:
    return lower_closure(parse_expression(text), variables)
