"""`earnbook simulate`: a whole ruleset over a copy of the book, and what it would change."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
from click.core import ParameterSource

from earnbook.jobs.options import (
    Format,
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
    order_option,
    output_options,
    source_option,
)
from earnbook.jobs.output import progress_listener, say, write_document, write_rows, write_shown
from earnbook.jobs.results import ResultsPath, results_file
from earnbook.jobs.summary import draw_summary
from earnbook.pipeline.compare import Comparison
from earnbook.pipeline.config import BATCH_RECORDS_DEFAULT, ClockMode, Order, RunRequest
from earnbook.pipeline.show import Shown
from earnbook.pipeline.simulate import Side, SimulateRequest, Simulation, simulate
from earnbook.pipeline.simulate_page import simulation_page
from earnbook.pipeline.summary import report_document, summarise

EXIT_CONDITION_MET = 4
ACTUAL = "actual"
ROWS_SHOWN_DEFAULT = 20


class _Against(click.ParamType["str | Path"]):
    """`actual`, or definitions that exist; a directory of that name is written `./actual`."""

    name = "actual|DIR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        if value == ACTUAL:
            return ACTUAL
        click.Path(exists=True).convert(str(value), param, ctx)
        return Path(str(value))


@click.command("simulate")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--book",
    envvar="EARNBOOK_BOOK",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The book to start from, which stays as it is; without it, an empty one.",
)
@click.option(
    "--as-of-batch",
    type=click.IntRange(min=0),
    metavar="N",
    help="Start from the book as this batch left it; 0: an empty book.",
)
@config_option(required=False)
@click.option(
    "--against",
    type=_Against(),
    metavar="actual|DIR",
    help="Compare with what the book posted for these records, or with other definitions.",
)
@source_option
@click.option(
    "--input-format",
    type=click.Choice(["ndjson", "csv", "parquet", "arrow"]),
    help="Format of the inputs; else by file ending.",
)
@default_program_option
@clock_option
@order_option
@horizon_option
@allow_late_option
@assume_utc_option
@max_rejects_option
@click.option("--partitions", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="As for run.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=BATCH_RECORDS_DEFAULT,
    show_default=True,
    metavar="N",
    help="Records of one commit to the copy.",
)
@max_generated_option
@click.option("--prune", is_flag=True, help="Archive rules, rewards and automations that the definitions leave out.")
@click.option(
    "--results",
    type=ResultsPath(),
    help="Write what became of each record (of the right side): .ndjson, .csv or .parquet.",
)
@click.option(
    "--keep",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the simulated book as a new file; with --against DIR, that of DIR.",
)
@click.option(
    "--to",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write each part of the comparison to a file in DIR: Parquet, or --format csv|ndjson|json.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the comparison as one HTML page; needs earnbook[html].",
)
@click.option(
    "--rows",
    "rows_shown",
    type=click.IntRange(min=1),
    default=ROWS_SHOWN_DEFAULT,
    show_default=True,
    metavar="N",
    help="Show so many rows of each part as a table; all other formats have all.",
)
@click.option(
    "--fail-on", type=click.Choice(["difference"]), metavar="difference", help="Exit with 4 if the sides differ."
)
@lock_wait_option
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    book: Path | None,
    as_of_batch: int | None,
    config: Path | None,
    against: Path | str | None,
    source: str | None,
    input_format: str | None,
    program: str | None,
    clock: tuple[ClockMode, int | None],
    order: str,
    horizon: tuple[bool, int] | None,
    allow_late: bool,
    assume_utc: bool,
    max_rejects: int | None,
    partitions: int,
    batch_size: int,
    max_generated: int | None,
    prune: bool,
    results: Path | None,
    keep: Path | None,
    directory: Path | None,
    page: Path | None,
    rows_shown: int,
    fail_on: str | None,
    lock_wait_seconds: float,
    output: Output,
) -> None:
    """Try a whole ruleset over a copy of the book, and compare.

    Decides the inputs exactly as `run` would, over a copy of the book. The book is read while it is copied, and never
    written. With --against there is a comparison, right minus left. Left is what there is: the definitions of --config
    (without it, of the book), or with `actual` what the book posted for the same records. Right is what there would be:
    the definitions of --against, or with `actual` those of --config.

    \b
    Examples:
      earnbook simulate --book shop.duckdb --config proposed/ --clock event events/2026-02.ndjson
      earnbook simulate --config config/ --against proposed/ --clock event events/2026-*.ndjson
      earnbook simulate --book shop.duckdb --config proposed/ --against actual events/2026-01.ndjson
      earnbook simulate --config a/ --against b/ --clock event --to compared/ --format csv events.ndjson
      earnbook simulate --config a/ --against b/ --clock event --html compared.html events.ndjson
    """
    if (directory is not None or page is not None) and against is None:
        raise click.UsageError("--to and --html write a comparison; add --against actual or --against DIR.")
    clock_mode, clock_fixed_us = clock
    no_horizon, horizon_us = horizon if horizon is not None else (False, None)
    with progress_listener(output) as progress, results_file(results) as results_listener:
        simulation = simulate(
            SimulateRequest(
                run=RunRequest(
                    book=book or Path("book.duckdb"),
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
                    lock_wait_seconds=lock_wait_seconds,
                    horizon_us=None if no_horizon else horizon_us,
                    no_horizon=no_horizon,
                    assume_utc=assume_utc,
                    max_rejects=max_rejects,
                    batch_records=batch_size,
                    partitions=partitions,
                    max_generated=max_generated,
                    results=results_listener,
                    progress=progress,
                ),
                book=book,
                as_of_batch=as_of_batch,
                against=against if isinstance(against, Path) else None,
                against_actual=against == ACTUAL,
                has_clock=ctx.get_parameter_source("clock") is not ParameterSource.DEFAULT,
                keep=keep,
            )
        )
    _write_sides(output, simulation, keep)
    comparison = simulation.comparison
    if comparison is None:
        return
    if directory is not None:
        _write_parts(output, comparison, directory)
    if page is not None:
        page.write_text(simulation_page(simulation), encoding="utf-8", newline="\n")
    if output.path is not None or (directory is None and page is None):
        shown = comparison.parts if output.format is not Format.TABLE else comparison.first_rows(rows_shown)
        write_shown(output, Shown(title="Comparison", sections=shown))
    if comparison.is_empty:
        say(output, "The sides do not differ.")
    elif fail_on is not None:
        ctx.exit(EXIT_CONDITION_MET)


def _write_sides(output: Output, simulation: Simulation, keep: Path | None) -> None:
    """What each side is on stderr: the whole summary of the only run, or the lines that matter of two."""
    for warning in simulation.warnings:
        say(output, f"Warning: {warning}")
    names = ("Simulated",) if len(simulation.sides) == 1 else ("Left", "Right")
    for name, side in zip(names, simulation.sides, strict=True):
        if not output.quiet:
            _draw_side(name, side, whole=len(simulation.sides) == 1)
    if keep is not None:
        say(output, f"The simulated book is {keep}; no other was written.")
    if simulation.comparison is None and output.format_given:
        report = simulation.sides[0].report
        assert report is not None, "a simulation without comparison is a run"
        write_document(output, report_document(report))


def _draw_side(name: str, side: Side, *, whole: bool) -> None:
    headline = f"{name}: {side.name}"
    if side.report is None:
        click.echo(headline, err=True)
        return
    summary = summarise(side.report)
    lines = tuple(line for line in summary.lines if whole or line[0] in ("Rows", "Rejected", "Failed", "Clock"))
    tables = summary.tables if whole else ()
    draw_summary(replace(summary, headline=headline, lines=lines, tables=tables, next_commands=()), sys.stderr)


def _write_parts(output: Output, comparison: Comparison, directory: Path) -> None:
    """One file for each part."""
    format_ = output.format if output.format is not Format.TABLE else Format.PARQUET
    directory.mkdir(parents=True, exist_ok=True)
    for part in comparison.parts:
        path = directory / f"{part.name}.{format_}"
        write_rows(replace(output, format=format_, path=path), part.table, amounts=part.amounts)
