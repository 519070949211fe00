"""A hundred thousand random pairs of definitions and log: oracle = closures = kernel, record by record.

    python -m tests.differential.bulk --pairs 100000 --seed 1 --jobs 2

A pair is one document of rules with all features and one small log over it. The two engines decide it in memory (no
book file, `tests.support.bulk_engine`), and records, outcomes, evaluations with every action, journal, lots, moves,
changes, budgets, tiers, counters, schedules, balances and counts must be those of the oracle. The properties of §19.4
are checked on every final book, and after every record in one pair of twenty. The first difference ends the run, with
its seeds and a log made small; the exit code is 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from itertools import groupby

from tests.support.bulk_pairs import DifferenceError, Tally, compare_document

LOGS_PER_DOCUMENT = 250
DOCUMENTS_PER_PROCESS = 40
"""Machine code of a document stays in its process, so processes are renewed."""
SEED_STEP = 1_000_000


def main() -> None:
    """Compare pairs until there are enough of them; says what was exercised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--logs", type=int, default=LOGS_PER_DOCUMENT, help="logs over one document")
    parser.add_argument("--after", type=int, default=0, help="pairs, whole documents, that are known to be equal")
    options = parser.parse_args()
    started, total = time.perf_counter(), Tally()
    try:
        for tally in _tallies(options.pairs, options.seed, options.jobs, options.logs, options.after):
            total.add(tally)
            seconds = time.perf_counter() - started
            print(f"{total.pairs:>9,} pairs equal  {total.pairs / seconds:>6.1f}/s  {seconds:>7.0f} s", flush=True)
    finally:
        _print(total)


def _tallies(pairs: int, seed: int, jobs: int, logs: int, after: int) -> Iterator[Tally]:
    """The tallies of all documents behind the first `after` pairs, in the order of their seeds.

    A plain pool: the executor of `concurrent.futures` can stop for ever when its processes are renewed.
    """
    documents = [(seed * SEED_STEP + number, min(logs, pairs - number * logs)) for number in range(-(-pairs // logs))]
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, maxtasksperchild=DOCUMENTS_PER_PROCESS) as pool:
        yield from pool.imap(_compare, documents[after // logs :])


def _compare(document: tuple[int, int]) -> Tally:
    return compare_document(*document)


def _print(total: Tally) -> None:
    print(f"{total.pairs:,} pairs over {total.documents:,} documents, {total.watched:,} watched after every record")
    for kind, names in groupby(sorted(total.seen), key=lambda name: name[0]):
        print(f"{kind:12} " + ", ".join(f"{name} {total.seen[kind, name]:,}" for _, name in names))


if __name__ == "__main__":
    try:
        main()
    except DifferenceError as problem:
        sys.exit(str(problem))
