"""`earnbook run`: the main job."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import (
    Output,
    allow_late_option,
    assume_utc_option,
    clock_option,
    config_option,
    default_program_option,
    horizon_option,
    lock_wait_option,
    max_generated_option,
    max_rejects_option,
    new_book_option,
    on_conflict_option,
    order_option,
    outbox_options,
    output_options,
    publication_options,
    source_option,
)
from earnbook.jobs.outbox import write_outbox_file
from earnbook.jobs.output import progress_listener, say, say_published
from earnbook.jobs.results import ResultsPath, results_file
from earnbook.jobs.summary import write_summary
from earnbook.pipeline.config import (
    BATCH_RECORDS_DEFAULT,
    ClockMode,
    Order,
    OutboxMode,
    Publication,
    RunReport,
    RunRequest,
)
from earnbook.pipeline.drive import run

EXIT_CONDITION_MET = 4


class _FailOn(click.ParamType[frozenset[str]]):
    """A comma-separated subset of `reject` and `failed`."""

    name = "reject,failed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        if isinstance(value, frozenset):
            return value
        words = frozenset(word.strip() for word in str(value).split(","))
        if not words <= {"reject", "failed"}:
            self.fail(f"{value!r}: use reject, failed, or both with a comma between.", param, ctx)
        return words


@click.command("run")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@new_book_option
@config_option(required=False)
@source_option
@click.option(
    "--input-format",
    type=click.Choice(["ndjson", "csv", "parquet", "arrow"]),
    help="Format of the inputs; else by file ending, and NDJSON for standard input.",
)
@default_program_option
@clock_option
@order_option
@horizon_option
@allow_late_option
@assume_utc_option
@on_conflict_option
@click.option(
    "--control",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Refuse the run unless its operations tie to these totals: CSV of type,asset,records,amount.",
)
@max_rejects_option
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Decide participants by N threads where none can touch another; the book is the same.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=BATCH_RECORDS_DEFAULT,
    show_default=True,
    metavar="N",
    help="Records of one commit.",
)
@max_generated_option
@click.option(
    "--evaluations",
    type=click.Choice(["full", "matched"]),
    default="full",
    show_default=True,
    help="Keep what every rule did, or only of those that matched.",
)
@click.option("--results", type=ResultsPath(), help="Write what became of each record: .ndjson, .csv or .parquet.")
@click.option("--prune", is_flag=True, help="Archive rules, rewards and automations that the definitions leave out.")
@click.option("--dry-run", is_flag=True, help="Decide and summarise everything, commit nothing.")
@click.option(
    "--fail-on", type=_FailOn(), metavar="reject,failed", default=frozenset(), help="Exit with 4 if there are any."
)
@publication_options
@outbox_options
@click.option(
    "--outbox-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the bodies of this run's notifications, one JSON line each.",
)
@lock_wait_option
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    book: Path,
    config: Path | None,
    source: str | None,
    input_format: str | None,
    program: str | None,
    clock: tuple[ClockMode, int | None],
    order: str,
    horizon: tuple[bool, int] | None,
    allow_late: bool,
    assume_utc: bool,
    on_conflict: str,
    control: Path | None,
    max_rejects: int | None,
    partitions: int,
    batch_size: int,
    max_generated: int | None,
    evaluations: str,
    results: Path | None,
    prune: bool,
    dry_run: bool,
    fail_on: frozenset[str],
    publication: Publication,
    outbox: str,
    webhook_extensions: bool,
    outbox_file: Path | None,
    lock_wait_seconds: float,
    output: Output,
) -> None:
    """Decide event and operation files and commit them to a book.

    INPUT is a file, a directory, a glob or - for standard input; NDJSON, CSV, Parquet and Arrow, also .gz and .zst.
    Running the same command again is always safe: what is in the book already is counted as duplicate.

    \b
    Examples:
      earnbook run --config config/ --book shop.duckdb --clock event events/2026-01-*.ndjson
      earnbook run --book shop.duckdb --source pos_export --clock event export.csv
      earnbook run --book shop.duckdb --clock event events.csv --publish warehouse/ --read-copy shop-read.duckdb
      zcat events.gz | earnbook run --book shop.duckdb --program loyalty -
    """
    clock_mode, clock_fixed_us = clock
    no_horizon, horizon_us = horizon if horizon is not None else (False, None)
    with progress_listener(output) as progress, results_file(results) as results_listener:
        report = run(
            RunRequest(
                book=book,
                inputs=inputs,
                config=config,
                source=source,
                format=input_format,
                program=program,
                clock=clock_mode,
                clock_fixed_us=clock_fixed_us,
                order=Order(order),
                allow_late=allow_late,
                prune=prune,
                outbox=OutboxMode(outbox),
                webhook_extensions=webhook_extensions,
                lock_wait_seconds=lock_wait_seconds,
                horizon_us=None if no_horizon else horizon_us,
                no_horizon=no_horizon,
                assume_utc=assume_utc,
                ignore_conflicts=on_conflict == "ignore",
                control=control,
                max_rejects=max_rejects,
                batch_records=batch_size,
                partitions=partitions,
                max_generated=max_generated,
                evaluations_full=evaluations == "full",
                dry_run=dry_run,
                publication=publication,
                results=results_listener,
                progress=progress,
                warn=lambda warning: say(output, f"Warning: {warning}"),
            )
        )
    if outbox_file is not None:
        write_outbox_file(outbox_file, report)
    write_summary(output, report)
    say_published(output, publication)
    if _condition_met(report, fail_on):
        ctx.exit(EXIT_CONDITION_MET)


def _condition_met(report: RunReport, fail_on: frozenset[str]) -> bool:
    rejected = "reject" in fail_on and sum(report.rejected.values()) > 0
    failed = "failed" in fail_on and sum(report.failed.values()) > 0
    return rejected or failed
