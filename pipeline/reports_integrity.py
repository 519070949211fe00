"""The integrity report (§19.3): every check of `verify`, and what it found, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from earnbook.pipeline.reports import Report
from earnbook.pipeline.verify import CheckListener, no_listener, verify_book
from earnbook.pipeline.verify_finding import Finding


def integrity(book: Path, *, window: int | None = None, at_check: CheckListener = no_listener) -> Report:
    """One row for each check and place it found something in; `found` is 0 for a check that holds.

    `window` limits the recomputing of seals to the last so many batches.
    """
    report = verify_book(book, window=window, at_check=at_check)
    # The seals are one check of the list, and several findings by what of them differs.
    names = dict.fromkeys((*report.checks, *(finding.check for finding in report.findings)))
    rows = [row for name in names for row in _rows(name, [found for found in report.findings if found.check == name])]
    return Report(title="Integrity", table=pa.Table.from_pylist(rows, schema=_INTEGRITY), amounts=(), provisional=False)


def _rows(check: str, findings: Sequence[Finding]) -> list[dict[str, object]]:
    if not findings:
        return [{"check": check, "found": 0, "examples": []}]
    return [
        {
            "check": check,
            "property": finding.property,
            "found": finding.count,
            "batch": finding.batch,
            "table": finding.table,
            "message": finding.message,
            "examples": list(finding.examples),
        }
        for finding in findings
    ]


_INTEGRITY = pa.schema(
    [
        ("check", pa.string()),
        ("property", pa.string()),
        ("found", pa.int64()),
        ("batch", pa.int64()),
        ("table", pa.string()),
        ("message", pa.string()),
        ("examples", pa.list_(pa.string())),
    ]
)
