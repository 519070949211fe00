"""What a run adds up for its report: counts, amounts and seconds, taken from the rows that are committed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import duckdb
import polars as pl
import pyarrow as pa

from earnbook.ledger.schema import ACCOUNT_BREAKAGE, ACCOUNT_ISSUANCE, ACCOUNT_REDEMPTION, EntryType, Outcome
from earnbook.pipeline.config import BalanceTotal, MovementTotal
from earnbook.pipeline.execute import Decided
from earnbook.pipeline.registry import Registry
from earnbook.pipeline.store_tables import ObjectKind

CLASSES = ("holders", "wallets", "issuance", "redemption", "breakage")
"""Kinds of accounts whose balances a report ties, in its order."""

Totals = dict[tuple[int, str], int]
"""Minor units by asset number and class of account."""


class Tally:
    """Counts and totals of one run."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.counts: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.bailed: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.changes: Totals = {}
        self.movements: dict[tuple[int, int], tuple[int, int]] = {}
        self.stage_seconds: dict[str, float] = {}

    def seconds(self, stage: str, since: float) -> float:
        """Add the time since `since` (of `perf_counter`) to a stage; returns now."""
        now = time.perf_counter()
        self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + now - since
        return now

    def add(self, decided: Decided) -> None:
        """Count a decided batch."""
        for name in ("events", "operations", "generated", "completed", "late"):
            self.counts[name] += getattr(decided, name)
        for code, count in decided.failed.items():
            self.failed[Outcome(code).name] += count
        for reason, count in decided.bailed.items():
            self.bailed[reason.name] += count
        for name in ("lots", "changes", "holders"):
            self.counts[name] += decided.tables[name].num_rows
        self._add_movements(decided.tables["movements"])

    def _add_movements(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        rows = pl.DataFrame(
            pl.from_arrow(table.select(["entry_seq", "entry_type", "debit", "credit", "asset", "amount"]))
        )
        rows = rows.with_columns(pl.col("amount").cast(pl.Int128))
        self.counts["entries"] += rows["entry_seq"].n_unique()
        by_type = rows.group_by("asset", "entry_type").agg(pl.col("entry_seq").n_unique(), pl.col("amount").sum())
        for asset, kind, entries, amount in by_type.iter_rows():
            known = self.movements.get((asset, kind), (0, 0))
            self.movements[asset, kind] = (known[0] + entries, known[1] + int(amount))
        for side, sign in (("debit", -1), ("credit", 1)):
            of_class = rows.group_by("asset", _class_of(side).alias("class")).agg(pl.col("amount").sum())
            for asset, name, amount in of_class.iter_rows():
                self.changes[asset, name] = self.changes.get((asset, name), 0) + sign * int(amount)

    def movement_totals(self, registry: Registry) -> tuple[MovementTotal, ...]:
        """Entries and amounts by asset and entry type, in the order of their codes."""
        totals = []
        for (asset, kind), (entries, amount) in sorted(self.movements.items()):
            entry = registry.object_entry(ObjectKind.ASSET, asset)
            totals.append(
                MovementTotal(
                    asset=entry.key,
                    scale=entry.scale or 0,
                    entry_type=EntryType(kind).name,
                    entries=entries,
                    amount_minor=amount,
                )
            )
        return tuple(totals)

    def balance_totals(self, registry: Registry, opening: Totals, closing: Totals | None) -> tuple[BalanceTotal, ...]:
        """Opening, change and closing by asset and class; without `closing` (nothing was written) it is their sum."""
        totals = []
        for number, entry in enumerate(registry.objects(ObjectKind.ASSET), start=1):
            for name in CLASSES:
                key = (number, name)
                before, change = opening.get(key, 0), self.changes.get(key, 0)
                after = before + change if closing is None else closing.get(key, 0)
                if before or change or after:
                    totals.append(
                        BalanceTotal(
                            asset=entry.key,
                            scale=entry.scale or 0,
                            account=name,
                            opening_minor=before,
                            change_minor=change,
                            closing_minor=after,
                        )
                    )
        return tuple(totals)


def balances_by_class(connection: duckdb.DuckDBPyConnection) -> Totals:
    """The book's balances by asset and class of account, from its state tables."""
    rows = connection.execute(
        f"""SELECT asset, CASE WHEN account < 0 THEN 'wallets' ELSE 'holders' END, sum(amount::HUGEINT)
        FROM store.balances GROUP BY ALL
        UNION ALL SELECT asset, CASE account WHEN {ACCOUNT_ISSUANCE} THEN 'issuance'
            WHEN {ACCOUNT_REDEMPTION} THEN 'redemption' WHEN {ACCOUNT_BREAKAGE} THEN 'breakage' END, amount
        FROM store.system_balances"""
    ).fetchall()
    return {(asset, name): int(amount) for asset, name, amount in rows}


def count_rejects(names: Iterable[str]) -> dict[str, int]:
    """Rejects by reason, most frequent first."""
    return dict(Counter(names).most_common())


def _class_of(column: str) -> pl.Expr:
    account = pl.col(column)
    return (
        pl.when(account < 0)
        .then(pl.lit("wallets"))
        .when(account == ACCOUNT_ISSUANCE)
        .then(pl.lit("issuance"))
        .when(account == ACCOUNT_REDEMPTION)
        .then(pl.lit("redemption"))
        .when(account == ACCOUNT_BREAKAGE)
        .then(pl.lit("breakage"))
        .otherwise(pl.lit("holders"))
    )
