"""What a definition file says, with the place of every value: the tree between a file and the models.

The tree has the JSON value set only (§6.1): mappings with text keys, sequences, and scalars that are null, true, false,
a number (int or Decimal, exact) or text. Lines and columns count from 1, as editors do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from earnbook.rules.issues import Issue, IssueCode
from earnbook.rules.models_fields import is_number_in_range

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
"""A JSON number; anything else that YAML might take for a number is text."""

DEPTH_MAX = 64
"""How deep a document may nest."""

SHORT_NAMES = {"asset_id": "asset", "program_id": "program"}
"""Reference fields that may be written short (§6.1)."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `text_lines` says where each line of a text begins, if that is known, for carets inside it."""

    value: bool | int | Decimal | str | None
    at: Position
    text_lines: tuple[Position, ...] = ()

    def locate(self, offset: int) -> Position:
        """The place of a character of the text; the scalar's own place where that is not known."""
        if not isinstance(self.value, str) or not self.text_lines:
            return self.at
        before = self.value[:offset]
        line = before.count("\n")
        if line >= len(self.text_lines):
            return self.at
        start = self.text_lines[line]
        return Position(start.file, start.line, start.column + len(before) - (before.rfind("\n") + 1))


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of values in file order."""

    items: tuple[Node, ...]
    at: Position


@dataclass(frozen=True, slots=True)
class Mapping:
    """Named values in file order; `keys` are the places of the names."""

    members: dict[str, Node]
    at: Position
    keys: dict[str, Position] = field(default_factory=dict)

    def without(self, names: Iterable[str]) -> Mapping:
        """The same mapping without some members."""
        dropped = set(names)
        return Mapping({name: node for name, node in self.members.items() if name not in dropped}, self.at, self.keys)

    def text(self, name: str) -> str:
        """The member's text, or empty where it is absent or no text."""
        node = self.members.get(name)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""

    def items_of(self, name: str) -> tuple[Node, ...]:
        """The items of a member that is a sequence, else nothing."""
        node = self.members.get(name)
        return node.items if isinstance(node, Sequence) else ()


Node: TypeAlias = Scalar | Sequence | Mapping


def is_null(node: Node | None) -> bool:
    """Whether a member is absent or null."""
    return node is None or (isinstance(node, Scalar) and node.value is None)


def plain(node: Node) -> Any:
    """The value without places: dict, list, text, bool, int, Decimal or None."""
    match node:
        case Mapping():
            return {name: plain(member) for name, member in node.members.items()}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.value


def follow(node: Node, steps: Iterable[str | int]) -> tuple[Node, list[str | int]]:
    """Walk down as far as the steps exist; steps that name no member (such as a union's tag) are passed over.

    Returns the last node reached and the steps that led there, with the names that the file uses.
    """
    taken: list[str | int] = []
    for step in steps:
        if isinstance(node, Mapping) and isinstance(step, str):
            name = member_name(node, step)
            if name is None:
                continue
            node, step = node.members[name], name
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            continue
        taken.append(step)
    return node, taken


def member_name(node: Mapping, name: str) -> str | None:
    """The name under which the file states a field, in full or short; None where it does not."""
    if name in node.members:
        return name
    short = SHORT_NAMES.get(name)
    return short if short in node.members else None


def show_path(base: str, steps: Iterable[str | int], root: Node | None = None) -> str:
    """`programs[loyalty].rules[base].actions[0].amount`: names joined by dots, items by key where they have one."""
    text, node = base, root
    for step in steps:
        if isinstance(step, int):
            item = node.items[step] if isinstance(node, Sequence) and step < len(node.items) else None
            text += f"[{label(item, step)}]"
            node = item
        else:
            name = (member_name(node, step) if isinstance(node, Mapping) else None) or step
            text += f".{name}" if text else name
            node = node.members.get(name) if isinstance(node, Mapping) else None
    return text


def label(node: Node | None, index: int) -> str:
    """What an item of a list is called: its key, symbol, name or id, else its index from 0."""
    if isinstance(node, Mapping):
        # An action's `key` names a counter, not the action.
        names = ("key", "symbol", "name", "id") if "type" not in node.members else ()
        for name in names:
            if found := node.text(name):
                return found
    return str(index)


def number_scalar(text: str, at: Position, issues: list[Issue]) -> Scalar:
    """A JSON number, exact; one outside the limits of §5.2 is a mistake."""
    whole = text.lstrip("-").isdecimal()
    number = Decimal(text)
    if not is_number_in_range(number):
        issues.append(
            Issue(
                IssueCode.INVALID_VALUE,
                "the number has more than 34 digits or an exponent beyond 400",
                "put it in quotes if it is text",
            ).at(file=at.file, line=at.line, column=at.column)
        )
        return Scalar(None, at)
    return Scalar(int(text) if whole else number, at)
