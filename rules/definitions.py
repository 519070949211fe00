"""The definitions of one organization: read, checked, resolved, hashed (§6).

`load_definitions` takes files and gives `Definitions`, or raises one `IssueError` with every mistake. What comes out is
complete and exact: references are natural keys, ids and orders are set, and one canonical JSON text says it all. Its
SHA-256 is the ruleset hash. Nothing here knows a book; what a book holds already is the matter of `definitions_diff`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from earnbook.rules.canonical import canonical_json, read_json, sha256_text
from earnbook.rules.definitions_build import build
from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.definitions_read import Document, as_paths, read_documents
from earnbook.rules.issues import Issue, IssueError, sort_issues
from earnbook.rules.models import Asset, Organization, Program, Rule, Source
from earnbook.rules.models_automations import Automation, Webhook
from earnbook.rules.models_fields import Definition
from earnbook.rules.models_tiers import Reward, TierType

MODELS: dict[str, type[Definition]] = {
    "organization": Organization,
    "webhook": Webhook,
    "asset": Asset,
    "program": Program,
    "rule": Rule,
    "tier": TierType,
    "reward": Reward,
    "automation": Automation,
}
"""The model of each kind of object."""


@dataclass(frozen=True, slots=True)
class DefinedObject:
    """One object of the definitions: `kind` is a word of §2.3 (organization, asset, program, rule, tier …).

    `key` is its natural key, `program` the key of its program (empty for objects of the organization), `snapshot` its
    canonical JSON without the objects inside it.
    """

    kind: str
    id: str
    key: str
    program: str
    status: str
    snapshot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """All definitions of one load, resolved; lists in file order.

    `document` is the canonical JSON of everything but `sources`, `hash` its SHA-256. `orders_assigned` are the ids of
    rules whose order was chosen here; `origins` says where each object (by id) stands in the files.
    """

    organization: Organization
    assets: tuple[Asset, ...]
    programs: tuple[Program, ...]
    sources: Mapping[str, Source]
    document: str
    hash: str
    warnings: tuple[Issue, ...] = ()
    orders_assigned: frozenset[str] = frozenset()
    origins: Mapping[str, RawObject] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def from_document(document: str, *, sources: str = "{}") -> Definitions:
        """The definitions of a stored canonical document (and the stored `sources` block).

        What was stored was checked when it was loaded; here only its form is. Raises ValueError where that is wrong.
        """
        read = read_json(document)
        organization = Organization.model_validate(read["organization"])
        assets = tuple(Asset.model_validate(asset) for asset in read["assets"])
        programs = tuple(Program.model_validate(program) for program in read["programs"])
        text = _document(organization, assets, programs)
        return Definitions(
            organization=organization,
            assets=assets,
            programs=programs,
            sources={name: Source.model_validate(source) for name, source in read_json(sources).items()},
            document=text,
            hash=sha256_text(text),
        )

    def asset(self, symbol: str) -> Asset | None:
        """The asset with this symbol."""
        return next((asset for asset in self.assets if asset.symbol == symbol), None)

    def program(self, key: str) -> Program | None:
        """The program with this key."""
        return next((program for program in self.programs if program.key == key), None)

    def rules(self) -> Iterator[tuple[Program, Rule]]:
        """All rules with their programs, programs and rules in file order."""
        return ((program, rule) for program in self.programs for rule in program.rules)

    def objects(self) -> Iterator[DefinedObject]:
        """All objects: organization, webhooks, assets, then each program followed by what is in it."""
        organization = self.organization
        yield _defined("organization", organization.key, "", organization)
        for webhook in organization.webhooks:
            yield _defined("webhook", webhook.key, "", webhook)
        for asset in self.assets:
            yield _defined("asset", asset.symbol, "", asset)
        for program in self.programs:
            yield _defined("program", program.key, "", program)
            for kind, members in _children(program):
                for member in members:
                    yield _defined(kind, member.key, program.key, member)

    def sources_document(self) -> str:
        """The `sources` block as canonical JSON, to be stored beside the document."""
        return canonical_json({name: to_plain(source) for name, source in self.sources.items()})

    def replaced(
        self,
        *,
        assets: Sequence[Asset] | None = None,
        programs: Sequence[Program] | None = None,
        organization: Organization | None = None,
    ) -> Definitions:
        """The same definitions with other objects; document and hash follow."""
        organization = self.organization if organization is None else organization
        assets = self.assets if assets is None else tuple(assets)
        programs = self.programs if programs is None else tuple(programs)
        document = _document(organization, assets, programs)
        return replace(
            self,
            organization=organization,
            assets=assets,
            programs=programs,
            document=document,
            hash=sha256_text(document),
        )


def load_definitions(paths: str | Path | Iterable[str | Path]) -> Definitions:
    """The definitions in a file or under a directory (or several); raises IssueError with all mistakes at once."""
    definitions, issues = check_definitions(paths)
    if definitions is None:
        raise IssueError(issue for issue in issues if issue.is_error)
    return definitions


def check_definitions(paths: str | Path | Iterable[str | Path]) -> tuple[Definitions | None, list[Issue]]:
    """As `load_definitions`, with all mistakes and warnings as values; no definitions when there is a mistake."""
    documents, issues = read_documents(as_paths(paths))
    definitions = _assemble(documents, issues)
    lines = {document.file: document.lines for document in documents}
    return definitions, sort_issues(issue.with_lines(lines.get(issue.file or "", ())) for issue in issues)


def to_plain(model: BaseModel) -> dict[str, Any]:
    """A model as plain values for canonical JSON: absent fields left out, times and durations as text."""
    dumped = model.model_dump(mode="python")
    plain: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if value is None:
            continue
        if isinstance(value, Definition):
            plain[name] = to_plain(value)
        elif isinstance(value, tuple):
            plain[name] = [to_plain(item) if isinstance(item, Definition) else item for item in value]
        else:
            plain[name] = dumped[name]
    return plain


def restore(kind: str, snapshot: str) -> Definition:
    """The model of a `DefinedObject.snapshot`, as it was stored."""
    return MODELS[kind].model_validate(read_json(snapshot))


def _assemble(documents: Sequence[Document], issues: list[Issue]) -> Definitions | None:
    resolved = build(documents, issues)
    if resolved is None or any(issue.is_error for issue in issues):
        return None
    document = _document(resolved.organization, resolved.assets, resolved.programs)
    return Definitions(
        organization=resolved.organization,
        assets=resolved.assets,
        programs=resolved.programs,
        sources=resolved.sources,
        document=document,
        hash=sha256_text(document),
        warnings=tuple(sort_issues(issues)),
        orders_assigned=resolved.orders_assigned,
        origins=resolved.origins,
    )


def _document(organization: Organization, assets: Sequence[Asset], programs: Sequence[Program]) -> str:
    return canonical_json(
        {
            "organization": to_plain(organization),
            "assets": [to_plain(asset) for asset in assets],
            "programs": [to_plain(program) for program in programs],
        }
    )


def _children(program: Program) -> tuple[tuple[str, tuple[Rule | TierType | Reward | Automation, ...]], ...]:
    return (
        ("rule", program.rules),
        ("tier", program.tiers),
        ("reward", program.rewards),
        ("automation", program.automations),
    )


def _defined(kind: str, key: str, program: str, model: Definition) -> DefinedObject:
    plain = to_plain(model)
    inside = {"program": ("rules", "tiers", "rewards", "automations"), "organization": ("webhooks",)}
    for name in inside.get(kind, ()):
        plain.pop(name, None)
    return DefinedObject(kind, plain["id"], key, program, str(plain.get("status", "ACTIVE")), canonical_json(plain))
