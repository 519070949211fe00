"""The page of reports says what the reports say, escapes what it is given, and needs nothing but itself."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from earnbook.pipeline.errors import BookError, MissingExtra
from earnbook.pipeline.reports import Report, ReportRequest
from earnbook.pipeline.reports_calendar import Every
from earnbook.pipeline.reports_ledger import earn_burn, ledger_summary
from earnbook.pipeline.reports_page import PageReports, page_of, read_page_reports, report_page
from earnbook.pipeline.reports_page_html import render_page
from earnbook.pipeline.reports_page_model import cell
from earnbook.pipeline.reports_query import query_book
from earnbook.pipeline.reports_records import failures
from tests.support.book_maker import BookMaker, make_small_book
from tests.support.command_line import run_command
from tests.support.page_book import BOOK, CLUB, CONFIG, FLIGHTS, MEMBERS, PARTNERS, make_page_book, run_lines
from tests.support.read_page import ReadPage

HOSTILE = '<script>alert("$1$")</script> & \'x\' id="a" url(#b)'


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page_book(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def reports(book: Path) -> PageReports:
    return read_page_reports(book)


@pytest.fixture(scope="module")
def page(reports: PageReports) -> str:
    return render_page(page_of(reports))


@pytest.fixture(scope="module")
def tables(page: str) -> Mapping[str, list[list[str]]]:
    return ReadPage(page).tables


def hostile(table: pa.Table) -> pa.Table:
    """The table with every text made to break out of where it stands."""
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = [text and HOSTILE + text for text in table.column(number).to_pylist()]
            table = table.set_column(number, field.name, pa.array(texts, pa.string()))
    return table


def cells(report: Report, *names: str, **chosen: object) -> list[list[str]]:
    """Columns of a report as a page shows them, of the rows that have these values."""
    rows = [row for row in report.table.to_pylist() if all(row[name] == value for name, value in chosen.items())]
    assert rows
    return [[cell(row[name], row["scale"] if name in report.amounts else None) for name in names] for row in rows]


def test_every_figure_of_the_ledger_summary_is_there(
    book: Path, page: str, tables: Mapping[str, list[list[str]]]
) -> None:
    summary = ledger_summary(ReportRequest(book=book))
    names = [name for name in summary.table.column_names if name != "scale"]
    assert tables["Ledger summary, all time"][1:] == cells(summary, *names)
    assert re.search(r"<h3>EUR outstanding</h3>\s*<p class=\"value\">39\.71</p>", page)


def test_months_and_their_balances_are_those_of_earn_burn(
    reports: PageReports, tables: Mapping[str, list[list[str]]]
) -> None:
    names = ("month", "opening_balance", "earned", "redeemed", "expired", "forfeited", "other_adjustments_net")
    for asset in ("MILES", "EUR"):
        expected = cells(reports.earn_burn, *names, "closing_balance", "redemption_rate", asset=asset)
        assert tables[f"{asset} by month"][1:] == expected
    assert tables["EUR outstanding by month"][1:] == cells(reports.earn_burn, "month", "closing_balance", asset="EUR")


@pytest.mark.parametrize("every", [Every.DAY, Every.WEEK])
def test_days_and_weeks_lead_from_the_same_opening_to_the_same_closing(
    book: Path, reports: PageReports, every: Every
) -> None:
    short = earn_burn(ReportRequest(book=book), every=every).table
    months = reports.earn_burn.table
    assert short.num_rows > months.num_rows
    assert short.column_names == [every.value, *months.column_names[1:]]
    for asset in ("MILES", "EUR"):
        one, other = (table.filter(pc.equal(table["asset"], asset)) for table in (short, months))
        assert one["closing_balance"][-1] == other["closing_balance"][-1]
        for name in ("earned", "redeemed", "expired", "forfeited", "other_adjustments_net"):
            assert pc.sum(one[name]) == pc.sum(other[name]), name
        assert one["opening_balance"].to_pylist()[1:] == one["closing_balance"].to_pylist()[:-1]


def test_a_young_book_is_shown_by_day(tmp_path: Path) -> None:
    path = tmp_path / "small.duckdb"
    make_small_book(path)
    rows = ReadPage(report_page(path)).tables["PTS by day"]
    assert rows[0][0] == "Day"
    assert [row[0] for row in rows[1:3]] == ["2026-01-01", "2026-01-02"]


def test_liability_by_program_and_by_expiry_are_those_of_the_reports(
    reports: PageReports, tables: Mapping[str, list[list[str]]]
) -> None:
    shown = tables["MILES by program and bucket"][1:]
    assert shown == cells(reports.liability, "program", "bucket", "balance", asset="MILES")
    assert {row[0] for row in shown} == {FLIGHTS, PARTNERS}
    assert tables["MILES by month of expiry"][1:] == cells(
        reports.expiration, "expires", "amount", "lot_count", asset="MILES"
    )


def test_rules_and_budgets_are_those_of_rule_cost(
    book: Path, reports: PageReports, tables: Mapping[str, list[list[str]]]
) -> None:
    issued = query_book(book, "SELECT rule, issued_minor, credits FROM rule_issuance WHERE asset = 'MILES'").to_pylist()
    shown = {row[0]: (row[2], row[3]) for row in tables["MILES issued by rule, all months"][1:]}
    assert shown == {row["rule"]: (f"{row['issued_minor']:,}", f"{row['credits']:,}") for row in issued}
    names = ("month", "program", "rule", "asset", "budget_limit", "consumed", "use", "suppressed", "suppressed_amount")
    budgets = [row for row in cells(reports.rule_cost, *names) if row[names.index("budget_limit")]]
    assert tables["Budgets at the end of each month"][1:] == budgets
    head, *rows = tables["Use of budgets, newest month"]
    used = {row[0]: row[head.index("Use")] for row in rows}
    assert set(used) == {"double", "cashback"}
    assert used["cashback"] == "0.992750"


def test_tiers_have_a_bar_for_every_level_and_for_none(
    page: str, reports: PageReports, tables: Mapping[str, list[list[str]]]
) -> None:
    shown = tables[f"Levels: status in {FLIGHTS}"][1:]
    assert [row[0] for row in shown] == ["gold", "silver", "bronze", "no level"]
    assert [row[2] for row in shown] == ["1", "3", "1", "0"]
    assert sum(reports.tiers.table["participants"].to_pylist()) == len(MEMBERS)
    assert "gold 1, silver 3, bronze 1, no level 0." in page
    drawn = re.search(r"<svg [^>]*>(?:(?!</svg>).)*tiers-levels-1-(?:(?!</svg>).)*</svg>", page, flags=re.DOTALL)
    assert drawn is not None
    assert all(f">{level}</text>" in drawn[0] for level in ("gold", "silver", "bronze", "no level"))
    assert tables["Movements between levels"][1:] == cells(
        reports.tier_movements, "program", "tier", "from_level", "to_level", "direction", "movements", "participants"
    )


def test_failures_rejects_and_runs_are_those_of_the_reports(
    reports: PageReports, tables: Mapping[str, list[list[str]]]
) -> None:
    assert tables["Failed records by code"][1:] == cells(
        reports.failures, "code", "program", "record", "rule", "records"
    )
    assert tables["Rejected rows by reason"][1:] == [["UNPARSEABLE_ROW", "3", "1", "3"]]
    head = tables["Runs, newest last"][0]
    for name in ("rows_read", "completed", "failed", "rejected", "entries"):
        at = head.index(name.replace("_", " ").capitalize())
        assert [[row[at]] for row in tables["Runs, newest last"][1:]] == cells(reports.runs, name)


def test_a_failure_that_a_retry_mended_is_none_any_more(book: Path, tmp_path: Path) -> None:
    for name in (BOOK, CONFIG):
        shutil.copy(book.parent / name, tmp_path / name)
    assert [row["records"] for row in failures(tmp_path / BOOK).table.to_pylist()] == [1]
    failed = query_book(book, "SELECT CAST(id AS VARCHAR) AS id FROM event_status WHERE status = 'FAILED'")
    retry = {"type": "retry_event", "idempotency_key": "again", "event_id": failed["id"][0].as_py()}
    run_lines(tmp_path, "retry", [json.dumps(retry | {"program_id": FLIGHTS, "effective_at": "2025-09-25T00:00:00Z"})])
    assert query_book(tmp_path / BOOK, "FROM event_status WHERE attempts = 2")["status"].to_pylist() == ["COMPLETED"]
    assert failures(tmp_path / BOOK).table.num_rows == 0


def test_every_figure_has_its_table_and_every_row_as_many_cells_as_the_head(page: str) -> None:
    assert page.count("<figure>") == page.count("<svg ") > 10
    assert re.findall(r"<figure>(?:(?!<table>).)*?</figure>", page, flags=re.DOTALL) == []
    for caption, rows in ReadPage(page).tables.items():
        assert {len(row) for row in rows} == {len(rows[0])}, caption


def test_elements_close_in_order_and_ids_are_unique(page: str) -> None:
    read = ReadPage(page)
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert {link for link in read.links if link != "data:,"} <= {f"#{name}" for name in read.ids}
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(read.ids)


def test_nothing_on_it_comes_from_elsewhere(page: str) -> None:
    assert re.findall(r"https?:|//[a-z]|@import|<script|<iframe|<object", page) == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "default-src 'none'" in page


def test_what_a_book_says_is_text_wherever_it_stands(reports: PageReports, page: str) -> None:
    bad = replace(
        reports,
        facts=replace(reports.facts, organization=HOSTILE, programs=(HOSTILE,), assets=(HOSTILE,)),
        **{
            name: replace(report, table=hostile(report.table))
            for name in PageReports.__dataclass_fields__
            if name != "facts"
            for report in [getattr(reports, name)]
        },
    )
    read = ReadPage(render_page(page_of(bad)))
    assert read.open == []
    assert read.tags == ReadPage(page).tags
    assert HOSTILE in "".join(read.text)
    # A name beside a bar is cut, and otherwise as it is.
    assert '<script>alert("$1$")</s…' in "".join(read.text)
    assert CLUB in "".join(ReadPage(page).text)


def test_the_same_book_gives_the_same_bytes_wherever_it_lies(book: Path, page: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    shutil.copy(book, copy)
    assert report_page(copy) == page


def test_colours_are_the_page_s_own(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert drawings
    assert [re.findall(r"#[0-9a-f]{6}\b", drawing) for drawing in drawings] == [[] for _ in drawings]


def test_a_table_beyond_its_limit_says_how_many_rows_are_left_out(reports: PageReports) -> None:
    many = pa.concat_tables([reports.runs.table] * 60)
    text = render_page(page_of(replace(reports, runs=replace(reports.runs, table=many))))
    left_out = many.num_rows - 50
    assert f"{left_out} more rows are in the report itself." in text
    assert len(ReadPage(text).tables["Runs, newest last"]) == 51


def test_more_assets_than_get_charts_are_counted(reports: PageReports) -> None:
    table = reports.liability.table
    copies = [
        table.set_column(0, "asset", pa.array([f"{asset}{n}" for asset in table["asset"].to_pylist()], pa.string()))
        for n in range(5)
    ]
    many = replace(reports.liability, table=pa.concat_tables(copies))
    text = render_page(page_of(replace(reports, liability=many)))
    assert text.count("more assets are in the report itself.") == 1
    assert "2 more assets are in the report itself." in text
    assert len(re.findall(r'"drawing" role="img" aria-label="Bars of [A-Z0-9]+ that holders have', text)) == 8


def test_a_book_without_records_has_a_page_too(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    BookMaker(path).commit()
    read = ReadPage(report_page(path))
    assert "0 records failed" in "".join(read.text)
    assert read.open == []


def test_what_is_no_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="there is no book"):
        report_page(tmp_path / "none.duckdb")


def test_a_damaged_book_has_no_page(book: Path, tmp_path: Path) -> None:
    damaged, page = tmp_path / "damaged.duckdb", tmp_path / "page.html"
    shutil.copy(book, damaged)
    with duckdb.connect(damaged) as connection:
        connection.execute("UPDATE store.movements SET amount = amount + 1 WHERE entry_seq = 1")
    refused = run_command("report", "html", "--book", damaged, "-o", page)
    assert refused.exit_code == 3
    assert "earnbook verify" in refused.stderr
    assert not page.exists()


def test_without_the_extra_it_says_what_to_install(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "earnbook.pipeline.reports_page_html")
    with pytest.raises(MissingExtra, match=r"pip install 'earnbook\[html\]'"):
        report_page(book)


def test_the_command_of_the_readme_writes_the_page(
    book: Path, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    line = re.search(r"`pip install 'earnbook\[html\]' && earnbook (report html [^`]+)`", readme)
    assert line is not None
    shutil.copy(book, tmp_path / "coffee.duckdb")
    monkeypatch.chdir(tmp_path)
    assert run_command(*line[1].split()).exit_code == 0
    assert (tmp_path / "coffee.html").read_text(encoding="utf-8") == page
    assert run_command("report", "html", "--book", "coffee.duckdb").stdout == page
