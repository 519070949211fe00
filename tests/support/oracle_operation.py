"""One operation for the oracle, with what all of them look up; how each one acts is in `oracle_operations*.py`."""

from __future__ import annotations

from tests.support.logical import Entity
from tests.support.oracle_definitions import Asset, Definitions, Program
from tests.support.oracle_intake import Person, Record
from tests.support.oracle_members import find_group, known_participant
from tests.support.oracle_state import Cause, Failure, State


class Operation:
    """A record that asks for one thing directly; a verb changes its `state` and says whether anything changed."""

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

    def holder(self) -> Entity:
        """The participant or group that money moves at."""
        assert self.record.person is not None or self.record.group is not None
        return self.entity()

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
