"""`earnbook reconcile`: a book against what somebody else says."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.jobs.options import TIME, TIME_TO, Format, Output, book_option, config_option, output_options
from earnbook.jobs.output import say, write_rows, write_shown
from earnbook.pipeline.reconcile import (
    AGING_AMOUNTS,
    ROW_AMOUNTS,
    TOTAL_AMOUNTS,
    Basis,
    MatchStatus,
    ReconcileRequest,
    Reconciliation,
    reconcile,
    totals_table,
)
from earnbook.pipeline.show import Section, Shown

EXIT_CONDITION_MET = 4


class _Tolerance(click.ParamType[Decimal]):
    """A decimal that is not negative."""

    name = "amount"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        try:
            tolerance = Decimal(str(value))
        except InvalidOperation:
            tolerance = Decimal("NaN")
        if not tolerance.is_finite() or tolerance < 0:
            self.fail(f"{value!r}: write an amount in asset units such as 0.01.", param, ctx)
        return tolerance


@click.command("reconcile")
@click.argument("file", metavar="FILE")
@book_option
@config_option(required=False)
@click.option(
    "--basis",
    type=click.Choice([basis.value for basis in Basis]),
    default=Basis.EVENT.value,
    show_default=True,
    help="What a key is: an event's idempotency key, a holder's external id, or a line of the roll-forward.",
)
@click.option("--source", metavar="NAME", help="Read the file through this mapping of the definitions' sources.")
@click.option(
    "--input-format",
    type=click.Choice(["ndjson", "csv", "parquet", "arrow"]),
    help="Format of the file; else by its ending, and NDJSON for standard input.",
)
@click.option(
    "--tolerance",
    type=_Tolerance(),
    default="0",
    show_default=True,
    metavar="AMOUNT",
    help="Differences up to this, in asset units, match.",
)
@click.option("--as-of", "as_of_us", type=TIME_TO, help="Compare the book as of this time, inclusive.")
@click.option("--from", "from_us", type=TIME, help="First time of a period, inclusive.")
@click.option("--to", "to_us", type=TIME_TO, help="Last time of a period, inclusive.")
@click.option("--program", metavar="KEY", help="Only what this program did.")
@click.option("--asset", metavar="SYMBOL", help="Only this asset; rows that name none are of it.")
@click.option("--breaks-only", is_flag=True, help="Leave out rows that match.")
@click.option("--fail-on", type=click.Choice(["breaks"]), help="Exit with 4 if anything does not match.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    file: str,
    book: Path,
    config: Path | None,
    basis: str,
    source: str | None,
    input_format: str | None,
    tolerance: Decimal,
    as_of_us: int | None,
    from_us: int | None,
    to_us: int | None,
    program: str | None,
    asset: str | None,
    breaks_only: bool,
    fail_on: str | None,
    output: Output,
) -> None:
    """Compare a book with an outside file, key by key.

    FILE has the columns key, asset and amount, and dated_at if it says when its items were: CSV, NDJSON, Parquet or
    Arrow, also .gz and .zst, or - for standard input. Rows are MATCHED, MISSING_HERE, MISSING_THERE or AMOUNT_DIFFERS
    with difference = theirs - ours; a key that stands in the file twice is summed, and rows_there says so. Table and
    JSON show totals and the age of breaks as well; CSV, NDJSON and Parquet have the rows alone.

    \b
    Examples:
      earnbook reconcile bank.csv --book shop.duckdb
      earnbook reconcile balances.parquet --book shop.duckdb --basis holder --as-of 2026-01-31 --asset PTS
      earnbook reconcile feed.csv --book shop.duckdb --source bank_feed --config config/ --tolerance 0.01
      earnbook reconcile bank.csv --book shop.duckdb --breaks-only --fail-on breaks -o breaks.csv
    """
    found = reconcile(
        ReconcileRequest(
            book=book,
            file=file,
            basis=Basis(basis),
            format=input_format,
            source=source,
            config=config,
            tolerance=tolerance,
            as_of_us=as_of_us,
            from_us=from_us,
            to_us=to_us,
            program=program,
            asset=asset,
        )
    )
    rows = found.rows.filter(pc.not_equal(found.rows["status"], MatchStatus.MATCHED)) if breaks_only else found.rows
    if output.format in (Format.TABLE, Format.JSON):
        write_shown(output, _shown(found, rows))
    else:
        write_rows(output, rows, amounts=ROW_AMOUNTS)
    _say_notes(output, found)
    if fail_on is not None and found.breaks:
        ctx.exit(EXIT_CONDITION_MET)


def _shown(found: Reconciliation, rows: pa.Table) -> Shown:
    about = pa.table(
        {
            "file": [found.file],
            "sha256": [found.sha256],
            "basis": [found.basis.value],
            "until": pa.array([found.until_us], pa.timestamp("us", "UTC")),
            "provisional": [found.provisional],
            "breaks": [found.breaks],
        }
    )
    sections = (
        Section(name="reconciliation", title="Reconciliation", table=about, single=True),
        Section(name="rows", title="Rows", table=rows, amounts=ROW_AMOUNTS),
        Section(
            name="totals",
            title="Totals: ours + differences + missing here - missing there = theirs",
            table=totals_table(found.totals),
            amounts=TOTAL_AMOUNTS,
        ),
        Section(name="aging", title="Age of breaks (net = theirs - ours)", table=found.aging, amounts=AGING_AMOUNTS),
    )
    return Shown(title=f"Reconciliation with {found.file}", sections=sections)


def _say_notes(output: Output, found: Reconciliation) -> None:
    say(output, f"Keys compared: {found.rows.num_rows:,}; breaks: {found.breaks:,}. The totals tie.")
    if found.keys_summed:
        say(output, f"Keys that stand in the file more than once and were summed: {found.keys_summed:,}.")
    if found.rows_left_out:
        say(output, f"Rows of the file about other assets, left out: {found.rows_left_out:,}.")
    if found.provisional:
        say(output, "Provisional: the book clock has not passed the end of this reconciliation.")
