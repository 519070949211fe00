"""What few lots and changes have goes to rows of its own, and only theirs."""

from __future__ import annotations

import numpy as np

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import TIME_NONE, ChangeOperation, Kind, StateType
from earnbook.pipeline.rows import change_rows, lot_rows

NONE = int(TIME_NONE)


def _columns(words: str, *rows: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: np.array([row[at] for row in rows], np.int64) for at, name in enumerate(words.split())}


def test_only_lots_with_a_root_a_maturity_or_a_reference_have_details() -> None:
    pool = StringPool()
    code = pool.intern_text("R1")
    columns = _columns(
        "lot_seq entry_seq holder asset program source root amount created_at expires_at matures_at reference",
        (1, 1, 7, 1, 1, 1, 1, 50, 100, NONE, NONE, -1),
        (2, 2, 7, 1, 1, -3, 1, 50, 100, 900, NONE, -1),
        (3, 3, 7, 1, 1, 1, 3, 50, 100, NONE, 500, -1),
        (4, 4, 7, 1, 1, 1, 4, 50, 100, NONE, NONE, code),
    )
    tables = lot_rows(columns, pool)
    assert tables["lots"].column("wallet").to_pylist() == [0, 3, 0, 0]
    assert tables["lots"].column("expires_at").to_pylist() == [None, 900, None, None]
    assert tables["lot_details"].to_pylist() == [
        {"lot_seq": 2, "root": 1, "matures_at": None, "reference": None},
        {"lot_seq": 3, "root": 3, "matures_at": 500, "reference": None},
        {"lot_seq": 4, "root": 4, "matures_at": None, "reference": "R1"},
    ]


def test_only_changes_with_a_wide_value_a_window_a_text_or_a_level_have_details() -> None:
    pool = StringPool()
    code = pool.intern_text("web")
    counter, attribute, set_ = int(StateType.COUNTER), int(StateType.ATTRIBUTE), int(ChangeOperation.SET)
    number, text, int_, tier = int(Kind.NUMBER), int(Kind.TEXT), int(Kind.INT), int(StateType.TIER)
    columns = _columns(
        "change_seq log_seq action entity state_type key operation value_kind value value_high value_scale reset_at "
        "reset_after downgrade_at noted",
        (1, 1, 1, 7, counter, 1, set_, number, 5, 0, 0, NONE, NONE, 0, 0),
        (2, 1, 1, 7, counter, 1, set_, number, -5, -1, 0, NONE, NONE, 0, 0),
        (3, 1, 1, 7, counter, 1, set_, number, -5, 0, 0, NONE, NONE, 0, 0),
        (4, 1, 1, 7, counter, 1, set_, number, 5, 0, 0, 100, 60, 0, 0),
        (5, 1, 1, 7, attribute, 1, set_, text, code, 0, 0, NONE, NONE, 0, 0),
        (6, 1, 1, 7, tier, 1, set_, int_, 9, 0, 0, 100, 200, NONE, -1),
        (7, 1, 1, 7, tier, 1, set_, int_, 9, 0, 0, 100, NONE, 300, 8),
        (8, 1, 1, 7, tier, 1, int(ChangeOperation.DELETE), 0, 0, 0, 0, NONE, NONE, 0, 0),
    )
    tables = change_rows(columns, pool)
    assert tables["changes"].column("value").to_pylist() == [5, -5, -5, 5, 0, 9, 9, 0]
    assert [tuple(row.values()) for row in tables["tier_changes"].to_pylist()] == [
        (6, 100, 200, True, None, 0),
        (7, 100, None, False, 300, 8),
    ]
    assert [tuple(row.values()) for row in tables["change_details"].to_pylist()] == [
        (3, 0, None, None, None),
        (4, 0, 100, 60, None),
        (5, 0, None, None, "web"),
    ]
