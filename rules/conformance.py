"""Runs cases of the public CEL conformance suite through the checker and the closures: `python -m … FILE`.

A case is one JSON line: an expression, bindings, and an expected value, type or error. Where our numbers differ on
purpose (§5.1), the case is listed below with the reason; a listed case that passes is reported too, so that the list
stays short.
An expected error is met by an evaluation or check error, never by an unknown function.
"""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from earnbook.rules.check import CheckedExpression, Environment, infer_types
from earnbook.rules.conformance_names import qualified
from earnbook.rules.functions import Function, KernelSupport
from earnbook.rules.issues import Issue, IssueCode, IssueError
from earnbook.rules.lower_closure import lower_closure
from earnbook.rules.lower_closure_runtime import unknown_function
from earnbook.rules.parse import parse_expression
from earnbook.rules.syntax import Expression, Uint
from earnbook.rules.types import DYN, Signature, Type, parse_type
from earnbook.rules.values import (
    Duration,
    EvaluationError,
    Timestamp,
    TypeValue,
    Value,
    make_map,
)

_EXACT = "a double is an exact decimal, so large integers keep their value (§5.1)"
_RANGE = "a double is an exact decimal, so it neither overflows nor underflows (§5.1)"

DEVIATIONS: Mapping[str, str] = {
    "comparisons/lt_literal/not_lt_dyn_int_big_lossy_double": _EXACT,
    "comparisons/lt_literal/not_lt_dyn_small_double_int": _EXACT,
    "comparisons/gt_literal/not_gt_dyn_int_small_lossy_double": _EXACT,
    "comparisons/lte_literal/lte_dyn_int_small_lossy_double": _EXACT,
    "comparisons/lte_literal/lte_dyn_big_double_int": _EXACT,
    "comparisons/gte_literal/gte_dyn_small_double_int": _EXACT,
    "conversions/double/int_range": _EXACT,
    "conversions/double/uint_range": _EXACT,
    "conversions/int/double_big_precision": _EXACT,
    "conversions/int/double_int_min_range": _EXACT,
    "conversions/uint/double_big_precision": _EXACT,
    "fp_math/fp_math/fp_overflow_negative": _RANGE,
    "fp_math/fp_math/fp_underflow": _RANGE,
}
"""Cases that differ on purpose, by id, with the reason."""

_ERRORS = ("error", "any_error")

_SUITE_KINDS = {
    "optional": "optional_type",
    "number": "dyn",
    "?": "dyn",
    "null_type": "null",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case; `problem` is empty when it passed."""

    id: str
    suite: str
    problem: str

    @property
    def is_expected(self) -> bool:
        """Whether it passed, or failed as the list of deviations says."""
        return (self.problem != "") == (self.id in DEVIATIONS)


def run_cases(lines: Iterable[str]) -> list[CaseResult]:
    """The result of every case, in order."""
    cases = (json.loads(line) for line in lines if line.strip())
    return [CaseResult(case["id"], case["file"], _problem(case)) for case in cases]


def main(arguments: Sequence[str]) -> int:
    """Run the file and print what passed and failed; 1 when a case fails that is not listed, or the reverse."""
    if len(arguments) != 1:
        print("usage: python -m earnbook.rules.conformance FILE", file=sys.stderr)
        return 2
    with Path(arguments[0]).open(encoding="utf-8") as lines:
        results = run_cases(lines)
    for line in report(results):
        print(line)
    return 0 if all(result.is_expected for result in results) else 1


def report(results: Sequence[CaseResult]) -> Iterable[str]:
    """Lines for people: counts per suite file, then every case that failed, and listed cases that passed."""
    passed = Counter(result.suite for result in results if not result.problem)
    failed = Counter(result.suite for result in results if result.problem)
    for suite in sorted(passed | failed):
        yield f"{suite:20} {passed[suite]:5} passed {failed[suite]:5} failed"
    yield f"{'all':20} {passed.total():5} passed {failed.total():5} failed"
    for result in results:
        if result.problem:
            reason = DEVIATIONS.get(result.id)
            yield f"{'deviation' if reason else 'FAILED'} {result.id}: {reason or result.problem}"
        elif not result.is_expected:
            yield f"FAILED {result.id}: it passes, so it is no deviation"


@dataclass(frozen=True, slots=True)
class _Found:
    """What an expression of a case came to: a value or an error, its static type, and a function that is not there."""

    value: Value
    type: Type | None = None
    missing: str = ""


def _problem(case: Mapping[str, object]) -> str:
    """Why the case failed, or nothing."""
    expected = _mapping(case["expect"])
    found = _found(case)
    if str(expected["kind"]) in _ERRORS:
        wants_missing = any("unbound function" in str(message) for message in _sequence(expected.get("messages", [])))
        if found.missing and not wants_missing:
            return f"expected an error of the expression, got: {found.missing}"
        return "" if isinstance(found.value, EvaluationError) else f"expected an error, got {found.value!r}"
    if isinstance(found.value, EvaluationError):
        return f"expected a value, got an error: {found.value}"
    if "type" in expected and found.type is not None and not _is_spoken(found.type, str(expected["type"])):
        return f"expected type {expected['type']}, got {_spoken(found.type)}"
    if expected.get("value") is None:
        return ""
    value = _decoded(_mapping(expected["value"]))
    return "" if _is_same(found.value, value) else f"expected {value!r}, got {found.value!r}"


def _found(case: Mapping[str, object]) -> _Found:
    """Parse, check unless the case says not to, and evaluate unless only the type is expected."""
    bindings = {name: _decoded(_mapping(value)) for name, value in _mapping(case.get("bindings", {})).items()}
    names = frozenset((*bindings, *_mapping(case.get("type_env", {}))))
    try:
        parsed = parse_expression(str(case["expr"]), macros=not case.get("disable_macros"))
        expression = qualified(parsed, str(case.get("container", "")), names)
    except IssueError as error:
        return _Found(EvaluationError(str(error)))
    checked = _checked(expression, case, bindings)
    missing = _missing_function(checked.issues)
    errors = [issue for issue in checked.issues if issue.is_error]
    if errors and not case.get("disable_check"):
        return _Found(EvaluationError(str(IssueError(errors))), missing=missing)
    if case.get("check_only") or ("type" in (expected := _mapping(case["expect"])) and expected.get("value") is None):
        return _Found(None, checked.type, missing)
    try:
        value = lower_closure(expression, bindings)(bindings)
    except EvaluationError as error:
        value = error
    return _Found(value, None if case.get("disable_check") else checked.type, missing)


def _checked(expression: Expression, case: Mapping[str, object], bindings: Mapping[str, Value]) -> CheckedExpression:
    declared = {name: parse_type(str(text)) for name, text in _mapping(case.get("type_env", {})).items()}
    variables = {name: declared.get(name, DYN) for name in (*bindings, *declared)}
    return infer_types(expression, Environment(variables, functions=_declared(case)))


def _missing_function(issues: Iterable[Issue]) -> str:
    """What the checker says about a function or method that does not exist, or nothing."""
    unknown = (issue.message for issue in issues if issue.code is IssueCode.CEL_UNKNOWN_NAME)
    return next((message for message in unknown if "function" in message or "method" in message), "")


def _declared(case: Mapping[str, object]) -> dict[tuple[str, bool], Function]:
    """The functions that a case declares, by name and whether they are methods; they are checked, never called."""
    signatures: dict[tuple[str, bool], list[Signature]] = {}
    for entry in _sequence(case.get("functions", [])):
        declared = _mapping(entry)
        name, is_method = str(declared["name"]), bool(declared["member"])
        types = [parse_type(str(text)) for text in _sequence(declared["params"])]
        target, parameters = (types[0], types[1:]) if is_method else (None, types)
        signature = Signature(name, target, tuple(parameters), parse_type(str(declared["result"])))
        signatures.setdefault((name, is_method), []).append(signature)
    return {
        (name, is_method): Function(
            name=name,
            is_method=is_method,
            signatures=tuple(found),
            implementation=unknown_function,
            kernel=KernelSupport.NONE,
            description="declared by a case",
        )
        for (name, is_method), found in signatures.items()
    }


def _sequence(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"not an array: {value!r}")
    return value


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"not an object: {value!r}")
    return value


def _decoded(coded: Mapping[str, object]) -> Value:
    """A value of the case format."""
    kind, value = coded["t"], coded["v"]
    match kind, value:
        case "double", _:
            return Decimal(str(value))
        case "uint", int():
            return Uint(value)
        case "bytes", str():
            return base64.b64decode(value)
        case "list", list():
            return [_decoded(item) for item in value]
        case "map", list():
            return make_map((_decoded(key), _decoded(item)) for key, item in value)
        case "timestamp", {"seconds": int(seconds), "nanos": int(nanos)}:
            return Timestamp(seconds * 10**9 + nanos)
        case "duration", {"seconds": int(seconds), "nanos": int(nanos)}:
            return Duration(seconds * 10**9 + nanos)
        case "type", str():
            return TypeValue(value)
        case _:
            return value


def _is_same(one: Value, other: Value) -> bool:
    """Equal, of the same type in every part, and NaN like NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_is_same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, Decimal) and isinstance(other, Decimal) and one.is_nan():
        return other.is_nan()
    return one == other


def _is_spoken(found: Type, wanted: str) -> bool:
    """Whether the suite's text names this type; it may leave out the parameter of `type(T)`."""
    return _spoken(found) == _spoken(parse_type(wanted)) or (found.kind == wanted == "type")


def _spoken(type_: Type) -> str:
    """A type as the suite writes it; what only our numbers know is `dyn` there (§5.1)."""
    kind = _SUITE_KINDS.get(type_.kind, type_.kind)
    return f"{kind}({', '.join(map(_spoken, type_.parameters))})" if type_.parameters else kind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
