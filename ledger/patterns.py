"""Evaluation patterns: what each rule of a program did on one event, as one small number (§10.3).

Many events do the same, so the words that `propose` fills are kept once per distinct (program, failing action, words)
and an event carries the number of its pattern. Numbers are dense from 0 in order of first appearance within a State.
"""

from __future__ import annotations

import numpy as np

from earnbook.ledger.compiled import compiled
from earnbook.ledger.layout import (
    PATTERN_ACTION,
    PATTERN_INDEX,
    PATTERN_PROGRAM,
    PATTERN_WORDS,
    PATTERNS,
    R_PATTERNS,
    claim,
    matrix,
    put,
    vector,
    width,
)
from earnbook.ledger.schema import Int64s, UInt64s


@compiled
def pattern_of(handles: Int64s, program: int, action: int, words: UInt64s, count: int) -> int:
    """The number of a pattern, which is added when it is new.

    Args:
        handles: the tables.
        program: slot of the program.
        action: number of the failing action, 0: none.
        words: the evaluation words, of which the first `count` belong to the program.
        count: how many words.
    """
    index, patterns = vector(handles, PATTERN_INDEX), matrix(handles, PATTERNS)
    mask = width(handles, PATTERN_INDEX) - 1
    place = _place(program, action, words, count) & mask
    while index[place] != 0:
        pattern = index[place] - 1
        if _is_pattern(patterns, pattern, program, action, words, count):
            return pattern  # type: ignore[no-any-return]
        place = (place + 1) & mask
    pattern = claim(handles, PATTERNS, R_PATTERNS)
    patterns[pattern, PATTERN_PROGRAM] = program
    patterns[pattern, PATTERN_ACTION] = action
    for k in range(width(handles, PATTERNS) - PATTERN_WORDS):
        patterns[pattern, PATTERN_WORDS + k] = np.int64(words[k]) if k < count else 0
    put(handles, PATTERN_INDEX, place, pattern + 1)
    return pattern


@compiled
def index_patterns(patterns: Int64s, used: int, programs_words: Int64s, index: Int64s) -> None:
    """Fill an empty index for the first `used` patterns; `programs_words` says how many words each program has."""
    mask = len(index) - 1
    for pattern in range(used):
        count = programs_words[patterns[pattern, PATTERN_PROGRAM]]
        words = patterns[pattern, PATTERN_WORDS : PATTERN_WORDS + count].view(np.uint64)
        place = _place(patterns[pattern, PATTERN_PROGRAM], patterns[pattern, PATTERN_ACTION], words, count) & mask
        while index[place] != 0:
            place = (place + 1) & mask
        index[place] = pattern + 1


@compiled
def _place(program: int, action: int, words: UInt64s, count: int) -> int:
    multiplier = np.uint64(0x9E3779B97F4A7C15)
    state = (np.uint64(program) * multiplier ^ np.uint64(action)) * multiplier
    for k in range(count):
        state = (state ^ words[k]) * multiplier
        state ^= state >> np.uint64(32)
    return np.int64(state >> np.uint64(1))  # type: ignore[return-value]


@compiled
def _is_pattern(patterns: Int64s, pattern: int, program: int, action: int, words: UInt64s, count: int) -> bool:
    if patterns[pattern, PATTERN_PROGRAM] != program or patterns[pattern, PATTERN_ACTION] != action:
        return False
    for k in range(count):  # noqa: SIM110 (a generator would not compile)
        if np.uint64(patterns[pattern, PATTERN_WORDS + k]) != words[k]:
            return False
    return True
