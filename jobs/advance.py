"""`earnbook advance`: due work without records."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import (
    TIME,
    Output,
    book_option,
    lock_wait_option,
    max_generated_option,
    outbox_options,
    output_options,
    publication_options,
)
from earnbook.jobs.output import progress_listener, say_published
from earnbook.jobs.summary import write_summary
from earnbook.pipeline.config import AdvanceRequest, OutboxMode, Publication
from earnbook.pipeline.drive import advance


@click.command("advance")
@book_option
@click.option("--to", "to_us", type=TIME, required=True, help="Book clock to reach; due work at it is done.")
@click.option("--no-horizon", is_flag=True, help="Allow a time later than a day from now.")
@max_generated_option
@publication_options
@outbox_options
@lock_wait_option
@output_options
def command(
    book: Path,
    to_us: int,
    no_horizon: bool,
    max_generated: int | None,
    publication: Publication,
    outbox: str,
    webhook_extensions: bool,
    lock_wait_seconds: float,
    output: Output,
) -> None:
    """Do only what falls due up to a time.

    Commits one batch without records: lots mature and expire, scheduled events are processed, up to and including the
    given time, which becomes the book clock.

    \b
    Examples:
      earnbook advance --book shop.duckdb --to 2026-02-01T00:00:00Z
      earnbook advance --book shop.duckdb --to 2027-01-01 --no-horizon
      earnbook advance --book shop.duckdb --to 2026-02-01 --read-copy shop-read.duckdb
    """
    with progress_listener(output) as progress:
        report = advance(
            AdvanceRequest(
                book=book,
                to_us=to_us,
                no_horizon=no_horizon,
                max_generated=max_generated,
                publication=publication,
                outbox=OutboxMode(outbox),
                webhook_extensions=webhook_extensions,
                lock_wait_seconds=lock_wait_seconds,
                progress=progress,
            )
        )
    write_summary(output, report)
    say_published(output, publication)
