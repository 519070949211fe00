"""The oracle's ledger: entries, lots and due work of §9, one posting after the other.

Every function changes the state it is given and raises `Failure` with the outcome code of §12.3 when it must not;
the caller then goes back to its copy of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.support.logical import Account, Entity, Entry, Lot, LotMove, Posting
from tests.support.oracle_definitions import Asset, LotDate
from tests.support.oracle_state import State

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
Source = tuple[str, str | None]
ISSUANCE: Source = ("SYSTEM_ISSUANCE", None)


class Failure(Exception):
    """An outcome code (A.1) that fails the record."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Who writes an entry, and when: the columns of §18.1 that are not about money."""

    kind: str
    number: int
    program: str
    processed_at: int
    rule: str | None = None
    action_index: int | None = None
    reference: str | None = None
    description: str | None = None


def account_of(entity: Source, asset: Asset, bucket: str = "AVAILABLE") -> Account:
    """The account of an entity's bucket."""
    return (*entity, asset.symbol, bucket)


def source_of(asset: Asset, program: str) -> Source:
    """Where a program's credits of an asset come from (§9.3)."""
    return ("PROGRAM", program) if asset.is_prefunded else ISSUANCE


def credit(
    state: State,
    cause: Cause,
    holder: Entity,
    asset: Asset,
    amount: int,
    *,
    expires_at: LotDate | None = None,
    matures_at: LotDate | None = None,
) -> None:
    """CREDIT (§9.3): on a LOT asset one new lot, DEFERRED when it matures in the future."""
    expiry, maturity = _lot_dates(cause.processed_at, expires_at, matures_at)
    bucket = "AVAILABLE" if maturity is None else "DEFERRED"
    source = source_of(asset, cause.program)
    _check_wallet(state, source, asset, amount)
    entry = _post(
        state,
        cause,
        "CREDIT",
        asset,
        amount,
        [(account_of(source, asset), -amount), (account_of(holder, asset, bucket), amount)],
    )
    if asset.is_lot:
        lot_seq = len(state.lots) + 1
        lot = Lot(
            lot_seq=lot_seq,
            holder=holder,
            asset=asset.symbol,
            program=cause.program,
            source=source,
            root_lot_seq=lot_seq,
            amount=amount,
            created_at=cause.processed_at,
            expires_at=expiry,
            matures_at=maturity,
            reference_id=cause.reference,
            remaining=amount,
            status=bucket,
            hold_reference_id=None,
            provisional=False,
        )
        _arrive(state, entry, None, lot, "CREATE")


def debit(state: State, cause: Cause, holder: Entity, asset: Asset, amount: int, *, allow_negative: bool) -> None:
    """DEBIT from AVAILABLE: lots oldest first, each back to its source; the rest is overdraft (§9.3, §9.7)."""
    account = account_of(holder, asset)
    if amount > state.balance(account) and not allow_negative:
        raise Failure("INSUFFICIENT_BALANCE")
    own_source = source_of(asset, cause.program)
    if not asset.is_lot:
        legs = [(account, -amount), (account_of(own_source, asset), amount)]
        _post(state, cause, "DEBIT", asset, amount, legs)
        return
    taken: list[tuple[Lot, int]] = []
    missing = amount
    for lot in state.lots_of(holder, asset.symbol, "AVAILABLE"):
        part = min(missing, lot.remaining)
        if part > 0:
            taken.append((lot, part))
            missing -= part
    legs = [(account, -amount)] + [(account_of(lot.source, asset), part) for lot, part in taken]
    if missing > 0:
        legs.append((account_of(own_source, asset), missing))
    entry = _post(state, cause, "DEBIT", asset, amount, legs)
    for lot, part in taken:
        rest = lot.remaining - part
        _move(state, entry, lot, replace(lot, remaining=rest, status="AVAILABLE" if rest else "CONSUMED"), "CONSUME")
    if missing > 0:
        state.overdrafts[*holder, asset.symbol] = state.overdraft(holder, asset.symbol) + missing


def fund(state: State, cause: Cause, asset: Asset, amount: int) -> None:
    """FUND (§9.3): value from issuance into the program's wallet."""
    wallet = account_of(("PROGRAM", cause.program), asset)
    _post(state, cause, "FUND", asset, amount, [(account_of(ISSUANCE, asset), -amount), (wallet, amount)])


def burn(state: State, cause: Cause, asset: Asset, amount: int) -> None:
    """BURN (§9.3): value of the wallet to breakage."""
    wallet = ("PROGRAM", cause.program)
    _check_wallet(state, wallet, asset, amount)
    breakage = account_of(("SYSTEM_BREAKAGE", None), asset)
    _post(state, cause, "BURN", asset, amount, [(account_of(wallet, asset), -amount), (breakage, amount)])


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
            yield DueItem(due_at=lot.expires_at, rank=2, key=(lot.lot_seq,), perform=_sweep(state, lot, asset, _expire))


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
    entry = _post(state, cause, "MATURITY", asset, lot.remaining, legs)
    _arrive(state, entry, lot, replace(lot, status="AVAILABLE"), "MATURE")


def _expire(state: State, cause: Cause, lot: Lot, asset: Asset) -> None:
    breakage = account_of(("SYSTEM_BREAKAGE", None), asset)
    legs = [(account_of(lot.holder, asset), -lot.remaining), (breakage, lot.remaining)]
    entry = _post(state, cause, "EXPIRATION", asset, lot.remaining, legs)
    _move(state, entry, lot, replace(lot, remaining=0, status="EXPIRED"), "EXPIRE")


def _lot_dates(
    created_at: int, expires_at: LotDate | None, matures_at: LotDate | None
) -> tuple[int | None, int | None]:
    """Absolute (expiry, maturity); a maturity that is not in the future counts as none (§9.5)."""
    maturity = None if matures_at is None else matures_at.from_creation(created_at)
    if maturity is not None and maturity <= created_at:
        maturity = None
    expiry = None if expires_at is None else expires_at.from_creation(created_at)
    if expiry is not None and expiry <= (created_at if maturity is None else maturity):
        raise Failure("INVALID_LOT_DATES")
    return expiry, maturity


def _check_wallet(state: State, source: Source, asset: Asset, amount: int) -> None:
    if source[0] == "PROGRAM" and state.balance(account_of(source, asset)) < amount:
        raise Failure("INSUFFICIENT_WALLET")


def _post(
    state: State, cause: Cause, action_type: str, asset: Asset, amount: int, legs: Sequence[tuple[Account, int]]
) -> Entry:
    """Writes one entry; legs of one account are one posting, at the place of the first."""
    merged: dict[Account, int] = {}
    for account, leg in legs:
        merged[account] = merged.get(account, 0) + leg
    for account, change in merged.items():
        after = state.balance(account) + change
        if account[0] in ("PARTICIPANT", "GROUP", "PROGRAM") and not INT64_MIN <= after <= INT64_MAX:
            raise Failure("AMOUNT_OVERFLOW")
        state.balances[account] = after
    entry = Entry(
        seq=len(state.entries) + 1,
        created_at=cause.processed_at,
        action_type=action_type,
        program=cause.program,
        asset=asset.symbol,
        amount=amount,
        cause=cause.kind,
        cause_number=cause.number,
        rule=cause.rule,
        rule_version=None if cause.rule is None else 1,
        action_index=cause.action_index,
        reference_id=cause.reference,
        description=cause.description,
        postings=tuple(Posting(account=account, amount=change) for account, change in merged.items()),
    )
    state.entries.append(entry)
    return entry


def _arrive(state: State, entry: Entry, before: Lot | None, lot: Lot, kind: str) -> None:
    """A lot that reaches AVAILABLE repays the overdraft first (§9.7); a DEFERRED one does not."""
    repaid = 0
    if lot.status == "AVAILABLE":
        repaid = min(lot.remaining, state.overdraft(lot.holder, lot.asset))
    if repaid > 0:
        state.overdrafts[*lot.holder, lot.asset] -= repaid
        rest = lot.remaining - repaid
        lot = replace(lot, remaining=rest, status="AVAILABLE" if rest else "CONSUMED")
    _move(state, entry, before, lot, kind, repaid=repaid)


def _move(state: State, entry: Entry, before: Lot | None, after: Lot, kind: str, *, repaid: int = 0) -> None:
    index = sum(move.entry_seq == entry.seq for move in state.lot_moves)
    state.lots[after.lot_seq] = after
    state.lot_moves.append(
        LotMove(
            entry_seq=entry.seq,
            index=index,
            lot_seq=after.lot_seq,
            kind=kind,
            status_before=None if before is None else before.status,
            remaining_before=0 if before is None else before.remaining,
            status_after=after.status,
            remaining_after=after.remaining,
            hold_reference_after=after.hold_reference_id,
            repaid=repaid,
        )
    )
