"""Verifying a book (§19.3): seals, properties, and state refolded from the journal.

Everything is read back from the stored rows by SQL and hashlib; nothing of the ledger's code takes part, so that a
mistake made there is not made here again. Nothing is written. Every check is named, pure, and returns how many
violations it found with up to five examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from earnbook.pipeline.store import BookMode, BookSettings, open_book
from earnbook.pipeline.store_rows import one_row
from earnbook.pipeline.verify_checks import CHECKS, Check
from earnbook.pipeline.verify_finding import EXAMPLES_MAX, Finding
from earnbook.pipeline.verify_keys import find_wrong_key_hashes
from earnbook.pipeline.verify_outbox import OUTBOX_CHECKS
from earnbook.pipeline.verify_redemptions import REDEMPTION_CHECKS
from earnbook.pipeline.verify_seal import SEAL_CHECKS, verify_seals
from earnbook.pipeline.verify_state import STATE_CHECKS

CheckListener = Callable[[str, int, int], None]
"""Called before each check with its name, its position from 0 and the number of checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found. No findings: the book is whole.

    `anchored` says whether the chain of seals was followed from batch 1 on; `seal` is the newest one, for a witness.
    """

    batches: int
    first_batch_checked: int
    anchored: bool
    seal: str
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def first_bad_batch(self) -> int | None:
        """The first batch whose rows are not those that were sealed; without such, the smallest that a finding names.

        A check names the batch where something stands that does not fit, which may be a whole one: the lot that a
        changed movement takes too much from is of an earlier batch.
        """
        named = [finding for finding in self.findings if finding.batch is not None]
        of_seals = [finding for finding in named if finding.check in SEAL_CHECKS]
        return min((finding.batch for finding in of_seals or named if finding.batch is not None), default=None)

    @property
    def bad_tables(self) -> tuple[str, ...]:
        """The tables that findings name in the first bad batch, in alphabetical order."""
        bad = self.first_bad_batch
        return tuple(sorted({f.table for f in self.findings if f.batch == bad and f.table is not None}))


def no_listener(_name: str, _position: int, _total: int) -> None:
    """Nobody watches the checks."""


def verify_book(
    path: Path,
    *,
    window: int | None = None,
    lock_wait_seconds: float = 0.0,
    settings: BookSettings | None = None,
    at_check: CheckListener = no_listener,
) -> VerifyReport:
    """Recomputes seals, checks the properties of §19.4 and refolds state.

    `window` limits the recomputing of seals to the last so many batches; all other checks look at the whole book.
    """
    book = open_book(path, mode=BookMode.READ, lock_wait_seconds=lock_wait_seconds, settings=settings)
    with book, book.session() as connection:
        row = one_row(connection, "SELECT coalesce(max(batch), 0), arg_max(seal, batch) FROM store.batches")
        batches, seal = row if row is not None else (0, None)
        first = max(1, batches - window + 1) if window is not None else 1
        checks = (*CHECKS, *REDEMPTION_CHECKS, *STATE_CHECKS, *OUTBOX_CHECKS)
        names = ("seals", "key_hashes", *(check.name for check in checks))
        at_check("seals", 0, len(names))
        findings = verify_seals(connection, first)
        at_check("key_hashes", 1, len(names))
        findings += find_wrong_key_hashes(connection)
        for position, check in enumerate(checks, start=2):
            at_check(check.name, position, len(names))
            findings += run_check(connection, check)
    return VerifyReport(
        batches=batches,
        first_batch_checked=first,
        anchored=first == 1,
        seal=seal or "",
        checks=names,
        findings=tuple(sorted(findings, key=lambda finding: (finding.batch is None, finding.batch or 0))),
    )


def run_check(connection: duckdb.DuckDBPyConnection, check: Check) -> list[Finding]:
    """The finding of one check, no finding where nothing violates it."""
    row = one_row(
        connection,
        f"""WITH violations(batch, example) AS MATERIALIZED ({check.query})
        SELECT count(*), min(batch), (SELECT list(example ORDER BY batch NULLS LAST, example) FROM (SELECT *
            FROM violations ORDER BY batch NULLS LAST, example LIMIT {EXAMPLES_MAX})) FROM violations""",
    )
    if row is None or row[0] == 0:
        return []
    return [
        Finding(
            check=check.name,
            property=check.property,
            batch=row[1],
            table=check.table,
            message=check.message,
            count=row[0],
            examples=tuple(str(example) for example in row[2]),
        )
    ]
