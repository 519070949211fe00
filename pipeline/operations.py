"""Operations on their way to the ledger: whom they name, what the kernel reads of them, and carrying them out (§15).

Money operations are columns that the kernel decides by itself. All others it leaves to `Operations.carry_out`, one at a
time: their canonical fields are read, references become slots, columns and text codes, and the verbs of the ledger do
the rest. Outcomes are tested in the order of A.1. Fields are read some thousand rows ahead, so that their texts enter
the pool together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID, uuid5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import classify_counter
from earnbook.ledger.budgets import reset_by_operation
from earnbook.ledger.operate_groups import GroupVerbs
from earnbook.ledger.operate_state import StateVerbs
from earnbook.ledger.operate_write import make_room, put_on_level, slot_of
from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import (
    TIME_MAX,
    TIME_NONE,
    EntityType,
    HolderField,
    Int64s,
    OperationType,
    Outcome,
    RecordKind,
    Role,
    StateType,
    Status,
)
from earnbook.ledger.state import State
from earnbook.pipeline.automations import Automations
from earnbook.pipeline.budgets import next_reset
from earnbook.pipeline.generated import GeneratedEvents
from earnbook.pipeline.operation_columns import MONEY_TYPES, MoneyColumns, money_columns
from earnbook.pipeline.operation_fields import PROFILE_FIELDS
from earnbook.pipeline.operations_money import MoneyOperations
from earnbook.pipeline.people import People
from earnbook.pipeline.terms import KeyColumns, RunTerms
from earnbook.pipeline.usage import AssetUsage
from earnbook.rules.tiers import BASE_LEVELS
from earnbook.rules.times import parse_duration

READ_AHEAD_ROWS = 4096
"""Operations whose fields are read together."""

_IN_KERNEL = (*MONEY_TYPES, int(OperationType.RETRY_EVENT))
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NAMING = r'"(group_id|id|on_behalf_of_participant_id)":'
"""Fields by which an operation may name holders beside its participant."""

Fields = Mapping[str, Any]
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation as it is carried out: slots, and its canonical fields. `now` is its `effective_at`."""

    row: int
    kind: OperationType
    program: int
    person: int
    now: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class _Named:
    """The persons that an operation names beside its participant; -1 where there is none."""

    group: int = -1
    own_id: int = -1
    behalf: int = -1
    members: tuple[int, ...] = ()


_NOBODY = _Named()


class _Naming:
    """Collects whom the operations of a batch name, so that each kind of name is looked up once."""

    def __init__(self) -> None:
        self._groups: dict[int, str] = {}
        self._keys: dict[int, str] = {}
        self._own_ids: dict[int, str] = {}
        self._behalf: dict[int, str] = {}
        self._members: dict[tuple[int, int], str] = {}
        self._member_ids: dict[tuple[int, int], str] = {}

    def add(self, row: int, kind: OperationType, key: str, fields: Fields) -> None:
        """Note the names of one operation; a group without a key has that of its operation (§2.3)."""
        if "group_id" in fields:
            self._groups[row] = fields["group_id"]
        if kind is OperationType.CREATE_GROUP:
            self._keys[row] = fields.get("key", key)
            for place, member in enumerate(fields["members"]):
                is_external = "external_id" in member
                names = self._members if is_external else self._member_ids
                names[row, place] = member["external_id" if is_external else "participant_id"]
        if "on_behalf_of_participant_id" in fields:
            self._behalf[row] = fields["on_behalf_of_participant_id"]
        if kind is OperationType.UPSERT_PARTICIPANT and "id" in fields:
            self._own_ids[row] = fields["id"]

    def persons(self, people: People) -> dict[int, _Named]:
        """The persons by row."""
        groups, keys = _persons(people.name_groups, self._groups), _persons(people.name_group_keys, self._keys)
        own_ids = _persons(people.name_participant_ids, self._own_ids)
        behalf = _persons(people.name_participant_ids, self._behalf)
        members = _persons(people.name_external_ids, self._members)
        members |= _persons(people.name_participant_ids, self._member_ids)
        by_row: dict[int, list[int]] = {}
        for (row, _), person in sorted(members.items()):
            by_row.setdefault(row, []).append(person)
        return {
            row: _Named(
                group=groups.get(row, keys.get(row, -1)),
                own_id=own_ids.get(row, -1),
                behalf=behalf.get(row, -1),
                members=tuple(by_row.get(row, ())),
            )
            for row in groups.keys() | keys.keys() | own_ids.keys() | behalf.keys()
        }


def _persons(name: Callable[[pa.Array], Int64s], texts: Mapping[Place, str]) -> dict[Place, int]:
    """The persons of texts, named together."""
    if not texts:
        return {}
    return dict(zip(texts, name(pa.array(list(texts.values()), pa.string())).tolist(), strict=True))


class Operations:
    """The operations of a run, batch by batch: `name` before their holders are loaded, `begin` before deciding."""

    def __init__(
        self,
        state: State,
        run: RunTerms,
        pool: StringPool,
        people: People,
        generated: GeneratedEvents,
        organization_id: str,
        *,
        automations: Automations,
    ) -> None:
        self._state, self._run, self._pool, self._people = state, run, pool, people
        self._automations = automations
        self._verbs = StateVerbs(state, pool)
        self._groups = GroupVerbs(state, self._verbs, state.members)
        self.usage = AssetUsage(state)
        self._asset_scales = {id_: run.terms.assets[index].scale for id_, index in run.asset_indexes.items()}
        self.waiting = MoneyOperations(state, run, pool, generated, organization_id)
        self.money = self._money_columns(pa.table({"operation": pa.array([], pa.int8())}))
        """What the money operations of the batch say; `name` makes it."""
        self._named: dict[int, _Named] = {}
        self._carry: Mapping[OperationType, Callable[[_Operation], Outcome]] = {
            OperationType.HOLD: self._move_listed,
            OperationType.RELEASE: self._move_listed,
            OperationType.FORFEIT: self._move_listed,
            OperationType.REDEEM_ITEM: self._redeem_item,
            OperationType.REVERSE_REDEMPTION: self._reverse_redemption,
            OperationType.UPSERT_PARTICIPANT: self._upsert_participant,
            OperationType.SET_PARTICIPANT_STATUS: self._set_participant_status,
            OperationType.SET_PROGRAM_STATUS: self._set_program_status,
            OperationType.ENROLL: self._enroll,
            OperationType.LINK_ASSET: self._link_asset,
            OperationType.UNLINK_ASSET: self._unlink_asset,
            OperationType.SET_TIER: self._change_tier,
            OperationType.REMOVE_TIER: self._change_tier,
            OperationType.RESET_BUDGET: self._reset_budget,
            OperationType.TRIGGER_AUTOMATION: self._trigger_automation,
            OperationType.CANCEL_AUTOMATION: self._cancel_automation,
            OperationType.REFRESH_AUTOMATION: self._refresh_automation,
            OperationType.CREATE_GROUP: self._create_group,
            OperationType.UPDATE_GROUP: self._update_group,
            OperationType.ARCHIVE_GROUP: self._update_group,
            OperationType.ADD_MEMBER: self._change_member,
            OperationType.SET_MEMBER_ROLE: self._change_member,
            OperationType.REMOVE_MEMBER: self._change_member,
            OperationType.ADD_TAG: self._change_tag,
            OperationType.REMOVE_TAG: self._change_tag,
            OperationType.SET_TAGS: self._set_tags,
            OperationType.SET_COUNTER: self._set_counter,
            OperationType.DELETE_COUNTER: self._delete_counter,
            OperationType.SET_ATTRIBUTE: self._set_attributes,
            OperationType.SET_ATTRIBUTES: self._set_attributes,
            OperationType.REMOVE_ATTRIBUTE: self._remove_attribute,
        }

    # --- before deciding --------------------------------------------------------------------------------------------

    def name(self, records: pa.Table) -> None:
        """Name the holders that the operations of a batch are about beside their participants."""
        self.money = self._money_columns(records)
        self.waiting.name(records)
        self._named = {}
        fields = records.column("fields")
        if fields.null_count == len(fields):
            return
        kinds = records.column("operation").to_numpy()
        others = np.flatnonzero(~np.isin(kinds, MONEY_TYPES))
        is_naming = pc.match_substring_regex(fields.take(pa.array(others)), _NAMING).fill_null(False).to_numpy()
        rows = others[is_naming | (kinds[others] == int(OperationType.CREATE_GROUP))]
        few = records.select(["operation", "idempotency_key", "fields"]).take(pa.array(rows)).to_pylist()
        naming = _Naming()
        for row, record in zip(rows.tolist(), few, strict=True):
            kind, key = OperationType(record["operation"]), record["idempotency_key"]
            naming.add(row, kind, key, json.loads(record["fields"]))
        self._named = naming.persons(self._people)

    def _money_columns(self, records: pa.Table) -> MoneyColumns:
        return money_columns(records, self._asset_scales, self._people, self._pool)

    def begin(self, records: pa.Table, persons: Int64s) -> None:
        """Take in the records of a batch; `persons` are their participants."""
        self._records = records
        self._persons = persons
        self._kinds = records.column("operation").to_numpy()
        is_operation = records.column("record_kind").to_numpy() == int(RecordKind.OPERATION)
        is_carried_out = is_operation & ~np.isin(self._kinds, _IN_KERNEL)
        is_carried_out[self.waiting.listing(self.money, records.num_rows)] = True
        self._rows = np.flatnonzero(is_carried_out)
        self.waiting.begin(records, persons)
        self._read: dict[int, _Operation] = {}
        self._codes: dict[str, int] = {}

    # --- deciding ---------------------------------------------------------------------------------------------------

    def carry_out(self, row: int) -> Outcome:
        """Carry out the operation that the kernel stopped at, whole or not at all."""
        if row not in self._read:
            self._read_ahead(row)
        operation = self._read.pop(row)
        fields = operation.fields
        changes = 8 + 2 * len(PROFILE_FIELDS) + len(fields.get("attributes", ())) + len(fields.get("members", ()))
        if "tags" in fields:
            changes += len(fields["tags"]) + self._run.terms.tags
        make_room(self._state, changes)
        outcome = self._carry[operation.kind](operation)
        if operation.person >= 0:
            slot = slot_of(self._state.handles, operation.person)
            self._state.set_holder(int(self._state.numbers[slot]) if slot >= 0 else 0)
        return outcome

    def _read_ahead(self, row: int) -> None:
        """Read the fields of the operations from a row on, and their texts into the pool."""
        first = int(np.searchsorted(self._rows, row))
        rows = self._rows[first : first + READ_AHEAD_ROWS]
        wanted = self._records.select(["program", "timestamp", "fields"]).take(pa.array(rows))
        program, now = wanted.column("program").to_pylist(), wanted.column("timestamp").to_pylist()
        fields = [json.loads(text) for text in wanted.column("fields").to_pylist()]
        self._read = {
            row: _Operation(row, OperationType(kind), program[n], person, now[n], fields[n])
            for n, (row, kind, person) in enumerate(
                zip(rows.tolist(), self._kinds[rows].tolist(), self._persons[rows].tolist(), strict=True)
            )
        }
        texts = list(dict.fromkeys(text for each in fields for text in _stored_texts(each)))
        codes = self._pool.intern(pa.array(texts, pa.large_string()))
        self._codes = dict(zip(texts, codes.tolist(), strict=True))

    # --- money ------------------------------------------------------------------------------------------------------

    def _move_listed(self, operation: _Operation) -> Outcome:
        return self.waiting.move_listed(operation.row, operation.fields)

    def _redeem_item(self, operation: _Operation) -> Outcome:
        return self.waiting.redeem_item(operation.program, operation.person, operation.fields)

    def _reverse_redemption(self, operation: _Operation) -> Outcome:
        return self.waiting.reverse_redemption(operation.row, operation.fields)

    # --- participants and programs ----------------------------------------------------------------------------------

    def _upsert_participant(self, operation: _Operation) -> Outcome:
        """Only given fields change: attributes merge key by key, tags replace the set (§8.2)."""
        verbs, fields = self._verbs, operation.fields
        slot = slot_of(self._state.handles, operation.person)
        if not self._is_upsert_valid(operation, slot):
            return Outcome.INVALID_VALUE
        status = Status[fields["status"]] if "status" in fields else None
        changed = slot < 0
        if slot < 0:
            slot = verbs.create(operation.person, EntityType.PARTICIPANT, status or Status.ACTIVE)
            if "id" in fields:
                self._give_id(operation, slot)
        if operation.program >= 0:
            changed |= verbs.enroll(slot, operation.program, Status.ACTIVE)
        if status is not None:
            changed |= verbs.set_status(slot, status)
        for name in PROFILE_FIELDS:
            if name in fields:
                changed |= verbs.set_text(slot, HolderField[name.upper()], self._codes[fields[name]])
        changed |= self._merge_attributes(slot, fields.get("attributes", {}))
        if "tags" in fields:
            changed |= self._replace_tags(slot, fields["tags"])
        return _effect(changed)

    def _is_upsert_valid(self, operation: _Operation, slot: int) -> bool:
        """An e-mail address has one `@` between other characters; an id is the participant's own, or nobody's yet."""
        email = operation.fields.get("email")
        if email is not None and _EMAIL.fullmatch(email) is None:
            return False
        own_id = self._named.get(operation.row, _NOBODY).own_id
        return own_id < 0 or slot_of(self._state.handles, own_id) == slot

    def _give_id(self, operation: _Operation, slot: int) -> None:
        """The id given at creation: from now on it alone means the participant."""
        state, own_id = self._state, self._named[operation.row].own_id
        self._verbs.give_id(own_id, slot)
        for person in self._people.give_id(operation.person, operation.fields["id"]):
            self._verbs.forget_id(person)
        assert slot_of(state.handles, own_id) == slot

    def _set_participant_status(self, operation: _Operation) -> Outcome:
        slot = slot_of(self._state.handles, operation.person)
        if slot < 0:
            return Outcome.PARTICIPANT_NOT_FOUND
        return _effect(self._verbs.set_status(slot, Status[operation.fields["status"]]))

    def _set_program_status(self, operation: _Operation) -> Outcome:
        return _effect(self._verbs.set_program_status(operation.program, Status[operation.fields["status"]]))

    def _enroll(self, operation: _Operation) -> Outcome:
        slot = slot_of(self._state.handles, operation.person)
        if slot < 0:
            return Outcome.PARTICIPANT_NOT_FOUND
        status = Status[operation.fields.get("status", Status.ACTIVE.name)]
        return _effect(self._verbs.enroll(slot, operation.program, status))

    def _link_asset(self, operation: _Operation) -> Outcome:
        asset = self._run.asset_indexes.get(operation.fields["asset_id"], -1)
        if asset < 0:
            return Outcome.ASSET_NOT_FOUND
        if self._verbs.is_linked(operation.program, asset):
            return Outcome.ALREADY_LINKED
        self._verbs.set_link(operation.program, asset, linked=True)
        return Outcome.OK

    def _unlink_asset(self, operation: _Operation) -> Outcome:
        asset = self._run.asset_indexes.get(operation.fields["asset_id"], -1)
        if asset < 0:
            return Outcome.ASSET_NOT_FOUND
        if not self._verbs.is_linked(operation.program, asset):
            return Outcome.ASSET_NOT_LINKED
        if self.usage.is_used(operation.program, asset):
            return Outcome.ASSET_IN_USE
        self._verbs.set_link(operation.program, asset, linked=False)
        return Outcome.OK

    def _change_tier(self, operation: _Operation) -> Outcome:
        """`set_tier` and `remove_tier`, which is the same as going back to base (§14.5)."""
        fields, state = operation.fields, self._state
        status = int(state.table(at.PROGRAMS)[operation.program, at.PROGRAM_STATUS])
        if status != Status.ACTIVE:
            return Outcome.PROGRAM_SUSPENDED if status == Status.SUSPENDED else Outcome.PROGRAM_ARCHIVED
        slot = slot_of(state.handles, operation.person)
        if slot < 0:
            return Outcome.PARTICIPANT_NOT_FOUND
        found = [place for place, tier in enumerate(self._run.tiers) if tier.definition.id == fields["tier"]]
        if not found:
            return Outcome.TIER_NOT_FOUND
        tier, level = self._run.tiers[found[0]], fields.get("level", "")
        if level not in BASE_LEVELS and all(known.key != level for known in tier.levels):
            return Outcome.TIER_LEVEL_NOT_FOUND
        if state.cells.status[slot] != Status.ACTIVE:
            return Outcome.PARTICIPANT_INACTIVE
        if state.bytes_of(at.ENROLLMENTS)[slot, operation.program] != Status.ACTIVE:
            return Outcome.NOT_ENROLLED
        if tier.definition.status != "ACTIVE":
            return Outcome.TIER_ARCHIVED
        expires_at = self._expiry(fields.get("expires_at"))
        if expires_at > TIME_MAX:
            return Outcome.INVALID_VALUE
        return _effect(put_on_level(state.handles, slot, found[0], tier.position(level), expires_at))

    def _expiry(self, given: str | int | None) -> int:
        """A duration from processing time, or a time; TIME_NONE for never."""
        if given is None:
            return int(TIME_NONE)
        return given if isinstance(given, int) else self._state.clock + parse_duration(given)

    def _reset_budget(self, operation: _Operation) -> Outcome:
        fields, run = operation.fields, self._run
        asset = run.asset_indexes.get(fields["asset_id"], -1)
        if asset < 0:
            return Outcome.ASSET_NOT_FOUND
        if all(rule.id != fields["rule_id"] for rule in run.definitions[operation.program].rules):
            return Outcome.RULE_NOT_FOUND
        place = run.budget_places.get((fields["rule_id"], asset))
        if place is None:
            return Outcome.BUDGET_NOT_FOUND
        origin = int(self._state.table(at.BUDGETS)[place, at.BUDGET_ORIGIN])
        next_at = next_reset(run.budgets[place].schedule, origin, self._state.clock)
        never = int(TIME_NONE)
        return _effect(reset_by_operation(self._state.handles, place, never if next_at is None else next_at))

    # --- automations ------------------------------------------------------------------------------------------------

    def _trigger_automation(self, operation: _Operation) -> Outcome:
        key = self._records.column("idempotency_key")[operation.row].as_py()
        name = f"operation:{operation.kind.name.lower()}:{key}"
        operation_id = str(uuid5(UUID(self._run.definitions[operation.program].id), name))
        return self._automations.trigger(operation.program, operation.fields["automation_id"], operation_id)

    def _cancel_automation(self, operation: _Operation) -> Outcome:
        return self._automations.cancel(operation.program, operation.fields["automation_id"])

    def _refresh_automation(self, operation: _Operation) -> Outcome:
        return self._automations.refresh(operation.program, operation.fields["automation_id"])

    # --- groups -----------------------------------------------------------------------------------------------------

    def _create_group(self, operation: _Operation) -> Outcome:
        named, handles, fields = self._named[operation.row], self._state.handles, operation.fields
        participants = [int(slot_of(handles, person)) for person in named.members]
        if -1 in participants or (named.behalf >= 0 and slot_of(handles, named.behalf) < 0):
            return Outcome.PARTICIPANT_NOT_FOUND
        if slot_of(handles, named.group) >= 0:
            return Outcome.GROUP_EXISTS
        roles = [Role[member.get("role", Role.MEMBER.name)] for member in fields["members"]]
        return self._groups.create(named.group, self._codes[fields["name"]], participants, roles)

    def _update_group(self, operation: _Operation) -> Outcome:
        """`update_group` and `archive_group`."""
        slot = self._group_slot(operation)
        if slot < 0:
            return Outcome.GROUP_NOT_FOUND
        if operation.kind is OperationType.ARCHIVE_GROUP:
            return self._groups.archive(slot)
        return self._groups.rename(slot, self._codes[operation.fields["name"]])

    def _change_member(self, operation: _Operation) -> Outcome:
        participant = slot_of(self._state.handles, operation.person)
        if participant < 0:
            return Outcome.PARTICIPANT_NOT_FOUND
        slot = self._group_slot(operation)
        if slot < 0:
            return Outcome.GROUP_NOT_FOUND
        role = Role[operation.fields.get("role", Role.MEMBER.name)]
        return self._groups.change_member(operation.kind, slot, participant, role)

    def _group_slot(self, operation: _Operation) -> int:
        return int(slot_of(self._state.handles, self._named[operation.row].group))

    # --- state ------------------------------------------------------------------------------------------------------

    def _entity(self, operation: _Operation) -> tuple[int, Outcome]:
        """The slot of whose state is meant (§15.1), or -1 and why there is none."""
        if "target" in operation.fields:
            return operation.program, Outcome.OK
        if "group_id" in operation.fields:
            return self._group_slot(operation), Outcome.GROUP_NOT_FOUND
        return int(slot_of(self._state.handles, operation.person)), Outcome.PARTICIPANT_NOT_FOUND

    def _change_tag(self, operation: _Operation) -> Outcome:
        slot, code = self._entity(operation)
        if slot < 0:
            return code
        column, name = self._key(StateType.TAG, operation.fields["tag"].lower())
        return _effect(self._verbs.set_tag(slot, column, name, present=operation.kind is OperationType.ADD_TAG))

    def _set_tags(self, operation: _Operation) -> Outcome:
        slot, code = self._entity(operation)
        return code if slot < 0 else _effect(self._replace_tags(slot, operation.fields["tags"]))

    def _replace_tags(self, slot: int, tags: list[str]) -> bool:
        """Removals first, then additions, each in order of code points."""
        texts = self._keys(StateType.TAG).texts
        wanted = {tag.lower() for tag in tags}
        present = {texts[column] for column in self._verbs.tags_of(slot)}
        for tag in sorted(present - wanted):
            self._verbs.set_tag(slot, *self._key(StateType.TAG, tag), present=False)
        for tag in sorted(wanted - present):
            self._verbs.set_tag(slot, *self._key(StateType.TAG, tag), present=True)
        return present != wanted

    def _set_counter(self, operation: _Operation) -> Outcome:
        slot, code = self._entity(operation)
        if slot < 0:
            return code
        mantissa, decimals, code = classify_counter(Decimal(operation.fields["value"]))
        if code == Outcome.OK and abs(mantissa) >= 10 ** (20 + decimals):
            code = Outcome.COUNTER_OUT_OF_RANGE
        if code != Outcome.OK:
            return Outcome(code)
        window = operation.fields.get("reset_after")
        length = None if window is None else parse_duration(window) if window else int(TIME_NONE)
        key = self._key(StateType.COUNTER, operation.fields["key"])
        number = (mantissa, decimals)
        return _effect(self._verbs.set_counter(slot, *key, number, now=operation.now, reset_after=length))

    def _delete_counter(self, operation: _Operation) -> Outcome:
        slot, code = self._entity(operation)
        if slot < 0:
            return code
        return _effect(self._verbs.delete_counter(slot, *self._key(StateType.COUNTER, operation.fields["key"])))

    def _set_attributes(self, operation: _Operation) -> Outcome:
        """`set_attribute` and `set_attributes`."""
        slot, code = self._entity(operation)
        if slot < 0:
            return code
        fields = operation.fields
        given = fields["attributes"] if "attributes" in fields else {fields["key"]: fields["value"]}
        return _effect(self._merge_attributes(slot, given))

    def _merge_attributes(self, slot: int, attributes: Mapping[str, str]) -> bool:
        """In order of code points, which is that of canonical JSON."""
        changed = False
        for key, text in sorted(attributes.items()):
            changed |= self._verbs.set_attribute(slot, *self._key(StateType.ATTRIBUTE, key), self._codes[text])
        return changed

    def _remove_attribute(self, operation: _Operation) -> Outcome:
        slot, code = self._entity(operation)
        if slot < 0:
            return code
        return _effect(self._verbs.remove_attribute(slot, *self._key(StateType.ATTRIBUTE, operation.fields["key"])))

    def _keys(self, state_type: StateType) -> KeyColumns:
        return self._run.keys[state_type]

    def _key(self, state_type: StateType, text: str) -> tuple[int, int]:
        """The column of a key in the cells, and its number in the book's names."""
        keys = self._run.keys[state_type]
        column = keys.columns[text]
        return column, int(keys.numbers[column])


def _effect(changed: bool) -> Outcome:
    return Outcome.OK if changed else Outcome.NO_EFFECT


def _stored_texts(fields: Fields) -> Iterator[str]:
    """The texts of an operation that become cells."""
    for name in (*PROFILE_FIELDS, "name", "value"):
        if name in fields:
            yield fields[name]
    yield from fields.get("attributes", {}).values()
