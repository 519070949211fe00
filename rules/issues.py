"""Issues: mistakes in definitions and expressions, as values that are collected and shown together.

A reader or checker never stops at the first mistake: it returns or raises *all* of them, each with a code
(Appendix A.5), the place, and a remedy. An issue about an expression carries the expression's text and a span, so that
it is shown with a caret. Nothing here reads files; whoever knows the place adds it with `Issue.at`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum

from earnbook.rules.syntax import Span

ISSUES_SHOWN_MAX = 100
"""How many issues one message lists; the rest are counted."""

WARNINGS_SHOWN_MAX = 10
"""How many warnings about definitions the summary of a run lists."""

_SOURCE_WIDTH_MAX = 160
_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s,:\[\]{}]+")


class IssueCode(StrEnum):
    """The definition errors of Appendix A.5, in its order."""

    SYNTAX = "SYNTAX"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    MISSING_FIELD = "MISSING_FIELD"
    INVALID_VALUE = "INVALID_VALUE"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    UNKNOWN_REFERENCE = "UNKNOWN_REFERENCE"
    IMMUTABLE_FIELD = "IMMUTABLE_FIELD"
    ARCHIVED_PROGRAM = "ARCHIVED_PROGRAM"
    ORDER_CLASH = "ORDER_CLASH"
    CEL_SYNTAX = "CEL_SYNTAX"
    CEL_UNKNOWN_NAME = "CEL_UNKNOWN_NAME"
    CEL_TYPE = "CEL_TYPE"
    CEL_TOO_LARGE = "CEL_TOO_LARGE"
    ASSET_NOT_LINKED = "ASSET_NOT_LINKED"
    NOT_LOT_ASSET = "NOT_LOT_ASSET"
    INVALID_LOT_DATES = "INVALID_LOT_DATES"
    INVALID_TARGET = "INVALID_TARGET"
    INVALID_COMBINATION = "INVALID_COMBINATION"
    TIER_LIFECYCLE = "TIER_LIFECYCLE"
    TRIGGER_SCOPE = "TRIGGER_SCOPE"
    CRON = "CRON"
    DURATION = "DURATION"


class LintCode(StrEnum):
    """What is legal but surely not meant: the code of a warning about an expression."""

    UPPER_CASE_TAG = "UPPER_CASE_TAG"
    UNDECLARED_FIELD = "UNDECLARED_FIELD"
    NEVER_EQUAL = "NEVER_EQUAL"
    CONSTANT_CONDITION = "CONSTANT_CONDITION"
    UNGUARDED_HAS = "UNGUARDED_HAS"
    UNROUNDED_AMOUNT = "UNROUNDED_AMOUNT"
    UNWRITTEN_STATE = "UNWRITTEN_STATE"


class Severity(StrEnum):
    """An error refuses the load; a warning is shown and the load goes on."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Issue:
    """One mistake.

    `line` and `column` count from 1 and say where the value stands in `file`; `path` names the object and field inside
    the document. `span` counts characters of `source`, the text of the expression, from 0. `line_text` is what the
    file has in that line; it is shown where there is no expression to show.
    """

    code: IssueCode | LintCode
    message: str
    remedy: str = ""
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    source: str | None = None
    span: Span | None = None
    severity: Severity = Severity.ERROR
    line_text: str | None = field(default=None, compare=False)

    def at(
        self, *, file: str | None = None, line: int | None = None, column: int | None = None, path: str | None = None
    ) -> Issue:
        """The same issue at a place; parts that are already known stay as they are."""
        return replace(
            self,
            file=self.file if self.file is not None else file,
            line=self.line if self.line is not None else line,
            column=self.column if self.column is not None else column,
            path=self.path if self.path is not None else path,
        )

    def with_lines(self, lines: Sequence[str]) -> Issue:
        """The same issue with its line of its file, of which these are all."""
        if self.line is None or not 0 < self.line <= len(lines):
            return self
        return replace(self, line_text=lines[self.line - 1])

    @property
    def is_error(self) -> bool:
        """Whether this issue refuses a load."""
        return self.severity is Severity.ERROR


class IssueError(Exception):
    """A definition or expression was refused; `issues` holds every mistake found, in the order they are shown."""

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues: tuple[Issue, ...] = tuple(sort_issues(issues))
        if not self.issues:
            raise ValueError("an IssueError needs at least one issue")
        super().__init__(render_issues(self.issues))


def cel_syntax(source: str, span: Span, message: str, remedy: str = "") -> Issue:
    """The expression cannot be parsed."""
    return Issue(IssueCode.CEL_SYNTAX, message, remedy, source=source, span=span)


def cel_unknown_name(source: str, span: Span, *, what: str, name: str, known: Iterable[str]) -> Issue:
    """A variable, function, method or field that does not exist; the remedy names the nearest one that does."""
    return Issue(
        IssueCode.CEL_UNKNOWN_NAME,
        f"there is no {what} `{name}`",
        suggest(name, known),
        source=source,
        span=span,
    )


def cel_type(source: str, span: Span, message: str, remedy: str = "") -> Issue:
    """The expression can only fail: an operator or function never accepts what it is given."""
    return Issue(IssueCode.CEL_TYPE, message, remedy, source=source, span=span)


def cel_too_large(source: str, span: Span, message: str, remedy: str) -> Issue:
    """The expression exceeds a limit of §11.5."""
    return Issue(IssueCode.CEL_TOO_LARGE, message, remedy, source=source, span=span)


def cel_warning(code: LintCode, source: str, span: Span, message: str, remedy: str) -> Issue:
    """Legal, but surely not what is meant."""
    return Issue(code, message, remedy, source=source, span=span, severity=Severity.WARNING)


def suggest(name: str, known: Iterable[str]) -> str:
    """A remedy that names what was probably meant, or what there is to choose from when nothing is near."""
    choices = sorted(set(known))
    lowered: dict[str, str] = {}
    for choice in choices:
        lowered.setdefault(choice.lower(), choice)
    near = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.66)
    if near:
        return f"did you mean `{lowered[near[0]]}`?"
    if not choices:
        return ""
    if len(choices) > 12:
        return f"there are {len(choices)} to choose from, such as {_quoted(choices[:6])}"
    return f"choose one of {_quoted(choices)}"


def summarise_warnings(issues: Iterable[Issue], *, shown_max: int = WARNINGS_SHOWN_MAX) -> list[str]:
    """Warnings as single lines for the summary of a run: what and where; beyond `shown_max` they are only counted."""
    warnings = [issue for issue in sort_issues(issues) if not issue.is_error]
    lines = [": ".join(part for part in (issue.path, issue.message) if part) for issue in warnings[:shown_max]]
    if len(warnings) > shown_max:
        lines.append(f"{len(warnings) - shown_max} more warnings about definitions; `earnbook rules check` shows all")
    return lines


def sort_issues(issues: Iterable[Issue]) -> list[Issue]:
    """Issues in reading order: file, line, column, path, place in the expression, code, message."""
    return sorted(
        issues,
        key=lambda issue: (
            issue.file or "",
            issue.line or 0,
            issue.column or 0,
            issue.path or "",
            issue.span.start if issue.span else -1,
            issue.code.value,
            issue.message,
        ),
    )


def render_issues(issues: Iterable[Issue], *, shown_max: int = ISSUES_SHOWN_MAX) -> str:
    """All issues as text in reading order; beyond `shown_max` they are only counted."""
    ordered = sort_issues(issues)
    blocks = [render_issue(issue) for issue in ordered[:shown_max]]
    if len(ordered) > shown_max:
        blocks.append(f"… and {len(ordered) - shown_max} more")
    return "\n".join(blocks)


def render_issue(issue: Issue) -> str:
    """One issue as text: `file:line: path: CODE message`, then the expression with carets, then the remedy."""
    lines = [_headline(issue)]
    if issue.source is not None:
        lines += _source_with_caret(issue.source, issue.span)
    elif issue.line_text is not None and issue.column is not None:
        lines += _line_with_caret(issue.line_text, issue.column - 1)
    if issue.remedy:
        lines.append(f"    remedy: {issue.remedy}")
    return "\n".join(lines)


def _headline(issue: Issue) -> str:
    place = issue.file or ""
    if issue.line is not None:
        place += f":{issue.line}" if place else f"line {issue.line}"
    parts = [part for part in (place, issue.path) if part]
    label = f"{issue.code.value} (warning)" if issue.severity is Severity.WARNING else issue.code.value
    return ": ".join([*parts, f"{label} {issue.message}"])


def _line_with_caret(line: str, start: int) -> list[str]:
    """A line of a file without its indentation, and carets under the word that starts at a position."""
    indentation = min(len(line) - len(line.lstrip()), start)
    word = _WORD.match(line, start)
    end = word.end() if word else start + 1
    return _source_with_caret(line[indentation:], Span(start - indentation, end - indentation))


def _source_with_caret(source: str, span: Span | None) -> list[str]:
    """The line of `source` in which the span starts, and below it carets under the span's part of that line."""
    if span is None:
        first, _, _ = source.partition("\n")
        return [f"    {_clip(_printable(first), 0)[0]}"]
    start = min(span.start, len(source))
    line_start = source.rfind("\n", 0, start) + 1
    line_end = source.find("\n", start)
    line = source[line_start : len(source) if line_end < 0 else line_end]
    begin = start - line_start
    length = max(1, min(span.end, line_start + len(line)) - start)
    line, begin = _clip(_printable(line), begin)
    marked = line[begin : begin + length]
    carets = "^" * max(1, _width(marked))
    return [f"    {line}", f"    {' ' * _width(line[:begin])}{carets}"]


def _printable(line: str) -> str:
    """The line with control characters (tabs too) as single spaces, so that the caret stays below its character."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in line)


def _clip(line: str, begin: int) -> tuple[str, int]:
    """A window of a very long line around `begin`, and `begin` inside it."""
    if len(line) <= _SOURCE_WIDTH_MAX:
        return line, begin
    left = max(0, min(begin - _SOURCE_WIDTH_MAX // 2, len(line) - _SOURCE_WIDTH_MAX))
    window = line[left : left + _SOURCE_WIDTH_MAX]
    prefix = "…" if left else ""
    suffix = "…" if left + _SOURCE_WIDTH_MAX < len(line) else ""
    return f"{prefix}{window}{suffix}", begin - left + len(prefix)


def _width(text: str) -> int:
    """Columns a terminal gives to the text: wide characters two, combining characters none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
