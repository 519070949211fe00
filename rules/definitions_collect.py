"""Takes definition files apart into raw objects: which object stands where, and to which program it belongs (§6.1).

Objects of a program stand inside it or, with `program: key`, at the top of any file. The order of the objects is file
order: files in ascending path order, objects as they appear.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field

from earnbook.rules import definitions_nodes as nodes
from earnbook.rules.definitions_nodes import Mapping, Node, Position, Scalar, follow, label, plain, show_path
from earnbook.rules.definitions_read import Document
from earnbook.rules.issues import Issue, IssueCode, LintCode, Severity, suggest
from earnbook.rules.syntax import Span

CHILD_KINDS = {"rules": "rule", "tiers": "tier", "rewards": "reward", "automations": "automation"}
"""The lists of a program and the kind of object in each."""

_TOP_LEVEL = ("organization", "assets", "programs", *CHILD_KINDS, "sources")


@dataclass(frozen=True, slots=True, eq=False)
class RawObject:
    """One object as a file states it. `owner` is the program around it; `path` is where it stands, with its name."""

    kind: str
    node: Mapping
    path: str
    owner: RawObject | None = None

    def issue(
        self,
        code: IssueCode | LintCode,
        message: str,
        remedy: str,
        *steps: str | int,
        severity: Severity = Severity.ERROR,
    ) -> Issue:
        """An issue at a field of this object; the nearest value above where the field is absent."""
        at = self.position(*steps)
        return Issue(
            code,
            message,
            remedy,
            file=at.file,
            line=at.line,
            column=at.column,
            path=show_path(self.path, steps, self.node),
            severity=severity,
        )

    def position(self, *steps: str | int) -> Position:
        """Where a field stands: its name for a field, its value for an item of a list."""
        node, taken = follow(self.node, steps)
        if taken and isinstance(taken[-1], str):
            parent, _ = follow(self.node, taken[:-1])
            if isinstance(parent, Mapping) and taken[-1] in parent.keys:
                return parent.keys[taken[-1]]
        return node.at

    def expression_issue(self, issue: Issue, *steps: str | int) -> Issue:
        """An issue of an expression, at the character of the file where its span begins."""
        node, _ = follow(self.node, steps)
        span: Span | None = issue.span
        at = node.locate(span.start) if isinstance(node, Scalar) and span is not None else node.at
        return issue.at(file=at.file, line=at.line, column=at.column, path=show_path(self.path, steps, self.node))

    def name(self) -> str:
        """What the file calls the object: key, symbol, name or id; empty where it has none."""
        found = label(self.node, -1)
        return "" if found == "-1" else found


def issue_of(origins: AbstractMapping[str, RawObject], identifier: str, issue: Issue, *steps: str | int) -> Issue:
    """The issue at the object with this id; without a place where the object does not come from a file."""
    raw = origins.get(identifier)
    if raw is None:
        return issue.at(path=".".join(map(str, steps)) or None)
    return raw.issue(issue.code, issue.message, issue.remedy, *steps)


@dataclass(slots=True)
class Collected:
    """All raw objects of one load, by kind, each list in file order."""

    organization: RawObject | None = None
    assets: list[RawObject] = field(default_factory=list)
    programs: list[RawObject] = field(default_factory=list)
    children: list[RawObject] = field(default_factory=list)
    sources: dict[str, RawObject] = field(default_factory=dict)


def collect(documents: Sequence[Document], issues: list[Issue]) -> Collected:
    """The raw objects of all documents; misplaced ones are added to `issues`."""
    found = Collected()
    for document in documents:
        _collect_document(document, found, issues)
    if found.organization is None:
        top = documents[0].root.at if documents else None
        issues.append(
            Issue(
                IssueCode.MISSING_FIELD,
                "no file names the organization",
                "add organization: {key: my-company, name: My Company} to one file",
                file=top.file if top else None,
                line=top.line if top else None,
                column=top.column if top else None,
                path="organization",
            )
        )
    return found


def _collect_document(document: Document, found: Collected, issues: list[Issue]) -> None:
    top = RawObject("file", document.root, "")
    for name, node in document.root.members.items():
        match name:
            case "organization":
                _collect_organization(node, top, found, issues)
            case "assets":
                found.assets += _items(top, name, "asset", issues)
            case "programs":
                for program in _items(top, name, "program", issues):
                    found.programs.append(program)
                    for list_name, kind in CHILD_KINDS.items():
                        found.children += _items(program, list_name, kind, issues, owner=program)
            case "sources":
                _collect_sources(node, top, found, issues)
            case _ if name in CHILD_KINDS:
                found.children += _items(top, name, CHILD_KINDS[name], issues)
            case _:
                message = f"there is no field `{name}` at the top of a file"
                issues.append(top.issue(IssueCode.UNKNOWN_FIELD, message, suggest(name, _TOP_LEVEL), name))


def _collect_organization(node: Node, top: RawObject, found: Collected, issues: list[Issue]) -> None:
    if not isinstance(node, Mapping):
        issues.append(_not_a("mapping", top, "organization", remedy="write organization: {key: …, name: …}"))
        return
    if found.organization is not None:
        first = found.organization.node.at
        issues.append(
            top.issue(
                IssueCode.DUPLICATE_KEY,
                f"the organization is stated already in {first.file}:{first.line}",
                "one book has one organization: keep one of them",
                "organization",
            )
        )
        return
    found.organization = RawObject("organization", node, "organization")


def _collect_sources(node: Node, top: RawObject, found: Collected, issues: list[Issue]) -> None:
    if nodes.is_null(node):
        return
    if not isinstance(node, Mapping):
        issues.append(
            _not_a("mapping", top, "sources", remedy="write a name and its settings: pos_export: {select: …}")
        )
        return
    for name, source in node.members.items():
        if not isinstance(source, Mapping):
            issues.append(_not_a("mapping", top, "sources", name, remedy="give the source a select"))
        elif name in found.sources:
            message = f"source `{name}` stands already in {found.sources[name].node.at.file}"
            issues.append(top.issue(IssueCode.DUPLICATE_KEY, message, "rename one of them", "sources", name))
        else:
            found.sources[name] = RawObject("source", source, f"sources.{name}")


def _items(
    holder: RawObject, name: str, kind: str, issues: list[Issue], owner: RawObject | None = None
) -> Iterator[RawObject]:
    """The objects in one list of `holder`."""
    node = holder.node.members.get(name)
    if node is None or nodes.is_null(node):
        return
    if not isinstance(node, nodes.Sequence):
        issues.append(_not_a("list", holder, name, remedy=f"write each {kind} as an item that begins with `-`"))
        return
    for index, item in enumerate(node.items):
        if isinstance(item, Mapping):
            path = show_path(holder.path, (name, index), holder.node)
            yield RawObject(kind, item, path, owner)
        else:
            issues.append(_not_a("mapping", holder, name, index, remedy=f"write the fields of the {kind}"))


def _not_a(what: str, holder: RawObject, *steps: str | int, remedy: str) -> Issue:
    node, _ = follow(holder.node, steps)
    shown = "a list" if isinstance(node, nodes.Sequence) else "a mapping" if isinstance(node, Mapping) else plain(node)
    return holder.issue(IssueCode.INVALID_VALUE, f"a {what} is expected, not {shown}", remedy, *steps)
