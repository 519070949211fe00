"""Operations for the oracle: asset links; those on money, redemptions, members and state are in files of their own.

`operate` changes the state it is given and returns OK or NO_EFFECT; it raises `Failure` with the first code in the
order of Appendix A.1, and the caller then goes back to its copy of the state. `retry_event` is the oracle's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.oracle_definitions import Definitions
from tests.support.oracle_intake import Record
from tests.support.oracle_operation import Operation
from tests.support.oracle_operations_members import MEMBER_VERBS
from tests.support.oracle_operations_money import MONEY_VERBS
from tests.support.oracle_operations_state import STATE_VERBS
from tests.support.oracle_redemptions import REDEMPTION_VERBS
from tests.support.oracle_state import Failure, State

NEEDS_ACTIVE_PROGRAM = (
    *("adjust", "hold", "redeem", "redeem_item", "transfer", "fund"),
    *("set_tier", "remove_tier"),
)
"""§7.1."""


def operate(state: State, definitions: Definitions, record: Record) -> str:
    """Does what an operation asks for; OK, or NO_EFFECT where nothing changes."""
    operation = Operation(state, definitions, record)
    assert record.type is not None
    if record.type in NEEDS_ACTIVE_PROGRAM and state.programs[operation.program.key] != "ACTIVE":
        raise Failure(f"PROGRAM_{state.programs[operation.program.key]}")
    before = len(state.changes)
    changed = VERBS[record.type](operation)
    return "OK" if changed or len(state.changes) > before else "NO_EFFECT"


def _link_asset(operation: Operation) -> bool:
    state, link = operation.state, (operation.program.key, operation.asset().symbol)
    if link in state.asset_links:
        raise Failure("ALREADY_LINKED")
    state.asset_links.add(link)
    state.note(operation.cause, ("PROGRAM", link[0]), "asset_link", link[1], "add")
    return True


def _unlink_asset(operation: Operation) -> bool:
    state, link = operation.state, (operation.program.key, operation.asset().symbol)
    if link not in state.asset_links:
        raise Failure("ASSET_NOT_LINKED")
    if any((entry.program, entry.asset) == link for entry in state.entries):
        raise Failure("ASSET_IN_USE")
    state.asset_links.remove(link)
    state.note(operation.cause, ("PROGRAM", link[0]), "asset_link", link[1], "remove")
    return True


VERBS: Mapping[str, Callable[[Operation], bool]] = {
    "link_asset": _link_asset,
    "unlink_asset": _unlink_asset,
    **MONEY_VERBS,
    **REDEMPTION_VERBS,
    **MEMBER_VERBS,
    **STATE_VERBS,
}
