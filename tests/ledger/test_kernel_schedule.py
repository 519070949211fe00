"""Events that events make (§17.5), in the kernel: when they come, to whom, in which order, and how far they go."""

from __future__ import annotations

import pytest

from earnbook.ledger.layout import PROGRAM_STATUS, PROGRAMS
from earnbook.ledger.schedule import GENERATION_MAX
from earnbook.ledger.schema import ActionType, InventoryMode, IssuancePolicy, OperationType, Outcome, Status
from earnbook.ledger.terms import ActionTerms, AssetTerms, ProgramTerms, Terms
from tests.support.ledger_driver import DAY, HOUR, Driver, Effect, Event, Known, Operation, Template

CREDIT, LATER, AT_ONCE, TO_ALL = range(4)


def _terms(**program: object) -> Terms:
    return Terms(
        assets=(AssetTerms(number=1, scale=0, mode=InventoryMode.SIMPLE, policy=IssuancePolicy.UNLIMITED),),
        programs=(
            ProgramTerms(
                number=1,
                linked=(0,),
                actions=(
                    ActionTerms(type=ActionType.CREDIT, number=1, asset=0),
                    ActionTerms(type=ActionType.SCHEDULE_EVENT, number=2, key=0, reset_after=DAY),
                    ActionTerms(type=ActionType.SCHEDULE_EVENT, number=3, key=1, reset_after=0),
                    ActionTerms(type=ActionType.BROADCAST, number=4, key=2),
                ),
                rules=1,
                **program,  # type: ignore[arg-type]
            ),
        ),
    )


def _credit(value: str) -> Effect:
    return Effect(action=CREDIT, value=value)


def test_a_scheduled_event_is_processed_at_its_time_before_the_next_record() -> None:
    driver = Driver(_terms(), templates=(Template(effects=(_credit("10"),)), Template(), Template()))
    driver.run([Event(who="alice", effects=[Effect(action=LATER)], at=HOUR), Event(who="bob", at=2 * DAY)])
    child = driver.generated[0]
    assert (child["log_seq"], child["processed_at"], child["event_timestamp"]) == (2, HOUR + DAY, HOUR + DAY)
    assert (child["parent"], child["by_action"], child["holder"]) == (1, 2, 1)
    assert [row["log_seq"] for row in driver.outcomes] == [1, 3]
    assert driver.journal() == ["CREDIT ISSUANCE -10 | alice.A +10"]


def test_an_item_waits_for_a_later_batch() -> None:
    driver = Driver(_terms(), templates=(Template(effects=(_credit("10"),)), Template(), Template()))
    driver.run([Event(who="alice", effects=[Effect(action=LATER)], at=HOUR)], until=DAY)
    assert driver.generated == []
    driver.run([], until=HOUR + DAY)
    assert [(row["log_seq"], row["processed_at"]) for row in driver.generated] == [(2, HOUR + DAY)]


def test_under_a_later_clock_the_event_keeps_its_own_time() -> None:
    driver = Driver(_terms(), templates=(Template(effects=(_credit("10"),)), Template(), Template()))
    driver.run([Event(who="alice", effects=[Effect(action=LATER)], at=HOUR, base=90 * DAY), Event(who="bob")])
    child = driver.generated[0]
    assert (child["log_seq"], child["processed_at"], child["event_timestamp"]) == (2, 90 * DAY, HOUR + DAY)


def test_a_failed_event_leaves_no_scheduled_event() -> None:
    driver = Driver(_terms(), templates=(Template(), Template(), Template()))
    effects = [Effect(action=LATER), Effect(action=TO_ALL), Effect(action=CREDIT, value="-1")]
    assert driver.run([Event(who="alice", effects=effects)], until=9 * DAY) == [Outcome.AMOUNT_NOT_POSITIVE]
    assert driver.generated == []
    # What was undone is used again and not seen twice.
    driver.run([Event(who="alice", effects=[Effect(action=LATER)], at=9 * DAY)], until=19 * DAY)
    assert [row["parent"] for row in driver.generated] == [2]


def test_a_broadcast_goes_to_active_participants_with_active_enrollment_in_number_order() -> None:
    driver = Driver(_terms(), templates=(Template(), Template(), Template(effects=(_credit("25"),))))
    people = [Event(who=name, at=1) for name in ("carol", "bob", "alice", "dave")]
    driver.run(people)
    bob = next(number for number, name in driver.names.items() if name == "bob")
    driver.state.cells.status[driver.state.slots_of([bob])] = int(Status.SUSPENDED)
    driver.run([Event(who="dave", effects=[Effect(action=TO_ALL)], at=2)])
    assert [driver.names[row["holder"]] for row in driver.generated] == ["carol", "alice", "dave"]
    assert {(row["event_timestamp"], row["processed_at"], row["descent"]) for row in driver.generated} == {(2, 2, 3)}
    assert len(driver.journal()) == 3


def test_a_broadcast_of_an_event_of_the_future_is_due_at_once() -> None:
    driver = Driver(_terms(), templates=(Template(), Template(), Template(effects=(_credit("25"),))))
    driver.run([Event(who="alice", effects=[Effect(action=TO_ALL)], at=DAY, base=HOUR)])
    assert [(row["event_timestamp"], row["processed_at"]) for row in driver.generated] == [(DAY, HOUR)]


def test_events_due_together_come_by_origin_parent_action_and_participant() -> None:
    driver = Driver(_terms(), templates=(Template(), Template(), Template()))
    both = [Effect(action=TO_ALL), Effect(action=AT_ONCE), Effect(action=AT_ONCE)]
    driver.run([Event(who="bob", effects=both, at=1), Event(who="alice", effects=both, at=1)])
    assert [(row["parent"], row["by_action"], row["holder"]) for row in driver.generated] == [
        (1, 3, 1),
        (1, 3, 1),
        (1, 4, 1),
        (5, 3, 2),
        (5, 3, 2),
        (5, 4, 1),
        (5, 4, 2),
    ]


def test_generation_nine_fails() -> None:
    driver = Driver(_terms(), templates=(Template(), Template(effects=(Effect(action=AT_ONCE),)), Template()))
    driver.run([Event(who="alice", effects=[Effect(action=AT_ONCE)])])
    assert [row["descent"] >> 1 for row in driver.generated] == list(range(1, GENERATION_MAX + 1))
    assert [row["outcome"] for row in driver.generated] == [0] * 7 + [Outcome.GENERATION_LIMIT]


def test_a_broadcast_below_a_broadcast_fails_but_not_after_a_delay() -> None:
    templates = (
        Template(effects=(Effect(action=TO_ALL),)),
        Template(effects=(Effect(action=TO_ALL),)),
        Template(effects=lambda state: [Effect(action=AT_ONCE if state.clock < DAY else LATER)]),
    )
    driver = Driver(_terms(), templates=templates)
    driver.run([Event(who="alice", effects=[Effect(action=TO_ALL)], at=1)])
    # broadcast -> at once -> broadcast
    assert [row["outcome"] for row in driver.generated] == [0, Outcome.GENERATION_LIMIT]
    driver.run([Event(who="alice", effects=[Effect(action=TO_ALL)], at=2 * DAY)], until=3 * DAY)
    # broadcast -> a day later -> broadcast -> a day later
    assert [row["descent"] for row in driver.generated[2:]] == [3, 0, 3]
    assert [row["outcome"] for row in driver.generated[2:]] == [0, 0, 0]


def test_an_event_of_a_program_that_is_not_active_fails_when_it_comes() -> None:
    driver = Driver(_terms(), templates=(Template(effects=(_credit("10"),)), Template(), Template()))
    driver.run([Event(who="alice", effects=[Effect(action=LATER)])])
    driver.state.table(PROGRAMS)[0, PROGRAM_STATUS] = int(Status.SUSPENDED)
    driver.run([], until=9 * DAY)
    assert [row["outcome"] for row in driver.generated] == [Outcome.PROGRAM_SUSPENDED]


@pytest.mark.parametrize("rows", [64, 4096])
def test_tables_grow_while_events_are_made(rows: int) -> None:
    driver = Driver(_terms(), rows=rows, templates=(Template(), Template(), Template(effects=(_credit("1"),))))
    driver.run([Event(who=f"p{n}", at=1) for n in range(700)])
    driver.run([Event(who="p3", effects=[Effect(action=TO_ALL), Effect(action=LATER)], at=2)], until=9 * DAY)
    assert [row["holder"] for row in driver.generated] == [*range(1, 701), 4]
    assert driver.balances().startswith("ISSUANCE -700")


def test_a_retry_processes_a_failed_event_again() -> None:
    driver = Driver(_terms())
    amounts = iter(["-1", "-1", "7"])
    event = Event(who="alice", effects=lambda _: [_credit(next(amounts))], at=1)
    retry = Operation(type=OperationType.RETRY_EVENT, event=0, at=2)
    bob = Event(who="bob", at=3)
    codes = driver.run([event, retry, bob, Operation(type=OperationType.RETRY_EVENT, event=0, at=4), retry])
    assert codes == [Outcome.AMOUNT_NOT_POSITIVE, 0, 0, 0, Outcome.EVENT_NOT_FAILED]
    assert [row["log_seq"] for row in driver.outcomes] == [1, 2, 3, 4, 5]
    shown = [(row["log_seq"], row["attempt"], row["by_log_seq"], row["processed_at"], row["outcome"])
             for row in driver.attempts]  # fmt: skip
    assert shown == [(1, 2, 2, 2, Outcome.AMOUNT_NOT_POSITIVE), (1, 3, 4, 4, 0)]
    assert [row["log_seq"] for row in driver.tables["movements"]] == [1]
    assert driver.journal() == ["CREDIT ISSUANCE -7 | alice.A +7"]


def test_a_retry_of_an_earlier_batch_may_create_the_participant_then() -> None:
    driver = Driver(_terms(status=Status.SUSPENDED))
    event = Event(who="alice", effects=(_credit("7"),), at=1)
    assert driver.run([event]) == [Outcome.PROGRAM_SUSPENDED]
    driver.state.table(PROGRAMS)[0, PROGRAM_STATUS] = int(Status.ACTIVE)
    retries = [Operation(type=OperationType.RETRY_EVENT, event=row, at=2) for row in (2, 2)]
    known = Known(event=event, log_seq=1, outcome=Outcome.PROGRAM_SUSPENDED, attempts=1)
    assert driver.run(retries, known=[known]) == [0, Outcome.EVENT_NOT_FAILED]
    assert [(row["log_seq"], row["attempt"], row["outcome"]) for row in driver.attempts] == [(1, 3, 0)]
    # The operation is the record that created her, the event the cause of what follows.
    assert [row["log_seq"] for row in driver.tables["holders"]] == [2]
    assert [row["log_seq"] for row in driver.tables["changes"]] == [1, 1]
    assert [row["first_change_seq"] for row in driver.attempts] == [1]
    assert [row["last_change_seq"] for row in driver.attempts] == [2]


def test_there_is_nothing_to_retry() -> None:
    driver = Driver(_terms())
    unknown = Operation(type=OperationType.RETRY_EVENT, event=-1)
    assert driver.run([Event(who="alice"), Operation(type=OperationType.RETRY_EVENT, event=0), unknown]) == [
        0,
        Outcome.EVENT_NOT_FAILED,
        Outcome.EVENT_NOT_FOUND,
    ]
    assert driver.attempts == []
