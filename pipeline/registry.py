"""Dense numbers (§2.2, §2.3): who has which, and the rows that make new ones durable.

A `Registry` is the book's numbers in memory. Asking it for the number of something new assigns the next one; the rows
of what is new since the last batch are taken with `take_rows` and committed with that batch. It reads nothing and
writes nothing by itself. If a batch is not committed, its registry must be thrown away and loaded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from earnbook.pipeline.errors import IntegrityError
from earnbook.pipeline.store_tables import BOOK_TABLES, REGISTRY_TABLES, ObjectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEntry:
    """An object of the definitions. `key` is its key or symbol; `program` the owner's number, 0 for the organization's.

    The last three are of assets: decimals, InventoryMode, IssuancePolicy.
    """

    kind: ObjectKind
    id: str
    key: str
    program: int = 0
    scale: int | None = None
    inventory_mode: int | None = None
    issuance_policy: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEntry:
    """One action of one version of a rule; `program`, `rule` and `asset` are object numbers, 0 for none.

    `key` is the counter, tag or attribute it names where that is a literal, of SET_TIER the level (empty: base); `type`
    an ActionType, `bucket` a Bucket.
    """

    program: int
    rule: int
    rule_version: int
    action_index: int
    type: int
    asset: int = 0
    bucket: int = 0
    key: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetEntry:
    """A budget as it began: object numbers, schedule (see `pipeline.budgets`), P of its load (microseconds).

    What it has consumed are credits of entries after `started_entry`, or after its last reset.
    """

    program: int
    rule: int
    asset: int
    schedule: str
    started_at: int
    started_entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """One input of a run: its name, the hash of its bytes, and for a mapped one its SQL's hash and rows of `input`."""

    name: str
    sha256: str
    format: str
    rows: int
    mapping_sha256: str | None = None
    mapped_from: int | None = None


class Registry:
    """The numbers of a book. Numbers are dense from 1: objects per kind, names, actions and sources in one row each."""

    def __init__(self) -> None:
        self._objects: dict[tuple[ObjectKind, str], int] = {}
        self._entries: dict[tuple[ObjectKind, int], ObjectEntry] = {}
        self._counts: dict[ObjectKind, int] = dict.fromkeys(ObjectKind, 0)
        self._names: dict[tuple[int, str], int] = {}
        self._actions: dict[tuple[int, int, int], int] = {}
        self._action_entries: list[ActionEntry] = []
        self._budgets: list[BudgetEntry] = []
        self._source_count = 0
        self._new: dict[str, list[tuple[object, ...]]] = {name: [] for name in REGISTRY_TABLES}

    @classmethod
    def of_rows(cls, tables: dict[str, pa.Table]) -> Registry:
        """The registry of the stored `objects`, `names`, `actions` and `sources`, each in number order."""
        registry = cls()
        for row in tables["objects"].to_pylist():
            entry = ObjectEntry(
                kind=ObjectKind(row["kind"]),
                id=row["id"],
                key=row["key"],
                program=row["program"],
                scale=row["scale"],
                inventory_mode=row["inventory_mode"],
                issuance_policy=row["issuance_policy"],
            )
            _expect("object", registry.object_number(entry), row["number"])
        for row in tables["names"].to_pylist():
            _expect("name", registry.name_number(row["state_type"], row["text"]), row["number"])
        fields = ActionEntry.__dataclass_fields__
        for row in tables["actions"].to_pylist():
            entry_of_action = ActionEntry(**{name: row[name] for name in fields})
            _expect("action", registry.action_number(entry_of_action), row["number"])
        budget_fields = BudgetEntry.__dataclass_fields__
        for row in tables["budget_starts"].to_pylist():
            budget = BudgetEntry(**{name: row[name] for name in budget_fields})
            _expect("budget", registry.start_budget(budget), row["number"])
        registry._source_count = tables["sources"].num_rows
        registry._new = {name: [] for name in REGISTRY_TABLES}
        return registry

    def object_number(self, entry: ObjectEntry) -> int:
        """The number of an object, by kind and id; a new one gets the next number of its kind."""
        found = self._objects.get((entry.kind, entry.id))
        if found is not None:
            return found
        number = self._counts[entry.kind] = self._counts[entry.kind] + 1
        self._objects[entry.kind, entry.id] = number
        self._entries[entry.kind, number] = entry
        columns = (entry.id, entry.key, entry.program, entry.scale, entry.inventory_mode, entry.issuance_policy)
        self._new["objects"].append((int(entry.kind), number, *columns))
        return number

    def find_object(self, kind: ObjectKind, object_id: str) -> int | None:
        """The number of an object that is known, else None."""
        return self._objects.get((kind, object_id))

    def object_entry(self, kind: ObjectKind, number: int) -> ObjectEntry:
        """The object that has a number; KeyError for a number never given."""
        return self._entries[kind, number]

    def objects(self, kind: ObjectKind) -> list[ObjectEntry]:
        """All objects of a kind in number order."""
        return [self._entries[kind, number] for number in range(1, self._counts[kind] + 1)]

    def name_number(self, state_type: int, text: str) -> int:
        """The number of a tag or of the key of a counter, attribute or level (StateType); new ones get the next."""
        number = self._names.get((state_type, text))
        if number is None:
            number = self._names[state_type, text] = len(self._names) + 1
            self._new["names"].append((number, state_type, text))
        return number

    def names(self) -> list[tuple[int, str]]:
        """(state type, text) of every name in number order."""
        return list(self._names)

    def action_number(self, entry: ActionEntry) -> int:
        """The number of an action, by rule, version and index; a new one gets the next number."""
        identity = (entry.rule, entry.rule_version, entry.action_index)
        number = self._actions.get(identity)
        if number is None:
            number = self._actions[identity] = len(self._actions) + 1
            self._action_entries.append(entry)
            columns = tuple(getattr(entry, name) for name in ActionEntry.__dataclass_fields__)
            self._new["actions"].append((number, *columns))
        return number

    def actions(self) -> list[ActionEntry]:
        """Every action in number order."""
        return list(self._action_entries)

    def start_budget(self, entry: BudgetEntry) -> int:
        """The number of one more budget."""
        self._budgets.append(entry)
        number = len(self._budgets)
        columns = tuple(getattr(entry, name) for name in BudgetEntry.__dataclass_fields__)
        self._new["budget_starts"].append((number, *columns))
        return number

    def newest_budget(self, rule: int, asset: int) -> tuple[int, BudgetEntry | None]:
        """The newest budget of a rule for an asset with its number; 0 and None when it never had one."""
        for number in range(len(self._budgets), 0, -1):
            entry = self._budgets[number - 1]
            if (entry.rule, entry.asset) == (rule, asset):
                return number, entry
        return 0, None

    def budgeted_assets(self, rule: int) -> set[int]:
        """The assets for which a rule ever had a budget."""
        return {entry.asset for entry in self._budgets if entry.rule == rule}

    def budgets(self) -> list[BudgetEntry]:
        """Every budget that ever began, in number order."""
        return list(self._budgets)

    def add_source(self, entry: SourceEntry) -> int:
        """The number of one more source; the same file read by two runs is two sources."""
        self._source_count += 1
        columns = (entry.name, entry.sha256, entry.format, entry.rows, entry.mapping_sha256, entry.mapped_from)
        self._new["sources"].append((self._source_count, *columns))
        return self._source_count

    def take_rows(self, batch: int, *, sources: Sequence[int] = ()) -> dict[str, pa.Table]:
        """The rows of everything new since the last call, as rows of `batch`, which reads the given sources.

        Rows are in number order, objects by kind before that.
        """
        self._new["batch_sources"] = [(number,) for number in sources]
        self._new["objects"].sort()
        tables = {name: _rows_of(name, batch, rows) for name, rows in self._new.items()}
        self._new = {name: [] for name in REGISTRY_TABLES}
        return tables


def _rows_of(name: str, batch: int, rows: list[tuple[object, ...]]) -> pa.Table:
    """Rows without their batch column as the physical table; every registry table has `batch` once."""
    schema = BOOK_TABLES[name]
    others = [field for field in schema if field.name != "batch"]
    columns: dict[str, pa.Array] = {"batch": pa.array([batch] * len(rows), pa.int64())}
    for position, field in enumerate(others):
        columns[field.name] = pa.array([row[position] for row in rows], field.type)
    return pa.table([columns[field.name] for field in schema], schema=schema)


def _expect(what: str, number: int, stored: int) -> None:
    if number != stored:
        raise IntegrityError(
            f"{what} number {stored} of the book is out of order (expected {number})",
            "Run `earnbook verify` on the book, and restore it from a copy.",
        )
