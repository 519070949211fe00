"""Redemptions, reversals, rewards and transfers in the book: views, cuts into runs, reports (§16, §20.1)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.drive import run
from earnbook.pipeline.load import bring_checkpoint_forward
from earnbook.pipeline.reports import ReportRequest, month_start_us
from earnbook.pipeline.reports_liability import rollforward
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.verify import verify_book
from tests.support.book_maker import LOYALTY, make_small_book
from tests.support.book_maker_money import CARD, make_money_book, redeem, reverse
from tests.support.command_line import run_command
from tests.support.engines import run_in, run_request
from tests.support.examples import load_example
from tests.support.logical import Run, Scenario, differences
from tests.support.oracle import run_oracle


@pytest.fixture(scope="module", params=[True, False], ids=["checkpoint", "no checkpoint"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The book written by hand, open for reading, with the checkpoint up to date or two batches behind."""
    path = tmp_path_factory.mktemp("money") / "shop.duckdb"
    make_money_book(path, checkpoint=request.param)
    with duckdb.connect(path, read_only=True) as connection:
        yield connection


def rows(book: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return book.execute(query).fetchall()


def id_of(kind: str, key: str, *names: str) -> uuid.UUID:
    """The id of what an operation of the program made."""
    found = uuid.uuid5(LOYALTY, f"operation:{kind}:{key}")
    for name in names:
        found = uuid.uuid5(found, name)
    return found


def test_redemptions_show_what_was_reversed_and_where_the_value_went(made: duckdb.DuckDBPyConnection) -> None:
    columns = "log_seq, external_id, amount_minor, reward, quantity, unit_cost_minor, target_type, target"
    state = "reversed_amount_minor, reversed_quantity, status"
    assert rows(made, f"SELECT {columns}, {state} FROM redemptions ORDER BY log_seq") == [
        (10, "alice", 2000, None, None, None, "SYSTEM_REDEMPTION", None, 1700, None, "PARTIALLY_REVERSED"),
        (11, "alice", 600, "card", 2, 300, "PARTICIPANT", "shop", 300, 1, "PARTIALLY_REVERSED"),
    ]
    assert rows(made, "SELECT id, operation_id, entry_id, reward_id FROM redemptions ORDER BY log_seq") == [
        (id_of("redeem", "r-1", "redemption"), id_of("redeem", "r-1"), id_of("redeem", "r-1", "entry:0"), None),
        (
            id_of("redeem_item", "i-1", "redemption"),
            id_of("redeem_item", "i-1"),
            id_of("redeem_item", "i-1", "entry:0"),
            CARD,
        ),
    ]


def test_reversals_name_their_redemption(made: duckdb.DuckDBPyConnection) -> None:
    columns = "id, redemption_id, redemption_log_seq, amount_minor, quantity, reason, entry_seq, batch"
    assert rows(made, f"SELECT {columns} FROM reversals ORDER BY log_seq") == [
        (
            id_of("reverse_redemption", "v-1", "reversal"),
            id_of("redeem", "r-1", "redemption"),
            *(10, 1700, None, "Returned", 14, 4),
        ),
        (
            id_of("reverse_redemption", "v-2", "reversal"),
            id_of("redeem_item", "i-1", "redemption"),
            *(11, 300, 1, "Returned", 15, 4),
        ),
    ]


def test_rewards_show_their_counts_and_the_status_in_force(made: duckdb.DuckDBPyConnection) -> None:
    columns = "id, key, name, program, status, unit_cost, unit_cost_minor, max_total, redeemed_count"
    assert rows(made, f"SELECT {columns} FROM rewards") == [
        (CARD, "card", "Gift card", "loyalty", "ACTIVE", Decimal("3.00"), 300, 2, 1)
    ]
    changes = rows(made, "SELECT entity, key, old_value, new_value FROM changes WHERE state_type = 'reward'")
    sold_out, back = '{"redeemed_count":2,"status":"OUT_OF_STOCK"}', '{"redeemed_count":1,"status":"ACTIVE"}'
    assert changes == [("loyalty", "card", None, sold_out), ("loyalty", "card", sold_out, back)]


def test_entries_name_their_redemption_and_describe_it(made: duckdb.DuckDBPyConnection) -> None:
    plain, item = id_of("redeem", "r-1", "redemption"), id_of("redeem_item", "i-1", "redemption")
    query = "SELECT seq, action_type, amount_minor, redemption_id, description FROM entries WHERE seq > 11 ORDER BY seq"
    assert rows(made, query) == [
        (12, "REDEMPTION", 2000, plain, "Cash"),
        (13, "REDEMPTION", 600, item, "Redeemed: Gift card"),
        (14, "REDEMPTION_REVERSAL", 1700, plain, "Returned"),
        (15, "REDEMPTION_REVERSAL", 300, item, "Returned"),
        (16, "TRANSFER", 400, None, "Gifts"),
    ]


def test_every_recipient_of_a_transfer_is_a_posting_and_a_lot(made: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT index, entity, amount_minor FROM postings WHERE entry_seq = 16 ORDER BY index"
    assert rows(made, query) == [(0, "alice", -400), (1, "bob", 150), (2, "shop", 100), (3, "bob", 150)]
    lots = rows(made, "SELECT id, holder, amount_minor FROM lots WHERE entry_seq = 16 ORDER BY lot_seq")
    ids = [id_of("transfer", "t-1", "entry:0", f"lot:{place}") for place in range(3)]
    assert lots == [(ids[0], "bob", 150), (ids[1], "shop", 100), (ids[2], "bob", 150)]


def test_a_lot_that_comes_back_after_the_checkpoint_is_open(made: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT lot_seq, remaining_minor, status FROM lots WHERE holder = 'alice' ORDER BY lot_seq"
    assert rows(made, query) == [(1, 0, "EXPIRED"), (2, 0, "CONSUMED"), (5, 2500, "AVAILABLE")]


def test_a_lot_that_was_closed_in_the_checkpoint_can_come_back(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    maker = make_small_book(path)
    redemption = redeem(maker, "alice", 500, key="r-1", target=2)
    maker.commit()
    reverse(maker, redemption, [(2, 300)], key="v-1")
    maker.commit(checkpoint=False)
    with duckdb.connect(path, read_only=True) as book:
        assert rows(book, "SELECT count(*) FROM store.open_lots WHERE lot_seq = 2") == [(0,)]
        assert rows(book, "SELECT remaining_minor, status FROM lots WHERE lot_seq = 2") == [(300, "AVAILABLE")]
    assert verify_book(path).findings == ()
    with open_book(path, mode=BookMode.WRITE) as opened, opened.session() as connection:
        assert bring_checkpoint_forward(connection)
        kept = (
            "SELECT remaining, status, expires_at, hold_reference, provisional FROM store.open_lots WHERE lot_seq = 2"
        )
        assert rows(connection, kept) == [(300, 2, None, None, False)]


def test_an_entry_shows_its_redemption(tmp_path: Path) -> None:
    make_money_book(tmp_path / "shop.duckdb")
    for seq, reward, status in (("13", "card", "PARTIALLY_REVERSED"), ("14", None, "PARTIALLY_REVERSED")):
        result = run_command("show", "entry", seq, "--book", tmp_path / "shop.duckdb", "--format", "json")
        found = json.loads(result.stdout)["redemption"]
        assert (found["external_id"], found["reward"], found["status"]) == ("alice", reward, status)


# --- real operations ------------------------------------------------------------------------------------------------


SCENARIOS = ("reverse", "redeem-targets", "transfer", "m22", "r21")


def one_by_one(scenario: Scenario) -> Scenario:
    """Every record in a run of its own, in the order of the log."""
    runs = [replace(one, lines=(line,)) for one in scenario.runs for line in one.lines]
    return replace(scenario, runs=tuple(runs))


@pytest.mark.parametrize("name", SCENARIOS)
def test_batches_of_one_record_give_the_same_book(name: str, tmp_path: Path) -> None:
    scenario = load_example(name).scenario
    book = run_in(tmp_path, scenario, mode="closures", batch_records=1)
    assert differences(run_oracle(scenario), book) == []
    assert verify_book(tmp_path / "book.duckdb").findings == ()


@pytest.mark.parametrize("name", SCENARIOS)
def test_runs_of_one_record_give_the_same_book(name: str, tmp_path: Path) -> None:
    scenario = one_by_one(load_example(name).scenario)
    book = run_in(tmp_path, scenario, mode="closures")
    assert differences(run_oracle(scenario), book) == []
    assert verify_book(tmp_path / "book.duckdb").findings == ()


def test_a_dry_run_finds_redemptions_that_it_does_not_commit(tmp_path: Path) -> None:
    scenario = load_example("reverse").scenario
    config, lines = tmp_path / "definitions.json", tmp_path / "rows.ndjson"
    config.write_text(json.dumps(scenario.definitions), encoding="utf-8")
    lines.write_text("".join(f"{line}\n" for line in scenario.runs[0].lines), encoding="utf-8")
    request = run_request(scenario.runs[0], tmp_path / "book.duckdb", config, lines, kernel=False, batch_records=1)
    dry = run(replace(request, dry_run=True))
    done = run(request)
    assert dry.failed == done.failed
    assert [total.closing_minor for total in dry.balances] == [total.closing_minor for total in done.balances]


# --- M25 ------------------------------------------------------------------------------------------------------------

OPENING, PERIOD, LATER = "2026-01-20", "2026-02-01", "2026-02-11"
FEBRUARY_US, MARCH_US = month_start_us("2026-02"), month_start_us("2026-03")
_ASSET = {"symbol": "PTS", "name": "Points", "scale": 2, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED"}
_SETTLE = {
    "key": "settle",
    "name": "Settle",
    "condition": "true",
    "actions": [{"type": "CREDIT", "asset": "PTS", "amount": "event.amount", "reference_id": "event.ref"}],
}
_TO_SHOP = {"redemption_target_type": "LEDGER_ENTITY", "redemption_target_entity_id": "shop"}


def definitions(**program: str) -> dict[str, Any]:
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [_ASSET | {"programs": ["loyalty"]}],
        "programs": [{"key": "loyalty", "name": "Loyalty", "rules": [_SETTLE]} | program],
    }


def operation(number: int, kind: str, day: str, **fields: Any) -> str:
    """An operation of the month, about alice's points unless it says otherwise."""
    about: dict[str, Any] = {"program_id": "loyalty", "external_id": "alice", "asset_id": "PTS", "description": "M25"}
    if kind == "transfer":
        about["source_external_id"] = about.pop("external_id")
    if kind == "reverse_redemption":
        about = {"program_id": "loyalty", "reason": "M25"}
    if kind == "upsert_participant":
        about = {}
    common = {"type": kind, "idempotency_key": f"o{number}", "effective_at": f"{day}T00:00:00Z"}
    return json.dumps(common | about | fields)


def month() -> Scenario:
    """The steps of M25; from the second run on redemptions go to the shop."""
    settle = {
        "program_id": "loyalty",
        "idempotency_key": "e",
        "external_id": "alice",
        "event_timestamp": f"{PERIOD}T00:00:00Z",
    }
    first = [
        *(
            operation(n, "upsert_participant", OPENING, external_id=who)
            for n, who in enumerate(("alice", "bob", "shop"))
        ),
        operation(3, "adjust", OPENING, direction="CREDIT", amount="96.00"),
        operation(4, "adjust", OPENING, direction="CREDIT", amount="4.00", expires_at="2026-02-10T00:00:00Z"),
        operation(5, "adjust", PERIOD, direction="CREDIT", amount="50.00"),
        operation(6, "adjust", PERIOD, direction="CREDIT", amount="20.00", bucket="HELD", reference_id="S"),
        json.dumps(settle | {"event_data": {"amount": 15, "ref": "S"}}),
        operation(7, "adjust", PERIOD, direction="DEBIT", amount="11.00"),
        operation(8, "redeem", PERIOD, amount="30.00"),
    ]
    second = [
        operation(9, "redeem", PERIOD, amount="12.00"),
        operation(10, "reverse_redemption", PERIOD, redemption_key="o8", amount="10.00"),
        operation(11, "reverse_redemption", PERIOD, redemption_key="o9", amount="2.00"),
        operation(12, "forfeit", PERIOD, bucket="AVAILABLE", amount="3.00"),
        operation(13, "transfer", LATER, recipients=[{"external_id": "bob", "amount": "5.00"}]),
        operation(14, "hold", LATER, amount="6.00"),
        operation(15, "adjust", LATER, direction="CREDIT", amount="9.00", bucket="HELD", reference_id="V"),
        operation(16, "void_hold", LATER, reference_id="V"),
    ]
    runs = (
        Run(lines=tuple(first), order="input"),
        Run(lines=tuple(second), order="input", definitions=definitions(**_TO_SHOP)),
    )
    return Scenario(definitions=definitions(), runs=runs)


@pytest.fixture(scope="module")
def month_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m25")
    book = run_in(folder, month(), mode="closures")
    assert differences(run_oracle(month()), book) == []
    return folder / "book.duckdb"


def summary(book: Path, *options: str) -> dict[str, str]:
    result = run_command("report", "ledger-summary", "--book", book, "--format", "json", *options)
    assert result.exit_code == 0, result.stderr
    found: dict[str, str] = json.loads(result.stdout)[0]
    return found


@pytest.mark.parametrize("program", [(), ("--program", "loyalty")])
def test_m25_the_ledger_summary_closes(month_book: Path, program: tuple[str, ...]) -> None:
    assert summary(month_book, "--from", PERIOD, "--to", "2026-02-28", *program) == {
        "asset": "PTS",
        "opening_balance": "100.00",
        "period_issued": "79.00",
        "period_redeemed": "42.00",
        "period_expired": "4.00",
        "period_forfeited": "3.00",
        "other_adjustments_net": "-3.00",
        "closing_balance": "127.00",
    }
    all_time = summary(month_book, *program)
    assert {name: all_time[name] for name in all_time if name.startswith(("total", "other", "current"))} == {
        "total_issued": "179.00",
        "total_redeemed": "30.00",
        "total_expired": "4.00",
        "total_forfeited": "3.00",
        "other_adjustments_net": "-15.00",
        "current_balance": "127.00",
    }


def test_m25_every_posting_falls_in_its_line(month_book: Path) -> None:
    result = run_command(
        *("report", "rollforward", "--book", month_book, "--from", PERIOD, "--to", "2026-02-28", "--format", "json")
    )
    assert json.loads(result.stdout) == [
        {
            "asset": "PTS",
            "program": "loyalty",
            "opening_balance": "100.00",
            "issued": "79.00",
            "issuance_returns": "5.00",
            "redeemed": "42.00",
            "redemption_receipts": "12.00",
            "redemption_reversals": "12.00",
            "reversal_clawbacks": "2.00",
            "debited": "11.00",
            "expired": "4.00",
            "forfeited": "3.00",
            "holds_voided": "9.00",
            "transfers_net": "0.00",
            "bucket_movements_net": "0.00",
            "adjustments_net": "0.00",
            "closing_balance": "127.00",
        }
    ]


def test_m25_by_bucket_the_movements_between_buckets_have_a_line(month_book: Path) -> None:
    request = ReportRequest(book=month_book, from_us=FEBRUARY_US, to_us=MARCH_US - 1)
    rows = {row["bucket"]: row for row in rollforward(request, by_bucket=True).table.to_pylist()}
    # HOLD 6.00, and 15.00 of the settle, beside what enters HELD and leaves it for good.
    assert {bucket: str(row["bucket_movements_net"]) for bucket, row in rows.items()} == {
        "AVAILABLE": "9.00",
        "HELD": "-9.00",
    }
    assert {bucket: str(row["closing_balance"]) for bucket, row in rows.items()} == {
        "AVAILABLE": "121.00",
        "HELD": "6.00",
    }


def test_m25_leaves_a_book_without_findings(month_book: Path) -> None:
    assert verify_book(month_book).findings == ()
