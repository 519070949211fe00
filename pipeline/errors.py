"""Why a job stops. Everything a user's data can cause is an outcome or a reject instead; these stop the run.

Mistakes in definitions are `earnbook.rules.issues.IssueError`, not these.
"""

from __future__ import annotations


class EarnbookError(Exception):
    """The job could not be done: what happened, and what to try. Nothing uncommitted was written."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class Refused(EarnbookError):
    """A run or load that the rules of §4.3, §6.3 or an option forbid."""


class SourceError(EarnbookError):
    """An input that cannot be opened, or has no usable schema."""


class BookError(EarnbookError):
    """A book that cannot be opened, is of another format version, or is not what it should be."""


class BookLocked(BookError):
    """Another process writes to the book."""


class IntegrityError(EarnbookError):
    """An invariant broke before commit: a defect, never a user's mistake. The batch is not committed."""


class MissingExtra(EarnbookError):
    """A command that needs libraries of an extra which is not installed."""


class UntiedReport(EarnbookError):
    """A report whose figures do not bear each other out: the book is damaged, and no figure of it is shown (§20)."""
