"""`earnbook sql`: a read-only query over the views of a book."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from earnbook.jobs.options import Output, book_option, output_options
from earnbook.jobs.output import write_rows
from earnbook.pipeline.reports_query import QueryError, query_book


@click.command("sql")
@click.argument("query")
@book_option
@output_options
def command(query: str, book: Path, output: Output) -> None:
    """Query the views of a book, read-only.

    QUERY is one SELECT; - reads it from standard input. The views are described in docs/book.md.

    \b
    Examples:
      earnbook sql --book shop.duckdb "SELECT * FROM participant_balances ORDER BY available DESC LIMIT 10"
      earnbook sql --book shop.duckdb --format csv -o rejects.csv "SELECT * FROM rejects"
    """
    text = sys.stdin.read() if query == "-" else query
    try:
        table = query_book(book, text)
    except QueryError as error:
        raise click.UsageError(str(error)) from error
    write_rows(output, table)
