"""The file of `run --results`: one row per record, in the format of its ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from earnbook.jobs.output import plain_cell, plain_value, row_dicts
from earnbook.pipeline.config import ResultsListener

ENDINGS = (".ndjson", ".csv", ".parquet")


class ResultsPath(click.Path):
    """A file whose ending names its format."""

    name = "FILE"

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; a usage mistake where the ending is none of `ENDINGS`."""
        path = Path(str(value))
        if path.suffix not in ENDINGS:
            self.fail(f"{path} must end in {', '.join(ENDINGS)}.", param, ctx)
        return path


@contextmanager
def results_file(path: Path | None) -> Iterator[ResultsListener | None]:
    """What takes the results of a run, table by table; the file stands complete at the end, or not at all."""
    if path is None:
        yield None
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with _writer(part, path.suffix) as write:
            yield write
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _writer(path: Path, ending: str) -> Iterator[ResultsListener]:
    if ending == ".parquet":
        with _Parquet(path) as parquet:
            yield parquet.write
        return
    with path.open("w", encoding="utf-8", newline="") as sink:
        writer = csv.writer(sink, lineterminator="\n")
        headed: list[bool] = []

        def write_csv(table: pa.Table) -> None:
            if not headed:
                writer.writerow(table.column_names)
                headed.append(True)
            writer.writerows([plain_cell(value) for value in row.values()] for row in row_dicts(table))

        def write_ndjson(table: pa.Table) -> None:
            sink.writelines(json.dumps(plain_value(row), ensure_ascii=False) + "\n" for row in row_dicts(table))

        yield write_csv if ending == ".csv" else write_ndjson


class _Parquet:
    """A Parquet file whose schema is that of the first table."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)
