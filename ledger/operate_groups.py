"""Operations on groups and their members (§8.3, §15.3): outcomes in the order of A.1, then the act.

Members are told by the slots of their participants; rows name them by number.
"""

from __future__ import annotations

from collections.abc import Sequence

from earnbook.ledger.members import Member, Members
from earnbook.ledger.operate_state import StateVerbs
from earnbook.ledger.operate_write import note
from earnbook.ledger.schema import (
    ChangeOperation,
    EntityType,
    HolderField,
    Kind,
    MemberStatus,
    OperationType,
    Outcome,
    Role,
    StateType,
    Status,
)
from earnbook.ledger.state import State

_MEMBER, _SET, _INT = int(StateType.MEMBER), int(ChangeOperation.SET), int(Kind.INT)


class GroupVerbs:
    """What operations do to groups of one State; slots are those of groups and participants that exist."""

    def __init__(self, state: State, verbs: StateVerbs, members: Members) -> None:
        self._state = state
        self._verbs = verbs
        self._members = members

    def create(self, person: int, name: int, participants: Sequence[int], roles: Sequence[Role]) -> Outcome:
        """A new group under a key that nobody has, with its members; `name` is a text code."""
        if len(set(participants)) < len(participants):
            return Outcome.ALREADY_MEMBER
        if Role.ADMIN not in roles:
            return Outcome.LAST_ADMIN
        slot = self._verbs.create(person, EntityType.GROUP, Status.ACTIVE)
        self._verbs.set_text(slot, HolderField.NAME, name)
        for participant, role in zip(participants, roles, strict=True):
            self._put(slot, participant, Member(role, MemberStatus.ACTIVE))
        return Outcome.OK

    def rename(self, slot: int, name: int) -> Outcome:
        """Another name for a group that is not ARCHIVED."""
        if self._is_archived(slot):
            return Outcome.GROUP_ARCHIVED
        return Outcome.OK if self._verbs.set_text(slot, HolderField.NAME, name) else Outcome.NO_EFFECT

    def archive(self, slot: int) -> Outcome:
        """The end of a group."""
        return Outcome.OK if self._verbs.set_status(slot, Status.ARCHIVED) else Outcome.NO_EFFECT

    def change_member(self, kind: OperationType, slot: int, participant: int, role: Role) -> Outcome:
        """`add_member`, `set_member_role` or `remove_member`."""
        if self._is_archived(slot):
            return Outcome.GROUP_ARCHIVED
        group, number = self._number(slot), self._number(participant)
        member = self._members.get(group, number)
        is_member = member is not None and member.is_active
        if kind is OperationType.ADD_MEMBER:
            if is_member:
                return Outcome.ALREADY_MEMBER
            self._put(slot, participant, Member(role, MemberStatus.ACTIVE))
            return Outcome.OK
        if member is None or not is_member:
            return Outcome.NOT_A_MEMBER
        leaves = kind is OperationType.REMOVE_MEMBER
        changed = Member(member.role, MemberStatus.LEFT) if leaves else Member(role, MemberStatus.ACTIVE)
        if changed == member:
            return Outcome.NO_EFFECT
        if member.role is Role.ADMIN and not self._members.has_other_admin(group, number):
            return Outcome.LAST_ADMIN
        self._put(slot, participant, changed)
        return Outcome.OK

    def _put(self, slot: int, participant: int, member: Member) -> None:
        number = self._number(participant)
        self._members.put(self._number(slot), number, member)
        note(self._state.handles, slot, _MEMBER, number, _SET, _INT, member.code)

    def _is_archived(self, slot: int) -> bool:
        return bool(self._state.cells.status[slot] == Status.ARCHIVED)

    def _number(self, slot: int) -> int:
        return int(self._state.numbers[slot])
