"""`earnbook report html`: the whole picture of a book on one page."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import book_option
from earnbook.pipeline.reports_page import report_page


@click.command("html")
@book_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write to a file; without it, to stdout.",
)
def command(book: Path, output: Path | None) -> None:
    """The whole picture of a book as one HTML page.

    The page needs no network and no other file. It is made of the other reports, and the same book gives the same
    page. Its libraries come with `pip install 'earnbook[html]'`.

    \b
    Examples:
      earnbook report html --book shop.duckdb -o shop.html
    """
    page = report_page(book)
    if output is None:
        click.echo(page, nl=False)
    else:
        output.write_text(page, encoding="utf-8", newline="\n")
