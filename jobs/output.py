"""Writes results to stdout (or `-o`) in the asked format, and words and progress to stderr.

Results are Arrow tables (rows) or plain documents. In JSON, amounts and other decimals are text, exactly as they print;
times are RFC 3339 in UTC. Nothing here computes a figure.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, Literal, TypeAlias
from uuid import UUID

import click
import pyarrow as pa
import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import ProgressColumn as RichColumn
from rich.table import Table
from rich.text import Text

from earnbook.jobs.options import Format, Output
from earnbook.pipeline.config import COMPILE_STAGE, ProgressListener, Publication
from earnbook.pipeline.config import Progress as Step
from earnbook.pipeline.show import Section, Shown

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"

COMPILE_NOTICE_SECONDS = 3.0
COMPILE_NOTICE = "Compiling for this machine: once per version and ruleset, up to a minute."

WIDTH = 100
"""Columns of words and tables where the terminal does not say."""

_WIDE = 4_000
"""Columns of a table that goes to a file or a pipe: never folded, so that lines stay rows."""


# --- results --------------------------------------------------------------------------------------------------------


def write_rows(output: Output, table: pa.Table, *, amounts: Sequence[str] = ()) -> None:
    """Writes the rows of a table as results.

    `amounts` are columns that print with the decimals in the row's `scale`; outside Parquet, column `scale` is dropped.
    """
    if output.format is Format.PARQUET:
        _write_bytes(output, lambda sink: pq.write_table(table, sink, compression="zstd"))
        return
    shown = _scaled(table, amounts)
    with _text_sink(output) as sink:
        match output.format:
            case Format.JSON:
                sink.write(
                    json.dumps([plain_value(row) for row in row_dicts(shown)], ensure_ascii=False, indent=2) + "\n"
                )
            case Format.NDJSON:
                for row in row_dicts(shown):
                    sink.write(json.dumps(plain_value(row), ensure_ascii=False) + "\n")
            case Format.CSV:
                _write_csv(sink, shown)
            case _:
                draw(sink, _rich_table(shown, right=amounts))


def write_document(output: Output, document: Mapping[str, object]) -> None:
    """Writes one nested result as JSON (indented) or as one JSON line."""
    indent = None if output.format is Format.NDJSON else 2
    with _text_sink(output) as sink:
        sink.write(json.dumps(plain_value(document), ensure_ascii=False, indent=indent) + "\n")


def write_documents(output: Output, documents: Sequence[Mapping[str, object]]) -> None:
    """Writes nested results as JSON lines, one for each."""
    with _text_sink(output) as sink:
        for document in documents:
            sink.write(json.dumps(plain_value(document), ensure_ascii=False) + "\n")


def write_shown(output: Output, shown: Shown) -> None:
    """Writes sections as titled tables for people, or as one document for machines (JSON or one JSON line)."""
    if output.format in (Format.JSON, Format.NDJSON):
        write_document(output, {section.name: _section_value(section) for section in shown.sections})
        return
    if output.format is not Format.TABLE:
        raise click.UsageError(f"{output.format} has no place for nested results; use table, json or ndjson.")
    with _text_sink(output) as sink:
        for section in shown.sections:
            if section.table.num_rows:
                table = _without_empty_columns(_scaled(section.table, section.amounts))
                drawn = _rich_record(table) if section.single else _rich_table(table, right=section.amounts)
                draw(sink, Text(section.title, style="bold"), Padding(drawn, (0, 0, 1, 2), expand=False))


def _section_value(section: Section) -> object:
    rows = list(row_dicts(_scaled(section.table, section.amounts)))
    if section.single:
        return rows[0] if rows else None
    return rows


def write_text(output: Output, text: str) -> None:
    """Writes text as it is."""
    with _text_sink(output) as sink:
        sink.write(text if text.endswith("\n") else text + "\n")


def write_lines(output: Output, lines: Iterable[str]) -> None:
    """Writes texts as lines, one by one as they come."""
    with _text_sink(output) as sink:
        sink.writelines(f"{line}\n" for line in lines)


def row_dicts(table: pa.Table) -> Iterator[dict[str, object]]:
    """The rows of a table, made a few thousand at a time."""
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _write_csv(sink: IO[str], table: pa.Table) -> None:
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in row_dicts(table):
        writer.writerow([plain_cell(value) for value in row.values()])


def plain_cell(value: object) -> str:
    """A value as the text of a cell; null is empty, nested values are JSON."""
    plain = plain_value(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def plain_value(value: object) -> Json:
    """A value as JSON knows it: decimals and ids as text, times in UTC."""
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal():
            return format(value, "f")
        case datetime():
            # Times of a book without a zone are UTC.
            utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ").replace(".000000Z", "Z")
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
        case pa.MonthDayNano(months, days, nanoseconds):
            seconds = Decimal(nanoseconds) / 1_000_000_000
            return f"P{months}M{days}DT{seconds:f}S"
        case Mapping():
            return {str(key): plain_value(item) for key, item in value.items()}
        case list() | tuple():
            return [plain_value(item) for item in value]
        case UUID() | float():
            return str(value)
        case _:
            return str(value)


def _scaled(table: pa.Table, amounts: Sequence[str]) -> pa.Table:
    """The table with amounts as text of exactly `scale` decimals (§5.3), and without that column."""
    if not amounts:
        return table
    scales = table["scale"].to_pylist()
    for name in amounts:
        values = [_with_decimals(value, scale) for value, scale in zip(table[name].to_pylist(), scales, strict=True)]
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return table.drop_columns(["scale"])


def _with_decimals(value: Decimal | None, scale: int) -> str | None:
    """A decimal cut to `scale` decimals; what is cut off is zeros, because it is an amount of that scale."""
    if value is None:
        return None
    whole, _, decimals = format(value, "f").partition(".")
    return f"{whole}.{decimals[:scale].ljust(scale, '0')}" if scale else whole


def _without_empty_columns(table: pa.Table) -> pa.Table:
    """The table without columns that say nothing in any row."""
    return table.select([name for name in table.column_names if table[name].null_count < table.num_rows])


def _rich_table(table: pa.Table, *, right: Sequence[str] = ()) -> Table:
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for field in table.schema:
        kind = field.type
        number = pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)
        justify: Literal["left", "right"] = "right" if number or field.name in right else "left"
        shown.add_column(escape(field.name), justify=justify, overflow="fold")
    for row in row_dicts(table):
        shown.add_row(*[Text(plain_cell(value)) for value in row.values()])
    return shown


def _rich_record(table: pa.Table) -> Table:
    """The fields of one row below each other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in table.to_pylist()[0].items():
        grid.add_row(escape(name), Text(plain_cell(value)))
    return grid


@contextmanager
def _text_sink(output: Output) -> Iterator[IO[str]]:
    if output.path is None:
        yield sys.stdout
        return
    with output.path.open("w", encoding="utf-8", newline="") as sink:
        yield sink


def _write_bytes(output: Output, write: Callable[[IO[bytes]], None]) -> None:
    if output.path is None:
        stdout = sys.stdout.buffer
        if stdout.isatty():
            raise click.UsageError("Parquet is not for a terminal; add -o FILE or redirect.")
        buffer = io.BytesIO()
        write(buffer)
        stdout.write(buffer.getvalue())
        return
    with output.path.open("wb") as sink:
        write(sink)


def draw(sink: IO[str], *renderables: RenderableType, width: int = _WIDE) -> None:
    """Draws as wide as the terminal; elsewhere `width` columns wide, as plain text without blanks at line ends."""
    if sink.isatty():
        Console(file=sink, highlight=False).print(*renderables, sep="\n")
        return
    drawn = io.StringIO()
    Console(file=drawn, width=width, highlight=False, color_system=None).print(*renderables, sep="\n")
    sink.writelines(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines())


# --- words and progress ---------------------------------------------------------------------------------------------


def say(output: Output, text: str) -> None:
    """A line for people, on stderr, unless `-q`."""
    if not output.quiet:
        click.echo(text, err=True)


def say_published(output: Output, publication: Publication) -> None:
    """Where a job has published the book."""
    if publication.directory is not None:
        say(output, f"Exported to {publication.directory}.")
    if publication.read_copy is not None:
        say(output, f"Copied to {publication.read_copy}.")


class _Rate(RichColumn):
    """Units per second of a step."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "", style="dim")


@contextmanager
def progress_listener(output: Output) -> Iterator[ProgressListener]:
    """A listener that draws progress with rate and time left on a terminal; elsewhere it only explains a long start."""
    if not (output.progress and sys.stderr.isatty()):
        with _CompileNotice(output) as notice:
            yield notice
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]:>26}"),
        _Rate(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), get_time=time.monotonic, transient=True) as progress:
        yield _Listener(progress)


class _Listener:
    """One bar for every stage, in order of appearance."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: Step) -> None:
        total = f" of {step.total:,}" if step.total is not None else ""
        amount = f"{step.done:,}{total}"
        task = self._tasks.get(step.stage)
        if task is None:
            task = self._progress.add_task(step.stage, total=step.total, unit=step.unit, amount=amount)
            self._tasks[step.stage] = task
        self._progress.update(task, completed=step.done, total=step.total, amount=amount)


class _CompileNotice:
    """Says why the first start takes long, if it does; silent about all else."""

    def __init__(self, output: Output) -> None:
        self._timer = threading.Timer(COMPILE_NOTICE_SECONDS, say, (output, COMPILE_NOTICE))
        self._timer.daemon = True

    def __enter__(self) -> _CompileNotice:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def __call__(self, step: Step) -> None:
        if step.stage != COMPILE_STAGE:
            self._timer.cancel()
        elif self._timer.ident is None:
            self._timer.start()
