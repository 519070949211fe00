"""`earnbook reconcile` (§20.9) through the command line, on books written by hand."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from earnbook.pipeline.store import BookMode, open_book
from tests.support.book_maker import HOUR, T0, BookMaker, make_patterns, make_small_book
from tests.support.command_line import run_command


def new_book(path: Path) -> BookMaker:
    open_book(path, mode=BookMode.WRITE).close()
    maker = BookMaker(path)
    make_patterns(maker)
    return maker


@pytest.fixture(scope="module")
def p6(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events e1 5.00, e2 7.00, e3 1.00, and e9 that paid nothing ten days later."""
    path = tmp_path_factory.mktemp("reconcile") / "p6.duckdb"
    maker = new_book(path)
    for key, amount in (("e1", 500), ("e2", 700), ("e3", 100)):
        maker.event(key, "alice", T0)
        maker.credit("alice", amount)
    maker.event("e9", "bob", T0 + 240 * HOUR)
    maker.commit()
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reconcile") / "small.duckdb"
    make_small_book(path)
    return path


def theirs(folder: Path, *lines: str, header: str = "key,asset,amount") -> Path:
    path = folder / "theirs.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def ask(book: Path, file: Path, *options: str) -> dict[str, Any]:
    result = run_command("reconcile", file, "--book", book, "--format", "json", *options)
    assert result.exit_code == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def refusal(book: Path, file: Path, *options: str) -> str:
    result = run_command("reconcile", file, "--book", book, *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    return result.stderr


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [(row["status"], row["key"], row["ours"], row["theirs"], row["difference"]) for row in rows]


def test_example_p6(p6: Path, tmp_path: Path) -> None:
    found = ask(p6, theirs(tmp_path, "e1,PTS,5.00", "e2,PTS,6.50", "e4,PTS,2.00"))
    assert brief(found["rows"]) == [
        ("MATCHED", "e1", "5.00", "5.00", "0.00"),
        ("AMOUNT_DIFFERS", "e2", "7.00", "6.50", "-0.50"),
        ("MISSING_THERE", "e3", "1.00", None, None),
        ("MISSING_HERE", "e4", None, "2.00", None),
    ]
    (total,) = found["totals"]
    figures = [total[name] for name in ("ours", "differences", "missing_here", "missing_there", "theirs")]
    assert figures == ["13.00", "-0.50", "2.00", "1.00", "13.50"]
    assert found["reconciliation"]["breaks"] == 3


def test_breaks_meet_a_condition_of_failure(p6: Path, tmp_path: Path) -> None:
    def fail(*lines: str) -> Result:
        return run_command("reconcile", theirs(tmp_path, *lines), "--book", p6, "--fail-on", "breaks")

    assert fail("e1,PTS,5", "e2,PTS,7", "e3,PTS,1").exit_code == 0
    assert fail("e1,PTS,5", "e2,PTS,7").exit_code == 4


def test_differences_within_the_tolerance_match_and_stay_in_the_totals(p6: Path, tmp_path: Path) -> None:
    found = ask(p6, theirs(tmp_path, "e1,PTS,5.01", "e2,PTS,6.98", "e3,PTS,1"), "--tolerance", "0.01")
    assert [row["status"] for row in found["rows"]] == ["MATCHED", "AMOUNT_DIFFERS", "MATCHED"]
    assert (found["totals"][0]["differences"], found["totals"][0]["theirs"]) == ("-0.01", "12.99")


def test_a_key_twice_is_summed_and_marked(p6: Path, tmp_path: Path) -> None:
    file = theirs(tmp_path, "e2,PTS,6", "e1,PTS,5", "e2,PTS,1", "e3,PTS,1")
    found = ask(p6, file)
    assert [(row["key"], row["rows_there"], row["status"]) for row in found["rows"]] == [
        ("e1", 1, "MATCHED"), ("e2", 2, "MATCHED"), ("e3", 1, "MATCHED"),
    ]  # fmt: skip
    result = run_command("reconcile", file, "--book", p6)
    assert "stand in the file more than once and were summed: 1." in result.stderr


def test_an_event_that_paid_nothing_differs_and_is_not_missing(p6: Path, tmp_path: Path) -> None:
    found = ask(p6, theirs(tmp_path, "e9,PTS,3"), "--from", "2026-01-05", "--to", "2026-01-31")
    assert brief(found["rows"]) == [("AMOUNT_DIFFERS", "e9", "0.00", "3.00", "3.00")]


def test_breaks_age_from_our_event_else_from_their_date(p6: Path, tmp_path: Path) -> None:
    rows = ("e1,PTS,5,", "e2,PTS,1,2026-01-10", "x1,PTS,1,2026-01-10T00:00:00Z", "x2,PTS,1,2025-11-30", "x3,PTS,1,")
    found = ask(p6, theirs(tmp_path, *rows, header="key,asset,amount,dated_at"))
    assert {row["key"]: row["age_days"] for row in found["rows"]} == {
        "e1": None, "e2": 10, "e3": 10, "x1": 1, "x2": 42, "x3": None,
    }  # fmt: skip
    assert [(age["age"], age["breaks"], age["net"], age["gross"]) for age in found["aging"]] == [
        ("0-1 days", 1, "1.00", "1.00"),
        ("8-30 days", 2, "-7.00", "7.00"),
        ("over 30 days", 1, "1.00", "1.00"),
        ("unknown", 1, "1.00", "1.00"),
    ]


def test_every_format_says_the_same(p6: Path, tmp_path: Path) -> None:
    rows = [{"key": "e1", "asset": "PTS", "amount": "5.10"}, {"key": "e4", "asset": "PTS", "amount": "0.7"}]
    expected = ask(p6, theirs(tmp_path, *[",".join(row.values()) for row in rows]))["rows"]
    lines = "".join(f'{{"key":"{r["key"]}","asset":"{r["asset"]}","amount":{r["amount"]}}}\n' for r in rows)
    (tmp_path / "theirs.ndjson").write_text(lines, encoding="utf-8")
    assert ask(p6, tmp_path / "theirs.ndjson")["rows"] == expected
    texts = [row["amount"] for row in rows]
    decimals = pa.array([Decimal(text) for text in texts], pa.decimal128(12, 4))
    for amounts in (pa.array(texts), decimals, pa.array([float(text) for text in texts])):
        table = pa.table({"key": [r["key"] for r in rows], "asset": ["PTS", "PTS"], "amount": amounts})
        pq.write_table(table, tmp_path / "theirs.parquet")
        assert ask(p6, tmp_path / "theirs.parquet")["rows"] == expected


def test_results_are_rows_in_csv_and_parquet(p6: Path, tmp_path: Path) -> None:
    file = theirs(tmp_path, "e1,PTS,5", "e2,PTS,6.5")
    shown = run_command("reconcile", file, "--book", p6, "--format", "csv", "--breaks-only").stdout.splitlines()
    assert shown[0] == "status,key,asset,ours,theirs,difference,rows_here,rows_there,dated_at,age_days"
    assert [line[:24] for line in shown[1:]] == ["AMOUNT_DIFFERS,e2,PTS,7.", "MISSING_THERE,e3,PTS,1.0"]
    run_command("reconcile", file, "--book", p6, "-o", tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["difference"].to_pylist() == [0, Decimal("-0.50"), None]


def test_closing_balances_as_of_a_time_and_now(small: Path, tmp_path: Path) -> None:
    now = ask(small, theirs(tmp_path, "alice,PTS,5.00", "bob,PTS,2.50"), "--basis", "holder")
    assert brief(now["rows"]) == [
        ("MATCHED", "alice", "5.00", "5.00", "0.00"), ("MATCHED", "bob", "2.50", "2.50", "0.00"),
    ]  # fmt: skip
    then = ask(small, theirs(tmp_path, "bob,PTS,-2"), "--basis", "holder", "--as-of", "2026-01-04")
    assert brief(then["rows"]) == [
        ("MISSING_THERE", "alice", "35.00", None, None), ("MATCHED", "bob", "-2.00", "-2.00", "0.00"),
    ]  # fmt: skip
    assert then["rows"][0]["dated_at"] == "2026-01-03T00:00:00Z"


def test_lines_of_the_roll_forward(small: Path, tmp_path: Path) -> None:
    lines = ("opening,7.00", "issued,4.50", "debited,1.00", "expired,29.00", "closing,7.50")
    file = theirs(tmp_path, *lines, header="key,amount")
    options = ("--asset", "PTS", "--basis", "total")
    found = ask(small, file, *options, "--from", "2026-01-04", "--to", "2026-01-31")
    assert [(row["key"], row["ours"], row["status"]) for row in found["rows"]] == [
        ("closing", "7.50", "MATCHED"), ("debited", "1.00", "MATCHED"), ("expired", "29.00", "MATCHED"),
        ("issued", "4.50", "MATCHED"), ("opening", "33.00", "AMOUNT_DIFFERS"),
    ]  # fmt: skip
    assert "row 1: key 'isued' is no line: use opening, issued" in refusal(
        small, theirs(tmp_path, "isued,1", header="key,amount"), *options
    )


def test_rows_that_cannot_be_compared_are_all_named(small: Path, tmp_path: Path) -> None:
    said = refusal(small, theirs(tmp_path, "e1,PTS,5", ",PTS,1", "e2,EUR,1", "e3,CASH,1.5", 'e4,PTS,"1,5"', "e5,,2"))
    assert "5 rows cannot be compared" in said
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:6]] == [f"row {row}" for row in range(2, 7)]
    for text in (
        "key is empty", "asset 'EUR' is not in the book: the book has PTS, CASH", "1.5 has 1 decimals, CASH has 0",
        "amount is '1,5'", "asset is empty",
    ):  # fmt: skip
        assert text in said
    assert "there is no column amount (columns: key, value)" in refusal(
        small, theirs(tmp_path, "a,1", header="key,value")
    )


def test_one_asset_leaves_out_the_rows_of_others(small: Path, tmp_path: Path) -> None:
    file = theirs(tmp_path, "alice,PTS,5", "alice,EUR,1", "bob,,2.50")
    assert {row["status"] for row in ask(small, file, "--basis", "holder", "--asset", "PTS")["rows"]} == {"MATCHED"}
    result = run_command("reconcile", file, "--book", small, "--basis", "holder", "--asset", "PTS")
    assert "about other assets, left out: 1." in result.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (("--from", "2026-01-01"), "a period has two ends"),
        (("--basis", "holder", "--from", "2026-01-01", "--to", "2026-01-02"), "a closing balance has no beginning"),
        (("--program", "nobody"), "there is no program 'nobody'"),
        (("--asset", "EUR"), "there is no asset 'EUR'"),
        (("--source", "bank"), "the definitions have no source 'bank'"),
    ],
)
def test_what_does_not_fit_is_refused(small: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("organization: {key: demo, name: Demo}\n", encoding="utf-8")
    assert message in refusal(small, theirs(tmp_path, "e1,PTS,5"), "--config", str(config), *options)


def test_a_damaged_book_is_not_reconciled(tmp_path: Path) -> None:
    make_small_book(tmp_path / "b.duckdb")
    with duckdb.connect(tmp_path / "b.duckdb") as connection:
        connection.execute("UPDATE store.movements SET asset = 9 WHERE entry_seq = 1")
    result = run_command("reconcile", theirs(tmp_path, "e-1,PTS,5"), "--book", tmp_path / "b.duckdb")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "movements of an asset that the book does not have" in result.stderr


def _random_book(path: Path, rng: random.Random) -> Mapping[str, int]:
    """A book of a few batches; returns the net effect of each event in minor units."""
    maker = new_book(path)
    effects: dict[str, int] = defaultdict(int)
    for number in range(rng.randint(1, 12)):
        key, who = f"e{number}", rng.choice(("alice", "bob", "carol"))
        maker.event(key, who, T0 + number * HOUR)
        for _ in range(rng.randint(0, 2)):
            amount = rng.randint(1, 999)
            maker.credit(who, amount)
            effects[key] += amount
            if rng.random() < 0.3:
                taken = rng.randint(1, amount)
                maker.debit(who, taken)
                effects[key] -= taken
        if rng.random() < 0.3:
            maker.commit()
    maker.commit()
    return effects


def _random_file(rng: random.Random, effects: Mapping[str, int]) -> list[tuple[str, int]]:
    """Most of the effects, some changed, some in two rows, and some that nobody knows."""
    rows = []
    for key, amount in effects.items():
        kind = rng.choice(("same", "same", "changed", "absent", "split"))
        if kind == "split":
            part = rng.randint(-50, 50)
            rows += [(key, part), (key, amount - part)]
        elif kind != "absent":
            rows.append((key, amount + (rng.randint(-9, 9) if kind == "changed" else 0)))
    rows += [(f"x{number}", rng.randint(-99, 99)) for number in range(rng.randint(0, 3))]
    rng.shuffle(rows)
    return rows


def _check_random_book(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    effects = _random_book(folder / f"{seed}.duckdb", rng)
    rows = _random_file(rng, effects)
    their: dict[str, int] = defaultdict(int)
    for key, amount in rows:
        their[key] += amount
    if not rows:
        return
    tolerance = rng.choice((0, 3))
    file = theirs(folder, *[f"{key},PTS,{Decimal(amount).scaleb(-2):f}" for key, amount in rows])
    found = ask(folder / f"{seed}.duckdb", file, "--tolerance", str(Decimal(tolerance).scaleb(-2)))
    expected = {}
    for key in sorted(their.keys() | {key for key, amount in effects.items() if amount}):
        if key not in their:
            status = "MISSING_THERE"
        elif key.startswith("x"):
            status = "MISSING_HERE"
        else:
            status = "MATCHED" if abs(their[key] - effects.get(key, 0)) <= tolerance else "AMOUNT_DIFFERS"
        expected[key] = status
    assert {row["key"]: row["status"] for row in found["rows"]} == expected, seed
    for total in found["totals"]:
        ours, differences, here, there, sum_of_theirs = (
            Decimal(total[name]) for name in ("ours", "differences", "missing_here", "missing_there", "theirs")
        )
        assert ours + differences + here - there == sum_of_theirs, seed
        assert (ours, sum_of_theirs) == tuple(Decimal(sum(side.values())).scaleb(-2) for side in (effects, their)), seed


@pytest.mark.parametrize("seed", range(4))
def test_totals_tie_and_statuses_are_right_on_random_books(tmp_path: Path, seed: int) -> None:
    _check_random_book(tmp_path, seed)


@pytest.mark.slow
def test_totals_tie_on_many_random_books(tmp_path: Path) -> None:
    for seed in range(100, 250):
        _check_random_book(tmp_path, seed)
