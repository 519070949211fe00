"""The definitions a run works with: what the book has, what the files change, and what of it this version executes.

In: an open session, the files' definitions (or none), consent to archive. Out: a `RulesetLoad`: the definitions that
will be in force from the run's first batch, the history rows of the change, and the version to store (§6.3). Nothing is
written here; numbers are given by the registry, rows leave with the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from earnbook.ledger.schema import InventoryMode, IssuancePolicy, Status
from earnbook.ledger.terms_tiers import LEVELS_MAX
from earnbook.pipeline.errors import Refused
from earnbook.pipeline.load import (
    Registers,
    StoredRuleset,
    load_definition_objects,
    load_pending_ruleset,
    load_program_statuses,
    load_ruleset,
)
from earnbook.pipeline.registry import ObjectEntry, Registry
from earnbook.pipeline.store_tables import BOOK_TABLES, ChangeType, ObjectKind
from earnbook.rules.definitions import Definitions
from earnbook.rules.definitions_diff import LoadPlan, ObjectChange, StoredObject, plan_load
from earnbook.rules.issues import Issue, IssueCode, IssueError
from earnbook.rules.models import Rule
from earnbook.rules.models_tiers import TierType

EXECUTED_ACTIONS = frozenset(
    {
        "CREDIT",
        "DEBIT",
        "HOLD",
        "RELEASE",
        "FORFEIT",
        "VOID_HOLD",
        "COUNTER",
        "TAG",
        "UNTAG",
        "SET_ATTRIBUTE",
        "SET_TIER",
        "SCHEDULE_EVENT",
        "BROADCAST",
    }
)
"""Action types that this version executes; a load with others in an active rule is refused, never half done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesetLoad:
    """Definitions in force from the next batch on.

    `versions` is the version of every rule (by id); `changes` the history rows to write, `stored` the ruleset row, both
    empty when nothing changes.
    """

    definitions: Definitions
    version: int
    versions: Mapping[str, int]
    changes: tuple[ObjectChange, ...]
    stored: StoredRuleset | None

    @property
    def changed(self) -> bool:
        """Whether the next batch writes something about definitions."""
        return self.stored is not None or bool(self.changes)


def prepare_ruleset(
    connection: duckdb.DuckDBPyConnection, registers: Registers, given: Definitions | None, *, prune: bool
) -> RulesetLoad:
    """The definitions of a run: the files', else a pending version, else those of the book.

    Raises IssueError for fields that cannot change and for what this version does not execute, Refused when something
    would be archived by absence without consent, or when there are no definitions at all.
    """
    pending = None if given is not None else load_pending_ruleset(connection)
    new = given if pending is None else Definitions.from_document(pending.document, sources=pending.sources)
    stored = _stored_objects(connection)
    if new is None:
        return ruleset_in_force(connection)
    plan = plan_load(stored, new, program_statuses=_program_statuses(connection)).require()
    if plan.archived and not prune and pending is None:
        raise _needs_consent(plan)
    _refuse_unexecuted(plan.definitions)
    versions = {item.id: item.version for item in stored} | {change.id: change.version for change in plan.changes}
    same = plan.definitions.hash == registers.ruleset_sha256
    version = registers.ruleset_version + (0 if same else 1)
    sources = plan.definitions.sources_document()
    in_force = load_ruleset(connection)
    # The sources block is not part of the hash, and a pending version is gone once something else was loaded.
    is_stored = same and in_force is not None and in_force.sources == sources
    is_stored = is_stored and not plan.changes and load_pending_ruleset(connection) is None
    ruleset = StoredRuleset(
        version=version,
        sha256=plan.definitions.hash,
        document=plan.definitions.document,
        sources=sources,
    )
    return RulesetLoad(
        definitions=plan.definitions,
        version=version,
        versions=versions,
        changes=plan.changes,
        stored=None if is_stored else ruleset,
    )


def ruleset_in_force(connection: duckdb.DuckDBPyConnection) -> RulesetLoad:
    """The definitions that the book works with now; Refused when it has none."""
    ruleset = load_ruleset(connection)
    if ruleset is None:
        raise Refused("the book has no definitions yet", "Give them with --config DIR (or EARNBOOK_CONFIG).")
    definitions = Definitions.from_document(ruleset.document, sources=ruleset.sources)
    versions = {item.id: item.version for item in _stored_objects(connection)}
    return RulesetLoad(definitions=definitions, version=ruleset.version, versions=versions, changes=(), stored=None)


def number_objects(registry: Registry, load: RulesetLoad) -> None:
    """Gives every object of the definitions its dense number, in file order (§2.2)."""
    programs = {program.key: program.id for program in load.definitions.programs}
    scales = {asset.symbol: asset for asset in load.definitions.assets}
    for item in load.definitions.objects():
        kind = ObjectKind[item.kind.upper()]
        asset = scales[item.key] if kind is ObjectKind.ASSET else None
        owner = registry.find_object(ObjectKind.PROGRAM, programs[item.program]) if item.program else 0
        registry.object_number(
            ObjectEntry(
                kind=kind,
                id=item.id,
                key=item.key,
                program=owner or 0,
                scale=asset.scale if asset else None,
                inventory_mode=int(InventoryMode[asset.inventory_mode]) if asset else None,
                issuance_policy=int(IssuancePolicy[asset.issuance_policy]) if asset else None,
            )
        )


def definition_rows(registry: Registry, load: RulesetLoad, *, batch: int, changed_at: int) -> pa.Table:
    """The history rows of a load (§18.6) as the physical table; objects must have their numbers."""
    rows = [
        {
            "batch": batch,
            "n": position,
            "kind": int(ObjectKind[change.kind.upper()]),
            "object": registry.find_object(ObjectKind[change.kind.upper()], change.id),
            "version": change.version,
            "change_type": int(ChangeType[change.change_type.upper()]),
            "changed_at": changed_at,
            "changes": change.changes,
            "snapshot": change.snapshot,
            "ruleset_version": load.version,
        }
        for position, change in enumerate(load.changes, start=1)
    ]
    return pa.Table.from_pylist(rows, BOOK_TABLES["definitions"])


def _stored_objects(connection: duckdb.DuckDBPyConnection) -> list[StoredObject]:
    rows = load_definition_objects(connection).to_pylist()
    objects = connection.sql("SELECT kind, number, program, key FROM store.objects").to_arrow_table().to_pylist()
    programs = {row["number"]: row["key"] for row in objects if row["kind"] == ObjectKind.PROGRAM}
    owners = {(row["kind"], row["number"]): programs.get(row["program"], "") for row in objects}
    return [
        StoredObject(
            kind=ObjectKind(row["kind"]).name.lower(),
            id=row["id"],
            key=row["key"],
            program=owners[row["kind"], row["object"]],
            version=row["version"],
            snapshot=row["snapshot"],
        )
        for row in rows
    ]


def _program_statuses(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The statuses in force by program key."""
    keys = dict(
        connection.execute(f"SELECT number, key FROM store.objects WHERE kind = {ObjectKind.PROGRAM}").fetchall()
    )
    return {keys[number]: Status(code).name for number, code in load_program_statuses(connection).items()}


def _needs_consent(plan: LoadPlan) -> Refused:
    names = ", ".join(f"{change.kind} {change.key}" for change in plan.archived)
    return Refused(
        f"the definitions leave out what the book has: {names}",
        "A load is complete, so these would be archived: add them to the files, or consent with --prune.",
    )


def _refuse_unexecuted(definitions: Definitions) -> None:
    active = [rule for program, rule in definitions.rules() if program.status != "ARCHIVED" and rule.status == "ACTIVE"]
    issues = [issue for rule in active for issue in _unexecuted(definitions, rule)]
    live = [tier for program in definitions.programs if program.status != "ARCHIVED" for tier in program.tiers]
    issues += [issue for tier in live if tier.status == "ACTIVE" for issue in _unexecuted_tier(definitions, tier)]
    if issues:
        raise IssueError(issues)


def _unexecuted(definitions: Definitions, rule: Rule) -> Iterator[Issue]:
    """What an active rule asks that this version validates and stores, but does not execute."""
    found = []
    for action in rule.actions:
        if action.type not in EXECUTED_ACTIONS:
            found.append(f"action {action.type}")
    origin = definitions.origins.get(rule.id)
    for what in dict.fromkeys(found):
        message = f"rule `{rule.key}`: this version of earnbook does not execute {what}"
        remedy = "set the rule's status to SUSPENDED, or use a version that does"
        if origin is not None:
            yield origin.issue(IssueCode.INVALID_VALUE, message, remedy)
        else:
            yield Issue(code=IssueCode.INVALID_VALUE, message=message, remedy=remedy)


def _unexecuted_tier(definitions: Definitions, tier: TierType) -> Iterator[Issue]:
    """What an active tier type asks that this version validates and stores, but does not execute."""
    if len(tier.levels) <= LEVELS_MAX:
        return
    remedy = "leave levels out, or make two tier types of one"
    message = f"tier type `{tier.key}`: this version of earnbook does not execute more than {LEVELS_MAX} levels"
    origin = definitions.origins.get(tier.id)
    if origin is not None:
        yield origin.issue(IssueCode.INVALID_VALUE, message, remedy)
    else:
        yield Issue(code=IssueCode.INVALID_VALUE, message=message, remedy=remedy)
