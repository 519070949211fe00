"""`earnbook stream`: the same engine over records that keep arriving."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from earnbook.jobs.options import (
    DURATION_SECONDS,
    Output,
    assume_utc_option,
    clock_option,
    config_option,
    default_program_option,
    horizon_option,
    max_generated_option,
    new_book_option,
    on_conflict_option,
    outbox_options,
    output_options,
    publication_options,
)
from earnbook.jobs.output import say, write_document
from earnbook.pipeline.clock import format_time, wall_clock_us
from earnbook.pipeline.config import ClockMode, OutboxMode, Publication
from earnbook.pipeline.source_files import STDIN
from earnbook.pipeline.stream import RECORDS_DEFAULT, BatchListener, StreamReport, StreamRequest, stream
from earnbook.pipeline.stream_folder import FolderSource
from earnbook.pipeline.stream_job import StreamBatch
from earnbook.pipeline.stream_lines import LineSource
from earnbook.pipeline.stream_metrics import StreamMetrics, write_metrics
from earnbook.pipeline.stream_source import Backlog, StreamSource

EXIT_INTERRUPTED = 130

KAFKA = "kafka://"
"""How the address of topics begins."""


@click.command("stream")
@click.argument("source_path", metavar="SOURCE")
@new_book_option
@config_option(required=False)
@click.option("--name", metavar="NAME", help="Name under which the book keeps the position; default: SOURCE.")
@click.option("--replay", is_flag=True, help="The lines begin at position 0: pass over those that the book has.")
@click.option(
    "--source", "mapping", metavar="NAME", help="Read a folder's files through this mapping of the definitions."
)
@click.option(
    "--input-format",
    type=click.Choice(["ndjson", "csv", "parquet", "arrow"]),
    help="Format of a folder's files; else by file ending.",
)
@click.option(
    "--kafka-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Settings of the Kafka client, key=value lines: security, group.id and others of librdkafka.",
)
@default_program_option
@clock_option
@horizon_option
@assume_utc_option
@on_conflict_option
@click.option(
    "--max-records",
    type=click.IntRange(min=1),
    default=RECORDS_DEFAULT,
    show_default=True,
    metavar="N",
    help="A batch closes at so many records ...",
)
@click.option(
    "--max-delay",
    type=DURATION_SECONDS,
    default="500ms",
    show_default=True,
    metavar="DURATION",
    help="... or when its first record has waited so long.",
)
@click.option(
    "--idle-advance",
    type=DURATION_SECONDS,
    metavar="DURATION",
    help="While nothing arrives, do so often what has fallen due by the wall clock.",
)
@click.option(
    "--stop-when-idle", type=DURATION_SECONDS, metavar="DURATION", help="Stop when nothing has arrived for so long."
)
@click.option(
    "--checkpoint",
    type=DURATION_SECONDS,
    default="60s",
    show_default=True,
    metavar="DURATION",
    help="Bring the stored state up to date so often while records keep coming.",
)
@max_generated_option
@click.option(
    "--evaluations",
    type=click.Choice(["full", "matched"]),
    default="full",
    show_default=True,
    help="Keep what every rule did, or only of those that matched.",
)
@outbox_options
@click.option("--prune", is_flag=True, help="Archive rules, rewards and automations that the definitions leave out.")
@click.option(
    "--lock-wait",
    "lock_wait_seconds",
    type=DURATION_SECONDS,
    default="60s",
    show_default=True,
    metavar="DURATION",
    help="Wait so long for a process that has the book open.",
)
@publication_options
@click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep figures of the stream in this file, for Prometheus.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How each batch is told on stderr.",
)
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    source_path: str,
    book: Path,
    config: Path | None,
    name: str | None,
    replay: bool,
    mapping: str | None,
    input_format: str | None,
    kafka_config: Path | None,
    program: str | None,
    clock: tuple[ClockMode, int | None],
    horizon: tuple[bool, int] | None,
    assume_utc: bool,
    on_conflict: str,
    max_records: int,
    max_delay: float,
    idle_advance: float | None,
    stop_when_idle: float | None,
    checkpoint: float,
    max_generated: int | None,
    evaluations: str,
    outbox: str,
    webhook_extensions: bool,
    prune: bool,
    lock_wait_seconds: float,
    publication: Publication,
    metrics: Path | None,
    log_format: str,
    output: Output,
) -> None:
    """Decide records as they arrive and commit them to a book, batch by batch.

    SOURCE is - for NDJSON lines on standard input, a named pipe, a folder into which files are moved, or topics of
    Kafka (kafka://BROKER:PORT/TOPIC; needs earnbook[kafka]). The order of the log is that of arrival. Each batch is
    committed together with the position behind it, so that whatever stops the stream, the same command goes on where
    the book stands. SIGTERM and Ctrl-C commit what has arrived, then end it.

    \b
    Examples:
      tail -F events.ndjson | earnbook stream - --config config/ --book shop.duckdb --clock event
      earnbook stream - --book shop.duckdb --replay --max-delay 200ms < events.ndjson
      earnbook stream /run/events.fifo --book shop.duckdb --idle-advance 60s --log-format json
      earnbook stream kafka://broker-1:9092,broker-2:9092/orders --book shop.duckdb --kafka-config client.properties
      earnbook stream inbox/ --book shop.duckdb --clock event --metrics /var/lib/node_exporter/earnbook.prom
    """
    clock_mode, clock_fixed_us = clock
    no_horizon, horizon_us = horizon if horizon is not None else (False, None)
    log = _json_log(output) if log_format == "json" else _text_log(output)
    is_read_alone = mapping is None and input_format is None
    if source_path.startswith(KAFKA):
        if replay or not is_read_alone:
            raise click.UsageError("--replay is for lines, --source and --input-format are for a folder.")
        source = _open_kafka(source_path, name=name, config=kafka_config)
    elif kafka_config is not None:
        raise click.UsageError(f"--kafka-config is for {KAFKA}BROKER:PORT/TOPIC.")
    else:
        source = _open_source(source_path, name=name, replay=replay, is_read_alone=is_read_alone)
    if metrics is not None:
        log = _with_metrics(log, StreamMetrics(source.name), metrics, output)
    request = StreamRequest(
        book=book,
        config=config,
        mapping=mapping,
        format=input_format,
        program=program,
        clock=clock_mode,
        clock_fixed_us=clock_fixed_us,
        prune=prune,
        lock_wait_seconds=lock_wait_seconds,
        horizon_us=None if no_horizon else horizon_us,
        no_horizon=no_horizon,
        assume_utc=assume_utc,
        ignore_conflicts=on_conflict == "ignore",
        max_generated=max_generated,
        evaluations_full=evaluations == "full",
        outbox=OutboxMode(outbox),
        webhook_extensions=webhook_extensions,
        records_max=max_records,
        delay_seconds=max_delay,
        idle_advance_seconds=idle_advance,
        idle_stop_seconds=stop_when_idle,
        checkpoint_seconds=checkpoint,
        publication=publication,
        warn=lambda warning: say(output, f"Warning: {warning}"),
    )
    with _graceful_stop(source) as signals:
        report = stream(request, source, log)
    say(output, _summary(report))
    if output.format_given:
        write_document(output, _document(report))
    if signal.SIGINT in signals:
        ctx.exit(EXIT_INTERRUPTED)


def _open_source(path: str, *, name: str | None, replay: bool, is_read_alone: bool) -> StreamSource:
    """The source that a path names; `is_read_alone` where nothing is said of the format of files."""
    try:
        mode = 0 if path == STDIN else os.stat(path).st_mode
    except OSError as error:
        raise _unusable(f"{path}: {error.strerror}.") from error
    if stat.S_ISDIR(mode):
        if replay:
            raise click.UsageError("--replay is for lines; each file of a folder is taken in once anyway.")
        return FolderSource(Path(path), name=name or path, is_any_format=not is_read_alone)
    if not is_read_alone:
        raise click.UsageError("--source and --input-format are for a folder; lines are NDJSON.")
    if path == STDIN:
        return LineSource(sys.stdin.fileno(), name=name or STDIN, label=name or STDIN, replay=replay)
    if stat.S_ISFIFO(mode):
        # Opened for writing too, so that the stream does not end when one of those who write to it goes away.
        return LineSource(os.open(path, os.O_RDWR), name=name or path, label=name or path, replay=replay)
    raise _unusable(f"{path} is no stream.")


def _open_kafka(address: str, *, name: str | None, config: Path | None) -> StreamSource:
    """The topics that an address names."""
    try:
        from earnbook.pipeline.stream_kafka import KafkaSource, parse_address, read_settings
    except ImportError as error:
        raise click.UsageError("Kafka needs a library: pip install 'earnbook[kafka]'.") from error
    try:
        brokers, topics = parse_address(address)
        settings = read_settings(config) if config is not None else {}
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    settings = {"bootstrap.servers": brokers, **settings}
    return KafkaSource(topics, name=name or f"kafka:{','.join(sorted(topics))}", settings=settings)


def _unusable(why: str) -> click.BadParameter:
    hint = f"Give - for standard input, a named pipe, a folder, or {KAFKA}BROKER:PORT/TOPIC."
    return click.BadParameter(f"{why} {hint}", param_hint="SOURCE")


def _with_metrics(log: BatchListener, metrics: StreamMetrics, path: Path, output: Output) -> BatchListener:
    """The listener, and a file of metrics that every batch brings up to date."""
    try:
        write_metrics(path, metrics.text())
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}.", param_hint="--metrics") from error

    def note(batch: StreamBatch, backlog: Backlog) -> None:
        metrics.add(batch, backlog, at_us=wall_clock_us())
        try:
            write_metrics(path, metrics.text())
        except OSError as error:
            # A full disk of somebody who watches is no reason to stop.
            say(output, f"Warning: {path} is not up to date: {error.strerror}")
        log(batch, backlog)

    return note


@contextmanager
def _graceful_stop(source: StreamSource) -> Iterator[list[int]]:
    """The first SIGTERM or SIGINT ends the stream in order; a second SIGINT interrupts at once. Gives what came."""
    signals: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        signals.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        source.stop()

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _text_log(output: Output) -> BatchListener:
    """One line for each batch."""

    def log(batch: StreamBatch, backlog: Backlog) -> None:
        waiting = f", {backlog.rows:,} rows wait" if backlog.rows else ""
        say(
            output,
            f"batch {batch.batch}: {batch.rows_read:,} rows, {batch.events + batch.operations:,} records, "
            f"{batch.duplicates:,} duplicates, {batch.rejected:,} rejected, {batch.failed:,} failed, "
            f"{batch.latency_seconds:.3f} s{waiting}",
        )

    return log


def _json_log(output: Output) -> BatchListener:
    """One JSON object for each batch."""

    def log(batch: StreamBatch, backlog: Backlog) -> None:
        line = asdict(batch) | {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "book_clock": format_time(batch.book_clock_us),
            "latency_seconds": round(batch.latency_seconds, 6),
            "commit_seconds": round(batch.commit_seconds, 6),
            "positions": [
                {"part": position.part, "position": position.position, "row": position.row}
                for position in batch.positions
            ],
            "backlog": {name: value for name, value in asdict(backlog).items() if value is not None},
        }
        del line["book_clock_us"]
        say(output, json.dumps(line, ensure_ascii=False))

    return log


def _document(report: StreamReport) -> dict[str, object]:
    return asdict(report) | {"book_clock": format_time(report.book_clock_us), "seconds": f"{report.seconds:.3f}"}


def _summary(report: StreamReport) -> str:
    records = report.events + report.operations
    rate = report.rows_read / report.seconds if report.seconds else 0.0
    return (
        f"{report.rows_read:,} rows in {report.batches:,} batches: {records:,} records, {report.duplicates:,} "
        f"duplicates, {report.rejected:,} rejected; {report.failed:,} failed, {report.generated:,} generated, "
        f"{report.entries:,} entries; {report.seconds:.1f} s, {rate:,.0f} rows/s"
    )
