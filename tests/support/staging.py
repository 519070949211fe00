"""Staging in tests: files written from texts, conformed, and read back as plain values."""

from __future__ import annotations

import json
from pathlib import Path

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Kind
from earnbook.pipeline.config import Order
from earnbook.pipeline.intake import Contract
from earnbook.pipeline.records import Reference, cell_names
from earnbook.pipeline.stage import Staged, StageRequest, stage_inputs

LOYALTY = Reference("3a37bb6a-dfc8-50ba-8532-fadfaf037bdb", "loyalty")
PARTNER = Reference("3a37bb6a-dfc8-50ba-8532-fadfaf037bdc", "partner")
POINTS = Reference("59bb73fc-f091-5918-a0dc-16c06074dd9c", "PTS")
PROGRAMS = (LOYALTY, PARTNER)

CONTRACT = Contract(programs=PROGRAMS, assets=(POINTS,))
EVENT: dict[str, object] = {
    "program_id": "loyalty",
    "idempotency_key": "e-1",
    "event_timestamp": "2026-01-31T12:00:00Z",
    "external_id": "alice",
    "event_data": {"type": "purchase", "amount": 5},
}
FUND: dict[str, object] = {
    "type": "fund",
    "program_id": "loyalty",
    "idempotency_key": "f-1",
    "effective_at": "2026-01-31T12:00:00Z",
    "asset_id": "PTS",
    "amount": "100.00",
}


def event(**fields: object) -> dict[str, object]:
    """An event that is accepted, with some fields changed; a field set to `...` is left out."""
    return {name: value for name, value in (EVENT | fields).items() if value is not ...}


def fund(**fields: object) -> dict[str, object]:
    """A fund operation that is accepted, with some fields changed; a field set to `...` is left out."""
    return {name: value for name, value in (FUND | fields).items() if value is not ...}


def write_lines(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as NDJSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def request(*inputs: Path | str, **options: object) -> StageRequest:
    """A request with the programs and assets of these tests."""
    defaults: dict[str, object] = {"programs": PROGRAMS, "assets": (POINTS,)}
    return StageRequest(inputs=tuple(str(path) for path in inputs), **(defaults | options))  # type: ignore[arg-type]


def stage(*inputs: Path | str, **options: object) -> Staged:
    """Stage files with the programs and assets of these tests."""
    return stage_inputs(request(*inputs, **options))


def records_of(
    staged: Staged,
    paths: tuple[tuple[str, ...], ...] = (),
    pool: StringPool | None = None,
    order: Order = Order.TIME,
    size: int = 1_000,
) -> list[dict[str, object]]:
    """All records in log order; the cells of the paths become readable values under the path's dotted name."""
    rows: list[dict[str, object]] = []
    for table in staged.batches(size, order):
        rows += [_readable(row, paths, pool) for row in table.to_pylist()]
    return rows


def _readable(row: dict[str, object], paths: tuple[tuple[str, ...], ...], pool: StringPool | None) -> dict[str, object]:
    for number, path in enumerate(paths):
        kind, value, scale = (row.pop(name) for name in cell_names(number))
        assert isinstance(kind, int)
        assert isinstance(value, int)
        shown: object = value
        if kind == Kind.TEXT and pool is not None:
            shown = pool.text(value)
        row[".".join(path)] = (Kind(kind).name, shown, scale)
    return row
