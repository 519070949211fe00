"""The oracle's ledger: the entries of §9, one posting after the other; what happens to lots is in `oracle_lots.py`.

Every function changes the state it is given and raises `Failure` with the outcome code of §12.3 when it must not;
the caller then goes back to its copy of the state. Functions whose amount may be None move everything that matches
and return None when there is nothing; `lots` are those that the filters of an operation leave, None without filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.logical import Account, Entity, Entry, Lot
from tests.support.oracle_definitions import Asset, LotDate
from tests.support.oracle_lots import arrive, consume, create, expire, expire_overdue, hold_lots, release_lots, take
from tests.support.oracle_postings import BREAKAGE, ISSUANCE, account_of, post, source_of
from tests.support.oracle_state import Cause, Failure, State


@dataclass(frozen=True, slots=True, kw_only=True)
class LotDates:
    """Absolute expiry and maturity of a new lot; a maturity that is not in the future counts as none (§9.5)."""

    expires_at: int | None = None
    matures_at: int | None = None


def lot_dates(created_at: int, expires_at: LotDate | None, matures_at: LotDate | None) -> LotDates:
    """The dates of a lot created at a time; INVALID_LOT_DATES where it would be dead on arrival (§9.5)."""
    maturity = None if matures_at is None else matures_at.from_creation(created_at)
    if maturity is not None and maturity <= created_at:
        maturity = None
    expiry = None if expires_at is None else expires_at.from_creation(created_at)
    if expiry is not None and expiry <= (created_at if maturity is None else maturity):
        raise Failure("INVALID_LOT_DATES")
    return LotDates(expires_at=expiry, matures_at=maturity)


def authorised_lots(state: State, holder: Entity, asset: Asset, reference: str | None) -> list[Lot]:
    """The provisional HELD lots stamped with a reference, oldest first: what a settle or a void takes (§9.8)."""
    held = state.lots_of(holder, asset.symbol, "HELD")
    return [lot for lot in held if lot.provisional and reference is not None and lot.hold_reference_id == reference]


def settled_lots(state: State, holder: Entity, asset: Asset, reference: str | None, bucket: str) -> list[Lot]:
    """What a CREDIT would settle: only a credit to AVAILABLE does."""
    return authorised_lots(state, holder, asset, reference) if bucket == "AVAILABLE" else []


def credit(
    state: State,
    cause: Cause,
    holder: Entity,
    asset: Asset,
    amount: int,
    *,
    bucket: str,
    dates: LotDates,
    settles: bool = True,
) -> Entry:
    """CREDIT, or SETTLE where provisional lots carry its reference (§9.3, §9.8); adjustments never settle."""
    authorised = settled_lots(state, holder, asset, cause.reference, bucket) if settles else []
    held = sum(lot.remaining for lot in authorised)
    source = account_of(source_of(asset, cause.program), asset)
    if dates.matures_at is not None:
        bucket = "DEFERRED"
    if source[0] == "PROGRAM" and state.balance(source) < amount - held:
        raise Failure("INSUFFICIENT_WALLET")
    if not authorised:
        entry = post(
            state, cause, "CREDIT", asset, amount, [(source, -amount), (account_of(holder, asset, bucket), amount)]
        )
    else:
        legs = [(account_of(holder, asset, "HELD"), -held)]
        if amount > held:
            legs.append((source, held - amount))
        legs.append((account_of(holder, asset, bucket), amount))
        covered = amount
        for lot in authorised:
            rest = max(lot.remaining - covered, 0)
            covered -= lot.remaining - rest
            if rest > 0:
                legs.append((account_of(lot.source, asset), rest))
        entry = post(state, cause, "SETTLE", asset, amount, legs)
        consume(state, entry, [(lot, lot.remaining) for lot in authorised])
    if asset.is_lot:
        create(state, cause, entry, holder, asset, amount, bucket, dates.expires_at, dates.matures_at)
    return entry


def debit(
    state: State, cause: Cause, holder: Entity, asset: Asset, amount: int, *, bucket: str, allow_negative: bool
) -> Entry:
    """DEBIT: lots oldest first, each back to its source; the rest is overdraft (§9.3, §9.7)."""
    account = account_of(holder, asset, bucket)
    if amount > state.balance(account) and not allow_negative:
        raise Failure("INSUFFICIENT_BALANCE")
    own_source = account_of(source_of(asset, cause.program), asset)
    if not asset.is_lot:
        return post(state, cause, "DEBIT", asset, amount, [(account, -amount), (own_source, amount)])
    taken = take(list(state.lots_of(holder, asset.symbol, bucket)), amount)
    missing = amount - sum(part for _, part in taken)
    legs = [(account, -amount)] + [(account_of(lot.source, asset), part) for lot, part in taken]
    if missing > 0:
        legs.append((own_source, missing))
    entry = post(state, cause, "DEBIT", asset, amount, legs)
    consume(state, entry, taken)
    if missing > 0:
        state.overdrafts[*holder, asset.symbol] = state.overdraft(holder, asset.symbol) + missing
    return entry


def hold(
    state: State, cause: Cause, holder: Entity, asset: Asset, amount: int | None, *, lots: Sequence[Lot] | None = None
) -> Entry | None:
    """HOLD (§9.6): AVAILABLE lots oldest first turn HELD, stamped with the reference."""
    available, held = account_of(holder, asset), account_of(holder, asset, "HELD")
    if lots is None:
        lots = list(state.lots_of(holder, asset.symbol, "AVAILABLE"))
    amount = _amount_of(amount, _present(state, available, asset, lots))
    if amount is None:
        return None
    entry = post(state, cause, "HOLD", asset, amount, [(available, -amount), (held, amount)])
    if asset.is_lot:
        hold_lots(state, entry, take(lots, amount), cause.reference)
    return entry


def stamped_lots(state: State, holder: Entity, asset: Asset, reference: str) -> list[Lot]:
    """The HELD lots stamped with a reference, oldest first; REFERENCE_NOT_FOUND where there is none."""
    lots = [lot for lot in state.lots_of(holder, asset.symbol, "HELD") if lot.hold_reference_id == reference]
    if not lots:
        raise Failure("REFERENCE_NOT_FOUND")
    return lots


def release(
    state: State, cause: Cause, holder: Entity, asset: Asset, amount: int | None, *, lots: Sequence[Lot] | None = None
) -> Entry | None:
    """RELEASE (§9.6): HELD lots of the reference, oldest first; without one all of them. Overdue ones expire (§9.9)."""
    available, held = account_of(holder, asset), account_of(holder, asset, "HELD")
    if lots is None and cause.reference is not None:
        lots = stamped_lots(state, holder, asset, cause.reference)
    elif lots is None:
        lots = list(state.lots_of(holder, asset.symbol, "HELD"))
    amount = _amount_of(amount, _present(state, held, asset, lots))
    if amount is None:
        return None
    entry = post(state, cause, "RELEASE", asset, amount, [(held, -amount), (available, amount)])
    if asset.is_lot:
        released = release_lots(state, entry, take(lots, amount))
        expire_overdue(state, cause, asset, released)
    return entry


def forfeit(
    state: State,
    cause: Cause,
    holder: Entity,
    asset: Asset,
    amount: int | None,
    *,
    bucket: str,
    lots: Sequence[Lot] | None = None,
) -> Entry | None:
    """FORFEIT (§9.3): value of a bucket to breakage, lots oldest first."""
    account = account_of(holder, asset, bucket)
    if lots is None:
        lots = list(state.lots_of(holder, asset.symbol, bucket))
    amount = _amount_of(amount, _present(state, account, asset, lots))
    if amount is None:
        return None
    entry = post(state, cause, "FORFEIT", asset, amount, [(account, -amount), (account_of(BREAKAGE, asset), amount)])
    if asset.is_lot:
        consume(state, entry, take(lots, amount))
    return entry


def void_hold(state: State, cause: Cause, holder: Entity, asset: Asset) -> Entry:
    """VOID_HOLD (§9.8): the provisional lots of the reference back to their sources, whole."""
    lots = authorised_lots(state, holder, asset, cause.reference)
    if not lots:
        raise Failure("REFERENCE_NOT_FOUND")
    total = sum(lot.remaining for lot in lots)
    legs = [(account_of(holder, asset, "HELD"), -total)]
    legs += [(account_of(lot.source, asset), lot.remaining) for lot in lots]
    entry = post(state, cause, "VOID_HOLD", asset, total, legs)
    consume(state, entry, [(lot, lot.remaining) for lot in lots])
    return entry


def _present(state: State, account: Account, asset: Asset, lots: Sequence[Lot]) -> int:
    """What there is to move: an overdrawn account has nothing, and no lot with anything left (§9.7)."""
    return sum(lot.remaining for lot in lots) if asset.is_lot else max(state.balance(account), 0)


def _amount_of(amount: int | None, present: int) -> int | None:
    """What moves of what is there: all of it when no amount is given, None when that is nothing (§12.3)."""
    if amount is None:
        return present or None
    if amount > present:
        raise Failure("INSUFFICIENT_BALANCE")
    return amount


def transfer(state: State, cause: Cause, source: Entity, asset: Asset, legs: Sequence[tuple[Entity, int]]) -> Entry:
    """TRANSFER (§16.4): value of one holder to others, each of whom gets a fresh lot."""
    account, total = account_of(source, asset), sum(amount for _, amount in legs)
    if total > state.balance(account):
        raise Failure("INSUFFICIENT_BALANCE")
    postings = [(account, -total)] + [(account_of(holder, asset), amount) for holder, amount in legs]
    entry = post(state, cause, "TRANSFER", asset, total, postings)
    if asset.is_lot:
        consume(state, entry, take(list(state.lots_of(source, asset.symbol, "AVAILABLE")), total))
        for holder, amount in legs:
            create(state, cause, entry, holder, asset, amount, "AVAILABLE", None, None)
    return entry


def fund(state: State, cause: Cause, asset: Asset, amount: int) -> None:
    """FUND (§9.3): value from issuance into the program's wallet."""
    wallet = account_of(("PROGRAM", cause.program), asset)
    post(state, cause, "FUND", asset, amount, [(account_of(ISSUANCE, asset), -amount), (wallet, amount)])


def burn(state: State, cause: Cause, asset: Asset, amount: int) -> None:
    """BURN (§9.3): value of the wallet to breakage."""
    wallet = account_of(("PROGRAM", cause.program), asset)
    if state.balance(wallet) < amount:
        raise Failure("INSUFFICIENT_WALLET")
    post(state, cause, "BURN", asset, amount, [(wallet, -amount), (account_of(BREAKAGE, asset), amount)])


@dataclass(frozen=True, slots=True, kw_only=True)
class DueItem:
    """One item of the queue of §4.4; `perform` does it at the given processing time."""

    due_at: int
    rank: int
    key: tuple[int, ...]
    perform: Callable[[int], None]


def due_lots(state: State, assets: dict[str, Asset]) -> Iterator[DueItem]:
    """Ranks 1 and 2 of §4.4: maturities of DEFERRED and expirations of AVAILABLE lots."""
    for lot in state.lots.values():
        asset = assets[lot.asset]
        if lot.status == "DEFERRED" and lot.matures_at is not None:
            yield DueItem(due_at=lot.matures_at, rank=1, key=(lot.lot_seq,), perform=_sweep(state, lot, asset, _mature))
        if lot.status == "AVAILABLE" and lot.expires_at is not None:
            yield DueItem(due_at=lot.expires_at, rank=2, key=(lot.lot_seq,), perform=_sweep(state, lot, asset, expire))


def _sweep(
    state: State, lot: Lot, asset: Asset, sweep: Callable[[State, Cause, Lot, Asset], None]
) -> Callable[[int], None]:
    def perform(processed_at: int) -> None:
        cause = Cause(kind="DUE", number=lot.lot_seq, program=lot.program, processed_at=processed_at)
        sweep(state, cause, lot, asset)

    return perform


def _mature(state: State, cause: Cause, lot: Lot, asset: Asset) -> None:
    legs = [
        (account_of(lot.holder, asset, "DEFERRED"), -lot.remaining),
        (account_of(lot.holder, asset), lot.remaining),
    ]
    entry = post(state, cause, "MATURITY", asset, lot.remaining, legs)
    arrive(state, entry, lot, replace(lot, status="AVAILABLE"), "MATURE")
