"""The layout that rules, ledger and pipeline share: codes, effects, columns and cells.

Everything here is data: integer codes (fixed, append-only, SEMANTICS A.6), the columns of one effect, and the
named tuples of arrays that generated code reads. `rules` may import this module and no other of `ledger`.

Units: amounts are int64 minor units of the asset unless a scale stands beside them; times are int64 microseconds
since 1970-01-01T00:00:00Z; -1 stands for "no index".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Int8s = npt.NDArray[np.int8]
Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt8s = npt.NDArray[np.uint8]
UInt64s = npt.NDArray[np.uint64]

TIME_NONE = np.iinfo(np.int64).min
"""A time that is absent (no expiry, no maturity, no window)."""

TIME_MAX = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z, the last instant of §4.6."""

COLUMN_SCALE_MAX = 6
"""The largest scale of a number column; a number with more decimals is WIDE and its row bails out to the closures."""

COUNTER_SCALE_MAX = 18
"""Decimals of a counter (§13.1); its absolute value is below 10**20."""


class Bucket(IntEnum):
    """The buckets of a holder's account (§9.1); a program's wallet uses AVAILABLE."""

    AVAILABLE = 1
    HELD = 2
    DEFERRED = 3


class Direction(IntEnum):
    """Which way an `adjust` goes (§15.2)."""

    CREDIT = 1
    DEBIT = 2


class EntityType(IntEnum):
    """Who owns an account or state (A.3)."""

    PARTICIPANT = 1
    GROUP = 2
    PROGRAM = 3
    SYSTEM_ISSUANCE = 4
    SYSTEM_REDEMPTION = 5
    SYSTEM_BREAKAGE = 6


class EntryType(IntEnum):
    """The action type of a journal entry (A.3)."""

    CREDIT = 1
    DEBIT = 2
    HOLD = 3
    RELEASE = 4
    FORFEIT = 5
    VOID_HOLD = 6
    SETTLE = 7
    MATURITY = 8
    EXPIRATION = 9
    REDEMPTION = 10
    REDEMPTION_REVERSAL = 11
    TRANSFER = 12
    FUND = 13
    BURN = 14


class ActionType(IntEnum):
    """The type of a rule action, in the order of §12.1."""

    CREDIT = 1
    DEBIT = 2
    HOLD = 3
    RELEASE = 4
    FORFEIT = 5
    VOID_HOLD = 6
    COUNTER = 7
    TAG = 8
    UNTAG = 9
    SET_ATTRIBUTE = 10
    SET_TIER = 11
    SCHEDULE_EVENT = 12
    BROADCAST = 13


class OperationType(IntEnum):
    """The type of an operation, in the order of §15.2 and §15.3."""

    ADJUST = 1
    HOLD = 2
    RELEASE = 3
    FORFEIT = 4
    VOID_HOLD = 5
    REDEEM = 6
    REDEEM_ITEM = 7
    REVERSE_REDEMPTION = 8
    TRANSFER = 9
    FUND = 10
    BURN = 11
    UPSERT_PARTICIPANT = 12
    SET_PARTICIPANT_STATUS = 13
    SET_PROGRAM_STATUS = 14
    ENROLL = 15
    LINK_ASSET = 16
    UNLINK_ASSET = 17
    CREATE_GROUP = 18
    UPDATE_GROUP = 19
    ARCHIVE_GROUP = 20
    ADD_MEMBER = 21
    SET_MEMBER_ROLE = 22
    REMOVE_MEMBER = 23
    ADD_TAG = 24
    REMOVE_TAG = 25
    SET_TAGS = 26
    SET_COUNTER = 27
    DELETE_COUNTER = 28
    SET_ATTRIBUTE = 29
    SET_ATTRIBUTES = 30
    REMOVE_ATTRIBUTE = 31
    SET_TIER = 32
    REMOVE_TIER = 33
    RESET_BUDGET = 34
    TRIGGER_AUTOMATION = 35
    CANCEL_AUTOMATION = 36
    REFRESH_AUTOMATION = 37
    RETRY_EVENT = 38


class RecordKind(IntEnum):
    """What a record of the log is (§1.3)."""

    EVENT = 1
    OPERATION = 2


class Cause(IntEnum):
    """What an entry or a change follows from (A.3)."""

    EVENT = 1
    OPERATION = 2
    DUE = 3
    LOAD = 4


class DueSource(IntEnum):
    """What a change made by due work follows from (§18.5): the book's kind of object, `due_changes.kind`."""

    RULE = 4
    TIER = 5
    AUTOMATION = 7


class LotStatus(IntEnum):
    """The status of a lot (§9.5, A.2)."""

    DEFERRED = 1
    AVAILABLE = 2
    HELD = 3
    CONSUMED = 4
    EXPIRED = 5


class LotMoveKind(IntEnum):
    """How a lot's remaining amount changes (§18.3)."""

    CREATE = 1
    CONSUME = 2
    HOLD = 3
    RELEASE = 4
    SPLIT = 5
    MATURE = 6
    EXPIRE = 7
    RESTORE = 8


class Status(IntEnum):
    """The status of a participant, enrollment, program, rule, asset or group; the union of A.2, never reordered."""

    ACTIVE = 1
    SUSPENDED = 2
    CLOSED = 3
    ARCHIVED = 4
    FROZEN = 5
    LOCKED = 6


class RewardStatus(IntEnum):
    """The status of a reward of the catalog (§16.2)."""

    DRAFT = 1
    ACTIVE = 2
    OUT_OF_STOCK = 3
    ARCHIVED = 4


class MemberStatus(IntEnum):
    """The status of a member of a group (§8.3)."""

    ACTIVE = 1
    LEFT = 2


class Role(IntEnum):
    """The role of a member of a group (§8.3)."""

    ADMIN = 1
    MEMBER = 2


class HolderField(IntEnum):
    """What a change of a participant or a group is about: its status, or one of its texts (§8.2, §8.3)."""

    STATUS = 0
    EMAIL = 1
    PHONE = 2
    FIRST_NAME = 3
    LAST_NAME = 4
    DISPLAY_NAME = 5
    NAME = 6  # of a group


class ActionResult(IntEnum):
    """What became of one action of a matched rule (§18.5)."""

    APPLIED = 1
    NO_EFFECT = 2
    SUPPRESSED = 3
    FAILED = 4


class TargetKind(IntEnum):
    """How an effect names its target (§12.2); FX_TARGET is a slot for SLOT, else a text code."""

    SLOT = 0  # a program's slot, or -1: the default target
    EXTERNAL_ID = 1
    PARTICIPANT_ID = 2
    GROUP = 3  # an id or a key


class InventoryMode(IntEnum):
    """How an asset's balances are kept (§7.4)."""

    SIMPLE = 1
    LOT = 2


class IssuancePolicy(IntEnum):
    """Where an asset's credits come from (§7.3)."""

    UNLIMITED = 1
    PREFUNDED = 2


class StateType(IntEnum):
    """What a change row is about (§18.5)."""

    TAG = 1
    COUNTER = 2
    ATTRIBUTE = 3
    TIER = 4
    PARTICIPANT = 5
    ENROLLMENT = 6
    GROUP = 7
    MEMBER = 8
    PROGRAM = 9
    ASSET_LINK = 10
    BUDGET = 11
    REWARD = 12
    REDEMPTION = 13
    AUTOMATION = 14
    SUBSCRIPTION = 15
    SCHEDULED_EVENT = 16


class AutomationStatus(IntEnum):
    """The status of an automation (A.2): as its definition says, or archived once a one_time is over."""

    ACTIVE = 1
    PAUSED = 2
    ARCHIVED = 3


class SubscriptionStatus(IntEnum):
    """The status of a participant's subscription to an automation (§17.4, A.2)."""

    ACTIVE = 1
    COMPLETED = 2
    FAILED = 3
    CANCELLED = 4


class Comparison(IntEnum):
    """How a criterion compares a counter with its threshold (§14.2): >=, >, ==, <=, <."""

    AT_LEAST = 1
    MORE = 2
    EQUAL = 3
    AT_MOST = 4
    LESS = 5


class Retention(IntEnum):
    """How a level is kept (§14.4): to the end of a period, or as long as there are events."""

    PERIOD_BASED = 1
    ACTIVITY_REFRESH = 2


class ChangeOperation(IntEnum):
    """The operation of a change row (§18.5)."""

    SET = 1
    DELETE = 2
    ADD = 3
    REMOVE = 4
    AUTO_RESET = 5


class Kind(IntEnum):
    """What a cell holds: of an event column, a precomputed column, or an attribute.

    The value beside it is: BOOL 0 or 1; NUMBER the mantissa at the column's scale (an attribute: see `TEXT_NUMBER`);
    TEXT a code of the text pool; TIMESTAMP microseconds since 1970; ERROR nothing (the expression is an error);
    LIST, MAP and WIDE nothing (the kernel bails out when it needs the value).
    """

    ABSENT = 0
    NULL = 1
    BOOL = 2
    NUMBER = 3
    TEXT = 4
    LIST = 5
    MAP = 6
    WIDE = 7
    TIMESTAMP = 8
    ERROR = 9
    INT = 10


class Outcome(IntEnum):
    """Outcome codes in precedence order (A.1); the printed numbers are the codes."""

    OK = 0
    NO_EFFECT = 1
    PROGRAM_SUSPENDED = 10
    PROGRAM_ARCHIVED = 11
    TARGET_MISSING = 12
    PARTICIPANT_NOT_FOUND = 13
    RECIPIENT_NOT_FOUND = 14
    GROUP_NOT_FOUND = 15
    ASSET_NOT_FOUND = 16
    RULE_NOT_FOUND = 17
    BUDGET_NOT_FOUND = 18
    REWARD_NOT_FOUND = 19
    REDEMPTION_NOT_FOUND = 20
    AUTOMATION_NOT_FOUND = 21
    EVENT_NOT_FOUND = 22
    TIER_NOT_FOUND = 23
    TIER_LEVEL_NOT_FOUND = 24
    PARTICIPANT_INACTIVE = 30
    GROUP_ARCHIVED = 31
    NOT_ENROLLED = 32
    ASSET_ARCHIVED = 33
    ASSET_NOT_LINKED = 34
    TIER_ARCHIVED = 35
    NOT_LOT_ASSET = 36
    NOT_PREFUNDED = 37
    EVENT_NOT_FAILED = 38
    AUTOMATION_NOT_ACTIVE = 39
    AUTOMATION_NOT_TRIGGERABLE = 40
    NOTHING_TO_CANCEL = 41
    ALREADY_LINKED = 42
    ASSET_IN_USE = 43
    GROUP_EXISTS = 44
    ALREADY_MEMBER = 45
    NOT_A_MEMBER = 46
    LAST_ADMIN = 47
    REWARD_NOT_ACTIVE = 48
    REWARD_OUT_OF_WINDOW = 49
    REWARD_OUT_OF_STOCK = 50
    REWARD_LIMIT_REACHED = 51
    SELF_TRANSFER = 52
    EXPRESSION_ERROR = 60
    EXPRESSION_LIMIT = 61
    INVALID_VALUE = 62
    INVALID_AMOUNT = 63
    AMOUNT_NOT_POSITIVE = 64
    AMOUNT_EXCEEDS_SCALE = 65
    AMOUNT_OVERFLOW = 66
    AMOUNT_BELOW_MINIMUM = 67
    MAX_TRANSACTION_EXCEEDED = 68
    INVALID_REFERENCE = 69
    INVALID_LOT_DATES = 70
    REFERENCE_NOT_FOUND = 71
    LOT_NOT_FOUND = 72
    INVALID_REVERSAL = 80
    REVERSAL_EXCEEDS_REMAINING = 81
    INSUFFICIENT_BALANCE = 82
    INSUFFICIENT_WALLET = 83
    COUNTER_OUT_OF_RANGE = 84
    GENERATION_LIMIT = 90


# --- accounts -------------------------------------------------------------------------------------------------------
# An account code is one int64: holder number * 4 + bucket for holders (numbers start at 1), 1, 2, 3 for the system
# accounts, minus the program's number for a wallet. The asset stands beside it.

ACCOUNT_ISSUANCE = 1
ACCOUNT_REDEMPTION = 2
ACCOUNT_BREAKAGE = 3


# --- effects --------------------------------------------------------------------------------------------------------
# One effect is one row of int64. `propose` writes one row for every action of every matched rule, in (rule order,
# action index) order; values are those of the snapshot (§10.1), checks against live state are the books'.

FX_ACTION = 0  # position of the action in its program's action list (all actions of all compiled rules, in order)
FX_TARGET = 1  # as FX_TARGET_KIND says; slot -1: the default target (event's participant, or recipient for CREDIT)
FX_TARGET_CODE = 2  # Outcome of stage 1 of §12.3, 0 when the target is fine
FX_VALUE_CODE = 3  # Outcome of stages 4-5 decided by the expression alone (60-66, 84), 0 when VALUE is good
FX_VALUE = 4  # amount or counter delta: low 64 bits of the mantissa (two's complement, 128 bits)
FX_VALUE_HIGH = 5  # high 64 bits of the mantissa
FX_VALUE_SCALE = 6  # decimals of the mantissa, 0-18
FX_TEXT_KIND = 7  # Kind of an attribute's new value (TEXT, NUMBER, BOOL, TIMESTAMP), 0 where not SET_ATTRIBUTE
FX_TEXT = 8  # its value: text code, mantissa at FX_VALUE_SCALE, 0/1, microseconds
FX_REFERENCE = 9  # text code of reference_id, -1 for none
FX_REFERENCE_CODE = 10  # Outcome of stage 7 for the reference, 0 when fine
FX_TARGET_KIND = 11  # TargetKind
# What the books note of the effect, for evaluations (§18.5); `propose` leaves these alone.
FX_RESULT = 12  # ActionResult
FX_RESULT_TARGET = 13  # slot of the target, -1: not found
FX_RESULT_AMOUNT = 14  # minor units, -1: not known
FX_COLUMNS = 15  # width of an effect row


class Bail(IntEnum):
    """Why the kernel leaves an event to the closures: what `propose` returns instead of a count, always negative."""

    NO_KERNEL = -1
    """The program has no kernel at all."""
    NOT_IN_KERNEL = -2
    """An expression or action that the kernel does not have was reached (`explain` names it)."""
    WIDE_VALUE = -3
    """A value of the event does not fit its column: beyond 64 bits, more than 6 decimals, or over a limit of CEL."""
    NUMBER_RANGE = -4
    """A result needs more than 64 bits or more than 18 decimals."""
    TIME_RANGE = -5
    """A result leaves the calendar."""
    ODD_KIND = -6
    """A value is of a kind (list, map, text, time) with which the kernel does not do what the rule asks."""
    WIDE_COUNTER = -7
    """A counter needs more than 64 bits."""
    NOBODY = -8
    """The event has no participant, whose state the kernel would read."""


BAIL = int(Bail.NO_KERNEL)
"""What the loop returns to say that the closures propose for the event at hand; the reason stands in its registers."""

# Words that `propose` fills, one bit per rule of the program in rule order, `word_count(rules)` words a section.
# The last section is the books': a CREDIT of the rule was suppressed by a budget and none of its actions was APPLIED.
WORDS_MATCHED = 0
WORDS_ERRORED = 1  # SKIPPED_ERROR
WORDS_OUTSIDE = 2  # OUTSIDE_TIME_WINDOW
WORDS_LIMITED = 3  # SKIPPED_TIMEOUT
WORDS_SUPPRESSED = 4  # BUDGET_EXCEEDED; `propose` leaves it 0
WORD_SECTIONS = 5


def word_count(rule_count: int) -> int:
    """Words of 64 bits in one section of the evaluation words of a program with so many rules (at least one)."""
    return max(1, (rule_count + 63) // 64)


class Columns(NamedTuple):
    """What rules read of the records of one batch: event fields first, precomputed columns after them.

    All arrays are C-contiguous. `kind` and `value` are indexed [column, record]; `scale` is per column.
    """

    kind: Int8s  # [columns, records] Kind
    value: Int64s  # [columns, records]
    scale: Int64s  # [columns]
    now: Int64s  # [records] event_timestamp (or effective_at), microseconds


class Cells(NamedTuple):
    """What rules read of the state of an entity, indexed [slot, key column]. Programs own slots as holders do, and
    groups are holders as participants are.

    A counter is a 128-bit mantissa (low word, high word) with a scale of 0-18; scale -1 means the counter is absent.
    A counter with a window reads as 0 when `now - counter_reset_at >= counter_reset_after` (§13.2; TIME_NONE: no
    window). Tags are bit sets. An attribute of Kind NUMBER has its scale in `attribute_scale`.
    """

    counter_low: Int64s
    counter_high: Int64s
    counter_scale: Int8s
    counter_reset_at: Int64s
    counter_reset_after: Int64s
    tags: UInt64s  # [slot, word]
    attribute_kind: Int8s
    attribute_value: Int64s
    attribute_scale: Int8s
    status: Int8s  # [slot] Status
    tier_level: Int8s  # [slot, tier type] position of the level in its type by ascending rank, from 1; 0: base
    tier_acquired_at: Int64s
    tier_expires_at: Int64s  # TIME_NONE: never


class Tables(NamedTuple):
    """Lookup tables over the text pool: table t says of text code c: `results[offsets[t] + c]`.

    A result is 0 false, 1 true, 2 error. Tables are as long as the text pool when the batch starts.
    """

    offsets: Int64s
    results: UInt8s


# `propose(record, slot, program_slot, group_slot, processed_at, columns, cells, literals, tables, effects, words)`
#   -> count | Bail
#   record: position in the batch's columns; slot, program_slot, group_slot: rows of `cells`; slot is -1 without
#   participant, group_slot without group (§11.1);
#   processed_at: P of §4.3, for rule windows; literals: the program's literals as integers (see rules.plan.Literal);
#   effects: int64[capacity, FX_COLUMNS], capacity >= the program's number of actions; words: uint64[WORD_SECTIONS * n].
# It writes no state and nothing but `effects` and `words`, and it overwrites all of `words`.


def propose_signature() -> Any:
    """The numba signature of `propose`, for generated code and for the loop that calls it by function pointer.

    numba is imported here so that the codes above cost nothing to import.
    """
    from numba import types

    def array(item: Any, dimensions: int) -> Any:
        return types.Array(item, dimensions, "C")

    int8, int64, uint8, uint64 = types.int8, types.int64, types.uint8, types.uint64
    columns = types.NamedTuple((array(int8, 2), array(int64, 2), array(int64, 1), array(int64, 1)), Columns)
    counters = (array(int64, 2), array(int64, 2), array(int8, 2), array(int64, 2), array(int64, 2))
    attributes = (array(int8, 2), array(int64, 2), array(int8, 2))
    tiers = (array(int8, 2), array(int64, 2), array(int64, 2))
    cells = types.NamedTuple((*counters, array(uint64, 2), *attributes, array(int8, 1), *tiers), Cells)
    tables = types.NamedTuple((array(int64, 1), array(uint8, 1)), Tables)
    places = (int64, int64, int64, int64, int64)
    return int64(*places, columns, cells, array(int64, 1), tables, array(int64, 2), array(uint64, 1))
