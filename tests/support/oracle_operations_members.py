"""The operations on participants, enrollments, programs and groups (§15.3) for the oracle.

Where SEMANTICS is open: an upsert that enrolls makes a frozen, locked or closed enrollment active, as an event does;
an `id` that is somebody else's, or not that of the participant found, is INVALID_VALUE, as is an e-mail address
without exactly one `@` between other characters; a group's key defaults to the operation's key; a member given twice
is ALREADY_MEMBER; the row of a member who has left keeps the role.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.support.logical import Group, Member
from tests.support.oracle_intake import Person, read_person
from tests.support.oracle_members import create_participant, enroll, has_other_admin, set_group, set_member
from tests.support.oracle_operation import Operation
from tests.support.oracle_state import Failure, json_text
from tests.support.oracle_tags import replace_tags, set_attribute

PROFILE_FIELDS = ("email", "phone", "first_name", "last_name", "display_name")


def _upsert_participant(operation: Operation) -> bool:
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


def _set_profile(operation: Operation, participant: str, field: str, text: str) -> None:
    state = operation.state
    stored = state.participants[participant]
    old = stored.profile.get(field)
    if old == text:
        return
    state.participants[participant] = replace(stored, profile={**stored.profile, field: text})
    entity = ("PARTICIPANT", participant)
    state.note(operation.cause, entity, "participant", field, "set", old=json_text(old), new=json_text(text))


def _set_status(operation: Operation, participant: str, status: str) -> bool:
    state = operation.state
    stored = state.participants[participant]
    if stored.status == status:
        return False
    state.participants[participant] = replace(stored, status=status)
    entity = ("PARTICIPANT", participant)
    old, new = json_text(stored.status), json_text(status)
    state.note(operation.cause, entity, "participant", "status", "set", old=old, new=new)
    return True


def _set_participant_status(operation: Operation) -> bool:
    return _set_status(operation, operation.participant(), operation.needed("status"))


def _set_program_status(operation: Operation) -> bool:
    state, key, status = operation.state, operation.program.key, operation.needed("status")
    old = state.programs[key]
    if old == status:
        return False
    state.programs[key] = status
    state.note(operation.cause, ("PROGRAM", key), "program", "status", "set", old=json_text(old), new=json_text(status))
    return True


def _enroll(operation: Operation) -> bool:
    status = operation.text("status") or "ACTIVE"
    enroll(operation.state, operation.cause, operation.participant(), operation.program.key, status)
    return False


# --- groups ----------------------------------------------------------------------------------------------------------


def _create_group(operation: Operation) -> bool:
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


def _update_group(operation: Operation) -> bool:
    key = operation.active_group()
    group = replace(operation.state.groups[key], name=operation.needed("name"))
    set_group(operation.state, operation.cause, key, "name", group)
    return False


def _archive_group(operation: Operation) -> bool:
    key = operation.group()
    group = replace(operation.state.groups[key], status="ARCHIVED")
    set_group(operation.state, operation.cause, key, "status", group)
    return False


def _change_member(operation: Operation) -> bool:
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


MEMBER_VERBS: Mapping[str, Callable[[Operation], bool]] = {
    "upsert_participant": _upsert_participant,
    "set_participant_status": _set_participant_status,
    "set_program_status": _set_program_status,
    "enroll": _enroll,
    "create_group": _create_group,
    "update_group": _update_group,
    "archive_group": _archive_group,
    "add_member": _change_member,
    "set_member_role": _change_member,
    "remove_member": _change_member,
}
