"""What each rule costs against its budget (§20.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from earnbook.ledger.schema import ActionResult, EntryType, StateType
from earnbook.pipeline.budgets import ENDED
from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.reports import (
    RATE,
    Report,
    ReportBook,
    ReportRequest,
    amount_columns,
    month_start_us,
    next_month,
    open_report,
    rate,
    report_table,
    untied,
)
from earnbook.pipeline.reports_bounds import batch_at, book_months, last_change, last_entry
from earnbook.pipeline.reports_lines import SETTLED_DELTA
from earnbook.pipeline.store_rows import one_row

_ISSUING = f"({EntryType.CREDIT}, {EntryType.SETTLE})"


class _Place(NamedTuple):
    """A rule, an asset, and a month by its position."""

    rule: int
    asset: int
    month: int


@dataclass(slots=True)
class _Cost:
    """What a rule did with an asset in a month, in minor units."""

    credits: int = 0
    issued: int = 0
    returned: int = 0
    suppressed: int = 0
    suppressed_amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A budget at a time: its limit, and what of it is consumed."""

    limit: int
    consumed: int


class _Span(NamedTuple):
    """A budget in force at a time; it measures the entries after `after`."""

    number: int
    rule: int
    asset: int
    limit: int
    after: int


class _Rule(NamedTuple):
    key: str
    program: int


def rule_cost(request: ReportRequest, *, rule: str | None = None) -> Report:
    """Per rule, asset and month of `created_at`: credits, issued, returned, suppressed, and the budget's use (§20.8).

    `issued` is what budgets measure (§10.4), `returned` what settles below their hold gave back. `suppressed` counts
    credits of completed attempts only, with their whole amounts. `consumed` is as of the month's end, or the report's;
    `use` is consumed / limit. The columns of the budget are null where the rule had none for the asset.

    Raises:
        EarnbookError: there is no such rule.
        UntiedReport: what budgets consumed is not what their rules issued.
    """
    until = request.to_us if request.to_us is not None else request.as_of_us
    with open_report(request) as book:
        rules = _rules(book, rule)
        months = book_months(book, request.from_us, until)
        ends = [month_start_us(next_month(month)) - 1 for month in months]
        if until is not None and ends:
            ends[-1] = min(ends[-1], until)
        bounds = [last_entry(book.connection, end) for end in ends]
        first = 0 if request.from_us is None else last_entry(book.connection, request.from_us - 1)
        costs = _issued(book, first, bounds)
        _add_suppressed(book, costs, months, (request.from_us, until))
        uses = [_uses(book, end, bound) for end, bound in zip(ends, bounds, strict=True)]
        if until is None and uses:
            _tie_budgets(book, uses[-1])
        assets = {asset.number: asset for asset in book.assets}
        rows = []
        for place, cost in sorted(costs.items(), key=lambda found: (found[0].month, *found[0])):
            if place.asset in assets and place.rule in rules:
                asset, named = assets[place.asset], rules[place.rule]
                names = {"program": book.program_key(named.program), "rule": named.key}
                names |= {"asset": asset.symbol, "month": months[place.month]}
                use = uses[place.month].get((place.rule, place.asset))
                rows.append({**names, "scale": asset.scale, **_amounts(cost), **_budget(use)})
        provisional = book.is_provisional(until)
    table = report_table(rows, _RULE_COST)
    return Report(title="Cost per rule", table=table, amounts=amount_columns(table), provisional=provisional)


_RULE_COST: dict[str, pa.DataType | None] = {
    "program": pa.string(),
    "rule": pa.string(),
    "asset": pa.string(),
    "scale": pa.int8(),
    "month": pa.string(),
    "credits": pa.int64(),
    "issued": None,
    "returned": None,
    "suppressed": pa.int64(),
    "suppressed_amount": None,
    "budget_limit": None,
    "consumed": None,
    "use": RATE,
}


def _amounts(cost: _Cost) -> dict[str, object]:
    return {
        "credits": cost.credits,
        "issued": cost.issued,
        "returned": cost.returned,
        "suppressed": cost.suppressed,
        "suppressed_amount": cost.suppressed_amount,
    }


def _budget(use: _Use | None) -> dict[str, object]:
    if use is None:
        return {"budget_limit": None, "consumed": None, "use": None}
    return {"budget_limit": use.limit, "consumed": use.consumed, "use": rate(use.consumed, use.limit)}


def _rules(book: ReportBook, key: str | None) -> dict[int, _Rule]:
    """Rules by number: all, or those of a key and of the program asked for."""
    rows = book.connection.execute("SELECT number, key, program FROM store.rule_list ORDER BY number").fetchall()
    found = {int(number): _Rule(str(name), int(program)) for number, name, program in rows}
    if key is not None and all(one.key != key for one in found.values()):
        raise EarnbookError(f"there is no rule {key!r}", "Those of the book: earnbook sql 'FROM rules'.")
    return {
        number: one for number, one in found.items() if key in (None, one.key) and book.program in (None, one.program)
    }


def _issued(book: ReportBook, first: int, bounds: Sequence[int]) -> dict[_Place, _Cost]:
    """Credits and settles of rules by month; a settle is one credit, however many movements it has."""
    if not bounds:
        return {}
    cases = " ".join(f"WHEN m.entry_seq <= {bound} THEN {month}" for month, bound in enumerate(bounds))
    query = f"""
        WITH moved AS (
            SELECT CASE {cases} END AS month, m.action, m.asset, m.entry_type, m.entry_seq, m.amount,
                {SETTLED_DELTA} AS delta
            FROM store.movements AS m
            WHERE m.action > 0 AND m.entry_type IN {_ISSUING} AND m.entry_seq > {first} AND m.entry_seq <= {bounds[-1]}
        )
        SELECT a.rule, r.asset, r.month, sum(r.credits), sum(r.issued), sum(r.returned) FROM (
            SELECT action, asset, month, count(*) AS credits, sum(amount) AS issued, 0 AS returned
            FROM moved WHERE entry_type = {EntryType.CREDIT} GROUP BY action, asset, month
            UNION ALL
            SELECT action, asset, month, count(*), sum(greatest(delta, 0)), sum(greatest(-delta, 0))
            FROM (SELECT action, asset, month, entry_seq, sum(delta) AS delta FROM moved
                WHERE entry_type = {EntryType.SETTLE} GROUP BY action, asset, month, entry_seq)
            GROUP BY action, asset, month
        ) AS r JOIN store.actions AS a ON a.number = r.action GROUP BY a.rule, r.asset, r.month
    """
    return {
        _Place(int(rule), int(asset), int(month)): _Cost(int(number), int(issued), int(returned))
        for rule, asset, month, number, issued, returned in book.connection.execute(query).fetchall()
    }


def _add_suppressed(
    book: ReportBook, costs: dict[_Place, _Cost], months: Sequence[str], bounds: tuple[int | None, int | None]
) -> None:
    """Credits that a budget suppressed, in attempts that completed."""
    from_us, until_us = bounds
    since = "true" if from_us is None else f"t.processed_at >= {from_us}"
    until = "true" if until_us is None else f"t.processed_at <= {until_us}"
    query = f"""
        SELECT a.rule, a.asset, strftime(make_timestamp(t.processed_at), '%Y-%m'), count(*), sum(s.amount)
        FROM store.action_results AS s
        JOIN (SELECT log_seq, CAST(1 AS INTEGER) AS attempt, processed_at, outcome FROM store.events
            UNION ALL SELECT log_seq, attempt, processed_at, outcome FROM store.attempts) AS t
            ON t.log_seq = s.log_seq AND t.attempt = s.attempt
        JOIN store.actions AS a ON a.number = s.action
        WHERE s.result = {ActionResult.SUPPRESSED} AND t.outcome = 0 AND {since} AND {until} GROUP BY ALL
    """
    for rule, asset, month, number, amount in book.connection.execute(query).fetchall():
        cost = costs.setdefault(_Place(int(rule), int(asset), months.index(str(month))), _Cost())
        cost.suppressed, cost.suppressed_amount = int(number), int(amount)


def _uses(book: ReportBook, until_us: int, bound: int) -> Mapping[tuple[int, int], _Use]:
    """By rule and asset the budget at a time: what its rule issued since its last reset up to then (I14)."""
    spans = _spans(book, until_us)
    if not spans:
        return {}
    listed = ", ".join(str((span.number, span.rule, span.asset, span.after)) for span in spans)
    # Only what came after the earliest of the resets is read.
    query = f"""
        SELECT number, sum(amount) FROM (
            SELECT s.number, m.entry_seq, greatest(sum({SETTLED_DELTA}), 0) AS amount
            FROM (VALUES {listed}) AS s(number, rule, asset, after)
            JOIN store.actions AS a ON a.rule = s.rule AND a.asset = s.asset
            JOIN store.movements AS m ON m.action = a.number AND m.asset = s.asset AND m.entry_seq > s.after
            WHERE m.entry_type IN {_ISSUING} AND m.entry_seq > {min(span.after for span in spans)}
                AND m.entry_seq <= {bound}
            GROUP BY s.number, m.entry_seq
        ) GROUP BY number
    """
    consumed = {int(number): int(amount) for number, amount in book.connection.execute(query).fetchall()}
    return {(span.rule, span.asset): _Use(limit=span.limit, consumed=consumed.get(span.number, 0)) for span in spans}


def _spans(book: ReportBook, until_us: int) -> list[_Span]:
    """The budgets in force at a time."""
    batch, change = batch_at(book.connection, until_us), last_change(book.connection, until_us)
    query = f"""
        WITH newest AS (
            SELECT rule, asset, max(number) AS number FROM store.budget_starts
            WHERE started_at <= {until_us} GROUP BY rule, asset
        ), resets AS (
            SELECT key AS number, arg_max(reset_after, change_seq) AS entry_seq FROM store.full_changes
            WHERE state_type = {StateType.BUDGET} AND change_seq <= {change} GROUP BY key
        ), terms AS (
            SELECT budget AS number, arg_max(limit_minor, batch) AS limit_minor FROM store.budget_terms
            WHERE batch <= {batch} GROUP BY budget
        )
        SELECT b.number, b.rule, b.asset, t.limit_minor, greatest(b.started_entry, coalesce(r.entry_seq, 0))
        FROM store.budget_starts AS b JOIN newest USING (number) JOIN terms AS t USING (number)
        LEFT JOIN resets AS r USING (number) WHERE b.schedule <> '{ENDED}' ORDER BY b.number
    """
    return [_Span(*map(int, row)) for row in book.connection.execute(query).fetchall()]


def _tie_budgets(book: ReportBook, uses: Mapping[tuple[int, int], _Use]) -> None:
    """What the budgets in force have consumed, as the book keeps it."""
    query = f"""
        SELECT b.rule, b.asset, c.consumed FROM store.current_budgets AS c
        JOIN store.budget_starts AS b ON b.number = c.budget
        WHERE b.number IN (SELECT max(number) FROM store.budget_starts GROUP BY rule, asset)
            AND b.schedule <> '{ENDED}'
    """
    for rule, asset, consumed in book.connection.execute(query).fetchall():
        use = uses.get((int(rule), int(asset)))
        if use is not None and use.consumed != int(consumed):
            row = one_row(book.connection, "SELECT key FROM store.rule_list WHERE number = ?", [rule])
            key = row[0] if row is not None else rule
            raise untied(f"rule {key} issued {use.consumed} since the last reset, its budget has {consumed} consumed")
