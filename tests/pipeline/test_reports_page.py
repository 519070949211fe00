"""The page of reports says what the reports say, escapes what it is given, and needs nothing but itself."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from earnbook.pipeline.errors import BookError, MissingExtra
from earnbook.pipeline.reports import ReportRequest
from earnbook.pipeline.reports_ledger import ledger_summary
from earnbook.pipeline.reports_page import PageReports, page_of, read_page_reports, report_page
from earnbook.pipeline.reports_page_html import render_page
from earnbook.pipeline.reports_page_model import cell
from tests.support.book_maker import BookMaker, make_small_book
from tests.support.command_line import run_command

HOSTILE = '<script>alert("$1$")</script> & \'x\' id="a" url(#b)'

VOID = {"meta", "link", "path", "rect", "br"}


class ReadPage(HTMLParser):
    """Reads a page: its text, its tables by caption, its ids, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._caption = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [str(value) for name, value in attrs if name == "id"]
        self.links += [str(value) for name, value in attrs if name in ("href", "src", "action", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        elif tag in ("th", "td"):
            self.tables[self._caption][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] == "caption":
            self._caption += data
        elif self.open and self.open[-1] in ("th", "td"):
            self.tables[self._caption][-1][-1] += data


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "small.duckdb"
    make_small_book(path)
    return path


@pytest.fixture(scope="module")
def reports(book: Path) -> PageReports:
    return read_page_reports(book)


@pytest.fixture(scope="module")
def page(reports: PageReports) -> str:
    return render_page(page_of(reports))


def hostile(table: pa.Table) -> pa.Table:
    """The table with every text made to break out of where it stands."""
    for number, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = [HOSTILE if text is not None else None for text in table.column(number).to_pylist()]
            table = table.set_column(number, field.name, pa.array(texts, pa.string()))
    return table


def test_every_figure_of_the_ledger_summary_is_there(book: Path, page: str) -> None:
    shown = ReadPage(page).tables["Ledger summary, all time"]
    rows = ledger_summary(ReportRequest(book=book)).table.to_pylist()
    assert rows
    expected = [[cell(value, row["scale"]) for name, value in row.items() if name != "scale"] for row in rows]
    assert shown[1:] == expected
    assert "7.50" in [value for row in shown for value in row]


def test_failures_and_runs_are_those_of_the_reports(reports: PageReports, page: str) -> None:
    tables = ReadPage(page).tables
    failed = reports.failures.table.to_pylist()
    assert failed
    assert [row[0] for row in tables["Failed records by code"][1:]] == [row["code"] for row in failed]
    assert [row[-1] for row in tables["Failed records by code"][1:]] == [str(row["records"]) for row in failed]
    runs = reports.runs.table.to_pylist()
    at = tables["Runs, newest last"][0].index("Completed")
    assert [row[at] for row in tables["Runs, newest last"][1:]] == [str(row["completed"]) for row in runs]


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head(page: str) -> None:
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


def test_a_book_without_records_has_a_page_too(tmp_path: Path) -> None:
    path = tmp_path / "empty.duckdb"
    BookMaker(path).commit()
    read = ReadPage(report_page(path))
    assert "0 records failed" in "".join(read.text)
    assert read.open == []


def test_what_is_no_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="there is no book"):
        report_page(tmp_path / "none.duckdb")


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
