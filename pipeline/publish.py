"""What a job does for readers when its batches are committed: a copy of the book, and its Parquet export.

DuckDB lets nobody read a file while somebody writes it, so analysts get a copy of their own. It takes the place of the
one before by a rename: who has the old one open goes on reading it, and nobody ever sees half a book.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from earnbook.pipeline.config import Publication
from earnbook.pipeline.errors import BookError, EarnbookError, Refused
from earnbook.pipeline.export import ExportRequest, export_book
from earnbook.pipeline.export_files import whole_file


class PublishError(EarnbookError):
    """What was committed could not be published."""


def refuse_publication(publication: Publication, book: Path, *, dry_run: bool = False) -> None:
    """Refuses, before anything is decided, what could not be published."""
    if publication == Publication():
        return
    if dry_run:
        raise Refused("a dry run publishes nothing", "Leave out --publish and --read-copy, or --dry-run.")
    copy = publication.read_copy
    if copy is not None and copy.resolve() == book.resolve():
        raise Refused("the read copy is the book itself", "Give --read-copy another FILE.")
    if copy is not None and not copy.parent.is_dir():
        raise Refused(f"there is no directory {copy.parent}", "Make it, or give --read-copy another FILE.")


def publish(publication: Publication, book: Path) -> None:
    """Publishes a book that no session has open and no writer can change; the batches are committed whatever happens.

    The export checks the files of earlier batches by size alone: a nightly job should not read all of its history.
    """
    try:
        if publication.directory is not None:
            export_book(ExportRequest(book=book, directory=publication.directory, check_bytes=False))
        if publication.read_copy is not None:
            copy_book(book, publication.read_copy)
    except EarnbookError as error:
        raise PublishError(
            f"the batches are committed, but not published: {error.message}",
            f"{error.remedy} The same command again publishes them.",
        ) from error


def copy_book(book: Path, copy: Path) -> None:
    """A copy of the book's file in the place of the one before."""
    log = book.with_name(f"{book.name}.wal")
    if log.exists():
        raise BookError(
            f"{book} was not closed: there is a log of changes beside it ({log.name})",
            "Run any command that writes to the book, then copy it again.",
        )
    with whole_file(copy) as part:
        shutil.copyfile(book, part)
