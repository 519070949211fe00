"""The operations on automations (§17.3) for the oracle.

Where SEMANTICS is open: a trigger that reaches nobody is OK; a paused one_time can be cancelled; a refresh needs an
automation of type participant_state, and evaluates nothing, NO_EFFECT, while the program is not ACTIVE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.oracle_automations import Automation
from tests.support.oracle_definitions import automation_named
from tests.support.oracle_firing import end_one_time, fire, is_live
from tests.support.oracle_ids import record_id
from tests.support.oracle_operation import Operation
from tests.support.oracle_state import Failure
from tests.support.oracle_subscriptions import refresh


def _automation(operation: Operation) -> Automation:
    found = automation_named(operation.program, operation.needed("automation_id"))
    if found is None:
        raise Failure("AUTOMATION_NOT_FOUND")
    return found


def _active_automation(operation: Operation) -> Automation:
    automation = _automation(operation)
    if operation.state.automations[operation.program.key, automation.key].status != "active":
        raise Failure("AUTOMATION_NOT_ACTIVE")
    return automation


def _trigger(operation: Operation) -> bool:
    """Fires now; a cron keeps its schedule, a pending one_time counts as fired."""
    state, program, record = operation.state, operation.program, operation.record
    automation = _active_automation(operation)
    if automation.type == "participant_state" or (automation.type == "one_time" and automation.is_for_program):
        raise Failure("AUTOMATION_NOT_TRIGGERABLE")
    operation_id = record_id(operation.definitions, record.type, record.program, record.key)
    prefix = f"earnbook:trig:{automation.id}:{operation_id}"
    fire(state, operation.definitions, program, automation, prefix, operation.cause.processed_at)
    if automation.type == "one_time":
        end_one_time(state, operation.cause, (program.key, automation.key))
    return True


def _cancel(operation: Operation) -> bool:
    automation = _automation(operation)
    name = (operation.program.key, automation.key)
    if automation.type != "one_time" or operation.state.automations[name].status == "archived":
        raise Failure("NOTHING_TO_CANCEL")
    end_one_time(operation.state, operation.cause, name)
    return True


def _refresh(operation: Operation) -> bool:
    state, program = operation.state, operation.program
    automation = _active_automation(operation)
    if automation.schedule is None:
        raise Failure("AUTOMATION_NOT_TRIGGERABLE")
    if is_live(state, program, (program.key, automation.key)):
        people = sorted(state.participants, key=lambda name: state.participants[name].number)
        refresh(state, operation.definitions, program, automation, people, operation.cause)
    return False


AUTOMATION_VERBS: Mapping[str, Callable[[Operation], bool]] = {
    "trigger_automation": _trigger,
    "cancel_automation": _cancel,
    "refresh_automation": _refresh,
}
