"""`earnbook outbox`: the notifications of a book."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import Format, Output, book_option, output_options
from earnbook.jobs.output import write_lines, write_rows
from earnbook.pipeline.config import RunReport
from earnbook.pipeline.outbox import NotificationType
from earnbook.pipeline.outbox_read import OutboxRequest, outbox_rows

TYPES = {kind.text: kind for kind in NotificationType}


@click.command("outbox")
@book_option
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only those after number N.")
@click.option("--batch", "batches", type=click.IntRange(min=1), multiple=True, metavar="N", help="Those of this batch.")
@click.option(
    "--type",
    "types",
    type=click.Choice(sorted(TYPES)),
    multiple=True,
    metavar="TYPE",
    help="Those of this type; may be repeated.",
)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most so many.")
@output_options
def command(
    book: Path, after: int, batches: tuple[int, ...], types: tuple[str, ...], limit: int | None, output: Output
) -> None:
    """Print the notifications of a book, in order.

    One JSON line each: the body that an endpoint gets. With --format table, csv, json or parquet they are rows, with
    number, id, type, cause, time and batch beside the body. `run` writes notifications that an ACTIVE webhook of the
    definitions enables; see its --outbox.

    \b
    Examples:
      earnbook outbox --book shop.duckdb -o notifications.ndjson
      earnbook outbox --book shop.duckdb --after 1200 --type balance.credited --limit 10
      earnbook outbox --book shop.duckdb --batch 3 --format csv
    """
    kinds = tuple(TYPES[name] for name in types)
    request = OutboxRequest(book=book, after=after, batches=batches, types=kinds, limit=limit)
    with outbox_rows(request) as reader:
        if output.format_given and output.format is not Format.NDJSON:
            write_rows(output, reader.read_all())
        else:
            write_lines(output, (body.as_py() for rows in reader for body in rows.column("body")))


def write_outbox_file(path: Path, report: RunReport) -> None:
    """The bodies of the notifications that a run has committed; the file stands complete, or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as sink:
            if report.batches:
                with outbox_rows(OutboxRequest(book=report.book, batches=report.batches)) as reader:
                    sink.writelines(f"{body.as_py()}\n" for rows in reader for body in rows.column("body"))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
