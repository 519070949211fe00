"""The function table and the functions of §11.2 beyond arithmetic."""

from __future__ import annotations

from decimal import Decimal

import pytest

from earnbook.rules.functions import FUNCTIONS, KernelSupport, function
from earnbook.rules.lower_closure import evaluate
from earnbook.rules.syntax import Uint
from earnbook.rules.values import CelError, CelLimit, Value

# fmt: off
DOCUMENTED = (
    "size", "type", "bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "dyn", "matches",
    "round", "floor", "ceil", "abs", "min", "max", "get", "sets.contains", "sets.intersects", "sets.equivalent",
)
METHODS = (
    "contains", "startsWith", "endsWith", "matches", "size", "getFullYear", "getMonth", "getDate", "getDayOfMonth",
    "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds", "lowerAscii",
    "upperAscii", "trim", "replace", "split", "join", "substring", "indexOf", "charAt", "hasValue", "value", "or",
    "orValue",
)
# fmt: on


def test_every_function_of_the_language_is_in_the_table() -> None:
    assert all(function(name) is not None for name in DOCUMENTED)
    assert all(function(name, is_method=True) is not None for name in METHODS)
    assert function("length") is None


def test_names_are_unique_and_described() -> None:
    keys = [(entry.name, entry.is_method) for entry in FUNCTIONS]
    assert len(keys) == len(set(keys))
    assert all(entry.description for entry in FUNCTIONS)


def test_the_kernel_s_part_is_declared() -> None:
    support = {entry.name: entry.kernel for entry in FUNCTIONS}
    assert support["round"] is KernelSupport.INLINE
    assert support["startsWith"] is KernelSupport.LOOKUP
    assert support["split"] is KernelSupport.NONE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'abc'.contains('bc')", True),
        ("'abc'.contains('')", True),
        ("'abc'.startsWith('ab')", True),
        ("'abc'.endsWith('bd')", False),
        ("'abc'.matches('^a.c$')", True),
        ("'abc'.matches('b')", True),
        ("matches('abc', '^b')", False),
        ("'é'.matches('^.$')", True),
        ("'AbÉ'.lowerAscii()", "abÉ"),
        ("'abé'.upperAscii()", "ABé"),
        ("' \\t\\u00a0x\\u2003'.trim()", "x"),
        ("'a-b-c'.replace('-', '+')", "a+b+c"),
        ("'a-b-c'.replace('-', '+', 1)", "a+b-c"),
        ("'ab'.replace('', '_')", "_a_b_"),
        ("'a,b,c'.split(',')", ["a", "b", "c"]),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("'a,b,c'.split(',', 0)", []),
        ("'abc'.split('')", ["a", "b", "c"]),
        ("'abc'.split('', 2)", ["a", "bc"]),
        ("['a', 'b'].join('-')", "a-b"),
        ("['a', 'b'].join()", "ab"),
        ("'hello'.substring(1)", "ello"),
        ("'hello'.substring(1, 3)", "el"),
        ("'hello'.substring(5)", ""),
        ("'hello'.indexOf('l')", 2),
        ("'hello'.indexOf('l', 3)", 3),
        ("'hello'.indexOf('z')", -1),
        ("'hello'.lastIndexOf('l')", 3),
        ("'hello'.charAt(1)", "e"),
        ("'hello'.charAt(5)", ""),
        ("'héllo'.reverse()", "olléh"),
        ("strings.quote('a\"b\\n')", '"a\\"b\\n"'),
        ("'%s is %.1f and %d'.format(['x', 2.25, 7])", "x is 2.2 and 7"),
        ("'%e|%x|%X|%b|%o|%%'.format([1234.5, 255, 'k', 5, 8])", "1.234500e+03|ff|6B|101|10|%"),
        ("'%s'.format([{'b': [1, null], 'a': true}])", "{a: true, b: [1, null]}"),
    ],
)
def test_text_functions(text: str, expected: Value) -> None:
    assert evaluate(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "'abc'.contains(1)",
        "(1).startsWith('a')",
        "'abc'.matches('(')",
        "'abc'.matches('(?<=a)b')",
        "'hello'.substring(6)",
        "'hello'.substring(-1)",
        "'hello'.substring(3, 2)",
        "'hello'.charAt(6)",
        "'hello'.charAt(0.5)",
        "['a', 1].join()",
        "'%s'.format([])",
        "'%z'.format([1])",
        "'%d'.format(['a'])",
        "'%.9999f'.format([1.0])",
        "'a'.nothing()",
        "nothing('a')",
        "size()",
        "'a'.contains()",
    ],
)
def test_text_functions_refuse(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sets.contains([1, 2, 2], [2.0])", True),
        ("sets.contains([1], [])", True),
        ("sets.contains([1], ['1'])", False),
        ("sets.intersects([1, 2], [3, 2u])", True),
        ("sets.intersects([], [1])", False),
        ("sets.equivalent([1, 2, 2], [2, 1.0])", True),
        ("sets.equivalent([1], [1, 2])", False),
        ("get({'a': null}, 'a', 1)", None),
        ("get({1: 'x'}, 1.0, 'y')", "x"),
        ("math.greatest(1, 2.5, 2u)", Decimal("2.5")),
        ("math.least([3, 1])", 1),
        ("math.greatest(5)", 5),
        ("math.sign(-2.5)", Decimal(-1)),
        ("math.isInf(1.0 / 0)", True),
        ("math.isNaN(0.0 / 0)", True),
        ("math.isFinite(1.0)", True),
        ("math.trunc(-1.9)", Decimal(-1)),
        ("math.sqrt(2)", Decimal("1.414213562373095048801688724209698")),
        ("math.bitAnd(6, 3)", 2),
        ("math.bitXor(6u, 3u)", Uint(5)),
        ("math.bitNot(0)", -1),
        ("math.bitShiftLeft(1, 63)", -(2**63)),
        ("math.bitShiftRight(-1, 60)", 15),
        ("math.bitShiftLeft(1, 64)", 0),
        ("optional.of(1).hasValue()", True),
        ("optional.none().orValue(5)", 5),
        ("optional.ofNonZeroValue(0.0).hasValue()", False),
        ("optional.none().or(optional.of(2)).value()", 2),
        ("{'a': 1}.?a.value()", 1),
        ("{'a': {'b': 2}}.?a.b.orValue(0)", 2),
        ("{}.?a.b.orValue(0)", 0),
        ("[1][?5].orValue(7)", 7),
        ("[?optional.none(), ?optional.of(1), 2]", [1, 2]),
        ("{?'a': optional.none(), 'b': 1}", {"b": 1}),
        ("optional.of(3).optMap(x, x * 2).value()", 6),
        ("optional.of({'a': 1}).optFlatMap(m, m.?z).hasValue()", False),
    ],
)
def test_sets_math_and_optionals(text: str, expected: Value) -> None:
    value = evaluate(text)
    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(
    "text",
    [
        "sets.contains([1], 1)",
        "get(1, 'a', 2)",
        "math.greatest('a')",
        "math.floor(1)",
        "math.bitAnd(1, 1u)",
        "math.bitShiftLeft(1, -1)",
        "optional.none().value()",
        "optional.of(1) + 1",
        "[?1]",
        "(1).orValue(2)",
    ],
)
def test_sets_math_and_optionals_refuse(text: str) -> None:
    with pytest.raises(CelError):
        evaluate(text)


def test_comparing_two_large_lists_is_a_limit() -> None:
    with pytest.raises(CelLimit):
        evaluate("sets.contains(event.a, event.a)", event={"a": [Decimal(n) for n in range(1001)]})
