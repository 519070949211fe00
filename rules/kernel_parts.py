"""A large program's kernel in parts: a few rules are machine code of their own, so that a change compiles little.

The text of a part must not change when another one does. Numbers that the program gives out are therefore not written
into it: those of columns, tables, literals and actions (`E3`, `P0`, `T1`, `L7`, `A12`) and the places of a rule's bit
(`M5`, `X5`, `O5`, `B5`). A part loads them from an array of its own. Where the arrays of a batch are it loads from the
`context`, which the driver fills once per event. The driver is the same for all programs: it walks a table with the
address and the numbers of every part.

Processors do not foresee well which of hundreds of functions a loop calls next, which is why a part has several rules.
Where a part ends is decided by the key of its last rule, so that a new rule moves no others from part to part. Small
programs are no parts at all but one function (`kernel_load`), in which LLVM sees all rules together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from earnbook.ledger.schema import WORD_SECTIONS, WORDS_ERRORED, WORDS_MATCHED, WORDS_OUTSIDE, Int64s, word_count
from earnbook.rules.kernel_values import ARRAYS, GIVEN, WIDTHS
from earnbook.rules.lower_kernel import LoweredProgram, LoweredRule, mark_line, rule_lines, word_and_bit
from earnbook.rules.plan import RulePlan

CONTEXT = (*GIVEN, *ARRAYS, *WIDTHS)
"""What the driver tells every part, in the order of the context."""

TABLE = "table"
"""The variable of the driver that has the address of the table: words, end, then address and numbers of each part."""

PART_RULES = 8
"""How many rules a part has on average."""

PART_RULES_MAX = 16

_STOP = 2**32
"""Added to the count of effects by a part whose rule stops all later ones."""

_SECTIONS: Mapping[int, str] = {WORDS_MATCHED: "M", WORDS_ERRORED: "X", WORDS_OUTSIDE: "O"}
_PLACE = re.compile(rf"\b(?:{'|'.join(CONTEXT)})\b")
_NUMBER = re.compile(r"\b[EPTLAMXOB]\d+\b")
_FUNCTION = re.compile(r"\b(condition|action)_(\d+)\(([^()]*)\)")

_DRIVER = f"""def rules({", ".join(CONTEXT)}):
    context = room({len(CONTEXT)})
{{stores}}
    end = {WORD_SECTIONS} * load_int64({TABLE}, 0)
    at = 0
    while at < end:
        store_int64(evaluation, at, 0)
        at += 1
    count = 0
    end = load_int64({TABLE}, 1)
    at = 2
    while at < end:
        count = call_at(load_int64({TABLE}, at), context, load_int64({TABLE}, at + 1), count)
        if count < 0:
            return count
        if count >= {_STOP}:
            return count - {_STOP}
        at += 2
    return count
"""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rules as text that depends on them alone; its function `part` is called with context, numbers and count.

    It returns the count of effects after them, a `Bail`, or the count + `_STOP`. `numbers` are the names of the numbers
    that it loads, in their order.
    """

    source: str
    numbers: tuple[str, ...]


def driver_source() -> str:
    """The function that goes through the parts of a program (§10.3)."""
    stores = "\n".join(f"    store_int64(context, {at}, {name})" for at, name in enumerate(CONTEXT))
    return _DRIVER.format(stores=stores)


def divide(lowered: LoweredProgram) -> list[Part]:
    """The parts of a program in the order of its rules."""
    parts: list[Part] = []
    rules: list[tuple[RulePlan, LoweredRule]] = []
    for rule, functions in zip(lowered.plan.rules, lowered.rules, strict=True):
        rules.append((rule, functions))
        if len(rules) == PART_RULES_MAX or _is_last(rule):
            parts.append(_part(rules))
            rules = []
    return [*parts, _part(rules)] if rules else parts


def mark_numbers(rules: Sequence[RulePlan]) -> dict[str, int]:
    """Where the bits of a program's rules stand in the evaluation words, by the names of parts."""
    words = word_count(len(rules))
    numbers: dict[str, int] = {}
    for rule in rules:
        word, numbers[f"B{rule.position}"] = word_and_bit(rule)
        numbers |= {f"{letter}{rule.position}": section * words + word for section, letter in _SECTIONS.items()}
    return numbers


def numbers_of(parts: Iterable[Part], values: Mapping[str, int]) -> list[Int64s]:
    """The arrays of numbers that the parts load from."""
    return [np.array([values[name] for name in part.numbers], np.int64) for part in parts]


def part_table(rules: int, addresses: Iterable[int], numbers: Sequence[Int64s]) -> Int64s:
    """What the driver reads; the arrays of numbers must be kept as long as it is used."""
    rows = [(address, own.ctypes.data) for address, own in zip(addresses, numbers, strict=True)]
    return np.array([(word_count(rules), 2 + 2 * len(rows)), *rows], np.int64)


def _is_last(rule: RulePlan) -> bool:
    return hashlib.sha256(rule.definition.key.encode()).digest()[0] % PART_RULES == 0


def _part(rules: Sequence[tuple[RulePlan, LoweredRule]]) -> Part:
    """Functions and lines with everything that is not of these rules alone loaded where it is used.

    Most events get no further than the first comparison of most rules, so nothing is loaded before.
    """
    lines = [line for _, functions in rules for line in _without_comments(functions.source)]
    lines.append("def part(context, numbers, count):")
    for rule, functions in rules:
        lines += (f"    {line}" for line in rule_lines(rule, functions, _mark, stop=f"return count + {_STOP}"))
    lines.append("    return count")
    names: dict[str, int] = {}
    functions_named: dict[str, str] = {}
    fresh = count()

    def function(match: re.Match[str]) -> str:
        found = f"{match[1]}_{match[2]}"
        name = functions_named.setdefault(found, "") or f"function_{next(fresh)}"
        functions_named[found] = name
        row = "" if match[1] == "condition" else f", {match[3].rpartition(', ')[2]}"
        return f"{name}(context, numbers{row})"

    def place(match: re.Match[str]) -> str:
        return f"load_int64(context, {CONTEXT.index(match[0])})"

    def number(match: re.Match[str]) -> str:
        return f"load_int64(numbers, {names.setdefault(match[0], len(names))})"

    text = _NUMBER.sub(number, _PLACE.sub(place, _FUNCTION.sub(function, "\n".join(lines))))
    return Part(f"{text}\n", tuple(names))


def _mark(rule: RulePlan, section: int) -> str:
    return mark_line(f"{_SECTIONS[section]}{rule.position}", f"B{rule.position}")


def _without_comments(text: str) -> Iterator[str]:
    """Comments name the rule and quote it; the same code may serve another one."""
    return (line for line in text.splitlines() if not line.startswith("#"))
