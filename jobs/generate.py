"""`earnbook generate`: synthetic events for trials and benchmarks."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import TIME, Output, output_options
from earnbook.jobs.output import progress_listener, say, write_document
from earnbook.pipeline.generate import GenerateRequest, generate_events

_SHARE = click.FloatRange(min=0, max=1)


@click.command("generate")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--events", type=click.IntRange(min=1), default=10_000, show_default=True, help="Events.")
@click.option("--participants", type=click.IntRange(min=1), default=1_000, show_default=True, help="Participants.")
@click.option("--program", default="loyalty", show_default=True, metavar="KEY", help="Program of all events.")
@click.option("--start", "start_us", type=TIME, default="2026-01-01", show_default=True, help="Time of the first.")
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True, help="Days they spread over.")
@click.option("--merchants", type=click.IntRange(min=1), default=500, show_default=True, help="Merchants.")
@click.option("--skew", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Zipf exponent; 0: even.")
@click.option("--refunds", type=_SHARE, default=0.04, show_default=True, help="Share of refunds.")
@click.option("--visits", type=_SHARE, default=0.10, show_default=True, help="Share of visits without amount.")
@click.option("--duplicates", type=_SHARE, default=0.0, show_default=True, help="Share of events sent twice.")
@click.option("--bad", type=_SHARE, default=0.0, show_default=True, help="Share of rows that intake rejects.")
@click.option("--shuffled", is_flag=True, help="Rows in random order instead of time order.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same bytes.")
@output_options
def command(
    file: Path,
    events: int,
    participants: int,
    program: str,
    start_us: int,
    days: int,
    merchants: int,
    skew: float,
    refunds: float,
    visits: float,
    duplicates: float,
    bad: float,
    shuffled: bool,
    seed: int,
    output: Output,
) -> None:
    """Make synthetic events for trials and benchmarks.

    FILE ends in .ndjson, .csv or .parquet. Purchases, refunds and visits with amount, currency, mcc, category,
    merchant and channel, by Zipf-distributed participants. The same options always give the same bytes.

    \b
    Examples:
      earnbook generate --events 1000000 --participants 100000 events.parquet
      earnbook generate --events 500 --duplicates 0.02 --bad 0.01 --shuffled trial.ndjson
    """
    request = GenerateRequest(
        path=file,
        events=events,
        participants=participants,
        program=program,
        start_us=start_us,
        days=days,
        merchants=merchants,
        skew=skew,
        refund_share=refunds,
        visit_share=visits,
        duplicate_share=duplicates,
        bad_share=bad,
        shuffled=shuffled,
        seed=seed,
    )
    with progress_listener(output) as progress:
        report = generate_events(request, progress=progress)
    say(
        output,
        f"{report.rows:,} rows ({report.duplicates:,} duplicates, {report.bad:,} bad) in {file}, "
        f"{report.bytes:,} bytes, {report.seconds:.1f} s",
    )
    if output.format_given:
        write_document(output, report.document())
