"""Reads JSON text into the same tree as YAML, with the place of every value (the standard library gives none)."""

from __future__ import annotations

import json
import re
from bisect import bisect_right

from earnbook.rules.definitions_nodes import DEPTH_MAX, NUMBER, Mapping, Node, Position, Scalar, Sequence, number_scalar
from earnbook.rules.issues import Issue, IssueCode

_SPACE = re.compile(r"[ \t\r\n]*")
_STRINGS = json.JSONDecoder()
_WORDS: dict[str, bool | None] = {"null": None, "true": True, "false": False}


class _Unreadable(Exception):
    """The text stops being JSON at a character."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


class JsonReader:
    """A recursive-descent reader; duplicate names are collected, the first syntax error ends the reading."""

    def __init__(self, text: str, file: str, issues: list[Issue]) -> None:
        self._text = text
        self._file = file
        self._issues = issues
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def read(self) -> Node | None:
        """The root value; None when the text is not JSON."""
        try:
            node, end = self._value(self._skip(0), 0)
            end = self._skip(end)
            if end < len(self._text):
                raise _Unreadable(end, "something stands after the end of the document")
        except _Unreadable as error:
            at = self._position(error.offset)
            issue = Issue(IssueCode.SYNTAX, str(error), "check commas, quotes and brackets at this place")
            self._issues.append(issue.at(file=at.file, line=at.line, column=at.column))
            return None
        return node

    def _value(self, offset: int, depth: int) -> tuple[Node, int]:
        at = self._position(offset)
        if depth > DEPTH_MAX:
            raise _Unreadable(offset, f"more than {DEPTH_MAX} levels deep")
        start = self._text[offset : offset + 1]
        if start == "{":
            return self._object(offset, depth)
        if start == "[":
            return self._array(offset, depth)
        if start == '"':
            text, end = self._string(offset)
            lines = (Position(at.file, at.line, at.column + 1),) if end - offset == len(text) + 2 else ()
            return Scalar(text, at, lines), end
        for word, value in _WORDS.items():
            if self._text.startswith(word, offset):
                return Scalar(value, at), offset + len(word)
        match = NUMBER.match(self._text, offset)
        if match is None:
            raise _Unreadable(offset, "a value is expected" if start else "the document ends too early")
        return number_scalar(match.group(), at, self._issues), match.end()

    def _object(self, offset: int, depth: int) -> tuple[Node, int]:
        at = self._position(offset)
        members: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        offset = self._skip(offset + 1)
        if self._text.startswith("}", offset):
            return Mapping(members, at, keys), offset + 1
        while True:
            if not self._text.startswith('"', offset):
                raise _Unreadable(offset, "a name in double quotes is expected")
            key_at = self._position(offset)
            name, offset = self._string(offset)
            value, offset = self._value(self._skip(self._expect(":", offset)), depth + 1)
            if name in members:
                self._duplicate(name, key_at, keys[name])
            else:
                members[name], keys[name] = value, key_at
            offset = self._skip(offset)
            if self._text.startswith("}", offset):
                return Mapping(members, at, keys), offset + 1
            offset = self._skip(self._expect(",", offset))

    def _array(self, offset: int, depth: int) -> tuple[Node, int]:
        at = self._position(offset)
        items: list[Node] = []
        offset = self._skip(offset + 1)
        if self._text.startswith("]", offset):
            return Sequence((), at), offset + 1
        while True:
            item, offset = self._value(offset, depth + 1)
            items.append(item)
            offset = self._skip(offset)
            if self._text.startswith("]", offset):
                return Sequence(tuple(items), at), offset + 1
            offset = self._skip(self._expect(",", offset))

    def _string(self, offset: int) -> tuple[str, int]:
        try:
            text, end = _STRINGS.raw_decode(self._text, offset)
        except json.JSONDecodeError as error:
            raise _Unreadable(error.pos, error.msg[:1].lower() + error.msg[1:]) from None
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _Unreadable(offset, "the text has half a surrogate pair")
        return str(text), end

    def _duplicate(self, name: str, at: Position, first: Position) -> None:
        message = f"`{name}` is given twice; it stands already in line {first.line}"
        issue = Issue(IssueCode.DUPLICATE_KEY, message, "remove one of them")
        self._issues.append(issue.at(file=at.file, line=at.line, column=at.column))

    def _expect(self, mark: str, offset: int) -> int:
        offset = self._skip(offset)
        if not self._text.startswith(mark, offset):
            raise _Unreadable(offset, f"`{mark}` is expected")
        return offset + 1

    def _skip(self, offset: int) -> int:
        match = _SPACE.match(self._text, offset)
        return match.end() if match else offset

    def _position(self, offset: int) -> Position:
        line = bisect_right(self._line_starts, offset)
        return Position(self._file, line, offset - self._line_starts[line - 1] + 1)
