"""`earnbook report NAME`: figures over a whole book."""

from __future__ import annotations

from decimal import Decimal

import click

from earnbook.jobs.options import AMOUNT, TIME, TIME_TO, Output
from earnbook.jobs.output import progress_listener, say
from earnbook.jobs.report_html import command as html_command
from earnbook.jobs.report_options import (
    bucket_option,
    by_bucket_option,
    by_calendar_option,
    owner_options,
    report_options,
    write_report,
)
from earnbook.ledger.schema import Bucket, EntryType
from earnbook.pipeline.config import Progress
from earnbook.pipeline.reports import ReportRequest
from earnbook.pipeline.reports_calendar import Every
from earnbook.pipeline.reports_entries import Owner
from earnbook.pipeline.reports_integrity import integrity
from earnbook.pipeline.reports_journal import JOURNAL_LIMIT_DEFAULT, JournalRequest, journal
from earnbook.pipeline.reports_ledger import earn_burn, ledger_summary
from earnbook.pipeline.reports_liability import liability, rollforward
from earnbook.pipeline.reports_lots import breakage, expiration_schedule
from earnbook.pipeline.reports_programs import program_activity
from earnbook.pipeline.reports_rules import rule_cost
from earnbook.pipeline.reports_statement import statement
from earnbook.pipeline.reports_tiers import tier_distribution, tier_movements

EXIT_FINDING = 3


@click.group("report")
def command() -> None:
    """Figures over a whole book.

    Amounts are exact and in asset units, bounds inclusive, times UTC. A report whose figures do not bear each other out
    is refused with exit code 3.

    \b
    Examples:
      earnbook report ledger-summary --book shop.duckdb
      earnbook report rollforward --book shop.duckdb --from 2026-01-01 --to 2026-01-31
      earnbook report html --book shop.duckdb -o shop.html
    """


command.add_command(html_command)


@command.command("ledger-summary")
@report_options("as-of", "from", "to", "program", "asset")
def ledger_summary_command(request: ReportRequest, output: Output) -> None:
    """Issued, redeemed, expired and outstanding, per asset.

    Without --from and --to, of all time: current = issued - redeemed - expired - forfeited + other. With them, of the
    period: closing = opening + issued - redeemed - expired - forfeited + other. Times are processing times.

    \b
    Examples:
      earnbook report ledger-summary --book shop.duckdb
      earnbook report ledger-summary --book shop.duckdb --as-of 2026-03-31 --format csv
      earnbook report ledger-summary --book shop.duckdb --from 2026-01-01 --to 2026-01-31 --asset PTS
    """
    write_report(output, ledger_summary(request))


@command.command("earn-burn")
@by_calendar_option
@report_options("from", "to", "program", "asset")
def earn_burn_command(request: ReportRequest, every: str, output: Output) -> None:
    """Earned, redeemed, expired and outstanding, month by month.

    The months of the ledger summary: closing = opening + earned - redeemed - expired - forfeited + other, redemptions
    net of reversals. redemption_rate is redeemed / earned.

    \b
    Examples:
      earnbook report earn-burn --book shop.duckdb
      earnbook report earn-burn --book shop.duckdb --from 2026-01-01 --asset PTS --format csv
      earnbook report earn-burn --book shop.duckdb --by day --from 2026-01-01 --to 2026-01-31
    """
    write_report(output, earn_burn(request, every=Every(every)))


@command.command("program-activity")
@click.option("--since", "since_us", type=TIME, help="Only programs with an entry from this time on.")
@report_options("from", "to", "program", "asset")
def program_activity_command(request: ReportRequest, since_us: int | None, output: Output) -> None:
    """What each program did, and what it consists of.

    One row for each asset of a program; the counts are the program's and repeat. --from and --to bound the events and
    the amounts, nothing else.

    \b
    Examples:
      earnbook report program-activity --book shop.duckdb
      earnbook report program-activity --book shop.duckdb --since 2026-01-01 --from 2026-03-01 --to 2026-03-31
    """
    write_report(output, program_activity(request, since_us=since_us))


@command.command("liability")
@by_bucket_option
@report_options("as-of", "program", "asset")
def liability_command(request: ReportRequest, by_bucket: bool, output: Output) -> None:
    """What holders have, by asset and program, as of a time.

    An entry's value counts to the entry's program.

    \b
    Examples:
      earnbook report liability --book shop.duckdb --as-of 2026-03-31
      earnbook report liability --book shop.duckdb --by bucket --format json
    """
    write_report(output, liability(request, by_bucket=by_bucket))


@command.command("rollforward")
@by_bucket_option
@report_options("from", "to", "program", "asset")
def rollforward_command(request: ReportRequest, by_bucket: bool, output: Output) -> None:
    """The liability from opening to closing, every posting in one line.

    closing = opening + issued - issuance_returns - redeemed + redemption_receipts + redemption_reversals -
    reversal_clawbacks - debited - expired - forfeited - holds_voided + the lines named _net.

    \b
    Examples:
      earnbook report rollforward --book shop.duckdb --from 2026-01-01 --to 2026-01-31
      earnbook report rollforward --book shop.duckdb --from 2026-01-01 --to 2026-01-31 --by bucket --format json
    """
    write_report(output, rollforward(request, by_bucket=by_bucket))


@command.command("expiration-schedule")
@by_calendar_option
@report_options("as-of", "from", "to", "program", "asset")
def expiration_schedule_command(request: ReportRequest, every: str, output: Output) -> None:
    """When what is left of lots expires, by day, week or month.

    --from and --to are a window of expiries; without them it runs from the report's time to the end of the twelfth
    month. What expires before it (also overdue but held), after it and never makes up the total.

    \b
    Examples:
      earnbook report expiration-schedule --book shop.duckdb
      earnbook report expiration-schedule --book shop.duckdb --by week --from 2026-03-01 --to 2026-04-30
      earnbook report expiration-schedule --book shop.duckdb --as-of 2026-01-31 --asset PTS
    """
    write_report(output, expiration_schedule(request, every=Every(every)))


@command.command("statement")
@owner_options
@bucket_option
@report_options("from", "to", "asset")
def statement_command(request: ReportRequest, owner: Owner | None, bucket: Bucket | None, output: Output) -> None:
    """The postings of a participant, group or wallet with the running balance.

    \b
    Examples:
      earnbook report statement --book shop.duckdb --participant alice
      earnbook report statement --book shop.duckdb --participant alice --asset PTS --from 2026-01-01 --to 2026-01-31
      earnbook report statement --book shop.duckdb --wallet loyalty --format csv
    """
    if owner is None:
        raise click.UsageError("Whose statement? Give --participant, --group or --wallet.")
    write_report(output, statement(request, owner=owner, bucket=bucket))


@command.command("journal")
@owner_options
@bucket_option
@click.option("--event", metavar="KEY", help="Only entries of this event: idempotency key or id.")
@click.option("--rule", metavar="KEY", help="Only entries of this rule.")
@click.option("--action-type", type=click.Choice([one.name for one in EntryType]), help="Only entries of this type.")
@click.option("--reference", metavar="ID", help="Only entries with this reference id.")
@click.option("--event-from", "event_from_us", type=TIME, help="First event_timestamp, inclusive.")
@click.option("--event-to", "event_to_us", type=TIME_TO, help="Last event_timestamp, inclusive.")
@click.option("--min", "amount_min", type=AMOUNT, help="Smallest signed amount of a posting.")
@click.option("--max", "amount_max", type=AMOUNT, help="Largest signed amount of a posting.")
@click.option("--limit", type=click.IntRange(min=1), default=JOURNAL_LIMIT_DEFAULT, show_default=True, metavar="N")
@report_options("from", "to", "program", "asset")
def journal_command(
    request: ReportRequest,
    owner: Owner | None,
    bucket: Bucket | None,
    event: str | None,
    rule: str | None,
    action_type: str | None,
    reference: str | None,
    event_from_us: int | None,
    event_to_us: int | None,
    amount_min: Decimal | None,
    amount_max: Decimal | None,
    limit: int,
    output: Output,
) -> None:
    """Postings of the journal, the newest entry first.

    All conditions must hold. Those on accounts and amounts choose postings, the others entries; --limit counts entries.

    \b
    Examples:
      earnbook report journal --book shop.duckdb --limit 20
      earnbook report journal --book shop.duckdb --participant alice --action-type REDEMPTION
      earnbook report journal --book shop.duckdb --rule base --min 100 --from 2026-01-01 --format csv
    """
    chosen = JournalRequest(
        scope=request,
        owner=owner,
        bucket=bucket,
        event=event,
        rule=rule,
        action_type=None if action_type is None else EntryType[action_type],
        reference=reference,
        event_from_us=event_from_us,
        event_to_us=event_to_us,
        amount_min=amount_min,
        amount_max=amount_max,
        limit=limit,
    )
    write_report(output, journal(chosen))


@command.command("breakage")
@report_options("as-of", "from", "to", "program", "asset")
def breakage_command(request: ReportRequest, output: Output) -> None:
    """How much of each month's value expired or was forfeited.

    A cohort is the month in which lots were created; of assets without lots, the month of the posting. --from and --to
    choose cohorts. rate is (expired + forfeited) / (issued + received).

    \b
    Examples:
      earnbook report breakage --book shop.duckdb
      earnbook report breakage --book shop.duckdb --from 2025-01-01 --to 2025-12-31 --as-of 2026-03-31
    """
    write_report(output, breakage(request))


@command.command("rule-cost")
@click.option("--rule", metavar="KEY", help="Only this rule.")
@report_options("from", "to", "program", "asset")
def rule_cost_command(request: ReportRequest, rule: str | None, output: Output) -> None:
    """What each rule issued month by month, and the use of its budget.

    \b
    Examples:
      earnbook report rule-cost --book shop.duckdb
      earnbook report rule-cost --book shop.duckdb --rule promo --from 2026-01-01 --format csv
    """
    write_report(output, rule_cost(request, rule=rule))


@command.command("tier-distribution")
@click.option("--tier", metavar="KEY", help="Only this tier type.")
@report_options("as-of", "program")
def tier_distribution_command(request: ReportRequest, tier: str | None, output: Output) -> None:
    """How many enrolled, active participants stand on each level.

    \b
    Examples:
      earnbook report tier-distribution --book shop.duckdb
      earnbook report tier-distribution --book shop.duckdb --tier status --as-of 2026-03-31
    """
    write_report(output, tier_distribution(request, tier=tier))


@command.command("tier-movements")
@click.option("--tier", metavar="KEY", help="Only this tier type.")
@report_options("from", "to", "program")
def tier_movements_command(request: ReportRequest, tier: str | None, output: Output) -> None:
    """Who came to which level from which: entered, up, down, renewed, left.

    \b
    Examples:
      earnbook report tier-movements --book shop.duckdb
      earnbook report tier-movements --book shop.duckdb --from 2026-01-01 --to 2026-03-31 --tier status
    """
    write_report(output, tier_movements(request, tier=tier))


@command.command("integrity")
@click.option(
    "--window", type=click.IntRange(min=1), metavar="N", help="Recompute the seals of the last N batches only."
)
@report_options()
@click.pass_context
def integrity_command(ctx: click.Context, request: ReportRequest, window: int | None, output: Output) -> None:
    """Every check of `verify`, and what it found.

    Exits with 3 on any finding.

    \b
    Examples:
      earnbook report integrity --book shop.duckdb
      earnbook report integrity --book shop.duckdb --window 30 --format csv
    """
    with progress_listener(output) as progress:
        report = integrity(
            request.book,
            window=window,
            at_check=lambda name, done, total: progress(Progress(stage=name, done=done, total=total, unit="checks")),
        )
    write_report(output, report)
    failed = len({row["check"] for row in report.table.select(["check", "found"]).to_pylist() if row["found"]})
    if failed:
        click.echo(f"{request.book} is NOT whole: {failed} checks failed", err=True)
        ctx.exit(EXIT_FINDING)
    say(output, f"{request.book} is whole")
