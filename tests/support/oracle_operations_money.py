"""The operations on money (§15.2) and transfers (§16.4) for the oracle; redemptions are in `oracle_redemptions.py`.

Checks stand in the order of Appendix A.1. Where SEMANTICS is open: an adjustment never settles what is authorised
under its reference; filters are tested one by one before they are combined, the reference first; of several legs of a
transfer the smallest code decides.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial

from tests.support.logical import Entity, Lot
from tests.support.oracle_actions import check_active, check_asset, check_maximum, minor_units
from tests.support.oracle_definitions import Asset, read_date
from tests.support.oracle_ids import lot_id
from tests.support.oracle_intake import read_person
from tests.support.oracle_json import Fields, Json
from tests.support.oracle_ledger import (
    burn,
    credit,
    debit,
    forfeit,
    fund,
    hold,
    lot_dates,
    release,
    transfer,
    void_hold,
)
from tests.support.oracle_members import find_group, known_participant
from tests.support.oracle_operation import Operation
from tests.support.oracle_postings import INT64_MAX
from tests.support.oracle_state import Cause, Failure
from tests.support.oracle_times import parse_time

LOT_FIELDS = frozenset({"reference_id", "expires_at", "matures_at", "lot_ids", "earned_from", "earned_to"})
"""Fields that only LOT assets have (§7.4)."""
LEG_CODES = (
    *("PARTICIPANT_NOT_FOUND", "RECIPIENT_NOT_FOUND", "GROUP_NOT_FOUND"),
    *("PARTICIPANT_INACTIVE", "GROUP_ARCHIVED"),
    *("AMOUNT_NOT_POSITIVE", "AMOUNT_EXCEEDS_SCALE", "AMOUNT_OVERFLOW", "MAX_TRANSACTION_EXCEEDED"),
)
"""Codes that source and recipients of a transfer can have several of, the smallest first (A.1)."""


def positive_amount(value: Json, asset: Asset) -> int:
    """An amount in minor units; in an operation 0 is a failure too (§15.1)."""
    assert isinstance(value, Decimal)
    amount = minor_units(value, asset)
    if amount == 0:
        raise Failure("AMOUNT_NOT_POSITIVE")
    return amount


def _fund_or_burn(operation: Operation) -> bool:
    state, asset = operation.state, operation.asset()
    check_asset(state, operation.program.key, asset, is_credit=operation.record.type == "fund")
    if not asset.is_prefunded:
        raise Failure("NOT_PREFUNDED")
    amount = positive_amount(operation.fields["amount"], asset)
    (fund if operation.record.type == "fund" else burn)(state, operation.cause, asset, amount)
    return True


def _adjust(operation: Operation) -> bool:
    is_credit = operation.needed("direction") == "CREDIT"
    holder, asset = operation.holder(), operation.asset()
    check_active(operation.state, holder)
    check_asset(operation.state, operation.program.key, asset, is_credit=is_credit)
    _check_lot_fields(operation, asset)
    amount = positive_amount(operation.fields["amount"], asset)
    check_maximum(asset, amount)
    bucket, cause = operation.text("bucket") or "AVAILABLE", _referring(operation)
    if is_credit:
        expires_at, matures_at = read_date(operation.text("expires_at")), read_date(operation.text("matures_at"))
        dates = lot_dates(cause.processed_at, expires_at, matures_at)
        credit(operation.state, cause, holder, asset, amount, bucket=bucket, dates=dates, settles=False)
        return True
    is_allowed = operation.fields.get("allow_negative") is True
    debit(operation.state, cause, holder, asset, amount, bucket=bucket, allow_negative=is_allowed)
    return True


def _hold(operation: Operation) -> bool:
    holder, asset, amount = _matched(operation, is_gated=True)
    lots = _matching_lots(operation, holder, asset, "AVAILABLE", filters_by_reference=False)
    return hold(operation.state, _referring(operation), holder, asset, amount, lots=lots) is not None


def _release(operation: Operation) -> bool:
    holder, asset, amount = _matched(operation, is_gated=True)
    lots = _matching_lots(operation, holder, asset, "HELD", filters_by_reference=True)
    return release(operation.state, _referring(operation), holder, asset, amount, lots=lots) is not None


def _forfeit(operation: Operation) -> bool:
    bucket = operation.needed("bucket")
    holder, asset, amount = _matched(operation, is_gated=False)
    lots = _matching_lots(operation, holder, asset, bucket, filters_by_reference=True)
    cause = _referring(operation)
    return forfeit(operation.state, cause, holder, asset, amount, bucket=bucket, lots=lots) is not None


def _void_hold(operation: Operation) -> bool:
    holder, asset = operation.holder(), operation.asset()
    check_asset(operation.state, operation.program.key, asset, is_credit=False)
    _check_lot_fields(operation, asset)
    void_hold(operation.state, _referring(operation), holder, asset)
    return True


def _matched(operation: Operation, *, is_gated: bool) -> tuple[Entity, Asset, int | None]:
    """The checks that hold, release and forfeit share, up to the amount: None for all that matches."""
    holder, asset = operation.holder(), operation.asset()
    if is_gated:
        check_active(operation.state, holder)
    check_asset(operation.state, operation.program.key, asset, is_credit=False)
    _check_lot_fields(operation, asset)
    value = operation.fields.get("amount", "ALL")
    return holder, asset, None if value == "ALL" else positive_amount(value, asset)


def _matching_lots(
    operation: Operation, holder: Entity, asset: Asset, bucket: str, *, filters_by_reference: bool
) -> list[Lot]:
    """The lots of a bucket that pass all filters, oldest first (§9.6)."""
    state, fields = operation.state, operation.fields
    lots = list(state.lots_of(holder, asset.symbol, bucket))
    matching = lots
    reference = operation.text("reference_id") if filters_by_reference else None
    if reference is not None:
        matching = [
            lot for lot in lots if (lot.hold_reference_id if bucket == "HELD" else lot.reference_id) == reference
        ]
        if not matching:
            raise Failure("REFERENCE_NOT_FOUND")
    given = fields.get("lot_ids")
    if isinstance(given, list):
        named = {uuid.UUID(text) for text in given if isinstance(text, str)}
        present = {lot_id(state, operation.definitions, lot.lot_seq): lot.lot_seq for lot in lots}
        if not named <= present.keys():
            raise Failure("LOT_NOT_FOUND")
        matching = [lot for lot in matching if lot.lot_seq in {present[one] for one in named}]
    earliest, latest = operation.text("earned_from"), operation.text("earned_to")
    if earliest is not None:
        matching = [lot for lot in matching if lot.created_at >= parse_time(earliest)]
    if latest is not None:
        matching = [lot for lot in matching if lot.created_at <= parse_time(latest)]
    return matching


def _check_lot_fields(operation: Operation, asset: Asset) -> None:
    if not asset.is_lot and operation.fields.keys() & LOT_FIELDS:
        raise Failure("NOT_LOT_ASSET")


def _referring(operation: Operation) -> Cause:
    return replace(operation.cause, reference=operation.text("reference_id"))


# --- transfers -------------------------------------------------------------------------------------------------------


def _transfer(operation: Operation) -> bool:
    given = operation.fields["recipients"]
    assert isinstance(given, list)
    legs = [one for one in given if isinstance(one, dict)]
    _check_all([operation.holder, *(partial(_recipient, operation, leg) for leg in legs)])
    source, holders = operation.holder(), [_recipient(operation, leg) for leg in legs]
    asset = operation.asset()
    _check_all(partial(check_active, operation.state, holder) for holder in (source, *holders))
    check_asset(operation.state, operation.program.key, asset, is_credit=False)
    if source in holders:
        raise Failure("SELF_TRANSFER")
    _check_all(partial(positive_amount, leg["amount"], asset) for leg in legs)
    amounts = [positive_amount(leg["amount"], asset) for leg in legs]
    if sum(amounts) > INT64_MAX:
        raise Failure("AMOUNT_OVERFLOW")
    for amount in (*amounts, sum(amounts)):
        check_maximum(asset, amount)
    transfer(operation.state, operation.cause, source, asset, list(zip(holders, amounts, strict=True)))
    return True


def _recipient(operation: Operation, leg: Fields) -> Entity:
    if "group_id" in leg:
        return ("GROUP", find_group(operation.state, operation.definitions, str(leg["group_id"])))
    name = known_participant(operation.state, read_person(leg))
    if name is None:
        raise Failure("RECIPIENT_NOT_FOUND")
    return ("PARTICIPANT", name)


def _check_all(checks: Iterable[Callable[[], object]]) -> None:
    """Raises the smallest of the codes that checks fail with."""
    codes = []
    for check in checks:
        try:
            check()
        except Failure as failure:
            codes.append(failure.code)
    if codes:
        raise Failure(min(codes, key=LEG_CODES.index))


MONEY_VERBS: Mapping[str, Callable[[Operation], bool]] = {
    "adjust": _adjust,
    "hold": _hold,
    "release": _release,
    "forfeit": _forfeit,
    "void_hold": _void_hold,
    "transfer": _transfer,
    "fund": _fund_or_burn,
    "burn": _fund_or_burn,
}
