"""What a load changes in a book (§6.3): pure, from the stored objects and the new definitions.

The files of a load are complete: rules, rewards and automations that the book has and the files have not are archived
(which needs consent), while absent assets, programs and tier types stay as they are. Orders that were assigned before
are kept, asset links are never removed, and fields that cannot change are refused.

Only what files *state* is compared here. Statuses that operations set are state of the book; the caller passes the
programs' as `program_statuses`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earnbook.rules.canonical import canonical_json, read_json
from earnbook.rules.definitions import DefinedObject, Definitions, restore
from earnbook.rules.definitions_build import assign_orders, check_orders
from earnbook.rules.definitions_collect import issue_of
from earnbook.rules.issues import Issue, IssueCode, IssueError
from earnbook.rules.models import Asset, Program
from earnbook.rules.models_fields import Definition

IMMUTABLE: dict[str, tuple[str, ...]] = {
    "organization": ("key", "id"),
    "asset": ("symbol", "scale", "inventory_mode", "issuance_policy", "id"),
    "program": ("key", "id"),
    "rule": ("program_id", "key", "id"),
    "tier": ("program_id", "key", "id"),
    "reward": ("program_id", "redemption_type", "asset_id", "id"),
    "automation": ("program_id", "key", "id"),
    "webhook": ("id",),
}
"""Fields that a load cannot change (§6.2), by kind of object."""

ARCHIVED_BY_ABSENCE = ("rule", "reward", "automation")
"""Kinds that are archived when a complete load has them no more, and only with consent (`--prune`)."""

_CHANGE_TYPES = {
    "ARCHIVED": "archived",
    "SUSPENDED": "suspended",
    "PAUSED": "suspended",
    "DISABLED": "suspended",
    "ACTIVE": "activated",
}

_LISTS = (("rules", "rule"), ("tiers", "tier"), ("rewards", "reward"), ("automations", "automation"))


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a book: its newest history row. `program` is the key of its program, empty for others."""

    kind: str
    id: str
    key: str
    program: str
    version: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One row of the definition history (§18.6); `changes` is canonical JSON, field → {old, new}."""

    kind: str
    id: str
    key: str
    program: str
    version: int
    change_type: str
    changes: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a load would do. `definitions` are those that would be in force: the files' with kept orders and links, and
    the absent objects that stay; objects archived by absence are not among them. `archived` are the changes among
    `changes` that archive by absence and need consent; with any of `issues` the load is refused.
    """

    definitions: Definitions
    changes: tuple[ObjectChange, ...]
    archived: tuple[ObjectChange, ...]
    issues: tuple[Issue, ...]

    def require(self) -> LoadPlan:
        """This plan, or IssueError with its issues."""
        if self.issues:
            raise IssueError(self.issues)
        return self


def plan_load(
    stored: Sequence[StoredObject],
    new: Definitions,
    *,
    program_statuses: Mapping[str, str] | None = None,
) -> LoadPlan:
    """What loading `new` into a book with the objects `stored` (in number order) changes.

    Changes come in file order, then objects archived by absence in number order. `program_statuses` (by program key)
    are the statuses that operations have set.
    """
    return _Planner(stored, new, program_statuses or {}).plan()


class _Planner:
    def __init__(self, stored: Sequence[StoredObject], new: Definitions, statuses: Mapping[str, str]) -> None:
        self._stored = stored
        self._by_id = {item.id: item for item in stored}
        self._by_key = {(item.kind, item.program, item.key): item for item in stored}
        self._statuses = statuses
        self._issues: list[Issue] = []
        self._definitions = self._with_links(self._with_orders(new))
        self._present = {item.id for item in self._definitions.objects()}
        self._present |= {old.id for item in self._definitions.objects() if (old := self._old(item))}

    def plan(self) -> LoadPlan:
        foreign = self._check_organization()
        if foreign is not None:
            return LoadPlan(self._definitions, (), (), (foreign,))
        frozen = self._frozen_programs()
        changes = []
        for item in self._definitions.objects():
            change = self._change(item)
            if change is None:
                continue
            changes.append(change)
            if item.program in frozen:
                self._refuse_archived(item)
        absent = [item for item in self._stored if item.id not in self._present]
        archived = [item for item in absent if self._is_archived_by_absence(item, frozen)]
        staying = [item for item in absent if item not in archived and item.kind != "webhook"]
        gone = [_archive(item) for item in archived]
        definitions = self._with_absent(staying)
        issues = [*self._issues, *check_orders(definitions.programs, definitions.origins)]
        needing_consent = tuple(change for change in gone if change.kind in ARCHIVED_BY_ABSENCE)
        return LoadPlan(definitions, (*changes, *gone), needing_consent, tuple(issues))

    def _with_orders(self, new: Definitions) -> Definitions:
        """Orders assigned before stay; rules that are new to the book follow the highest order it knows."""
        programs = []
        for program in new.programs:
            known = [item for item in self._stored if item.kind == "rule" and item.program == program.key]
            kept = {item.id: int(read_json(item.snapshot)["order"]) for item in known}
            rules = [
                rule.model_copy(update={"order": 0}) if rule.id in new.orders_assigned else rule
                for rule in program.rules
            ]
            programs.append(program.model_copy(update={"rules": assign_orders(rules, kept)}))
        return new.replaced(programs=programs)

    def _with_links(self, new: Definitions) -> Definitions:
        """Links that the book has stay (§6.3): only `unlink_asset` removes one."""
        assets = []
        for asset in new.assets:
            item = self._by_id.get(asset.id)
            linked = read_json(item.snapshot)["programs"] if item else []
            programs = (*asset.programs, *(key for key in linked if key not in asset.programs))
            assets.append(asset.model_copy(update={"programs": programs}))
        return new.replaced(assets=assets)

    def _with_absent(self, staying: Sequence[StoredObject]) -> Definitions:
        """The definitions in force: with the absent objects that stay, after those of the files."""
        models = {item.id: restore(item.kind, item.snapshot) for item in staying if not _is_retired(item)}
        kinds: dict[str, list[StoredObject]] = {}
        for item in staying:
            if item.id in models:
                kinds.setdefault(item.kind, []).append(item)
        assets = [model for item in kinds.get("asset", ()) if isinstance(model := models[item.id], Asset)]
        programs = [model for item in kinds.get("program", ()) if isinstance(model := models[item.id], Program)]
        completed = []
        for program in (*self._definitions.programs, *programs):
            lists = {
                name: (*getattr(program, name), *_of_program(kinds.get(kind, ()), models, program.key))
                for name, kind in _LISTS
            }
            completed.append(program.model_copy(update=lists))
        return self._definitions.replaced(assets=(*self._definitions.assets, *assets), programs=completed)

    def _old(self, item: DefinedObject) -> StoredObject | None:
        found = self._by_id.get(item.id) or self._by_key.get((item.kind, item.program, item.key))
        return found if found is not None and found.kind == item.kind else None

    def _check_organization(self) -> Issue | None:
        """A book holds one organization (§2.1); another one's definitions do not belong into it."""
        known = next((item for item in self._stored if item.kind == "organization"), None)
        organization = self._definitions.organization
        if known is None or known.id == organization.id:
            return None
        message = f"the book belongs to organization `{known.key}`, not `{organization.key}`"
        remedy = f"use another book, or write key: {known.key}"
        return self._issue(organization.id, IssueCode.IMMUTABLE_FIELD, message, remedy, "key")

    def _frozen_programs(self) -> frozenset[str]:
        """Programs that are ARCHIVED before and after the load: nothing in them can change."""
        frozen = set()
        for item in self._stored:
            if item.kind != "program":
                continue
            stated = read_json(item.snapshot)["status"]
            current = self._statuses.get(item.key, stated)
            program = self._definitions.program(item.key)
            after = current if program is None or program.status == stated else program.status
            if current == after == "ARCHIVED":
                frozen.add(item.key)
        return frozenset(frozen)

    def _change(self, item: DefinedObject) -> ObjectChange | None:
        old = self._old(item)
        if old is None:
            return _row(item.kind, item.id, item.key, item.program, 1, "created", {}, item.snapshot)
        if old.snapshot == item.snapshot:
            return None
        before, after = read_json(old.snapshot), read_json(item.snapshot)
        fields = _changed_fields(before, after)
        self._check_immutable(item, before, after, fields)
        change_type = "updated"
        if "status" in fields:
            change_type = _CHANGE_TYPES.get(str(after.get("status")).upper(), "updated")
        return _row(item.kind, item.id, item.key, item.program, old.version + 1, change_type, fields, item.snapshot)

    def _check_immutable(
        self, item: DefinedObject, before: Mapping[str, Any], after: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> None:
        names = [name for name in IMMUTABLE[item.kind] if name in fields]
        if item.kind == "tier" and before.get("status") == "ARCHIVED" and "status" in fields:
            names.append("status")
        if item.kind == "tier":
            self._check_levels(item, before, after)
        for name in names:
            message = f"`{name}` of {item.kind} `{item.key}` cannot change from {before.get(name)} to {after.get(name)}"
            remedy = f"write {name}: {before.get(name)}, or define a new {item.kind} under another key"
            self._issues.append(self._issue(item.id, IssueCode.IMMUTABLE_FIELD, message, remedy, name))

    def _check_levels(self, item: DefinedObject, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Somebody may be on a level, so its key stays (§6.2); who is on it follows from no load (§6.3)."""
        kept = {level["key"] for level in after["levels"]}
        for level in before["levels"]:
            if level["key"] not in kept:
                message = f"level `{level['key']}` of tier type `{item.key}` cannot be removed or get another key"
                remedy = "keep it; without qualification nobody reaches it by counters"
                self._issues.append(self._issue(item.id, IssueCode.IMMUTABLE_FIELD, message, remedy, "levels"))

    def _refuse_archived(self, item: DefinedObject) -> None:
        message = f"program `{item.program}` is ARCHIVED; its {item.kind} `{item.key}` cannot change"
        remedy = f"set status: ACTIVE of program {item.program}, or undo the change"
        self._issues.append(self._issue(item.id, IssueCode.ARCHIVED_PROGRAM, message, remedy))

    def _issue(self, identifier: str, code: IssueCode, message: str, remedy: str, *steps: str) -> Issue:
        return issue_of(self._definitions.origins, identifier, Issue(code, message, remedy), *steps)

    def _is_archived_by_absence(self, item: StoredObject, frozen: frozenset[str]) -> bool:
        absent_matters = item.kind in ARCHIVED_BY_ABSENCE or item.kind == "webhook"
        return absent_matters and not _is_retired(item) and item.program not in frozen


def _of_program(items: Sequence[StoredObject], models: Mapping[str, Definition], program: str) -> Iterator[Definition]:
    return (models[item.id] for item in items if item.program == program)


def _is_retired(item: StoredObject) -> bool:
    """Whether a rule, reward, automation or webhook is archived already; other kinds never retire by absence."""
    if item.kind not in ARCHIVED_BY_ABSENCE and item.kind != "webhook":
        return False
    return str(read_json(item.snapshot)["status"]).upper() == "ARCHIVED"


def _archive(item: StoredObject) -> ObjectChange:
    before = read_json(item.snapshot)
    after = {**before, "status": "archived" if item.kind == "automation" else "ARCHIVED"}
    fields = _changed_fields(before, after)
    snapshot = canonical_json(after)
    return _row(item.kind, item.id, item.key, item.program, item.version + 1, "archived", fields, snapshot)


def _changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return {name: {"old": before.get(name), "new": after.get(name)} for name in names}


def _row(
    kind: str, identifier: str, key: str, program: str, version: int, change_type: str, fields: Any, snapshot: str
) -> ObjectChange:
    return ObjectChange(kind, identifier, key, program, version, change_type, canonical_json(fields), snapshot)
