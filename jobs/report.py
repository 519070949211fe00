"""`earnbook report NAME`: figures over a whole book."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import TIME, TIME_TO, Output, book_option, output_options
from earnbook.jobs.output import say, write_rows
from earnbook.jobs.report_html import command as html_command
from earnbook.pipeline.reports import LedgerSummaryRequest, ledger_summary


@click.group("report")
def command() -> None:
    """Figures over a whole book.

    \b
    Examples:
      earnbook report ledger-summary --book shop.duckdb
      earnbook report ledger-summary --book shop.duckdb --from 2026-01-01 --to 2026-01-31
      earnbook report html --book shop.duckdb -o shop.html
    """


command.add_command(html_command)


@command.command("ledger-summary")
@book_option
@click.option("--as-of", "as_of_us", type=TIME_TO, help="All time up to this time, inclusive.")
@click.option("--from", "from_us", type=TIME, help="First time of a period, inclusive.")
@click.option("--to", "to_us", type=TIME_TO, help="Last time of a period, inclusive.")
@click.option("--program", metavar="KEY", help="Only entries of this program.")
@click.option("--asset", metavar="SYMBOL", help="Only this asset.")
@output_options
def ledger_summary_command(
    book: Path,
    as_of_us: int | None,
    from_us: int | None,
    to_us: int | None,
    program: str | None,
    asset: str | None,
    output: Output,
) -> None:
    """Issued, redeemed, expired and outstanding, per asset.

    Without --from and --to, of all time: current = issued - redeemed - expired - forfeited + other. With them, of the
    period: closing = opening + issued - redeemed - expired - forfeited + other. Times are processing times.

    \b
    Examples:
      earnbook report ledger-summary --book shop.duckdb
      earnbook report ledger-summary --book shop.duckdb --as-of 2026-03-31 --format csv
      earnbook report ledger-summary --book shop.duckdb --from 2026-01-01 --to 2026-01-31 --asset PTS
    """
    request = LedgerSummaryRequest(
        book=book, as_of_us=as_of_us, from_us=from_us, to_us=to_us, program=program, asset=asset
    )
    report = ledger_summary(request)
    write_rows(output, report.table, amounts=report.amounts)
    if report.provisional:
        say(output, "Provisional: the book clock has not passed the end of this report.")
