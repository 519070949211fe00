"""Options that commands share, as decorators, and the parameter types behind them.

Every command takes the output options; they arrive as one `Output`. A book and a configuration may come from the
environment (`EARNBOOK_BOOK`, `EARNBOOK_CONFIG`). Everything here is checked before any data is opened.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from earnbook.pipeline.config import ClockMode, Order, OutboxMode, Publication
from earnbook.rules.times import parse_duration, parse_timestamp

Function = TypeVar("Function", bound=Callable[..., Any])


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


_FORMAT_OF_ENDING = {".json": Format.JSON, ".ndjson": Format.NDJSON, ".jsonl": Format.NDJSON, ".csv": Format.CSV}
_FORMAT_OF_ENDING |= {".parquet": Format.PARQUET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where results go, in which format, and how much is said beside them."""

    format: Format
    format_given: bool
    path: Path | None
    verbose: int
    quiet: bool
    progress: bool


def output_options(function: Function) -> Function:
    """Adds `--format -o -v -q --no-progress`; the command gets them as the keyword `output`."""

    @click.option(
        "--format", "format_", type=click.Choice([f.value for f in Format]), help="Format of the result on stdout."
    )
    @click.option(
        "-o", "--output", "output_path", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
    )
    @click.option("-v", "--verbose", count=True, help="Say more on stderr.")
    @click.option("-q", "--quiet", is_flag=True, help="Say only errors on stderr.")
    @click.option("--no-progress", is_flag=True, help="No progress bar.")
    @functools.wraps(function)
    def with_output(
        *args: Any,
        format_: str | None,
        output_path: Path | None,
        verbose: int,
        quiet: bool,
        no_progress: bool,
        **options: Any,
    ) -> Any:
        output = Output(
            format=_format(format_, output_path),
            format_given=format_ is not None or output_path is not None,
            path=output_path,
            verbose=verbose,
            quiet=quiet,
            progress=not (no_progress or quiet),
        )
        return function(*args, output=output, **options)

    return with_output  # type: ignore[return-value]  # functools.wraps loses the type variable


def _format(given: str | None, path: Path | None) -> Format:
    if given is not None:
        return Format(given)
    if path is None:
        return Format.TABLE
    return _FORMAT_OF_ENDING.get(path.suffix.lower(), Format.TABLE)


def book_option(function: Function) -> Function:
    """`--book FILE` of a book that exists."""
    return click.option(
        "--book",
        required=True,
        envvar="EARNBOOK_BOOK",
        show_envvar=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The book.",
    )(function)


def new_book_option(function: Function) -> Function:
    """`--book FILE` of a book that is created on first use."""
    return click.option(
        "--book",
        required=True,
        envvar="EARNBOOK_BOOK",
        show_envvar=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="The book; created on first use.",
    )(function)


def config_option(*, required: bool) -> Callable[[Function], Function]:
    """`--config DIR`: the complete description of the organization."""
    return click.option(
        "--config",
        required=required,
        envvar="EARNBOOK_CONFIG",
        show_envvar=True,
        type=click.Path(exists=True, path_type=Path),
        help="Definitions: a directory of YAML or JSON files, or one file.",
    )


def clock_option(function: Function) -> Function:
    """`--clock`: where processing times come from; a pair of mode and fixed time."""
    return click.option(
        "--clock",
        type=_Clock(),
        metavar="now|event|TIME",
        default="now",
        show_default=True,
        help="Processing time of the records.",
    )(function)


def horizon_option(function: Function) -> Function:
    """`--horizon`: how late a timestamp may be; a pair of whether there is no limit, and the time."""
    return click.option(
        "--horizon", type=_Horizon(), metavar="TIME|none", help="Refuse timestamps later than this; none: accept all."
    )(function)


def source_option(function: Function) -> Function:
    """The mapping that the inputs are read through."""
    return click.option(
        "--source", metavar="NAME", help="Read the inputs through this mapping of the definitions' sources."
    )(function)


def default_program_option(function: Function) -> Function:
    """The program of records that name none."""
    return click.option("--program", metavar="KEY", help="Program of records that name none.")(function)


def order_option(function: Function) -> Function:
    """The order of the log (§4.1)."""
    return click.option(
        "--order",
        type=click.Choice([o.value for o in Order]),
        default="time",
        show_default=True,
        help="Order of the log: by timestamp, or as read.",
    )(function)


def allow_late_option(function: Function) -> Function:
    """Consent to records that are mostly late (§4.3)."""
    return click.option(
        "--allow-late", is_flag=True, help="Under --clock event: accept records mostly over 48 h late."
    )(function)


def assume_utc_option(function: Function) -> Function:
    """Timestamps without offset are UTC (§4.6)."""
    return click.option("--assume-utc", is_flag=True, help="Read timestamps without offset as UTC.")(function)


def on_conflict_option(function: Function) -> Function:
    """What becomes of a known key with another payload (§3.4)."""
    return click.option(
        "--on-conflict",
        type=click.Choice(["reject", "ignore"]),
        default="reject",
        show_default=True,
        help="A known key with another payload: reject the row, or count it as a duplicate.",
    )(function)


def max_rejects_option(function: Function) -> Function:
    """How many rejected rows a run may have (§3.5)."""
    return click.option(
        "--max-rejects", type=click.IntRange(min=0), metavar="N", help="Refuse the run at more rejected rows."
    )(function)


def lock_wait_option(function: Function) -> Function:
    """`--lock-wait`: how long to wait for another writer."""
    return click.option(
        "--lock-wait",
        "lock_wait_seconds",
        type=DURATION_SECONDS,
        default="0s",
        show_default=True,
        metavar="DURATION",
        help="Wait so long for another process that writes to the book.",
    )(function)


def publication_options(function: Function) -> Function:
    """`--publish DIR --read-copy FILE`; the command gets them as the keyword `publication`."""

    @click.option(
        "--publish",
        "publish_directory",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Export the book to DIR as Parquet afterwards, as `export --to` does.",
    )
    @click.option(
        "--read-copy",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Put a copy of the book in the place of FILE afterwards, for readers.",
    )
    @functools.wraps(function)
    def with_publication(*args: Any, publish_directory: Path | None, read_copy: Path | None, **options: Any) -> Any:
        publication = Publication(directory=publish_directory, read_copy=read_copy)
        return function(*args, publication=publication, **options)

    return with_publication  # type: ignore[return-value]  # functools.wraps loses the type variable


def max_generated_option(function: Function) -> Function:
    """`--max-generated N`: a guard against rules that make events without end (§17.5)."""
    return click.option(
        "--max-generated",
        type=click.IntRange(min=0),
        metavar="N",
        help="Refuse a batch that generates more events; default: 10 for each record and each participant.",
    )(function)


def outbox_options(function: Function) -> Function:
    """`--outbox` and `--webhook-extensions`: which notifications a batch writes (§22.1)."""
    extensions = click.option(
        "--webhook-extensions", is_flag=True, help="Notify of forfeits, voids and maturities, too."
    )(function)
    return click.option(
        "--outbox",
        type=click.Choice([mode.value for mode in OutboxMode]),
        default=OutboxMode.ENABLED.value,
        show_default=True,
        help="Notifications to write: those that an ACTIVE webhook enables, all, or none.",
    )(extensions)


class _Time(click.ParamType[int]):
    """An RFC 3339 time with offset, as microseconds since 1970; a date alone is its first instant in UTC."""

    name = "time"

    def __init__(self, *, end_of_day: bool = False) -> None:
        self._time_of_date = "T23:59:59.999999Z" if end_of_day else "T00:00:00Z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = f"{value}{self._time_of_date}" if len(value) == len("2026-01-31") else value
        try:
            return parse_timestamp(text)
        except ValueError as error:
            self.fail(f"{value!r}: {error}. Write a date or a time like 2026-01-31T18:00:00Z.", param, ctx)


class _Clock(click.ParamType[tuple[ClockMode, int | None]]):
    """`now`, `event` or a time."""

    name = "now|event|TIME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[ClockMode, int | None]:
        if isinstance(value, tuple):
            return value
        if value in (ClockMode.NOW, ClockMode.EVENT):
            return ClockMode(str(value)), None
        return ClockMode.FIXED, _Time().convert(value, param, ctx)


class _Horizon(click.ParamType[tuple[bool, int]]):
    """`none` or a time."""

    name = "TIME|none"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bool, int]:
        if isinstance(value, tuple):
            return value
        return (True, 0) if value == "none" else (False, TIME.convert(value, param, ctx))


class _DurationSeconds(click.ParamType[float]):
    """A duration such as `90s` or `1h30m`, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            microseconds = parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}. Write a duration like 90s or 1h30m.", param, ctx)
        if microseconds < 0:
            self.fail(f"{value!r} is negative. Write a duration like 90s or 1h30m.", param, ctx)
        return microseconds / 1_000_000


class _Amount(click.ParamType[Decimal]):
    """A signed amount in asset units, exact: plain digits, no exponents."""

    name = "amount"
    _digits_max = 28

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        if isinstance(value, Decimal):
            return value
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", value, flags=re.ASCII) or len(value) > self._digits_max:
            self.fail(f"{value!r} is no amount. Write an amount in asset units like -12.50.", param, ctx)
        return Decimal(value)


AMOUNT = _Amount()
"""A signed amount in asset units."""

TIME = _Time()
"""A time; a date alone means its first instant."""

TIME_TO = _Time(end_of_day=True)
"""An inclusive upper bound; a date alone means its last instant."""

DURATION_SECONDS = _DurationSeconds()
