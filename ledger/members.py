"""The members of groups (§8.3): who they are, their role and status, by the numbers of holders.

Only the groups that a run's operations may change are here; what is written about them stands in the change log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from earnbook.ledger.schema import MemberStatus, Role

_STATUS_BITS = 8


@dataclass(frozen=True, slots=True)
class Member:
    """Role and status of a participant in a group."""

    role: Role
    status: MemberStatus

    @property
    def is_active(self) -> bool:
        """Whether the member has not left."""
        return self.status is MemberStatus.ACTIVE

    @property
    def code(self) -> int:
        """Both as the value of a change row: the role above the eight bits of the status."""
        return int(self.role) << _STATUS_BITS | int(self.status)


class Members:
    """The members of the groups of a run, by group number, then member number."""

    def __init__(self) -> None:
        self._groups: dict[int, dict[int, Member]] = {}

    def load(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Members of the book as (group, member, role, status)."""
        for group, member, role, status in rows:
            self.put(group, member, Member(Role(role), MemberStatus(status)))

    def get(self, group: int, member: int) -> Member | None:
        """A member, also one that has left; None for somebody who never was one."""
        return self._groups.get(group, {}).get(member)

    def put(self, group: int, member: int, value: Member) -> None:
        """Set role and status of a member."""
        self._groups.setdefault(group, {})[member] = value

    def has_other_admin(self, group: int, member: int) -> bool:
        """Whether the group has an ADMIN besides a member."""
        others = (found for number, found in self._groups.get(group, {}).items() if number != member)
        return any(found.is_active and found.role is Role.ADMIN for found in others)

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """All members as (group, member, role, status), by group and member."""
        for group in sorted(self._groups):
            for member, found in sorted(self._groups[group].items()):
                yield group, member, int(found.role), int(found.status)
