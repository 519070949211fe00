"""Draws the summary of a run: words and tables on stderr, the same figures for machines on stdout."""

from __future__ import annotations

import sys
from typing import IO

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from earnbook.jobs.options import Output
from earnbook.jobs.output import WIDTH, draw, write_document
from earnbook.pipeline.config import RunReport
from earnbook.pipeline.summary import Summary, SummaryTable, report_document, summarise


def write_summary(output: Output, report: RunReport) -> None:
    """The summary on stderr (unless `-q`), and the document on stdout where a format was asked for."""
    if not output.quiet:
        draw_summary(summarise(report), sys.stderr)
    if output.format_given:
        write_document(output, report_document(report))


def draw_summary(summary: Summary, sink: IO[str]) -> None:
    """Draws a summary as wide as the terminal, else `WIDTH` columns."""
    parts: list[RenderableType] = [Text(summary.headline, style="bold green" if summary.ties else "bold red"), ""]
    parts.append(_lines(summary.lines))
    for table in summary.tables:
        parts += [Text(f"\n{table.title}", style="bold"), Padding(_table(table), (0, 0, 0, 2), expand=False)]
    parts += [Text(f"\nWarning: {warning}", style="yellow") for warning in summary.warnings]
    draw(sink, *parts, width=WIDTH)
    if summary.next_commands:
        # Commands are never folded, so that they can be copied.
        sink.write("\n".join(["", "Next", *(f"  {command}" for command in summary.next_commands)]) + "\n")


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
