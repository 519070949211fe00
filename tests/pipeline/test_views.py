"""The public views read like §18: ids of §2.3, amounts in asset units, names beside numbers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.store_rows import one_row, transaction
from earnbook.pipeline.store_views import NAMED_CODES, code_name, install_views
from earnbook.rules.times import format_duration
from tests.support.book_maker import BASE, CASH, LOYALTY, ORGANIZATION, PTS, make_small_book

ALICE = uuid.uuid5(ORGANIZATION, "participant:alice")
START = datetime(2026, 1, 1)
WINDOWED = '{"last_reset_at":"2026-01-05T04:00:00Z","reset_after":"720h","value":2.5}'


@pytest.fixture(scope="module", params=[True, False], ids=["checkpoint", "checkpoint behind"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "shop.duckdb"
    make_small_book(path, checkpoint=request.param)
    return path


@pytest.fixture
def book(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Any DuckDB client: no settings of ours."""
    with duckdb.connect(path, read_only=True) as connection:
        yield connection


def rows(book: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    return book.execute(sql).fetchall()


def test_golden_ids_are_those_of_the_specification(book: duckdb.DuckDBPyConnection) -> None:
    golden = {
        "SELECT organization_id FROM batches": "247de422-21bc-551b-951a-d6e6f805e3c1",
        "SELECT id FROM programs": "3a37bb6a-dfc8-50ba-8532-fadfaf037bdb",
        "SELECT id FROM assets WHERE symbol = 'PTS'": "59bb73fc-f091-5918-a0dc-16c06074dd9c",
        "SELECT id FROM participants WHERE external_id = 'alice'": "5f4d6c80-b779-5174-9e3e-37d6ea331a70",
        "SELECT id FROM rules": "69f0f32e-262e-58b7-a77a-dca8f2f701b5",
        "SELECT id FROM events WHERE idempotency_key = 'e-1'": "a978fb6a-cbd6-545c-a7e7-12088471114f",
        "SELECT id FROM entries WHERE seq = 1": "6cdd9bbd-980b-51ca-ada8-9489446b2b2e",
    }
    assert {sql: str(rows(book, sql)[0][0]) for sql in golden} == golden
    redeem = rows(book, f"SELECT store.uuid5('{LOYALTY}', 'operation:' || store.operation_type_name(6) || ':r-1')")
    assert str(redeem[0][0]) == "2c77e87e-1acf-54e2-bb92-32944e5ded29"


@pytest.mark.parametrize("name", ["", "a", "Zoë", "日本", "x" * 255, "q'uote"])
def test_uuid5_is_that_of_the_standard_library(book: duckdb.DuckDBPyConnection, name: str) -> None:
    found = book.execute("SELECT store.uuid5(?, ?)", [str(ORGANIZATION), name]).fetchall()
    assert found == [(uuid.uuid5(ORGANIZATION, name),)]


def test_derived_ids_chain_from_records_to_entries_and_lots(book: duckdb.DuckDBPyConnection) -> None:
    event = uuid.uuid5(LOYALTY, "e-1")
    entry = uuid.uuid5(event, f"entry:{BASE}:0:0")
    lot = uuid.uuid5(entry, "lot:0")
    matured = uuid.uuid5(uuid.uuid5(event, f"entry:{BASE}:5:0"), "lot:0")
    fund = uuid.uuid5(LOYALTY, "operation:fund:fund-1")
    assert rows(book, "SELECT id, entry_seq FROM lots WHERE lot_seq = 1") == [(lot, 1)]
    assert rows(book, "SELECT seq, id, cause, cause_id FROM entries WHERE seq IN (1, 4, 6, 9) ORDER BY seq") == [
        (1, entry, "EVENT", event),
        (4, uuid.uuid5(fund, "entry:0"), "OPERATION", fund),
        (6, uuid.uuid5(matured, "maturity"), "DUE", matured),
        (9, uuid.uuid5(lot, "expiration"), "DUE", lot),
    ]
    evaluation = uuid.uuid5(event, f"evaluation:1:{BASE}")
    assert rows(book, "SELECT id FROM evaluations WHERE log_seq = 1") == [(evaluation,)]


def test_entries_name_their_cause_rule_and_amount(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        book,
        """SELECT seq, batch, created_at, action_type, program, asset, amount, amount_minor, log_seq, rule,
            rule_version, action_index, description FROM entries ORDER BY seq""",
    )
    day = timedelta(days=1)
    assert found[0] == (
        1, 1, START, "CREDIT", "loyalty", "PTS", Decimal("30.00"), 3000, 1, "base", 1, 0, None
    )  # fmt: skip
    assert found[3] == (
        4, 2, START + timedelta(hours=2), "FUND", "loyalty", "CASH", Decimal(100), 100, 3, None, None, None, "opening"
    )  # fmt: skip
    assert found[4][6:8] == (Decimal("9.00"), 900)
    assert found[5][:4] == (6, 2, START + 2 * day, "MATURITY")
    assert found[8][:4] == (9, 3, START + 10 * day, "EXPIRATION")
    assert [row[1] for row in found] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_postings_put_negative_legs_first_and_sum_to_zero(book: duckdb.DuckDBPyConnection) -> None:
    debit = rows(
        book,
        """SELECT index, entity_type, entity, bucket, amount, amount_minor FROM postings
        WHERE entry_seq = 5 ORDER BY index""",
    )
    assert debit == [
        (0, "PARTICIPANT", "bob", "AVAILABLE", Decimal("-9.00"), -900),
        (1, "SYSTEM_ISSUANCE", None, "AVAILABLE", Decimal("9.00"), 900),
    ]
    maturity = rows(book, "SELECT bucket, amount FROM postings WHERE entry_seq = 6 ORDER BY index")
    assert maturity == [("DEFERRED", Decimal("-5.00")), ("AVAILABLE", Decimal("5.00"))]
    assert rows(book, "SELECT DISTINCT sum(amount_minor) FROM postings GROUP BY entry_seq") == [(0,)]
    wallet = rows(book, "SELECT entity_type, entity_id FROM postings WHERE entry_seq = 4 AND index = 1")
    assert wallet == [("PROGRAM", LOYALTY)]


def test_lots_carry_their_state(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        book,
        "SELECT lot_seq, holder, amount, remaining, remaining_minor, status, source_type FROM lots ORDER BY lot_seq",
    )
    assert found == [
        (1, "alice", Decimal("30.00"), Decimal("0.00"), 0, "EXPIRED", "SYSTEM_ISSUANCE"),
        (2, "alice", Decimal("5.00"), Decimal("5.00"), 500, "AVAILABLE", "SYSTEM_ISSUANCE"),
        (3, "bob", Decimal("7.00"), Decimal("0.00"), 0, "CONSUMED", "SYSTEM_ISSUANCE"),
        (4, "bob", Decimal("4.50"), Decimal("2.50"), 250, "AVAILABLE", "SYSTEM_ISSUANCE"),
    ]


def test_lot_moves_are_derived_from_movements_and_repayments(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        book,
        """SELECT entry_seq, index, lot_seq, kind, status_before, remaining_before_minor, status_after,
            remaining_after_minor, repaid_minor FROM lot_moves ORDER BY entry_seq, index""",
    )
    assert found == [
        (1, 0, 1, "CREATE", None, 0, "AVAILABLE", 3000, 0),
        (2, 0, 2, "CREATE", None, 0, "DEFERRED", 500, 0),
        (3, 0, 3, "CREATE", None, 0, "AVAILABLE", 700, 0),
        (5, 0, 3, "CONSUME", "AVAILABLE", 700, "CONSUMED", 0, 0),
        (6, 0, 2, "MATURE", "DEFERRED", 500, "AVAILABLE", 500, 0),
        (7, 0, 4, "CREATE", None, 0, "AVAILABLE", 250, 200),
        (8, 0, 1, "CONSUME", "AVAILABLE", 3000, "AVAILABLE", 2900, 0),
        (9, 0, 1, "EXPIRE", "AVAILABLE", 2900, "EXPIRED", 0, 0),
    ]


def test_events_operations_and_outcomes_share_record_ids(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        book,
        """SELECT o.log_seq, coalesce(e.idempotency_key, p.idempotency_key), e.external_id, o.status, o.code, o.rule,
            o.action_index, o.batch FROM outcomes AS o LEFT JOIN events AS e ON e.id = o.record_id
        LEFT JOIN operations AS p ON p.id = o.record_id ORDER BY o.log_seq""",
    )
    assert found[2] == (3, "fund-1", None, "COMPLETED", "OK", None, None, 2)
    assert found[4] == (5, "e-4", "alice", "FAILED", "INSUFFICIENT_BALANCE", "base", 1, 2)
    assert [row[1] for row in found] == ["e-1", "e-2", "fund-1", "e-3", "e-4", "e-5", "e-6"]
    assert rows(book, "SELECT status, count(*) FROM event_status GROUP BY ALL ORDER BY ALL") == [
        ("COMPLETED", 5),
        ("FAILED", 1),
    ]


def test_evaluations_say_what_each_rule_did(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(book, "SELECT log_seq, rule, rule_version, rule_order, status, reason, applied FROM evaluations")
    assert sorted(found) == [(log_seq, "base", 1, 10, "SUCCESS", None, True) for log_seq in (1, 2, 4, 6, 7)]


def test_changes_show_the_value_before_and_after(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        book,
        """SELECT change_seq, entity, state_type, key, operation, old_value, new_value, rule, action_index
        FROM changes ORDER BY change_seq""",
    )
    assert found == [
        (1, "alice", "participant", "status", "set", None, '"ACTIVE"', None, None),
        (2, "alice", "enrollment", "loyalty", "set", None, '"ACTIVE"', None, None),
        (3, "alice", "counter", "visits", "set", None, "1.5", "base", 2),
        (4, "alice", "tag", "vip", "add", None, None, "base", 3),
        (5, "bob", "participant", "status", "set", None, '"ACTIVE"', None, None),
        (6, "bob", "enrollment", "loyalty", "set", None, '"ACTIVE"', None, None),
        (7, "bob", "attribute", "city", "set", None, '"Köln"', "base", 4),
        (8, "alice", "tag", "vip", "remove", None, None, "base", 3),
        (9, "alice", "counter", "visits", "set", "1.5", WINDOWED, "base", 2),
        (10, "alice", "attribute", "city", "set", None, '"Bonn"', None, None),
    ]


def test_a_change_of_due_work_names_its_object_and_time(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(book, "SELECT cause, cause_id, log_seq, event_id, changed_at, batch FROM changes WHERE change_seq > 8")
    event = uuid.uuid5(LOYALTY, "e-6")
    assert sorted(found) == [
        ("DUE", BASE, None, None, START + timedelta(hours=250), 3),
        ("EVENT", event, 7, event, START + timedelta(hours=100), 3),
    ]


def test_state_views_are_current(book: duckdb.DuckDBPyConnection) -> None:
    assert rows(book, "SELECT entity, asset, bucket, amount FROM balances WHERE amount <> 0 ORDER BY ALL") == [
        ("alice", "PTS", "AVAILABLE", Decimal("5.00")),
        ("bob", "PTS", "AVAILABLE", Decimal("2.50")),
        ("loyalty", "CASH", "AVAILABLE", Decimal("100.00")),
        (None, "CASH", "AVAILABLE", Decimal("-100.00")),
        (None, "PTS", "AVAILABLE", Decimal("-36.50")),
        (None, "PTS", "AVAILABLE", Decimal("29.00")),
    ]
    assert rows(book, "SELECT external_id, status FROM participants ORDER BY number") == [
        ("alice", "ACTIVE"),
        ("bob", "ACTIVE"),
    ]
    assert rows(book, "SELECT entity, key, value, last_reset_at, reset_after FROM counters") == [
        ("alice", "visits", "2.5", START + timedelta(hours=100), timedelta(hours=720))
    ]
    assert rows(book, "SELECT entity, key, value FROM attributes ORDER BY 1") == [
        ("alice", "city", "Bonn"),
        ("bob", "city", "Köln"),
    ]
    assert rows(book, "SELECT * FROM tags") == []
    assert rows(book, "SELECT external_id, program, status FROM enrollments ORDER BY 1") == [
        ("alice", "loyalty", "ACTIVE"),
        ("bob", "loyalty", "ACTIVE"),
    ]


def test_snapshots_tell_any_past_balance(book: duckdb.DuckDBPyConnection) -> None:
    past = """SELECT arg_max(amount, batch) FROM balance_snapshots
        WHERE entity = 'alice' AND bucket = 'AVAILABLE' AND batch <= {}"""
    assert [rows(book, past.format(batch))[0][0] for batch in (1, 2, 3)] == [
        Decimal("30.00"),
        Decimal("35.00"),
        Decimal("5.00"),
    ]


def test_friendly_views_show_balances_and_issuance(book: duckdb.DuckDBPyConnection) -> None:
    assert rows(book, "SELECT external_id, asset, available, held, deferred FROM participant_balances ORDER BY 1") == [
        ("alice", "PTS", Decimal("5.00"), Decimal("0.00"), Decimal("0.00")),
        ("bob", "PTS", Decimal("2.50"), Decimal("0.00"), Decimal("0.00")),
    ]
    assert rows(book, "SELECT rule, asset, credits, issued FROM rule_issuance") == [
        ("base", "PTS", 4, Decimal("46.50"))
    ]


def test_batches_and_rejects_name_their_sources(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(book, "SELECT batch, clock_mode, book_clock, rows_read, failed, sources FROM batches")
    assert found[0][:5] == (1, "event", START + timedelta(hours=1), 3, 0)
    assert found[0][5] == [{"name": "events.ndjson", "sha256": "ab" * 32, "rows": 9}]
    assert rows(book, "SELECT * FROM rejects") == [
        (1, 1, "events.ndjson", 3, "UNPARSEABLE_ROW", None, "not JSON", None, "{not json")
    ]


def test_definitions_show_the_history(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        book, "SELECT kind, object_id, version, change_type, snapshot, ruleset_version, batch FROM definitions"
    )
    assert found == [("rule", BASE, 1, "created", '{"key":"base"}', 1, 1)]


def test_amounts_of_every_asset_have_the_largest_scale(book: duckdb.DuckDBPyConnection) -> None:
    types = rows(book, "SELECT DISTINCT typeof(amount) FROM balances UNION SELECT DISTINCT typeof(amount) FROM entries")
    assert types == [("DECIMAL(38,2)",)]
    assert rows(book, "SELECT DISTINCT typeof(created_at) FROM entries") == [("TIMESTAMP",)]
    assert rows(book, "SELECT id FROM assets ORDER BY number") == [(PTS,), (CASH,)]


def test_views_follow_an_asset_of_larger_scale(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    make_small_book(path)
    with open_book(path, mode=BookMode.WRITE) as opened, opened.session() as session:
        assert not install_views(session)
        with transaction(session):
            session.execute("UPDATE store.objects SET scale = 18 WHERE key = 'CASH'")
            assert install_views(session)
        session.execute("UPDATE store.balances SET amount = 9223372036854775807 WHERE account = -1")
        session.execute("UPDATE store.system_balances SET amount = -99999999999999999999999999999 WHERE asset = 2")
        assert one_row(session, "SELECT amount FROM balances WHERE entity = 'loyalty'") == (
            Decimal("9.223372036854775807"),
        )
        assert one_row(session, "SELECT amount FROM balances WHERE asset = 'CASH' AND entity IS NULL") == (
            Decimal("-99999999999.999999999999999999"),
        )


@pytest.mark.parametrize(
    ("mantissa", "scale", "text"),
    [(0, 0, "0"), (0, 3, "0"), (150, 2, "1.5"), (-5, 3, "-0.005"), (1200, 2, "12"), (10**20, 18, "100"), (-7, 0, "-7")],
)
def test_plain_numbers_have_no_trailing_zeros(
    book: duckdb.DuckDBPyConnection, mantissa: int, scale: int, text: str
) -> None:
    assert rows(book, f"SELECT store.plain_number(CAST({mantissa} AS HUGEINT), {scale})") == [(text,)]


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**20 * 10**17])
def test_two_words_are_one_integer(book: duckdb.DuckDBPyConnection, value: int) -> None:
    low, high = (value & (2**64 - 1)), value >> 64
    signed = low - 2**64 if low >= 2**63 else low
    assert rows(book, f"SELECT store.wide_integer(CAST({signed} AS BIGINT), CAST({high} AS BIGINT))") == [(value,)]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("2, 1, 0, NULL", "true"),
        ("3, 1250, 2, NULL", "12.5"),
        ("4, 0, 0, 'x'", "x"),
        ("8, 1767225600000000, 0, NULL", "2026-01-01T00:00:00Z"),
        ("8, 1767225600120000, 0, NULL", "2026-01-01T00:00:00.12Z"),
        ("10, -3, 0, NULL", "-3"),
    ],
)
def test_attribute_cells_read_as_text(book: duckdb.DuckDBPyConnection, cell: str, text: str) -> None:
    assert rows(book, f"SELECT store.cell_text({cell})") == [(text,)]


@pytest.mark.parametrize(
    "microseconds", [0, 1, 500_000, 59_999_999, 60_000_000, 5_400_000_000, 720 * 3_600_000_000 + 10]
)
def test_durations_read_as_definitions_write_them(book: duckdb.DuckDBPyConnection, microseconds: int) -> None:
    found = rows(book, f"SELECT store.duration_text(CAST({microseconds} AS BIGINT))")
    assert found == [(format_duration(microseconds),)]


def test_every_code_has_its_name(book: duckdb.DuckDBPyConnection) -> None:
    for name, enumeration in NAMED_CODES.items():
        for code in enumeration:
            assert rows(book, f"SELECT store.{name}_name({code.value})") == [(code_name(name, code),)]


def test_times_are_utc(book: duckdb.DuckDBPyConnection) -> None:
    found = rows(book, "SELECT event_timestamp FROM events WHERE log_seq = 1")[0][0]
    assert found.replace(tzinfo=UTC) == datetime(2026, 1, 1, tzinfo=UTC)
