"""The jobs that write a book, as one call each: `run`, `advance`, `load` (§3, §4, §6.3).

Each opens the book, finds out where it stands, prepares a `Job` and reports. The wall clock is read once, here.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from earnbook.pipeline.clock import advance_clock, run_clock, wall_clock_us
from earnbook.pipeline.commit import store_pending_ruleset
from earnbook.pipeline.config import (
    COMPILE_STAGE,
    AdvanceRequest,
    ClockMode,
    LoadRequest,
    Progress,
    RunReport,
    RunRequest,
)
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.job import Job
from earnbook.pipeline.load import StoredRuleset, bring_checkpoint_forward, load_registers
from earnbook.pipeline.publish import publish, refuse_publication
from earnbook.pipeline.ruleset import RulesetLoad, prepare_ruleset, ruleset_in_force
from earnbook.pipeline.store import BookMode, open_book
from earnbook.rules.definitions import Definitions, load_definitions


def run(request: RunRequest, *, given: Definitions | None = None) -> RunReport:
    """The main job: read the inputs, decide every record, commit batches, report.

    `given` are definitions that were loaded already; they go before the request's files.

    Raises IssueError for mistakes in definitions; EarnbookError when the job cannot be done: `Refused`, `SourceError`,
    `BookError`, `BookLocked`. Batches that were committed before stay, and the same call does the rest.
    """
    started = time.perf_counter()
    if given is None and request.config is not None:
        given = load_definitions(request.config)
    if given is None and not request.book.exists():
        raise Refused(f"there is no book at {request.book}", "Give --book FILE, or --config DIR to make a new one.")
    wall_us = wall_clock_us() if request.wall_clock_us is None else request.wall_clock_us
    refuse_publication(request.publication, request.book, dry_run=request.dry_run)
    with ExitStack() as stack:
        path = _dry_path(stack, request.book) if request.dry_run else request.book
        book = stack.enter_context(open_book(path, mode=BookMode.WRITE, lock_wait_seconds=request.lock_wait_seconds))
        with ExitStack() as session:
            connection = session.enter_context(book.session())
            bring_checkpoint_forward(connection)
            registers = load_registers(connection)
            clock = run_clock(request, wall_us=wall_us, book_clock_us=registers.book_clock or 0)
            load = prepare_ruleset(connection, registers, given, prune=request.prune)
            request.progress(Progress(stage=COMPILE_STAGE, done=0, total=None, unit="rules"))
            job = Job(book, connection, request, clock, load, wall_us=wall_us)
            staged = job.stage()
            session.callback(staged.close)
            job.check(staged)
            job.decide(staged)
            report = job.report(staged)
        # The session is closed and the writer's lock still held, so what is published is what this run left.
        publish(request.publication, request.book)
    # Closing the book is part of the work: DuckDB moves what it logged into the file.
    return replace(report, seconds=time.perf_counter() - started)


def advance(request: AdvanceRequest) -> RunReport:
    """Do what falls due up to a time, in one batch without records (§4.3)."""
    started = time.perf_counter()
    wall_us = wall_clock_us() if request.wall_clock_us is None else request.wall_clock_us
    refuse_publication(request.publication, request.book)
    with ExitStack() as stack:
        # Opened for reading first: advancing a book that does not exist is a mistake, not a new book.
        open_book(request.book, mode=BookMode.READ).close()
        book = open_book(request.book, mode=BookMode.WRITE, lock_wait_seconds=request.lock_wait_seconds)
        stack.enter_context(book)
        with book.session() as connection:
            bring_checkpoint_forward(connection)
            registers = load_registers(connection)
            clock = advance_clock(request, wall_us=wall_us, book_clock_us=registers.book_clock or 0)
            run_request = RunRequest(
                book=request.book,
                inputs=(),
                clock=ClockMode.FIXED,
                clock_fixed_us=request.to_us,
                max_generated=request.max_generated,
                outbox=request.outbox,
                webhook_extensions=request.webhook_extensions,
                wall_clock_us=request.wall_clock_us,
                progress=request.progress,
            )
            job = Job(book, connection, run_request, clock, ruleset_in_force(connection), wall_us=wall_us)
            job.advance()
            report = job.report(None)
        publish(request.publication, request.book)
    return replace(report, seconds=time.perf_counter() - started)


def load(request: LoadRequest) -> RulesetLoad:
    """Store the files' definitions as a pending version for the next batch (§6.3); the clock does not move.

    Returns what will change; nothing is stored when nothing changes.
    """
    definitions = load_definitions(request.config)
    with (
        open_book(request.book, mode=BookMode.WRITE, lock_wait_seconds=request.lock_wait_seconds) as book,
        book.session() as connection,
    ):
        loaded = prepare_ruleset(connection, load_registers(connection), definitions, prune=request.prune)
        if loaded.stored is not None:
            stored = loaded.stored
            store_pending_ruleset(
                book,
                StoredRuleset(
                    version=stored.version, sha256=stored.sha256, document=stored.document, sources=stored.sources
                ),
            )
    return loaded


def _dry_path(stack: ExitStack, book: Path) -> Path:
    """The book itself, or one in a temporary folder when there is none yet: a dry run leaves no file behind."""
    if book.exists():
        return book
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earnbook-"))) / book.name
