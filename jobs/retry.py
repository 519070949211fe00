"""`earnbook retry`: process FAILED events again."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import (
    Output,
    book_option,
    clock_option,
    config_option,
    lock_wait_option,
    max_generated_option,
    outbox_options,
    output_options,
    publication_options,
)
from earnbook.jobs.output import progress_listener, say, say_published, write_text
from earnbook.jobs.summary import write_summary
from earnbook.pipeline.config import ClockMode, OutboxMode, Publication
from earnbook.pipeline.retry import RetryRequest, find_failed, operation_lines, retry


@click.command("retry")
@book_option
@config_option(required=False)
@click.option("--program", "programs", multiple=True, metavar="KEY", help="Events of this program; may be repeated.")
@click.option("--code", "codes", multiple=True, metavar="CODE", help="Events that failed with this code.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="The event with this idempotency key.")
@click.option("--all", "everything", is_flag=True, help="Every FAILED event.")
@clock_option
@max_generated_option
@click.option("--prune", is_flag=True, help="Archive rules, rewards and automations that the definitions leave out.")
@click.option("--dry-run", is_flag=True, help="Print the operations and run nothing.")
@publication_options
@outbox_options
@lock_wait_option
@output_options
def command(
    book: Path,
    config: Path | None,
    programs: tuple[str, ...],
    codes: tuple[str, ...],
    keys: tuple[str, ...],
    everything: bool,
    clock: tuple[ClockMode, int | None],
    max_generated: int | None,
    prune: bool,
    dry_run: bool,
    publication: Publication,
    outbox: str,
    webhook_extensions: bool,
    lock_wait_seconds: float,
    output: Output,
) -> None:
    """Process FAILED events again, with the rules and the state of now.

    Each event that is chosen gets a further attempt by an operation `retry_event`: its own time stays `now` for its
    rules, the operation's time is its processing time. What failed and is retried in vain stays FAILED.

    \b
    Examples:
      earnbook retry --book shop.duckdb --config config/ --code AMOUNT_EXCEEDS_SCALE
      earnbook retry --book shop.duckdb --key order-1042 --clock event
      earnbook retry --book shop.duckdb --all --dry-run
    """
    if not (everything or programs or codes or keys):
        raise click.UsageError("Say which events: --program, --code, --key, or --all.")
    if everything and (programs or codes or keys):
        raise click.UsageError("--all is every FAILED event: leave out the other choices, or --all.")
    if dry_run and publication != Publication():
        raise click.UsageError("A dry run publishes nothing: leave out --publish and --read-copy, or --dry-run.")
    clock_mode, clock_fixed_us = clock
    with progress_listener(output) as progress:
        request = RetryRequest(
            book=book,
            programs=programs,
            codes=codes,
            keys=keys,
            config=config,
            clock=clock_mode,
            clock_fixed_us=clock_fixed_us,
            max_generated=max_generated,
            prune=prune,
            publication=publication,
            outbox=OutboxMode(outbox),
            webhook_extensions=webhook_extensions,
            lock_wait_seconds=lock_wait_seconds,
            progress=progress,
            warn=lambda warning: say(output, f"Warning: {warning}"),
        )
        if dry_run:
            write_text(output, "".join(f"{line}\n" for line in operation_lines(request, find_failed(request))))
            return
        report = retry(request)
    if report is None:
        say(output, "No FAILED event is of that kind: nothing to retry.")
    else:
        write_summary(output, report)
        say_published(output, publication)
