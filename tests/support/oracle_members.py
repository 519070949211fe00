"""Who takes part, for the oracle: participants, enrollments and groups (§7.2, §8), found, created and changed."""

from __future__ import annotations

import uuid

from tests.support.logical import Group, Member, Participant
from tests.support.oracle_definitions import Definitions, Program, is_id
from tests.support.oracle_intake import Person
from tests.support.oracle_json import canonical_json
from tests.support.oracle_state import Cause, Failure, State, json_text


def known_participant(state: State, person: Person | None) -> str | None:
    """The external id of a participant that the book has."""
    if person is None:
        return None
    if person.external_id is not None:
        return person.external_id if person.external_id in state.participants else None
    return next((name for name, given_id in state.participant_ids.items() if given_id == person.id), None)


def find_participant(state: State, person: Person, program: Program, code: str) -> str:
    """A known participant, or the external id of one that the program may create (§7.2); else a failure."""
    known = known_participant(state, person)
    if known is not None:
        return known
    if person.external_id is None or not program.creates_participants:
        raise Failure(code)
    return person.external_id


def admit(state: State, definitions: Definitions, cause: Cause, participant: str, program: str) -> None:
    """Creates and enrolls where needed (§7.2)."""
    if participant not in state.participants:
        create_participant(state, cause, participant, definitions.participant_id(participant), "ACTIVE")
    enroll(state, cause, participant, program, "ACTIVE")


def create_participant(state: State, cause: Cause, participant: str, given_id: uuid.UUID, status: str) -> None:
    """A new participant; the change row of its status is its creation."""
    state.participants[participant] = Participant(number=state.next_holder_number(), status=status)
    state.participant_ids[participant] = given_id
    state.note(cause, ("PARTICIPANT", participant), "participant", "status", "set", new=json_text(status))


def enroll(state: State, cause: Cause, participant: str, program: str, status: str) -> None:
    """Sets the status of an enrollment, which it creates where there is none."""
    old = state.enrollments.get((participant, program))
    if old == status:
        return
    state.enrollments[participant, program] = status
    entity = ("PARTICIPANT", participant)
    state.note(cause, entity, "enrollment", program, "set", old=json_text(old), new=json_text(status))


def find_group(state: State, definitions: Definitions, reference: str) -> str:
    """The key of a group by key or id; GROUP_NOT_FOUND."""
    for key in state.groups:
        if reference == key or is_id(reference, definitions.group_id(key)):
            return key
    raise Failure("GROUP_NOT_FOUND")


def set_group(state: State, cause: Cause, key: str, field: str, group: Group) -> None:
    """Writes a group whose name or status is new."""
    old = state.groups.get(key)
    before = None if old is None else getattr(old, field)
    state.groups[key] = group
    if before != getattr(group, field):
        state.note(
            cause, ("GROUP", key), "group", field, "set", old=json_text(before), new=json_text(getattr(group, field))
        )


def set_member(state: State, cause: Cause, group: str, participant: str, member: Member) -> None:
    """Writes a member whose role or status is new."""
    old = state.members.get((group, participant))
    if old == member:
        return
    state.members[group, participant] = member
    before = None if old is None else _member_text(old)
    state.note(cause, ("GROUP", group), "member", participant, "set", old=before, new=_member_text(member))


def has_other_admin(state: State, group: str, participant: str) -> bool:
    """Whether a group would still have an ADMIN without this one (§8.3)."""
    return any(
        key == group and name != participant and member == Member(role="ADMIN", status="ACTIVE")
        for (key, name), member in state.members.items()
    )


def _member_text(member: Member) -> str:
    return canonical_json({"role": member.role, "status": member.status})
