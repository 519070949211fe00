"""The lines of the liability roll-forward (§20.4), and the journal summed up by them.

Every movement has a giving and a receiving account. Its action type and whether each of them is a holder's say which
line it falls in on either side; what its type cannot have refuses the report. The net of the legs is summed beside the
lines without that classification, so that a report can compare the two, and both with the balances of the book.

Speed: one pass over the journal's narrow columns, grouped by small codes, which DuckDB does at about 40 M rows a second
and core. A rule's entries name their program by `action`; only operations and due work are joined to learn theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from earnbook.ledger.schema import Bucket, EntryType
from earnbook.pipeline.reports import LAST_SYSTEM_ACCOUNT, Asset, ReportBook, report_book, untied

ISSUED, RETURNED = "issued", "issuance_returns"
REDEEMED, RECEIVED = "redeemed", "redemption_receipts"
REVERSED, CLAWED_BACK = "redemption_reversals", "reversal_clawbacks"
DEBITED, EXPIRED, FORFEITED, VOIDED = "debited", "expired", "forfeited", "holds_voided"
TRANSFERS, BUCKETS, ADJUSTMENTS = "transfers_net", "bucket_movements_net", "adjustments_net"

SIGNS: dict[str, int] = {
    ISSUED: 1,
    RETURNED: -1,
    REDEEMED: -1,
    RECEIVED: 1,
    REVERSED: 1,
    CLAWED_BACK: -1,
    DEBITED: -1,
    EXPIRED: -1,
    FORFEITED: -1,
    VOIDED: -1,
    TRANSFERS: 1,
    BUCKETS: 1,
    ADJUSTMENTS: 1,
}
"""Every line in the order of §20.4 with its sign in the balance; those of sign 1 named `_net` are signed themselves."""

# By action type: the line of value that comes to a holder from outside, of what leaves one, and of both sides of a
# movement between holders' accounts. What is absent cannot happen; a movement there refuses the report.
_IN = {EntryType.CREDIT: ISSUED, EntryType.SETTLE: ISSUED, EntryType.REDEMPTION_REVERSAL: REVERSED}
_OUT = {
    EntryType.DEBIT: DEBITED,
    EntryType.SETTLE: RETURNED,
    EntryType.VOID_HOLD: VOIDED,
    EntryType.FORFEIT: FORFEITED,
    EntryType.EXPIRATION: EXPIRED,
    EntryType.REDEMPTION: REDEEMED,
}
_BETWEEN = {
    EntryType.REDEMPTION: (REDEEMED, RECEIVED),
    EntryType.REDEMPTION_REVERSAL: (CLAWED_BACK, REVERSED),
    EntryType.TRANSFER: (TRANSFERS, TRANSFERS),
    EntryType.HOLD: (BUCKETS, BUCKETS),
    EntryType.RELEASE: (BUCKETS, BUCKETS),
    EntryType.SETTLE: (BUCKETS, BUCKETS),
    EntryType.MATURITY: (BUCKETS, BUCKETS),
}
_OUTSIDE = (EntryType.FUND, EntryType.BURN)


class Place(NamedTuple):
    """What a sum is about; `program` and `bucket` are 0 where they are not told apart."""

    period: int
    asset: int
    program: int
    bucket: int


@dataclass(slots=True)
class Sums:
    """Minor units by line, magnitudes as §20.4 has them, and the net of all legs on holders' accounts."""

    lines: dict[str, int] = field(default_factory=dict)
    net: int = 0

    def of(self, *names: str) -> int:
        """The signed sum of lines."""
        return sum(SIGNS[name] * self.lines.get(name, 0) for name in names)

    def add(self, other: Sums) -> None:
        """Adds the sums of another place to these."""
        self.net += other.net
        for name, amount in other.lines.items():
            self.lines[name] = self.lines.get(name, 0) + amount


def journal_sums(
    book: ReportBook, bounds: Sequence[int | None], *, by_program: bool = False, by_bucket: bool = False
) -> dict[Place, Sums]:
    """The journal by period, asset and, where asked, program and bucket.

    Period i has the entries after bound i − 1 (0 for the first) up to bound i (None: the last one).

    Raises:
        UntiedReport: a movement between accounts that its action type cannot have.
    """
    result: dict[Place, Sums] = {}
    for period, asset, program, entry_type, gives, gets, amount in book.connection.execute(
        _query(book, bounds, by_program=by_program, by_bucket=by_bucket)
    ).fetchall():
        for bucket, line, change in _legs(int(entry_type), int(gives), int(gets), int(amount)):
            place = Place(int(period), int(asset), int(program), bucket if by_bucket else 0)
            sums = result.setdefault(place, Sums())
            sums.net += change
            magnitude = change if line.endswith("_net") else abs(change)
            sums.lines[line] = sums.lines.get(line, 0) + magnitude
    for place, sums in result.items():
        if sums.of(*sums.lines) != sums.net:
            raise untied(f"the lines of asset number {place.asset} do not add up to the movements of its holders")
    return result


def line_sums(
    connection: duckdb.DuckDBPyConnection, *, first: int = 0, last: int | None = None
) -> dict[int, dict[str, int]]:
    """Minor units by asset number and line, without those of 0, of the entries after `first` up to `last`."""
    book = report_book(connection)
    sums = journal_sums(book, [first, last])
    found = {asset.number: total(sums, asset.number, 1).lines for asset in book.assets}
    return {asset: {line: amount for line, amount in lines.items() if amount} for asset, lines in found.items()}


def total(sums: Mapping[Place, Sums], asset: int, *periods: int) -> Sums:
    """The sums of one asset over some periods, all programs and buckets together."""
    result = Sums()
    for place, found in sums.items():
        if place.asset == asset and place.period in periods:
            result.add(found)
    return result


def tie_to_balances(book: ReportBook, nets: Iterable[tuple[Asset, int]]) -> None:
    """Compares what the whole journal comes to with the balances that the book keeps.

    Only for reports up to the present over all programs: balances have no program, and no past but their snapshots.
    """
    query = f"""
        SELECT asset, sum(amount) FROM store.current_balances WHERE account > {LAST_SYSTEM_ACCOUNT} GROUP BY asset
    """
    kept = {int(asset): int(amount) for asset, amount in book.connection.execute(query).fetchall()}
    for asset, net in nets:
        if net != kept.get(asset.number, 0):
            raise untied(
                f"the journal gives holders {net} of {asset.symbol}, their balances {kept.get(asset.number, 0)} "
                "(minor units)"
            )


def _legs(entry_type: int, gives: int, gets: int, amount: int) -> Iterable[tuple[int, str, int]]:
    """Bucket, line and signed amount of what a movement does to holders' accounts; codes of 0 are no holder's."""
    match bool(gives), bool(gets):
        case False, True if entry_type in _IN:
            yield gets, _IN[EntryType(entry_type)], amount
        case True, False if entry_type in _OUT:
            yield gives, _OUT[EntryType(entry_type)], -amount
        case True, True if entry_type in _BETWEEN:
            giving, receiving = _BETWEEN[EntryType(entry_type)]
            yield gives, giving, -amount
            yield gets, receiving, amount
        case False, False if entry_type in _OUTSIDE:
            return
        case _:
            raise untied(f"a movement of action type {entry_type} has accounts that its type cannot have")


# --- the journal ----------------------------------------------------------------------------------------------------


def _query(book: ReportBook, bounds: Sequence[int | None], *, by_program: bool, by_bucket: bool) -> str:
    codes = f"""{_period(bounds)} AS period, asset, entry_type, {_side("debit", by_bucket)} AS gives,
        {_side("credit", by_bucket)} AS gets"""
    where = f"asset IN ({', '.join(str(asset.number) for asset in book.assets) or '0'})"
    if bounds[-1] is not None:
        where += f" AND entry_seq <= {bounds[-1]}"
    if not by_program and book.program is None:
        return f"""SELECT period, asset, 0, entry_type, gives, gets, amount
            FROM (SELECT {codes}, sum(amount) AS amount FROM store.movements WHERE {where} GROUP BY ALL)"""
    chosen = "" if book.program is None else f"WHERE program = {book.program}"
    return f"""
        SELECT period, asset, {"program" if by_program else 0}, entry_type, gives, gets, sum(amount)
        FROM (
            SELECT r.* EXCLUDE (action), a.program
            FROM (SELECT {codes}, action, sum(amount) AS amount FROM store.movements WHERE action > 0 AND {where}
                GROUP BY ALL) AS r
            JOIN store.actions AS a ON a.number = r.action
            UNION ALL
            SELECT r.* EXCLUDE (program), r.program FROM ({operation_movements(f"{codes}, amount", where)}) AS r
        ) {chosen} GROUP BY ALL"""


def operation_movements(columns: str, where: str) -> str:
    """Columns of the movements that no rule made, and the `program` of each: of its operation or of its due work."""
    return f"""
        SELECT r.* EXCLUDE (log_seq), p.program
        FROM (SELECT {columns}, log_seq FROM store.movements WHERE action = 0 AND log_seq > 0 AND {where}) AS r
        JOIN ({RECORD_PROGRAMS}) AS p USING (log_seq)
        UNION ALL
        SELECT r.* EXCLUDE (due_entry), d.program
        FROM (SELECT {columns}, entry_seq AS due_entry FROM store.movements WHERE log_seq = 0 AND {where}) AS r
        JOIN store.due_entries AS d ON d.entry_seq = r.due_entry"""


def program_movements(columns: str, where: str) -> str:
    """Columns of all movements, and the `program` of each."""
    return f"""
        SELECT r.* EXCLUDE (action), a.program
        FROM (SELECT {columns}, action FROM store.movements WHERE action > 0 AND {where}) AS r
        JOIN store.actions AS a ON a.number = r.action
        UNION ALL {operation_movements(columns, where)}"""


RECORD_PROGRAMS = """
    SELECT o.log_seq, coalesce(d.program, o.program) AS program
    FROM store.operations AS o
    LEFT JOIN (SELECT log_seq, program FROM store.redemptions
        UNION ALL SELECT v.log_seq, r.program FROM store.reversals AS v
        JOIN store.redemptions AS r ON r.log_seq = v.redemption) AS d ON d.log_seq = o.log_seq
"""
"""The program of the entries that each operation makes (§9.2); a reversal's is that of its redemption."""


def program_condition(program: int | None) -> str:
    """The condition that the entry of a movement `m` is of a program; true where none is asked for."""
    if program is None:
        return "true"
    return f"""CASE
        WHEN m.action > 0 THEN m.action IN (SELECT number FROM store.actions WHERE program = {program})
        WHEN m.log_seq > 0 THEN m.log_seq IN (SELECT log_seq FROM ({RECORD_PROGRAMS}) WHERE program = {program})
        ELSE m.entry_seq IN (SELECT entry_seq FROM store.due_entries WHERE program = {program}) END"""


def entries_condition(program: int | None, first: int | None, last: int | None) -> str:
    """The condition that a movement `m` lies after entry `first` up to `last` (None: no bound), and is of a program."""
    conditions = [program_condition(program)]
    conditions += [] if first is None else [f"m.entry_seq > {first}"]
    conditions += [] if last is None else [f"m.entry_seq <= {last}"]
    return " AND ".join(conditions)


def _period(bounds: Sequence[int | None]) -> str:
    inner = bounds[:-1]
    if not inner:
        return "0"
    cases = " ".join(f"WHEN entry_seq <= {bound} THEN {period}" for period, bound in enumerate(inner))
    return f"CASE {cases} ELSE {len(inner)} END"


def _side(account: str, by_bucket: bool) -> str:
    """A small code of an account: 0 where it is no holder's, else 1 or, by bucket, that of `Bucket`."""
    holder = "1"
    if by_bucket:
        cases = " ".join(f"WHEN {int(bucket)} THEN {int(bucket)}" for bucket in Bucket)
        holder = f"CASE {account} % 4 {cases} END"
    return f"CASE WHEN {account} > {LAST_SYSTEM_ACCOUNT} THEN {holder} ELSE 0 END"


SETTLED_DELTA = f"""CASE
    WHEN m.entry_type = {EntryType.SETTLE} AND m.credit <= {LAST_SYSTEM_ACCOUNT} THEN -m.amount
    WHEN m.entry_type = {EntryType.SETTLE} AND m.debit > {LAST_SYSTEM_ACCOUNT} THEN 0
    ELSE m.amount END"""
"""What a movement `m` of a CREDIT or SETTLE adds to what its rule issued: of a settle S − H in all (§10.4)."""
