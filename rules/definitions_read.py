"""Reads definition files (YAML or JSON, §6.1) into trees with places. The only module that knows YAML.

YAML is read with the JSON value set: `null`, `~` and nothing are null, `true` and `false` are booleans, JSON numbers
are exact numbers, and everything else is text: `yes`, `No`, `True`, `2026-01-01`, `0x10`, `007` and `1_000` are text.
Anchors, aliases, tags, duplicate names and second documents are mistakes. Mistakes are collected, not raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import yaml

from earnbook.rules import definitions_nodes as nodes
from earnbook.rules.definitions_nodes import DEPTH_MAX, Mapping, Node, Position, Scalar
from earnbook.rules.definitions_read_json import JsonReader
from earnbook.rules.issues import Issue, IssueCode

ENDINGS = (".yaml", ".yml", ".json")

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its name as shown, its content (an empty mapping for an empty file), and its lines as they stand."""

    file: str
    root: Mapping
    lines: Sequence[str] = field(default=(), repr=False)


def read_documents(paths: Sequence[Path]) -> tuple[list[Document], list[Issue]]:
    """All definition files at or under `paths`, in ascending path order, and what is wrong with them."""
    issues: list[Issue] = []
    documents = []
    for path in find_files(paths, issues):
        text = _read_text(path, issues)
        if text is not None:
            found: list[Issue] = []
            documents.append(read_text(text, file=str(path), issues=found))
            issues += [issue.with_lines(text.removeprefix("\ufeff").splitlines()) for issue in found]
    return [document for document in documents if document is not None], issues


def find_files(paths: Sequence[Path], issues: list[Issue]) -> list[Path]:
    """The files named by `paths` and, for directories, all definition files below; hidden ones are left out."""
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            below = [file for file in path.rglob("*") if _is_definition(file, path)]
            if not below:
                issues.append(_file_issue(path, "the directory has no definition files", "add a .yaml or .json file"))
            found.update(below)
        elif path.is_file():
            found.add(path)
        else:
            issues.append(_file_issue(path, "there is no such file or directory", "check --config"))
    return sorted(found, key=lambda path: path.as_posix())


def read_text(text: str, *, file: str, issues: list[Issue]) -> Document | None:
    """One file's text as a tree; None when it cannot be read at all. JSON by the file's ending, else YAML."""
    text = text.removeprefix("\ufeff")
    reader = JsonReader(text, file, issues) if file.lower().endswith(".json") else _YamlReader(text, file, issues)
    root = reader.read()
    if root is None:
        return None
    if isinstance(root, Scalar) and root.value is None:
        return Document(file, Mapping({}, root.at), text.splitlines())
    if not isinstance(root, Mapping):
        issues.append(
            Issue(
                IssueCode.SYNTAX,
                "a definition file is a mapping of names to values",
                "start with organization:, assets:, programs: or rules:",
            ).at(file=file, line=root.at.line, column=root.at.column)
        )
        return None
    return Document(file, root, text.splitlines())


class _Mark(Protocol):
    """A place as the YAML parser gives it, counted from 0."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class _YamlReader:
    """Builds the tree from the parser's events, so that what a loader would resolve silently is seen and refused."""

    def __init__(self, text: str, file: str, issues: list[Issue]) -> None:
        self._text = text
        self._lines: list[str] = []
        self._file = file
        self._issues = issues
        self._events: Iterator[yaml.Event] = iter(())

    def read(self) -> Node | None:
        """The root of the first document; None when the text is not YAML."""
        self._lines = self._text.splitlines()
        try:
            self._events = iter(list(yaml.parse(self._text, Loader=_Loader)))
        except yaml.MarkedYAMLError as error:
            at = self._position(error.problem_mark or error.context_mark)
            self._issue(IssueCode.SYNTAX, at, error.problem or "not YAML", _YAML_REMEDY)
            return None
        except yaml.YAMLError as error:
            self._issue(IssueCode.SYNTAX, Position(self._file, 1, 1), str(error).splitlines()[0], _YAML_REMEDY)
            return None
        return self._documents()

    def _documents(self) -> Node | None:
        root: Node | None = None
        seen = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                node = self._node(next(self._events), 0)
                if seen == 1:
                    root = node
                elif seen == 2:
                    at = self._position(event.start_mark)
                    self._issue(IssueCode.SYNTAX, at, "a second document starts here", "write one document per file")
        return root if seen else Scalar(None, Position(self._file, 1, 1))

    def _node(self, event: yaml.Event, depth: int) -> Node:
        at = self._position(event.start_mark)
        if depth > DEPTH_MAX:
            self._issue(IssueCode.SYNTAX, at, f"more than {DEPTH_MAX} levels deep", "write a flatter document")
            self._skip(event)
            return Scalar(None, at)
        self._refuse_anchors(event, at)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(at, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return nodes.Sequence(tuple(items), at)
        return self._scalar(event, at) if isinstance(event, yaml.ScalarEvent) else Scalar(None, at)

    def _mapping(self, at: Position, depth: int) -> Mapping:
        members: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key_at = self._position(event.start_mark)
            self._refuse_anchors(event, key_at)
            if not isinstance(event, yaml.ScalarEvent):
                self._issue(IssueCode.SYNTAX, key_at, "a name must be text", "write name: value")
                self._skip(event)
                self._node(next(self._events), depth + 1)
                continue
            value = self._node(next(self._events), depth + 1)
            if event.value in members:
                first = keys[event.value].line
                self._issue(
                    IssueCode.DUPLICATE_KEY,
                    key_at,
                    f"`{event.value}` is given twice; it stands already in line {first}",
                    "remove one of them",
                )
                continue
            members[event.value], keys[event.value] = value, key_at
        return Mapping(members, at, keys)

    def _scalar(self, event: yaml.ScalarEvent, at: Position) -> Scalar:
        text = event.value
        if event.style:  # quoted or block text is text, whatever it looks like
            return Scalar(text, at, self._text_lines(event, at))
        if text in ("", "~", "null"):
            return Scalar(None, at)
        if text in ("true", "false"):
            return Scalar(text == "true", at)
        if nodes.NUMBER.fullmatch(text):
            return nodes.number_scalar(text, at, self._issues)
        return Scalar(text, at, self._text_lines(event, at))

    def _text_lines(self, event: yaml.ScalarEvent, at: Position) -> tuple[Position, ...]:
        """Where the lines of a text begin; only for forms whose characters stand in the file one by one."""
        if event.style == "|":
            count = event.value.count("\n") + 1
            below = self._lines[at.line : at.line + count]
            indent = min((len(line) - len(line.lstrip(" ")) for line in below if line.strip()), default=0)
            return tuple(Position(at.file, at.line + 1 + index, indent + 1) for index in range(count))
        start, end = self._position(event.start_mark), self._position(event.end_mark)
        if event.style == ">" or start.line != end.line:
            return ()
        quote = 1 if event.style else 0
        # An escape inside quotes makes the text shorter than what stands in the file.
        one_by_one = end.column - start.column - 2 * quote == len(event.value)
        return (Position(at.file, at.line, at.column + quote),) if one_by_one else ()

    def _refuse_anchors(self, event: yaml.Event, at: Position) -> None:
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            self._issue(IssueCode.SYNTAX, at, f"alias *{anchor}: aliases are not read", "write the value out")
        elif anchor:
            self._issue(IssueCode.SYNTAX, at, f"anchor &{anchor}: anchors are not read", "remove the anchor")
        tag = getattr(event, "tag", None)
        if tag:
            self._issue(IssueCode.SYNTAX, at, f"tag {tag}: tags are not read", "remove the tag; quote text instead")

    def _skip(self, event: yaml.Event) -> None:
        """Read past a collection whose start event is already taken."""
        depth = 1 if isinstance(event, yaml.CollectionStartEvent) else 0
        while depth:
            event = next(self._events)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)

    def _position(self, mark: _Mark | None) -> Position:
        return Position(self._file, mark.line + 1, mark.column + 1) if mark is not None else Position(self._file, 1, 1)

    def _issue(self, code: IssueCode, at: Position, message: str, remedy: str) -> None:
        self._issues.append(Issue(code, message, remedy, file=at.file, line=at.line, column=at.column))


_YAML_REMEDY = "check indentation, quotes and brackets at this place"


def _read_text(path: Path, issues: list[Issue]) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        issue = Issue(IssueCode.SYNTAX, "the file is not UTF-8 text", "save it as UTF-8")
        issues.append(issue.at(file=str(path), line=line))
    except OSError as error:
        issues.append(_file_issue(path, f"cannot be read: {error.strerror}", "check the file's permissions"))
    return None


def _is_definition(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and file.name.lower().endswith(ENDINGS) and file.is_file()


def _file_issue(path: Path, message: str, remedy: str) -> Issue:
    return Issue(IssueCode.SYNTAX, message, remedy, file=str(path))


def as_paths(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """One path or several as a list."""
    if isinstance(paths, str | Path):
        return [Path(paths)]
    return [Path(path) for path in paths]
