"""Redemptions, the catalog and reversals (§16) for the oracle, each check in the order of Appendix A.1.

Where SEMANTICS is open: the entity that LEDGER_ENTITY names is a program, else a group, else a participant, looked up
at the redemption, and TARGET_MISSING (before the participant) where it is none; redeeming into oneself is
SELF_TRANSFER; the quantity of a UNIT_BASED reward counts as 1 for its limits where an amount is given instead; of what
a reversal restores, the oldest lots repay the overdraft, whatever the order in which they are restored.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from tests.support.logical import Entity, Entry, Lot, Redemption, Reversal
from tests.support.logical import Reward as RewardState
from tests.support.oracle_actions import check_active, check_asset, check_maximum
from tests.support.oracle_definitions import Asset, Definitions, Program, Reward, is_id, reward_named
from tests.support.oracle_ids import record_id, redemption_id
from tests.support.oracle_intake import Person
from tests.support.oracle_lots import consume, create, expire_overdue, restore, take
from tests.support.oracle_members import find_group, known_participant
from tests.support.oracle_operation import Operation
from tests.support.oracle_operation_fields import is_uuid
from tests.support.oracle_operations_money import positive_amount
from tests.support.oracle_postings import BREAKAGE, INT64_MAX, REDEMPTION, Source, account_of, post
from tests.support.oracle_state import Cause, Failure, State

HOLDERS = ("PARTICIPANT", "GROUP")


def rewards_of(state: State, definitions: Definitions) -> dict[tuple[str, str], RewardState]:
    """Every reward of the catalogs with its count and effective status."""
    return {
        (program.key, reward.key): RewardState(
            status=_status(state, program, reward),
            redeemed_count=_count(state, program, reward),
            max_total=reward.max_total,
        )
        for program in definitions.programs.values()
        for reward in program.rewards.values()
    }


# --- redemptions -----------------------------------------------------------------------------------------------------


def _redeem(operation: Operation) -> bool:
    target = _target(operation)
    participant = operation.participant()
    asset = operation.asset()
    check_active(operation.state, ("PARTICIPANT", participant))
    _check_redeemable(operation, asset, target)
    if target == ("PARTICIPANT", participant):
        raise Failure("SELF_TRANSFER")
    amount = positive_amount(operation.fields["amount"], asset)
    check_maximum(asset, amount)
    _carry_out(operation, operation.cause, participant, asset, amount, target)
    return True


def _redeem_item(operation: Operation) -> bool:
    state, program = operation.state, operation.program
    target = _target(operation)
    participant = operation.participant()
    reward = reward_named(program, operation.needed("reward_id"))
    if reward is None:
        raise Failure("REWARD_NOT_FOUND")
    asset = operation.definitions.assets[reward.asset]
    check_active(state, ("PARTICIPANT", participant))
    _check_redeemable(operation, asset, target)
    given = operation.fields.get("quantity")
    quantity = int(given) if isinstance(given, Decimal) else 1
    _check_catalog(operation, participant, reward, quantity)
    if target == ("PARTICIPANT", participant):
        raise Failure("SELF_TRANSFER")
    amount = _item_amount(operation, asset, reward, quantity)
    check_maximum(asset, amount)
    cause = operation.cause
    if cause.description is None:
        cause = replace(cause, description=f"Redeemed: {reward.name}")
    before = _reward_text(state, program, reward)
    _carry_out(operation, cause, participant, asset, amount, target, reward, quantity)
    _note_count(operation, program, reward, before)
    return True


def _target(operation: Operation) -> Source:
    """Where the program redeems into at this time (§16.1)."""
    program = operation.program
    match program.target_type:
        case "SYSTEM_REDEMPTION":
            return REDEMPTION
        case "SYSTEM_BREAKAGE":
            return BREAKAGE
    reference = program.target_reference
    assert reference is not None
    named = operation.definitions.program_named(reference)
    if named is not None:
        return ("PROGRAM", named.key)
    try:
        return ("GROUP", find_group(operation.state, operation.definitions, reference))
    except Failure:
        given_id = uuid.UUID(reference) if is_uuid(reference) else None
        person = Person(external_id=None if given_id else reference, id=given_id)
        name = known_participant(operation.state, person)
    if name is None:
        raise Failure("TARGET_MISSING")
    return ("PARTICIPANT", name)


def _check_redeemable(operation: Operation, asset: Asset, target: Source) -> None:
    check_asset(operation.state, operation.program.key, asset, is_credit=False)
    if target[0] == "PROGRAM" and not asset.is_prefunded:
        raise Failure("NOT_PREFUNDED")


def _check_catalog(operation: Operation, participant: str, reward: Reward, quantity: int) -> None:
    """Status, window, stock and the participant's limit (§16.2)."""
    state, program, now = operation.state, operation.program, operation.cause.processed_at
    status = _status(state, program, reward)
    if status not in ("ACTIVE", "OUT_OF_STOCK"):
        raise Failure("REWARD_NOT_ACTIVE")
    is_early = reward.available_from is not None and now < reward.available_from
    if is_early or (reward.available_until is not None and now > reward.available_until):
        raise Failure("REWARD_OUT_OF_WINDOW")
    if status == "OUT_OF_STOCK":
        raise Failure("REWARD_OUT_OF_STOCK")
    if not reward.is_unit_based:
        return
    if reward.max_total is not None and _count(state, program, reward) + quantity > reward.max_total:
        raise Failure("REWARD_OUT_OF_STOCK")
    own = _count(state, program, reward, participant)
    if reward.max_per_participant is not None and own + quantity > reward.max_per_participant:
        raise Failure("REWARD_LIMIT_REACHED")


def _item_amount(operation: Operation, asset: Asset, reward: Reward, quantity: int) -> int:
    fields = operation.fields
    if reward.is_unit_based:
        if "amount" in fields:
            raise Failure("INVALID_AMOUNT")
        if quantity * reward.unit_cost > INT64_MAX:
            raise Failure("AMOUNT_OVERFLOW")
        return quantity * reward.unit_cost
    if "amount" not in fields:
        raise Failure("INVALID_AMOUNT")
    amount = positive_amount(fields["amount"], asset)
    if amount < reward.unit_cost:
        raise Failure("AMOUNT_BELOW_MINIMUM")
    return amount


def _carry_out(
    operation: Operation,
    cause: Cause,
    participant: str,
    asset: Asset,
    amount: int,
    target: Source,
    reward: Reward | None = None,
    quantity: int = 0,
) -> None:
    """The entry and the record of a redemption."""
    state, log_seq = operation.state, operation.state.log_seq
    cause = replace(cause, redemption=log_seq)
    entry = _post_redemption(state, cause, ("PARTICIPANT", participant), asset, amount, target)
    is_unit_based = reward is not None and reward.is_unit_based
    state.redemptions[log_seq] = Redemption(
        log_seq=log_seq,
        participant=participant,
        program=operation.program.key,
        asset=asset.symbol,
        amount=amount,
        reward=None if reward is None else reward.key,
        quantity=quantity if is_unit_based else None,
        unit_cost=None if reward is None else reward.unit_cost,
        target=target,
        entry_seq=entry.seq,
        created_at=cause.processed_at,
        reversed_amount=0,
        reversed_quantity=0 if is_unit_based else None,
        status="COMPLETED",
    )


def _post_redemption(state: State, cause: Cause, payer: Entity, asset: Asset, amount: int, target: Source) -> Entry:
    """REDEMPTION (§9.3): lots oldest first, never below zero; a holder who receives gets a fresh lot."""
    account = account_of(payer, asset)
    if amount > state.balance(account):
        raise Failure("INSUFFICIENT_BALANCE")
    entry = post(state, cause, "REDEMPTION", asset, amount, [(account, -amount), (account_of(target, asset), amount)])
    if asset.is_lot:
        consume(state, entry, take(list(state.lots_of(payer, asset.symbol, "AVAILABLE")), amount))
        if target[0] in HOLDERS:
            create(state, cause, entry, _holder(target), asset, amount, "AVAILABLE", None, None)
    return entry


def _holder(target: Source) -> Entity:
    kind, name = target
    assert name is not None
    return (kind, name)


# --- the catalog -----------------------------------------------------------------------------------------------------


def _count(state: State, program: Program, reward: Reward, participant: str | None = None) -> int:
    """Units redeemed less units reversed, of all participants or of one."""
    return sum(
        (redemption.quantity or 0) - (redemption.reversed_quantity or 0)
        for redemption in state.redemptions.values()
        if (redemption.program, redemption.reward) == (program.key, reward.key)
        and participant in (None, redemption.participant)
    )


def _status(state: State, program: Program, reward: Reward) -> str:
    """What the definitions say, but OUT_OF_STOCK once all there is has been redeemed (§16.2)."""
    is_sold_out = reward.is_unit_based and reward.max_total is not None
    if reward.status == "ACTIVE" and is_sold_out and _count(state, program, reward) >= (reward.max_total or 0):
        return "OUT_OF_STOCK"
    return reward.status


def _reward_text(state: State, program: Program, reward: Reward) -> str | None:
    """What the last change row of a reward says, None before the first."""
    rows = [change for change in state.changes if (change.state_type, change.key) == ("reward", reward.key)]
    return next((row.new_value for row in reversed(rows) if row.entity == ("PROGRAM", program.key)), None)


def _note_count(operation: Operation, program: Program, reward: Reward, before: str | None) -> None:
    """One change row for a new count (§18.5)."""
    if not reward.is_unit_based:
        return
    state = operation.state
    members = {"redeemed_count": _count(state, program, reward), "status": _status(state, program, reward)}
    text = json.dumps(members, separators=(",", ":"))
    state.note(operation.cause, ("PROGRAM", program.key), "reward", reward.key, "set", old=before, new=text)


# --- reversals -------------------------------------------------------------------------------------------------------


def _reverse(operation: Operation) -> bool:
    state = operation.state
    redemption = _redemption(operation)
    asset = operation.definitions.assets[redemption.asset]
    amount, quantity = _reversed(operation, redemption, asset)
    program = operation.definitions.programs[redemption.program]
    reason = operation.needed("reason")
    cause = replace(operation.cause, program=redemption.program, description=reason, redemption=redemption.log_seq)
    reward = None if redemption.reward is None else program.rewards[redemption.reward]
    before = None if reward is None else _reward_text(state, program, reward)
    entry = _post_reversal(state, cause, redemption, asset, amount)
    done = redemption.reversed_amount + amount
    state.redemptions[redemption.log_seq] = replace(
        redemption,
        reversed_amount=done,
        reversed_quantity=None if quantity is None else (redemption.reversed_quantity or 0) + quantity,
        status="FULLY_REVERSED" if done == redemption.amount else "PARTIALLY_REVERSED",
    )
    state.reversals.append(
        Reversal(
            log_seq=state.log_seq,
            redemption=redemption.log_seq,
            amount=amount,
            quantity=quantity,
            reason=reason,
            entry_seq=entry.seq,
            created_at=cause.processed_at,
        )
    )
    if reward is not None:
        _note_count(operation, program, reward, before)
    return True


def _redemption(operation: Operation) -> Redemption:
    """The redemption named by its id, or by the key of its operation (§15.2)."""
    state, given, key = operation.state, operation.text("redemption_id"), operation.text("redemption_key")
    for log_seq, redemption in state.redemptions.items():
        if given is not None and is_id(given, redemption_id(state, log_seq)):
            return redemption
        if key is not None:
            kind = operation.text("redemption_type") or "redeem"
            named = record_id(operation.definitions, kind, operation.program.key, key)
            if state.record_ids[log_seq] == named:
                return redemption
    raise Failure("REDEMPTION_NOT_FOUND")


def _reversed(operation: Operation, redemption: Redemption, asset: Asset) -> tuple[int, int | None]:
    """How much is reversed, and how many units of a UNIT_BASED reward (§16.3)."""
    fields = operation.fields
    amount = positive_amount(fields["amount"], asset) if "amount" in fields else None
    given = fields.get("quantity")
    quantity = int(given) if isinstance(given, Decimal) else None
    rest = redemption.amount - redemption.reversed_amount
    if redemption.quantity is not None:
        assert redemption.unit_cost is not None
        if amount is not None:
            raise Failure("INVALID_REVERSAL")
        left = redemption.quantity - (redemption.reversed_quantity or 0)
        quantity = left if quantity is None else quantity
        if left == 0 or quantity > left:
            raise Failure("REVERSAL_EXCEEDS_REMAINING")
        return quantity * redemption.unit_cost, quantity
    if quantity is not None:
        raise Failure("INVALID_REVERSAL")
    amount = rest if amount is None else amount
    if rest == 0 or amount > rest:
        raise Failure("REVERSAL_EXCEEDS_REMAINING")
    return amount, None


def _post_reversal(state: State, cause: Cause, redemption: Redemption, asset: Asset, amount: int) -> Entry:
    """REDEMPTION_REVERSAL (§9.3): the captured target pays, and the lots come back, last consumed first."""
    payer = account_of(redemption.target, asset)
    holder: Entity = ("PARTICIPANT", redemption.participant)
    if amount > state.balance(payer):
        raise Failure("INSUFFICIENT_BALANCE")
    legs = [(payer, -amount), (account_of(holder, asset), amount)]
    entry = post(state, cause, "REDEMPTION_REVERSAL", asset, amount, legs)
    if asset.is_lot:
        if redemption.target[0] in HOLDERS:
            payers = list(state.lots_of(_holder(redemption.target), asset.symbol, "AVAILABLE"))
            consume(state, entry, take(payers, amount))
        arrived = restore(state, entry, _parts(state, redemption, amount))
        expire_overdue(state, cause, asset, arrived)
    return entry


def _parts(state: State, redemption: Redemption, amount: int) -> list[tuple[Lot, int]]:
    """Which parts of which lots a reversal undoes: those before what earlier reversals have undone, backwards."""
    holder = ("PARTICIPANT", redemption.participant)
    consumed = [
        (move.lot_seq, move.remaining_before - move.remaining_after)
        for move in state.lot_moves
        if (move.entry_seq, move.kind) == (redemption.entry_seq, "CONSUME")
        and state.lots[move.lot_seq].holder == holder
    ]
    skipped, parts = redemption.reversed_amount, []
    for lot_seq, part in reversed(consumed):
        undone = min(part, skipped)
        skipped -= undone
        restored = min(part - undone, amount)
        amount -= restored
        if restored > 0:
            parts.append((state.lots[lot_seq], restored))
    return parts


REDEMPTION_VERBS: Mapping[str, Callable[[Operation], bool]] = {
    "redeem": _redeem,
    "redeem_item": _redeem_item,
    "reverse_redemption": _reverse,
}
