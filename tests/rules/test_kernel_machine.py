"""Machine code of generated functions does what Python does with the same text."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from earnbook.rules.kernel_machine import MachineCode, translate

EDGES = (0, 1, -1, 2, -2, 7, -7, 10, 2**31, -(2**31), 2**62, -(2**62), 2**63 - 1, -(2**63))

SOURCE = """
def pair(left, right):
    return left + 1, right - 1

def main(left, right):
    found = {}
    return found
"""


def compiled(source: str, **constants: object) -> tuple[MachineCode, Callable[[int, int], int]]:
    """`main` of the source as a function; the code must be kept as long as it is called."""
    code = MachineCode(translate(source, constants, "main", "symbol"))
    return code, ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(code.address("symbol"))


def wrapped(value: int) -> int:
    """A Python integer as int64."""
    return (int(value) + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize(
    "expression",
    [
        "left + right",
        "left - right",
        "left * right",
        "left & right",
        "left | right",
        "left >> 3",
        "-left",
        "abs(right)",
        "int(left < right) + int(left == right)",
        "1 if left < 0 < right else 2",
        "left if not right else right",
        "1 if left and right or left == 7 else 0",
        "LIMITS[2] + BOUND",
        "int(left >= right) - int(left != right)",
    ],
)
def test_expressions(expression: str) -> None:
    constants = {"LIMITS": np.array([1, 2, 3], dtype=np.int64), "BOUND": 2**62}
    code, main = compiled(SOURCE.format(expression), **constants)
    for left, right in product(EDGES, EDGES):
        expected = eval(expression, {}, {**constants, "left": left, "right": right})
        assert main(left, right) == wrapped(expected), f"{left} {right} {code}"


@pytest.mark.parametrize("operator", ["//", "%"])
def test_division_rounds_down_as_in_python(operator: str) -> None:
    code, main = compiled(SOURCE.format(f"left {operator} right"))
    for left, right in product(EDGES, EDGES):
        expected = eval(f"{left} {operator} {right}") if right else 0
        assert main(left, right) == wrapped(expected), f"{left} {right} {code}"


def test_statements() -> None:
    source = """
def pair(left, right):
    return left + 1, right - 1

def main(left, right):
    count = 0
    left, right = right, left
    while left > 0 and count < 10:
        left //= 2
        count += 1
        if count == 9:
            return -1
    else_, other = pair(count, right)
    if else_ == 3:
        return other
    elif else_ == 4:
        other = 100
    else:
        return 0 - else_
    return other
"""
    code, main = compiled(source)
    assert [main(5, value) for value in (0, 2, 4, 8, 2**40)] == [-1, 4, 100, -5, -1], code


def test_what_kernels_do_not_have_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="kernels have no"):
        translate("def main(left, right):\n    return left ** right", {}, "main", "symbol")
    with pytest.raises(NotImplementedError, match="kernels have no"):
        translate("def main(left, right):\n    for x in left:\n        pass", {}, "main", "symbol")
