"""Money operations that wait for the book or the catalog: redeem_item, reverse_redemption, and those that list lots.

The kernel stops at them. Here the reward, the redemption or the lots are found, and refusals of the catalog are tested;
the compiled verbs of the ledger do the rest. Outcomes are tested in the order of A.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import MINOR_MAX, classify_amount
from earnbook.ledger.money_verbs import MoneyVerbs
from earnbook.ledger.operate_write import slot_of
from earnbook.ledger.pool import StringPool
from earnbook.ledger.results import Rows
from earnbook.ledger.schema import Bucket, Int64s, LotStatus, Outcome, RewardStatus
from earnbook.ledger.state import State
from earnbook.pipeline.generated import GeneratedEvents
from earnbook.pipeline.lot_names import LotNames
from earnbook.pipeline.operation_columns import MoneyColumns
from earnbook.pipeline.redemptions import Redemption, Redemptions
from earnbook.pipeline.terms import RunTerms
from earnbook.pipeline.terms_rewards import RewardTerms

_NO_REWARD = 0
_OF_ALL = 0

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a redemption or reversal is about: amount in minor units, units (-1: none), and what refuses it."""

    amount: int
    quantity: int = -1
    code: Outcome = Outcome.OK


class MoneyOperations:
    """The money operations of a run that its caller carries out; `name`, `look_back` and `begin` come before deciding.

    `counts` are the units redeemed by (reward, holder) numbers, holder 0 for all; nothing is missing of the holders
    that are loaded.
    """

    def __init__(
        self, state: State, run: RunTerms, pool: StringPool, generated: GeneratedEvents, organization_id: str
    ) -> None:
        self._state, self._run = state, run
        self._verbs = MoneyVerbs(state)
        program_ids = [program.id for program in run.definitions]
        self._rewards = {reward.number: reward for reward in run.rewards.values()}
        self._redemptions = Redemptions(state, pool, program_ids, self._rewards)
        self._lots = LotNames(state, organization_id, program_ids, dict(_actions_of(run)), generated)
        self.counts: dict[tuple[int, int], int] = {}

    # --- before deciding --------------------------------------------------------------------------------------------

    def name(self, records: pa.Table) -> None:
        """Read what the operations of a batch look back at."""
        if self._run.needs.looks_back:
            self._redemptions.name(records)

    def find_redemptions(self, connection: duckdb.DuckDBPyConnection) -> Int64s:
        """Read the redemptions of the book that the batch names; the numbers of the holders that these are about."""
        return self._redemptions.load(connection)

    def find_lots(
        self, connection: duckdb.DuckDBPyConnection, records: pa.Table, persons: Int64s, groups: Int64s
    ) -> None:
        """Read the ids of the lots that the batch may list; holders are loaded. Persons are -1 where there is none."""
        asks = pc.match_substring(records.column("fields"), '"lot_ids":').fill_null(False).to_numpy()
        named = np.where(persons >= 0, persons, groups)[asks]
        slots = np.array([slot_of(self._state.handles, person) for person in np.unique(named).tolist()], np.int64)
        if len(slots):
            self._lots.load(connection, slots, self._redemptions.lots)

    def begin(self, records: pa.Table, persons: Int64s) -> None:
        """Take in the records of a batch; `persons` are their participants."""
        if self._run.needs.looks_back:
            self._redemptions.begin(persons)
            self._lots.begin(records)

    def listing(self, money: MoneyColumns, records: int) -> Int64s:
        """The rows of the operations that list lots."""
        operand = money.operand[:records]
        asks = operand >= 0
        asks[asks] = money.operands[operand[asks], at.OPERAND_PARTS] == at.LOTS_ASK
        return np.flatnonzero(asks)

    # --- deciding ---------------------------------------------------------------------------------------------------

    def move_listed(self, row: int, fields: Fields) -> Outcome:
        """A hold, release or forfeit of the lots that it lists."""
        state, work = self._state, self._state.table(at.WORK)[:, row]
        person = int(work[at.WORK_PERSON] if work[at.WORK_PERSON] >= 0 else work[at.WORK_GROUP])
        slot = int(slot_of(state.handles, person))
        bucket = state.table(at.OPERANDS)[work[at.WORK_OPERAND], at.OPERAND_BUCKET]
        status = LotStatus.HELD if bucket == Bucket.HELD else LotStatus.AVAILABLE
        return self._verbs.move_listed(self._lots.find(fields["lot_ids"], slot, int(work[at.WORK_ASSET]), status))

    def redeem_item(self, program: int, person: int, fields: Fields) -> Outcome:
        """A redemption from the catalog (§16.2)."""
        reward = self._run.rewards.get(fields["reward_id"])
        if reward is None or reward.program != program:
            return self._verbs.redeem_item(asset=-1, amount=0, reward=_NO_REWARD, reward_code=Outcome.REWARD_NOT_FOUND)
        slot = int(slot_of(self._state.handles, person))
        holder = int(self._state.numbers[slot]) if slot >= 0 else -1
        asked = self._item_asked(reward, fields)
        units = int(fields.get("quantity", 1)) if reward.is_unit_based else -1
        refusal = reward.refusal(
            self._state.clock,
            units,
            count=self.counts.get((reward.number, _OF_ALL), 0),
            own_count=self.counts.get((reward.number, holder), 0),
        )
        is_by_value = asked.code in (Outcome.AMOUNT_NOT_POSITIVE, Outcome.AMOUNT_EXCEEDS_SCALE, Outcome.AMOUNT_OVERFLOW)
        outcome = self._verbs.redeem_item(
            asset=reward.asset,
            amount=asked.amount,
            reward=reward.number,
            quantity=asked.quantity,
            value_code=asked.code if is_by_value else Outcome.OK,
            reward_code=_smallest(refusal, Outcome.OK if is_by_value else asked.code),
        )
        if outcome is Outcome.OK and asked.quantity >= 0:
            self._count(reward.number, program, holder, asked.quantity)
        return outcome

    def _item_asked(self, reward: RewardTerms, fields: Fields) -> _Asked:
        """What is redeemed of a reward, or why that is no amount."""
        is_unit_based = reward.is_unit_based
        if is_unit_based:
            if "amount" in fields:
                return _Asked(0, code=Outcome.INVALID_AMOUNT)
            quantity = int(fields.get("quantity", 1))
            amount = quantity * reward.unit_cost
            return _Asked(0, code=Outcome.AMOUNT_OVERFLOW) if amount > MINOR_MAX else _Asked(amount, quantity)
        if "amount" not in fields:
            return _Asked(0, code=Outcome.INVALID_AMOUNT)
        asked = self._amount(fields, reward.asset)
        if asked.code is Outcome.OK and asked.amount < reward.unit_cost:
            return _Asked(asked.amount, code=Outcome.AMOUNT_BELOW_MINIMUM)
        return asked

    def _amount(self, fields: Fields, asset: int) -> _Asked:
        amount, code = classify_amount(Decimal(str(fields["amount"])), self._run.terms.assets[asset].scale)
        if code == Outcome.OK and amount <= 0:
            code = Outcome.AMOUNT_NOT_POSITIVE
        return _Asked(amount, code=Outcome(code))

    def reverse_redemption(self, row: int, fields: Fields) -> Outcome:
        """A reversal of what remains of a redemption, or of a part of it (§16.3)."""
        found = self._redemptions.find(row)
        if found is None:
            return Outcome.REDEMPTION_NOT_FOUND
        asked = self._reversal_asked(found, fields)
        if asked.code is not Outcome.OK:
            return asked.code
        outcome = self._verbs.reverse(
            redemption=found.log_seq,
            slot=found.slot,
            asset=found.asset,
            target=found.target,
            amount=asked.amount,
            quantity=asked.quantity,
            restores=self._redemptions.restores(found, asked.amount),
            payee=found.payee,
        )
        if outcome is Outcome.OK:
            found.reversed_amount += asked.amount
            if asked.quantity >= 0:
                found.reversed_quantity += asked.quantity
                holder = int(self._state.numbers[found.slot])
                self._count(found.reward, found.program, holder, -asked.quantity)
        return outcome

    def _reversal_asked(self, found: Redemption, fields: Fields) -> _Asked:
        """What is reversed: by units where units were redeemed, else by amount."""
        given = self._amount(fields, found.asset) if "amount" in fields else None
        if given is not None and given.code is not Outcome.OK:
            return given
        if found.quantity is None:
            if "quantity" in fields:
                return _Asked(0, code=Outcome.INVALID_REVERSAL)
            left = found.amount - found.reversed_amount
            asked = _Asked(left) if given is None else given
        else:
            if given is not None:
                return _Asked(0, code=Outcome.INVALID_REVERSAL)
            left = found.quantity - found.reversed_quantity
            quantity = int(fields.get("quantity", left))
            asked = _Asked(quantity * found.unit_cost, quantity)
        wanted = asked.amount if found.quantity is None else asked.quantity
        return asked if 0 < wanted <= left else _Asked(0, code=Outcome.REVERSAL_EXCEEDS_REMAINING)

    # --- counts of rewards ------------------------------------------------------------------------------------------

    def _count(self, reward: int, program: int, holder: int, units: int) -> None:
        """Count units of a reward, and note what it comes to."""
        for who in (_OF_ALL, holder):
            self.counts[reward, who] = self.counts.get((reward, who), 0) + units
        count = self.counts[reward, _OF_ALL]
        terms = self._rewards.get(reward)
        status = RewardStatus.ARCHIVED if terms is None else terms.status_at(count)
        self._verbs.note_reward(program, reward, count, status)

    def load_counts(self, rows: pa.Table) -> None:
        """Counts of the book: of all holders, or of those who are loaded now."""
        for row in rows.to_pylist():
            self.counts[row["reward"], row["holder"]] = row["redeemed_count"]

    def count_rows(self) -> Rows:
        """The state of counts: those that are not 0."""
        rows = sorted((reward, holder, count) for (reward, holder), count in self.counts.items() if count)
        columns = np.array(rows, np.int64).reshape(-1, 3)
        return {"reward": columns[:, 0], "holder": columns[:, 1], "redeemed_count": columns[:, 2]}

    def catalog_columns(self, rewards: Int64s) -> dict[str, Int64s]:
        """Version in force and unit cost (-1: none) of the rewards of redemptions, by number; 0 stands for none."""
        known = {number: (terms.version, terms.unit_cost) for number, terms in self._rewards.items()}
        known[_NO_REWARD] = (0, -1)
        found = np.array([known[number] for number in rewards.tolist()], np.int64).reshape(-1, 2)
        return {"reward_version": found[:, 0], "unit_cost": found[:, 1]}


def _smallest(*codes: Outcome) -> Outcome:
    """The smallest code that is not OK, else OK (A.1)."""
    return min((code for code in codes if code is not Outcome.OK), default=Outcome.OK)


def _actions_of(run: RunTerms) -> Iterable[tuple[int, tuple[str, int]]]:
    """Rule id and action index of every action, by its number in the book."""
    for program, numbers in zip(run.programs, run.actions, strict=True):
        for action, number in zip(program.actions, numbers, strict=True):
            yield number, (program.rules[action.rule].definition.id, action.index)
