"""Runs over one book: what a run refuses, what it leaves alone, and what a second run finds (§3.4-§3.6, §4, §6.3)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.config import AdvanceRequest, ClockMode, LoadRequest, RunReport, RunRequest
from earnbook.pipeline.drive import advance, load, run
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.verify import verify_book
from tests.support.oracle_times import parse_time

WALL = parse_time("2026-06-01T00:00:00Z")
Row = dict[str, object]


def rule(key: str, condition: str, *actions: Row, **fields: object) -> Row:
    return {"key": key, "name": key, "condition": condition, "actions": list(actions), **fields}


def program(key: str, *rules: Row, **fields: object) -> Row:
    return {"key": key, "name": key, "rules": list(rules), **fields}


CREDIT: Row = {"type": "CREDIT", "asset": "PTS", "amount": "event.n"}
SEEN: Row = {"type": "COUNTER", "key": "seen", "value": "1"}
BASE = rule("base", "event.n > 0", CREDIT)
SHOP = program("shop", BASE)


def event(key: str, at: str, n: object = 1, who: str = "alice", **fields: object) -> Row:
    """An event of the shop at a time like 05-31T12 (of 2026)."""
    person = {} if "participant_id" in fields else {"external_id": who}
    row = {"program_id": "shop", "idempotency_key": key, "event_timestamp": f"2026-{at}:00:00Z", "event_data": {"n": n}}
    return row | person | fields


def fund(key: str, at: str, amount: object, **fields: object) -> Row:
    row = {"type": "fund", "program_id": "shop", "idempotency_key": key, "effective_at": f"2026-{at}:00:00Z"}
    return row | {"asset_id": "CASH", "amount": amount} | fields


@dataclass
class Shop:
    """A book in a folder, and short calls of the jobs on it."""

    folder: Path
    programs: tuple[Row, ...] = (SHOP,)
    sources: Mapping[str, object] = field(default_factory=dict)
    clock: ClockMode = ClockMode.EVENT

    @property
    def book(self) -> Path:
        return self.folder / "book.duckdb"

    def config(self) -> Path:
        keys = [str(entry["key"]) for entry in self.programs]
        assets = [
            {"symbol": "PTS", "name": "P", "scale": 2, "inventory_mode": "LOT", "issuance_policy": "UNLIMITED"},
            {"symbol": "CASH", "name": "C", "scale": 2, "inventory_mode": "SIMPLE", "issuance_policy": "PREFUNDED"},
        ]
        document = {
            "organization": {"key": "demo"},
            "assets": [asset | {"programs": keys} for asset in assets],
            "programs": list(self.programs),
            **({"sources": self.sources} if self.sources else {}),
        }
        path = self.folder / "definitions.json"
        path.write_text(json.dumps(document))
        return path

    def write(self, *rows: Row | str, name: str = "log.ndjson") -> str:
        path = self.folder / name
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        return str(path)

    def run(self, *rows: Row | str, **options: Any) -> RunReport:
        inputs = options.pop("inputs", None) or (self.write(*rows),)
        given = {"config": self.config(), "clock": self.clock, "wall_clock_us": WALL, "kernel": False} | options
        report = run(RunRequest(book=self.book, inputs=inputs, **given))
        assert report.ties
        return report

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.book), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def is_whole(self) -> bool:
        return not verify_book(self.book).findings


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


# --- what is refused before the first commit ------------------------------------------------------------------------


def test_without_definitions_and_book_nothing_is_created(shop: Shop) -> None:
    with pytest.raises(Refused, match="there is no book at"):
        shop.run(event("e-1", "05-01T00"), config=None)
    assert not shop.book.exists()


def test_repeats_do_not_hide_that_the_new_records_are_late(shop: Shop) -> None:
    known = [event(f"e-{n}", "05-20T00") for n in range(6)]
    shop.run(*known)
    with pytest.raises(Refused, match="2 of 2 new records"):
        shop.run(*known, event("old-1", "05-01T00"), event("old-2", "05-02T00"))
    report = shop.run(*known, event("old-1", "05-01T00"), event("old-2", "05-02T00"), allow_late=True)
    assert (report.events, report.late, report.duplicates) == (2, 2, 6)


def test_late_repeats_do_not_refuse_new_records(shop: Shop) -> None:
    known = [event(f"e-{n}", "05-01T00") for n in range(6)]
    shop.run(*known, event("e-last", "05-20T00"))
    report = shop.run(*known, event("e-new", "05-20T01"))
    assert (report.events, report.duplicates) == (1, 6)


def test_half_of_the_new_records_may_be_late(shop: Shop) -> None:
    shop.run(event("e-1", "05-20T00"))
    report = shop.run(event("old", "05-01T00"), event("new", "05-20T01"), batch_records=1)
    assert (report.events, report.late) == (2, 1)


def test_conflicts_count_as_rejects_before_the_first_commit(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    rows = [event("e-1", "05-01T00", n=2), event("e-2", "05-02T00"), event("e-2", "05-02T00", n=3)]
    with pytest.raises(Refused, match="IDEMPOTENCY_CONFLICT 2"):
        shop.run(*rows, max_rejects=1)
    assert shop.ask("SELECT count(*) FROM batches") == [(1,)]
    assert shop.run(*rows, max_rejects=2).conflicts == 2


def test_ignored_conflicts_are_no_rejects(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    report = shop.run(event("e-1", "05-01T00", n=2), max_rejects=0, ignore_conflicts=True)
    assert (report.duplicates, report.conflicts, report.batches) == (1, 0, ())


@pytest.mark.parametrize(
    "clock, time, message",
    [
        (ClockMode.FIXED, "2026-04-30T00:00:00Z", "before the book clock"),
        (ClockMode.FIXED, "2026-06-03T00:00:00Z", "beyond the horizon"),
        (ClockMode.FIXED, None, "no time is given"),
    ],
)
def test_fixed_clocks_that_cannot_be(shop: Shop, clock: ClockMode, time: str | None, message: str) -> None:
    shop.run(event("e-1", "05-01T00"))
    with pytest.raises(Refused, match=message):
        shop.run(event("e-2", "05-02T00"), clock=clock, clock_fixed_us=None if time is None else parse_time(time))


def test_a_wall_clock_that_went_back_counts_as_the_book_clock_for_a_minute(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"), clock=ClockMode.NOW)
    back = WALL - 60_000_000
    report = shop.run(event("e-2", "05-01T01"), clock=ClockMode.NOW, wall_clock_us=back)
    assert (report.clock_before_us, report.clock_after_us) == (WALL, WALL)
    with pytest.raises(Refused, match=r"the wall clock .* is behind the book clock"):
        shop.run(event("e-3", "05-01T02"), clock=ClockMode.NOW, wall_clock_us=back - 1)


def test_old_events_under_now_are_warned_of_before_and_after(shop: Shop) -> None:
    said: list[str] = []
    rows = [event("e-1", "05-01T00"), event("e-2", "05-02T00"), event("e-3", "05-31T00")]
    report = shop.run(*rows, clock=ClockMode.NOW, warn=said.append)
    assert said == [text for text in report.warnings if "2 of 3 records" in text and "--clock event" in text]
    assert len(said) == 1
    assert shop.run(*rows[1:], clock=ClockMode.NOW).warnings == ()


# --- runs with nothing new ------------------------------------------------------------------------------------------


def test_the_same_rows_again_write_nothing(shop: Shop) -> None:
    rows: list[Row | str] = [event("e-1", "05-01T00"), event("e-2", "05-02T00"), "{no json"]
    shop.run(*rows)
    for clock in (ClockMode.EVENT, ClockMode.NOW):
        before = hashlib.sha256(shop.book.read_bytes()).hexdigest()
        report = shop.run(*rows, clock=clock)
        assert (report.batches, report.duplicates, report.rejects_known) == ((), 2, 1)
        assert report.notes == ("nothing new in 3 rows: the book is unchanged",)
        assert shop.ask("SELECT count(*) FROM batches") == [(1,)]
        assert clock is ClockMode.NOW or hashlib.sha256(shop.book.read_bytes()).hexdigest() == before


def test_an_empty_input_is_a_run(shop: Shop) -> None:
    report = shop.run()
    assert (report.rows_read, report.batches, report.ruleset_version) == (0, (), 0)
    shop.run(event("e-1", "05-01T00"))
    assert shop.run().batches == ()
    assert shop.is_whole()


def test_under_now_a_run_without_records_does_what_is_due(shop: Shop) -> None:
    shop.programs = (program("shop", rule("base", "event.n > 0", CREDIT | {"expires_at": "24h"})),)
    shop.run(event("e-1", "05-01T00"))
    report = shop.run(event("e-1", "05-01T00"), clock=ClockMode.NOW)
    assert [(total.entry_type, total.amount_minor) for total in report.movements] == [("EXPIRATION", 100)]
    assert (report.duplicates, report.clock_after_us) == (1, WALL)
    assert shop.ask("SELECT rows_read, events, duplicates FROM batches WHERE batch = 2") == [(1, 0, 1)]
    assert shop.is_whole()


def test_rejects_alone_load_no_definitions_under_the_event_clock(shop: Shop) -> None:
    """Without a record there is no time to load at; other definitions may follow."""
    first = shop.run("{no json")
    assert (first.batches, first.ruleset_version, first.ruleset_changed) == ((1,), 0, False)
    assert shop.ask("SELECT count(*) FROM store.objects") == [(0,)]
    shop.programs = (program("cafe", BASE),)
    second = shop.run(event("e-1", "05-01T00", program_id="cafe"))
    assert (second.completed, second.ruleset_version) == (1, 1)
    assert shop.ask("SELECT key FROM programs") == [("cafe",)]
    assert shop.is_whole()


def test_the_same_bytes_under_two_names_reject_once(shop: Shop) -> None:
    inputs = (shop.write("{no json", name="a.ndjson"), shop.write("{no json", name="b.ndjson"))
    report = shop.run(inputs=inputs)
    assert report.rejected == {"UNPARSEABLE_ROW": 2}
    assert shop.ask("SELECT count(*) FROM rejects") == [(1,)]
    assert shop.is_whole()


def test_a_last_batch_of_repeats_alone_keeps_the_counts(shop: Shop) -> None:
    rows = [event("e-1", "05-01T00"), event("e-2", "05-02T00"), event("e-2", "05-02T00"), event("e-2", "05-02T00")]
    report = shop.run(*rows, batch_records=2)
    assert (report.events, report.duplicates, report.batches) == (2, 2, (1, 2))
    assert shop.ask("SELECT rows_read, events, duplicates FROM batches ORDER BY batch") == [(2, 2, 0), (2, 0, 2)]
    assert shop.is_whole()


# --- dry runs -------------------------------------------------------------------------------------------------------


def test_a_dry_run_leaves_every_byte(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    before = shop.book.read_bytes()
    report = shop.run(event("e-2", "05-02T00", n=5), dry_run=True)
    assert (report.events, report.batches) == (1, ())
    assert [(b.opening_minor, b.closing_minor) for b in report.balances if b.account == "holders"] == [(100, 600)]
    assert shop.book.read_bytes() == before


# --- participants ---------------------------------------------------------------------------------------------------


def participant_id(shop: Shop, who: str) -> str:
    found = shop.ask(f"SELECT id FROM participants WHERE external_id = '{who}'")
    return str(found[0][0])


@pytest.mark.parametrize("batch_records", [1, 10])
def test_an_id_means_a_participant_only_after_its_creation(shop: Shop, tmp_path: Path, batch_records: int) -> None:
    (tmp_path / "other").mkdir()
    other = Shop(tmp_path / "other")
    other.run(event("e-1", "05-01T00"))
    known = participant_id(other, "alice")
    rows = [
        event("e-1", "05-01T00", participant_id=known),
        event("e-2", "05-02T00"),
        event("e-3", "05-03T00", participant_id=known.upper()),
        event("e-4", "05-04T00", participant_id="00000000-0000-0000-0000-000000000000"),
        event("e-5", "05-05T00", recipient_id=known),
        event("e-6", "05-06T00", recipient_id="00000000-0000-0000-0000-000000000000"),
    ]
    shop.run(*rows, batch_records=batch_records)
    outcomes = shop.ask("SELECT idempotency_key, code FROM event_status ORDER BY log_seq")
    assert [code for _, code in outcomes] == [
        "PARTICIPANT_NOT_FOUND", "OK", "OK", "PARTICIPANT_NOT_FOUND", "OK", "RECIPIENT_NOT_FOUND",
    ]  # fmt: skip
    assert shop.ask("SELECT count(*) FROM participants") == [(1,)]
    assert shop.run(*rows).duplicates == 6
    assert shop.is_whole()


def test_a_program_that_refuses_strangers_serves_whom_another_created(shop: Shop) -> None:
    shop.programs = (SHOP, program("club", rule("club", "event.n > 0", SEEN), on_unknown_participant="REJECT"))
    rows = [
        event("c-1", "05-01T00", program_id="club"),
        event("e-1", "05-02T00"),
        event("c-2", "05-03T00", program_id="club"),
        event("c-3", "05-04T00", program_id="club", recipient_external_id="bob"),
    ]
    shop.run(*rows)
    outcomes = shop.ask("SELECT code FROM event_status ORDER BY log_seq")
    assert [code for (code,) in outcomes] == ["PARTICIPANT_NOT_FOUND", "OK", "OK", "RECIPIENT_NOT_FOUND"]
    assert shop.is_whole()


def test_a_suspended_program_keeps_its_events_and_creates_nobody(shop: Shop) -> None:
    shop.programs = (program("shop", BASE, status="SUSPENDED"),)
    report = shop.run(event("e-1", "05-01T00"))
    assert report.failed == {"PROGRAM_SUSPENDED": 1}
    assert report.participants_created == 0
    assert shop.run(event("e-1", "05-01T00")).duplicates == 1
    assert shop.run(event("e-1", "05-01T00", who="bob")).conflicts == 1


# --- definitions over time ------------------------------------------------------------------------------------------


def test_other_sources_alone_are_kept_with_the_same_version(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    shop.sources = {"till": {"program": "shop", "select": "SELECT * FROM input"}}
    report = shop.run(event("e-2", "05-02T00"))
    assert (report.ruleset_version, report.ruleset_changed) == (1, False)
    assert shop.ask("SELECT version, batch, sources LIKE '%till%' FROM store.rulesets") == [(1, 1, True)]
    assert shop.run(event("e-3", "05-03T00"), config=None, source="till").events == 1
    assert shop.is_whole()


def test_what_is_loaded_last_is_pending(shop: Shop) -> None:
    """Loading the definitions in force again takes back a pending change."""
    shop.run(event("e-1", "05-01T00"))
    first = shop.programs
    shop.programs = (program("shop", rule("base", "event.n > 1", CREDIT)),)
    assert load(LoadRequest(book=shop.book, config=shop.config())).version == 2
    shop.programs = first
    load(LoadRequest(book=shop.book, config=shop.config()))
    report = shop.run(event("e-2", "05-02T00"), config=None)
    assert (report.ruleset_version, report.entries) == (1, 1)
    assert shop.ask("SELECT version, batch FROM store.rulesets") == [(1, 1)]
    assert shop.is_whole()


def test_given_definitions_replace_pending_ones(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    first = shop.programs
    shop.programs = (program("shop", rule("base", "event.n > 1", CREDIT)),)
    load(LoadRequest(book=shop.book, config=shop.config()))
    shop.programs = first
    shop.run(event("e-2", "05-02T00"))
    report = shop.run(event("e-3", "05-03T00"), config=None)
    assert (report.ruleset_version, report.entries) == (1, 1)


def test_a_load_is_dated_by_the_first_record_and_versions_are_in_force_from_then(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    shop.programs = (program("shop", rule("base", "event.n > 0", CREDIT | {"amount": "2 * event.n"})),)
    shop.run(event("e-1", "05-01T00"), event("e-2", "05-02T06"))
    assert shop.ask("SELECT DISTINCT batch, version, changed_at FROM store.definitions ORDER BY batch") == [
        (1, 1, parse_time("2026-05-01T00:00:00Z")),
        (2, 2, parse_time("2026-05-02T06:00:00Z")),
    ]
    assert shop.ask("SELECT rule_version FROM evaluations ORDER BY log_seq") == [(1,), (2,)]
    assert shop.is_whole()


def test_keys_and_programs_of_a_later_load_join_those_of_the_book(shop: Shop) -> None:
    tag: Row = {"type": "TAG", "tag": "vip"}
    level: Row = {"type": "SET_ATTRIBUTE", "key": "level", "value": "low"}
    shop.programs = (program("shop", rule("base", "event.n > 0", SEEN, tag, level)),)
    shop.run(event("e-1", "05-01T00"))
    more: Row = {"type": "COUNTER", "key": "more", "value": "get(participant.counters, 'seen', 0) * 10"}
    is_known = rule("known", "'vip' in participant.tags && participant.attributes.level == 'low'", more)
    changed: Row = {"type": "SET_ATTRIBUTE", "key": "level", "value": "high"}
    shop.programs = (
        program("before", is_known),
        program("shop", rule("base", "event.n > 0", SEEN, changed)),
    )
    report = shop.run(event("e-2", "05-02T00", program_id="before"), event("e-3", "05-03T00"))
    assert report.completed == 2
    counters = shop.ask("SELECT key, value FROM counters ORDER BY key")
    assert [(key, float(value)) for key, value in counters] == [("more", 10.0), ("seen", 2.0)]
    assert shop.ask("SELECT number, key FROM store.objects WHERE key IN ('shop', 'before') ORDER BY number") == [
        (1, "shop"),
        (2, "before"),
    ]
    assert shop.is_whole()


def test_a_program_without_rules_takes_events(shop: Shop) -> None:
    shop.programs = (program("shop"),)
    report = shop.run(event("e-1", "05-01T00"))
    assert (report.completed, report.entries, report.participants_created) == (1, 0, 1)
    assert shop.is_whole()


def test_events_that_the_kernel_leaves_are_counted_by_reason(shop: Shop) -> None:
    big = rule("big", "event.n * event.n * event.n > 0", SEEN)
    shop.programs = (program("shop", big),)
    rows = [event(f"e-{at}", f"05-0{at}T00", n=n) for at, n in enumerate((1, 10**30, 10**15, 9 * 10**12 + 1), start=1)]
    report = shop.run(*rows, batch_records=2, kernel=True)
    assert report.bailed == {"NUMBER_RANGE": 2, "WIDE_VALUE": 1}
    assert report.completed == 4
    assert shop.is_whole()


# --- operations -----------------------------------------------------------------------------------------------------


def test_operations_between_events_fund_what_these_spend(shop: Shop) -> None:
    shop.programs = (program("shop", rule("cash", "event.n > 0", CREDIT | {"asset": "CASH"})),)
    rows = [
        event("e-1", "05-01T00", n=1),
        fund("f-1", "05-02T00", "2.00"),
        event("e-2", "05-03T00", n=2),
        event("e-3", "05-04T00", n=1),
        fund("f-2", "05-05T00", "1.005"),
        fund("f-3", "05-06T00", "1", asset_id="PTS"),
    ]
    report = shop.run(*rows, batch_records=2)
    assert report.failed == {"INSUFFICIENT_WALLET": 2, "AMOUNT_EXCEEDS_SCALE": 1, "NOT_PREFUNDED": 1}
    assert (report.operations, report.completed) == (3, 2)
    assert shop.run(*rows).duplicates == 6
    assert shop.is_whole()


@pytest.mark.parametrize("amount", ["92233720368547758.07", "__number__"])
def test_amounts_of_operations_are_exact(shop: Shop, amount: str) -> None:
    row = json.dumps(fund("f-1", "05-01T00", amount)).replace('"__number__"', "92233720368547758.07")
    assert shop.run(row).failed == {}
    assert shop.ask("SELECT max(amount) FROM store.movements") == [(9223372036854775807,)]


# --- advance --------------------------------------------------------------------------------------------------------


def test_advance_moves_the_clock_and_not_back(shop: Shop) -> None:
    shop.run(event("e-1", "05-01T00"))
    to = parse_time("2026-05-10T00:00:00Z")
    report = advance(AdvanceRequest(book=shop.book, to_us=to, wall_clock_us=WALL))
    assert report.clock_after_us == to
    with pytest.raises(Refused, match="before the book clock"):
        advance(AdvanceRequest(book=shop.book, to_us=to - 1, wall_clock_us=WALL))
    assert shop.is_whole()


# --- what a run has read once ---------------------------------------------------------------------------------------


def test_members_read_in_a_later_batch_bring_no_old_state_of_the_program(tmp_path: Path) -> None:
    """A program's wallet and counters are read once; the checkpoint is older than what the run has done since."""
    pay: Row = {"type": "CREDIT", "asset": "CASH", "amount": "event.n"}
    in_all: Row = {"type": "COUNTER", "target": {"type": "PROGRAM"}, "key": "paid", "value": "event.n"}
    shop = Shop(tmp_path, (program("shop", rule("pay", "event.n > 0", pay, in_all)),))
    names = ("alice", "bob", "carol")
    shop.run(fund("fund", "05-01T00", 100), *(event(f"first-{who}", "05-01T01", 10, who) for who in names))
    later = [event(f"then-{who}", f"05-02T0{hour}", 10, who) for hour, who in enumerate(names)]
    shop.run(*later, batch_records=1)
    assert shop.ask("SELECT amount FROM balances WHERE entity_type = 'PROGRAM'") == [(40,)]
    assert shop.ask("SELECT value FROM counters WHERE key = 'paid'") == [("60",)]
    assert shop.is_whole()
