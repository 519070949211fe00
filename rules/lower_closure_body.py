"""The text of generated source while it grows: indented lines, and marks around whatever can fail.

Marks are taken out at the end and leave a table from positions in the source to spans of the expression, so that
finding the place of an error costs nothing until somebody asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from earnbook.rules.syntax import Span
from earnbook.rules.values import Value

_MARK = re.compile("\x01([0-9]+)\x02|\x03")


@dataclass(frozen=True, slots=True)
class ClosureSource:
    """The source, the constants it refers to, and where each part of the expression stands in it."""

    source: str
    constants: Mapping[str, Value]
    places: tuple[tuple[int, int, int, Span], ...]

    def span_at(self, line: int, column: int, column_end: int) -> Span | None:
        """The span of the smallest part that covers a range of columns (from 0) of a line (from 1)."""
        covering = [
            (end - start, span)
            for at, start, end, span in self.places
            if at == line and start <= column and column_end <= end
        ]
        return min(covering, key=lambda found: found[0])[1] if covering else None


@dataclass(slots=True)
class Body:
    """The lines of one function of the source while it grows."""

    lines: list[str] = field(default_factory=list)
    indent: int = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self.indent += 1
        yield
        self.indent -= 1


def marked(node_id: int, text: str) -> str:
    """The text with marks that name the node it stands for."""
    return f"\x01{node_id}\x02{text}\x03"


def without_marks(text: str, spans: Mapping[int, Span]) -> tuple[str, tuple[tuple[int, int, int, Span], ...]]:
    """The source without markers, and (line, first column, end column, span) of what they enclosed."""
    lines: list[str] = []
    places: list[tuple[int, int, int, Span]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        clean = ""
        position = 0
        opened: list[tuple[int, int]] = []
        for mark in _MARK.finditer(line):
            clean += line[position : mark.start()]
            position = mark.end()
            if mark.group(1) is not None:
                opened.append((int(mark.group(1)), len(clean)))
            else:
                node_id, start = opened.pop()
                places.append((number, start, len(clean), spans[node_id]))
        lines.append(clean + line[position:])
    return "\n".join(lines), tuple(places)
