"""`earnbook export`: a book as Parquet by batch, and as text for other ledgers."""

from __future__ import annotations

from pathlib import Path

import click
import pyarrow as pa

from earnbook.jobs.options import Output, book_option, lock_wait_option, output_options
from earnbook.jobs.output import progress_listener, say, write_rows
from earnbook.pipeline.export import ExportReport, ExportRequest, export_book
from earnbook.pipeline.export_tables import DATASETS
from earnbook.pipeline.export_text import TextFormat, refuse_same_file, write_journal

_TEXT_PATH = click.Path(dir_okay=False, path_type=Path)


@click.command("export")
@book_option
@click.option(
    "--to",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Parquet datasets by batch, and a manifest.",
)
@click.option("--ledger-cli", type=_TEXT_PATH, metavar="FILE", help="The whole journal for ledger (ledger-cli).")
@click.option("--beancount", type=_TEXT_PATH, metavar="FILE", help="The whole journal for Beancount.")
@click.option(
    "--sizes-only", is_flag=True, help="Check files that are there already by their size, without reading them."
)
@lock_wait_option
@output_options
def command(
    book: Path,
    directory: Path | None,
    ledger_cli: Path | None,
    beancount: Path | None,
    sizes_only: bool,
    lock_wait_seconds: float,
    output: Output,
) -> None:
    """Write a book as Parquet by batch, or as text for other ledgers.

    DIR gets entries, postings, lots, events and all other rows as DATASET/batch=N/DATASET.parquet, full balances and
    open lots as of the last batch, and manifest.json with the hash of every file. Batches that are there already are
    checked and left alone, so the same command again writes nothing; a file that was changed is refused and named.

    \b
    Examples:
      earnbook export --book shop.duckdb --to warehouse/shop
      earnbook export --book shop.duckdb --ledger-cli shop.ledger --beancount shop.beancount
    """
    if directory is None and ledger_cli is None and beancount is None:
        raise click.UsageError("Say where to: --to DIR, --ledger-cli FILE or --beancount FILE.")
    refuse_same_file((ledger_cli, beancount, book))
    if directory is not None:
        with progress_listener(output) as progress:
            report = export_book(
                ExportRequest(
                    book=book,
                    directory=directory,
                    check_bytes=not sizes_only,
                    lock_wait_seconds=lock_wait_seconds,
                    progress=progress,
                )
            )
        write_rows(output, _written(report))
        say(output, _summary(report))
    for path, text_format in ((ledger_cli, TextFormat.LEDGER), (beancount, TextFormat.BEANCOUNT)):
        if path is not None:
            entries = write_journal(book, path, text_format)
            say(output, f"{path}: {entries:,} entries as {text_format}.")


def _written(report: ExportReport) -> pa.Table:
    """What was written, by dataset."""
    rows = []
    for dataset in DATASETS:
        files = [file for file in report.files if file.dataset == dataset.name]
        if files:
            rows.append((dataset.name, len(files), sum(f.rows for f in files), sum(f.bytes for f in files)))
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    types = (pa.string(), pa.int64(), pa.int64(), pa.int64())
    names = ("dataset", "files", "rows", "bytes")
    return pa.table({n: pa.array(list(c), t) for n, c, t in zip(names, columns, types, strict=True)})


def _summary(report: ExportReport) -> str:
    if not report.batches:
        return f"{report.directory} has all {report.batches_before:,} batches already: nothing was written."
    first, last = report.batches[0], report.batches[-1]
    new = f"batch {first}" if first == last else f"batches {first} to {last}"
    return f"{report.directory}: {new} written, {report.batches_before:,} were there."
