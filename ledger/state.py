"""The books of one run as arrays: owner of all tables of `ledger.layout`, of their growth and of the registers.

Slots 0 … P - 1 are the programs in number order, holders follow in the order in which they are added or created. A
State holds what one run needs: holders that its records name and those with something due. It does no I/O; what it is
loaded with comes as arrays (`ledger.state_load`), what it decided leaves as arrays (`ledger.results`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import format_mantissa
from earnbook.ledger.members import Members
from earnbook.ledger.patterns import index_patterns
from earnbook.ledger.schema import (
    FX_ACTION,
    FX_COLUMNS,
    FX_TEXT,
    FX_TEXT_KIND,
    FX_VALUE_SCALE,
    TIME_NONE,
    WORD_SECTIONS,
    ActionType,
    Bail,
    Cells,
    EntityType,
    Int8s,
    Int64s,
    Kind,
    TargetKind,
    UInt64s,
    word_count,
)
from earnbook.ledger.terms import Terms
from earnbook.ledger.terms_tiers import CriterionTerms, tier_tables
from earnbook.ledger.texts import Texts, timestamp_text

_SLOT_TABLES = (
    at.HOLDER_NUMBERS,
    at.ACCOUNTS,
    at.COUNTER_LOW,
    at.COUNTER_HIGH,
    at.COUNTER_RESET_AT,
    at.COUNTER_RESET_AFTER,
    at.TAGS,
    at.ATTRIBUTE_VALUE,
    at.ENROLLMENTS,
    at.COUNTER_SCALE,
    at.ATTRIBUTE_KIND,
    at.ATTRIBUTE_SCALE,
    at.STATUS,
    at.HOLDER_KINDS,
    at.TIER_LEVEL,
    at.TIER_ACQUIRED,
    at.TIER_EXPIRES,
    at.TIER_DOWNGRADE,
    at.TIER_NOTED,
    at.PROFILES,
)
_BY_COLUMN = {
    at.MOVEMENTS: at.MOVEMENT_COLUMNS,
    at.DUE_ENTRIES: at.DUE_ENTRY_COLUMNS,
    at.NEW_LOTS: at.NEW_LOT_COLUMNS,
    at.LOT_MOVES: at.LOT_MOVE_COLUMNS,
    at.CHANGES: at.CHANGE_COLUMNS,
    at.DUE_CHANGES: at.DUE_CHANGE_COLUMNS,
    at.NEW_HOLDERS: at.NEW_HOLDER_COLUMNS,
    at.TOUCHED: 1,
    at.RESULTS: at.RESULT_COLUMNS,
    at.ENTRY_REFERENCES: at.ENTRY_REFERENCE_COLUMNS,
    at.GENERATED: at.GENERATED_COLUMNS,
    at.ATTEMPTS: at.ATTEMPT_COLUMNS,
    at.REDEMPTIONS: at.REDEMPTION_COLUMNS,
    at.REVERSALS: at.REVERSAL_COLUMNS,
}
_BY_ROW = {
    at.LOTS: at.LOT_COLUMNS,
    at.DUE: at.DUE_COLUMNS,
    at.UNDO: at.UNDO_COLUMNS,
    at.PENDING_DUE: at.DUE_COLUMNS,
    at.PENDING_FREE: 1,
    at.TIER_MARKS: at.MARK_COLUMNS,
    at.SCHEDULE: at.SCHEDULE_COLUMNS,
}
_GIVEN = {at.OPERANDS: at.OPERAND_COLUMNS, at.PARTS: at.PART_COLUMNS, at.RESTORES: at.RESTORE_COLUMNS}
_OF_PERIODS = {at.PERIOD_HOLDERS: 1, at.PERIOD_TIERS: at.PERIOD_COLUMNS, at.PERIOD_ROLLS: at.ROLL_COLUMNS}
_PER_ROW = {at.CHANGES: 2} | dict.fromkeys(
    (at.DUE_CHANGES, at.RESULTS, at.GENERATED, at.ATTEMPTS, at.REDEMPTIONS, at.REVERSALS), 0
)
_FILL = {at.COUNTER_SCALE: -1, at.PERSON_SLOTS: -1, at.PERSON_ORIGINS: -1}
_FILL |= dict.fromkeys((at.TIER_EXPIRES, at.TIER_DOWNGRADE), int(TIME_NONE))
_ROWS_MIN = 2 * at.SLACK


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """The last numbers given and the clocks of a book; a new book begins with the defaults (§2.3, §4.3)."""

    clock: int = 0
    log_seq: int = 0
    entry_seq: int = 0
    lot_seq: int = 0
    change_seq: int = 0
    holder: int = 0
    latest: int = int(TIME_NONE)


class State:
    """The books of one run; see the module."""

    def __init__(
        self,
        terms: Terms,
        registers: Registers | None = None,
        *,
        holders: int = 4096,
        rows: int = 4096,
        lots: int | None = None,
    ) -> None:
        """Empty books under the terms.

        Args:
            terms: the definitions in force.
            registers: where the book stands; None for a new book.
            holders: how many holders to make room for.
            rows: how many journal rows and new lots of a batch to make room for, and twice as many changes.
            lots: how many open lots of the whole run to make room for; None for as many as `rows`.

        Everything grows when needed, but then it is copied and its memory is touched twice; room that is never used
        costs address space only.
        """
        self.terms = terms
        self._tables: dict[int, npt.NDArray[np.int64] | npt.NDArray[np.int8]] = {}
        stride = at.ACCOUNT_STRIDE_LOT if terms.has_lots else at.ACCOUNT_STRIDE_SIMPLE
        self._widths = self._slot_widths(stride)
        for table in _SLOT_TABLES:
            self._allocate(table, max(_ROWS_MIN, holders + len(terms.programs) + at.SLACK), self._widths[table])
        for table, columns in _BY_ROW.items():
            expected = (rows if lots is None else lots) + at.SLACK if table in (at.LOTS, at.DUE) else 256
            self._allocate(table, max(_ROWS_MIN, expected), columns)
        for table, columns in _BY_COLUMN.items():
            expected = rows * _PER_ROW.get(table, 1) + at.SLACK
            self._allocate(table, columns, max(_ROWS_MIN, expected))
        self._allocate(at.PERSON_SLOTS, _ROWS_MIN, 1)
        self._allocate(at.PERSON_ORIGINS, _ROWS_MIN, 1)
        self._allocate(at.SYSTEMS, max(1, len(terms.assets)) * 3, at.SYSTEM_COLUMNS)
        self._allocate(at.PATTERNS, _ROWS_MIN, at.PATTERN_WORDS + WORD_SECTIONS * terms.words)
        self._allocate(at.PATTERN_INDEX, 1, 4 * _ROWS_MIN)
        self._allocate(at.REGISTERS, 1, at.REGISTER_COUNT)
        self._allocate(at.SAVED, 2, at.REGISTER_COUNT)
        self._allocate(at.EFFECTS, terms.effects, FX_COLUMNS)
        self._allocate(at.WORK, at.WORK_COLUMNS, 0)
        self._allocate(at.OUTCOMES, at.OUTCOME_COLUMNS, 0)
        for table, columns in (*_GIVEN.items(), *_OF_PERIODS.items()):
            self._allocate(table, 1, columns)
        self._tables |= {
            at.ASSETS: terms.asset_table(),
            at.PROGRAMS: terms.program_table(),
            at.LINKS: terms.link_table(),
            at.ACTIONS: terms.action_table(),
            at.BUDGETS: terms.budget_table(),
        }
        for table, array in zip((at.TIERS, at.LEVELS, at.CRITERIA), tier_tables(terms.tiers), strict=True):
            self._tables[table] = array
        self.words: UInt64s = np.zeros(WORD_SECTIONS * terms.words, np.uint64)
        self.persons = 0
        self._given_parts = 0
        self.members = Members()
        self._set_registers(registers or Registers(), stride)
        self._add_programs()
        self._renew_handles()

    # --- reading ----------------------------------------------------------------------------------------------------

    def table(self, table: int) -> Int64s:
        """A table of integers of `ledger.layout`, the array itself."""
        return self._tables[table]  # type: ignore[return-value]

    def bytes_of(self, table: int) -> Int8s:
        """A table of bytes of `ledger.layout`, the array itself."""
        return self._tables[table]  # type: ignore[return-value]

    def register(self, register: int) -> int:
        """The value of a register."""
        return int(self.table(at.REGISTERS)[0, register])

    @property
    def registers(self) -> Registers:
        """Where the book stands now."""
        numbers = (at.R_CLOCK, at.R_LOG_SEQ, at.R_ENTRY_SEQ, at.R_LOT_SEQ, at.R_CHANGE_SEQ, at.R_HOLDER, at.R_LATEST)
        names = ("clock", "log_seq", "entry_seq", "lot_seq", "change_seq", "holder", "latest")
        return Registers(**{name: self.register(number) for name, number in zip(names, numbers, strict=True)})

    @property
    def clock(self) -> int:
        """The book clock; while a record bails out, its processing time."""
        return self.register(at.R_CLOCK)

    @property
    def cursor(self) -> int:
        """The record at hand, as a position in the batch."""
        return self.register(at.R_CURSOR)

    @property
    def bail_reason(self) -> Bail:
        """Why the record at hand was left to the closures, after BAIL."""
        return Bail(self.register(at.R_BAIL))

    @property
    def row(self) -> int:
        """The row of WORK and of the columns of the event at hand: beyond the records for a generated one (§17.5)."""
        return self.register(at.R_ROW)

    @property
    def slot(self) -> int:
        """The slot of the participant at hand, -1: none."""
        return self.register(at.R_SLOT)

    def set_holder(self, number: int) -> None:
        """Say whom the operation at hand is about: the number of a holder."""
        self.table(at.OUTCOMES)[at.OUTCOME_HOLDER, self.cursor] = number

    @property
    def group(self) -> int:
        """The slot of the group that the event at hand names, -1: none."""
        return self.register(at.R_GROUP)

    @property
    def missing_target(self) -> tuple[TargetKind, int]:
        """How, and by which text code, the event at hand names somebody whom nobody looked up (after MISS)."""
        return TargetKind(self.register(at.R_MISS_KIND)), self.register(at.R_MISS_TEXT)

    @property
    def effects(self) -> Int64s:
        """The effects of the event at hand, [effect, FX_COLUMNS]."""
        return self.table(at.EFFECTS)

    @property
    def slots(self) -> int:
        """Slots in use: programs and holders."""
        return self.register(at.R_SLOTS)

    @property
    def numbers(self) -> Int64s:
        """The entity number of every slot in use: holder numbers; of programs their numbers, negated."""
        return self.table(at.HOLDER_NUMBERS)[: self.slots, 0]

    def slots_of(self, numbers: npt.ArrayLike) -> Int64s:
        """The slots of entity numbers; -1 where the entity is not in this State."""
        wanted, known = np.asarray(numbers, np.int64), self.numbers
        if not len(known):
            return np.full(len(wanted), -1, np.int64)
        if len(wanted) <= 1:
            return np.array([next(iter(np.flatnonzero(known == number)), -1) for number in wanted], np.int64)
        order = np.argsort(known, kind="stable")
        found = order[np.minimum(np.searchsorted(known[order], wanted), len(order) - 1)]
        return np.where(known[found] == wanted, found, -1)

    # --- one batch --------------------------------------------------------------------------------------------------

    def begin_batch(self, work: Int64s, *, records: int | None = None, generated_max: int = 1 << 40) -> None:
        """Set up the records of a batch: [WORK_COLUMNS, row], made by `ledger.results.work_of`.

        Args:
            work: the records, then the templates of generated events, then events of earlier batches to retry.
            records: how many records there are; None for all rows.
            generated_max: how many events the batch may generate.
        """
        if work.shape[0] != at.WORK_COLUMNS:
            raise ValueError(f"work has {work.shape[0]} rows, {at.WORK_COLUMNS} are needed")
        self._tables[at.WORK] = np.ascontiguousarray(work, np.int64)
        self._tables[at.OUTCOMES] = np.zeros((at.OUTCOME_COLUMNS, work.shape[1]), np.int64)
        registers = self.table(at.REGISTERS)[0]
        registers[at.R_MOVEMENTS : at.R_TOUCHED + 1] = 0
        registers[at.R_RESULTS] = 0
        registers[at.R_DUE_CHANGES] = 0
        registers[at.R_ENTRY_REFERENCES] = 0
        registers[[at.R_REDEMPTIONS, at.R_REVERSALS]] = 0
        registers[[at.R_GENERATED, at.R_ATTEMPTS]] = 0
        registers[at.R_RECORDS] = work.shape[1] if records is None else records
        registers[at.R_GENERATED_MAX] = generated_max
        registers[[at.R_CURSOR, at.R_STEP, at.R_FULL, at.R_FOLLOWED]] = 0
        registers[at.R_ATTEMPT] = 1
        registers[at.R_GIVEN_RECORD] = -1
        registers[at.R_BATCH_ENTRY] = registers[at.R_ENTRY_SEQ]
        self._renew_handles()

    def begin_operands(self, operands: npt.ArrayLike, parts: npt.ArrayLike) -> None:
        """What the money operations of the batch say beside their amounts: the rows of OPERANDS and of PARTS."""
        self._given_parts = len(np.asarray(parts))
        for table, rows in ((at.OPERANDS, operands), (at.PARTS, parts)):
            given = np.asarray(rows, np.int64).reshape(-1, _GIVEN[table])
            # One row of zeros stands for none, so that there is an address.
            self._tables[table] = np.concatenate([given, np.zeros((1, _GIVEN[table]), np.int64)])
        self._renew_handles()

    def name_lots(self, operand: int, lots: npt.ArrayLike) -> None:
        """Say which lots (lot_seqs, -1: no lot of the book) the operation at the cursor lists; after OPERATE."""
        listed = np.sort(np.asarray(lots, np.int64))
        first = self._given_parts
        if first + len(listed) > len(self._tables[at.PARTS]):
            self._resize(at.PARTS, first + 2 * len(listed), at.PART_COLUMNS)
            self._renew_handles()
        self.table(at.PARTS)[first : first + len(listed), at.PART_LOT] = listed
        row = self.table(at.OPERANDS)[operand]
        row[at.OPERAND_PART], row[at.OPERAND_PARTS] = first, len(listed)

    def name_restores(self, rows: npt.ArrayLike) -> None:
        """Say what the reversal at the cursor gives back: rows of RESTORES, the last consumed first; after OPERATE."""
        given = np.asarray(rows, np.int64).reshape(-1, at.RESTORE_COLUMNS)
        if len(given) > len(self._tables[at.RESTORES]):
            self._resize(at.RESTORES, 2 * len(given), at.RESTORE_COLUMNS)
            self._renew_handles()
        self.table(at.RESTORES)[: len(given)] = given

    def name_thresholds(self, criteria: Sequence[tuple[CriterionTerms, int]]) -> None:
        """Say which criteria automations wait for, each with its counter's number in the book's names."""
        rows = [(*criterion.words, name) for criterion, name in criteria]
        # One row of zeros stands for none, so that there is an address.
        table = np.array(rows or [(0,) * at.THRESHOLD_COLUMNS], np.int64)
        self._tables[at.THRESHOLDS] = table.reshape(-1, at.THRESHOLD_COLUMNS)
        self._renew_handles()

    def know_event(self, row: int, *, log_seq: int, outcome: int, attempts: int, descent: int) -> None:
        """What the book says of an event that may be retried: its last outcome, and attempts after the first.

        `descent` is `R_DESCENT` of a generated event, -1 of an external one.
        """
        outcomes = self.table(at.OUTCOMES)
        outcomes[at.OUTCOME_LOG_SEQ, row] = log_seq
        outcomes[[at.OUTCOME_CODE, at.OUTCOME_LAST], row] = outcome
        outcomes[at.OUTCOME_ATTEMPTS, row] = attempts
        self.table(at.WORK)[at.WORK_DESCENT, row] = descent

    def set_event(self, generated: int | None) -> None:
        """After RETRY_MISS: the event that the operation at the cursor means, a row of GENERATED, or None."""
        event = at.EVENT_UNKNOWN if generated is None else at.EVENT_GENERATED - generated
        self.table(at.WORK)[at.WORK_EVENT, self.cursor] = event

    def mark_loaded(self, program: int) -> None:
        """Say that every holder enrolled in a program (its slot) is in this State, now and from now on."""
        self.table(at.PROGRAMS)[program, at.PROGRAM_LOADED] = 1

    def give(self, effects: npt.ArrayLike, words: npt.ArrayLike) -> None:
        """Effects and evaluation words of the record at hand, after BAIL."""
        rows = np.asarray(effects, np.int64).reshape(-1, FX_COLUMNS)
        if len(rows) > len(self.effects):
            raise ValueError(f"{len(rows)} effects, the program with the most actions has {len(self.effects) - 1}")
        self.effects[: len(rows)] = rows
        given = np.asarray(words, np.uint64)
        self.words[:] = 0
        self.words[: len(given)] = given
        self._give(len(rows))

    def give_tick(self, tick: int | None) -> None:
        """The next tick of the budget in R_TICK after R_TICK_AFTER, after TICK; None: there is none."""
        row = self.table(at.BUDGETS)[self.register(at.R_TICK)]
        row[at.BUDGET_TICK_AFTER] = self.register(at.R_TICK_AFTER)
        row[at.BUDGET_TICK] = int(TIME_NONE) if tick is None else tick

    @property
    def period_end(self) -> int:
        """The time of the period end at the top of the queue, after PERIOD."""
        return int(self.table(at.DUE)[0, at.DUE_AT])

    def begin_period(self, slots: npt.ArrayLike, tiers: npt.ArrayLike, rolls: npt.ArrayLike) -> None:
        """Say whom the period end at the top of the queue is about, after PERIOD.

        Args:
            slots: participants in the order of their numbers.
            tiers: the tier types whose period ends, by number, with the dates of the period that begins
                ([row, PERIOD_COLUMNS]).
            rolls: their qualifying counters ([row, ROLL_COLUMNS]): those of one counter together, by tier type.
        """
        registers = self.table(at.REGISTERS)[0]
        registers[[at.R_PERIOD_AT, at.R_PERIOD_UNIT]] = self.period_end, 0
        counts = (at.R_PERIOD_HOLDERS, at.R_PERIOD_TIERS, at.R_PERIOD_ROLLS)
        for (table, columns), count, given in zip(_OF_PERIODS.items(), counts, (slots, tiers, rolls), strict=True):
            rows = np.asarray(given, np.int64).reshape(-1, columns)
            registers[count] = len(rows)
            self._tables[table] = np.concatenate([rows, np.zeros((1, columns), np.int64)])
        self._renew_handles()

    def name_targets(self, kind: TargetKind, codes: Int64s, meanings: Int64s) -> None:
        """Say what texts mean as targets of a kind: a person's index + 1, or an Outcome, negated."""
        needed = int(codes.max(initial=-1)) + 1
        if at.TARGET_PERSONS not in self._tables:
            self._allocate(at.TARGET_PERSONS, 0, at.TARGET_COLUMNS)
        if needed > len(self._tables[at.TARGET_PERSONS]):
            self._resize(at.TARGET_PERSONS, max(_ROWS_MIN, 2 * needed), at.TARGET_COLUMNS)
            self._renew_handles()
        self.table(at.TARGET_PERSONS)[codes, int(kind) - 1] = meanings

    def target_meanings(self, kind: TargetKind, codes: Int64s) -> Int64s:
        """What texts mean as targets of a kind; 0 for those that nobody looked up."""
        meanings = np.zeros(len(codes), np.int64)
        if at.TARGET_PERSONS in self._tables:
            table = self.table(at.TARGET_PERSONS)
            known = codes < len(table)
            meanings[known] = table[codes[known], int(kind) - 1]
        return meanings

    def settle_text_forms(self, pool: Texts) -> None:
        """Turn the attribute that changes its kind, and what the event sets, into text, so that they compare."""
        program = int(self.table(at.WORK)[at.WORK_PROGRAM, self.row])
        actions = self.table(at.ACTIONS)[int(self.table(at.PROGRAMS)[program, at.PROGRAM_ACTION]) :]
        key = int(actions[self.effects[self.register(at.R_TEXT_EFFECT), FX_ACTION], at.ACTION_KEY])
        target, count = self.register(at.R_TEXT_TARGET), self.register(at.R_GIVEN)
        cells = (at.ATTRIBUTE_KIND, at.ATTRIBUTE_VALUE, at.ATTRIBUTE_SCALE)
        kind, value, scale = (int(self._tables[table][target, key]) for table in cells)
        if kind != Kind.ABSENT:
            new = (int(Kind.TEXT), pool.intern_text(text_of(kind, value, scale, pool)), 0)
            for table, part in zip(cells, new, strict=True):
                self._tables[table][target, key] = part
        for effect in self.effects[:count]:
            kind = int(effect[FX_TEXT_KIND])
            if actions[effect[FX_ACTION], at.ACTION_TYPE] == ActionType.SET_ATTRIBUTE and kind != Kind.TEXT:
                text = text_of(kind, int(effect[FX_TEXT]), int(effect[FX_VALUE_SCALE]), pool)
                effect[FX_TEXT_KIND], effect[FX_TEXT], effect[FX_VALUE_SCALE] = (
                    int(Kind.TEXT),
                    pool.intern_text(text),
                    0,
                )
        self._give(count)

    def _give(self, count: int) -> None:
        registers = self.table(at.REGISTERS)[0]
        registers[at.R_GIVEN] = count
        registers[at.R_GIVEN_RECORD] = registers[at.R_CURSOR]

    # --- growth -----------------------------------------------------------------------------------------------------

    def grow(self) -> None:
        """Double the table that ran out of room."""
        table = self.register(at.R_FULL) - 1
        if table in _SLOT_TABLES:
            self._grow_slots(2 * len(self._tables[at.HOLDER_NUMBERS]))
        elif table in _BY_COLUMN:
            self._resize(table, self._tables[table].shape[0], 2 * self._tables[table].shape[1])
        else:
            self._resize(table, 2 * self._tables[table].shape[0], self._tables[table].shape[1])
        if table == at.PATTERNS:
            self._reindex_patterns()
        self.table(at.REGISTERS)[0, at.R_FULL] = 0
        self._renew_handles()

    def make_room(self, table: int, register: int, rows: int) -> None:
        """Room for so many more rows of a table that the record at hand appends to, the slack left alone."""
        while True:
            size = self._tables[table].shape[1 if table in _BY_COLUMN else 0]
            if self.register(register) + rows + at.SLACK < size:
                return
            self.table(at.REGISTERS)[0, at.R_FULL] = table + 1
            self.grow()

    def reserve(self, table: int, rows: int) -> None:
        """Make room for so many more rows in a table stored row by row."""
        used = {at.LOTS: self.register(at.R_LOTS), at.DUE: self.register(at.R_DUE), at.HOLDER_NUMBERS: self.slots}
        used[at.SCHEDULE] = self.register(at.R_SCHEDULE)
        used[at.PERSON_SLOTS] = used[at.PERSON_ORIGINS] = self.persons
        needed = used[table] + rows + at.SLACK + 1
        if needed <= len(self._tables[table]):
            return
        needed = max(needed, 2 * len(self._tables[table]))
        if table == at.HOLDER_NUMBERS:
            self._grow_slots(needed)
        else:
            self._resize(table, needed, self._tables[table].shape[1])
        self._renew_handles()

    def _grow_slots(self, rows: int) -> None:
        for table in _SLOT_TABLES:
            self._resize(table, rows, self._widths[table])

    def _resize(self, table: int, rows: int, columns: int) -> None:
        old = self._tables[table]
        self._allocate(table, rows, columns)
        self._tables[table][: old.shape[0], : old.shape[1]] = old

    def _allocate(self, table: int, rows: int, columns: int) -> None:
        kind = np.int8 if table >= at.BYTE_TABLES else np.int64
        self._tables[table] = np.zeros((rows, columns), kind)  # type: ignore[assignment]
        if table in _FILL:
            self._tables[table][:] = _FILL[table]

    def _reindex_patterns(self) -> None:
        self._allocate(at.PATTERN_INDEX, 1, 4 * len(self._tables[at.PATTERNS]))
        counts = np.array([WORD_SECTIONS * word_count(p.rules) for p in self.terms.programs], np.int64)
        used = self.register(at.R_PATTERNS)
        index_patterns(self.table(at.PATTERNS), used, counts, self.table(at.PATTERN_INDEX)[0])

    def _renew_handles(self) -> None:
        rows = np.zeros((at.TABLE_COUNT, 3), np.int64)
        for table, array in self._tables.items():
            rows[table] = (array.ctypes.data, *array.shape)
        self.handles: Int64s = rows.reshape(-1)
        get = self._tables
        counters = (get[at.COUNTER_LOW], get[at.COUNTER_HIGH], get[at.COUNTER_SCALE])
        windows = (get[at.COUNTER_RESET_AT], get[at.COUNTER_RESET_AFTER])
        attributes = (get[at.ATTRIBUTE_KIND], get[at.ATTRIBUTE_VALUE], get[at.ATTRIBUTE_SCALE])
        tags, status = get[at.TAGS].view(np.uint64), get[at.STATUS].reshape(-1)
        tiers = (get[at.TIER_LEVEL], get[at.TIER_ACQUIRED], get[at.TIER_EXPIRES])
        self.cells = Cells(*counters, *windows, tags, *attributes, status, *tiers)  # type: ignore[arg-type]

    # --- beginning --------------------------------------------------------------------------------------------------

    def _slot_widths(self, stride: int) -> dict[int, int]:
        terms = self.terms
        counters, attributes = max(1, terms.counters), max(1, terms.attributes)
        return {
            at.HOLDER_NUMBERS: 1,
            at.ACCOUNTS: max(1, len(terms.assets)) * stride,
            at.COUNTER_LOW: counters,
            at.COUNTER_HIGH: counters,
            at.COUNTER_RESET_AT: counters,
            at.COUNTER_RESET_AFTER: counters,
            at.COUNTER_SCALE: counters,
            at.TAGS: max(1, (terms.tags + 63) // 64),
            at.ATTRIBUTE_VALUE: attributes,
            at.ATTRIBUTE_KIND: attributes,
            at.ATTRIBUTE_SCALE: attributes,
            at.ENROLLMENTS: max(1, len(terms.programs)),
            at.STATUS: 1,
            at.HOLDER_KINDS: 1,
            at.TIER_LEVEL: max(1, len(terms.tiers)),
            at.TIER_ACQUIRED: max(1, len(terms.tiers)),
            at.TIER_EXPIRES: max(1, len(terms.tiers)),
            at.TIER_DOWNGRADE: max(1, len(terms.tiers)),
            at.TIER_NOTED: max(1, len(terms.tiers)),
            at.PROFILES: at.PROFILE_COLUMNS if terms.has_members else 0,
        }

    def _set_registers(self, start: Registers, stride: int) -> None:
        registers = self.table(at.REGISTERS)[0]
        registers[at.R_CLOCK], registers[at.R_LOG_SEQ], registers[at.R_ENTRY_SEQ] = (
            start.clock,
            start.log_seq,
            start.entry_seq,
        )
        registers[at.R_LOT_SEQ], registers[at.R_CHANGE_SEQ] = start.lot_seq, start.change_seq
        registers[at.R_HOLDER], registers[at.R_LATEST] = start.holder, start.latest
        registers[[at.R_GIVEN_RECORD, at.R_SLOT, at.R_RECIPIENT, at.R_GROUP]] = -1
        registers[at.R_BATCH_ENTRY] = start.entry_seq
        registers[at.R_PERIOD_AT] = int(TIME_NONE)
        registers[at.R_STRIDE], registers[at.R_ASSETS] = stride, max(1, len(self.terms.assets))
        registers[at.R_PROGRAMS] = len(self.terms.programs)

    def _add_programs(self) -> None:
        count = len(self.terms.programs)
        self.table(at.HOLDER_NUMBERS)[:count, 0] = [-program.number for program in self.terms.programs]
        self._tables[at.STATUS][:count, 0] = [int(program.status) for program in self.terms.programs]
        self._tables[at.HOLDER_KINDS][:count, 0] = int(EntityType.PROGRAM)
        self.table(at.REGISTERS)[0, at.R_SLOTS] = count
        # A book without holders has none that could be missing.
        self.table(at.PROGRAMS)[:, at.PROGRAM_LOADED] = int(self.register(at.R_HOLDER) == 0)


def text_of(kind: int, value: int, scale: int, pool: Texts) -> str:
    """The text form of an attribute's cell (§11.4): numbers plain, booleans, timestamps RFC 3339."""
    if kind == Kind.TEXT:
        return pool.text(value)
    if kind == Kind.BOOL:
        return "true" if value else "false"
    if kind == Kind.TIMESTAMP:
        return timestamp_text(value)
    return format_mantissa(value, scale)
