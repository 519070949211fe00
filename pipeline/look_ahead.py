"""What a run refuses for the sake of its records, before anything is committed: too many rejects, too many late ones.

In: the staged records, the request, the clock, and how to find the book's records that a table may repeat. Both answers
need to know what is new, so the log is gone through without deciding it; but only when the answer is not plain from
what staging counted, and no further than it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.pipeline.clock import Clock, refuse_late
from earnbook.pipeline.config import OLD_EVENT_US, ClockMode, RunRequest
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.order import Deduplicated, SeenKeys, drop_duplicates
from earnbook.pipeline.stage import Staged
from earnbook.pipeline.tally import count_rejects


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """The log of a run before it is decided; `find_originals` gives the book's records with the keys of a table."""

    staged: Staged
    request: RunRequest
    clock: Clock
    find_originals: Callable[[pa.Table], pa.Table | None]

    def refuse_rejects(self) -> None:
        """Refused when more rows are rejected than allowed; conflicts are rejects too (§3.5)."""
        limit = self.request.max_rejects
        if limit is None:
            return
        rejects = list(self.staged.rejects)
        if len(rejects) <= limit and not self.request.ignore_conflicts:
            rejects += [reject for found in self._new() for reject in found.conflicts]
        if len(rejects) > limit:
            reasons = count_rejects(reject.reason.name for reject in rejects)
            shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
            raise Refused(
                f"{len(rejects):,} rows are rejected, more than --max-rejects {limit:,} ({shown})",
                "Nothing was committed. Correct the input, or allow more.",
            )

    def refuse_late(self, book_clock_us: int) -> None:
        """Refused when most new records lie long before the book clock (§4.3).

        Repeats can hide that nearly all new records are late, so first the late ones are counted without repeats, then
        all records until they are twice as many.
        """
        oldest = book_clock_us - OLD_EVENT_US
        if self.clock.mode is not ClockMode.EVENT or self.request.allow_late or not self.staged.count_before(oldest):
            return
        enough = 2 * sum(found.records.num_rows for found in self._new(before=oldest))
        late = records = 0
        for found in self._new() if enough else ():
            late += int(np.count_nonzero(found.records.column("timestamp").to_numpy() < oldest))
            records += found.records.num_rows
            if records >= enough:
                return
        refuse_late(late=late, records=records, book_clock_us=book_clock_us)

    def _new(self, *, before: int | None = None) -> Iterator[Deduplicated]:
        """What is new of each batch; with `before` of the records older than that alone."""
        seen = SeenKeys(self.staged.repeated_hashes)
        for table in self.staged.batches(self.request.batch_records, self.request.order):
            rows = table if before is None else table.filter(pc.less(table.column("timestamp"), before))
            if rows.num_rows:
                yield drop_duplicates(rows, seen, first_log_seq=0, originals=self.find_originals(rows))
