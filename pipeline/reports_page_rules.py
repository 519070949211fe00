"""The sections of a page about rules and tiers: what each rule cost, its budget, and where participants stand."""

from __future__ import annotations

from decimal import Decimal

from earnbook.pipeline.reports import Report
from earnbook.pipeline.reports_page_model import (
    BarChart,
    PageFigure,
    PageSection,
    PageTable,
    Row,
    Series,
    asset_of,
    cell,
    decimal,
    first_groups,
    left_out,
    rows_of,
    table_of,
)

_RULES_MAX = 12
_PERCENT = 100

_COST_COLUMNS = (
    "month",
    "program",
    "rule",
    "asset",
    "credits",
    "issued",
    "returned",
    "suppressed",
    "suppressed_amount",
)
_BUDGET_COLUMNS = (
    *("month", "program", "rule", "asset", "budget_limit", "consumed", "use", "suppressed", "suppressed_amount"),
)
_MOVEMENT_COLUMNS = ("program", "tier", "from_level", "to_level", "direction", "movements", "participants")


def rules_section(rule_cost: Report) -> PageSection:
    """What rules issued in all months, month by month, and how far they used their budgets."""
    rows = rows_of(rule_cost)
    by_asset = first_groups(rows, asset_of)
    figures = [_cost_figure(asset, found, n) for n, (asset, found) in enumerate(by_asset.items(), start=1)]
    budgets = [row for row in rows if row["budget_limit"] is not None]
    if any(row["use"] is not None for row in budgets):
        figures.append(_budget_figure(rule_cost, [row for row in budgets if row["use"] is not None]))
    tables = []
    if rows:
        tables.append(table_of(rule_cost, rows, _COST_COLUMNS, caption="Cost per rule and month", newest_last=True))
    if budgets:
        caption = "Budgets at the end of each month"
        tables.append(table_of(rule_cost, budgets, _BUDGET_COLUMNS, caption=caption, newest_last=True))
    return PageSection(
        name="rules",
        title="Rules and budgets",
        note="Issued is what a rule credited, returned what settlements below their hold gave back. A credit beyond "
        "the budget is suppressed as a whole. Use = consumed / limit." + left_out(rows, asset_of, "assets")
        if rows
        else "No rule has issued anything yet.",
        figures=tuple(figures),
        tables=tuple(tables),
    )


def tiers_section(distribution: Report, movements: Report) -> PageSection:
    """How many participants stand on each level of each tier type, and how they moved."""
    rows, moved = rows_of(distribution), rows_of(movements)
    types = first_groups(rows, _tier_type)
    figures = tuple(_levels_figure(distribution, kind, found, n) for n, (kind, found) in enumerate(types.items(), 1))
    return PageSection(
        name="tiers",
        title="Tiers",
        note="Enrolled, active participants by level, the highest first, and all movements between levels."
        + left_out(rows, _tier_type, "tier types")
        if rows
        else "The definitions have no tier types.",
        figures=figures,
        tables=(table_of(movements, moved, _MOVEMENT_COLUMNS, caption="Movements between levels"),) if moved else (),
    )


def _tier_type(row: Row) -> str:
    return f"{row['tier']} in {row['program']}"


def _cost_figure(asset: str, rows: list[Row], number: int) -> PageFigure:
    sums = sorted(_sums(rows).items(), key=lambda item: (-item[1][0], item[0]))
    (scale,) = {row["scale"] for row in rows}
    assert isinstance(scale, int), "a report with amounts has column scale"
    table = PageTable(
        caption=f"{asset} issued by rule, all months",
        columns=("Rule", "Program", "Issued", "Credits"),
        rows=tuple((rule, program, cell(issued, scale), cell(count)) for (rule, program), (issued, count) in sums),
        right=frozenset((2, 3)),
    )
    top = sums[:_RULES_MAX]
    return PageFigure(
        name=f"rules-cost-{number}",
        title=f"{asset} issued by rule",
        description=f"Bars of {asset} that each rule issued in all months, the most first: {top[0][0][0]} with "
        f"{cell(top[0][1][0], scale)}.",
        chart=BarChart(
            labels=tuple(rule for (rule, _), _ in top),
            series=(Series(name="Issued", color=1, values=tuple(issued for _, (issued, _) in top)),),
        ),
        table=table,
    )


def _sums(rows: list[Row]) -> dict[tuple[str, str], tuple[Decimal, int]]:
    """Issued and credits of all months by rule and program."""
    sums: dict[tuple[str, str], tuple[Decimal, int]] = {}
    for row in rows:
        key = (str(row["rule"]), str(row["program"]))
        issued, count = sums.get(key, (Decimal(0), 0))
        sums[key] = (issued + decimal(row["issued"]), count + int(decimal(row["credits"])))
    return sums


def _budget_figure(rule_cost: Report, rows: list[Row]) -> PageFigure:
    """The newest month of each budget that has one."""
    newest = {(row["program"], row["rule"], row["asset"]): row for row in rows}
    shown = sorted(newest.values(), key=lambda row: (-decimal(row["use"]), str(row["rule"])))[:_RULES_MAX]
    return PageFigure(
        name="rules-budgets",
        title="Budget use, percent",
        description="Bars of what each budget has consumed of its limit, at the end of the newest month in which its "
        "rule did something; a mark stands at 100 percent.",
        chart=BarChart(
            labels=tuple(f"{row['month']} {row['rule']}" for row in shown),
            series=(Series(name="Use", color=5, values=tuple(_PERCENT * decimal(row["use"]) for row in shown)),),
            limits=(Decimal(_PERCENT),) * len(shown),
        ),
        table=table_of(
            rule_cost,
            shown,
            ("rule", "program", "asset", "month", "consumed", "budget_limit", "use"),
            caption="Use of budgets, newest month",
        ),
    )


def _levels_figure(distribution: Report, kind: str, rows: list[Row], number: int) -> PageFigure:
    ordered = sorted(rows, key=lambda row: -int(decimal(row["rank"])))
    named = [row | {"level": row["level"] or "no level"} for row in ordered]
    return PageFigure(
        name=f"tiers-levels-{number}",
        title=f"Participants by level: {kind}",
        description="Bars of participants on each level: "
        + ", ".join(f"{row['level']} {cell(row['participants'])}" for row in named)
        + ".",
        chart=BarChart(
            labels=tuple(str(row["level"]) for row in named),
            series=(Series(name="Participants", color=4, values=tuple(decimal(row["participants"]) for row in named)),),
        ),
        table=table_of(distribution, named, ("level", "rank", "participants", "share"), caption=f"Levels: {kind}"),
    )
