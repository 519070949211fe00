"""Money operations that wait for their caller: redeem_item, reverse_redemption, and those that list lots (§15.2, §16).

The kernel stops at them (`kernel.OPERATE`), because what they mean is in the book or in the catalog. The caller finds
that and says it here; what then moves is the same compiled code as for operations that do not wait. Whatever room a
table lacks is made, so that `kernel.finish_operation` finds enough.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy.typing as npt

from earnbook.ledger import layout as at
from earnbook.ledger.compiled import compiled
from earnbook.ledger.memory import fixed_in
from earnbook.ledger.operate import entity_of, operate, refuse
from earnbook.ledger.operate_write import make_room, note
from earnbook.ledger.redemptions import redeem
from earnbook.ledger.reversals import reverse
from earnbook.ledger.schema import ChangeOperation, Int64s, Kind, Outcome, RewardStatus, StateType
from earnbook.ledger.state import State
from earnbook.ledger.undo import back_to_mark

_INT, _SET, _REWARD = int(Kind.INT), int(ChangeOperation.SET), int(StateType.REWARD)
_CHANGE_SCALE = 10  # the row of `value_scale` in CHANGES


class MoneyVerbs:
    """What money operations that wait do to the books of one State; each is about the record at the cursor.

    An operation that fails has written nothing. Nobody else may have written anything for the record before.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def move_listed(self, lots: npt.ArrayLike) -> Outcome:
        """Carry out a hold, release or forfeit whose operand says LOTS_ASK.

        `lots` are the lot_seqs of the ids that it lists, -1 for an id that no lot of the book has.
        """
        state, record = self._state, self._state.cursor
        work = state.table(at.WORK)
        state.name_lots(int(work[at.WORK_OPERAND, record]), lots)
        return self._act(lambda: operate_at(state.handles, record, int(work[at.WORK_PROGRAM, record])))

    def redeem_item(
        self,
        *,
        asset: int,
        amount: int,
        reward: int,
        quantity: int = -1,
        value_code: Outcome = Outcome.OK,
        reward_code: Outcome = Outcome.OK,
    ) -> Outcome:
        """Redeem a reward of the catalog; a change of its count is noted afterwards (`note_reward`).

        Args:
            asset: index of the reward's asset, -1: there is no such reward.
            amount: in minor units.
            reward: object number of the reward.
            quantity: of a UNIT_BASED reward, else -1.
            value_code: what the amount is refused for by itself (63-66).
            reward_code: what the reward refuses (REWARD_*, AMOUNT_BELOW_MINIMUM, INVALID_AMOUNT); without an asset the
                outcome is REWARD_NOT_FOUND where there is none.

        Returns:
            The outcome: the smallest of all codes that apply (A.1).
        """
        state, record = self._state, self._state.cursor
        work = state.table(at.WORK)
        work[[at.WORK_ASSET, at.WORK_AMOUNT, at.WORK_CODE], record] = asset, amount, int(value_code)
        program = int(work[at.WORK_PROGRAM, record])
        code = Outcome(refuse_at(state.handles, record, program))
        if code == Outcome.ASSET_NOT_FOUND:
            code = reward_code or Outcome.REWARD_NOT_FOUND
        elif reward_code != Outcome.OK:
            code = min(code or reward_code, reward_code)
        if code != Outcome.OK:
            return code
        return self._act(lambda: redeem_at(state.handles, record, program, reward, quantity))

    def reverse(
        self,
        *,
        redemption: int,
        slot: int,
        asset: int,
        target: int,
        amount: int,
        quantity: int = -1,
        restores: npt.ArrayLike = (),
        payee: int | None = None,
    ) -> Outcome:
        """Reverse (a part of) a redemption, which has so much left to reverse.

        Args:
            redemption: log_seq of the redeeming operation.
            slot: of the participant.
            asset: index of the asset.
            target: account code of the captured target.
            amount: in minor units, > 0.
            quantity: of a UNIT_BASED reward, else -1.
            restores: rows of RESTORES, the last consumed part first; none on SIMPLE assets.
            payee: the slot of the holder that is the target, where the caller knows it.

        Returns:
            OK, INSUFFICIENT_BALANCE or AMOUNT_OVERFLOW.
        """
        state = self._state
        state.name_restores(restores)
        count = len(restores)  # type: ignore[arg-type]
        if payee is None:
            payee = int(state.slots_of([target >> 2])[0]) if target > 3 else -1
        if target > 3 and payee < 0:
            raise ValueError(f"the holder of account {target} is not in the State")
        arguments = (redemption, slot, asset, target, payee, amount, quantity, count)
        return self._act(lambda: reverse_at(state.handles, *arguments))

    def note_reward(self, program: int, reward: int, count: int, status: RewardStatus) -> None:
        """Note the count and the status of a reward (its object number) of a program (its slot) after a change."""
        state = self._state
        make_room(state, 1)
        row = note(state.handles, program, _REWARD, reward, _SET, _INT, count)
        state.table(at.CHANGES)[_CHANGE_SCALE, row] = int(status)

    def _act(self, act: Callable[[], int]) -> Outcome:
        """Let compiled code act on the record; again, after a table has grown that was too small for all of it."""
        state = self._state
        code = act()
        while state.register(at.R_FULL) != 0:
            undo_act(state.handles)
            state.grow()
            code = act()
        outcome = Outcome(code)
        if outcome > Outcome.NO_EFFECT:
            undo_act(state.handles)
        state.make_room(at.DUE, at.R_DUE, state.register(at.R_PENDING_DUE) + 1)
        return outcome


@compiled
def operate_at(given: Int64s, record: int, program: int) -> int:
    """As `operate`, called from Python."""
    return operate(fixed_in(given), record, program)


@compiled
def refuse_at(given: Int64s, record: int, program: int) -> int:
    """As `refuse`, called from Python."""
    return refuse(fixed_in(given), record, program)


@compiled
def redeem_at(given: Int64s, record: int, program: int, reward: int, quantity: int) -> int:
    """Redeem what the record says, as `redemptions.redeem`."""
    handles = fixed_in(given)
    work = at.matrix(handles, at.WORK)
    asset, amount = work[at.WORK_ASSET, record], work[at.WORK_AMOUNT, record]
    return redeem(handles, program, entity_of(handles, record), asset, amount, reward, quantity)


@compiled
def reverse_at(
    given: Int64s,
    redemption: int,
    slot: int,
    asset: int,
    target: int,
    payee: int,
    amount: int,
    quantity: int,
    count: int,
) -> int:
    """As `reversals.reverse`, called from Python."""
    return reverse(fixed_in(given), redemption, slot, asset, target, payee, amount, quantity, count)


@compiled
def undo_act(given: Int64s) -> None:
    """Take back what the record at hand did."""
    back_to_mark(fixed_in(given))
