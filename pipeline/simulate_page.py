"""A comparison as one HTML page: what a change would bring, to be passed on to those who decide about it.

In: a `Simulation` with a comparison. Out: the text of the page, drawn like the page of a book. What stands on it is the
comparison; nothing is computed here.
"""

from __future__ import annotations

from earnbook.pipeline.compare import Comparison
from earnbook.pipeline.config import RunReport
from earnbook.pipeline.reports import Report
from earnbook.pipeline.reports_page import draw_page
from earnbook.pipeline.reports_page_model import (
    BarChart,
    Page,
    PageCard,
    PageFigure,
    PageSection,
    PageTable,
    Row,
    Series,
    amount,
    cell,
    decimal,
    grouped,
    table_of,
)
from earnbook.pipeline.show import Section
from earnbook.pipeline.simulate import Simulation

_BARS_MAX = 20
"""Rules that a chart shows; the table beside it has all of them."""

_NOTES = {
    "assets": "Lines of the liability roll-forward over the records; closing is what holders have at the end.",
    "rules": "Rules by the asset that they credit: how often the condition was met, credits, and what was issued.",
    "holders": "Participants and groups whose balance differs, the largest difference first.",
    "records": "Events and operations with another outcome or another net effect on holders, in the order of time.",
}


def simulation_page(simulation: Simulation) -> str:
    """The page of a comparison; the same comparison gives the same text.

    Raises MissingExtra where the libraries of `earnbook[html]` are not installed.
    """
    comparison = simulation.comparison
    assert comparison is not None, "only a comparison has a page"
    left, right = (side.name for side in simulation.sides)
    facts = [("Left", left), ("Right", right)]
    facts += [("Records", _records(side.report)) for side in simulation.sides[-1:] if side.report is not None]
    facts += [("Warning", warning) for warning in simulation.warnings]
    return draw_page(
        Page(
            title="What would change",
            subtitle="Every difference is right minus left: left is what there is, right is what there would be.",
            facts=tuple(facts),
            sections=(_summary(comparison), *(_section(part) for part in comparison.parts if part.name in _NOTES)),
            kind="Simulation",
            source="a simulation over a copy of the book, which is unchanged",
        )
    )


def _records(report: RunReport) -> str:
    """What was decided, and by which clock."""
    return f"{cell(report.new_records)} and {cell(report.generated)} generated, by the clock {report.clock}"


def _summary(comparison: Comparison) -> PageSection:
    """One card for each asset: the difference that remains with holders, and how many it touches."""
    closing: dict[object, Row] = {
        row["asset"]: row for row in comparison.assets.table.to_pylist() if row["line"] == "closing"
    }
    cards = []
    for row in comparison.counts.table.to_pylist():
        found = closing.get(row["asset"])
        parts = tuple((name.capitalize(), cell(row[name])) for name in ("gainers", "losers", "unchanged"))
        value = "0" if found is None else amount(found, "delta")
        cards.append(PageCard(label=f"{row['asset']} with holders", value=value, parts=parts))
    note = "The sides do not differ." if comparison.is_empty else "The difference of all balances, and whom it touches."
    return PageSection(name="summary", title="Summary", note=note, cards=tuple(cards))


def _section(part: Section) -> PageSection:
    rows: list[Row] = part.table.to_pylist()
    if not rows:
        return PageSection(name=part.name, title=part.title, note="Nothing differs.")
    return PageSection(
        name=part.name,
        title=part.title,
        note=_NOTES[part.name],
        figures=_figures(part, rows) if part.name == "rules" else (),
        tables=(_table(part, rows),),
    )


def _table(part: Section, rows: list[Row]) -> PageTable:
    report = Report(title=part.title, table=part.table, amounts=part.amounts, provisional=False)
    columns = [name for name in part.table.column_names if name != "scale"]
    return table_of(report, rows, columns, caption=part.title)


def _figures(part: Section, rows: list[Row]) -> tuple[PageFigure, ...]:
    """What rules issue more or less, a chart for each asset."""
    figures = []
    issuing = [row for row in rows if row["asset"] is not None and row["delta_issued"]]
    for number, (asset, found) in enumerate(grouped(issuing, lambda row: str(row["asset"])).items(), start=1):
        shown = sorted(found, key=lambda row: -abs(decimal(row["delta_issued"])))[:_BARS_MAX]
        chart = BarChart(
            labels=tuple(str(row["rule"]) for row in shown),
            series=(Series(name="Issued", color=1, values=tuple(decimal(row["delta_issued"]) for row in shown)),),
        )
        figures.append(
            PageFigure(
                name=f"issued-{number}",
                title=f"{asset} issued, right minus left",
                description=f"Bars: by how much each rule would issue more or less {asset}; the figures follow.",
                chart=chart,
                table=_table(part, found),
            )
        )
    return tuple(figures)
