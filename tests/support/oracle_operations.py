"""Operations for the oracle: fund and burn (§15.2), members and state (§15.3); `retry_event` is the oracle's own.

`operate` changes the state it is given and returns OK or NO_EFFECT; it raises `Failure` with the first code in the
order of Appendix A.1, and the caller then goes back to its copy of the state.

Where SEMANTICS is open: an upsert that enrolls makes a frozen, locked or closed enrollment active, as an event does;
an `id` that is somebody else's, or not that of the participant found, is INVALID_VALUE, as is an e-mail address
without exactly one `@` between other characters; `set_tier` needs an ACTIVE enrollment.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from tests.support.logical import Entity, Group, Member
from tests.support.oracle_actions import check_active, check_asset, minor_units
from tests.support.oracle_budgets import reset_budget
from tests.support.oracle_definitions import BASE_LEVELS, Asset, Definitions, Program, read_date, rule_named, tier_named
from tests.support.oracle_intake import Person, Record, read_person
from tests.support.oracle_ledger import burn, fund
from tests.support.oracle_members import (
    create_participant,
    enroll,
    find_group,
    has_other_admin,
    known_participant,
    set_group,
    set_member,
)
from tests.support.oracle_state import Cause, Failure, State, json_text
from tests.support.oracle_tags import (
    add_tag,
    delete_counter,
    remove_attribute,
    remove_tag,
    replace_tags,
    set_attribute,
    set_counter,
)
from tests.support.oracle_tiers import assign_tier, remove_tier
from tests.support.oracle_times import parse_duration

PROFILE_FIELDS = ("email", "phone", "first_name", "last_name", "display_name")
NEEDS_ACTIVE_PROGRAM = ("fund", "set_tier", "remove_tier")


def operate(state: State, definitions: Definitions, record: Record) -> str:
    """Does what an operation asks for; OK, or NO_EFFECT where nothing changes."""
    operation = _Operation(state, definitions, record)
    assert record.type is not None
    if record.type in NEEDS_ACTIVE_PROGRAM and state.programs[operation.program.key] != "ACTIVE":
        raise Failure(f"PROGRAM_{state.programs[operation.program.key]}")
    before = len(state.changes)
    changed = VERBS[record.type](operation)
    return "OK" if changed or len(state.changes) > before else "NO_EFFECT"


class _Operation:
    """One operation with what all of them look up."""

    def __init__(self, state: State, definitions: Definitions, record: Record) -> None:
        self.state = state
        self.definitions = definitions
        self.record = record
        self.fields = record.fields
        self.cause = Cause(
            kind="OPERATION",
            number=state.log_seq,
            program=record.program or "",
            processed_at=state.processing_time,
            description=self.text("description"),
        )

    @property
    def program(self) -> Program:
        assert self.record.program is not None
        return self.definitions.programs[self.record.program]

    def text(self, name: str) -> str | None:
        """A text field, None where it is absent."""
        value = self.fields.get(name)
        assert value is None or isinstance(value, str)
        return value

    def needed(self, name: str) -> str:
        """A text field that the type requires."""
        value = self.text(name)
        assert value is not None
        return value

    def participant(self, person: Person | None = None) -> str:
        """The participant named by the operation, or another one; operations never create any."""
        found = known_participant(self.state, person or self.record.person)
        if found is None:
            raise Failure("PARTICIPANT_NOT_FOUND")
        return found

    def group(self) -> str:
        return find_group(self.state, self.definitions, self.needed("group_id"))

    def active_group(self) -> str:
        """A group whose name and members may change (§8.3)."""
        key = self.group()
        if self.state.groups[key].status == "ARCHIVED":
            raise Failure("GROUP_ARCHIVED")
        return key

    def entity(self) -> Entity:
        """Whose state is meant: the program's with `target: PROGRAM`, else that of a holder."""
        if self.record.person is not None:
            return ("PARTICIPANT", self.participant())
        if self.record.group is not None:
            return ("GROUP", find_group(self.state, self.definitions, self.record.group))
        return ("PROGRAM", self.program.key)

    def asset(self) -> Asset:
        asset = self.definitions.asset_named(self.needed("asset_id"))
        if asset is None:
            raise Failure("ASSET_NOT_FOUND")
        return asset

    def tags(self) -> list[str]:
        value = self.fields["tags"]
        assert isinstance(value, list)
        return [tag for tag in value if isinstance(tag, str)]

    def attributes(self) -> list[tuple[str, str]]:
        """In order of code points."""
        value = self.fields["attributes"]
        assert isinstance(value, dict)
        return sorted((name, text) for name, text in value.items() if isinstance(text, str))


# --- wallets and assets ----------------------------------------------------------------------------------------------


def _fund_or_burn(operation: _Operation) -> bool:
    state, asset = operation.state, operation.asset()
    check_asset(state, operation.program.key, asset, is_credit=operation.record.type == "fund")
    if not asset.is_prefunded:
        raise Failure("NOT_PREFUNDED")
    value = operation.fields["amount"]
    assert isinstance(value, Decimal)
    amount = minor_units(value, asset)
    if amount == 0:
        raise Failure("AMOUNT_NOT_POSITIVE")
    (fund if operation.record.type == "fund" else burn)(state, operation.cause, asset, amount)
    return True


def _link_asset(operation: _Operation) -> bool:
    state, link = operation.state, (operation.program.key, operation.asset().symbol)
    if link in state.asset_links:
        raise Failure("ALREADY_LINKED")
    state.asset_links.add(link)
    state.note(operation.cause, ("PROGRAM", link[0]), "asset_link", link[1], "add")
    return True


def _unlink_asset(operation: _Operation) -> bool:
    state, link = operation.state, (operation.program.key, operation.asset().symbol)
    if link not in state.asset_links:
        raise Failure("ASSET_NOT_LINKED")
    if any((entry.program, entry.asset) == link for entry in state.entries):
        raise Failure("ASSET_IN_USE")
    state.asset_links.remove(link)
    state.note(operation.cause, ("PROGRAM", link[0]), "asset_link", link[1], "remove")
    return True


# --- participants and programs ---------------------------------------------------------------------------------------


def _upsert_participant(operation: _Operation) -> bool:
    """Only given fields change: attributes merge, tags replace the set (§8.2)."""
    state, cause, fields = operation.state, operation.cause, operation.fields
    person = operation.record.person
    assert person is not None
    assert person.external_id is not None
    name = person.external_id
    given_id, email, status = operation.text("id"), operation.text("email"), operation.text("status")
    if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise Failure("INVALID_VALUE")
    if given_id is not None and state.participant_ids.get(name, uuid.UUID(given_id)) != uuid.UUID(given_id):
        raise Failure("INVALID_VALUE")
    if name not in state.participants:
        own_id = operation.definitions.participant_id(name) if given_id is None else uuid.UUID(given_id)
        if own_id in state.participant_ids.values():
            raise Failure("INVALID_VALUE")
        create_participant(state, cause, name, own_id, status or "ACTIVE")
    if operation.record.program is not None:
        enroll(state, cause, name, operation.record.program, "ACTIVE")
    if status is not None:
        _set_status(operation, name, status)
    for field in PROFILE_FIELDS:
        if field in fields:
            _set_profile(operation, name, field, operation.needed(field))
    entity = ("PARTICIPANT", name)
    if "attributes" in fields:
        for key, text in operation.attributes():
            set_attribute(state, cause, entity, key, text)
    if "tags" in fields:
        replace_tags(state, cause, entity, operation.tags())
    return False


def _set_profile(operation: _Operation, participant: str, field: str, text: str) -> None:
    state = operation.state
    stored = state.participants[participant]
    old = stored.profile.get(field)
    if old == text:
        return
    state.participants[participant] = replace(stored, profile={**stored.profile, field: text})
    entity = ("PARTICIPANT", participant)
    state.note(operation.cause, entity, "participant", field, "set", old=json_text(old), new=json_text(text))


def _set_status(operation: _Operation, participant: str, status: str) -> bool:
    state = operation.state
    stored = state.participants[participant]
    if stored.status == status:
        return False
    state.participants[participant] = replace(stored, status=status)
    entity = ("PARTICIPANT", participant)
    old, new = json_text(stored.status), json_text(status)
    state.note(operation.cause, entity, "participant", "status", "set", old=old, new=new)
    return True


def _set_participant_status(operation: _Operation) -> bool:
    return _set_status(operation, operation.participant(), operation.needed("status"))


def _set_program_status(operation: _Operation) -> bool:
    state, key, status = operation.state, operation.program.key, operation.needed("status")
    old = state.programs[key]
    if old == status:
        return False
    state.programs[key] = status
    state.note(operation.cause, ("PROGRAM", key), "program", "status", "set", old=json_text(old), new=json_text(status))
    return True


def _enroll(operation: _Operation) -> bool:
    status = operation.text("status") or "ACTIVE"
    enroll(operation.state, operation.cause, operation.participant(), operation.program.key, status)
    return False


# --- groups ----------------------------------------------------------------------------------------------------------


def _create_group(operation: _Operation) -> bool:
    """Members must exist; A.1 puts them before the existence of the group, and that before the lack of an ADMIN."""
    state, key = operation.state, operation.text("key") or operation.record.key
    given = operation.fields["members"]
    assert isinstance(given, list)
    members = [member for member in given if isinstance(member, dict)]
    names = [operation.participant(read_person(member)) for member in members]
    behalf = operation.text("on_behalf_of_participant_id")
    if behalf is not None:
        operation.participant(Person(external_id=None, id=uuid.UUID(behalf)))
    if key in state.groups:
        raise Failure("GROUP_EXISTS")
    if len(set(names)) < len(names):
        raise Failure("ALREADY_MEMBER")
    roles = [str(member.get("role", "MEMBER")) for member in members]
    if "ADMIN" not in roles:
        raise Failure("LAST_ADMIN")
    number, cause = state.next_holder_number(), operation.cause
    group = Group(number=number, name=operation.needed("name"), status="ACTIVE")
    set_group(state, cause, key, "status", group)
    state.note(cause, ("GROUP", key), "group", "name", "set", new=json_text(group.name))
    for name, role in zip(names, roles, strict=True):
        set_member(state, cause, key, name, Member(role=role, status="ACTIVE"))
    return True


def _update_group(operation: _Operation) -> bool:
    key = operation.active_group()
    group = replace(operation.state.groups[key], name=operation.needed("name"))
    set_group(operation.state, operation.cause, key, "name", group)
    return False


def _archive_group(operation: _Operation) -> bool:
    key = operation.group()
    group = replace(operation.state.groups[key], status="ARCHIVED")
    set_group(operation.state, operation.cause, key, "status", group)
    return False


def _change_member(operation: _Operation) -> bool:
    """`add_member`, `set_member_role` and `remove_member`: participant and group first, then the state codes."""
    state = operation.state
    participant, group = operation.participant(), operation.active_group()
    kind, role = operation.record.type, operation.text("role") or "MEMBER"
    member = state.members.get((group, participant))
    is_member = member is not None and member.status == "ACTIVE"
    if kind == "add_member":
        if is_member:
            raise Failure("ALREADY_MEMBER")
        set_member(state, operation.cause, group, participant, Member(role=role, status="ACTIVE"))
        return True
    if member is None or not is_member:
        raise Failure("NOT_A_MEMBER")
    new = Member(role=role, status="ACTIVE") if kind == "set_member_role" else replace(member, status="LEFT")
    is_admin_no_longer = member.role == "ADMIN" and new != member
    if is_admin_no_longer and not has_other_admin(state, group, participant):
        raise Failure("LAST_ADMIN")
    set_member(state, operation.cause, group, participant, new)
    return False


# --- state -----------------------------------------------------------------------------------------------------------


def _change_tag(operation: _Operation) -> bool:
    change = add_tag if operation.record.type == "add_tag" else remove_tag
    return change(operation.state, operation.cause, operation.entity(), operation.needed("tag").lower())


def _set_tags(operation: _Operation) -> bool:
    return replace_tags(operation.state, operation.cause, operation.entity(), operation.tags())


def _set_counter(operation: _Operation) -> bool:
    value, window = operation.fields["value"], operation.text("reset_after")
    assert isinstance(value, Decimal)
    return set_counter(
        operation.state,
        operation.cause,
        operation.entity(),
        operation.needed("key"),
        Fraction(value),
        at=operation.record.timestamp,
        reset_after=parse_duration(window) if window else window,
    )


def _delete_counter(operation: _Operation) -> bool:
    return delete_counter(operation.state, operation.cause, operation.entity(), operation.needed("key"))


def _set_attribute(operation: _Operation) -> bool:
    entity, text = operation.entity(), operation.needed("value")
    return set_attribute(operation.state, operation.cause, entity, operation.needed("key"), text)


def _set_attributes(operation: _Operation) -> bool:
    entity = operation.entity()
    changes = [set_attribute(operation.state, operation.cause, entity, *item) for item in operation.attributes()]
    return any(changes)


def _remove_attribute(operation: _Operation) -> bool:
    return remove_attribute(operation.state, operation.cause, operation.entity(), operation.needed("key"))


def _change_tier(operation: _Operation) -> bool:
    """`set_tier` and `remove_tier` (§14.5), tested in the order of A.1."""
    state, program = operation.state, operation.program
    participant = operation.participant()
    tier, level = tier_named(program, operation.needed("tier")), operation.text("level") or ""
    if tier is None:
        raise Failure("TIER_NOT_FOUND")
    if level not in BASE_LEVELS and level not in tier.levels:
        raise Failure("TIER_LEVEL_NOT_FOUND")
    check_active(state, ("PARTICIPANT", participant))
    if not state.is_enrolled(participant, program.key):
        raise Failure("NOT_ENROLLED")
    if tier.is_archived:
        raise Failure("TIER_ARCHIVED")
    if level in BASE_LEVELS:
        return remove_tier(state, operation.cause, participant, tier)
    date = read_date(operation.text("expires_at"))
    expires_at = None if date is None else date.from_creation(operation.cause.processed_at)
    return assign_tier(state, operation.cause, participant, tier, level, expires_at)


def _reset_budget(operation: _Operation) -> bool:
    asset = operation.asset()
    rule = rule_named(operation.program, operation.needed("rule_id"))
    if rule is None:
        raise Failure("RULE_NOT_FOUND")
    budget = rule.budgets.get(asset.symbol)
    if budget is None:
        raise Failure("BUDGET_NOT_FOUND")
    name = (operation.program.key, rule.key, asset.symbol)
    return reset_budget(operation.state, operation.cause, name, budget, "set")


VERBS: Mapping[str, Callable[[_Operation], bool]] = {
    "fund": _fund_or_burn,
    "burn": _fund_or_burn,
    "upsert_participant": _upsert_participant,
    "set_participant_status": _set_participant_status,
    "set_program_status": _set_program_status,
    "enroll": _enroll,
    "link_asset": _link_asset,
    "unlink_asset": _unlink_asset,
    "create_group": _create_group,
    "update_group": _update_group,
    "archive_group": _archive_group,
    "add_member": _change_member,
    "set_member_role": _change_member,
    "remove_member": _change_member,
    "add_tag": _change_tag,
    "remove_tag": _change_tag,
    "set_tags": _set_tags,
    "set_counter": _set_counter,
    "delete_counter": _delete_counter,
    "set_attribute": _set_attribute,
    "set_attributes": _set_attributes,
    "remove_attribute": _remove_attribute,
    "set_tier": _change_tier,
    "remove_tier": _change_tier,
    "reset_budget": _reset_budget,
}
