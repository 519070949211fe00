"""What a page of reports consists of, as plain values: sections of figures and tables, with every cell as text.

Charts are data here; `reports_page_charts` draws them. Nothing below knows HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from earnbook.pipeline.reports import Report

Row = dict[str, object]

ROWS_MAX = 50
"""Rows of a table on a page; the report itself has all of them, and the page says so."""

GROUPS_MAX = 8
"""Assets, or tier types, that get charts of their own; the report has all of them, and the page says so."""

_ROWS_OPEN = 15
_CHARACTERS_LONG = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One colour of a chart: `color` is the number of the page's colour, 1 to 6."""

    name: str
    color: int
    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChart:
    """Columns over periods, stacked: values above zero upwards, below zero downwards."""

    labels: tuple[str, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Bars beside names, first on top, stacked like columns; `limits` are marks that a bar may reach."""

    labels: tuple[str, ...]
    series: tuple[Series, ...]
    limits: tuple[Decimal | None, ...] = ()


Chart = ColumnChart | BarChart


def legend(chart: Chart) -> tuple[tuple[str, int], ...]:
    """Names and colours of a chart's series; none where one colour needs no name."""
    return tuple((series.name, series.color) for series in chart.series) if len(chart.series) > 1 else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable:
    """A table of text cells; columns in `right` hold figures."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]
    left_out: int = 0
    """Rows of the report that are not shown."""

    @property
    def is_long(self) -> bool:
        """Whether it is folded away where it stands by itself."""
        return len(self.rows) > _ROWS_OPEN

    @property
    def classes(self) -> tuple[str, ...]:
        """How each column is set: figures, long words that paper may break, or short ones that stay in a line."""
        longest = [max((len(row[i]) for row in self.rows), default=0) for i in range(len(self.columns))]
        return tuple(
            "number" if i in self.right else "long" if length > _CHARACTERS_LONG else "short"
            for i, length in enumerate(longest)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFigure:
    """A chart, what it shows in a sentence, and the figures it is drawn from."""

    name: str
    title: str
    description: str
    chart: Chart
    table: PageTable


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCard:
    """A headline figure with what it is made of."""

    label: str
    value: str
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A part of the page; `note` says how to read it, or that there is nothing."""

    name: str
    title: str
    note: str
    cards: tuple[PageCard, ...] = ()
    figures: tuple[PageFigure, ...] = ()
    tables: tuple[PageTable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole picture of a book."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[PageSection, ...]
    kind: str = "Rewards book"
    source: str = "the reports of this book"
    """What the figures are taken from, in words."""


def rows_of(report: Report) -> list[Row]:
    """The rows of a report as plain values."""
    rows: list[Row] = report.table.to_pylist()
    return rows


def table_of(
    report: Report, rows: Sequence[Row], columns: Sequence[str], *, caption: str, newest_last: bool = False
) -> PageTable:
    """A table of some rows and columns of a report, cut to `ROWS_MAX` rows: the first ones, or the newest."""
    shown = rows[-ROWS_MAX:] if newest_last else rows[:ROWS_MAX]
    amounts = set(report.amounts)
    kept = [name for name in columns if any(row[name] is not None for row in shown)]
    cells = tuple(tuple(cell(row[name], _decimals(row, name, amounts)) for name in kept) for row in shown)
    return PageTable(
        caption=caption,
        columns=tuple(title_of(name) for name in kept),
        rows=cells,
        right=frozenset(i for i, name in enumerate(kept) if any(_is_number(row[name]) for row in shown)),
        left_out=len(rows) - len(shown),
    )


def cell(value: object, decimals: int | None = None) -> str:
    """A value as text: numbers with their thousands apart, amounts with the decimals of their asset, times in UTC."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case Decimal():
            return f"{value:,.{decimals}f}" if decimals is not None else f"{value:,f}"
        case datetime():
            utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return utc.strftime("%Y-%m-%d %H:%M:%S.%f").removesuffix(".000000").removesuffix(":00")
        case _:
            return str(value)


def amount(row: Row, name: str) -> str:
    """An amount of a row with the decimals of its asset."""
    scale = row["scale"]
    assert isinstance(scale, int), "a report with amounts has column scale"
    return cell(row[name], scale)


def decimal(value: object) -> Decimal:
    """A figure as a decimal; none counts as zero."""
    return value if isinstance(value, Decimal) else Decimal(str(value or 0))


def grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows by a key, in order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def first_groups(rows: Sequence[Row], key: Callable[[Row], str], *, at_most: int = GROUPS_MAX) -> dict[str, list[Row]]:
    """The first few groups of rows."""
    return dict(list(grouped(rows, key).items())[:at_most])


def asset_of(row: Row) -> str:
    """The asset that a row is about."""
    return str(row["asset"])


def left_out(rows: Sequence[Row], key: Callable[[Row], str], things: str) -> str:
    """What a note adds where there are more groups than get charts."""
    more = len(grouped(rows, key)) - GROUPS_MAX
    return f" {more} more {things} are in the report itself." if more > 0 else ""


def counts_by(rows: Sequence[Row], name: str, count: str) -> list[tuple[str, int]]:
    """Sums of a count by a column, largest first."""
    sums: dict[str, int] = {}
    for row in rows:
        number = row[count]
        assert isinstance(number, int), "a count is an integer"
        sums[str(row[name])] = sums.get(str(row[name]), 0) + number
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


def title_of(name: str) -> str:
    """A column's name as words."""
    return name.replace("_", " ").capitalize()


def _decimals(row: Row, name: str, amounts: set[str]) -> int | None:
    scale = row.get("scale")
    return scale if name in amounts and isinstance(scale, int) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)
