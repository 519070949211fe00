"""The reports that people wait for, on a journal of any size: summary, a month's roll-forward, one statement.

python -m tests.benchmarks.bench_reports --rows 100000000

The rows are written straight into the tables of a book by SQL, in batches as runs would leave them: of twenty movements
fourteen are credits and three debits of a rule, two debits by operations, one an expiration as due work, spread evenly
over the participants and over two years. The holders' balances and snapshots are sums of them, so that every report
ties. What is measured is the report alone, opening the book included; each runs three times, the best is shown.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import EntityType, EntryType
from earnbook.pipeline.reports import Report, ReportRequest, month_start_us
from earnbook.pipeline.reports_entries import Owner
from earnbook.pipeline.reports_journal import JournalRequest, journal
from earnbook.pipeline.reports_ledger import earn_burn, ledger_summary
from earnbook.pipeline.reports_liability import liability, rollforward
from earnbook.pipeline.reports_programs import program_activity
from earnbook.pipeline.reports_rules import rule_cost
from earnbook.pipeline.reports_statement import statement
from earnbook.pipeline.schema import BATCH_TABLES, STATE_TABLES
from earnbook.pipeline.store import BookMode, BookSettings, open_book
from earnbook.pipeline.store_tables import BOOK_TABLES, ObjectKind
from tests.benchmarks.measure import START_US, options_in_folder

YEARS_US = 2 * 365 * 86_400_000_000
BATCH_ROWS = 1_000_000
PARTICIPANTS_PER_ROW = 100
TARGETS = {"ledger-summary": 1.0, "rollforward of a month": 3.0, "statement of a participant": 0.2}
PATTERN = 20
"""Movements of one turn of the pattern; the last one is due work and no record."""


def main(description: str | None) -> None:
    """The command line of the benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    with options_in_folder(parser) as (options, folder):
        book = folder / f"reports_{options.rows}.duckdb"
        if not book.exists():
            started = time.perf_counter()
            make_book(book, options.rows)
            print(f"made in {time.perf_counter() - started:,.0f} s", file=sys.stderr)
        measure(book, options.rows)


def measure(book: Path, rows: int) -> None:
    """Runs the reports and prints a table."""
    march = {"from_us": month_start_us("2026-03"), "to_us": month_start_us("2026-04") - 1}
    someone = Owner(kind=EntityType.PARTICIPANT, key="p7")
    whole = ReportRequest(book=book)
    reports: dict[str, Callable[[], Report]] = {
        "ledger-summary": lambda: ledger_summary(whole),
        "rollforward of a month": lambda: rollforward(ReportRequest(book=book, **march)),
        "statement of a participant": lambda: statement(whole, owner=someone),
        "statement of a month": lambda: statement(ReportRequest(book=book, **march), owner=someone),
        "newest 100 entries": lambda: journal(JournalRequest(scope=whole)),
        "liability by bucket": lambda: liability(whole, by_bucket=True),
        "earn-burn": lambda: earn_burn(whole),
        "rule-cost": lambda: rule_cost(whole),
        "program-activity": lambda: program_activity(whole),
    }
    print(
        f"\n{rows:,} movements, {rows // PARTICIPANTS_PER_ROW:,} participants, {book.stat().st_size / 2**30:,.2f} GiB"
    )
    for name, report in reports.items():
        seconds = min(_seconds(report) for _ in range(3))
        target = f"   target {TARGETS[name]:.1f} s" if name in TARGETS else ""
        print(f"{name:<30}{seconds:>10,.3f}   s{target}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'peak memory':<30}{peak:>10,.2f}   GiB")


def _seconds(report: Callable[[], Report]) -> float:
    started = time.perf_counter()
    report()
    return time.perf_counter() - started


# --- the book -------------------------------------------------------------------------------------------------------


def make_book(path: Path, rows: int) -> None:
    """A book of `rows` movements, each an entry of its own, with the state and snapshots that they add up to."""
    settings = BookSettings(memory_limit="3GB")
    with open_book(path, mode=BookMode.WRITE, settings=settings) as book, book.session() as connection:
        _make_definitions(connection)
        participants = rows // PARTICIPANTS_PER_ROW
        holder = {"number": "i", "kind": "1", "external_id": "'p' || i", "log_seq": "1"}
        _insert(connection, "holders", holder, f"range(1, {participants + 1}) AS t(i)")
        connection.execute("CREATE TEMP TABLE standing (account BIGINT, amount BIGINT)")
        for batch, first in enumerate(range(1, rows + 1, BATCH_ROWS), start=1):
            _make_batch(connection, batch, first, min(first + BATCH_ROWS, rows + 1), rows, participants)
            print(f"\rbatch {batch:,} ", end="", file=sys.stderr, flush=True)
        balance = {"account": "account", "asset": "1", "amount": "amount", "last_entry_seq": str(rows)}
        _insert(connection, "balances", balance, "standing")
        connection.execute("UPDATE store.meta SET state_batch = (SELECT max(batch) FROM store.batches)")
    # Opened once more, the views are made for the scale of the asset.
    open_book(path, mode=BookMode.WRITE, settings=settings).close()


def _make_definitions(connection: duckdb.DuckDBPyConnection) -> None:
    organization = {"batch": "1", "number": "1", "id": "'00000000-0000-5000-8000-00000000000' || i", "program": "0"}
    objects = (
        (ObjectKind.ORGANIZATION, "'demo'", {}),
        (ObjectKind.PROGRAM, "'loyalty'", {}),
        (ObjectKind.ASSET, "'PTS'", {"scale": "2", "inventory_mode": "1", "issuance_policy": "1"}),
        (ObjectKind.RULE, "'base'", {"program": "1"}),
    )
    for kind, key, rest in objects:
        row = organization | {"kind": str(int(kind)), "key": key} | rest
        _insert(connection, "objects", row, f"range({int(kind)}, {int(kind) + 1}) AS t(i)")
    action = {"batch": "1", "number": "i", "program": "1", "rule": "1", "rule_version": "1", "action_index": "i - 1"}
    _insert(connection, "actions", action | {"type": "i", "asset": "1"}, "range(1, 3) AS t(i)")
    _insert(connection, "asset_links", {"program": "1", "asset": "1"}, "range(1) AS t(i)")


def _make_batch(
    connection: duckdb.DuckDBPyConnection, batch: int, first: int, end: int, rows: int, participants: int
) -> None:
    """The movements from `first` to before `end`, and everything that belongs to them."""
    turn = f"i % {PATTERN}"
    account = f"CAST(hash(i) % {participants} AS BIGINT) * 4 + 5"
    at = f"{START_US} + i * {YEARS_US // rows}"
    record = f"i - (i + 1) // {PATTERN}"
    numbers = f"range({first}, {end}) AS t(i)"
    movement = {
        "entry_seq": "i",
        "log_seq": f"CASE WHEN {turn} = 19 THEN 0 ELSE {record} END",
        "entry_type": f"""CASE WHEN {turn} < 14 THEN {EntryType.CREDIT} WHEN {turn} < 19 THEN {EntryType.DEBIT}
            ELSE {EntryType.EXPIRATION} END""",
        "action": f"CASE WHEN {turn} < 14 THEN 1 WHEN {turn} < 17 THEN 2 ELSE 0 END",
        "debit": f"CASE WHEN {turn} < 14 THEN 1 ELSE {account} END",
        "credit": f"CASE WHEN {turn} < 14 THEN {account} WHEN {turn} < 19 THEN 1 ELSE 3 END",
        "asset": "1",
        "amount": "i % 997 + 1",
        "lot_seq": "0",
    }
    _insert(connection, "movements", movement, numbers)
    due = {"entry_seq": "i", "created_at": at, "program": "1", "lot_seq": "0"}
    _insert(connection, "due_entries", due, f"(SELECT i FROM {numbers} WHERE {turn} = 19)")
    common = {
        "log_seq": record,
        "program": "1",
        "key_hash": "hash(i)",
        "idempotency_key": "'r' || i",
        "holder": f"CAST(hash(i) % {participants} AS BIGINT) + 1",
        "processed_at": at,
    }
    event = common | {"given": "1", "event_timestamp": at, "event_data": "'{}'", "pattern": "0"}
    _insert(connection, "events", event, f"(SELECT i FROM {numbers} WHERE {turn} < 17)")
    operation = common | {"type": "1", "effective_at": at, "fields": "'{}'"}
    _insert(connection, "operations", operation, f"(SELECT i FROM {numbers} WHERE {turn} IN (17, 18))")
    _make_balances(connection, batch, first, end)
    last = end - 1
    header = {
        "batch": str(batch),
        "book_clock": str(START_US + last * (YEARS_US // rows)),
        "last_log_seq": str(last - (last + 1) // PATTERN),
        "last_entry_seq": str(last),
        "last_holder": str(participants),
    }
    _insert(connection, "batches", header, "range(1) AS t(i)")


def _make_balances(connection: duckdb.DuckDBPyConnection, batch: int, first: int, end: int) -> None:
    """The snapshots of a batch, and what holders have after it."""
    moved = f"""SELECT account, sum(amount) AS amount FROM (
        SELECT debit AS account, -amount AS amount FROM store.movements WHERE entry_seq BETWEEN {first} AND {end - 1}
        UNION ALL SELECT credit, amount FROM store.movements WHERE entry_seq BETWEEN {first} AND {end - 1})
        WHERE account > 3 GROUP BY account"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE moved AS {moved}")
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE standing AS SELECT account, CAST(sum(amount) AS BIGINT) AS amount
        FROM (FROM standing UNION ALL FROM moved) GROUP BY account ORDER BY account"""
    )
    snapshot = {"batch": str(batch), "account": "account", "asset": "1", "amount": "amount"}
    _insert(
        connection, "balance_snapshots", snapshot, "(SELECT s.* FROM standing AS s SEMI JOIN moved USING (account))"
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], source: str) -> None:
    """Rows of a table: expressions by column, and null, 0, false or the empty text for all others."""
    schema = (BATCH_TABLES | STATE_TABLES | BOOK_TABLES)[table]
    values = ", ".join(columns.get(field.name, _nothing(field)) for field in schema)
    connection.execute(f"INSERT INTO store.{table} SELECT {values} FROM {source}")


def _nothing(field: pa.Field) -> str:
    if field.nullable:
        return "NULL"
    if pa.types.is_string(field.type):
        return "''"
    return "false" if pa.types.is_boolean(field.type) else "0"


if __name__ == "__main__":
    main(__doc__)
