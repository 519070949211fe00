"""Every report equals what the oracle's own book says, on random books; one book for each set of features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earnbook.ledger.schema import Bucket, EntityType, EntryType
from earnbook.pipeline.reports import Report, ReportRequest, microseconds, month_start_us, next_month
from earnbook.pipeline.reports_calendar import Every
from earnbook.pipeline.reports_entries import Owner
from earnbook.pipeline.reports_journal import JournalRequest, journal
from earnbook.pipeline.reports_ledger import earn_burn, ledger_summary
from earnbook.pipeline.reports_liability import liability, rollforward
from earnbook.pipeline.reports_lines import SIGNS
from earnbook.pipeline.reports_lots import breakage, expiration_schedule
from earnbook.pipeline.reports_programs import program_activity
from earnbook.pipeline.reports_rules import rule_cost
from earnbook.pipeline.reports_statement import statement
from earnbook.pipeline.reports_tiers import tier_distribution, tier_movements
from tests.support import oracle_reports as oracle
from tests.support.engines import run_in
from tests.support.features import ABOUT_MONEY, EVERYTHING, TIME, Feature, Features
from tests.support.logical import LogicalBook
from tests.support.logs import random_scenario
from tests.support.oracle import run_oracle
from tests.support.oracle_reports import Scope, is_holder

TIERS_AND_BUDGETS = frozenset({Feature.TIERS, Feature.BUDGETS})
A_YEAR = TIME | {Feature.BUDGETS}
CASES: list[tuple[int, Features]] = [
    (9, ABOUT_MONEY),
    (7, ABOUT_MONEY),
    (0, EVERYTHING),
    (9, TIERS_AND_BUDGETS),
    (7, A_YEAR),
]


@dataclass(frozen=True)
class Made:
    """The product's book, the oracle's, and a time in its middle."""

    path: Path
    book: LogicalBook
    scales: dict[str, int]
    with_lots: frozenset[str]
    middle_us: int

    def request(self, **bounds: Any) -> ReportRequest:
        """A request about this book."""
        return ReportRequest(book=self.path, **bounds)


@pytest.fixture(scope="module", params=CASES, ids=["money 9", "money 7", "all 0", "tiers 9", "year 7"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    seed, features = request.param
    scenario = random_scenario(seed, 0, features)
    folder = tmp_path_factory.mktemp("oracle")
    run_in(folder, scenario, mode="closures", batch_records=13)
    book = run_oracle(scenario)
    assets = scenario.definitions["assets"]
    return Made(
        path=folder / "book.duckdb",
        book=book,
        scales={asset["symbol"]: asset["scale"] for asset in assets},
        with_lots=frozenset(asset["symbol"] for asset in assets if asset["inventory_mode"] == "LOT"),
        middle_us=book.entries[len(book.entries) // 2].created_at,
    )


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """A report's rows with their amounts in minor units."""
    for row in report.table.to_pylist():
        scaled = {name: row[name] for name in report.amounts if row[name] is not None}
        yield row | {name: int(amount.scaleb(row["scale"])) for name, amount in scaled.items()}


def scopes(made: Made) -> Iterator[tuple[dict[str, int], Scope]]:
    """Bounds of a report and what they mean: of all time, up to the middle, after it."""
    yield {}, Scope()
    yield {"to_us": made.middle_us}, Scope(until_us=made.middle_us)
    yield {"from_us": made.middle_us + 1}, Scope(after_us=made.middle_us)


def programs(made: Made) -> list[str | None]:
    return [None, *made.book.programs]


def test_ledger_summary(made: Made) -> None:
    for as_of in (None, made.middle_us):
        for program in programs(made):
            for row in rows(ledger_summary(made.request(as_of_us=as_of, program=program))):
                scope = Scope(until_us=as_of, program=program, asset=row["asset"])
                found = oracle.lines(made.book, scope)
                assert row["total_issued"] == found.get("issued", 0)
                assert row["total_redeemed"] == found.get("redeemed", 0) - found.get("redemption_reversals", 0)
                assert row["current_balance"] == oracle.held(made.book, scope)
                assert row["participant_count"] == oracle.participants_with_value(made.book, scope)


def test_rollforward_by_program_and_asset(made: Made) -> None:
    for bounds, scope in scopes(made):
        for row in rows(rollforward(made.request(**bounds))):
            own = Scope(until_us=scope.until_us, program=row["program"], asset=row["asset"])
            before = Scope(until_us=scope.after_us or 0, program=own.program, asset=own.asset)
            during = Scope(scope.until_us, scope.after_us, own.program, own.asset)
            assert {line: row[line] for line in SIGNS if row[line]} == oracle.lines(made.book, during)
            assert row["opening_balance"] == oracle.held(made.book, before)
            assert row["closing_balance"] == oracle.held(made.book, own)


def test_rollforward_by_bucket_sums_to_the_whole(made: Made) -> None:
    request = made.request(from_us=made.middle_us)
    whole = {(row["asset"], row["program"]): row for row in rows(rollforward(request))}
    parts = list(rows(rollforward(request, by_bucket=True)))
    for place, row in whole.items():
        own = [part for part in parts if (part["asset"], part["program"]) == place]
        for column in ("opening_balance", *SIGNS, "closing_balance"):
            assert sum(part[column] for part in own) == row[column]


def test_liability_by_bucket(made: Made) -> None:
    for as_of in (None, made.middle_us):
        for row in rows(liability(made.request(as_of_us=as_of), by_bucket=True)):
            found = oracle.balances(made.book, Scope(until_us=as_of, program=row["program"], asset=row["asset"]))
            own = (amount for account, amount in found.items() if is_holder(account) and account[3] == row["bucket"])
            assert row["balance"] == sum(own)


def test_earn_burn_is_a_chain_of_months(made: Made) -> None:
    found = list(rows(earn_burn(made.request())))
    for asset in made.scales:
        months = [row for row in found if row["asset"] == asset]
        assert months[0]["opening_balance"] == 0
        assert months[-1]["closing_balance"] == oracle.held(made.book, Scope(asset=asset))
        assert [row["opening_balance"] for row in months[1:]] == [row["closing_balance"] for row in months[:-1]]
        issued = {row["month"]: row["earned"] for row in months if row["earned"]}
        by_month = {
            month: oracle.lines(made.book, Scope(until_us=end, after_us=begin, asset=asset)).get("issued", 0)
            for month, begin, end in spans(months)
        }
        assert issued == {month: amount for month, amount in by_month.items() if amount}


def spans(months: list[dict[str, Any]]) -> Iterator[tuple[str, int, int]]:
    """Each month with the instant before it and its last one."""
    for row in months:
        yield row["month"], month_start_us(row["month"]) - 1, month_start_us(next_month(row["month"])) - 1


def test_statement_of_holders_and_wallets(made: Made) -> None:
    kinds = {"PARTICIPANT": EntityType.PARTICIPANT, "GROUP": EntityType.GROUP, "PROGRAM": EntityType.PROGRAM}
    owners = {a[:2] for entry in made.book.entries for p in entry.postings if (a := p.account)[0] in kinds}
    for kind, key in sorted(owners, key=str)[::2]:
        for bounds, scope in scopes(made):
            found = list(rows(statement(made.request(**bounds), owner=Owner(kind=kinds[kind], key=str(key)))))
            for asset in {row["asset"] for row in found}:
                own = [row for row in found if row["asset"] == asset]
                expected = [
                    (entry.seq, posting.account[3], posting.amount)
                    for entry in filter(Scope(scope.until_us, scope.after_us, None, asset).has, made.book.entries)
                    for posting in entry.postings
                    if posting.account[:2] == (kind, key)
                ]
                assert [(row["seq"], row["bucket"], row["amount"]) for row in own[1:-1]] == expected
                opening = own[-1]["balance"] - sum(amount for *_, amount in expected)
                assert own[0]["balance"] == opening
                assert [row["line"] for row in (own[0], own[-1])] == ["opening", "closing"]


def test_journal_by_each_filter(made: Made) -> None:
    postings = [(entry, posting) for entry in reversed(made.book.entries) for posting in entry.postings]
    holders = sorted({str(p.account[1]) for _, p in postings if p.account[0] == "PARTICIPANT"})
    keys = {record.log_seq: record.idempotency_key for record in made.book.records}
    rule = next(entry.rule for entry, _ in postings if entry.rule is not None)
    key = next(keys[entry.cause_number] for entry, _ in postings if entry.cause == "EVENT")
    owner = Owner(kind=EntityType.PARTICIPANT, key=holders[0])
    filters: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda _, __: True),
        ({"owner": owner}, lambda _, p: p.account[:2] == ("PARTICIPANT", holders[0])),
        ({"bucket": Bucket.HELD}, lambda _, p: p.account[3] == "HELD"),
        ({"rule": rule}, lambda e, _: e.rule == rule),
        ({"action_type": EntryType.CREDIT}, lambda e, _: e.action_type == "CREDIT"),
        ({"event": key}, lambda e, _: e.cause == "EVENT" and keys[e.cause_number] == key),
        ({"amount_min": Decimal(0)}, lambda _, p: p.amount >= 0),
        ({"amount_max": Decimal("-0.5")}, lambda e, p: p.amount * 2 <= -(10 ** made.scales[e.asset])),
    ]
    references = {entry.reference_id for entry, _ in postings if entry.reference_id}
    filters += [({"reference": one}, lambda e, _, one=one: e.reference_id == one) for one in sorted(references)[:3]]
    for options, accepts in filters:
        chosen = journal(JournalRequest(scope=made.request(), limit=10_000, **options))
        shown = [(row["seq"], row["entity_type"], row["entity"], row["bucket"], row["amount"]) for row in rows(chosen)]
        assert shown == [(e.seq, *p.account[:2], p.account[3], p.amount) for e, p in postings if accepts(e, p)], options


def test_journal_says_what_entries_say(made: Made) -> None:
    entries = {entry.seq: entry for entry in made.book.entries}
    found = list(rows(journal(JournalRequest(scope=made.request(), limit=10_000))))
    assert {row["seq"] for row in found} == set(entries)
    for row in found:
        entry = entries[row["seq"]]
        said = (microseconds(row["created_at"]), row["action_type"], row["program"], row["rule"], row["reference_id"])
        assert said == (entry.created_at, entry.action_type, entry.program, entry.rule, entry.reference_id)
        assert row["description"] == entry.description


def test_a_limit_is_of_whole_entries_and_the_newest(made: Made) -> None:
    found = list(rows(journal(JournalRequest(scope=made.request(), limit=3))))
    last = made.book.entries[-3:]
    assert [row["seq"] for row in found] == [entry.seq for entry in reversed(last) for _ in entry.postings]


def test_expiration_schedule(made: Made) -> None:
    for as_of in (None, made.middle_us):
        window = (made.middle_us, made.middle_us + 40 * 86_400_000_000)
        request = made.request(as_of_us=as_of)
        found = list(rows(expiration_schedule(request_with(request, window), every=Every.WEEK)))
        assert {row["asset"] for row in found} == made.with_lots
        for asset in made.with_lots:
            lots = oracle.lots_by_expiry(made.book, asset, as_of)
            own = [row for row in found if row["asset"] == asset]
            for row in own[:-2]:
                inside = [
                    lot
                    for at, lot in lots.items()
                    if at is not None
                    and (row["from"] is None or microseconds(row["from"]) <= at)
                    and (row["to"] is None or at <= microseconds(row["to"]))
                ]
                sums = (sum(amount for amount, _ in inside), sum(number for _, number in inside))
                assert (row["amount"], row["lot_count"]) == sums
            assert (own[-2]["amount"], own[-2]["lot_count"]) == lots.get(None, (0, 0))
            assert own[-1]["amount"] == sum(amount for amount, _ in lots.values())


def test_breakage(made: Made) -> None:
    found = list(rows(breakage(made.request())))
    for asset in made.scales:
        own = {row["cohort"]: row for row in found if row["asset"] == asset}
        cohorts = (oracle.lot_cohorts if asset in made.with_lots else oracle.posting_cohorts)(made.book, asset)
        assert {month: {line: row[line] for line in cohorts[month]} for month, row in own.items()} == cohorts


def test_rule_cost(made: Made) -> None:
    names = ("credits", "issued", "returned", "suppressed", "suppressed_amount")
    found = list(rows(rule_cost(made.request())))
    costs = {
        (row["program"], row["rule"], row["asset"], row["month"]): {name: row[name] for name in names if row[name]}
        for row in found
    }
    assert costs == oracle.rule_costs(made.book)
    for row in found:
        name = (row["program"], row["rule"], row["asset"])
        end = min(month_start_us(next_month(row["month"])) - 1, int(made.book.book_clock or 0))
        expected = oracle.consumed(made.book, name, end) if name in made.book.budgets else None
        assert row["consumed"] == expected


def test_program_activity(made: Made) -> None:
    for row in rows(program_activity(made.request())):
        own = [entry for entry in made.book.entries if entry.program == row["program"]]
        events = [r for r in made.book.records if r.kind == "EVENT" and r.program == row["program"]]
        active = {
            posting.account[1]
            for entry in own
            for posting in entry.postings
            if posting.account[0] == "PARTICIPANT"
            and (
                (entry.action_type in ("CREDIT", "SETTLE") and posting.amount > 0)
                or (entry.action_type == "REDEMPTION" and posting.amount < 0)
            )
        }
        assert (row["event_count"], row["journal_count"]) == (len(events), len(own))
        assert row["unique_participants"] == len(active)
        newest = None if row["last_activity_at"] is None else microseconds(row["last_activity_at"])
        assert newest == (own[-1].created_at if own else None)
        assert row["asset_count"] == len([link for link in made.book.asset_links if link[0] == row["program"]])


def test_tier_distribution(made: Made) -> None:
    found = list(rows(tier_distribution(made.request())))
    for name in {(row["program"], row["tier"]) for row in found}:
        shown = {row["level"]: row["participants"] for row in found if (row["program"], row["tier"]) == name}
        expected = oracle.levels(made.book, *name)
        assert {level: count for level, count in shown.items() if count} == expected
        assert None in shown


def test_tier_distribution_as_of_the_end_is_that_of_the_present(made: Made) -> None:
    then = tier_distribution(made.request(as_of_us=made.book.book_clock))
    assert then.table == tier_distribution(made.request()).table


def test_tier_movements(made: Made) -> None:
    found = {
        (f"{row['program']}/{row['tier']}", row["from_level"], row["to_level"]): (row["movements"], row["participants"])
        for row in rows(tier_movements(made.request()))
    }
    assert found == oracle.tier_steps(made.book)


def test_the_books_are_worth_it() -> None:
    books = [run_oracle(random_scenario(seed, 0, features)) for seed, features in CASES]
    kinds = {entry.action_type for book in books for entry in book.entries}
    assert kinds == {kind.name for kind in EntryType}
    assert any(action.result == "SUPPRESSED" for b in books for e in b.evaluations for action in e.actions or ())
    assert any(change.state_type == "tier" for book in books for change in book.changes)


def request_with(request: ReportRequest, window: tuple[int, int]) -> ReportRequest:
    """A request with a window beside its time, which only the expiration schedule has."""
    return ReportRequest(book=request.book, as_of_us=request.as_of_us, from_us=window[0], to_us=window[1])
