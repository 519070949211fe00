"""Compiled `propose` functions called by pointer: each program its own, with its own literals and words."""

from __future__ import annotations

import numpy as np
from numba import njit

from earnbook.ledger.kernel import DONE, Rules, decide, propose_list
from earnbook.ledger.results import batch_tables, outcomes, patterns, work_of
from earnbook.ledger.schema import (
    FX_COLUMNS,
    FX_TARGET,
    FX_VALUE,
    ActionType,
    Bail,
    Cells,
    Columns,
    Int64s,
    InventoryMode,
    IssuancePolicy,
    Tables,
    UInt64s,
    propose_signature,
)
from earnbook.ledger.state import State
from earnbook.ledger.state_load import add_persons
from earnbook.ledger.terms import ActionTerms, AssetTerms, ProgramTerms, Terms


def pay_literal(
    record: int,
    slot: int,  # noqa: ARG001 (the arguments are those of `propose`)
    program_slot: int,  # noqa: ARG001
    group_slot: int,  # noqa: ARG001
    processed_at: int,  # noqa: ARG001
    columns: Columns,
    cells: Cells,  # noqa: ARG001
    literals: Int64s,
    tables: Tables,  # noqa: ARG001
    effects: Int64s,
    words: UInt64s,
) -> int:
    """One credit of column 0 times the program's only literal; bails out on negative numbers."""
    if columns.value[0, record] < 0:
        return Bail.WIDE_VALUE.value
    for k in range(FX_COLUMNS):
        effects[0, k] = 0
    effects[0, FX_TARGET] = -1
    effects[0, FX_VALUE] = columns.value[0, record] * literals[0]
    words[:] = 0
    words[0] = len(words)
    return 1


def test_each_program_proposes_with_its_own_literals_and_words() -> None:
    assets = (AssetTerms(number=1, scale=0, mode=InventoryMode.SIMPLE, policy=IssuancePolicy.UNLIMITED),)
    credit = ActionTerms(type=ActionType.CREDIT, number=1, asset=0)
    programs = tuple(
        ProgramTerms(number=n, linked=(0,), actions=(credit,), literals=1, rules=rules)
        for n, rules in ((1, 1), (2, 70), (3, 1))
    )
    state = State(Terms(assets=assets, programs=programs))
    person = int(add_persons(state, [-1])[0])
    value = np.array([[5, 5, 5, -1]], np.int64)
    columns = Columns(np.zeros((1, 4), np.int8), value, np.zeros(1, np.int64), np.zeros(4, np.int64))
    function = njit(propose_signature())(pay_literal)
    tables = Tables(np.zeros(1, np.int64), np.zeros(1, np.uint8))
    rules = Rules(propose_list([function, function, None]), np.array([2, 3, 0], np.int64), tables)
    state.begin_batch(work_of(program=[0, 1, 2, 0], base=np.zeros(4), person=np.full(4, person)))
    bailed = []
    while decide(state, columns, rules) != DONE:
        bailed.append((state.cursor, state.bail_reason))
        state.give([], [9])
    assert bailed == [(2, Bail.NO_KERNEL), (3, Bail.WIDE_VALUE)]
    assert batch_tables(state)["movements"]["amount"].tolist() == [10, 15]
    assert outcomes(state)["pattern"].tolist() == [0, 1, 2, 3]
    assert patterns(state)["words"][:, 0].tolist() == [5, 10, 9, 9]
