"""Where everything of the books lies: tables of integers, their columns, and the registers.

A *table* is one C-contiguous array, int64 unless its number is `BYTE_TABLES` or more (int8). Compiled code does not get
the arrays but their *handles*, one row (address, rows, columns) per table: numba passes a named tuple of thirty arrays
as two hundred scalars per call and counts references on each of them, which was measured to cost more than the
bookkeeping itself. `ledger.state.State` owns the arrays, keeps them alive, and renews the handles when one grows.

Everything the kernel writes goes through `put`/`put_byte` (undoable) or `row` (append), so that an event which fails
or finds a table full leaves nothing behind.
"""

from __future__ import annotations

import numpy as np

from earnbook.ledger.compiled import inlined
from earnbook.ledger.memory import bytes_at, integers_at, rows_at
from earnbook.ledger.schema import Int8s, Int64s

# --- tables: state --------------------------------------------------------------------------------------------------
REGISTERS = 0  # [REGISTER_COUNT]
SAVED = 1  # [2 * REGISTER_COUNT] registers at the start of the record, and after its holders were made
ACCOUNTS = 2  # [slot, asset, stride] see ACCOUNT_*
LOTS = 3  # [lot, LOT_COLUMNS]
DUE = 4  # [heap, DUE_COLUMNS]
HOLDER_NUMBERS = 5  # [slot] number of the holder; of a program its number, negated
PERSON_SLOTS = 6  # [person] slot, -1: not a holder of the book
PERSON_ORIGINS = 7  # [person] -1: an external id, may be created; else the person whose holder this id would be
SYSTEMS = 8  # [asset, 3 system accounts, SYSTEM_COLUMNS]
PATTERNS = 9  # [pattern, PATTERN_WORDS + words]
PATTERN_INDEX = 10  # [hash] pattern + 1
UNDO = 11  # [entry, UNDO_COLUMNS]
PENDING_DUE = 12  # [entry, DUE_COLUMNS] due items of the record at hand
PENDING_FREE = 13  # [entry] lots closed by the record at hand
COUNTER_LOW = 14  # [slot, counter]
COUNTER_HIGH = 15
COUNTER_RESET_AT = 16
COUNTER_RESET_AFTER = 17
TAGS = 18  # [slot, word]
ATTRIBUTE_VALUE = 19  # [slot, attribute]
# --- tables: definitions --------------------------------------------------------------------------------------------
ASSETS = 20  # [asset, ASSET_COLUMNS]
PROGRAMS = 21  # [program, PROGRAM_COLUMNS]
LINKS = 22  # [program, asset] 1: linked
ACTIONS = 23  # [action, ACTION_COLUMNS], those of program 0 first
# --- tables: one batch ----------------------------------------------------------------------------------------------
WORK = 24  # [WORK_COLUMNS, record]
OUTCOMES = 25  # [OUTCOME_COLUMNS, record]
MOVEMENTS = 26  # [MOVEMENT_COLUMNS, row] the journal; these and the next are column by column
DUE_ENTRIES = 27
NEW_LOTS = 28
LOT_MOVES = 29
CHANGES = 30
NEW_HOLDERS = 31
TOUCHED = 32  # [1, row] index in ACCOUNTS of each balance that the batch changed
EFFECTS = 33  # [effect, FX_COLUMNS]
# --- tables of targets, budgets, tiers, generated events ------------------------------------------------------------
TARGET_PERSONS = 34  # [text code, TargetKind - 1] person + 1, 0: not looked up yet, < 0: an Outcome, negated
BUDGETS = 35  # [budget, BUDGET_COLUMNS]
RESULTS = 36  # [RESULT_COLUMNS, row] actions that were suppressed or failed, column by column
TIER_ACQUIRED = 37  # [slot, tier type]
TIER_EXPIRES = 38  # [slot, tier type]
TIERS = 39  # [tier type, TIER_COLUMNS]
LEVELS = 40  # [level, LEVEL_COLUMNS]
CRITERIA = 41  # [criterion, CRITERION_COLUMNS]
SCHEDULE = 42  # [item, SCHEDULE_COLUMNS] events that will be generated
GENERATED = 43  # [GENERATED_COLUMNS, row] events that the batch generated, column by column
ATTEMPTS = 44  # [ATTEMPT_COLUMNS, row] further attempts at events, column by column
DUE_CHANGES = 45  # [DUE_CHANGE_COLUMNS, row] changes made by due work, column by column
TIER_MARKS = 46  # [row, MARK_COLUMNS] what the event at hand did that the evaluation of tiers must know
REDEMPTIONS = 47  # [REDEMPTION_COLUMNS, row] redemptions that the batch made, column by column
ENTRY_REFERENCES = 48  # [ENTRY_REFERENCE_COLUMNS, row] references of entries that no lot carries, column by column
PROFILES = 49  # [slot, HolderField - 1] text code + 1, 0: absent; without columns where no operation needs them
REVERSALS = 50  # [REVERSAL_COLUMNS, row] reversals that the batch made, column by column
OPERANDS = 51  # [operand, OPERAND_COLUMNS] what money operations of the batch say beside their amount
PARTS = 52  # [row, PART_COLUMNS] the recipients of transfers, and the lots that filters name
RESTORES = 53  # [row, RESTORE_COLUMNS] what the reversal at hand restores, last consumed first
TIER_DOWNGRADE = 54  # [slot, tier type] when a level that was not renewed at a period end falls, TIME_NONE: none
PERIOD_HOLDERS = 55  # [row] slots of the participants that the period end at hand is about, in the order of numbers
PERIOD_TIERS = 56  # [row, PERIOD_COLUMNS] the tier types whose period ends, with the dates of the next period
PERIOD_ROLLS = 57  # [row, ROLL_COLUMNS] the counters rolled then, those of one counter together
THRESHOLDS = 58  # [row, THRESHOLD_COLUMNS] criteria that automations wait for
# --- tables of bytes ------------------------------------------------------------------------------------------------
BYTE_TABLES = 64
ENROLLMENTS = 64  # [slot, program] Status, 0: not enrolled
COUNTER_SCALE = 65  # [slot, counter] -1: absent
ATTRIBUTE_KIND = 66
ATTRIBUTE_SCALE = 67
STATUS = 68  # [slot] Status
HOLDER_KINDS = 69  # [slot] EntityType
TIER_LEVEL = 70  # [slot, tier type] position of the level by ascending rank, from 1; 0: base
TIER_NOTED = 71  # [slot, tier type] position of the level that is noted for TIER_DOWNGRADE (0: base), or OWN_EXPIRY
TABLE_COUNT = 80
"""Numbers without a table are kept for later; their handles are zeros."""

# --- registers ------------------------------------------------------------------------------------------------------
# Those up to REGISTERS_SAVED go back when a record is undone.
R_CLOCK = 0  # the book clock
R_LOG_SEQ = 1  # the last number given, of each kind
R_ENTRY_SEQ = 2
R_LOT_SEQ = 3
R_CHANGE_SEQ = 4
R_HOLDER = 5
R_SLOTS = 6  # slots in use
R_LOTS = 7  # rows of LOTS that were ever in use
R_LOT_FREE = 8  # first free row below that, + 1; the rest is chained through LOT_NEXT
R_PATTERNS = 9
R_LATEST = 10  # the latest timestamp of an external record (§4.2)
R_MOVEMENTS = 11  # rows in use
R_DUE_ENTRIES = 12
R_NEW_LOTS = 13
R_LOT_MOVES = 14
R_CHANGES = 15
R_NEW_HOLDERS = 16
R_TOUCHED = 17
R_PENDING_DUE = 18
R_PENDING_FREE = 19
R_DUE = 20  # the heap
R_RESULTS = 21
R_SCHEDULE = 22
R_GENERATED = 23
R_ATTEMPTS = 24
R_DUE_CHANGES = 25
R_TIER_MARKS = 26
R_REDEMPTIONS = 27
R_ENTRY_REFERENCES = 28
R_REVERSALS = 29
R_SCHEDULE_FREE = 30  # first free row of SCHEDULE + 1; the rest is chained through SCHEDULE_NEXT
REGISTERS_SAVED = 32
R_UNDO = 32  # entries in use
R_MARK = 33  # entries when the holders of the record were made
R_FULL = 34  # the table that ran out of room + 1, 0: none
R_CURSOR = 35  # the record at hand
R_STEP = 36  # 1: the record at hand waits for its effects, its holders are made
R_GIVEN_RECORD = 37  # the record whose effects the caller has written, -1: none
R_GIVEN = 38  # how many
R_BATCH_ENTRY = 39  # R_ENTRY_SEQ when the batch began
R_SLOT = 40  # slot of the participant at hand, -1: none
R_RECIPIENT = 41
R_FAILED_ACTION = 42  # book number of the failing action
R_STRIDE = 43  # integers per account in ACCOUNTS: 8, or 16 with chains of lots
R_ASSETS = 44  # how many
R_PROGRAMS = 45
R_TEXT_EFFECT = 46  # the effect whose text form must be known (see kernel.TEXT_FORMS)
R_TEXT_TARGET = 47  # and the slot it is about
R_GROUP = 48  # slot of the group that the event names (`group_field`), -1: none
R_FAILED_EFFECT = 49  # position of the failing effect
R_SUPPRESSED = 50  # effects of the event at hand that a budget suppressed
R_ATTEMPT = 51  # the attempt at the event at hand, from 1
R_TICK = 52  # the budget whose next reset the caller must find, and the time after which it must be
R_TICK_AFTER = 53
R_BAIL = 54  # why the record at hand was left to the closures, a `schema.Bail`
R_TARGET = 60  # slot of the target at hand
R_MISS_KIND = 61  # TargetKind and text code that nobody has looked up (see kernel.MISS)
R_MISS_TEXT = 62
R_RECORDS = 64  # records of the batch; what WORK has beyond them are rows of events that are not records of the batch
R_ORIGIN = 65  # where what is at hand comes from: FROM_LOG, FROM_DUE, FROM_RETRY
R_ROW = 66  # its row in WORK and in the columns
R_IS_SYSTEM = 67  # 1: a generated event is at hand, or a further attempt at one
R_DESCENT = 68  # its generation * 2, + 1 where it descends from a broadcast (§17.5); 0 for external events
R_SCHEDULED = 69  # events that it scheduled so far
R_BROADCASTS = 70  # and broadcasts that it sent
R_GENERATED_MAX = 71  # events that the batch may generate
R_PERIOD_AT = 72  # the period end at hand, which takes many steps, TIME_NONE: none
R_PERIOD_UNIT = 73  # its next step
R_PERIOD_HOLDERS = 74  # rows of PERIOD_HOLDERS, PERIOD_TIERS and PERIOD_ROLLS
R_PERIOD_TIERS = 75
R_PERIOD_ROLLS = 76
R_WATCHED = 77  # one bit per StateType whose changes the caller must follow (see `ledger.automations`), 0: none
R_FOLLOWED = 78  # changes of the batch that were followed
R_UNDO_DONE = 79  # entries of UNDO that what was done last has left, still readable
R_THRESHOLDS = 80  # rows of THRESHOLDS, -1: any change of a counter is followed where counters are watched
REGISTER_COUNT = 88

SLACK = 64
"""Rows a table must have left when a step begins: more than any step appends."""

# --- columns --------------------------------------------------------------------------------------------------------
ACCOUNT_BALANCE = 0  # AVAILABLE, HELD, DEFERRED
ACCOUNT_OVERDRAFT = 3
ACCOUNT_LAST = 4  # the last entry of each bucket
ACCOUNT_CHAIN = 8  # first and last lot + 1 of DEFERRED, AVAILABLE, HELD (LotStatus order)
ACCOUNT_STRIDE_SIMPLE, ACCOUNT_STRIDE_LOT = 8, 16

LOT_SEQ, LOT_SLOT, LOT_ASSET, LOT_STATUS, LOT_REMAINING, LOT_CREATED, LOT_EXPIRES, LOT_MATURES = range(8)
LOT_ROOT, LOT_PROGRAM, LOT_SOURCE, LOT_REFERENCE, LOT_NEXT, LOT_PREVIOUS, LOT_HINT, LOT_HINT_SEQ = range(8, 16)
LOT_HOLD, LOT_PROVISIONAL = LOT_HINT, LOT_HINT_SEQ  # once a lot is HELD: text code of its stamp (-1: none), 0 or 1
LOT_COLUMNS = 16  # asset is an index, program a number, source an account code; links and the hint are lot + 1

DUE_AT, DUE_KEY, DUE_ITEM = range(3)
DUE_COLUMNS = 3  # ordered by all three
DUE_RANK_SHIFT = 60  # DUE_KEY is rank << 60 | the first part of the key of §4.4 (a lot: its lot_seq)
RANK_MATURITY, RANK_EXPIRATION, RANK_BUDGET, RANK_TIER, RANK_PERIOD, RANK_AUTOMATION, RANK_EVENT = range(1, 8)

SYSTEM_LOW, SYSTEM_HIGH, SYSTEM_LAST = range(3)
SYSTEM_COLUMNS = 3

UNDO_TABLE, UNDO_INDEX, UNDO_VALUE = range(3)
UNDO_COLUMNS = 3

PATTERN_PROGRAM, PATTERN_ACTION, PATTERN_WORDS = range(3)

ASSET_NUMBER, ASSET_SCALE, ASSET_MODE, ASSET_POLICY, ASSET_STATUS, ASSET_MAX = range(6)
ASSET_COLUMNS = 6  # ASSET_MAX in minor units, -1: no limit

PROGRAM_NUMBER, PROGRAM_STATUS, PROGRAM_CREATES, PROGRAM_ACTION, PROGRAM_ACTIONS = range(5)
PROGRAM_LITERAL, PROGRAM_LITERALS, PROGRAM_WORDS, PROGRAM_TIER, PROGRAM_TIERS = range(5, 10)
PROGRAM_LOADED = 10  # 1: every holder enrolled in it is in the State
PROGRAM_TARGET, PROGRAM_TARGET_GROUP, PROGRAM_TARGET_PERSON = range(11, 14)
# Where redemptions go: a system account or a wallet (its code), or 0: the holder that one of two persons is, the group
# before the participant; -1: there is no such person.
PROGRAM_COLUMNS = 14  # first action, literal and tier type that is evaluated, and how many; words of one section

ACTION_TYPE, ACTION_ASSET, ACTION_BUCKET, ACTION_NEGATIVE = range(4)
ACTION_EXPIRES_KIND, ACTION_EXPIRES, ACTION_MATURES_KIND, ACTION_MATURES = range(4, 8)
ACTION_KEY, ACTION_NAME, ACTION_NUMBER, ACTION_RESET_AFTER, ACTION_RULE, ACTION_BUDGET = range(8, 14)
ACTION_EVERYTHING = 14
ACTION_COLUMNS = 15  # ACTION_RULE is the rule's position in its program, ACTION_BUDGET an index in BUDGETS, -1: none
# ACTION_EVERYTHING is 1 where value moves but no amount is named: all that matches.
# Of SET_TIER, ACTION_KEY is the tier type's column and ACTION_NAME the position of the level.
ACTION_TEMPLATE, ACTION_DELAY = ACTION_KEY, ACTION_RESET_AFTER  # of actions that make events: see SCHEDULE_TEMPLATE
DATE_NONE, DATE_DURATION, DATE_TIME = range(3)

BUDGET_NUMBER, BUDGET_PROGRAM, BUDGET_LIMIT, BUDGET_CONSUMED, BUDGET_NEXT, BUDGET_KEY = range(6)
BUDGET_INTERVAL, BUDGET_ORIGIN, BUDGET_TICK_AFTER, BUDGET_TICK = range(6, 10)
BUDGET_COLUMNS = 10
BUDGET_KEY_SHIFT = 24  # BUDGET_KEY is rule number << 24 | asset number
# The program is a slot; BUDGET_NEXT is TIME_NONE for a lifetime budget; BUDGET_KEY the key of §4.4; an interval of 0
# means that a cron expression decides: its tick after BUDGET_TICK_AFTER is BUDGET_TICK, which the caller writes.

TIER_NUMBER, TIER_PROGRAM, TIER_STATUS, TIER_LEVEL_FIRST, TIER_LEVELS, TIER_QUALIFIES = range(6)
TIER_RETENTION, TIER_DURATION, TIER_GRACE, TIER_FLOOR, TIER_DROPS_ONE, TIER_IS_EXCESS = range(6, 12)
TIER_PERIOD = 12
PERIOD_END, PERIOD_EXPIRY, PERIOD_EXPIRY_AFTER, PERIOD_DOWNGRADE = range(4)
PERIOD_DATES = 4
TIER_COLUMNS = TIER_PERIOD + PERIOD_DATES  # program is a slot; those of one program stand together, by number
# A `Retention` that is in force, 0: levels neither end nor are renewed by themselves; microseconds; the position of
# min_level. From TIER_PERIOD on the PERIOD_DATES of the running period, which its caller computes: when it ends, when a
# level expires that is granted before that time and one that is granted then, and when a level falls that is not
# renewed then. TIME_NONE stands for each that there is not.
OWN_EXPIRY = -1  # in TIER_NOTED: the level is an assignment with an expiry of its own (§14.5)

PERIOD_TIER = PERIOD_DATES
PERIOD_COLUMNS = PERIOD_DATES + 1

ROLL_COUNTER, ROLL_NAME, ROLL_TIER = range(3)
ROLL_COLUMNS = 3  # column of the cells, number in `names`, tier type that lists it

LEVEL_NAME, LEVEL_RANK, LEVEL_CRITERION, LEVEL_CRITERIA, LEVEL_IS_ANY = range(5)
LEVEL_COLUMNS = 5  # those of one tier type stand together, by ascending rank

CRITERION_COUNTER, CRITERION_OPERATOR, CRITERION_LOW, CRITERION_HIGH, CRITERION_SCALE = range(5)
CRITERION_COLUMNS = 5
THRESHOLD_NAME = CRITERION_COLUMNS  # the counter's number in `names`, behind the columns of a criterion
THRESHOLD_COLUMNS = 6

MARK_SLOT, MARK_TIER = range(2)
MARK_COLUMNS = 2

WORK_KIND, WORK_PROGRAM, WORK_PERSON, WORK_RECIPIENT, WORK_BASE, WORK_TYPE, WORK_ASSET, WORK_AMOUNT, WORK_CODE = range(
    9
)
WORK_GROUP = 9  # person of the group that `group_field` names, -1: none
WORK_COLUMNS = 10
WORK_OPERAND = WORK_RECIPIENT  # of money operations: row of OPERANDS, -1: there is nothing to say (fund, burn)
# WORK_PERSON and WORK_GROUP of a money operation are its entity, participant or group (of a transfer the source).
WORK_EVENT = WORK_AMOUNT  # of retry_event: the row of its event, or EVENT_*; EVENT_GENERATED - n: row n of GENERATED
EVENT_UNKNOWN, EVENT_ASK, EVENT_GENERATED = -1, -2, -3  # no such event; perhaps one that the batch generates
WORK_DESCENT = WORK_CODE  # of rows beyond the records: R_DESCENT of the event, -1: it is external

TARGET_COLUMNS = 3


OUTCOME_LOG_SEQ, OUTCOME_PROCESSED, OUTCOME_CODE, OUTCOME_ACTION, OUTCOME_PATTERN = range(5)
OUTCOME_HOLDER, OUTCOME_RECIPIENT, OUTCOME_LATE = range(5, 8)
OUTCOME_LAST, OUTCOME_ATTEMPTS = range(8, 10)  # of an event that was retried: the last code, further attempts
OUTCOME_COLUMNS = 10

SCHEDULE_AT, SCHEDULE_PARENT, SCHEDULE_ACTION, SCHEDULE_TEMPLATE, SCHEDULE_SLOT = range(5)
SCHEDULE_DESCENT, SCHEDULE_POSITION, SCHEDULE_NEXT = range(5, 8)
SCHEDULE_COLUMNS = 8  # event_timestamp, log_seq, number of the action, row of WORK behind the records, holder
SCHEDULE_ROW_BITS = 31  # DUE_ITEM of a generated event is the holder's number << 31 | row of SCHEDULE
KEY_ORIGIN_SHIFT, KEY_PARENT_SHIFT = 58, 16  # DUE_KEY of one: origin, parent log_seq, position of the action
ORIGIN_AUTOMATION, ORIGIN_SCHEDULED, ORIGIN_BROADCAST = range(3)
NO_SLOT = -1  # SCHEDULE_SLOT of an event without participant; NO_SLOT - 1 - n: of the one whom person n names

# The first columns of GENERATED and ATTEMPTS are those of OUTCOMES.
GENERATED_AT, GENERATED_PARENT, GENERATED_ACTION, GENERATED_TEMPLATE, GENERATED_SLOT, GENERATED_DESCENT = range(10, 16)
GENERATED_COLUMNS = 16
ATTEMPT_NUMBER, ATTEMPT_BY, ATTEMPT_FIRST_CHANGE, ATTEMPT_LAST_CHANGE = range(10, 14)
ATTEMPT_COLUMNS = 14  # from 2; log_seq of the operation; the changes that it made
FROM_LOG, FROM_DUE, FROM_RETRY = range(3)

PROFILE_COLUMNS = 6

MOVEMENT_COLUMNS = 9
DUE_ENTRY_COLUMNS = 4
NEW_LOT_COLUMNS = 12
LOT_MOVE_COLUMNS = 10
ENTRY_REFERENCE_COLUMNS = 2
CHANGE_COLUMNS = 15
DUE_CHANGE_COLUMNS = 4
NEW_HOLDER_COLUMNS = 3

OPERAND_DIRECTION, OPERAND_BUCKET, OPERAND_NEGATIVE, OPERAND_REFERENCE, OPERAND_IS_LOT = range(5)
OPERAND_EXPIRES_KIND, OPERAND_EXPIRES, OPERAND_MATURES_KIND, OPERAND_MATURES = range(5, 9)
OPERAND_FROM, OPERAND_TO, OPERAND_PART, OPERAND_PARTS = range(9, 13)
OPERAND_COLUMNS = 13
# A `Direction`, a `Bucket`, whether AVAILABLE may become negative, a text code (-1: none), 1 where a field was given
# that only LOT assets have. Dates as of actions. earned_from and earned_to, 0 and TIME_MAX where they are absent. First
# row of PARTS and how many, -1: no lots are named. LOTS_ASK says that a hold, release or forfeit lists lots by ids that
# the caller must find (`State.name_lots`): the kernel leaves such an operation to its caller.
LOTS_NONE, LOTS_ASK = -1, -2
PART_PERSON, PART_GROUP, PART_AMOUNT, PART_CODE = range(4)
PART_COLUMNS = 4  # recipient of a transfer: participant or group, -1: the other one; amount in minor units, value code
PART_LOT = PART_PERSON  # of a filter: a lot_seq, in ascending order, -1: no lot of the book has that id

REDEMPTION_COLUMNS = 9
REVERSAL_COLUMNS = 5
RESTORE_SEQ, RESTORE_AMOUNT, RESTORE_ROOT, RESTORE_PROGRAM, RESTORE_SOURCE, RESTORE_CREATED = range(6)
RESTORE_EXPIRES, RESTORE_MATURES, RESTORE_REFERENCE, RESTORE_STATUS = range(6, 10)
RESTORE_COLUMNS = 10
# A lot, what it gets back, and what it was when it was made. The status is CONSUMED or EXPIRED, as of a closed lot; of
# a lot that is open it is not read.
RESULT_COLUMNS = 10


@inlined
def vector(handles: Int64s, table: int) -> Int64s:
    """A table of integers as one flat array."""
    return integers_at(handles[3 * table])  # type: ignore[no-any-return]


@inlined
def matrix(handles: Int64s, table: int) -> Int64s:
    """A table of integers as rows and columns."""
    return rows_at(handles[3 * table], handles[3 * table + 2])  # type: ignore[no-any-return]


@inlined
def byte_vector(handles: Int64s, table: int) -> Int8s:
    """A table of bytes as one flat array."""
    return bytes_at(handles[3 * table])  # type: ignore[no-any-return]


@inlined
def width(handles: Int64s, table: int) -> int:
    """The integers in one row of a table."""
    return int(handles[3 * table + 2])


@inlined
def put(handles: Int64s, table: int, index: int, value: int) -> None:
    """Write one integer of a table (flat index) so that it can be undone."""
    cells = vector(handles, table)
    _log(handles, table, index, cells[index])
    cells[index] = value


@inlined
def put_byte(handles: Int64s, table: int, index: int, value: int) -> None:
    """Write one byte of a table (flat index) so that it can be undone."""
    cells = byte_vector(handles, table)
    _log(handles, table, index, np.int64(cells[index]))  # type: ignore[arg-type]
    cells[index] = value


@inlined
def _log(handles: Int64s, table: int, index: int, old: int) -> None:
    at = claim(handles, UNDO, R_UNDO)
    undo = matrix(handles, UNDO)
    undo[at, UNDO_TABLE] = table
    undo[at, UNDO_INDEX] = index
    undo[at, UNDO_VALUE] = old


@inlined
def claim(handles: Int64s, table: int, register: int) -> int:
    """The next row of a table stored row by row; tells R_FULL when the slack is touched."""
    registers = vector(handles, REGISTERS)
    at = registers[register]
    registers[register] = at + 1
    if at + SLACK >= handles[3 * table + 1]:
        registers[R_FULL] = table + 1
    return at  # type: ignore[no-any-return]


@inlined
def claim_column(handles: Int64s, table: int, register: int) -> int:
    """The next row of a table stored column by column; tells R_FULL when the slack is touched."""
    registers = vector(handles, REGISTERS)
    at = registers[register]
    registers[register] = at + 1
    if at + SLACK >= handles[3 * table + 2]:
        registers[R_FULL] = table + 1
    return at  # type: ignore[no-any-return]


@inlined
def await_item(handles: Int64s, at: int, key: int, item: int) -> None:
    """Note something for the queue of due work; it is queued when the record is certain."""
    row = claim(handles, PENDING_DUE, R_PENDING_DUE) * DUE_COLUMNS
    pending = vector(handles, PENDING_DUE)
    pending[row + DUE_AT] = at
    pending[row + DUE_KEY] = key
    pending[row + DUE_ITEM] = item
