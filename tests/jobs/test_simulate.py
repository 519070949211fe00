"""`simulate`: the book stays as it is, and what differs is said to the last unit (§21.2)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result

from earnbook.pipeline.config import ClockMode, Progress, RunRequest
from earnbook.pipeline.simulate import SimulateRequest, simulate
from earnbook.pipeline.store import BookMode, open_book
from earnbook.pipeline.verify import verify_book
from tests.support.command_line import run_command
from tests.support.fingerprint import unequal_tables

MONEY = {"name": "Money", "scale": 2, "inventory_mode": "SIMPLE", "issuance_policy": "UNLIMITED", "programs": ["p"]}


def rule(key: str, condition: str, *actions: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"key": key, "name": key, "condition": condition, "actions": list(actions)} | fields


def credit(amount: str, asset: str = "EUR") -> dict[str, Any]:
    return {"type": "CREDIT", "asset": asset, "amount": amount}


def cashback(rate: str) -> dict[str, Any]:
    return rule("base", 'event.type == "purchase"', credit(f"round(event.amount * {rate}, 2)"))


SPEND = rule("spend", 'event.type == "spend"', {"type": "DEBIT", "asset": "EUR", "amount": "event.amount"}, order=200)


def write_config(path: Path, *rules: dict[str, Any], **asset: object) -> Path:
    document = {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [{"symbol": "EUR", **MONEY, **asset}],
        "programs": [{"key": "p", "name": "P", "rules": list(rules)}],
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def event(key: str, day: int, amount: str, kind: str = "purchase", who: str = "alice") -> str:
    data = f'{{"type": "{kind}", "amount": {amount}}}'
    at = f"2026-01-{day:02}T00:00:00Z"
    head = {"program_id": "p", "idempotency_key": key, "external_id": who, "event_timestamp": at}
    return json.dumps(head)[:-1] + f', "event_data": {data}}}\n'


PURCHASES = [event("e1", 1, "100.00"), event("e2", 2, "33.33"), event("e3", 3, "200.00")]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The purchases of P7."""
    path = tmp_path / "purchases.ndjson"
    path.write_text("".join(PURCHASES), encoding="utf-8")
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """1 %."""
    return write_config(tmp_path / "base.yaml", cashback("0.01"), SPEND)


@pytest.fixture
def better(tmp_path: Path) -> Path:
    """1.5 %."""
    return write_config(tmp_path / "better.yaml", cashback("0.015"), SPEND)


@pytest.fixture
def book(tmp_path: Path, base: Path, log: Path) -> Path:
    """What the base rule made of the purchases."""
    path = tmp_path / "book.duckdb"
    assert run_book(path, base, log).exit_code == 0
    return path


def run_book(book: Path, config: Path, *inputs: Path | str) -> Result:
    return run_command("run", "--book", book, "--config", config, "--clock", "event", *inputs)


def compared(*arguments: Path | str) -> dict[str, Any]:
    result = run_command("simulate", "--format", "json", *arguments)
    assert result.exit_code == 0, result.stderr
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def is_empty(parts: dict[str, Any]) -> bool:
    return not any(parts[name] for name in ("assets", "rules", "holders", "records"))


# --- the comparison -------------------------------------------------------------------------------------------------


def test_p7_one_percent_against_one_and_a_half(base: Path, better: Path, log: Path) -> None:
    parts = compared("--config", base, "--against", better, "--clock", "event", log)
    (paid,) = parts["rules"]
    assert (paid["left_issued"], paid["right_issued"], paid["delta_issued"]) == ("3.33", "5.00", "1.67")
    assert (paid["left_matches"], paid["right_matches"], paid["left_credits"], paid["right_credits"]) == (3, 3, 3, 3)
    nets = [(row["idempotency_key"], row["left_net"], row["right_net"]) for row in parts["records"]]
    assert nets == [("e1", "1.00", "1.50"), ("e2", "0.33", "0.50"), ("e3", "2.00", "3.00")]
    lines = {row["line"]: row["delta"] for row in parts["assets"]}
    assert lines == {"issued": "1.67", "closing": "1.67"}
    (alice,) = parts["holders"]
    assert (alice["kind"], alice["holder"], alice["delta"]) == ("PARTICIPANT", "alice", "1.67")
    assert parts["counts"] == [{"asset": "EUR", "gainers": 1, "losers": 0, "unchanged": 0}]


def test_p7_from_what_the_book_posted(book: Path, better: Path, log: Path) -> None:
    (paid,) = compared("--book", book, "--config", better, "--against", "actual", log)["rules"]
    assert (paid["left_issued"], paid["right_issued"], paid["delta_issued"]) == ("3.33", "5.00", "1.67")


def test_the_same_ruleset_on_the_same_input_differs_in_nothing(book: Path, base: Path, log: Path) -> None:
    for arguments in (
        ("--config", base, "--against", base, "--clock", "event"),
        ("--book", book, "--against", "actual"),
        ("--book", book, "--config", base, "--against", "actual"),
    ):
        parts = compared(*arguments, log)
        assert is_empty(parts)
        assert parts["counts"][0]["unchanged"] == 1


def test_outcomes_that_differ_are_shown_without_an_amount(tmp_path: Path, base: Path, better: Path) -> None:
    log = tmp_path / "log.ndjson"
    log.write_text(event("e1", 1, "100.00") + event("s1", 2, "1.20", "spend"), encoding="utf-8")
    parts = compared("--config", base, "--against", better, "--clock", "event", log)
    earned, spent = parts["records"]
    assert earned["delta_net"] == "0.50"
    assert (spent["left_code"], spent["right_code"]) == ("INSUFFICIENT_BALANCE", "OK")
    assert (spent["left_net"], spent["right_net"]) == ("0.00", "-1.20")
    assert parts["counts"][0]["losers"] == 1
    lines = {row["line"]: row["delta"] for row in parts["assets"]}
    assert lines == {"issued": "0.50", "debited": "1.20", "closing": "-0.70"}


def test_operations_are_records_too_and_so_is_an_event_that_one_side_generates(tmp_path: Path) -> None:
    soon = {"type": "SCHEDULE_EVENT", "event_name": "bonus", "delay": "1h"}
    bonus = rule("bonus", 'event.type == "bonus"', credit("5"), order=300)
    left = write_config(tmp_path / "left.yaml", cashback("0.01"), bonus)
    right = write_config(
        tmp_path / "right.yaml", cashback("0.01"), rule("later", 'event.type == "purchase"', soon, order=2), bonus
    )
    log = tmp_path / "log.ndjson"
    spend = {"type": "adjust", "idempotency_key": "o1", "effective_at": "2026-01-02T00:00:00Z", "program_id": "p"}
    spend |= {"external_id": "alice", "asset_id": "EUR", "direction": "DEBIT", "amount": "4", "description": "x"}
    log.write_text(event("e1", 1, "100.00") + json.dumps(spend) + "\n", encoding="utf-8")
    generated, adjusted = compared("--config", left, "--against", right, "--clock", "event", log)["records"]
    assert (generated["left_code"], generated["right_code"], generated["delta_net"]) == (None, "OK", "5.00")
    assert (adjusted["type"], adjusted["left_code"], adjusted["right_code"]) == ("adjust", "INSUFFICIENT_BALANCE", "OK")


def test_two_scales_of_an_asset_are_compared_in_units(tmp_path: Path, log: Path) -> None:
    coarse = write_config(tmp_path / "coarse.yaml", rule("base", "true", credit("3")), scale=0)
    fine = write_config(tmp_path / "fine.yaml", rule("base", "true", credit("3.05")))
    parts = compared("--config", coarse, "--against", fine, "--clock", "event", log)
    assert [row["delta"] for row in parts["holders"]] == ["0.15"]
    same = write_config(tmp_path / "same.yaml", rule("base", "true", credit("3")))
    assert is_empty(compared("--config", coarse, "--against", same, "--clock", "event", log))


# --- the book -------------------------------------------------------------------------------------------------------


def test_the_book_stays_byte_by_byte_and_the_kept_one_is_what_run_makes(
    tmp_path: Path, book: Path, better: Path
) -> None:
    more = tmp_path / "more.ndjson"
    more.write_text(event("e4", 4, "10.00"), encoding="utf-8")
    before = book.read_bytes()
    kept = tmp_path / "kept.duckdb"
    result = run_command(
        "simulate", "--book", book, "--config", better, "--clock", "event", "--keep", kept, "--format", "json", more
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["events"] == 1
    assert f"Simulated: with {better}" in result.stderr
    assert book.read_bytes() == before
    assert verify_book(kept).findings == ()
    again = run_command("simulate", "--book", book, "--clock", "event", "--keep", kept, more)
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    assert run_book(book, better, more).exit_code == 0
    assert unequal_tables(book, kept) == []
    assert {path.name for path in tmp_path.iterdir() if path.suffix not in (".yaml", ".ndjson")} == {
        "book.duckdb", "book.duckdb.lock", "kept.duckdb",
    }  # fmt: skip


def test_the_book_is_free_while_the_records_are_decided(book: Path, better: Path, log: Path) -> None:
    opened = []

    def open_it(step: Progress) -> None:
        if step.stage == "decide":
            open_book(book, mode=BookMode.WRITE).close()
            opened.append(step.stage)

    request = RunRequest(
        book=book, inputs=(str(log),), config=better, clock=ClockMode.EVENT, progress=open_it, kernel=False
    )
    simulate(SimulateRequest(run=request, book=book, as_of_batch=0))
    assert opened


def test_a_simulation_starts_from_the_batch_that_was_asked_for(tmp_path: Path, book: Path, base: Path) -> None:
    more = tmp_path / "more.ndjson"
    more.write_text(event("e4", 4, "10.00") + event("s1", 5, "3.40", "spend"), encoding="utf-8")
    assert run_book(book, base, more).exit_code == 0
    kept = tmp_path / "kept.duckdb"
    arguments = ("--book", book, "--as-of-batch", "1", "--clock", "event", "--keep", kept)
    assert run_command("simulate", *arguments, more).exit_code == 0
    assert unequal_tables(book, kept) == []
    missing = run_command("simulate", "--book", book, "--as-of-batch", "9", more)
    assert missing.exit_code == 1
    assert "no batch 9" in missing.stderr


# --- against what was posted ----------------------------------------------------------------------------------------


def test_what_was_posted_is_compared_from_the_batch_before(tmp_path: Path, book: Path, base: Path) -> None:
    more, last = tmp_path / "more.ndjson", tmp_path / "last.ndjson"
    more.write_text(event("e4", 4, "10.00"), encoding="utf-8")
    last.write_text(event("e5", 5, "1000.00", who="bob"), encoding="utf-8")
    for rows in (more, last):
        assert run_book(book, base, rows).exit_code == 0
    dear = write_config(tmp_path / "dear.yaml", cashback("0.5"), SPEND)
    parts = compared("--book", book, "--config", dear, "--against", "actual", more)
    assert [(row["holder"], row["left"], row["right"]) for row in parts["holders"]] == [("alice", "3.43", "8.33")]


@pytest.mark.parametrize("clock", ["now", "2026-03-01T00:00:00Z"])
def test_what_was_posted_is_decided_again_by_its_own_clock(tmp_path: Path, log: Path, clock: str) -> None:
    windowed = write_config(tmp_path / "windowed.yaml", cashback("0.01") | {"active_to": "2026-01-02T12:00:00Z"}, SPEND)
    book = tmp_path / "other.duckdb"
    result = run_command("run", "--book", book, "--config", windowed, "--clock", clock, log)
    assert result.exit_code == 0, result.stderr
    assert is_empty(compared("--book", book, "--against", "actual", log))
    # By the clock of the events, the window is open for the first two.
    parts = compared("--book", book, "--against", "actual", "--clock", "event", log)
    assert [row["right_net"] for row in parts["records"]] == ["1.00", "0.33"]


def test_what_does_not_tie_to_the_batches_is_refused(tmp_path: Path, book: Path, log: Path) -> None:
    few, unknown, all_of_it = (tmp_path / f"{name}.ndjson" for name in ("few", "unknown", "all"))
    few.write_text("".join(PURCHASES[:2]), encoding="utf-8")
    unknown.write_text("".join([*PURCHASES, event("e9", 9, "1")]), encoding="utf-8")
    all_of_it.write_text(event("e4", 4, "1"), encoding="utf-8")
    assert "hold 1 records that the inputs do not have" in refused("--book", book, "--against", "actual", few)
    assert "1 records of the inputs are not in the book" in refused("--book", book, "--against", "actual", unknown)
    assert "none of these records" in refused("--book", book, "--against", "actual", all_of_it)
    assert run_command("run", "--book", book, "--clock", "2026-02-01", all_of_it).exit_code == 0
    both = refused("--book", book, "--against", "actual", log, all_of_it)
    assert "decided by 2 different clocks" in both
    assert is_empty(compared("--book", book, "--against", "actual", "--clock", "event", log, all_of_it))


def refused(*arguments: Path | str) -> str:
    result = run_command("simulate", *arguments)
    assert result.exit_code == 1
    return result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--against", "actual"), "there is no book to look at"),
        (("--book", "{book}", "--against", "actual", "--as-of-batch", "1"), "exclude each other"),
        (("--book", "{book}", "--as-of-batch", "0"), "an empty book has no definitions"),
        (("--config", "{base}", "--against", "{base}", "-"), "standard input can be read once"),
    ],
)
def test_what_contradicts_itself_is_refused(
    book: Path, base: Path, log: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in refused(*(word.format(book=book, base=base) for word in arguments), log)


# --- mistakes, and where results go ---------------------------------------------------------------------------------


def test_mistakes_of_definitions_are_reported_and_leave_nothing(tmp_path: Path, book: Path, log: Path) -> None:
    wrong = write_config(tmp_path / "wrong.yaml", cashback("0.01") | {"condition": "event.amount >"})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (("--config", wrong), ("--against", wrong)):
        result = run_command("simulate", "--book", book, *arguments, "--clock", "event", log)
        assert result.exit_code == 2
        assert "wrong.yaml" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_the_book_archived_with_consent_is_decided_again_without_asking(tmp_path: Path, book: Path) -> None:
    fewer = write_config(tmp_path / "fewer.yaml", cashback("0.01"))
    more = tmp_path / "more.ndjson"
    more.write_text(event("e4", 4, "10.00"), encoding="utf-8")
    arguments = ("--book", book, "--config", fewer, "--clock", "event", "--prune", more)
    assert run_command("run", *arguments).exit_code == 0
    assert is_empty(compared("--book", book, "--against", "actual", more))


def test_rules_that_are_left_out_need_consent(tmp_path: Path, book: Path, log: Path) -> None:
    fewer = write_config(tmp_path / "fewer.yaml", SPEND)
    arguments = ("--book", book, "--config", fewer, "--against", "actual")
    assert "--prune" in refused(*arguments, log)
    (paid,) = compared(*arguments, "--prune", log)["rules"]
    assert (paid["rule"], paid["right_matches"], paid["right_issued"]) == ("base", 0, "0.00")


def test_parts_are_files_and_a_difference_can_fail_the_job(tmp_path: Path, base: Path, better: Path, log: Path) -> None:
    results = tmp_path / "results.csv"
    sides = ("--config", base, "--against", better, "--clock", "event", "--fail-on", "difference", "--results", results)
    for format_ in ("csv", "parquet"):
        folder = tmp_path / format_
        result = run_command("simulate", *sides, "--to", folder, "--format", format_, log)
        assert result.exit_code == 4
        assert result.stdout == ""
        names = {path.name for path in folder.iterdir()}
        assert names == {f"{part}.{format_}" for part in ("assets", "counts", "holders", "records", "rules")}
    header, row = (tmp_path / "csv" / "holders.csv").read_text(encoding="utf-8").splitlines()
    assert (header, row) == ("kind,holder,asset,left,right,delta", "PARTICIPANT,alice,EUR,3.33,5.00,1.67")
    table = pq.read_table(tmp_path / "parquet" / "records.parquet")
    assert [str(value) for value in table["delta_net"].to_pylist()] == ["0.50", "0.17", "1.00"]
    assert len(results.read_text(encoding="utf-8").splitlines()) == 4
    shown = run_command("simulate", *sides, "--rows", "1", log)
    assert "Records (1 of 3)" in shown.stdout
    assert run_command("simulate", "--config", base, "--to", tmp_path / "no", log).exit_code == 2


def test_a_page_shows_both_sides_and_escapes_them(tmp_path: Path, base: Path, log: Path) -> None:
    hostile = write_config(tmp_path / "<b>.yaml", cashback("0.015") | {"key": "<i>&"}, SPEND, cashback("0.01"))
    page = tmp_path / "page.html"
    sides = ("--config", base, "--against", hostile, "--clock", "event", "--html", page)
    result = run_command("simulate", *sides, log)
    assert (result.exit_code, result.stdout) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert "with " + str(base) in text
    assert "&lt;b&gt;.yaml" in text
    assert "&lt;i&gt;&amp;" in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert re.search(r"<td[^>]*>5.00</td>", text)
    assert not re.search(r"(src|href)=.https?:", text)
    assert run_command("simulate", *sides, log).exit_code == 0
    assert page.read_text(encoding="utf-8") == text
