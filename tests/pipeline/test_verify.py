"""What `verify` finds: nothing in a whole book, and every change of a stored row, by batch and table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from earnbook.pipeline.schema import STATE_TABLES
from earnbook.pipeline.seal import SEAL_TABLES
from earnbook.pipeline.store import BookMode, BookSettings, open_book
from earnbook.pipeline.verify import VerifyReport, run_check, verify_book
from earnbook.pipeline.verify_checks import CHECKS
from earnbook.pipeline.verify_finding import Finding
from earnbook.pipeline.verify_redemptions import REDEMPTION_CHECKS
from earnbook.pipeline.verify_seal import verify_seals
from earnbook.pipeline.verify_state import STATE_CHECKS
from tests.support.book_maker_money import make_money_book


@pytest.fixture(scope="module")
def whole_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "shop.duckdb"
    make_money_book(path)
    return path


@contextmanager
def changed(whole_book: Path, tmp_path: Path, sql: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A copy of the book on which `sql` was run by hand."""
    path = tmp_path / "tampered.duckdb"
    shutil.copy(whole_book, path)
    with duckdb.connect(path, config=BookSettings().config()) as connection:
        connection.execute(sql)
        yield connection


def findings_of(whole_book: Path, tmp_path: Path, sql: str, name: str) -> list[Finding]:
    """What one check finds after `sql`."""
    check = next(check for check in (*CHECKS, *REDEMPTION_CHECKS, *STATE_CHECKS) if check.name == name)
    with changed(whole_book, tmp_path, sql) as connection:
        return run_check(connection, check)


def tampered(whole_book: Path, tmp_path: Path, sql: str) -> VerifyReport:
    """The report on a copy of the book on which `sql` was run by hand."""
    with changed(whole_book, tmp_path, sql):
        pass
    return verify_book(tmp_path / "tampered.duckdb")


def test_a_whole_book_has_no_findings(whole_book: Path) -> None:
    report = verify_book(whole_book)
    assert report.findings == ()
    assert (report.batches, report.first_batch_checked, report.anchored) == (4, 1, True)
    assert (report.first_bad_batch, report.bad_tables) == (None, ())
    assert len(set(report.checks)) == len(report.checks) > 30


def test_an_empty_book_has_no_findings(tmp_path: Path) -> None:
    open_book(tmp_path / "new.duckdb", mode=BookMode.WRITE).close()
    report = verify_book(tmp_path / "new.duckdb")
    assert (report.batches, report.seal, report.findings) == (0, "", ())


def test_a_book_whose_checkpoint_is_behind_has_no_findings(tmp_path: Path) -> None:
    make_money_book(tmp_path / "shop.duckdb", checkpoint=False)
    assert verify_book(tmp_path / "shop.duckdb").findings == ()


TAMPERINGS = [
    # (sealed table, batch, SQL)
    ("entries", 2, "UPDATE store.due_entries SET created_at = created_at + 1 WHERE entry_seq = 6"),
    ("entries", 2, "DELETE FROM store.due_entries WHERE entry_seq = 6"),
    ("entries", 3, "INSERT INTO store.due_entries VALUES (8, 1, 1, 1)"),
    ("entries", 2, "UPDATE store.due_entries SET entry_seq = 15 - entry_seq WHERE entry_seq IN (6, 9)"),
    ("movements", 1, "UPDATE store.movements SET amount = amount + 1 WHERE entry_seq = 3"),
    ("movements", 1, "UPDATE store.movements SET lot_seq = 2 WHERE entry_seq = 3"),
    ("movements", 3, "DELETE FROM store.movements WHERE entry_seq = 8"),
    ("movements", 2, "INSERT INTO store.movements VALUES (5, 4, 2, 2, 9, 1, 1, 7, 0)"),
    ("movements", 2, "UPDATE store.movements SET lot_seq = 3 - lot_seq WHERE entry_seq = 5"),
    ("lots", 1, "UPDATE store.lots SET expires_at = NULL WHERE lot_seq = 1"),
    ("lots", 3, "DELETE FROM store.lots WHERE lot_seq = 4"),
    ("lots", 1, "INSERT INTO store.lots SELECT * REPLACE (8 AS amount) FROM store.lots WHERE lot_seq = 2"),
    ("lots", 1, "UPDATE store.lots SET lot_seq = 3 - lot_seq WHERE lot_seq IN (1, 2)"),
    ("lots", 1, "UPDATE store.lot_details SET matures_at = NULL"),
    ("lots", 1, "DELETE FROM store.lot_details"),
    ("lots", 3, "INSERT INTO store.lot_details VALUES (4, 4, NULL, 'ref')"),
    ("lot_moves", 3, "UPDATE store.lot_moves SET repaid = 1"),
    ("lot_moves", 3, "DELETE FROM store.lot_moves"),
    ("lot_moves", 2, "INSERT INTO store.lot_moves VALUES (6, 0, 2, 6, 1, 500, 2, 500, NULL, 0)"),
    ("events", 1, "UPDATE store.events SET event_data = '{}' WHERE log_seq = 2"),
    ("events", 2, "UPDATE store.events SET given = 3 WHERE log_seq = 4"),
    ("events", 2, "DELETE FROM store.events WHERE log_seq = 5"),
    ("events", 3, "INSERT INTO store.events SELECT * FROM store.events WHERE log_seq = 7"),
    ("events", 1, "UPDATE store.events SET log_seq = 3 - log_seq WHERE log_seq IN (1, 2)"),
    ("operations", 2, "UPDATE store.operations SET fields = '{}'"),
    ("operations", 2, "DELETE FROM store.operations"),
    ("operations", 3, "INSERT INTO store.operations SELECT * REPLACE (7 AS log_seq) FROM store.operations"),
    ("outcomes", 2, "UPDATE store.events SET outcome = 83 WHERE log_seq = 5"),
    ("outcomes", 3, "UPDATE store.events SET processed_at = processed_at - 1 WHERE log_seq = 7"),
    ("outcomes", 2, "UPDATE store.operations SET outcome = 1"),
    ("changes", 1, "UPDATE store.changes SET value = 151 WHERE change_seq = 3"),
    ("changes", 3, "DELETE FROM store.changes WHERE change_seq = 8"),
    ("changes", 2, "UPDATE store.change_details SET text = 'Bonn' WHERE change_seq = 7"),
    ("changes", 3, "UPDATE store.change_details SET reset_after = 1 WHERE reset_after IS NOT NULL"),
    ("changes", 2, "DELETE FROM store.change_details WHERE change_seq = 7"),
    ("changes", 1, "INSERT INTO store.change_details VALUES (3, 1, NULL, NULL, NULL)"),
    ("changes", 1, "UPDATE store.changes SET change_seq = 7 - change_seq WHERE change_seq IN (3, 4)"),
    ("changes", 3, "UPDATE store.due_changes SET changed_at = changed_at - 1"),
    ("changes", 3, "DELETE FROM store.due_changes"),
    ("changes", 1, "INSERT INTO store.due_changes VALUES (4, 1, 4, 1)"),
    ("changes", 1, "UPDATE store.holders SET external_id = 'mallory' WHERE number = 1"),
    ("changes", 1, "UPDATE store.names SET text = 'gold' WHERE number = 2"),
    ("definitions", 1, "UPDATE store.definitions SET snapshot = '{}'"),
    ("definitions", 1, "DELETE FROM store.definitions"),
    ("definitions", 1, "UPDATE store.objects SET scale = 3 WHERE key = 'PTS'"),
    ("definitions", 1, "UPDATE store.actions SET rule_version = 2 WHERE number = 1"),
    ("redemptions", 4, "UPDATE store.redemptions SET amount = 601 WHERE reward = 1"),
    ("redemptions", 4, "UPDATE store.redemptions SET quantity = 0 WHERE reward = 0"),
    ("redemptions", 4, "UPDATE store.redemptions SET unit_cost = NULL"),
    ("redemptions", 4, "UPDATE store.redemptions SET target = 3 WHERE target = 2"),
    ("redemptions", 4, "DELETE FROM store.redemptions WHERE reward = 0"),
    ("reversals", 4, "UPDATE store.reversals SET redemption = 11"),
    ("reversals", 4, "UPDATE store.reversals SET quantity = 2 WHERE quantity = 1"),
    ("reversals", 4, "INSERT INTO store.reversals VALUES (14, 10, 1, NULL, 16)"),
    ("rejects", 1, "UPDATE store.rejects SET raw = 'nothing'"),
    ("rejects", 1, "DELETE FROM store.rejects"),
    ("rejects", 2, "INSERT INTO store.rejects SELECT * REPLACE (2 AS batch) FROM store.rejects"),
]


@pytest.mark.parametrize(("table", "batch", "sql"), TAMPERINGS)
def test_a_changed_row_is_named_by_batch_and_table(
    whole_book: Path, tmp_path: Path, table: str, batch: int, sql: str
) -> None:
    with changed(whole_book, tmp_path, sql) as connection:
        digests = [finding for finding in verify_seals(connection, 1) if finding.check == "digests"]
    assert digests[0].batch == batch
    assert table in {finding.table for finding in digests if finding.batch == batch}


def test_the_report_names_the_first_bad_batch_and_its_tables(whole_book: Path, tmp_path: Path) -> None:
    sql = "UPDATE store.lots SET amount = 1 WHERE lot_seq = 4;"
    report = tampered(whole_book, tmp_path, sql + "UPDATE store.events SET event_data = '{}' WHERE log_seq = 5")
    assert (report.first_bad_batch, report.bad_tables) == (2, ("batches", "events"))
    found = [(finding.check, finding.batch, finding.table) for finding in report.findings]
    assert found[:2] == [("digests", 2, "events"), ("seals", 2, "batches")]
    assert ("lots_are_their_entries", 3, "lots") in found


def test_the_first_bad_batch_is_where_rows_changed_not_where_they_do_not_fit(whole_book: Path, tmp_path: Path) -> None:
    report = tampered(
        whole_book, tmp_path, "UPDATE store.movements SET amount = 800 WHERE entry_seq = 5 AND lot_seq = 3"
    )
    found = [(finding.check, finding.batch, finding.table) for finding in report.findings]
    assert ("lots_keep_their_bounds", 1, "lots") in found
    assert report.first_bad_batch == 2
    assert {"batches", "movements"} <= set(report.bad_tables)


def test_every_sealed_table_with_rows_is_tampered_with() -> None:
    assert {table for table, _, _ in TAMPERINGS} == {table.name for table in SEAL_TABLES if table.parts}


@pytest.mark.parametrize(
    ("batch", "check", "sql"),
    [
        (2, "seals", "UPDATE store.batches SET clock_mode = 'now' WHERE batch = 2"),
        (2, "seals", "UPDATE store.batches SET book_clock = book_clock + 1 WHERE batch = 2"),
        (3, "chain", "UPDATE store.batches SET seal = repeat('0', 64) WHERE batch = 2"),
        (2, "chain", "UPDATE store.batches SET previous_seal = repeat('0', 64) WHERE batch = 2"),
        (3, "digests", "UPDATE store.digests SET digest = repeat('0', 64) WHERE batch = 3 AND name = 'lots'"),
        (1, "counts_are_identities", "UPDATE store.batches SET rows_read = 9 WHERE batch = 1"),
        (2, "counts_are_the_rows", "UPDATE store.batches SET failed = 0, completed = 3 WHERE batch = 2"),
        (1, "rulesets_are_their_hash", "UPDATE store.rulesets SET document = '{}'"),
        (2, "key_hashes", "UPDATE store.events SET key_hash = 7 WHERE log_seq = 4"),
    ],
)
def test_a_changed_header_is_named(whole_book: Path, tmp_path: Path, batch: int, check: str, sql: str) -> None:
    report = tampered(whole_book, tmp_path, sql)
    assert (check, batch) in {(finding.check, finding.batch) for finding in report.findings}


@pytest.mark.parametrize(
    ("table", "sql"),
    [
        ("balances", "UPDATE store.balances SET amount = amount + 1 WHERE account = 5"),
        ("balances", "DELETE FROM store.balances WHERE account = -1"),
        ("system_balances", "UPDATE store.system_balances SET last_entry_seq = 1 WHERE account = 3"),
        ("overdrafts", "INSERT INTO store.overdrafts VALUES (1, 1, 5)"),
        ("counters", "UPDATE store.counters SET low = low + 1"),
        ("tags", "INSERT INTO store.tags VALUES (1, 2)"),
        ("attributes", "UPDATE store.attributes SET text = 'Bonn'"),
        ("enrollments", "DELETE FROM store.enrollments WHERE holder = 2"),
        ("tiers", "INSERT INTO store.tiers VALUES (1, 1, 1, 5, NULL, false, NULL, 0)"),
        ("open_lots", "UPDATE store.open_lots SET status = 1"),
        ("reward_counts", "UPDATE store.reward_counts SET redeemed_count = 2 WHERE holder = 0"),
    ],
)
def test_a_changed_checkpoint_is_named(whole_book: Path, tmp_path: Path, table: str, sql: str) -> None:
    finding = findings_of(whole_book, tmp_path, sql, f"refold_{table}")[0]
    assert finding.table == table
    assert finding.count >= 1


def test_every_check_is_seen_to_fail() -> None:
    """Each check has a tampering that it finds, here or in the tests of the checkpoint."""
    tested = {check for check, _ in BREAKAGES}
    headers = {"counts_are_identities", "counts_are_the_rows", "rulesets_are_their_hash"}
    assert {check.name for check in (*CHECKS, *REDEMPTION_CHECKS)} == tested | headers


def test_every_state_table_is_refolded(whole_book: Path) -> None:
    assert {f"refold_{table}" for table in STATE_TABLES} <= set(verify_book(whole_book).checks)


BREAKAGES = [
    ("dense_budgets", "INSERT INTO store.budget_starts VALUES (1, 2, 1, 1, 1, '', 0, 0)"),
    (
        "budgets_keep_their_limits",
        """INSERT INTO store.budget_starts VALUES (1, 1, 1, 1, 1, '', 0, 0);
        INSERT INTO store.budget_terms VALUES (1, 1, 50, NULL); INSERT INTO store.budgets VALUES (1, 100000)""",
    ),
    (
        "no_reset_is_due",
        """INSERT INTO store.budget_starts VALUES (1, 1, 1, 1, 1, 'INTERVAL 1h', 0, 0);
        INSERT INTO store.budget_terms VALUES (1, 1, 50, 1)""",
    ),
    ("generated_events_have_causes", "INSERT INTO store.generated_events VALUES (1, 99, 1, 0, 1, false)"),
    ("attempts_are_retries", "INSERT INTO store.attempts VALUES (1, 3, 2, 0, 1, 0, 0, 0, 0, 1, 0)"),
    ("entries_balance", "UPDATE store.movements SET amount = 0 WHERE entry_seq = 8"),
    ("entries_balance", "UPDATE store.movements SET asset = 2 WHERE entry_seq = 5 AND lot_seq = 0"),
    ("accounts_exist", "UPDATE store.movements SET credit = 4 WHERE entry_seq = 1"),
    ("accounts_exist", "UPDATE store.movements SET credit = -2 WHERE entry_seq = 4"),
    ("value_is_conserved", "UPDATE store.system_balances SET amount = 0 WHERE account = 3"),
    ("snapshots_are_the_fold", "DELETE FROM store.balance_snapshots WHERE batch = 2 AND account = 5"),
    ("snapshots_are_the_fold", "UPDATE store.system_snapshots SET amount = amount - 1 WHERE batch = 3"),
    ("lots_are_the_balances", "UPDATE store.open_lots SET remaining = remaining - 1"),
    ("overdraft_has_no_lots", "INSERT INTO store.overdrafts VALUES (1, 1, 5)"),
    ("no_negative_balance", "UPDATE store.balances SET amount = -5 WHERE account = -1"),
    ("no_negative_balance", "UPDATE store.balances SET amount = -5 WHERE account = 7"),
    ("lots_keep_their_bounds", "UPDATE store.open_lots SET remaining = 3001 WHERE lot_seq = 5"),
    ("lots_are_their_entries", "UPDATE store.lots SET amount = amount + 1 WHERE lot_seq = 3"),
    ("lot_moves_follow", "UPDATE store.lot_moves SET remaining_after = 251"),
    ("postings_are_lot_moves", "UPDATE store.lot_moves SET repaid = 199"),
    ("parts_are_their_lots", "INSERT INTO store.lot_details VALUES (4, 1, NULL, NULL)"),
    ("references_have_entries", "INSERT INTO store.entry_references VALUES (1, 'R1')"),
    ("nothing_is_due", "UPDATE store.open_lots SET expires_at = 1 WHERE lot_seq = 5"),
    ("wallets_are_explained", "UPDATE store.movements SET entry_type = 5 WHERE entry_seq = 4"),
    ("dense_log_seq", "DELETE FROM store.events WHERE log_seq = 4"),
    ("dense_log_seq", "INSERT INTO store.events SELECT * REPLACE (99 AS log_seq) FROM store.events LIMIT 1"),
    ("dense_entry_seq", "DELETE FROM store.movements WHERE entry_seq = 8"),
    ("dense_lot_seq", "DELETE FROM store.lots WHERE lot_seq = 2"),
    ("dense_change_seq", "UPDATE store.changes SET change_seq = 4 WHERE change_seq = 3"),
    ("dense_holder", "DELETE FROM store.holders WHERE number = 2"),
    ("dense_objects", "UPDATE store.objects SET number = 3 WHERE key = 'CASH'"),
    ("dense_names", "DELETE FROM store.names WHERE number = 1"),
    ("dense_actions", "DELETE FROM store.actions WHERE number = 2"),
    ("dense_batches", "UPDATE store.batches SET batch = 9 WHERE batch = 3"),
    ("created_at_never_decreases", "UPDATE store.events SET processed_at = 1 WHERE log_seq = 6"),
    ("entry_ids_are_unique", "UPDATE store.movements SET action = 1 WHERE entry_seq = 2"),
    (
        "entry_ids_are_unique",
        """INSERT INTO store.due_entries SELECT * REPLACE (8 AS entry_seq) FROM store.due_entries WHERE entry_seq = 9;
            INSERT INTO store.movements SELECT * REPLACE (8 AS entry_seq) FROM store.movements WHERE entry_seq = 9""",
    ),
    ("details_have_rows", "INSERT INTO store.lot_details VALUES (99, 1, NULL, NULL)"),
    ("details_have_rows", "INSERT INTO store.change_details SELECT * FROM store.change_details LIMIT 1"),
    ("details_have_rows", "INSERT INTO store.due_changes VALUES (99, 1, 4, 1)"),
    ("details_have_rows", "INSERT INTO store.due_changes SELECT * FROM store.due_changes"),
    ("lot_ids_are_unique", "UPDATE store.lots SET entry_seq = 1 WHERE lot_seq = 2"),
    ("lot_ids_are_unique", "UPDATE store.lots SET place = 0 WHERE lot_seq = 10"),
    ("lot_ids_are_unique", "UPDATE store.lots SET place = 3 WHERE lot_seq = 10"),
    ("lot_ids_are_unique", "UPDATE store.lots SET place = 1, entry_seq = 1 WHERE lot_seq = 2"),
    ("received_lots_are_fresh", "UPDATE store.lots SET wallet = 1 WHERE lot_seq = 8"),
    ("received_lots_are_fresh", "UPDATE store.lots SET created_at = 1 WHERE lot_seq = 7"),
    ("received_lots_are_fresh", "INSERT INTO store.lot_details VALUES (9, 9, NULL, 'R')"),
    ("lot_moves_are_written", "DELETE FROM store.lot_moves WHERE entry_seq = 13"),
    ("lot_moves_are_written", "DELETE FROM store.lot_moves WHERE entry_seq = 14"),
    ("redemptions_are_their_entries", "DELETE FROM store.redemptions WHERE reward = 0"),
    ("redemptions_are_their_entries", "INSERT INTO store.redemptions SELECT * FROM store.redemptions WHERE reward = 0"),
    ("redemptions_are_their_entries", "UPDATE store.redemptions SET target = 3 WHERE reward = 0"),
    ("redemptions_are_their_entries", "UPDATE store.redemptions SET reward_version = 2 WHERE reward = 1"),
    ("redemptions_are_their_entries", "UPDATE store.redemptions SET quantity = 3 WHERE reward = 1"),
    ("redemptions_are_their_entries", "UPDATE store.operations SET outcome = 82 WHERE log_seq = 10"),
    ("redemptions_are_their_entries", "UPDATE store.movements SET entry_type = 2 WHERE entry_seq = 12"),
    ("reversals_are_their_entries", "UPDATE store.reversals SET redemption = 11 WHERE redemption = 10"),
    ("reversals_are_their_entries", "UPDATE store.reversals SET amount = 1 WHERE redemption = 10"),
    ("reversals_are_their_entries", "DELETE FROM store.reversals WHERE redemption = 10"),
    ("reversals_are_their_entries", "UPDATE store.reversals SET quantity = NULL"),
    ("reversed_is_at_most_redeemed", "UPDATE store.redemptions SET amount = 1699 WHERE reward = 0"),
    ("reversed_is_at_most_redeemed", "UPDATE store.reversals SET quantity = 3 WHERE quantity = 1"),
    (
        "reward_counts_keep_their_limits",
        "UPDATE store.definitions SET snapshot = replace(snapshot, '\"max_total\":2', '\"max_total\":0')",
    ),
    ("reward_counts_keep_their_limits", "UPDATE store.reward_counts SET redeemed_count = -1 WHERE holder > 0"),
    ("reward_changes_are_the_counts", "UPDATE store.changes SET value = 1 WHERE change_seq = 13"),
    ("reward_changes_are_the_counts", "UPDATE store.redemptions SET quantity = NULL WHERE reward = 1"),
    ("reward_changes_are_the_counts", "UPDATE store.changes SET state_type = 11 WHERE change_seq = 14"),
    ("holder_ids_are_unique", "UPDATE store.holders SET external_id = 'alice'"),
    ("entries_have_causes", "UPDATE store.movements SET log_seq = 5 WHERE entry_seq = 5"),
    ("entries_have_causes", "DELETE FROM store.due_entries WHERE entry_seq = 6"),
    ("changes_have_causes", "UPDATE store.changes SET log_seq = 77 WHERE change_seq = 7"),
    ("changes_have_causes", "UPDATE store.changes SET log_seq = 5 WHERE change_seq = 7"),
    ("changes_have_causes", "DELETE FROM store.due_changes"),
    ("changes_have_causes", "UPDATE store.due_changes SET object = 2"),
    ("changes_have_causes", "INSERT INTO store.due_changes VALUES (4, 1, 4, 1)"),
    ("tier_changes_have_levels", "INSERT INTO store.tier_changes VALUES (3, 1, NULL, false, NULL, 0)"),
    ("tier_changes_have_levels", "UPDATE store.changes SET state_type = 4 WHERE change_seq = 3"),
    ("nothing_is_due", "INSERT INTO store.tiers VALUES (1, 1, 1, 5, 6, true, NULL, 0)"),
    ("details_have_rows", "INSERT INTO store.tier_changes VALUES (99, 1, NULL, false, NULL, 0)"),
    ("holders_have_causes", "UPDATE store.holders SET log_seq = 77 WHERE number = 1"),
    ("event_keys_are_unique", "UPDATE store.events SET idempotency_key = 'e-1', key_hash = 5"),
    ("operation_keys_are_unique", "INSERT INTO store.operations SELECT * FROM store.operations"),
]


@pytest.mark.parametrize(("check", "sql"), BREAKAGES)
def test_a_broken_property_is_found_by_its_check(whole_book: Path, tmp_path: Path, check: str, sql: str) -> None:
    findings = findings_of(whole_book, tmp_path, sql, check)
    assert len(findings) == 1
    assert 1 <= len(findings[0].examples) <= 5
    assert all(example not in ("", "None") for example in findings[0].examples)


def test_restored_rows_in_another_physical_order_are_the_same_book(whole_book: Path, tmp_path: Path) -> None:
    sql = """CREATE TEMP TABLE kept AS SELECT * FROM store.lots WHERE lot_seq = 1;
        DELETE FROM store.lots WHERE lot_seq = 1; INSERT INTO store.lots SELECT * FROM kept"""
    report = tampered(whole_book, tmp_path, sql)
    assert report.findings == ()


def test_a_window_looks_at_the_last_batches_only(whole_book: Path, tmp_path: Path) -> None:
    path = tmp_path / "tampered.duckdb"
    shutil.copy(whole_book, path)
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE store.events SET event_data = '{}' WHERE log_seq = 2")
    for window, first, anchored, found in ((3, 2, False, False), (4, 1, True, True), (9, 1, True, True)):
        report = verify_book(path, window=window)
        assert (report.first_batch_checked, report.anchored, bool(report.findings)) == (first, anchored, found)


def test_examples_are_capped_and_all_violations_counted(whole_book: Path, tmp_path: Path) -> None:
    report = tampered(whole_book, tmp_path, "UPDATE store.movements SET amount = 0")
    finding = next(finding for finding in report.findings if finding.check == "entries_balance")
    # 21 movements, and the nine accounts of entries with several of them, which have no posting any more.
    assert (finding.count, len(finding.examples), finding.batch) == (30, 5, 1)
