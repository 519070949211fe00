"""Draws the summary of a run: words and tables on stderr, the same figures for machines on stdout."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from earnbook.jobs.options import Output
from earnbook.jobs.output import stderr_console, write_document
from earnbook.pipeline.config import RunReport
from earnbook.pipeline.summary import Summary, SummaryTable, report_document, summarise


def write_summary(output: Output, report: RunReport) -> None:
    """The summary on stderr (unless `-q`), and the document on stdout where a format was asked for."""
    if not output.quiet:
        draw_summary(summarise(report), stderr_console())
    if output.format_given:
        write_document(output, report_document(report))


def draw_summary(summary: Summary, console: Console) -> None:
    """Draws a summary at the console's width."""
    console.print(Text(summary.headline, style="bold green" if summary.ties else "bold red"))
    console.print()
    console.print(_lines(summary.lines))
    for table in summary.tables:
        console.print(Group(Text(f"\n{table.title}", style="bold"), Padding(_table(table), (0, 0, 0, 2))))
    for warning in summary.warnings:
        console.print(Text(f"\nWarning: {warning}", style="yellow"))
    if summary.next_commands:
        console.print(Text("\nNext", style="bold"))
        for command in summary.next_commands:
            console.print(Text(f"  {command}"), soft_wrap=True)


def _lines(lines: tuple[tuple[str, str], ...]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for label, text in lines:
        grid.add_row(label, Text(text))
    return grid


def _table(table: SummaryTable) -> Table:
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for index, name in enumerate(table.columns):
        drawn.add_column(name, justify="right" if index in table.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*[Text(cell) for cell in row], style="dim" if "sum" in row[:2] else "")
    return drawn
