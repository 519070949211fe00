"""`earnbook verify`: is the book whole?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from earnbook.jobs.options import Output, book_option, lock_wait_option, output_options
from earnbook.jobs.output import progress_listener, say, write_document
from earnbook.pipeline.config import Progress
from earnbook.pipeline.verify import VerifyReport, verify_book
from earnbook.pipeline.verify_finding import Finding

EXIT_FINDING = 3


@click.command("verify")
@book_option
@click.option(
    "--window", type=click.IntRange(min=1), metavar="N", help="Recompute the seals of the last N batches only."
)
@lock_wait_option
@output_options
@click.pass_context
def command(ctx: click.Context, book: Path, window: int | None, lock_wait_seconds: float, output: Output) -> None:
    """Re-read a book: seals, balances, every property.

    Recomputes every digest and seal from the stored rows, refolds balances and state from the journal and compares.
    Exits with 3 on any finding and names the first bad batch. Nothing is written.

    \b
    Examples:
      earnbook verify --book shop.duckdb
      earnbook verify --book shop.duckdb --window 30 --format json
    """
    with progress_listener(output) as progress:
        report = verify_book(
            book,
            window=window,
            lock_wait_seconds=lock_wait_seconds,
            at_check=lambda name, done, total: progress(Progress(stage=name, done=done, total=total, unit="checks")),
        )
    if output.format_given:
        document = asdict(report)
        document |= {"first_bad_batch": report.first_bad_batch, "bad_tables": report.bad_tables}
        write_document(output, document)
    for finding in report.findings:
        click.echo(_finding_text(finding), err=True)
    if report.findings:
        click.echo(_verdict(book, report), err=True)
        ctx.exit(EXIT_FINDING)
    say(output, _verdict(book, report))


def _verdict(book: Path, report: VerifyReport) -> str:
    """One line for people: whole or not, and where it breaks first."""
    if report.findings:
        where = "" if report.first_bad_batch is None else f"; first bad batch {report.first_bad_batch}"
        tables = f" ({', '.join(report.bad_tables)})" if report.bad_tables else ""
        return f"{book} is NOT whole: {len(report.findings)} of {len(report.checks)} checks failed{where}{tables}"
    if not report.batches:
        return f"{book} is whole: {len(report.checks)} checks, no batch yet"
    chain = "batch 1" if report.anchored else f"batch {report.first_batch_checked}, not anchored at batch 1"
    batches = f"{report.batches - report.first_batch_checked + 1:,} of {report.batches:,} batches"
    return (
        f"{book} is whole: {len(report.checks)} checks, seals of {batches}, chained from {chain}\n"
        f"newest seal {report.seal}"
    )


def _finding_text(finding: Finding) -> str:
    """A finding with its place and examples."""
    batch = f"batch {finding.batch}: " if finding.batch is not None else ""
    table = f" in {finding.table}" if finding.table is not None else ""
    lines = [f"{batch}{finding.property} {finding.check}{table}: {finding.message} ({finding.count:,} found)"]
    return "\n".join([*lines, *(f"    {example}" for example in finding.examples)])
